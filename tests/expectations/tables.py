"""Published tables for the gate's tests: clean ones, and the means to plant a defect in one row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from expectations.schema import published_schema

_NOUNS = ("dog", "red bus", "pizza", "small boat", "horse", "woman", "traffic light", "zebra")
_PLACES = (
    "on the beach", "in front of a large brick building", "under an umbrella", "next to a couch in the living room",
    "at night", "on a snowy street with parked cars", "in the grass",
)  # fmt: skip


def clean_row(number: int) -> dict[str, Any]:
    """A row that every expectation is content with; its captions differ from those of nearby rows."""
    noun, place = _NOUNS[number % 8], _PLACES[number % 7]
    captions = [
        f"a {noun} standing {place}",
        f"a close up of a {noun} {place}",
        f"there is one {noun} {place} on a sunny day in {1900 + number}",
    ]
    winner = number % 3
    repair = ("unchanged", "rules", "model", "refused: length")[number % 4]
    raw = captions[winner]
    return {
        "URL": f"http://example.org/{number}.jpg",
        "TEXT": f"IMG_{number}.jpg stock photo",
        "top_caption": raw.capitalize() + ".",
        "all_captions": captions,
        "all_similarities": [0.31, 0.3, 0.25],
        "WIDTH": 640, "HEIGHT": 480, "similarity": 0.3, "hash": number, "pwatermark": 0.1, "punsafe": None,
        "key": f"00000-{number:09d}",
        "top_caption_raw": raw,
        "top_similarity": [0.31, 0.3, 0.25][winner],
        "finalist_similarities": None if winner == 0 else [0.2, 0.3, 0.1],
        "repair": repair,
        "image_width": 640, "image_height": 480,
        "image_sha256": f"{number:064x}",
        "model": "embedded@0123456789ab",
    }  # fmt: skip


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows under the published schema."""
    return pa.Table.from_pylist(rows, schema=published_schema())


def clean_table(rows: int) -> pa.Table:
    """``rows`` clean rows."""
    return table_of([clean_row(number) for number in range(rows)])


def with_caption(text: str) -> dict[str, Any]:
    """What makes a row's winner read ``text``, consistently in all columns."""
    return {
        "top_caption": text, "top_caption_raw": text, "repair": "unchanged", "top_similarity": 0.31,
        "all_captions": [text, "a dog on the beach"], "all_similarities": [0.31, 0.1], "finalist_similarities": None,
    }  # fmt: skip
