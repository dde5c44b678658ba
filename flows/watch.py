"""Run the dataset flow and show a person how far it is: rows done, rate, time left, what each partition is at."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from flows.config import RunConfig
from flows.prefect_api import choose_api, prefect_api
from tasks.durable import write_json
from tasks.errors import CaptionPipelineError, UserError
from tasks.plan import Plan, inspect_run, plan_path
from tasks.run_lock import refuse_second_run
from tasks.stages import STAGES
from tasks.status import RunStatus, StatusReader

_POLL_SECONDS = 0.5
# The run's own Prefect database and the first stage files; what the run itself needs depends on its images.
_LEAST_FREE_BYTES = 64 << 20


@dataclass(frozen=True)
class Outcome:
    """One invocation on a run: what it did and what the run stands at now."""

    status: RunStatus
    partitions_done: int
    """Partitions that this invocation published."""
    rows_done: int
    """Rows that this invocation published."""
    seconds: float
    """Wall time of this invocation."""


def run_and_watch(config: RunConfig, console: Console) -> Outcome:
    """Run ``config`` to its end under a progress display on ``console``.

    Raises what the flow raises: UserError, ModelError, CaptionPipelineError.
    """
    planned = inspect_run(list(config.sources), config.out, config.plan)
    refuse_second_run(config.out)
    refuse_full_disk(config.out)
    reader = StatusReader(config.out)
    before = reader.read() if plan_path(config.out).exists() else None
    api = choose_api()
    # A log line that cannot be delivered, as while Ctrl-C ends the processes, is no news for the terminal.
    logging.raiseExceptions = False
    models = _identify(config)
    if before and before.complete and _nothing_to_do(planned, config, models):
        return Outcome(before, 0, 0, 0.0)
    clock = time.monotonic()
    with watching(reader, console, before), prefect_api(api, config.out, meanwhile=_import_flow):
        done = _import_flow()(config)
    after = reader.read()
    seconds = time.monotonic() - clock
    outcome = Outcome(after, done["published"], done["rows"], seconds)
    if outcome.partitions_done:
        keep_last_run(config.out, outcome)
    return outcome


def refuse_full_disk(out: Path) -> None:
    """Raise CaptionPipelineError, with nothing written, where ``out``'s disk has no room to begin with."""
    there = next(path for path in (out, *out.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < _LEAST_FREE_BYTES:
        raise CaptionPipelineError(
            f"no space left for {out}: {free >> 20} MB free, {_LEAST_FREE_BYTES >> 20} MB are the least to begin with"
        )


# These import Prefect, which reads its settings from the environment then: after choose_api().
def _identify(config: RunConfig) -> dict[str, dict[str, str | None]]:
    from flows.settings import identify_models

    return identify_models(config.resolve_profile())


def _nothing_to_do(planned: Plan, config: RunConfig, models: dict[str, dict[str, str | None]]) -> bool:
    from flows.settings import unsettled

    return not unsettled(planned, config, models)


def _import_flow() -> Callable[[RunConfig], dict[str, int]]:
    from flows.caption_dataset import caption_dataset

    return caption_dataset


def keep_last_run(out: Path, outcome: Outcome) -> None:
    """Keep the wall time of the last invocation that did something, for report and card."""
    write_json(
        out / "_run" / "last_run.json",
        {
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(outcome.seconds, 2),
            "rows_published": outcome.rows_done,
        },
    )


class _RateColumn(ProgressColumn):
    """Rows per second since this invocation began, and the time left at that rate."""

    def render(self, task: Task) -> Text:
        done = task.completed - float(task.fields["at_start"])
        elapsed = task.elapsed or 0.0
        if done <= 0 or elapsed <= 0:
            return Text("-- rows/s", style="progress.data.speed")
        rate = done / elapsed
        left = (float(task.total or 0) - task.completed) / rate
        return Text(f"{rate:,.1f} rows/s, {duration(left)} left", style="progress.data.speed")


@contextmanager
def watching(reader: StatusReader, console: Console, before: RunStatus | None) -> Iterator[None]:
    """Show progress from the run's files until the block ends; nothing where ``console`` is not a terminal."""
    if not console.is_terminal:
        yield
        return
    at_start = (before.rows_published + before.rows_rejected) if before else 0
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} rows"),
        _RateColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    bar = progress.add_task(
        "starting", total=before.rows_in if before else 1, completed=at_start, at_start=at_start
    )
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                status = reader.read()
            except (UserError, OSError):
                continue  # not planned yet, or a file is being replaced
            progress.update(
                bar, total=status.rows_in, completed=_rows_behind(status), description=_headline(status)
            )

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    with progress:
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _rows_behind(status: RunStatus) -> float:
    """Rows done, counting the partitions under way by stage: the six stages count alike."""
    part = sum((STAGES.index(u.stage) * u.of + u.rows) / len(STAGES) for u in status.under_way)
    return status.rows_published + status.rows_rejected + part


def _headline(status: RunStatus) -> str:
    stages = [
        f"{sum(u.stage == s for u in status.under_way)} {s}"
        for s in STAGES
        if any(u.stage == s for u in status.under_way)
    ]
    failed = f", [red]{len(status.failed)} failed[/red]" if status.failed else ""
    return f"{status.published}/{status.partitions} partitions{failed}{': ' if stages else ''}{', '.join(stages)}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 5 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def refuse(reason: Exception) -> tuple[str, int]:
    """The line for a user and the exit code: 2 for usage, 1 for failure."""
    if isinstance(reason, CaptionPipelineError):
        return str(reason), 2 if isinstance(reason, UserError) else 1
    return str(reason), 1


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The last line of ``--json``."""
    return {
        **outcome.status.to_json(),
        "partitions_done": outcome.partitions_done,
        "images_per_second": round(outcome.rows_done / outcome.seconds, 2) if outcome.seconds else 0.0,
        "seconds_total": round(outcome.seconds, 2),
    }
