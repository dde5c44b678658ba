"""The gate: which expectations a partition must meet, and :func:`validate_table`, which judges one.

Three steps, each reported expectation by expectation:

1. the Arrow table itself: names, order, types, nulls (before pandas, which would blur types). If it fails, nothing else
   can be judged;
2. Great Expectations over the rows, with the keys of those that fail;
3. Great Expectations over the partition's style figures (:mod:`expectations.style`).

Knows pyarrow tables; knows nothing of files, stages or models. Great Expectations takes seconds to import, so that is
left until a table is judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from expectations.gate import ExpectationOutcome, GateResult, GateThresholds, Scope, Severity
from expectations.schema import PUBLISHED, published_schema
from expectations.style import style_checks, style_frame

if TYPE_CHECKING:
    import great_expectations as gx

__all__ = ["ExpectationOutcome", "GateResult", "GateThresholds", "row_suite", "style_suite", "validate_table"]

# Great Expectations keeps the current context and the registered metrics in module globals.
_ONE_AT_A_TIME = threading.Lock()

KEY_FORM = r"^\d{5,}-\d{9,}$"
SHA256_FORM = r"^[0-9a-f]{64}$"


def validate_table(table: pa.Table, thresholds: GateThresholds) -> GateResult:
    """Judge a partition's published rows: which rows to quarantine, and whether the partition may be published.

    Writes nothing and sends nothing. Takes about half a second for 10,000 rows, after seconds for the first import.
    """
    started = time.perf_counter()
    results = [*_judge_schema(table)]
    bad_rows: dict[str, list[str]] = {}
    if all(result.success for result in results):
        rows_judged, bad_rows = _judge_rows(table, thresholds)
        results += [*rows_judged, _judge_quarantine(len(bad_rows), table.num_rows, thresholds)]
        if table.num_rows >= thresholds.min_rows_for_style:
            results += _judge_style(table, thresholds)
    stops = [r for r in results if not r.success and r.severity == "critical" and r.scope == "partition"]
    return GateResult(
        passed=not stops,
        bad_rows=bad_rows,
        results=results,
        seconds=round(time.perf_counter() - started, 3),
        rows=table.num_rows,
    )


def row_suite(thresholds: GateThresholds) -> gx.ExpectationSuite:
    """The suite over the published columns. ``meta`` of each expectation: name, scope, why."""
    import great_expectations as gx

    from expectations import row_expectations as rows

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
                **_about("empty_caption", "row", "critical", "A caption without a letter says nothing."),
            ),
            rows.ExpectCaptionWordsToBeBetween(
                column="top_caption",
                min_words=t.min_words,
                **_about(
                    "too_few_words",
                    "row",
                    "critical",
                    f"Fewer than {t.min_words} words do not describe an image.",
                ),
            ),
            rows.ExpectCaptionWordsToBeBetween(
                column="top_caption",
                max_words=t.max_words,
                **_about(
                    "too_many_words",
                    "row",
                    "critical",
                    f"More than {t.max_words} words are rambling: COCO's 95th percentile is 15.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfPrompt(
                column="top_caption",
                prompt=t.prompt,
                **_about(
                    "prompt_remains",
                    "row",
                    "critical",
                    "The captioner's prompt is scaffolding, not caption: it was not stripped, or said again.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfModelTokens(
                column="top_caption",
                **_about(
                    "model_token_remains",
                    "row",
                    "critical",
                    "Special tokens, word pieces and control characters are the tokenizer's, not language.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfRepeatedWords(
                column="top_caption",
                **_about(
                    "repeated_words",
                    "row",
                    "critical",
                    "A word or pair of words that follows itself is the decoder going in circles; 0.14 % in COCO.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfRepeatedTrigrams(
                column="top_caption",
                **_about(
                    "repeated_trigram",
                    "row",
                    "critical",
                    "'A hat on top of a hat on top of a hat': three words twice; 0.28 % in COCO.",
                ),
            ),
            rows.ExpectCaptionToBeFreeOfFileNames(
                column="top_caption",
                **_about(
                    "file_name",
                    "row",
                    "critical",
                    "File names and addresses come from web text, not from what is seen.",
                ),
            ),
            rows.ExpectCaptionNotToBeCutOff(
                column="top_caption",
                **_about(
                    "cut_off",
                    "row",
                    "critical",
                    "A caption that ends in an article or conjunction ran into the length limit.",
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
                **_about(
                    "similarity_out_of_range", "row", "critical", "A cosine lies in [-1, 1], and is a number."
                ),
            ),
            rows.ExpectListValuesToBeCosines(
                column="finalist_similarities",
                **_about(
                    "finalist_similarity_out_of_range",
                    "row",
                    "critical",
                    "A cosine lies in [-1, 1], and is a number.",
                ),
            ),
            rows.ExpectListValuesToFall(
                column="all_similarities",
                **_about(
                    "similarities_unsorted",
                    "row",
                    "critical",
                    "Readers take the first alternative for the best: laion-coco sorts by falling similarity.",
                ),
            ),
            rows.ExpectListsToBeEquallyLong(
                column_list=["all_captions", "all_similarities"],
                **_about(
                    "lengths_differ",
                    "row",
                    "critical",
                    "Captions and similarities are parallel lists: one too many shifts all that follow.",
                ),
            ),
            rows.ExpectFinalistsToFitCandidates(
                column_list=["all_captions", "finalist_similarities"],
                **_about(
                    "finalists_misfit",
                    "row",
                    "critical",
                    "Finalists are the first of all_captions, and at least two, or there was nothing to choose.",
                ),
            ),
            rows.ExpectListValuesToBeUnique(
                column="all_captions",
                **_about("duplicate_candidates", "row", "critical", "all_captions holds each text once."),
            ),
            rows.ExpectListToContainValue(
                column_list=["all_captions", "top_caption_raw"],
                **_about(
                    "winner_not_a_candidate",
                    "row",
                    "critical",
                    "The winner before repair is one of the candidates, or two rows were mixed up.",
                ),
            ),
            rows.ExpectTopSimilarityToBeTheWinners(
                column_list=["all_captions", "all_similarities", "top_caption_raw", "top_similarity"],
                **_about(
                    "wrong_top_similarity",
                    "row",
                    "critical",
                    "top_similarity is the winner's own, or two rows were mixed up.",
                ),
            ),
            rows.ExpectRepairToBeTold(
                column_list=["top_caption_raw", "top_caption", "repair"],
                **_about(
                    "repair_untold",
                    "row",
                    "critical",
                    "top_caption is the winner or its repair, and the column repair says which.",
                ),
            ),
            core.ExpectColumnValuesToBeBetween(
                column="image_width",
                min_value=1,
                **_about("impossible_width", "row", "critical", "An image that was seen has pixels."),
            ),
            core.ExpectColumnValuesToBeBetween(
                column="image_height",
                min_value=1,
                **_about("impossible_height", "row", "critical", "An image that was seen has pixels."),
            ),
            core.ExpectColumnValuesToMatchRegex(
                column="image_sha256",
                regex=SHA256_FORM,
                **_about(
                    "malformed_image_hash",
                    "row",
                    "critical",
                    "Takedown and deduplication look images up by their SHA-256.",
                ),
            ),
        ],
    )


def style_suite(thresholds: GateThresholds) -> gx.ExpectationSuite:
    """The suite over the style figures."""
    import great_expectations as gx

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


def _judge_schema(table: pa.Table) -> Iterable[ExpectationOutcome]:
    """Names, order, types; then nulls where the schema allows none."""
    wanted = published_schema()
    fault = _schema_fault(table.schema, wanted)
    yield ExpectationOutcome(
        "schema",
        "expect_table_to_have_published_schema",
        "",
        "partition",
        "critical",
        fault is None,
        0,
        table.num_rows,
        "What reads laion-coco reads this: exact names, order and types.",
        fault,
    )
    if fault is None:
        empty = {c.name: n for c in PUBLISHED if not c.nullable and (n := table[c.name].null_count)}
        yield ExpectationOutcome(
            "null_in_required_column",
            "expect_required_columns_to_not_be_null",
            ", ".join(empty),
            "partition",
            "critical",
            not empty,
            sum(empty.values()),
            table.num_rows,
            "A stage that leaves a required value out has lost it.",
            ", ".join(f"{name}: {count} null" for name, count in empty.items()) or None,
        )


def _schema_fault(found: pa.Schema, wanted: pa.Schema) -> str | None:
    for position, name in enumerate(wanted.names):
        if position >= len(found.names):
            return f"column {name} is missing"
        if found.names[position] != name:
            return f"column {position} is {found.names[position]}, not {name}"
        if found.field(position).type != wanted.field(position).type:
            return f"{name} is {found.field(position).type}, not {wanted.field(position).type}"
    if len(found.names) > len(wanted.names):
        return f"column {found.names[len(wanted.names)]} is one too many"
    return None


def _judge_rows(
    table: pa.Table, thresholds: GateThresholds
) -> tuple[list[ExpectationOutcome], dict[str, list[str]]]:
    results: list[ExpectationOutcome] = []
    bad_rows: dict[str, list[str]] = {}
    for found in _run(_rows_frame(table), row_suite(thresholds), {"unexpected_index_column_names": ["key"]}):
        outcome = _outcome(found, table.num_rows)
        results.append(outcome)
        if outcome.severity == "critical" and outcome.scope == "row" and not outcome.success:
            for row in found.result["unexpected_index_list"]:
                bad_rows.setdefault(row["key"], []).append(outcome.name)
    return results, bad_rows


def _judge_quarantine(bad: int, rows: int, thresholds: GateThresholds) -> ExpectationOutcome:
    share = bad / rows if rows else 0.0
    return ExpectationOutcome(
        "too_many_quarantined",
        "expect_share_of_quarantined_rows_to_be_at_most",
        "",
        "partition",
        "critical",
        share <= thresholds.max_quarantined_share or bad <= thresholds.tolerated_bad_rows,
        0,
        rows,
        f"More than {thresholds.max_quarantined_share:.0%} bad rows are a broken model or stage, not bad luck.",
        round(share, 4),
    )


def _judge_style(table: pa.Table, thresholds: GateThresholds) -> list[ExpectationOutcome]:
    found = _run(style_frame(table, thresholds), style_suite(thresholds), {})
    return [_outcome(result, table.num_rows) for result in found]


def _rows_frame(table: pa.Table) -> pd.DataFrame:
    """The columns that the suite looks at, Arrow-backed: lists stay lists, and nothing is copied to Python objects."""
    used = [c.name for c in PUBLISHED if c.name not in ("URL", "WIDTH", "HEIGHT", "similarity", "hash")]
    plain = {
        name: table[name].cast(table.schema.field(name).type.value_type)
        if pa.types.is_dictionary(table.schema.field(name).type)
        else table[name]
        for name in used
    }
    frame: pd.DataFrame = pa.table(plain).to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _run(frame: pd.DataFrame, suite: gx.ExpectationSuite, result_format: dict[str, Any]) -> Sequence[Any]:
    """Great Expectations' results for ``suite`` over ``frame``, in the suite's order."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    with _ONE_AT_A_TIME:
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        batch = (
            context.data_sources.add_pandas("partition")
            .add_dataframe_asset("rows")
            .add_batch_definition_whole_dataframe("all")
            .get_batch({"dataframe": frame})
        )
        names = [expectation.meta["name"] for expectation in suite.expectations]
        results = batch.validate(
            suite,
            result_format={
                "result_format": "COMPLETE",
                "include_unexpected_rows": False,
                "return_unexpected_index_query": False,
                "partial_unexpected_count": 0,
                **result_format,
            },
        ).results
    # Great Expectations groups results by column; the suite's order is the order of importance.
    return sorted(results, key=lambda result: names.index(result.expectation_config.meta["name"]))


