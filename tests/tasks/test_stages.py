"""Stage files: atomic, skipped when they match, never half-written, never unaccounted."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import GenerationFailed
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, read_record, rejected_path, table_path

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])


def job_in(out: Path, rows: int = 3) -> Job:
    return Job(str(out), "part-00000", "in.parquet", 0, 0, rows, 0)


def work(output: StageOutput) -> None:
    output.write({"key": ["a"]})
    output.write({"key": ["b"]})
    output.reject("c", "http://c", None, "reason", "detail")


def stage(job: Job, work: object = work, **depends_on: object) -> StageRecord:
    return complete_stage(
        job,
        "caption",
        depends_on=depends_on,
        schema=SCHEMA,
        rows_in=job.rows,
        work=work,
        error=GenerationFailed,  # type: ignore[arg-type]
    )


def test_a_finished_stage_leaves_table_rejects_and_marker_and_nothing_else(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    record = stage(job, seed=1)
    assert (record.rows_in, record.rows_out, record.rows_rejected) == (3, 2, 1)
    assert pq.read_table(table_path(job, "caption"))["key"].to_pylist() == ["a", "b"]
    assert pq.read_table(rejected_path(job, "caption")).to_pylist() == [
        {
            "key": "c",
            "URL": "http://c",
            "TEXT": None,
            "stage": "caption",
            "reason": "reason",
            "detail": "detail",
        }
    ]
    assert read_record(job, "caption") == record
    assert {p.name for p in job.staging.iterdir()} == {
        "caption.parquet", "caption.rejected.parquet", "caption.done.json", "caption.lock",
    }  # fmt: skip


def test_it_is_skipped_when_its_dependencies_match_and_redone_when_not(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    runs = []

    def counted(output: StageOutput) -> None:
        runs.append(1)
        work(output)

    first = stage(job, counted, seed=1)
    assert stage(job, counted, seed=1) == first
    assert len(runs) == 1
    second = stage(job, counted, seed=2)
    assert len(runs) == 2
    assert second.digest != first.digest
    assert second.content == first.content, "equal rows have equal content: later stages need not run"
    table_path(job, "caption").unlink()
    stage(job, counted, seed=2)
    assert len(runs) == 3


def test_a_torn_marker_means_not_done(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    stage(job)
    (job.staging / "caption.done.json").write_text('{"stage": "capt')
    assert read_record(job, "caption") is None
    assert stage(job).rows_out == 2


def test_rows_that_do_not_add_up_fail_and_leave_nothing(tmp_path: Path) -> None:
    job = job_in(tmp_path, rows=4)
    with pytest.raises(
        GenerationFailed, match=r"part-00000: stage caption got 4 rows and accounts for 2 \+ 1"
    ) as caught:
        stage(job)
    assert caught.value.counts == {"in": 4, "out": 2, "rejected": 1}
    assert read_record(job, "caption") is None
    assert [p.name for p in job.staging.iterdir()] == ["caption.lock"]


def test_a_failing_stage_keeps_no_marker_of_an_older_result(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    stage(job, seed=1)

    def broken(output: StageOutput) -> None:
        output.write({"key": ["a"]})
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        stage(job, broken, seed=2)
    assert read_record(job, "caption") is None
    assert not list(job.staging.glob("*.tmp"))


@pytest.mark.parametrize(
    ("code", "line"), [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_a_full_or_read_only_disk_is_one_line(tmp_path: Path, code: int, line: str) -> None:
    job = job_in(tmp_path)

    def full(output: StageOutput) -> None:
        raise OSError(code, "strerror", "file")

    with pytest.raises(GenerationFailed, match=line) as caught:
        stage(job, full)
    assert "\n" not in str(caught.value)


def test_stale_temporary_files_of_a_killed_attempt_are_swept(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    job.staging.mkdir(parents=True)
    (job.staging / "caption.parquet.123-456.tmp").write_bytes(b"half")
    (job.staging / "rank.parquet.123-456.tmp").write_bytes(b"another stage's")
    stage(job)
    assert [p.name for p in job.staging.glob("*.tmp")] == ["rank.parquet.123-456.tmp"]


def test_two_attempts_at_once_do_the_work_once(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    runs = []
    together = threading.Barrier(2)

    def counted(output: StageOutput) -> None:
        runs.append(1)
        work(output)

    def attempt() -> None:
        together.wait()
        stage(job, counted)

    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
