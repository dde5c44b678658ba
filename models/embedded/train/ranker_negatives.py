"""Hard negatives: captions that are nearly true of a scene, made by changing one thing of it.

The changes are what a captioner gets wrong: an object (half of the time for a look-alike), the number, the
relation or its order, the background, an object left out or made up. Whether the result is wrong is not
assumed but asked of the world's scorer: some changes say the same ("next to" the other way round).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from models.embedded.world import BACKGROUNDS, OBJECTS, Placed, Scene, captions, score
from models.embedded.world.render import sprite

LOOK_ALIKES = 8
_RELATIONS = ("next", "above", "front")


@lru_cache(maxsize=1)
def look_alikes() -> dict[str, tuple[str, ...]]:
    """For each class the classes whose small, blurred emoji differ least in pixels from its own."""
    names = tuple(OBJECTS)
    thumbnails = []
    for name in names:
        canvas = Image.new("RGB", (48, 48), (128, 128, 128))
        drawn = sprite(name, 48, False)
        canvas.paste(drawn, ((48 - drawn.width) // 2, (48 - drawn.height) // 2), drawn)
        thumbnails.append(np.asarray(canvas.resize((8, 8), Image.Resampling.BOX), np.float32).ravel())
    pixels = np.stack(thumbnails)
    distances = ((pixels[:, None] - pixels[None]) ** 2).sum(axis=2)
    order = distances.argsort(axis=1)[:, 1 : LOOK_ALIKES + 1]
    return {name: tuple(names[other] for other in row) for name, row in zip(names, order, strict=True)}


def _another_class(scene: Scene, name: str, rng: random.Random) -> str:
    pool = look_alikes()[name] if rng.random() < 0.5 else tuple(OBJECTS)
    choices = [other for other in pool if other not in scene.names]
    return rng.choice(choices or [other for other in OBJECTS if other not in scene.names])


def _rename(scene: Scene, rng: random.Random) -> Scene:
    old = rng.choice(scene.names)
    new = _another_class(scene, old, rng)
    objects = tuple(replace(placed, name=new) if placed.name == old else placed for placed in scene.objects)
    return replace(scene, objects=objects)


def _recount(scene: Scene, rng: random.Random) -> Scene:
    count = rng.choice([number for number in (1, 2, 3, 4) if number != scene.count])
    return replace(scene, objects=(scene.objects[0],) * count)


def _reorder(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, objects=scene.objects[::-1])


def _relate_otherwise(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, kind=rng.choice([kind for kind in _RELATIONS if kind != scene.kind]))


def _move(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, background=rng.choice([name for name in BACKGROUNDS if name != scene.background]))


def _omit(scene: Scene, rng: random.Random) -> Scene:
    gone = rng.randrange(len(scene.objects))
    kept = scene.objects[:gone] + scene.objects[gone + 1 :]
    return replace(scene, objects=kept, kind="single" if len(kept) == 1 else rng.choice(_RELATIONS))


def _invent(scene: Scene, rng: random.Random) -> Scene:
    new: Placed = replace(scene.objects[0], name=_another_class(scene, rng.choice(scene.names), rng))
    kept = scene.objects[:1] if scene.kind == "single" else scene.objects
    objects = list(kept)
    objects.insert(rng.randint(0, len(kept)), new)
    return replace(
        scene, objects=tuple(objects), kind=rng.choice(_RELATIONS) if len(objects) == 2 else "list"
    )


Change = Callable[[Scene, random.Random], Scene]
# With weights. A change may be listed for a kind and still say the same: the scorer then drops it.
_PAIR: tuple[tuple[Change, float], ...] = (
    (_rename, 4),
    (_reorder, 1.5),
    (_relate_otherwise, 1.5),
    (_move, 1),
    (_omit, 1),
    (_invent, 0.5),
)
_CHANGES: dict[str, tuple[tuple[Change, float], ...]] = {
    "single": ((_rename, 4), (_recount, 2.5), (_move, 1), (_invent, 0.5)),
    "next": _PAIR,
    "above": _PAIR,
    "front": _PAIR,
    "list": ((_rename, 5), (_move, 1), (_omit, 1)),
}


def nearly(scene: Scene, rng: random.Random) -> Scene:
    """A scene of which one thing differs, or two (one time in five). Its pixels are meaningless."""
    changed = scene
    for _ in range(2 if rng.random() < 0.2 else 1):
        changes, weights = zip(*_CHANGES[changed.kind], strict=True)
        changed = rng.choices(changes, weights)[0](changed, rng)
    return changed


def some_caption(scene: Scene, rng: random.Random) -> str:
    """A true caption: the canonical one half of the time, else any paraphrase."""
    forms = captions(scene)
    return forms[0] if rng.random() < 0.5 else rng.choice(forms)


def wrong_captions(scene: Scene, number: int, rng: random.Random) -> list[tuple[str, Scene]]:
    """``number`` different captions that the scorer calls wrong, each with the scene it would be true of."""
    found: dict[str, Scene] = {}
    while len(found) < number:
        other = nearly(scene, rng)
        text = some_caption(other, rng)
        if text not in found and not score(text, scene).full:
            found[text] = other
    return list(found.items())
