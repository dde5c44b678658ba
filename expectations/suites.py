"""The two Great Expectations suites: what each row of a partition must meet, and what its style should be.

``meta`` of every expectation says its name (the defect it looks for, and the reason of a quarantined row), whether it
judges rows or the partition, and why it is there. Importing this takes seconds: Great Expectations does.
"""

from __future__ import annotations

from typing import Any

import great_expectations as gx

from expectations import row_expectations as rows
from expectations.gate import GateThresholds, Scope, Severity
from expectations.style import style_checks

KEY_FORM = r"^\d{5,}-\d{9,}$"
SHA256_FORM = r"^[0-9a-f]{64}$"


def row_suite(thresholds: GateThresholds) -> gx.ExpectationSuite:
    """The suite over the published columns. ``meta`` of each expectation: name, scope, why."""
    t = thresholds
    core = gx.expectations
    return gx.ExpectationSuite(
        name="published_rows",
        expectations=[
            core.ExpectColumnValuesToBeUnique(
                column="key",
                **_about(
                    "duplicate_key",
                    "partition",
                    "critical",
                    "Two rows with one key mean that a row was doubled or two inputs were mixed up.",
                ),
            ),
            core.ExpectColumnValuesToMatchRegex(
                column="key",
                regex=KEY_FORM,
                **_about(
                    "malformed_key",
                    "partition",
                    "critical",
                    "The key leads back to the input row: source file number and row number.",
                ),
            ),
            rows.ExpectCaptionToHoldLetters(
                column="top_caption",
                **_row("empty_caption", "A caption without a letter says nothing."),
            ),
            rows.ExpectCaptionWordsToBeBetween(
                column="top_caption",
                min_words=t.min_words,
                **_row("too_few_words", f"Fewer than {t.min_words} words do not describe an image."),
            ),
            rows.ExpectCaptionWordsToBeBetween(
                column="top_caption",
                max_words=t.max_words,
                **_row(
                    "too_many_words",
                    f"More than {t.max_words} words are rambling: COCO's 95th percentile is 15.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfPrompt(
                column="top_caption",
                prompt=t.prompt,
                **_row(
                    "prompt_remains",
                    "The captioner's prompt is scaffolding, not caption: it was not stripped, or said again.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfModelTokens(
                column="top_caption",
                **_row(
                    "model_token_remains",
                    "Special tokens, word pieces and control characters are the tokenizer's, not language.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfRepeatedWords(
                column="top_caption",
                **_row(
                    "repeated_words",
                    "A word or pair of words that follows itself is the decoder going in circles; 0.14 % in COCO.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfRepeatedTrigrams(
                column="top_caption",
                **_row(
                    "repeated_trigram",
                    "'A hat on top of a hat on top of a hat': three words twice; 0.28 % in COCO.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfFileNames(
                column="top_caption",
                **_row("file_name", "File names and addresses come from web text, not from what is seen."),
            ),
            rows.ExpectCaptionNotToBeCutOff(
                column="top_caption",
                **_row(
                    "cut_off", "A caption that ends in an article or conjunction ran into the length limit."
                ),
            ),
            rows.ExpectCaptionToBeInLatinScript(
                column="top_caption",
                **_about(
                    "other_script",
                    "row",
                    "warning",
                    "Captions are English; other scripts are read off signs, or made up.",
                ),
            ),
            rows.ExpectCaptionPunctuationToBeBalanced(
                column="top_caption",
                **_about(
                    "broken_punctuation",
                    "row",
                    "warning",
                    "Open brackets, odd quotes or doubled marks show what repair left undone.",
                ),
            ),
            rows.ExpectCaptionToDifferFromAltText(
                column_list=["top_caption", "TEXT"],
                **_about(
                    "caption_is_alt_text",
                    "row",
                    "info",
                    "A caption that equals the alt-text adds nothing; many would mean mixed-up columns.",
                ),
            ),
            rows.ExpectListValuesToBeCosines(
                column="all_similarities",
                **_row("similarity_out_of_range", "A cosine lies in [-1, 1], and is a number."),
            ),
            rows.ExpectListValuesToBeCosines(
                column="finalist_similarities",
                **_row("finalist_similarity_out_of_range", "A cosine lies in [-1, 1], and is a number."),
            ),
            rows.ExpectListValuesToFall(
                column="all_similarities",
                **_row(
                    "similarities_unsorted",
                    "Readers take the first alternative for the best: laion-coco sorts by falling similarity.",
                ),
            ),
            rows.ExpectListsToBeEquallyLong(
                column_list=["all_captions", "all_similarities"],
                **_row(
                    "lengths_differ",
                    "Captions and similarities are parallel lists: one too many shifts all that follow.",
                ),
            ),
            rows.ExpectFinalistsToFitCandidates(
                column_list=["all_captions", "finalist_similarities"],
                **_row(
                    "finalists_misfit",
                    "Finalists are the first of all_captions, and at least two, or there was nothing to choose.",
                ),
            ),
            rows.ExpectListValuesToBeUnique(
                column="all_captions",
                **_row("duplicate_candidates", "all_captions holds each text once."),
            ),
            rows.ExpectListToContainValue(
                column_list=["all_captions", "top_caption_raw"],
                **_row(
                    "winner_not_a_candidate",
                    "The winner before repair is one of the candidates, or two rows were mixed up.",
                ),
            ),
            rows.ExpectTopSimilarityToBeTheWinners(
                column_list=["all_captions", "all_similarities", "top_caption_raw", "top_similarity"],
                **_row(
                    "wrong_top_similarity", "top_similarity is the winner's own, or two rows were mixed up."
                ),
            ),
            rows.ExpectRepairToBeTold(
                column_list=["top_caption_raw", "top_caption", "repair"],
                **_row(
                    "repair_untold",
                    "top_caption is the winner or its repair, and the column repair says which.",
                ),
            ),
            core.ExpectColumnValuesToBeBetween(
                column="image_width",
                min_value=1,
                **_row("impossible_width", "An image that was seen has pixels."),
            ),
            core.ExpectColumnValuesToBeBetween(
                column="image_height",
                min_value=1,
                **_row("impossible_height", "An image that was seen has pixels."),
            ),
            core.ExpectColumnValuesToMatchRegex(
                column="image_sha256",
                regex=SHA256_FORM,
                **_row("malformed_image_hash", "Takedown and deduplication look images up by their SHA-256."),
            ),
        ],
    )


def style_suite(thresholds: GateThresholds) -> gx.ExpectationSuite:
    """The suite over the style figures."""
    kinds = {
        "mean": gx.expectations.ExpectColumnMeanToBeBetween,
        "sd": gx.expectations.ExpectColumnStdevToBeBetween,
    }
    return gx.ExpectationSuite(
        name="style",
        expectations=[
            kinds[check.kind](
                column=check.column,
                min_value=check.minimum,
                max_value=check.maximum,
                **_about(check.name, "partition", check.severity, check.why),
            )
            for check in style_checks(thresholds)
        ],
    )


def _about(name: str, scope: Scope, severity: Severity, why: str) -> dict[str, Any]:
    return {"severity": severity, "meta": {"name": name, "scope": scope, "why": why}}


def _row(name: str, why: str) -> dict[str, Any]:
    """Of a row check whose failures are quarantined."""
    return _about(name, "row", "critical", why)
