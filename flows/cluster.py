"""The only file that names a cluster: where stages run. Knows nothing of what a stage does.

    --scheduler ADDR      the Dask scheduler at ADDR; its workers must offer the resource GPU
    a GPU is found        LocalCUDACluster, one worker process per GPU
    otherwise             LocalCluster of processes

A stage that uses models asks for the resource ``GPU`` (one per worker, also where there is no GPU: it stands for "the
device of this worker"). Downloads do not, and each worker has a second thread for them, so that the images of the next
partition come while this one is captioned.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import dask
import distributed

from tasks.errors import UserError

DEVICE = "GPU"
# One thread for the device's stage, one for downloads of other partitions.
THREADS_PER_WORKER = 2


@dataclass(frozen=True)
class Cluster:
    """A running cluster: what flows need to know of it."""

    address: str
    workers: int


def gpu_count() -> int:
    """GPUs that Dask-CUDA can use; 0 without a driver."""
    import pynvml
    from dask_cuda.utils import get_n_gpus

    try:
        return int(get_n_gpus())
    except pynvml.NVMLError:
        return 0


def default_workers() -> int:
    """One per GPU, else one per core up to four: more share of the cores gains little and costs memory."""
    return gpu_count() or max(1, min(4, (os.cpu_count() or 1)))


@contextlib.contextmanager
def open_cluster(workers: int | None = None, scheduler: str | None = None) -> Iterator[Cluster]:
    """Start a cluster on this machine, or join the one at ``scheduler``; what was started here ends with the block."""
    if scheduler:
        yield _join(scheduler)
        return
    count = workers or default_workers()
    with dask.config.set(_memory_is_ours()):
        with _deaf_children():
            cluster = _local(count)
        with cluster:
            yield Cluster(cluster.scheduler_address, count)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start in this block ignore Ctrl-C: it is for the run, which then ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signals; nor does Ctrl-C reach runs without a terminal
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _memory_is_ours() -> dict[str, object]:
    # Stages bound their memory themselves; pausing or spilling would only hold them up.
    return {
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
    }


def _local(count: int) -> distributed.LocalCluster:
    options: dict[str, object] = {
        "n_workers": count,
        "resources": {DEVICE: 1},
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": logging.ERROR,
    }
    if gpu_count():
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(threads_per_worker=THREADS_PER_WORKER, **options)
    threads = max(1, (os.cpu_count() or 1) // count)
    return distributed.LocalCluster(
        processes=True,
        threads_per_worker=THREADS_PER_WORKER,
        # Worker processes inherit it before torch is imported: all cores are used, none twice.
        env={"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        # Memory is bounded by the stages; Dask's nanny must not kill a worker in the middle of a batch.
        memory_limit=0,
        **options,
    )


def _join(address: str) -> Cluster:
    try:
        with distributed.Client(address, timeout="10s", set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            deadline = time.monotonic() + 20
            while not workers and time.monotonic() < deadline:
                time.sleep(0.5)
                workers = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, TimeoutError, ValueError) as reason:
        raise UserError(f"no Dask scheduler answers at {address}: {reason}") from None
    able = [w for w in workers.values() if w.get("resources", {}).get(DEVICE, 0) >= 1]
    if not able:
        raise UserError(
            f"the Dask scheduler at {address} has {len(workers)} workers, none with the resource {DEVICE}: "
            f"start them with 'dask worker {address} --nthreads 2 --resources {DEVICE}=1'"
        )
    return Cluster(address, len(able))
