"""What is in a scene: which objects stand where on which background; the truth of captions and scores.

Knows layouts in fractions of the image; knows nothing of pixels or words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypedDict

from models.embedded.world.backgrounds import BACKGROUNDS, VARIANTS
from models.embedded.world.objects import OBJECTS

KINDS: tuple[str, ...] = ("single", "next", "above", "front", "list")
KIND_WEIGHTS: tuple[float, ...] = (0.40, 0.20, 0.14, 0.12, 0.14)
"""How often `make_scene` draws each kind when it is not told which."""

ROLES: tuple[str, ...] = (
    "nothing",
    "single of 1",
    "single of 2",
    "single of 3",
    "single of 4",
    "left",
    "right",
    "top",
    "bottom",
    "front",
    "behind",
    "list 1",
    "list 2",
    "list 3",
)
"""What an object does in its scene; `nothing` is where no object is."""

TRAINING_SEEDS_BELOW = 1_000_000
HELD_OUT_SEED = 1_000_000
DEMO_SEED = 2_000_000


@dataclass(frozen=True)
class Placed:
    """An object with its centre and longest side, as fractions of the image's side."""

    name: str
    x: float
    y: float
    scale: float
    flip: bool
    role: str


@dataclass(frozen=True)
class Scene:
    """Truth of one image. `objects` is in caption order: left, top or front first; lists from left to right.

    `variant` picks the painted background; `blur` is a radius as a fraction of the side; `noise` a standard
    deviation in grey levels; `gain` multiplies the brightness; `jpeg_quality` is Pillow's.
    """

    seed: int
    index: int
    kind: str
    background: str
    objects: tuple[Placed, ...]
    variant: int
    blur: float
    noise: float
    gain: float
    jpeg_quality: int

    @property
    def names(self) -> tuple[str, ...]:
        """Class names without repetition, in caption order."""
        return tuple(dict.fromkeys(placed.name for placed in self.objects))

    @property
    def count(self) -> int:
        """How many objects there are of a single class; 1 in the other kinds."""
        return len(self.objects) if self.kind == "single" else 1


def make_scene(seed: int, index: int, kind: str | None = None) -> Scene:
    """The scene of that seed and index, always the same one. `kind`: one of KINDS, drawn if None."""
    rng = random.Random(f"scene {seed} {index} {kind}")
    chosen = kind or rng.choices(KINDS, KIND_WEIGHTS)[0]
    if chosen not in KINDS:
        raise ValueError(f"unknown kind of scene {chosen!r}: one of {', '.join(KINDS)}")
    background = rng.choice(tuple(BACKGROUNDS))
    return Scene(seed, index, chosen, background, _LAYOUTS[chosen](rng), **_conditions(rng))


def scenes(seed: int, n: int) -> list[Scene]:
    """The first n scenes of a seed."""
    return [make_scene(seed, index) for index in range(n)]


def make_collage(seed: int, index: int) -> Scene:
    """4-9 different objects anywhere, some large and overlapping, for dense training targets; no captions."""
    rng = random.Random(f"collage {seed} {index}")
    names = rng.sample(tuple(OBJECTS), rng.randint(4, 9))
    cells = [(column, row) for row in range(3) for column in range(3)]
    rng.shuffle(cells)
    large = len(names) <= 6 and rng.random() < 0.6
    objects = tuple(
        Placed(
            name,
            (column + 0.5) / 3 + rng.uniform(-0.12, 0.12),
            (row + 0.5) / 3 + rng.uniform(-0.12, 0.12),
            rng.uniform(0.34, 0.68) if large else rng.uniform(0.24, 0.42),
            rng.random() < 0.5,
            "nothing",
        )
        for name, (column, row) in zip(names, cells, strict=False)
    )
    return Scene(seed, index, "collage", rng.choice(tuple(BACKGROUNDS)), objects, **_conditions(rng))


class _Conditions(TypedDict):
    variant: int
    blur: float
    noise: float
    gain: float
    jpeg_quality: int


def _conditions(rng: random.Random) -> _Conditions:
    return {
        "variant": rng.randrange(VARIANTS),
        "blur": rng.uniform(0.002, 0.012) if rng.random() < 0.3 else 0.0,
        "noise": rng.uniform(0.0, 7.0),
        "gain": rng.uniform(0.85, 1.12),
        "jpeg_quality": rng.randint(60, 95),
    }


