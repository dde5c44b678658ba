"""Write the demo's input: a parquet file with LAION's columns, faults planted at fixed rows. Knows no HTTP.

Columns and types are those of the LAION-2B metadata that laion-coco was joined with.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.demo.bundle import PLAIN_SCENES, SIZE_PIXELS, BundledScene, bundled_scenes
from flows.demo.faults import FAULTS, PUBLISHED, Fault, healthy
from flows.demo.server import odd_scene
from tasks.durable import replacing

DEFAULT_ROWS = PLAIN_SCENES + len(FAULTS)

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("URL", pa.string()),
    ("TEXT", pa.string()),
    ("WIDTH", pa.int64()),
    ("HEIGHT", pa.int64()),
    ("similarity", pa.float64()),
    ("hash", pa.int64()),
    ("pwatermark", pa.float64()),
    ("punsafe", pa.float64()),
]
SCHEMA = pa.schema(_COLUMNS)


def write_source(path: Path, base: str, rows: int = DEFAULT_ROWS) -> Path:
    """Write the first ``rows`` rows for a server at ``base`` (``http://127.0.0.1:PORT``). Returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        pq.write_table(source_table(base, rows), temporary, compression="zstd")
    return path


def source_table(base: str, rows: int = DEFAULT_ROWS) -> pa.Table:
    """The demo's input in memory."""
    if rows < 1:
        raise ValueError("the demo needs at least one row")
    planted = {fault.row: fault for fault in FAULTS}
    plain = itertools.count()
    return pa.Table.from_pylist(
        [
            _fault_row(planted[row], base) if row in planted else _plain_row(next(plain), base)
            for row in range(rows)
        ],
        schema=SCHEMA,
    )


def scene_of_row(row: int) -> BundledScene | None:
    """The scene that a row of the demo shows: its truth. None for rows that must be rejected."""
    before = sum(fault.row < row for fault in FAULTS)
    for fault in FAULTS:
        if fault.row == row:
            return odd_scene(fault.name) if fault.outcome == PUBLISHED else None
    return bundled_scenes()[(row - before) % PLAIN_SCENES]


def _plain_row(number: int, base: str) -> dict[str, object]:
    scene = bundled_scenes()[number % PLAIN_SCENES]
    # More rows than scenes: the same picture under another URL, so that it is no duplicate.
    again = f"?copy={number // PLAIN_SCENES}" if number >= PLAIN_SCENES else ""
    return _row(f"{base}/scenes/{scene.file}{again}", scene.alt_text, f"{scene.file}{again}")


def _fault_row(fault: Fault, base: str) -> dict[str, object]:
    odd = any(fault.name == other.name for other in healthy())
    text = odd_scene(fault.name).alt_text if odd else bundled_scenes()[0].alt_text
    return _row(fault.url(base), text, fault.name)


def _row(url: str | None, text: str, identity: str) -> dict[str, object]:
    """A row with made-up, repeatable figures in LAION's ranges (it kept similarities of at least 0.28)."""
    digest = hashlib.sha256(f"{identity} {text}".encode()).digest()
    chance = random.Random(digest)
    return {
        "URL": url,
        "TEXT": text,
        "WIDTH": SIZE_PIXELS,
        "HEIGHT": SIZE_PIXELS,
        "similarity": round(chance.uniform(0.28, 0.40), 6),
        "hash": int.from_bytes(digest[:8], "big", signed=True),
        "pwatermark": round(chance.betavariate(1, 6), 6),
        "punsafe": round(chance.betavariate(1, 40), 6),
    }
