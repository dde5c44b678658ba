"""Models stay resident: one load per worker process and model, whichever task asks first.

Lives in an importable module on purpose: Dask sends a task's own function by value, and a cache in there, or in
``__main__``, would be a new one in every task.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from transformers.utils import logging as transformers_logging

from models.captioner import Captioner
from models.device import pick_device, pick_dtype
from models.profiles import CaptionerRef, RankerRef, RepairerRef
from models.ranker import Ranker
from models.repairer import Repairer

T = TypeVar("T")

# Its bars would tear the run's own progress display.
transformers_logging.disable_progress_bar()

_loaded: dict[Hashable, Any] = {}
# transformers does not load in two threads at once, and two threads of a worker must not load one model twice.
_loading = threading.Lock()


def resident_captioner(ref: CaptionerRef) -> Captioner:
    """The captioner of this process."""
    device = pick_device()
    dtype = pick_dtype(device)
    return _once(ref, lambda: Captioner.load(ref.source, device=device, dtype=dtype, revision=ref.revision))


def resident_ranker(ref: RankerRef) -> Ranker:
    """A ranker of this process."""
    device = pick_device()
    return _once(ref, lambda: Ranker.load(ref.name, ref.pretrained, device=device, dtype=pick_dtype(device)))


def resident_repairer(ref: RepairerRef) -> Repairer:
    """The repairer of this process, in float32: T5 overflows in half precision."""
    device = pick_device()
    return _once(
        ref,
        lambda: Repairer.load(ref.source, device=device, revision=ref.revision, instruction=ref.instruction),
    )


def _once(ref: Hashable, load: Callable[[], T]) -> T:
    with _loading:
        if ref not in _loaded:
            _loaded[ref] = load()
        found: T = _loaded[ref]
        return found
