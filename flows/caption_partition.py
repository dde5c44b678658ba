"""Flow caption-partition: six stages of one partition. The unit that is retried.

    download -> caption -> rank -> repair -> validate -> publish

Each stage is one Prefect task on a Dask worker, skips itself where its files are there already, and hands on a small
record. Model stages ask for the worker's device; downloads do not, and so overlap with another partition's captioning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
from prefect import Task, flow
from prefect.futures import PrefectFuture
from prefect_dask import DaskTaskRunner

from flows.artifacts import show_failure, show_partition
from flows.cluster import DEVICE
from flows.settings import read_config, read_models, stage_settings
from tasks.caption import caption
from tasks.download.stage import download
from tasks.errors import UserError
from tasks.partition_state import is_settled, mark_failed, read_state, withdraw
from tasks.plan import read_plan
from tasks.publish import publish
from tasks.rank import rank
from tasks.repair import repair
from tasks.stages import Job, StageRecord
from tasks.validate import validate


@flow(name="caption-partition", flow_run_name="{partition}", validate_parameters=False)
def caption_partition(out: str, partition: str) -> dict[str, Any]:
    """Take one partition from wherever it stands to published. Returns its state, with counts and seconds.

    Raises the first stage's CaptionPipelineError; the partition's state file then says "failed" and why.
    """
    job = find_job(Path(out), partition)
    config = read_config(Path(out))
    settings = stage_settings(config, read_models(Path(out)))
    if not is_settled(job, settings.publish.run_digest):
        withdraw(job)

    downloaded = stage(download, job, settings.download)
    with dask.annotate(resources={DEVICE: 1}):
        captioned = stage(caption, job, downloaded, settings.caption)
        ranked = stage(rank, job, downloaded, captioned, settings.rank)
        repaired = stage(repair, job, ranked, settings.repair)
    validated = stage(validate, job, repaired, settings.validate)
    published = stage(publish, job, validated, settings.publish)

    try:
        first_failure_first(downloaded, captioned, ranked, repaired, validated, published)
    except Exception as reason:
        mark_failed(job, reason)
        show_failure(partition, str(reason))
        raise
    state = read_state(job) or {}
    show_partition(state)
    return state


def stage(step: Task[..., StageRecord], job: Job, *inputs: Any) -> PrefectFuture[StageRecord]:
    """Send a stage to a Dask worker; it starts when the stages among its inputs are done."""
    return step.submit(job, *inputs)


def on_cluster(address: str) -> Any:
    """The flow with its tasks on the Dask scheduler at ``address``."""
    return caption_partition.with_options(task_runner=DaskTaskRunner(address=address))


def find_job(out: Path, partition: str) -> Job:
    """The job of a partition by name; UserError where the plan has none such."""
    plan = read_plan(out)
    number = partition.removeprefix("part-")
    if not number.isdecimal() or int(number) >= plan.partitions:
        raise UserError(
            f"{out} has no partition {partition}; it has part-00000 to part-{plan.partitions - 1:05d}"
        )
    return plan.job(out, int(number))


def first_failure_first(*stages: PrefectFuture[StageRecord]) -> None:
    """Wait for all; raise the first error in DAG order: what follows a failed stage only says that it never began."""
    for future in stages:
        future.result()
