"""Style: a partition unlike COCO is told of, never stopped."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from expectations.caption_suite import GateThresholds, validate_table
from expectations.style import common_captions, style_frame
from tests.expectations.tables import clean_row, clean_table, table_of, with_caption

DEFAULT = GateThresholds()


def test_style_frame_counts_per_row() -> None:
    frame = style_frame(table_of([clean_row(0), clean_row(3), clean_row(5)]), DEFAULT)
    assert list(frame["words"]) == [6, 12, 17]
    assert list(frame["candidates"]) == [3, 3, 3]
    assert list(frame["starts_with_a"]) == [1, 1, 0]
    assert list(frame["repaired"]) == [0, 0, 1]
    assert list(frame["refused"]) == [0, 1, 0]


def test_common_captions_need_more_rows_than_either_limit() -> None:
    few = pa.array(["a dog"] * 6 + ["a cat"] * 5 + ["a cow"])
    assert list(common_captions(few, DEFAULT)) == [True] * 6 + [False] * 6
    many = pa.array(["a dog"] * 9 + [f"number {n}" for n in range(4991)])
    assert not common_captions(many, DEFAULT).any(), "9 of 5,000 is less than 0.2 %"


CAPTION_OF = {
    "mean_words": lambda n: f"a dog {n}",
    "spread_of_words": lambda n: f"a dog sits on the {n} beach in the sun",
    "mode_collapse": lambda n: "a dog on the sand" if n % 2 else clean_row(n)["top_caption_raw"],
    "starts_with_a": lambda n: f"one {clean_row(n)['top_caption_raw']}",
}


@pytest.mark.parametrize("name", sorted(CAPTION_OF))
def test_captions_unlike_coco_are_told(name: str) -> None:
    table = table_of([clean_row(n) | with_caption(CAPTION_OF[name](n)) for n in range(120)])
    result = validate_table(table, DEFAULT)
    assert result.passed
    assert name in {o.name for o in result.results if not o.success}


@pytest.mark.parametrize(
    ("name", "defect"),
    [
        ("few_candidates", {"all_captions": ["a dog on the beach"], "all_similarities": [0.3]}),
        ("repairs_refused", {"repair": "refused: number"}),
        ("mean_similarity", {"top_similarity": -0.1}),
    ],
)
def test_odd_ranking_and_repair_are_told(name: str, defect: dict[str, Any]) -> None:
    result = validate_table(table_of([clean_row(n) | defect for n in range(120)]), DEFAULT)
    outcome = next(o for o in result.results if o.name == name)
    assert not outcome.success
    assert outcome.severity in ("warning", "info")
    assert isinstance(outcome.observed, float)


def test_share_repaired_is_recorded() -> None:
    result = validate_table(clean_table(120), DEFAULT)
    assert next(o for o in result.results if o.name == "share_repaired").observed == 0.5


def test_style_of_a_few_rows_is_not_judged() -> None:
    assert "mean_words" not in {o.name for o in validate_table(clean_table(99), DEFAULT).results}
