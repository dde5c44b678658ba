"""The state of a partition as people and later runs see it: ``OUT/_run/partitions/part-00000.json``.

    no file       not begun, or under way (its staging directory says which stage)
    "published"   whole in ``data/`` and ``rejected/``; written last of all
    "failed"      stopped at a stage, with the error's line

Knows the files only.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

from tasks.durable import write_json
from tasks.stages import STAGES, Job, StageRecord, read_record


def read_state(job: Job) -> dict[str, Any] | None:
    """The partition's state; None where there is none yet."""
    try:
        state: dict[str, Any] = json.loads(job.state_file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state


def is_settled(job: Job, run_digest: str) -> bool:
    """Whether the partition is published, whole, and made under the settings of ``run_digest``: nothing to do."""
    return bool(
        (state := read_state(job))
        and state["state"] == "published"
        and state["run_digest"] == run_digest
        and job.data_file.exists()
        and job.rejected_file.exists()
    )


def withdraw(job: Job) -> None:
    """Take a partition out of ``data/``: it failed, or what is there was made under other settings."""
    for path in (job.state_file, job.data_file, job.rejected_file):
        path.unlink(missing_ok=True)


def mark_failed(job: Job, reason: BaseException) -> None:
    """Keep why a partition stopped, for status and retry. A full disk must not hide the first error."""
    done = [stage for stage in STAGES if read_record(job, stage) is not None]
    stage = STAGES[min(len(done), len(STAGES) - 1)]
    with contextlib.suppress(OSError):
        write_json(
            job.state_file,
            {
                "partition": job.partition,
                "state": "failed",
                "stage": stage,
                "error": (str(reason).splitlines() or [type(reason).__name__])[0],
                "kind": type(reason).__name__,
                "rows_in": job.rows,
                "failed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )


def mark_published(job: Job, published: StageRecord, run_digest: str) -> None:
    """Say that a partition is whole, with its counts and seconds."""
    stages = {stage: record for stage in STAGES if (record := read_record(job, stage)) is not None}
    write_json(
        job.state_file,
        {
            "partition": job.partition,
            "state": "published",
            "run_digest": run_digest,
            **{k: published.figures[k] for k in ("rows_in", "rows_published", "rows_rejected", "rejected")},
            "seconds": {stage: record.seconds for stage, record in stages.items()},
            "started_at": min(record.started_at for record in stages.values()),
            "finished_at": published.finished_at,
            "figures": {stage: r.figures for stage, r in stages.items() if stage != "publish"},
        },
    )
