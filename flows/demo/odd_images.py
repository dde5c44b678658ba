"""Unusual image files made from an ordinary JPEG, such as the web serves. Knows only Pillow."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

EXIF_ORIENTATION = 0x0112
"""The EXIF tag; value 6 says: turn the stored pixels clockwise by 90 degrees to see the picture upright."""


def cmyk_jpeg(jpeg: bytes) -> bytes:
    """The picture in the colour space of printing presses."""
    return _encoded(_opened(jpeg).convert("CMYK"), "JPEG", quality=90)


def alpha_png(jpeg: bytes) -> bytes:
    """The picture as PNG with a transparent margin of an eighth of its width, to be laid on white.

    The hidden pixels are black, so that a reader who merely drops the alpha channel is found out.
    """
    picture = _opened(jpeg)
    width, height = picture.size
    margin = width // 8
    visible = Image.new("L", picture.size, 0)
    visible.paste(255, (margin, margin, width - margin, height - margin))
    inner = picture.resize((width - 2 * margin, height - 2 * margin), Image.Resampling.BICUBIC)
    drawn = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    drawn.paste(inner, (margin, margin))
    drawn.putalpha(visible)
    return _encoded(drawn, "PNG", optimize=True)


def rotated_jpeg(jpeg: bytes) -> bytes:
    """The picture widened to 4:3 and stored on its side with EXIF orientation 6: upright it is wide."""
    picture = _opened(jpeg)
    wide = picture.resize((picture.height * 4 // 3, picture.height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    # Counter-clockwise now, so that the clockwise turn that the tag asks for sets it upright.
    return _encoded(wide.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def palette_png(jpeg: bytes) -> bytes:
    """The picture in 128 colours, as small PNGs of the web are."""
    return _encoded(_opened(jpeg).quantize(128), "PNG", optimize=True)


def webp(jpeg: bytes) -> bytes:
    """The picture as WebP."""
    return _encoded(_opened(jpeg), "WEBP", quality=85)


def animated_gif(jpeg: bytes) -> bytes:
    """Two frames: the picture, then plain grey. The first one counts."""
    picture = _opened(jpeg).quantize(128)
    grey = Image.new("RGB", picture.size, (128, 128, 128)).quantize(2)
    return _encoded(picture, "GIF", save_all=True, append_images=[grey], duration=200, loop=0)


def truncated_jpeg(jpeg: bytes) -> bytes:
    """The first 60 % of the file: the header is whole, the pixels are not."""
    return jpeg[: len(jpeg) * 6 // 10]


def garbled_jpeg(jpeg: bytes) -> bytes:
    """A JPEG's first two segments followed by zeros: it is recognised as JPEG and cannot be decoded."""
    return jpeg[:40] + bytes(400)


def tracking_pixel() -> bytes:
    """A GIF of one pixel."""
    return _encoded(Image.new("P", (1, 1)), "GIF")


def giant_png(width: int, height: int) -> bytes:
    """A decompression bomb: a valid header that declares ``width`` x ``height`` pixels, and a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(4096)))
        + chunk(b"IEND", b"")
    )


def _opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()
