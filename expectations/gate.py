"""What the gate is told and what it answers. Plain data: knows nothing of Great Expectations, so it imports at once.

Severities: a failed *critical* row check quarantines the rows that fail it, a failed *critical* check of the whole
partition stops the partition; *warning* is for a person to look at; *info* is recorded to be compared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
Scope = Literal["row", "partition"]

# Words per caption, counted over captions_val2017 (25,014 captions of MS COCO); the other COCO figures likewise.
COCO_WORDS_MEAN = 10.45
COCO_WORDS_SD = 2.33
COCO_SHARE_STARTS_WITH_A = 0.68


@dataclass(frozen=True)
class GateThresholds:
    """Every number that the gate judges by, with its source."""

    min_words: int = 3
    """Fewer say less than a noun phrase; COCO's fifth percentile is 8."""
    max_words: int = 40
    """COCO's 95th percentile is 15; 45 tokens, the recipe's longest candidates, seldom pass 40 words."""
    prompt: str = "a picture of"
    """The captioner's prompt, which it must strip: a caption that starts with it was not stripped, or repeats it."""
    max_quarantined_share: float = 0.2
    """More bad rows than this is a broken model or stage, not bad luck: COCO's human captions fail the repetition
    checks in 0.4 % of cases."""
    tolerated_bad_rows: int = 4
    """So many bad rows never stop a partition, however small it is: one of three rows says nothing of a model."""
    min_mean_words: float = COCO_WORDS_MEAN - COCO_WORDS_SD
    """Style: COCO's mean less one standard deviation of single captions."""
    max_mean_words: float = COCO_WORDS_MEAN + COCO_WORDS_SD
    """Style: COCO's mean plus one standard deviation of single captions."""
    min_sd_words: float = COCO_WORDS_SD / 2
    """Style: half of COCO's spread; less is a template."""
    max_sd_words: float = COCO_WORDS_SD * 2
    """Style: twice COCO's spread; more is a mixture of stubs and rambling."""
    common_caption_rows: int = 5
    """A caption that more rows share than this, and than 0.2 % of the partition, counts as common: mode collapse."""
    max_common_share: float = 0.2
    """Rows with a common caption. In COCO no caption is common by this measure (own judgement, not searched)."""
    min_unique_candidates: float = 1.5
    """Mean unique candidates per image: below it ranking has nothing to choose (top_p 0.2427 gives about 9 with BLIP
    large, 2.3 with a tiny one)."""
    max_refused_share: float = 0.5
    """Repairs that the guard refused: beyond this the repairer does not fit these captions (own judgement)."""
    min_rows_for_style: int = 100
    """Below it a mean is noise: 100 captions tell COCO's mean to 0.23 words."""


@dataclass(frozen=True)
class ExpectationOutcome:
    """One expectation's verdict on one partition."""

    name: str
    """The defect that it looks for; the reason of quarantined rows in ``rejected/``."""
    expectation: str
    """The Great Expectations type, ``expect_...``."""
    column: str
    """Column or columns, comma-separated; empty for the whole table."""
    scope: Scope
    severity: Severity
    success: bool
    unexpected_count: int
    """Rows that fail it; 0 for checks of the whole partition."""
    element_count: int
    """Rows it looked at."""
    why: str
    """One sentence on why it is there."""
    observed: float | str | None = None
    """The figure that was judged, or what was wrong."""


@dataclass(frozen=True)
class GateResult:
    """The gate's verdict on a partition."""

    passed: bool
    bad_rows: dict[str, list[str]]
    """Key of each row to quarantine, to the names of the critical checks that it fails, in the suite's order."""
    results: list[ExpectationOutcome] = field(default_factory=list)
    seconds: float = 0.0
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``OUT/_run/validation/part-00000.json``."""
        return asdict(self)
