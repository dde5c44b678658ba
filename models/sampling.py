"""How captions are sampled: the recipe's numbers, once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Sampling:
    """Sampling settings; the defaults are LAION-COCO's.

    Source of the numbers: andreaskoepf/laion_idle_cap, ``docker/c_h2.py``. A tuple holds one value per candidate; one
    that is longer than ``candidates`` is cut. Raises ValueError for settings that cannot be meant.
    """

    candidates: int = 40
    """Captions drawn per image; equal ones are dropped afterwards."""
    prompt: str = "a picture of "
    """Every caption begins with it; it is cut off the text."""
    top_p: float | tuple[float, ...] = 0.2427084604681384
    """Nucleus: the smallest set of likeliest tokens whose probability exceeds it. 0 is greedy."""
    top_k: int | tuple[int, ...] = 9607
    """Only this many tokens take part in the nucleus; 0 means all."""
    min_new_tokens: int | tuple[int, ...] = 5
    """No end is drawn before this many tokens (a forced end ignores it)."""
    max_new_tokens: int | tuple[int, ...] = (20,) * 8 + (30,) * 16 + (45,) * 16
    repetition_penalty: float | tuple[float, ...] = 1.3
    """Divides positive and multiplies negative logits of tokens seen before, the prompt's too. 1 is none."""
    force_eos_probability: float | None = 0.17937666742679637
    """A candidate ends as soon as the model's raw P(end) is above this; the token drawn in that step is dropped."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError("candidates must be at least 1")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and len(value) < self.candidates:
                raise ValueError(f"{field.name} has {len(value)} values for {self.candidates} candidates")
        for name, low, high in (("top_p", 0.0, 1.0), ("repetition_penalty", 1e-6, 1e6)):
            if not all(low <= value <= high for value in self.per_candidate(getattr(self, name))):
                raise ValueError(f"{name} must lie between {low:g} and {high:g}")
        for name, least in (("top_k", 0), ("min_new_tokens", 0), ("max_new_tokens", 1)):
            if any(value < least for value in self.per_candidate(getattr(self, name))):
                raise ValueError(f"{name} must be at least {least}")

    def per_candidate(self, value: Number | tuple[Number, ...]) -> tuple[Number, ...]:
        """``value`` as one number per candidate."""
        return value[: self.candidates] if isinstance(value, tuple) else (value,) * self.candidates

    @property
    def longest(self) -> int:
        """The largest ``max_new_tokens`` of any candidate."""
        return max(self.per_candidate(self.max_new_tokens))
