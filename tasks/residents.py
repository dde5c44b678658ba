"""Models stay resident: one load per worker process and model, whichever task asks first.

Lives in an importable module on purpose: a cache in ``__main__`` would be a new one in every task.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from models.captioner import Captioner
from models.device import pick_device, pick_dtype
from models.profiles import CaptionerRef, RankerRef, RepairerRef
from models.ranker import Ranker
from models.repairer import Repairer

P = ParamSpec("P")
T = TypeVar("T")

# Loading is not thread-safe in transformers, and two threads of a worker must not load one model twice.
_loading = threading.Lock()


def _one_load(load: Callable[P, T]) -> Callable[P, T]:
    cached = functools.lru_cache(maxsize=None)(load)

    def resident(*args: P.args, **kwargs: P.kwargs) -> T:
        with _loading:
            return cached(*args, **kwargs)

    return resident


@_one_load
def resident_captioner(ref: CaptionerRef) -> Captioner:
    """The captioner of this process."""
    device = pick_device()
    return Captioner.load(ref.source, device=device, dtype=pick_dtype(device), revision=ref.revision)


@_one_load
def resident_ranker(ref: RankerRef) -> Ranker:
    """A ranker of this process."""
    device = pick_device()
    return Ranker.load(ref.name, ref.pretrained, device=device, dtype=pick_dtype(device))


@_one_load
def resident_repairer(ref: RepairerRef) -> Repairer:
    """The repairer of this process; float32 where T5 overflows in half precision."""
    return Repairer.load(ref.source, device=pick_device(), revision=ref.revision, instruction=ref.instruction)
