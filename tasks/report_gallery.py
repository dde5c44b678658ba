"""Rows for the report's gallery: spread evenly over the run, with small pictures where the downloads were kept.

Bounded whatever the run's size: few partitions are opened, and of each few row groups of images.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from tasks.plan import Plan
from tasks.stages import Job, table_path

EXAMPLES = 48
THUMBNAIL_PIXELS = 256
"""Longer side; about 10 kB each as JPEG."""
ALTERNATIVES = 8
TEXT_CHARACTERS = 400
"""Longer alt-texts are cut: web pages put whole articles there."""
UNSAFE = 0.5
"""Pictures that the input holds for unsafe with more probability than this are not shown."""
# Row groups of downloads are up to 32 MB: so many are read of one partition at most.
_GROUPS_READ = 6

_COLUMNS = [
    "key", "URL", "TEXT", "top_caption", "top_caption_raw", "top_similarity", "all_captions", "all_similarities",
    "finalist_similarities", "repair", "punsafe",
]  # fmt: skip


@dataclass(frozen=True)
class Alternative:
    """One candidate of an image."""

    text: str
    similarity: float
    finalist: float | None
    """Stage-2 similarity, where it was a finalist."""
    is_winner: bool


@dataclass(frozen=True)
class Example:
    """One published row, to look at."""

    key: str
    url: str
    alt_text: str
    caption: str
    raw: str
    """The winner before repair."""
    repair: str
    alternatives: list[Alternative]
    candidates: int
    picture: str | None
    """A data URI; None where the image was not kept or is not to be shown."""
    width: int = 0
    height: int = 0
    no_picture: str = ""
    """Why there is none."""

    @property
    def repaired(self) -> bool:
        return self.caption != self.raw


def choose_examples(out: Path, plan: Plan, published: list[str], limit: int = EXAMPLES) -> list[Example]:
    """Up to ``limit`` published rows, evenly spread over partitions and their rows: not chosen by quality."""
    if not published:
        return []
    spread = _evenly(len(published), min(limit, len(published)))
    jobs = [plan.job(out, int(published[i].removeprefix("part-"))) for i in spread]
    share, extra = divmod(limit, len(jobs))
    examples: list[Example] = []
    for number, job in enumerate(jobs):
        examples += _examples_of(job, share + (number < extra))
    return examples


def _examples_of(job: Job, count: int) -> list[Example]:
    if not job.data_file.exists():
        return []
    keys = pq.read_table(job.data_file, columns=["key"])["key"].to_pylist()
    places, pictures = _pictures(job, keys, count)
    with pq.ParquetFile(job.data_file) as file:
        # A data file has row groups of 10,000 rows: of text, so small.
        rows = (
            file.read(columns=[c for c in _COLUMNS if c in file.schema_arrow.names]).take(places).to_pylist()
        )
    return [_example(row, pictures.get(row["key"])) for row in rows]


def _pictures(job: Job, keys: list[str], count: int) -> tuple[list[int], dict[str, bytes]]:
    """Which rows of the partition to show, and the stored images of these by key."""
    count = min(count, len(keys))
    download = table_path(job, "download")
    if not download.exists():
        return _evenly(len(keys), count), {}
    place_of = {key: place for place, key in enumerate(keys)}
    wanted: list[int] = []
    pictures: dict[str, bytes] = {}
    with pq.ParquetFile(download) as file:
        groups = _evenly(file.num_row_groups, min(_GROUPS_READ, count, file.num_row_groups))
        for number, group in enumerate(groups):
            per_group = count // len(groups) + (number < count % len(groups))
            in_group = file.read_row_group(group, columns=["key"])["key"].to_pylist()
            usable = [key for key in in_group if key in place_of]
            chosen = {usable[i] for i in _evenly(len(usable), min(per_group, len(usable)))}
            wanted += [place_of[key] for key in usable if key in chosen]
            mask = [i for i, key in enumerate(in_group) if key in chosen]
            images = file.read_row_group(group, columns=["image"])["image"].take(mask).to_pylist()
            pictures.update(zip([in_group[i] for i in mask], images, strict=True))
    return wanted, pictures


def _example(row: dict[str, object], image: bytes | None) -> Example:
    finalists = _numbers(row.get("finalist_similarities"))
    captions, similarities = row["all_captions"], _numbers(row["all_similarities"])
    assert isinstance(captions, list)
    alternatives = [
        Alternative(
            str(text),
            similarities[i] if i < len(similarities) else float("nan"),
            finalists[i] if i < len(finalists) else None,
            text == row["top_caption_raw"],
        )
        for i, text in enumerate(captions[:ALTERNATIVES])
    ]
    why, uri, size = "", None, (0, 0)
    unsafe = row.get("punsafe")
    if image is None:
        why = "The image was not kept."
    elif isinstance(unsafe, float) and unsafe > UNSAFE:
        why = f"Not shown: the input gives it a probability of {unsafe:.2f} to be unsafe."
    else:
        uri, size = thumbnail(image)
    return Example(
        key=str(row["key"]),
        url=str(row["URL"]),
        alt_text=_cut(str(row["TEXT"] or "")),
        caption=str(row["top_caption"]),
        raw=str(row["top_caption_raw"]),
        repair=str(row["repair"]),
        alternatives=alternatives,
        candidates=len(captions),
        picture=uri,
        width=size[0],
        height=size[1],
        no_picture=why,
    )


def thumbnail(content: bytes) -> tuple[str, tuple[int, int]]:
    """A stored image as a small JPEG in a data URI, and its size in pixels (width, height)."""
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", small.size


def _numbers(values: object) -> list[float]:
    return [float(value) for value in values] if isinstance(values, list) else []


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + " ..."


def _evenly(total: int, count: int) -> list[int]:
    """``count`` of ``range(total)``, evenly spread, in order."""
    if total == 0 or count == 0:
        return []
    return [int(i) for i in np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))]
