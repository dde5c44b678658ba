"""Read one partition's rows from the user's parquet: keys, pass-through columns, rows that end before a download.

Knows nothing of where the rows go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.schema import LAION_COCO, PASSED_THROUGH
from tasks.duplicates import duplicates_of
from tasks.stages import Job

_TYPES = {column.name: column.type for column in LAION_COCO}


@dataclass(frozen=True)
class InputRow:
    """One row of the input. ``ended`` is (reason, detail) where it never reaches a download."""

    key: str
    url: str | None
    text: str | None
    passed: dict[str, int | float | None]
    ended: tuple[str, str] | None


def row_key(source_number: int, row: int) -> str:
    """Unique in a run and independent of partitions: source file number and row number in that file."""
    return f"{source_number:05d}-{row:09d}"


def read_rows(job: Job, duplicates: Path | None) -> tuple[list[InputRow], dict[str, int]]:
    """The partition's rows in order, and how many values of each pass-through column could not be read (now null).

    Holds the partition's text in memory (about 4 MB for 10,000 rows); images come later and are streamed.
    """
    repeats = duplicates_of(duplicates, job.first_run_row, job.rows) if duplicates else {}
    rows: list[InputRow] = []
    unreadable: dict[str, int] = {}
    for table in _slices(job):
        urls = table[job.url_column].cast(pa.string()).to_pylist()
        texts = table[job.text_column].cast(pa.string()).to_pylist()
        passed: dict[str, list[Any]] = {}
        for name in PASSED_THROUGH:
            if name in table.column_names:
                passed[name], lost = _as_type(table[name], _TYPES[name])
                if lost:
                    unreadable[name] = unreadable.get(name, 0) + lost
        for index, (url, text) in enumerate(zip(urls, texts, strict=True)):
            offset = len(rows)
            ended = None
            if url is None or not url.strip():
                ended = ("missing_url", "")
            elif (earlier := repeats.get(job.first_run_row + offset)) is not None:
                ended = ("duplicate_url", f"first seen in row {earlier} of the run")
            values = {name: passed[name][index] if name in passed else None for name in PASSED_THROUGH}
            key = row_key(job.source_number, job.first_row + offset)
            rows.append(InputRow(key, url, text, values, ended))
    return rows, unreadable


def _slices(job: Job) -> Iterator[pa.Table]:
    """The partition's row range, reading only the row groups that it touches."""
    wanted = {job.url_column, job.text_column, *PASSED_THROUGH}
    with pq.ParquetFile(job.source) as file:
        columns = [name for name in file.schema_arrow.names if name in wanted]
        start, end, position = job.first_row, job.first_row + job.rows, 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if position < end and position + rows > start:
                for batch in file.iter_batches(batch_size=8192, row_groups=[group], columns=columns):
                    begin, stop = max(start - position, 0), min(end - position, batch.num_rows)
                    if begin < stop:
                        yield pa.Table.from_batches([batch.slice(begin, stop - begin)])
                    position += batch.num_rows
            else:
                position += rows


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> tuple[list[Any], int]:
    """Values as ``kind``, NaN in an integer column as null (pandas writes it so), and how many were unreadable."""
    try:
        if pa.types.is_floating(column.type) and pa.types.is_integer(kind):
            raise pa.ArrowInvalid("NaN needs the careful way")
        return column.cast(kind).to_pylist(), 0
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        number = int if pa.types.is_integer(kind) else float
        values: list[Any] = []
        lost = 0
        for value in column.to_pylist():
            converted = _number(value, number)
            lost += converted is None and value is not None and value == value
            values.append(converted)
        return values, lost


def _number(value: Any, number: type[int] | type[float]) -> int | float | None:
    try:
        if isinstance(value, float) and math.isnan(value):
            return None
        converted = number(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if number is int and (
        not -(2**63) <= converted < 2**63 or (isinstance(value, float) and converted != value)
    ):
        return None
    return converted
