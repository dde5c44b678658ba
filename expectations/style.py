"""Style of a whole partition against MS COCO's figures: nothing here stops a partition, it is for people to compare.

The judged figures are per-row numbers (:func:`style_frame`), aggregated by Great Expectations' built-in expectations.
Where a threshold comes from stands in :class:`expectations.gate.GateThresholds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from expectations import caption_text
from expectations.gate import (
    COCO_SHARE_STARTS_WITH_A,
    COCO_WORDS_MEAN,
    COCO_WORDS_SD,
    GateThresholds,
    Severity,
)


@dataclass(frozen=True)
class StyleCheck:
    """A figure of the style frame and the bounds it should keep."""

    name: str
    column: str
    kind: Literal["mean", "sd"]
    minimum: float | None
    maximum: float | None
    severity: Severity
    why: str


def style_frame(table: pa.Table, thresholds: GateThresholds) -> pd.DataFrame:
    """One row of numbers per caption, in the table's order.

    words; candidates (unique ones per image); top_similarity; and as 0 or 1: common_caption, starts_with_a, repaired,
    refused.
    """
    captions = _array(table, "top_caption")
    repair = _array(table, "repair")
    if pa.types.is_dictionary(repair.type):
        repair = repair.dictionary_decode()
    return pd.DataFrame(
        {
            "words": caption_text.word_counts(captions),
            "candidates": _numbers(pc.list_value_length(_array(table, "all_captions"))),
            "top_similarity": _numbers(_array(table, "top_similarity")),
            "common_caption": common_captions(captions, thresholds).astype(np.float64),
            "starts_with_a": _numbers(pc.match_substring_regex(captions, r"(?i)^an?\s")),
            "repaired": _numbers(pc.is_in(repair, value_set=pa.array(["rules", "model"]))),
            "refused": _numbers(pc.starts_with(repair, "refused")),
        }
    )


def common_captions(captions: pa.Array, thresholds: GateThresholds) -> npt.NDArray[np.bool_]:
    """True for each row whose caption more rows share than ``common_caption_rows`` and 0.2 % of all."""
    limit = max(thresholds.common_caption_rows, 0.002 * len(captions))
    codes = captions.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=1)
    return np.asarray(counts[codes] > limit, dtype=np.bool_)


def style_checks(t: GateThresholds) -> list[StyleCheck]:
    """What is expected of the style frame under the thresholds ``t``."""
    return [
        StyleCheck(
            "mean_words",
            "words",
            "mean",
            t.min_mean_words,
            t.max_mean_words,
            "warning",
            f"COCO's captions have {COCO_WORDS_MEAN} words on average; far from it is another style.",
        ),
        StyleCheck(
            "spread_of_words",
            "words",
            "sd",
            t.min_sd_words,
            t.max_sd_words,
            "warning",
            f"COCO's captions differ by {COCO_WORDS_SD} words (standard deviation); less is a template.",
        ),
        StyleCheck(
            "mode_collapse",
            "common_caption",
            "mean",
            0.0,
            t.max_common_share,
            "warning",
            "Many images with one and the same caption mean that the captioner no longer looks at them.",
        ),
        StyleCheck(
            "few_candidates",
            "candidates",
            "mean",
            t.min_unique_candidates,
            None,
            "warning",
            "With hardly more than one unique candidate per image ranking has nothing to choose.",
        ),
        StyleCheck(
            "repairs_refused",
            "refused",
            "mean",
            0.0,
            t.max_refused_share,
            "warning",
            "A repairer whose work the guard mostly refuses does not fit these captions.",
        ),
        StyleCheck(
            "starts_with_a",
            "starts_with_a",
            "mean",
            COCO_SHARE_STARTS_WITH_A / 2,
            1.0,
            "info",
            f"{COCO_SHARE_STARTS_WITH_A:.0%} of COCO's captions start with an article; recorded to be compared.",
        ),
        StyleCheck(
            "share_repaired",
            "repaired",
            "mean",
            0.0,
            1.0,
            "info",
            "How many captions repair changed; recorded to be compared between partitions.",
        ),
        StyleCheck(
            "mean_similarity",
            "top_similarity",
            "mean",
            0.0,
            1.0,
            "info",
            "Image and caption should agree more than by chance, which is about 0; recorded to see drift.",
        ),
    ]


def _array(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _numbers(values: pa.Array) -> npt.NDArray[np.float64]:
    filled = pc.fill_null(values.cast(pa.float64()), np.nan)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.float64)
