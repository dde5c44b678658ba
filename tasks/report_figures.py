"""What a run left, summed up partition by partition: memory does not grow with the run.

Reads OUT/_run, OUT/data and OUT/rejected only. A file that is missing (a partition under way, an older run) leaves its
figures out; nothing here stops a report.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.caption_text import word_counts
from tasks.plan import Plan, read_plan
from tasks.stages import STAGES, Job

# Histograms end here; what is more counts as this much. The gate lets no longer caption pass unless told otherwise.
MOST_WORDS = 40
MOST_CANDIDATES = 40
RANKS = 10
SAMPLES_PER_REASON = 3
FAILURES_SHOWN = 20

_DATA_COLUMNS = ["top_caption", "all_captions", "all_similarities", "repair", "model"]


@dataclass
class GateFigures:
    """One expectation over all partitions."""

    name: str
    severity: str
    scope: str
    why: str
    column: str = ""
    partitions: int = 0
    partitions_failed: int = 0
    rows: int = 0
    rows_failed: int = 0
    lowest: float | None = None
    highest: float | None = None
    """Of the figure that it judged, where it is one."""
    said: str = ""
    """What was wrong, in words, where it said so."""

    def add(self, outcome: dict[str, Any]) -> None:
        """Count one partition's outcome."""
        self.partitions += 1
        self.partitions_failed += not outcome["success"]
        self.rows += outcome["element_count"]
        self.rows_failed += outcome["unexpected_count"]
        observed = outcome.get("observed")
        if isinstance(observed, (int, float)):
            self.lowest = observed if self.lowest is None else min(self.lowest, observed)
            self.highest = observed if self.highest is None else max(self.highest, observed)
        elif observed:
            self.said = str(observed)


@dataclass
class RunFigures:
    """The whole run in numbers."""

    partitions: int
    rows_in: int
    """Of all partitions, published or not."""
    published: list[str] = field(default_factory=list)
    """Names of published partitions."""
    failed: dict[str, str] = field(default_factory=dict)
    """The first failed partitions and why."""
    failed_count: int = 0
    rows_settled: int = 0
    """Rows of published partitions: published and rejected."""
    rows_published: int = 0
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by (stage, reason)."""
    samples: dict[tuple[str, str], list[dict[str, str | None]]] = field(default_factory=dict)
    """A few rejected rows by (stage, reason)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Work by stage, summed over partitions, which overlap."""
    began: str | None = None
    ended: str | None = None
    """When the first partition's first stage began and the last one was published (ISO 8601, UTC)."""
    words: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(MOST_WORDS + 1, np.int64))
    """Captions by number of words."""
    words_sum: int = 0
    words_squares: int = 0
    candidates: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(MOST_CANDIDATES + 1, np.int64))
    """Images by number of unique candidates."""
    rank_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(RANKS, np.int64))
    rank_sums: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(RANKS))
    rank_squares: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(RANKS))
    """Stage-1 similarity of the n-th best candidate: how many, sum, sum of squares."""
    repairs: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    gate: dict[str, GateFigures] = field(default_factory=dict)

    @property
    def rows_rejected(self) -> int:
        return sum(self.rejected.values())

    @property
    def words_mean(self) -> float:
        return self.words_sum / self.rows_read if self.rows_read else 0.0

    @property
    def words_sd(self) -> float:
        if not self.rows_read:
            return 0.0
        return math.sqrt(max(0.0, self.words_squares / self.rows_read - self.words_mean**2))

    @property
    def rows_read(self) -> int:
        """Published rows whose text was read."""
        return int(self.words.sum())

    @property
    def candidates_mean(self) -> float:
        return float(self.candidates @ np.arange(len(self.candidates))) / max(1, int(self.candidates.sum()))

    def rows_after(self) -> dict[str, int]:
        """Rows of published partitions that are left after each stage."""
        left = self.rows_settled
        after = {}
        for stage in ("plan", *STAGES):  # the plan ends repeated and missing URLs
            left -= sum(rows for (where, _), rows in self.rejected.items() if where == stage)
            after[stage] = left
        return after


