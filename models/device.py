"""The only module that knows devices: which one, which precision, how much fits, and what to do when it did not.

The CUDA paths have not been run on a GPU yet; ``cocoscribe models check --device cuda`` verifies them there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def pick_device() -> str:
    """``cuda`` where a GPU can be used, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(device: str) -> str:
    """Half precision on GPUs; float32 on CPUs, where half precision is slower."""
    return "float16" if device.startswith("cuda") else "float32"


def to_device(pixels: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Move a CPU batch; through pinned memory to a GPU, so that the copy overlaps with the GPU's work."""
    if device.type == "cuda":
        return pixels.to(dtype).pin_memory().to(device, non_blocking=True)
    return pixels.to(device, dtype)


def items_that_fit(bytes_per_item: int, device: torch.device, limit: int) -> int:
    """How many items of a known size to take at once: half of the free memory of a GPU, at least 1, at most ``limit``.

    On a CPU always ``limit``: other processes share the memory, and halving catches what was too much.
    """
    if device.type != "cuda":
        return limit
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(limit, free // 2 // max(1, bytes_per_item)))


def run_in_batches(
    items: Sequence[Item], run: Callable[[Sequence[Item]], Sequence[Result]], batch_size: int
) -> tuple[list[Result], int]:
    """``run`` over ``items`` in order, ``batch_size`` at a time; the results and the batch size that fitted.

    When memory runs out the batch that failed is tried again at half the size, and what was done before is kept.
    Raises the memory error where one item alone does not fit.
    """
    results: list[Result] = []
    while len(results) < len(items):
        batch = items[len(results) : len(results) + batch_size]
        try:
            found = run(batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as reason:
            if not is_out_of_memory(reason) or len(batch) == 1:
                raise
            batch_size = (len(batch) + 1) // 2
            logger.warning("out of memory with %d items at once: going on with %d", len(batch), batch_size)
        else:
            results.extend(found)
            continue
        # Outside of the except clause: the traceback no longer holds the tensors of the failed batch.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results, batch_size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out: CUDA has a class for it, the CPU allocator only a message."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