def _place(rng: random.Random, name: str, x: float, y: float, scale: float, role: str) -> Placed:
    margin = scale / 2 - 0.02
    return Placed(
        name,
        min(max(x, margin), 1 - margin),
        min(max(y, margin), 1 - margin),
        scale,
        rng.random() < 0.5,
        role,
    )


def _single(rng: random.Random) -> tuple[Placed, ...]:
    name = rng.choice(tuple(OBJECTS))
    count = rng.choices((1, 2, 3, 4), (0.5, 0.2, 0.18, 0.12))[0]
    role = f"single of {count}"
    if count == 1:
        x, y = rng.uniform(0.35, 0.65), rng.uniform(0.38, 0.68)
        return (_place(rng, name, x, y, rng.uniform(0.42, 0.8), role),)
    scale = rng.uniform(*{2: (0.34, 0.46), 3: (0.30, 0.38), 4: (0.28, 0.36)}[count])
    return tuple(
        _place(rng, name, x, y, scale * rng.uniform(0.92, 1.06), role) for x, y in _spread(rng, count, scale)
    )


def _spread(rng: random.Random, count: int, scale: float) -> list[tuple[float, float]]:
    """Centres of `count` objects that hardly overlap."""
    while True:
        centres: list[tuple[float, float]] = []
        for _ in range(40):
            x, y = rng.uniform(scale / 2, 1 - scale / 2), rng.uniform(scale / 2, 1 - scale / 2)
            if all(max(abs(x - left), abs(y - top)) > scale * 0.95 for left, top in centres):
                centres.append((x, y))
                if len(centres) == count:
                    return sorted(centres)


def _next(rng: random.Random) -> tuple[Placed, ...]:
    left, right = rng.sample(tuple(OBJECTS), 2)
    y = rng.uniform(0.4, 0.65)

    def at(name: str, low: float, high: float, role: str) -> Placed:
        x = rng.uniform(low, high)
        return _place(rng, name, x, y + rng.uniform(-0.08, 0.08), rng.uniform(0.36, 0.5), role)

    return at(left, 0.22, 0.29, "left"), at(right, 0.71, 0.78, "right")


def _above(rng: random.Random) -> tuple[Placed, ...]:
    top, bottom = rng.sample(tuple(OBJECTS), 2)
    x = rng.uniform(0.35, 0.65)

    def at(name: str, low: float, high: float, role: str) -> Placed:
        sideways = x + rng.uniform(-0.08, 0.08)
        return _place(rng, name, sideways, rng.uniform(low, high), rng.uniform(0.36, 0.48), role)

    return at(top, 0.22, 0.27, "top"), at(bottom, 0.73, 0.78, "bottom")


def _front(rng: random.Random) -> tuple[Placed, ...]:
    front, behind = rng.sample(tuple(OBJECTS), 2)
    back_scale = rng.uniform(0.56, 0.7)
    front_scale = rng.uniform(0.36, 0.46)
    side = rng.choice((-1, 1))
    x, y = rng.uniform(0.44, 0.56), rng.uniform(0.36, 0.44)
    # The front object covers a corner of the one behind, so that what is behind can still be named.
    shift = (back_scale / 2) * rng.uniform(0.55, 0.85)
    return (
        _place(rng, front, x + side * shift, y + shift * rng.uniform(0.9, 1.3), front_scale, "front"),
        _place(rng, behind, x - side * 0.06, y, back_scale, "behind"),
    )


def _list(rng: random.Random) -> tuple[Placed, ...]:
    names = rng.sample(tuple(OBJECTS), 3)
    y = rng.uniform(0.35, 0.68)
    return tuple(
        _place(
            rng,
            name,
            (place + 0.5) / 3 + rng.uniform(-0.02, 0.02),
            y + rng.uniform(-0.1, 0.1),
            rng.uniform(0.29, 0.35),
            f"list {place + 1}",
        )
        for place, name in enumerate(names)
    )


_LAYOUTS = {"single": _single, "next": _next, "above": _above, "front": _front, "list": _list}
