"""The CPU option ``int8``: linear layers with 8-bit weights, inputs quantised as they come (dynamic quantisation).

Off by default, since it changes captions: ``cocoscribe models check`` says how many and what it gains.
"""

from __future__ import annotations

import warnings
from typing import TypeVar

import torch
from torch import nn

from models.identity import ModelError

INT8 = "int8"
"""Stands where a dtype's name does."""

Model = TypeVar("Model", bound=nn.Module)


def quantised(model: Model, device: str) -> Model:
    """``model`` with every ``nn.Linear`` replaced, in place. Raises ModelError for any device but a CPU."""
    if torch.device(device).type != "cpu":
        raise ModelError(f"{INT8} is for CPUs; on {device} use float16")
    with warnings.catch_warnings():
        # Deprecated in favour of a package of its own, which we do not need for this one function.
        warnings.simplefilter("ignore")
        changed: Model = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
            model, {nn.Linear}, dtype=torch.qint8, inplace=True
        )
    return changed
