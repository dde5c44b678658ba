"""A training budget in CPU-seconds, and what hangs on it: learning rate, checkpoints, curve.

CPU-seconds of this process (``time.process_time``: all its threads), so that other load on the machine
neither shortens nor bends a schedule. Knows nothing of what is trained.

    budget = Budget.start(minutes=10)       # going on: Budget.start(minutes, load_checkpoint(path))
    while not budget.exhausted:
        optimizer.set_rate(budget.rate())
        ...                                              # one step
        budget.advance()
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

WARM_UP_STEPS = 40
# The rate is constant up to here and falls linearly to 0 at the end: most of the gain comes while it falls.
CONSTANT_UNTIL = 0.3


def learning_rate(step: int, fraction: float, constant_until: float = CONSTANT_UNTIL) -> float:
    """Factor 0-1 on the peak rate at ``step`` (from 0) with ``fraction`` of the budget spent."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    if fraction <= constant_until:
        return warm
    return warm * max(0.0, (1.0 - fraction) / (1.0 - constant_until))


class Budget:
    """CPU-seconds spent and left. A resumed run with more minutes stretches the same schedule."""

    def __init__(self, seconds: float, spent_seconds: float = 0.0, step: int = 0) -> None:
        if seconds <= 0:
            raise ValueError(f"a training budget must be positive, not {seconds} s")
        self.seconds = seconds
        self.step = step
        self._spent_before = spent_seconds
        self._started = time.process_time()

    @classmethod
    def start(cls, minutes: float, checkpoint: Mapping[str, Any] | None = None) -> Budget:
        """A new budget of ``minutes``, or, with a checkpoint, the same run going on."""
        if checkpoint is None:
            return cls(minutes * 60)
        return cls(minutes * 60, float(checkpoint["cpu_seconds"]), int(checkpoint["step"]))

    @property
    def spent_seconds(self) -> float:
        return self._spent_before + time.process_time() - self._started

    @property
    def fraction(self) -> float:
        """Share of the budget spent, at most 1."""
        return min(1.0, self.spent_seconds / self.seconds)

    @property
    def exhausted(self) -> bool:
        return self.spent_seconds >= self.seconds

    def rate(self, constant_until: float = CONSTANT_UNTIL) -> float:
        return learning_rate(self.step, self.fraction, constant_until)

    def advance(self) -> None:
        self.step += 1


def save_checkpoint(path: Path, budget: Budget, state: Mapping[str, Any]) -> None:
    """Write ``state`` (tensors, plain values) with step and CPU-seconds; complete or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    torch.save({**state, "step": budget.step, "cpu_seconds": budget.spent_seconds}, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What :func:`save_checkpoint` wrote, on the CPU. Raises ``FileNotFoundError`` when there is none."""
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


class Curve:
    """Training curve as JSON lines: one object per report, with step and CPU-seconds.

    Reports past the budget's step are dropped when it opens: a resumed run writes them again.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path = path
        self._budget = budget
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = (
            [line for line in self._lines() if json.loads(line)["step"] <= budget.step] if budget.step else []
        )
        path.write_text("".join(line + "\n" for line in kept))

    def _lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def add(self, **values: float | int | str) -> None:
        """Append one report; also prints it, since a training run is watched."""
        record = {"step": self._budget.step, "cpu_seconds": round(self._budget.spent_seconds, 1)}
        rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
        line = json.dumps({**record, **rounded})
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
