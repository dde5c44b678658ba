from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from flows.demo import odd_images
from flows.demo.bundle import bundled_scenes, jpeg_of


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return jpeg_of(bundled_scenes()[0])


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of RGB values, 0-255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


@pytest.mark.parametrize(
    ("make", "kind", "mode"),
    [
        (odd_images.cmyk_jpeg, "JPEG", "CMYK"),
        (odd_images.palette_png, "PNG", "P"),
        (odd_images.webp, "WEBP", "RGB"),
        (odd_images.animated_gif, "GIF", "P"),
    ],
)
def test_healthy_ones_show_the_same_picture_in_another_format(make, kind, mode, jpeg):
    image = opened(make(jpeg))
    assert (image.format, image.mode) == (kind, mode)
    assert difference(image, opened(jpeg)) < 12


def test_animation_has_two_frames(jpeg):
    assert opened(odd_images.animated_gif(jpeg)).n_frames == 2


def test_alpha_hides_black_where_a_reader_must_see_white(jpeg):
    image = opened(odd_images.alpha_png(jpeg))
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    assert image.getpixel((96, 96))[3] == 255


def test_rotated_is_upright_once_its_tag_is_obeyed(jpeg):
    stored = opened(odd_images.rotated_jpeg(jpeg))
    assert stored.size == (192, 256)
    upright = ImageOps.exif_transpose(stored)
    assert upright.size == (256, 192)
    assert difference(upright.resize((192, 192)), opened(jpeg)) < 12


@pytest.mark.parametrize("make", [odd_images.truncated_jpeg, odd_images.garbled_jpeg])
def test_damaged_ones_are_recognised_but_do_not_decode(make, jpeg):
    content = make(jpeg)
    assert content.startswith(b"\xff\xd8\xff")
    with pytest.raises(OSError):
        opened(content)


def test_giant_declares_what_it_does_not_hold():
    content = odd_images.giant_png(30_000, 30_000)
    assert len(content) < 200
    assert content[12:16] == b"IHDR"
    assert struct.unpack(">II", content[16:24]) == (30_000, 30_000)
    assert struct.unpack(">I", content[29:33])[0] == zlib.crc32(content[12:29]), "the header is valid"
