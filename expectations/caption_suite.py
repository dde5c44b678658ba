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

from expectations.gate import ExpectationOutcome, GateResult, GateThresholds
from expectations.schema import PUBLISHED, published_schema
from expectations.style import style_frame

if TYPE_CHECKING:
    import great_expectations as gx

__all__ = ["ExpectationOutcome", "GateResult", "GateThresholds", "validate_table"]

# Great Expectations keeps the current context and the registered metrics in module globals.
_ONE_AT_A_TIME = threading.Lock()


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
    from expectations.suites import row_suite

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
    from expectations.suites import style_suite

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
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    quiet = DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(),
    )
    with _ONE_AT_A_TIME:
        context = gx.get_context(mode="ephemeral", project_config=quiet)
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