def read_figures(out: Path) -> RunFigures:
    """Sum up the run in ``out``. Raises UserError where there is none."""
    plan = read_plan(out)
    figures = RunFigures(plan.partitions, plan.rows)
    for job, state in partition_states(out, plan):
        for outcome in read_json(out / "_run" / "validation" / f"{job.partition}.json").get("results", ()):
            gate = figures.gate.setdefault(
                outcome["name"],
                GateFigures(
                    outcome["name"], outcome["severity"], outcome["scope"], outcome["why"], outcome["column"]
                ),
            )
            gate.add(outcome)
        if state.get("state") == "failed":
            figures.failed_count += 1
            if len(figures.failed) < FAILURES_SHOWN:
                figures.failed[job.partition] = str(state.get("error", ""))
        elif state.get("state") == "published":
            _add_state(figures, job, state)
            _add_rejected(figures, job, state)
            _add_data(figures, job)
    return figures


def partition_states(out: Path, plan: Plan) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each partition and its state file; empty where it has none yet."""
    for job in plan.jobs(out):
        yield job, read_json(job.state_file)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _add_state(figures: RunFigures, job: Job, state: dict[str, Any]) -> None:
    figures.published.append(job.partition)
    figures.rows_settled += state["rows_in"]
    figures.rows_published += state["rows_published"]
    for entry in state["rejected"]:
        figures.rejected[entry["stage"], entry["reason"]] += entry["rows"]
    for stage, seconds in state["seconds"].items():
        figures.seconds[stage] = figures.seconds.get(stage, 0.0) + seconds
    figures.began = min(filter(None, (figures.began, state.get("started_at"))), default=None)
    figures.ended = max(filter(None, (figures.ended, state.get("finished_at"))), default=None)


def _add_rejected(figures: RunFigures, job: Job, state: dict[str, Any]) -> None:
    """Keep a few rows of each reason; a partition whose reasons have enough is not opened."""
    wanted = {
        reason
        for entry in state["rejected"]
        if len(figures.samples.get(reason := (entry["stage"], entry["reason"]), ())) < SAMPLES_PER_REASON
    }
    if not wanted or not job.rejected_file.exists():
        return
    with pq.ParquetFile(job.rejected_file) as file:
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                kept = figures.samples.setdefault((row["stage"], row["reason"]), [])
                if len(kept) < SAMPLES_PER_REASON:
                    kept.append(row)


def _add_data(figures: RunFigures, job: Job) -> None:
    if not job.data_file.exists():
        return
    with pq.ParquetFile(job.data_file) as file:
        for batch in file.iter_batches(batch_size=10_000, columns=_DATA_COLUMNS):
            words = word_counts(batch["top_caption"])
            figures.words += np.bincount(np.minimum(words, MOST_WORDS), minlength=MOST_WORDS + 1)
            figures.words_sum += int(words.sum())
            figures.words_squares += int((words**2).sum())
            lengths = np.asarray(pc.list_value_length(batch["all_captions"]).fill_null(0), dtype=np.int64)
            figures.candidates += np.bincount(
                np.minimum(lengths, MOST_CANDIDATES), minlength=MOST_CANDIDATES + 1
            )
            _add_similarities(figures, batch["all_similarities"])
            figures.repairs.update(_counts(batch["repair"]))
            figures.models.update(_counts(batch["model"]))


def _add_similarities(figures: RunFigures, similarities: pa.Array) -> None:
    lengths = np.asarray(pc.list_value_length(similarities).fill_null(0), dtype=np.int64)
    values = np.asarray(pc.list_flatten(similarities), dtype=np.float64)
    begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
    ranks = np.arange(len(values)) - begins
    near = ranks < RANKS
    ranks, values = ranks[near], values[near]
    figures.rank_counts += np.bincount(ranks, minlength=RANKS)
    figures.rank_sums += np.bincount(ranks, weights=values, minlength=RANKS)
    figures.rank_squares += np.bincount(ranks, weights=values**2, minlength=RANKS)


def _counts(values: pa.Array) -> dict[str, int]:
    return {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(values).to_pylist()}
