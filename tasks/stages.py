"""How a stage leaves its work on disk, so that files are the truth and any task may be run again at any time.

A stage of a partition writes, below ``OUT/_run/staging/part-00000/``:

    <stage>.parquet            rows that go on, in input order
    <stage>.rejected.parquet   rows that end here, with their reason
    <stage>.done.json          the marker, written last: its existence means that the other two are whole

The marker holds a digest of what the stage depends on: its settings, its models and the *content* of the stages before
(so a stage that is repeated with an equal result does not set off those after it). A stage whose marker matches is
skipped. Everything is written to a temporary name, flushed to disk and renamed; a lock per stage keeps two attempts of
one task (Dask repeats the task of a worker that it believes dead) from writing at once.

Knows nothing of Prefect, Dask or what a stage does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.schema import rejected_schema
from tasks.durable import digest_of, disk_trouble, file_digest, replacing, write_json
from tasks.errors import CaptionPipelineError

STAGES: tuple[str, ...] = ("download", "caption", "rank", "repair", "validate", "publish")

# Stages that put data before users write zstd: a third of snappy's size on captions at the same read speed.
COMPRESSION = "zstd"


@dataclass(frozen=True)
class Job:
    """One partition of one run, as every stage is told: paths and row numbers, never data."""

    out: str
    """Directory of the run."""
    partition: str
    """Name, ``part-00000``."""
    source: str
    """Input parquet file."""
    source_number: int
    """Position of the input file in the run: first half of a row's key."""
    first_row: int
    """First row of the partition in its input file."""
    rows: int
    """Rows of the partition; every one ends in ``data/`` or ``rejected/``."""
    first_run_row: int
    """Number of the first row counted over all input files: the duplicates list uses it."""
    url_column: str = "URL"
    text_column: str = "TEXT"
    input_digest: str = ""
    """Digest of the input file's footer and the row range."""

    @property
    def staging(self) -> Path:
        return Path(self.out, "_run", "staging", self.partition)

    @property
    def data_file(self) -> Path:
        return Path(self.out, "data", f"{self.partition}.parquet")

    @property
    def rejected_file(self) -> Path:
        return Path(self.out, "rejected", f"{self.partition}.parquet")

    @property
    def state_file(self) -> Path:
        return Path(self.out, "_run", "partitions", f"{self.partition}.json")


@dataclass(frozen=True)
class StageRecord:
    """The content of a done marker. Small: this is what passes between tasks."""

    stage: str
    partition: str
    digest: str
    """Of everything that the stage depends on."""
    content: str
    """Of the files that the stage wrote."""
    rows_in: int
    rows_out: int
    rows_rejected: int
    seconds: float
    """Wall time of the stage."""
    started_at: str
    finished_at: str
    figures: dict[str, Any] = field(default_factory=dict)
    """Whatever else the stage wants reported."""

    @property
    def key(self) -> str:
        """What the next stage's digest is made from."""
        return f"{self.stage}:{self.content}"


def table_path(job: Job, stage: str) -> Path:
    """Rows of ``stage`` that go on."""
    return job.staging / f"{stage}.parquet"


def rejected_path(job: Job, stage: str) -> Path:
    """Rows that ended at ``stage``."""
    return job.staging / f"{stage}.rejected.parquet"


def marker_path(job: Job, stage: str) -> Path:
    """The done marker of ``stage``."""
    return job.staging / f"{stage}.done.json"


def progress_path(job: Job, stage: str) -> Path:
    """How far a running stage is, ``{"rows": n, "of": m, "at": seconds}``; a hint for people, never trusted."""
    return job.staging / f"{stage}.progress.json"


