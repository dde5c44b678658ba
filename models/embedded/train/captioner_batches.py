"""What the captioner sees in one training step: images, dense per-patch truth, and captions as token ids.

A batch holds scenes first, which have captions and roles, and then collages, which have only dense class
targets.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.embedded.train.captioner_model import BOS, IMAGE_SIZE, PAD, PATCH_SIZE, PROMPT, SEP, word_ids
from models.embedded.world import (
    BACKGROUNDS,
    KINDS,
    OBJECTS,
    ROLES,
    Scene,
    captions,
    make_collage,
    make_scene,
    render_with_instances,
)

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation, which BLIP uses."""

RENDER_SIZES: tuple[int, ...] = (64, 80, 96, 96, 128, 192)
"""Sizes before the squash to the model's own: what it meets later comes in any size."""

TRAINING_KIND_WEIGHTS: dict[str, float] = {
    "single": 0.30,
    "next": 0.24,
    "above": 0.14,
    "front": 0.20,
    "list": 0.12,
}
"""Relations are oversampled, for they are learned last; numbers need a good share of single classes."""

PATCHES_PER_SIDE = IMAGE_SIZE // PATCH_SIZE
PATCH_COVER = 0.2
"""A patch shows an object if at least this share of it does."""

IGNORED = -100
_CLASS_NUMBER = {name: number + 1 for number, name in enumerate(OBJECTS)}
_BACKGROUND_NUMBER = {name: number for number, name in enumerate(BACKGROUNDS)}
_ROLE_NUMBER = {role: number for number, role in enumerate(ROLES)}
_WORD_ID = word_ids()
_PROMPT_TOKENS = len(PROMPT.split())


@dataclass(frozen=True)
class Batch:
    """`pixels` (B, 3, 64, 64); `classes` (B, 64 patches), 0 for none. For the first S, the scenes: `roles`
    (S, 64), `backgrounds` (S,), `kinds` (S,), `tokens` (S, T), `labels` (S, T - 1), next token or -100."""

    pixels: Tensor
    classes: Tensor
    roles: Tensor
    backgrounds: Tensor
    kinds: Tensor
    tokens: Tensor
    labels: Tensor

    @property
    def scene_count(self) -> int:
        return self.roles.size(0)


def caption_ids(caption: str) -> list[int]:
    """[DEC] a picture of ... [SEP]."""
    return [BOS, *(_WORD_ID[word] for word in re.findall(r"\w+|[,.]", PROMPT + caption)), SEP]


def to_pixels(image: Image.Image) -> NDArray[np.float32]:
    """(3, 64, 64): squashed bicubic, CLIP's mean and deviation."""
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    scaled = np.asarray(image, np.float32) / np.float32(255)
    normal = (scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return normal.transpose(2, 0, 1).astype(np.float32, copy=False)


def patch_instances(instances: NDArray[np.uint8], count: int) -> NDArray[np.intp]:
    """(size, size) instance numbers -> the instance that each patch shows, (64,), 0 for none."""
    cell = instances.shape[0] // PATCHES_PER_SIDE
    cells = instances.reshape(PATCHES_PER_SIDE, cell, PATCHES_PER_SIDE, cell).transpose(0, 2, 1, 3)
    covered = np.stack([(cells == number).sum((2, 3)) for number in range(1, count + 1)])
    best = covered.argmax(0) + 1
    return np.where(covered.max(0) >= PATCH_COVER * cell * cell, best, 0).reshape(-1)


class Batches:
    """Endless batches of one seed: the same step gives the same batch, after a resume too."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def make(self, step: int, size: int, collage_share: float, paraphrase_share: float) -> Batch:
        """`collage_share` of `size` are collages; `paraphrase_share` of the captions may be any true one, the
        others are canonical."""
        rng = random.Random(f"batch {self.seed} {step}")
        collages = round(size * collage_share)
        weights = tuple(TRAINING_KIND_WEIGHTS.values())
        kinds = rng.choices(tuple(TRAINING_KIND_WEIGHTS), weights, k=size - collages)
        # 64 numbers a step: no two steps share a scene, whatever their sizes.
        drawn = [make_scene(self.seed, step * 64 + place, kind) for place, kind in enumerate(kinds)]
        texts = [
            rng.choice(captions(scene)) if rng.random() < paraphrase_share else captions(scene)[0]
            for scene in drawn
        ]
        drawn += [make_collage(self.seed, step * 64 + place) for place in range(collages)]
        return collate(drawn, texts, [rng.choice(RENDER_SIZES) for _ in drawn])


def collate(drawn: list[Scene], texts: list[str], sizes: list[int]) -> Batch:
    """Render and stack. `texts` belong to the first scenes; those after them count as collages."""
    pixels, classes, roles = [], [], []
    for number, (scene, size) in enumerate(zip(drawn, sizes, strict=True)):
        image, instances = render_with_instances(scene, size)
        pixels.append(to_pixels(image))
        shown = patch_instances(instances, len(scene.objects))
        classes.append(np.array([0, *(_CLASS_NUMBER[placed.name] for placed in scene.objects)])[shown])
        if number < len(texts):
            roles.append(np.array([0, *(_ROLE_NUMBER[placed.role] for placed in scene.objects)])[shown])
    ids = [caption_ids(text) for text in texts]
    tokens = torch.full((len(ids), max(map(len, ids), default=1)), PAD)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)] = torch.tensor(sequence)
    labels = tokens[:, 1:].clone()
    labels[labels == PAD] = IGNORED
    labels[:, :_PROMPT_TOKENS] = IGNORED
    captioned = drawn[: len(texts)]
    no_roles = np.zeros((0, PATCHES_PER_SIDE**2), np.int64)
    return Batch(
        pixels=torch.from_numpy(np.stack(pixels)),
        classes=torch.from_numpy(np.stack(classes)),
        roles=torch.from_numpy(np.stack(roles) if roles else no_roles),
        backgrounds=torch.tensor([_BACKGROUND_NUMBER[scene.background] for scene in captioned]),
        kinds=torch.tensor([KINDS.index(scene.kind) for scene in captioned]),
        tokens=tokens,
        labels=labels,
    )
