from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from expectations.schema import LAION_COCO
from flows.demo.bundle import PLAIN_SCENES, bundled_scenes
from flows.demo.faults import FAULTS, healthy
from flows.demo.source import (
    DEFAULT_ROWS,
    scene_of_row,
    source_table,
    write_source,
)

BASE = "http://127.0.0.1:40001"


def test_columns_are_those_of_laion():
    schema = source_table(BASE, 5).schema
    assert schema.names == ["URL", "TEXT", "WIDTH", "HEIGHT", "similarity", "hash", "pwatermark", "punsafe"]
    published = {column.name: column.type for column in LAION_COCO}
    for field in schema:
        assert field.type == published[field.name]


def test_faults_lie_in_their_rows_and_scenes_in_all_others():
    rows = source_table(BASE).to_pylist()
    assert len(rows) == DEFAULT_ROWS == PLAIN_SCENES + len(FAULTS)
    planted = {fault.row: fault for fault in FAULTS}
    plain = [row["URL"] for number, row in enumerate(rows) if number not in planted]
    assert plain == [f"{BASE}/scenes/{scene.file}" for scene in bundled_scenes()[:PLAIN_SCENES]]
    for number, fault in planted.items():
        assert rows[number]["URL"] == fault.url(BASE)
    assert rows[0]["URL"] == next(f for f in FAULTS if f.name == "duplicate").url(BASE)


def test_figures_are_in_range_and_hashes_tell_rows_apart():
    table = source_table(BASE)
    for name, low, high in (("similarity", 0.28, 0.40), ("pwatermark", 0, 1), ("punsafe", 0, 1)):
        assert all(low <= value <= high for value in table[name].to_pylist())
    assert len(set(table["hash"].to_pylist())) == DEFAULT_ROWS


def test_more_rows_than_scenes_repeat_pictures_under_other_urls():
    rows = source_table(BASE, 2 * DEFAULT_ROWS).to_pylist()
    urls = [row["URL"] for row in rows if row["URL"] is not None]
    assert len(rows) == 2 * DEFAULT_ROWS
    assert len(urls) - len(set(urls)) == 1, "only the planted duplicate repeats"
    assert rows[-1]["URL"].endswith("?copy=2")


def test_fewer_rows_are_the_first_ones():
    assert source_table(BASE, 30).equals(source_table(BASE).slice(0, 30))
    with pytest.raises(ValueError, match="at least one"):
        source_table(BASE, 0)


def test_scene_of_row_is_the_one_behind_the_url():
    rows = source_table(BASE, 300).to_pylist()
    for number, row in enumerate(rows):
        scene = scene_of_row(number)
        if "/scenes/" in (row["URL"] or "") and scene is not None:
            assert scene.file in row["URL"]
            assert row["TEXT"] == scene.alt_text
    odd = [scene_of_row(fault.row) for fault in healthy()]
    assert None not in odd
    assert len({scene.file for scene in odd if scene}) == len(odd)
    assert not {s.file for s in odd if s} & {s.file for s in bundled_scenes()[:PLAIN_SCENES]}
    rejected = [fault for fault in FAULTS if fault not in healthy()]
    assert all(scene_of_row(fault.row) is None for fault in rejected)


def test_what_is_written_is_the_table(tmp_path: Path):
    path = tmp_path / "input" / "demo.parquet"
    assert write_source(path, BASE, 20) == path
    assert pq.read_table(path).equals(source_table(BASE, 20))
    write_source(path, "http://127.0.0.1:40002", 3)
    assert pq.read_table(path).equals(source_table("http://127.0.0.1:40002", 3))
