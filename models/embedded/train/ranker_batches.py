"""Training batches for the rankers: scenes and collages, captions true and nearly true, all targets.

A batch is a function of (seed, number) alone, so that a resumed run needs no stored random state. Knows
nothing of models: tensors and texts come out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor

from models.embedded.train.ranker_model import IMAGE_SIZE
from models.embedded.train.ranker_negatives import some_caption, wrong_captions
from models.embedded.world import (
    BACKGROUNDS,
    KINDS,
    OBJECTS,
    ROLES,
    Scene,
    make_collage,
    make_scene,
    render_with_instances,
)

HARD_NEGATIVES = 3
# The model's own size, and larger ones shrunk by the same transform that inference uses; the demo's are 192.
RENDER_SIZES = (96, 96, 112, 128, 160, 192, 192)
# Relations and lists are where rankers are weak: more of them than the world's own share.
KIND_SHARES = {"single": 0.28, "next": 0.2, "above": 0.18, "front": 0.18, "list": 0.16}
IGNORED = -100  # torch's cross entropy skips it

_CLASS_NUMBER = {name: number for number, name in enumerate(OBJECTS)}
_BACKGROUND_NUMBER = {name: number for number, name in enumerate(BACKGROUNDS)}
_KIND_NUMBER = {name: number for number, name in enumerate(KINDS)}
_ROLE_NUMBER = {name: number for number, name in enumerate(ROLES)}


def preprocessing() -> Callable[[Image.Image], Tensor]:
    """open_clip's inference transform at the rankers' size: image -> ``(3, 96, 96)``."""
    config = PreprocessCfg(
        size=IMAGE_SIZE,
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
        interpolation="bicubic",
        resize_mode="shortest",
    )
    transform: Callable[[Image.Image], Tensor] = image_transform_v2(config, is_train=False)
    return transform


@dataclass(frozen=True)
class Facts:
    """What the read-outs must tell, one row a scene. ``IGNORED`` where a scene has no such fact."""

    presence: Tensor  # (n, classes), 0 or 1
    count: Tensor  # (n,), 0-3 for one to four of a kind; scenes of a single class only
    background: Tensor  # (n,)
    kind: Tensor  # (n,); collages have none
    first: Tensor  # (n,), class of the upper or front object
    second: Tensor  # (n,), class of the lower object or of the one behind


def facts_of(scenes: Sequence[Scene]) -> Facts:
    presence = torch.zeros(len(scenes), len(OBJECTS))
    rows = []
    for row, scene in enumerate(scenes):
        presence[row, [_CLASS_NUMBER[name] for name in scene.names]] = 1.0
        ordered = scene.kind in ("above", "front")
        rows.append(
            (
                scene.count - 1 if scene.kind == "single" else IGNORED,
                _BACKGROUND_NUMBER[scene.background],
                _KIND_NUMBER.get(scene.kind, IGNORED),
                _CLASS_NUMBER[scene.names[0]] if ordered else IGNORED,
                _CLASS_NUMBER[scene.names[1]] if ordered else IGNORED,
            )
        )
    columns = torch.tensor(rows, dtype=torch.long).view(-1, 5)
    return Facts(presence, columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3], columns[:, 4])


def dense_targets(scene: Scene, instances: NDArray[np.uint8], grid: int) -> NDArray[np.int64]:
    """``(2, grid, grid)``: class (0 for none) and role of the object that most of each cell shows."""
    side = instances.shape[0]
    # Every cell votes with a 6 x 6 lattice of its pixels: enough, and the same cost at any size.
    steps = ((np.arange(grid * 6) + 0.5) * side / (grid * 6)).astype(np.int64)
    cells = (
        instances[np.ix_(steps, steps)]
        .reshape(grid, 6, grid, 6)
        .transpose(0, 2, 1, 3)
        .reshape(grid, grid, 36)
    )
    votes = (cells[..., None] == np.arange(len(scene.objects) + 1)).sum(axis=2)
    # An object counts from a third of the cell on: sprites rarely fill one.
    votes[..., 0] -= 12
    shown = votes.argmax(axis=2)
    classes = np.array([0, *(_CLASS_NUMBER[placed.name] + 1 for placed in scene.objects)])
    roles = np.array([0, *(_ROLE_NUMBER[placed.role] for placed in scene.objects)])
    return np.stack([classes[shown], roles[shown]])


@dataclass(frozen=True)
class Mined:
    """A scene and what a captioner wrongly says of it."""

    scene: Scene
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """``scenes`` captioned images come first, then the collages.

    ``texts``: the true caption of each captioned image, then ``HARD_NEGATIVES`` wrong ones for each in turn.
    """

    images: Tensor  # (scenes + collages, 3, size, size)
    image_facts: Facts
    dense: Tensor  # (scenes + collages, 2, grid, grid)
    texts: list[str]
    text_facts: Facts
    with_facts: Tensor  # (m,), the texts that have facts: mined ones mean no scene
    scenes: int


def make_batch(
    seed: int,
    number: int,
    size: int,
    collages: int,
    grid: int,
    transform: Callable[[Image.Image], Tensor],
    mined: Sequence[Mined] = (),
) -> Batch:
    """Batch ``number`` of a run: ``size`` images of which ``collages`` are collages.

    With ``mined`` scenes half of the captioned ones are drawn from them, and all but one of their negatives.
    """
    rng = random.Random(f"ranker batch {seed} {number}")
    kinds = rng.choices(tuple(KIND_SHARES), tuple(KIND_SHARES.values()), k=size - collages)
    captioned = [make_scene(seed, number * 1000 + place, kind) for place, kind in enumerate(kinds)]
    wrong: dict[Scene, Sequence[str]] = {}
    for place, one in enumerate(rng.sample(mined, min(len(mined), len(captioned) // 2))):
        captioned[place] = one.scene
        wrong[one.scene] = rng.sample(one.wrong, min(HARD_NEGATIVES - 1, len(one.wrong)))
    scenes = captioned + [make_collage(seed, number * 1000 + place) for place in range(collages)]
    images, dense = [], []
    for scene in scenes:
        image, instances = render_with_instances(scene, rng.choice(RENDER_SIZES))
        images.append(transform(image))
        dense.append(dense_targets(scene, instances, grid))
    texts = [some_caption(scene, rng) for scene in captioned]
    meant: list[Scene | None] = list(captioned)
    for scene in captioned:
        said = wrong.get(scene, ())
        texts += said
        meant += [None] * len(said)
        for text, other in wrong_captions(scene, HARD_NEGATIVES - len(said), rng):
            texts.append(text)
            meant.append(other)
    return Batch(
        torch.stack(images),
        facts_of(scenes),
        torch.from_numpy(np.stack(dense)),
        texts,
        facts_of([other for other in meant if other is not None]),
        torch.tensor([row for row, other in enumerate(meant) if other is not None]),
        len(captioned),
    )
