"""The backgrounds of the world: their phrases in captions, and how they are painted.

A background comes in a few painted variants, cached per size, since painting costs more than the rest of a
scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
VARIANTS = 12
"""Painted variants of each background."""


@dataclass(frozen=True)
class Background:
    """`phrases[0]` is canonical; `words` are what a caption may say to name this background."""

    name: str
    phrases: tuple[str, ...]
    words: tuple[str, ...]


_COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (246, 246, 246),
    "gray": (150, 152, 155),
    "blue": (70, 125, 225),
    "green": (85, 190, 95),
    "yellow": (245, 215, 75),
    "pink": (245, 165, 195),
}


def _backgrounds() -> dict[str, Background]:
    places = (
        ("beach", ("on the beach", "at the beach", "on a sandy beach"), ("beach",)),
        ("grass", ("on the grass", "in a grassy field", "on a green lawn"), ("grass", "grassy", "lawn")),
        ("snow", ("in the snow", "in a snowy field", "on snowy ground"), ("snow", "snowy")),
        ("street", ("on a street", "on a city street", "on the road"), ("street", "road")),
        ("night", ("at night", "under the night sky", "in the dark at night"), ("night",)),
        ("table", ("on a table", "on a wooden table", "on top of a table"), ("table",)),
    )
    colours = (
        (
            name,
            (f"on a {name} background", f"against a {name} background", f"in front of a {name} wall"),
            (f"{name} background", f"{name} wall"),
        )
        for name in _COLOURS
    )
    return {name: Background(name, phrases, words) for name, phrases, words in (*places, *colours)}


BACKGROUNDS: dict[str, Background] = _backgrounds()
"""Every background by name, in a fixed order."""


def _ramp(size: int, start: tuple[int, int, int], stop: tuple[int, int, int]) -> Pixels:
    """A vertical gradient, (size, size, 3)."""
    along = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None, None]
    column = np.array(start, np.float32) * (1 - along) + np.array(stop, np.float32) * along
    return np.broadcast_to(column, (size, size, 3)).copy()


def _texture(rng: np.random.Generator, size: int, cells: int, amplitude: float) -> Pixels:
    """Blocky noise, (size, size, 1), the same at every size but for resolution."""
    grid = rng.normal(0.0, amplitude, (cells, cells)).astype(np.float32)
    where = np.arange(size) * cells // size
    return grid[np.ix_(where, where)][:, :, None]


def _ground(
    rng: np.random.Generator,
    size: int,
    sky: tuple[tuple[int, int, int], tuple[int, int, int]],
    ground: tuple[tuple[int, int, int], tuple[int, int, int]],
    amplitude: float,
) -> tuple[Pixels, int]:
    """Sky over textured ground; returns the pixels and the row of the horizon."""
    pixels = _ramp(size, *sky)
    row = int(size * rng.uniform(0.22, 0.45))
    below = _ramp(size, *ground) + _texture(rng, size, 32, amplitude)
    pixels[row:] = below[row:]
    return pixels, row


def _beach(rng: np.random.Generator, size: int) -> Pixels:
    sky, sand = ((135, 200, 245), (200, 230, 250)), ((235, 210, 150), (220, 185, 120))
    pixels, row = _ground(rng, size, sky, sand, 7)
    sea = int(size * rng.uniform(0.10, 0.18))
    pixels[max(0, row - sea) : row] = np.array((35, 135, 175), np.float32)
    pixels[row : row + max(1, size // 48)] = 250
    return pixels


def _grass(rng: np.random.Generator, size: int) -> Pixels:
    return _ground(rng, size, ((120, 185, 245), (205, 230, 250)), ((95, 170, 60), (60, 130, 40)), 14)[0]


def _snow(rng: np.random.Generator, size: int) -> Pixels:
    pixels, _ = _ground(rng, size, ((160, 180, 205), (200, 212, 228)), ((248, 250, 255), (222, 232, 246)), 3)
    _dots(pixels, rng, 46, 255.0)
    return pixels


def _street(rng: np.random.Generator, size: int) -> Pixels:
    pixels, row = _ground(rng, size, ((175, 165, 155), (150, 135, 125)), ((98, 98, 102), (72, 72, 76)), 6)
    for window in range(6):
        left = int(size * (window + 0.25) / 6)
        pixels[row // 4 : row * 3 // 4, left : left + size // 12] = (95, 110, 130)
    pixels[row : row + max(1, size // 24)] = (188, 186, 182)
    line = int(size * rng.uniform(0.68, 0.86))
    for dash in range(5):
        left = int(size * (dash + 0.2) / 5)
        pixels[line : line + max(1, size // 32), left : left + size // 9] = (238, 222, 120)
    return pixels


def _night(rng: np.random.Generator, size: int) -> Pixels:
    pixels = _ramp(size, (12, 14, 42), (34, 34, 74))
    _dots(pixels, rng, 40, 235.0)
    return pixels


def _table(rng: np.random.Generator, size: int) -> Pixels:
    pixels, row = _ground(rng, size, ((232, 222, 208), (222, 208, 190)), ((165, 105, 60), (135, 82, 44)), 3)
    for plank in range(1, 6):
        line = row + (size - row) * plank // 6
        pixels[line : line + max(1, size // 64)] *= 0.72
    return pixels


def _dots(pixels: Pixels, rng: np.random.Generator, count: int, value: float) -> None:
    size = pixels.shape[0]
    side = max(1, size // 64)
    for x, y in rng.uniform(0.0, 1.0, (count, 2)):
        top, left = int(y * size), int(x * size)
        pixels[top : top + side, left : left + side] = value


def _colour(name: str) -> Callable[[np.random.Generator, int], Pixels]:
    def paint(rng: np.random.Generator, size: int) -> Pixels:
        base = np.array(_COLOURS[name], np.float32)
        top, bottom = rng.uniform(0.93, 1.04, 2)
        pixels = np.ones((size, size, 3), np.float32) * base
        pixels *= np.linspace(top, bottom, size, dtype=np.float32)[:, None, None]
        return pixels

    return paint


_PAINTERS: dict[str, Callable[[np.random.Generator, int], Pixels]] = {
    "beach": _beach,
    "grass": _grass,
    "snow": _snow,
    "street": _street,
    "night": _night,
    "table": _table,
    **{name: _colour(name) for name in _COLOURS},
}


@lru_cache(maxsize=2048)
def paint(name: str, variant: int, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) pixels of one variant; read-only, as it is shared."""
    rng = np.random.default_rng((list(BACKGROUNDS).index(name), variant))
    pixels = _PAINTERS[name](rng, size) * np.float32(rng.uniform(0.9, 1.06))
    result: NDArray[np.uint8] = np.clip(pixels + rng.uniform(-8, 8, 3).astype(np.float32), 0, 255).astype(
        np.uint8
    )
    result.setflags(write=False)
    return result
