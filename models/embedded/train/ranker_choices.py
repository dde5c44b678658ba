"""Does ranking choose better captions than chance? Judged on real candidates of scenes whose truth is known.

Knows neither captioner nor rankers: candidates and similarities come in, shares of right captions go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from models.embedded.world import Scene, score


@dataclass(frozen=True)
class Choices:
    """Shares of scenes whose chosen caption is fully right; ``random_candidate`` is the expectation of a blind draw."""

    random_candidate: float
    first_candidate: float
    stage1: float  # the best by ranker 1
    stage2: float  # the best by ranker 2 of all candidates
    two_stages: float  # ranker 1 keeps `keep`, ranker 2 chooses
    kept: float  # a right caption is among those that ranker 1 keeps
    possible: float  # a right caption is among the candidates
    unique_candidates: float  # mean number
    scenes: int

    def figures(self) -> dict[str, float | int]:
        return asdict(self)


def judge_choices(
    scenes: Sequence[Scene],
    candidates: Sequence[Sequence[str]],
    similarities1: Sequence[Sequence[float]],
    similarities2: Sequence[Sequence[float]],
    keep: int = 5,
) -> Choices:
    """Shares over all scenes. Similarities are one list per scene, one number per candidate, ties go to the first."""
    sums = dict.fromkeys((*Choices.__dataclass_fields__,), 0.0)
    for scene, texts, first, second in zip(scenes, candidates, similarities1, similarities2, strict=True):
        right = [score(text, scene).full for text in texts]
        order = sorted(range(len(texts)), key=[-value for value in first].__getitem__)
        kept = order[:keep]
        sums["random_candidate"] += sum(right) / len(right)
        sums["first_candidate"] += right[0]
        sums["stage1"] += right[order[0]]
        sums["stage2"] += right[max(range(len(texts)), key=second.__getitem__)]
        sums["two_stages"] += right[max(kept, key=second.__getitem__)]
        sums["kept"] += any(right[place] for place in kept)
        sums["possible"] += any(right)
        sums["unique_candidates"] += len(texts)
    number = len(scenes)
    shares = {name: round(total / number, 4) for name, total in sums.items() if name != "scenes"}
    return Choices(**shares, scenes=number)
