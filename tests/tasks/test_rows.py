"""Rows: ranges over row groups, pass-through columns of any kind, rows that end before a download."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.plan import PlanSettings, duplicates_path, plan_run
from tasks.rows import read_rows


@pytest.mark.parametrize("row_group_size", [1, 4, 100])
def test_each_partition_reads_its_own_rows(tmp_path: Path, row_group_size: int) -> None:
    urls = [f"http://h/{i}" for i in range(11)]
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"URL": urls, "TEXT": urls}), source, row_group_size=row_group_size)
    plan = plan_run([source], tmp_path / "out", PlanSettings(partition_rows=4))
    read = [[row.url for row in read_rows(job, None)[0]] for job in plan.jobs(tmp_path / "out")]
    assert read == [urls[0:4], urls[4:8], urls[8:11]]
    keys = [row.key for job in plan.jobs(tmp_path / "out") for row in read_rows(job, None)[0]]
    assert keys == [f"00000-{i:09d}" for i in range(11)]


def test_missing_and_repeated_urls_end_here(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"URL": ["http://a", None, "  ", "http://a"], "TEXT": ["1", "2", None, "4"]}), source
    )
    plan = plan_run([source], tmp_path / "out", PlanSettings())
    rows, _ = read_rows(plan.job(tmp_path / "out", 0), duplicates_path(tmp_path / "out"))
    assert [row.ended[0] if row.ended else None for row in rows] == [
        None,
        "missing_url",
        "missing_url",
        "duplicate_url",
    ]
    assert rows[3].ended == ("duplicate_url", "first seen in row 0 of the run")
    assert rows[2].text is None


def test_columns_pass_through_as_published_types(tmp_path: Path) -> None:
    """pandas turns integers with holes into floats; hashes may be strings; 'n/a' is nothing."""
    source = tmp_path / "in.parquet"
    table = {
        "TEXT": pa.array(["a", "b", "c"]).dictionary_encode(),
        "URL": pa.array(["1", "2", "3"], pa.large_string()),
        "WIDTH": pa.array([640.0, float("nan"), 1.5]),
        "HEIGHT": pa.array([480, None, 2], pa.int32()),
        "hash": pa.array(["-9223372036854775808", "9223372036854775808", "n/a"]),
        "similarity": pa.array([0.25, None, 1.0], pa.float32()),
        "extra": pa.array([1, 2, 3]),
    }
    pq.write_table(pa.table(table), source)
    plan = plan_run([source], tmp_path / "out", PlanSettings())
    rows, unreadable = read_rows(plan.job(tmp_path / "out", 0), None)
    assert [row.passed["WIDTH"] for row in rows] == [640, None, None]
    assert [row.passed["HEIGHT"] for row in rows] == [480, None, 2]
    assert [row.passed["hash"] for row in rows] == [-(2**63), None, None]
    assert [row.passed["similarity"] for row in rows] == [0.25, None, 1.0]
    assert [row.passed["punsafe"] for row in rows] == [None, None, None]
    assert unreadable == {"WIDTH": 1, "hash": 2}
    assert [row.text for row in rows] == ["a", "b", "c"]
