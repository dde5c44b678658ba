"""How well a ranker picks the true caption, on held-out scenes: figures that say whether it is fit to ship.

Knows no training: any pair of functions that give unit features can be tried.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from PIL import Image
from torch import Tensor

from models.embedded.train.ranker_negatives import wrong_captions
from models.embedded.world import HELD_OUT_SEED, captions, render, scenes

CANDIDATES = 40
RENDER_SIZE = 192  # as the demo's images are rendered


@dataclass(frozen=True)
class Trial:
    """Shares of scenes. Chance is 1 of 40 for top 1, 5 of 40 for top 5."""

    hard_top1: float  # true caption among 39 that differ in one thing, or two
    hard_top5: float
    easy_top1: float  # among 39 captions of other scenes
    relations_top1: float  # hard, in scenes of two objects with a relation
    images: int

    def figures(self) -> dict[str, float | int]:
        return asdict(self)


@torch.inference_mode()
def try_ranker(
    encode_images: Callable[[Sequence[Image.Image]], Tensor],
    encode_texts: Callable[[Sequence[str]], Tensor],
    number: int = 500,
    seed: int = HELD_OUT_SEED,
) -> Trial:
    """The trial over the first ``number`` scenes of ``seed``; features are ``(n, dim)`` of length 1."""
    shown = scenes(seed, number)
    images = torch.cat(
        [encode_images([render(s, RENDER_SIZE) for s in shown[at : at + 50]]) for at in range(0, number, 50)]
    )
    truth = [captions(scene)[0] for scene in shown]
    rng = random.Random(f"ranker trial {seed}")
    hard_ranks, easy_ranks = [], []
    for scene, image, text in zip(shown, images, truth, strict=True):
        wrong = [caption for caption, _ in wrong_captions(scene, CANDIDATES - 1, rng)]
        others = rng.sample(sorted({caption for caption in truth if caption != text}), CANDIDATES - 1)
        features = encode_texts([text, *wrong, *others])
        similarities = features @ image
        hard_ranks.append(int((similarities[1:CANDIDATES] >= similarities[0]).sum()))
        easy_ranks.append(int((similarities[CANDIDATES:] >= similarities[0]).sum()))
    relations = [rank for scene, rank in zip(shown, hard_ranks, strict=True) if len(scene.names) == 2]

    def share(ranks: Sequence[int], best: int) -> float:
        return round(sum(rank < best for rank in ranks) / max(1, len(ranks)), 4)

    return Trial(
        share(hard_ranks, 1), share(hard_ranks, 5), share(easy_ranks, 1), share(relations, 1), number
    )
