"""Small pictures in every form that the tests need."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

from PIL import Image

WHITE, RED, BLUE = (255, 255, 255), (220, 30, 30), (30, 30, 220)


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Red left half, blue right half."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image.convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@functools.cache
def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    return encoded(picture(size), "JPEG", quality=95)


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG of some 60 bytes whose header claims any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
