"""Find rows that repeat a URL over a whole run, in bounded memory however many rows there are.

URLs are reduced to 128 bits (two SipHash-2-4 runs with different keys: with 600M rows the chance of any false repeat is
about 5e-22), spread over bucket files by their first bits, and each bucket is sorted by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.durable import replacing

# 4M rows a bucket: about 0.3 GB while it is sorted.
ROWS_PER_BUCKET = 4_000_000
_ENTRY = np.dtype([("high", "u8"), ("low", "u8"), ("row", "i8")])
# pandas wants 16 characters; any two different keys do.
_KEYS = ("cocoscribe-url-a", "cocoscribe-url-b")


def find_duplicates(
    sources: Sequence[tuple[Path, int]],
    url_column: str,
    target: Path,
    *,
    rows_per_bucket: int = ROWS_PER_BUCKET,
) -> int:
    """Write to ``target`` (npy, int64, shape (repeats, 2)) each row that repeats an earlier row's URL, and that earlier
    row; rows are counted over all sources. Null URLs do not repeat each other. Returns the number of repeats.
    """
    total = sum(rows for _, rows in sources)
    bits = max(0, (total // rows_per_bucket)).bit_length()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="duplicates-") as work:
        buckets = [Path(work, f"{n:05d}") for n in range(1 << bits)]
        handles = [bucket.open("wb") for bucket in buckets]
        try:
            for entries in _hashed(sources, url_column):
                if bits == 0:
                    entries.tofile(handles[0])
                    continue
                place = entries["high"] >> np.uint64(64 - bits)
                for number in np.unique(place):
                    entries[place == number].tofile(handles[int(number)])
        finally:
            for handle in handles:
                handle.close()
        found = [_repeats(np.fromfile(bucket, _ENTRY)) for bucket in buckets]
    repeats = np.concatenate(found)
    repeats = repeats[np.argsort(repeats[:, 0], kind="stable")]
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.save(file, repeats, allow_pickle=False)
    return len(repeats)


def duplicates_of(target: Path, first_row: int, rows: int) -> dict[int, int]:
    """The repeats among ``rows`` rows from ``first_row`` on: row to the earlier row with the same URL."""
    repeats = np.load(target, mmap_mode="r", allow_pickle=False)
    begin, end = np.searchsorted(repeats[:, 0], [first_row, first_row + rows])
    return {int(row): int(earlier) for row, earlier in repeats[begin:end]}


def _hashed(sources: Sequence[tuple[Path, int]], url_column: str) -> Iterator[npt.NDArray[np.void]]:
    first = 0
    for path, rows in sources:
        taken = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=65_536, columns=[url_column]):
                column = batch.column(0).cast(pa.string())[: rows - taken]
                urls = column.to_numpy(zero_copy_only=False)
                present = column.is_valid().to_numpy(zero_copy_only=False)
                entries = np.empty(int(present.sum()), _ENTRY)
                entries["row"] = first + taken + np.flatnonzero(present)
                for name, key in zip(("high", "low"), _KEYS, strict=True):
                    entries[name] = pd.util.hash_array(urls[present], hash_key=key, categorize=False)
                yield entries
                taken += len(column)
                if taken >= rows:
                    break
        first += rows


def _repeats(entries: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    if len(entries) == 0:
        return np.empty((0, 2), np.int64)
    entries = entries[np.lexsort((entries["row"], entries["low"], entries["high"]))]
    same = (entries["high"][1:] == entries["high"][:-1]) & (entries["low"][1:] == entries["low"][:-1])
    # Position of the first entry of each group, carried forward.
    starts = np.maximum.accumulate(np.where(np.concatenate(([True], ~same)), np.arange(len(entries)), 0))
    repeats = np.flatnonzero(np.concatenate(([False], same)))
    return np.stack([entries["row"][repeats], entries["row"][starts[repeats]]], axis=1)