def _outcome(found: Any, rows: int) -> ExpectationOutcome:
    """Our record of one of Great Expectations' results. An expectation that could not be computed is critical."""
    config = found.expectation_config
    column = config.kwargs.get("column") or ", ".join(config.kwargs.get("column_list", ()))
    about = {
        "name": config.meta["name"],
        "expectation": config.type,
        "column": column,
        "why": config.meta["why"],
    }
    broken = _exception_of(found.exception_info)
    if broken:
        return ExpectationOutcome(
            **about,
            scope="partition",
            severity="critical",
            success=False,
            unexpected_count=0,
            element_count=rows,
            observed=f"could not be computed: {broken}",
        )
    observed = found.result.get("observed_value")
    return ExpectationOutcome(
        **about,
        scope=config.meta["scope"],
        severity=config.severity.value,
        success=bool(found.success),
        unexpected_count=int(found.result.get("unexpected_count", 0)),
        element_count=int(found.result.get("element_count", rows)),
        observed=None if observed is None else round(float(observed), 4),
    )


def _exception_of(info: dict[str, Any]) -> str:
    """The message in Great Expectations' exception record, which is flat, or one level deep by metric."""
    for record in (info, *(value for value in info.values() if isinstance(value, dict))):
        if record.get("raised_exception"):
            return str(record.get("exception_message"))
    return ""