def read_record(job: Job, stage: str) -> StageRecord | None:
    """The marker of a finished stage; None where it is missing, torn, or its files are gone."""
    try:
        return StageRecord(**json.loads(marker_path(job, stage).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


class StageOutput:
    """Where a stage puts its rows while it works; streamed, so that memory does not grow with the partition."""

    def __init__(self, job: Job, stage: str, schema: pa.Schema, table: Path, rejected: Path) -> None:
        self.rows_out = 0
        self.rows_rejected = 0
        self.figures: dict[str, Any] = {}
        self._job, self._stage = job, stage
        self._last_progress = 0.0
        self._table = pq.ParquetWriter(table, schema, compression=COMPRESSION)
        self._rejected = pq.ParquetWriter(rejected, rejected_schema(), compression=COMPRESSION)
        self._schema = schema

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows that go on: column name to values, as one row group."""
        table = pa.table(
            {f.name: pa.array(columns[f.name], f.type) for f in self._schema}, schema=self._schema
        )
        self.write_table(table)

    def write_table(self, table: pa.Table) -> None:
        """Append an Arrow table of the stage's schema."""
        if table.num_rows:
            self._table.write_table(table)
            self.rows_out += table.num_rows

    def reject(
        self,
        key: str,
        url: str | None,
        text: str | None,
        reason: str,
        detail: str = "",
        *,
        stage: str | None = None,
    ) -> None:
        """End one row here."""
        self.reject_rows(
            [
                {
                    "key": key,
                    "URL": url,
                    "TEXT": text,
                    "stage": stage or self._stage,
                    "reason": reason,
                    "detail": detail,
                }
            ]
        )

    def reject_rows(self, rows: list[dict[str, str | None]]) -> None:
        """End rows here, as one row group."""
        if rows:
            self._rejected.write_table(pa.Table.from_pylist(rows, schema=rejected_schema()))
            self.rows_rejected += len(rows)

    def progress(self, rows: int) -> None:
        """Tell watchers that ``rows`` of the partition are behind us; written at most twice a second."""
        now = time.time()
        if now - self._last_progress < 0.5:
            return
        self._last_progress = now
        # Not durable on purpose: a lost hint costs nothing. A full disk must not fail the stage here either.
        with contextlib.suppress(OSError):
            progress_path(self._job, self._stage).write_text(
                json.dumps({"rows": rows, "of": self._job.rows, "at": now})
            )

    def close(self) -> None:
        self._table.close()
        self._rejected.close()


def complete_stage(
    job: Job,
    stage: str,
    *,
    depends_on: Mapping[str, Any],
    schema: pa.Schema,
    rows_in: int,
    work: Callable[[StageOutput], None],
    error: type[CaptionPipelineError],
) -> StageRecord:
    """Run ``work`` unless the stage's marker says that it is done with equal dependencies.

    Raises ``error`` with one line if the rows do not add up or the disk refuses.
    """
    digest = digest_of({"stage": stage, "rows": rows_in, **depends_on})
    try:
        with _stage_lock(job, stage):
            done = read_record(job, stage)
            if done and done.digest == digest and table_path(job, stage).exists():
                return done
            return _run_stage(job, stage, digest, schema, rows_in, work, error)
    except OSError as reason:
        if why := disk_trouble(reason):
            raise error(why, partition=job.partition) from reason
        raise


def _run_stage(
    job: Job,
    stage: str,
    digest: str,
    schema: pa.Schema,
    rows_in: int,
    work: Callable[[StageOutput], None],
    error: type[CaptionPipelineError],
) -> StageRecord:
    started, clock = datetime.now(UTC), time.monotonic()
    marker_path(job, stage).unlink(missing_ok=True)
    for stale in job.staging.glob(f"{stage}.*.tmp"):
        stale.unlink(missing_ok=True)
    table, rejected = table_path(job, stage), rejected_path(job, stage)
    with replacing(table) as new_table, replacing(rejected) as new_rejected:
        output = StageOutput(job, stage, schema, new_table, new_rejected)
        try:
            work(output)
        finally:
            output.close()
        if output.rows_out + output.rows_rejected != rows_in:
            raise error(
                f"stage {stage} got {rows_in} rows and accounts for {output.rows_out} + {output.rows_rejected}: "
                "a defect, please report it",
                partition=job.partition,
                counts={"in": rows_in, "out": output.rows_out, "rejected": output.rows_rejected},
            )
        content = file_digest(new_table, new_rejected)
    record = StageRecord(
        stage=stage,
        partition=job.partition,
        digest=digest,
        content=content,
        rows_in=rows_in,
        rows_out=output.rows_out,
        rows_rejected=output.rows_rejected,
        seconds=round(time.monotonic() - clock, 3),
        started_at=started.isoformat(timespec="seconds"),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        figures=output.figures,
    )
    write_json(marker_path(job, stage), record)
    progress_path(job, stage).unlink(missing_ok=True)
    return record


@contextlib.contextmanager
def _stage_lock(job: Job, stage: str) -> Iterator[None]:
    job.staging.mkdir(parents=True, exist_ok=True)
    with (job.staging / f"{stage}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
