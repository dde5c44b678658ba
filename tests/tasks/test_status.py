"""Status: read from files alone, however far a run is."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.durable import write_json
from tasks.errors import UserError
from tasks.partition_state import mark_failed
from tasks.plan import PlanSettings, plan_run
from tasks.stages import Job, StageOutput
from tasks.status import StatusReader


@pytest.fixture
def out(tmp_path: Path) -> Path:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"URL": [f"http://h/{n}" for n in range(50)], "TEXT": ["t"] * 50}), source)
    plan_run([source], tmp_path / "out", PlanSettings(partition_rows=10))
    write_json(tmp_path / "out" / "_run" / "models.json", {"run_digest": "now"})
    return tmp_path / "out"


def publish(out: Path, number: int, run_digest: str = "now") -> None:
    state = {
        "partition": f"part-{number:05d}", "state": "published", "run_digest": run_digest,
        "rows_in": 10, "rows_published": 8, "rows_rejected": 2,
        "rejected": [{"stage": "download", "reason": "http_not_found", "rows": 2}],
        "seconds": {"download": 1.5, "caption": 2.0},
    }  # fmt: skip
    write_json(out / "_run" / "partitions" / f"part-{number:05d}.json", state)


def test_every_partition_is_in_one_state_and_every_row_in_one_place(out: Path) -> None:
    publish(out, 0)
    publish(out, 1)
    job = Job(str(out), "part-00002", "in.parquet", 0, 20, 10, 20)
    mark_failed(job, ValueError("the disk\nis full"))
    running = Job(str(out), "part-00003", "in.parquet", 0, 30, 10, 30)
    running.staging.mkdir(parents=True)
    (running.staging / "download.done.json").write_text("{}")
    write_json(running.staging / "caption.progress.json", {"rows": 4, "of": 10, "at": 0.0})
    found = StatusReader(out).read()
    figures = found.to_json()
    assert figures["partitions"] == {"total": 5, "published": 2, "failed": 1, "under_way": 1, "waiting": 1}
    assert figures["failed"] == {"part-00002": "the disk"}
    assert figures["under_way"] == [{"partition": "part-00003", "stage": "caption", "rows": 4, "of": 10}]
    assert (found.rows_in, found.rows_published, found.rows_rejected, found.rows_left) == (50, 16, 4, 30)
    assert found.rejected_by_reason == {"http_not_found": 4}
    assert found.seconds_by_stage == {"download": 3.0, "caption": 4.0}
    assert not found.complete


def test_a_partition_made_under_other_settings_is_not_done(out: Path) -> None:
    for number in range(5):
        publish(out, number, "before" if number == 3 else "now")
    found = StatusReader(out).read()
    assert found.published == 4
    assert not found.complete
    publish(out, 3)
    assert StatusReader(out).read().complete


def test_a_reader_sees_what_changed_since_it_last_looked(out: Path) -> None:
    reader = StatusReader(out)
    assert reader.read().published == 0
    publish(out, 0)
    assert reader.read().published == 1


def test_no_run_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        StatusReader(tmp_path).read()


def test_progress_of_a_stage_is_seen_while_it_runs(out: Path) -> None:
    job = Job(str(out), "part-00000", "in.parquet", 0, 0, 10, 0)
    job.staging.mkdir(parents=True)
    schema = pa.schema([pa.field("key", pa.string())])
    output = StageOutput(job, "download", schema, out / "table", out / "rejected")
    output.progress(7)
    output.close()
    assert StatusReader(out).read().under_way[0].rows == 7
