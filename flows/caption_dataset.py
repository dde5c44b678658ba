"""START HERE: the whole DAG on one screen.

    plan -> [ download -> caption -> rank -> repair -> validate -> publish ] per partition -> report

The dataset flow plans the run, opens a cluster, takes a bounded window of partitions through the flow of
``flows/caption_partition.py``, and writes the report. Every step leaves files; running it again goes on where they end.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import show_dataset
from flows.caption_partition import on_cluster
from flows.cluster import Cluster, open_cluster
from flows.config import RunConfig
from flows.settings import identify_models, unsettled, write_run_files
from tasks.errors import CaptionPipelineError
from tasks.partition_state import read_state
from tasks.plan import plan_run
from tasks.report import build_report
from tasks.run_lock import only_run
from tasks.stages import Job
from tasks.status import StatusReader

# Partitions under way per worker: one on its device, one or two in download and bookkeeping.
PARTITIONS_PER_WORKER = 2

plan = task(name="plan", cache_policy=NO_CACHE)(plan_run)
report = task(name="report", cache_policy=NO_CACHE)(build_report)


@flow(name="caption-dataset", flow_run_name="{config.out}")
def caption_dataset(config: RunConfig) -> dict[str, int]:
    """Caption all of ``config.sources`` into ``config.out``. Returns partitions published and skipped, rows published.

    Raises UserError or ModelError before anything is written, and CaptionPipelineError at the end, naming them, if
    partitions failed; the others are published all the same.
    """
    models = identify_models(config.resolve_profile())
    with only_run(config.out):
        planned = plan(list(config.sources), config.out, config.plan)
        write_run_files(config, models)
        open_jobs = unsettled(planned, config, models)
        failed: dict[str, str] = {}
        if open_jobs:
            with open_cluster(config.workers, config.scheduler) as cluster:
                failed = caption_partitions(open_jobs, cluster)
        report(config.out)
        show_dataset(StatusReader(config.out).read(), config.out)
    if failed:
        first, why = next(iter(failed.items()))
        raise CaptionPipelineError(
            f"{len(failed)} of {planned.partitions} partitions failed ({', '.join(islice(failed, 5))}"
            f"{', ...' if len(failed) > 5 else ''}); first: {why or first}; "
            f"the same command, or 'cocoscribe retry {config.out}', tries them again"
        )
    rows = sum(state["rows_published"] for job in open_jobs if (state := read_state(job)) is not None)
    return {"published": len(open_jobs), "rows": rows, "skipped": planned.partitions - len(open_jobs)}


def caption_partitions(jobs: list[Job], cluster: Cluster) -> dict[str, str]:
    """Run the partition flow for each job, a bounded window at a time. Returns the failed ones and why."""
    partition_flow = on_cluster(cluster.address)
    failed: dict[str, str] = {}
    window = cluster.workers * PARTITIONS_PER_WORKER
    waiting: Iterator[Job] = iter(jobs)
    running: dict[Future[Any], Job] = {}
    threads = ThreadPoolExecutor(window, "partition")
    try:
        while True:
            for job in islice(waiting, window - len(running)):
                # Each thread gets this flow run's context, which makes the partition's run a child of it.
                context = contextvars.copy_context()
                running[threads.submit(context.run, partition_flow, job.out, job.partition)] = job
            if not running:
                return failed
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(done)
                if (reason := done.exception()) is not None:
                    failed[job.partition] = str(reason)
    finally:
        # After Ctrl-C nobody waits for the partitions under way: their files say where they stand.
        threads.shutdown(wait=False, cancel_futures=True)
