"""Stage publish: count every row once more, then let the partition appear in ``data/`` and ``rejected/``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from expectations.schema import published_schema, rejected_schema
from tasks.durable import replacing
from tasks.errors import PublishFailed
from tasks.partition_state import mark_published
from tasks.stages import (
    COMPRESSION,
    STAGES,
    Job,
    StageOutput,
    StageRecord,
    complete_stage,
    marker_path,
    rejected_path,
    table_path,
)

VERSION = 1

# What the publish stage itself leaves in staging: the reasons, counted.
SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])


@dataclass(frozen=True)
class PublishSettings:
    """What the publish stage is told."""

    metadata: dict[str, str]
    """Key-value metadata of each data file: who wrote it."""
    run_digest: str
    """Of all settings of the run that decide a result: a partition that was published under it needs nothing."""
    keep_images: bool = True
    """Keep downloaded images in staging, so that a changed setting re-runs from there rather than from the web."""


@task(name="publish", task_run_name="{job.partition} publish", cache_policy=NO_CACHE)
def publish(job: Job, validated: StageRecord, settings: PublishSettings) -> StageRecord:
    """Publish the validated rows; every input row is in exactly one of the two files, or PublishFailed."""

    def work(output: StageOutput) -> None:
        data = pq.read_table(table_path(job, "validate"))
        rejected = pa.concat_tables(
            [pq.read_table(rejected_path(job, stage), schema=rejected_schema()) for stage in STAGES[:-1]]
        ).sort_by("key")
        _account(job, data, rejected)
        _replace(job, data.cast(published_schema()).replace_schema_metadata(settings.metadata), "data")
        _replace(job, rejected, "rejected")
        reasons = Counter(zip(rejected["stage"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
        output.figures = {
            "rows_in": job.rows,
            "rows_published": data.num_rows,
            "rows_rejected": rejected.num_rows,
            "rejected": [
                {"stage": stage, "reason": reason, "rows": rows}
                for (stage, reason), rows in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            ],
        }
        output.write({"key": data["key"].to_pylist()})

    if not (job.data_file.exists() and job.rejected_file.exists()):
        marker_path(job, "publish").unlink(missing_ok=True)
    record = complete_stage(
        job,
        "publish",
        depends_on={"version": VERSION, "input": validated.key, "metadata": settings.metadata},
        schema=SCHEMA,
        rows_in=validated.rows_out,
        work=work,
        error=PublishFailed,
    )
    # Last: its existence means that the partition is published.
    mark_published(job, record, settings.run_digest)
    if not settings.keep_images:
        table_path(job, "download").unlink(missing_ok=True)
    return record


def _account(job: Job, data: pa.Table, rejected: pa.Table) -> None:
    keys = data["key"].to_pylist() + rejected["key"].to_pylist()
    if len(keys) != job.rows or len(set(keys)) != job.rows:
        raise PublishFailed(
            f"{job.rows} rows in, but {data.num_rows} to publish and {rejected.num_rows} rejected, "
            f"{len(set(keys))} different keys: nothing was published; a defect, please report it",
            partition=job.partition,
            counts={"in": job.rows, "published": data.num_rows, "rejected": rejected.num_rows},
        )


def _replace(job: Job, table: pa.Table, kind: str) -> None:
    path = job.data_file if kind == "data" else job.rejected_file
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{path.name}.*.tmp"):
        stale.unlink(missing_ok=True)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression=COMPRESSION, row_group_size=10_000)
