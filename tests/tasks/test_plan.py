"""Plan: partitions, keys, repeats over a whole run, and the user's mistakes as one line with nothing written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.duplicates import duplicates_of, find_duplicates
from tasks.errors import UserError
from tasks.plan import PlanSettings, duplicates_path, plan_run, read_plan


def write(path: Path, urls: list[str | None], **columns: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"URL": pa.array(urls, pa.string()), "TEXT": ["t"] * len(urls), **columns}), path)
    return path


def test_partitions_cover_every_row_once_and_stop_at_file_ends(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.parquet", [f"a{i}" for i in range(7)])
    write(tmp_path / "in" / "deep" / "b.parquet", [f"b{i}" for i in range(4)])
    plan = plan_run([tmp_path / "in"], tmp_path / "out", PlanSettings(partition_rows=3))
    jobs = list(plan.jobs(tmp_path / "out"))
    assert [(j.partition, j.source_number, j.first_row, j.rows, j.first_run_row) for j in jobs] == [
        ("part-00000", 0, 0, 3, 0),
        ("part-00001", 0, 3, 3, 3),
        ("part-00002", 0, 6, 1, 6),
        ("part-00003", 1, 0, 3, 7),
        ("part-00004", 1, 3, 1, 10),
    ]
    assert plan.partitions == 5
    assert plan.rows == 11
    assert read_plan(tmp_path / "out") == plan
    with pytest.raises(IndexError):
        plan.job(tmp_path / "out", 5)


def test_limit_counts_over_files(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.parquet", ["1", "2", "3"]), write(tmp_path / "b.parquet", ["4", "5"])
    plan = plan_run([a, b], tmp_path / "out", PlanSettings(partition_rows=2, limit=4))
    assert [source.rows for source in plan.sources] == [3, 1]


@pytest.mark.parametrize("rows_per_bucket", [1, 3, 1_000_000])
def test_repeats_are_found_across_files_whatever_the_buckets(tmp_path: Path, rows_per_bucket: int) -> None:
    a = write(tmp_path / "a.parquet", ["x", "y", "x", None, None, "", "z"])
    b = write(tmp_path / "b.parquet", ["z", "w", "y", "x"])
    target = tmp_path / "duplicates.npy"
    found = find_duplicates([(a, 7), (b, 3)], "URL", target, rows_per_bucket=rows_per_bucket)
    assert found == 3
    # Rows of b start at 7; its last row is beyond the limit of 3.
    assert duplicates_of(target, 0, 11) == {2: 0, 7: 6, 9: 1}
    assert duplicates_of(target, 7, 2) == {7: 6}


def test_a_second_call_takes_up_the_same_run_and_another_input_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", ["1", "2", "1"])
    out = tmp_path / "out"
    first = plan_run([source], out, PlanSettings())
    assert plan_run([source], out, PlanSettings()) == first
    assert duplicates_of(duplicates_path(out), 0, 3) == {2: 0}
    with pytest.raises(UserError, match="holds another run"):
        plan_run([source], out, PlanSettings(partition_rows=2))
    write(source, ["1", "2", "3"])
    with pytest.raises(UserError, match="holds another run"):
        plan_run([source], out, PlanSettings())


def test_mistakes_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    good = write(tmp_path / "good.parquet", ["1"])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    empty_folder = tmp_path / "folder"
    empty_folder.mkdir()
    foreign = tmp_path / "foreign"
    (foreign / "data").mkdir(parents=True)
    cases = [
        ([tmp_path / "none.parquet"], PlanSettings(), "no such file"),
        ([broken], PlanSettings(), "not a readable parquet file"),
        ([empty_folder], PlanSettings(), r"holds no \.parquet"),
        ([write(tmp_path / "zero.parquet", [])], PlanSettings(), "no rows"),
        ([good], PlanSettings(url_column="url"), "has no column 'url' .it has URL, TEXT.*--url-col"),
        ([write(tmp_path / "n.parquet", ["1"], alt=[3])], PlanSettings(text_column="alt"), "int64, not text"),
        ([good], PlanSettings(partition_rows=0), "at least 1"),
        ([good], PlanSettings(limit=0), "at least 1"),
    ]
    for paths, settings, message in cases:
        with pytest.raises(UserError, match=message) as caught:
            plan_run(paths, tmp_path / "out", settings)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="not a run of cocoscribe"):
        plan_run([good], foreign, PlanSettings())
    assert not (foreign / "_run").exists()
