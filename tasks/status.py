"""What a run has done so far, read from its files: partitions by state, rows by outcome, seconds by stage."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.plan import Plan, read_plan
from tasks.stages import STAGES


@dataclass(frozen=True)
class UnderWay:
    """A partition that is being worked on, or was when its process ended."""

    partition: str
    stage: str
    rows: int
    """Rows of the stage that are done, as far as is known."""
    of: int


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment."""

    partitions: int
    published: int
    failed: dict[str, str]
    """Partition name to error line."""
    under_way: list[UnderWay]
    rows_in: int
    """Rows of the whole run."""
    rows_published: int
    rows_rejected: int
    rejected_by_reason: dict[str, int]
    seconds_by_stage: dict[str, float]
    """Summed over partitions; stages of different partitions overlap, so this is work, not waiting."""

    @property
    def rows_left(self) -> int:
        return self.rows_in - self.rows_published - self.rows_rejected

    @property
    def complete(self) -> bool:
        return self.published == self.partitions

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        waiting = self.partitions - self.published - len(self.failed) - len(self.under_way)
        return {
            "partitions": {
                "total": self.partitions,
                "published": self.published,
                "failed": len(self.failed),
                "under_way": len(self.under_way),
                "waiting": waiting,
            },
            "failed": self.failed,
            "under_way": [vars(u) for u in self.under_way],
            "rows_in": self.rows_in,
            "rows_published": self.rows_published,
            "rows_rejected": self.rows_rejected,
            "rows_left": self.rows_left,
            "rejected_by_reason": self.rejected_by_reason,
            "seconds_by_stage": self.seconds_by_stage,
        }


@dataclass
class StatusReader:
    """Reads a run's status again and again; the files of published partitions are read once."""

    out: Path
    _plan: Plan | None = None
    _published: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def read(self) -> RunStatus:
        """The run as its files stand now. Raises UserError where ``out`` holds no run."""
        plan = self._plan = self._plan or read_plan(self.out)
        failed: dict[str, str] = {}
        under_way: list[UnderWay] = []
        rejected: Counter[str] = Counter()
        seconds: Counter[str] = Counter()
        published: list[dict[str, Any]] = []
        run_digest = self._run_digest()
        for job in plan.jobs(self.out):
            state = self._state(job.partition, job.state_file)
            if state and state["state"] == "published" and state["run_digest"] != run_digest:
                state = None  # made under settings that have changed since: its turn comes
            if state is None:
                if job.staging.is_dir():
                    under_way.append(_under_way(job.partition, job.staging, job.rows))
            elif state["state"] == "failed":
                failed[job.partition] = state["error"]
            else:
                published.append(state)
                rejected.update({r["reason"]: r["rows"] for r in state["rejected"]})
                seconds.update(state["seconds"])
        return RunStatus(
            partitions=plan.partitions,
            published=len(published),
            failed=failed,
            under_way=under_way,
            rows_in=plan.rows,
            rows_published=sum(s["rows_published"] for s in published),
            rows_rejected=sum(s["rows_rejected"] for s in published),
            rejected_by_reason=dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
            seconds_by_stage={stage: round(seconds[stage], 2) for stage in STAGES if stage in seconds},
        )

    def _run_digest(self) -> str | None:
        """Of the settings that the run was last started with."""
        try:
            found: dict[str, Any] = json.loads((self.out / "_run" / "models.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found.get("run_digest")

    def _state(self, partition: str, path: Path) -> dict[str, Any] | None:
        try:
            changed = path.stat().st_mtime_ns
            if (known := self._published.get(partition)) and known[0] == changed:
                return known[1]
            state: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        self._published[partition] = (changed, state)
        return state


def _under_way(partition: str, staging: Path, rows: int) -> UnderWay:
    stage = next((s for s in STAGES if not (staging / f"{s}.done.json").exists()), STAGES[-1])
    try:
        hint = json.loads((staging / f"{stage}.progress.json").read_text())
        return UnderWay(partition, stage, int(hint["rows"]), int(hint["of"]))
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return UnderWay(partition, stage, 0, rows)
