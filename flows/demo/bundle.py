"""Read the bundled scenes: JPEG files, an alt-text for each, and the truth. Knows not how they were made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

SIZE_PIXELS = 192
"""Side of a bundled scene: larger than what the embedded models see, as images of the web are."""
PLAIN_SCENES = 240
"""So many scenes, the first, fill plain rows; the ones after them are for odd images."""


@dataclass(frozen=True)
class BundledScene:
    """One rendered scene of the demo."""

    file: str
    """Name of its JPEG in the bundle."""
    seed: int
    index: int
    kind: str | None
    """``models.embedded.world.make_scene(seed, index, kind)`` is the scene."""
    alt_text: str
    caption: str
    """A true caption, the plainest of several."""


def folder() -> Traversable:
    """Where the bundle lies inside the installed package."""
    return files("models.embedded").joinpath("data", "demo")


@cache
def bundled_scenes() -> tuple[BundledScene, ...]:
    """All scenes in order. Raises FileNotFoundError where the package was built without them."""
    lines = folder().joinpath("scenes.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(BundledScene(**json.loads(line)) for line in lines)


def jpeg_of(scene: BundledScene) -> bytes:
    """The image file of a scene."""
    return folder().joinpath(scene.file).read_bytes()
