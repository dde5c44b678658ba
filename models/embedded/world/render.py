"""Paint a scene: the same scene and size give the same pixels on the same Pillow and font.

Needs Noto Color Emoji (SIL Open Font License); knows nothing of captions.
"""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.embedded.world.backgrounds import paint
from models.embedded.world.objects import OBJECTS
from models.embedded.world.scene import Scene

FONT_SIZE = 109
"""The only size at which Noto's bitmaps can be drawn."""

_FONT_NAME = "NotoColorEmoji.ttf"
_FONT_FOLDERS = (
    "/usr/share/fonts/truetype/noto",
    "/usr/share/fonts/noto",
    "/usr/share/fonts/google-noto-emoji",
    "/usr/share/fonts/google-noto-color-emoji-fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
)


class FontMissing(RuntimeError):
    """Noto Color Emoji is not installed."""


def font_path() -> Path:
    """Where Noto Color Emoji lies: COCOSCRIBE_EMOJI_FONT, or the usual folders. Raises FontMissing."""
    named = os.environ.get("COCOSCRIBE_EMOJI_FONT")
    places = [Path(named)] if named else [Path(folder).expanduser() / _FONT_NAME for folder in _FONT_FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise FontMissing(
        "Noto Color Emoji is needed to render scenes: install Debian's fonts-noto-color-emoji, "
        "or name the file in COCOSCRIBE_EMOJI_FONT"
    )


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path()), FONT_SIZE)


@lru_cache(maxsize=256)
def _glyph(name: str) -> Image.Image:
    """The class's emoji, cropped to its ink, RGBA."""
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((8, 8), OBJECTS[name].emoji, font=_font(), embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise FontMissing(f"{font_path()} has no glyph for {name!r}: a newer Noto Color Emoji is needed")
    return canvas.crop(box)


@lru_cache(maxsize=4096)
def sprite(name: str, pixels: int, flip: bool) -> Image.Image:
    """The class's emoji, RGBA, its longest side that many pixels. Shared: do not change it."""
    glyph = _glyph(name)
    factor = pixels / max(glyph.size)
    size = (max(1, round(glyph.width * factor)), max(1, round(glyph.height * factor)))
    resized = glyph.resize(size, Image.Resampling.BICUBIC)
    return resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else resized


def render(scene: Scene, size: int = 96, jpeg_quality: int | None = None) -> Image.Image:
    """The scene as an RGB image of size x size, with its blur, noise and JPEG artefacts."""
    return render_with_instances(scene, size, jpeg_quality)[0]


def render_with_instances(
    scene: Scene, size: int = 96, jpeg_quality: int | None = None
) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The image, and the object that each pixel shows: (size, size), 0 for none, i + 1 for `objects[i]`."""
    canvas = Image.fromarray(paint(scene.background, scene.variant, size))
    instances = Image.new("L", (size, size), 0)
    # From the back to the front: the first object is the one nearest to the viewer.
    for number in range(len(scene.objects), 0, -1):
        placed = scene.objects[number - 1]
        drawn = sprite(placed.name, max(4, round(placed.scale * size)), placed.flip)
        corner = (round(placed.x * size - drawn.width / 2), round(placed.y * size - drawn.height / 2))
        canvas.paste(drawn, corner, drawn)
        instances.paste(number, corner, drawn.getchannel("A").point(_IS_OPAQUE))
    return _photograph(canvas, scene, size, jpeg_quality or scene.jpeg_quality), np.asarray(instances)


_IS_OPAQUE = [255 if alpha >= 96 else 0 for alpha in range(256)]


def _photograph(canvas: Image.Image, scene: Scene, size: int, jpeg_quality: int) -> Image.Image:
    if scene.blur:
        canvas = canvas.filter(ImageFilter.GaussianBlur(scene.blur * size))
    rng = np.random.default_rng((scene.seed, scene.index))
    pixels = np.asarray(canvas, np.float32) * np.float32(scene.gain)
    pixels += rng.standard_normal((size, size, 1), np.float32) * np.float32(scene.noise)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=jpeg_quality)
    with Image.open(buffer) as photograph:
        return photograph.convert("RGB")
