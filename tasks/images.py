"""Stored image bytes to pictures for the models, in batches that are read and decoded ahead while a model works."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

# Batches decoded ahead of the model: enough to hide the decoding, small beside the model's own memory.
_AHEAD = 2


@dataclass(frozen=True)
class ImageBatch:
    """Some rows of a download table."""

    keys: list[str]
    images: list[Image.Image]


def decode(content: bytes) -> Image.Image:
    """Stored bytes to an RGB picture. The download stage has decoded these bytes once: failure here is a defect."""
    image = Image.open(io.BytesIO(content))
    return image if image.mode == "RGB" else image.convert("RGB")


def decoded_batches(download_table: Path, batch_size: int) -> Iterator[ImageBatch]:
    """All rows of a download table in order, ``batch_size`` at a time; one thread reads and decodes ahead."""
    with pq.ParquetFile(download_table) as file, ThreadPoolExecutor(1, "decode") as reader:
        raw = file.iter_batches(batch_size=batch_size, columns=["key", "image"])
        waiting: list[Future[ImageBatch | None]] = [reader.submit(_next, raw) for _ in range(_AHEAD)]
        while (batch := waiting.pop(0).result()) is not None:
            waiting.append(reader.submit(_next, raw))
            yield batch


def _next(raw: Iterator[object]) -> ImageBatch | None:
    batch = next(raw, None)
    if batch is None:
        return None
    columns: dict[str, Sequence[object]] = batch.to_pydict()  # type: ignore[attr-defined]
    images = [decode(content) for content in columns["image"]]  # type: ignore[arg-type]
    for image in images:
        image.load()
    return ImageBatch([str(key) for key in columns["key"]], images)
