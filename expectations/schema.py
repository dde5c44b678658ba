"""The only list of columns: writer, gate, report and card derive from it. Knows nothing of how rows are made.

A published row starts with laion-coco's eleven columns, in its order and types, so that what reads laion-coco reads
ours; our own columns follow. A column that the input lacks is null throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One published column: its name, Arrow type, whether null is allowed, and what it holds."""

    name: str
    type: pa.DataType
    nullable: bool
    meaning: str


LAION_COCO: tuple[Column, ...] = (
    Column("URL", pa.string(), False, "address of the image, as given"),
    Column("TEXT", pa.string(), True, "the web's alt-text, as given"),
    Column("top_caption", pa.string(), False, "the winner of both rankings after repair"),
    Column(
        "all_captions",
        pa.list_(pa.string()),
        False,
        "the unique candidates, before repair, by falling stage-1 similarity",
    ),
    Column(
        "all_similarities",
        pa.list_(pa.float64()),
        False,
        "stage-1 cosine similarity of image and caption, in [-1, 1], parallel to all_captions; always computed",
    ),
    Column("WIDTH", pa.int64(), True, "pixels, as given by the input"),
    Column("HEIGHT", pa.int64(), True, "pixels, as given by the input"),
    Column("similarity", pa.float64(), True, "the input's similarity of image and alt-text"),
    Column("hash", pa.int64(), True, "the input's hash"),
    Column("pwatermark", pa.float64(), True, "the input's probability of a watermark"),
    Column("punsafe", pa.float64(), True, "the input's probability of unsafe content"),
)

OWN: tuple[Column, ...] = (
    Column(
        "key", pa.string(), False, "unique in the run: source file number and row number, 00000-000000000"
    ),
    Column(
        "top_caption_raw", pa.string(), False, "the winner as the captioner wrote it; one of all_captions"
    ),
    Column("top_similarity", pa.float64(), False, "stage-1 similarity of top_caption_raw"),
    Column(
        "finalist_similarities",
        pa.list_(pa.float64()),
        True,
        "stage-2 similarity of the first captions of all_captions, as many as stage 1 kept; "
        "null where stage 2 was not needed (fewer than two finalists) or the profile has none",
    ),
    Column(
        "repair",
        pa.dictionary(pa.int32(), pa.string()),
        False,
        "what repair did: unchanged (but for white space, capital and final period), rules, model, or 'refused: why' "
        "(the guard kept the model's text out, the rules' text stands)",
    ),
    Column("image_width", pa.int32(), False, "pixels of the downloaded image, orientation applied"),
    Column("image_height", pa.int32(), False, "pixels of the downloaded image, orientation applied"),
    Column("image_sha256", pa.string(), False, "SHA-256 of the bytes as downloaded, hexadecimal"),
    Column(
        "model",
        pa.dictionary(pa.int32(), pa.string()),
        False,
        "who wrote the row: profile@digest of the models and settings",
    ),
)

PUBLISHED: tuple[Column, ...] = LAION_COCO + OWN

# Columns of the input that pass through by name; the URL and text columns may be renamed by the user.
PASSED_THROUGH: tuple[str, ...] = ("WIDTH", "HEIGHT", "similarity", "hash", "pwatermark", "punsafe")


def published_schema() -> pa.Schema:
    """The Arrow schema of ``data/part-*.parquet``."""
    return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in PUBLISHED])


def rejected_schema() -> pa.Schema:
    """The Arrow schema of ``rejected/part-*.parquet``: every input row that is not published, with its reason."""
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("URL", pa.string()),
            pa.field("TEXT", pa.string()),
            pa.field("stage", pa.string(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("detail", pa.string()),
        ]
    )
