"""What people see of a run in the Prefect UI: a short report per partition and one table per dataset run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.stages import STAGES
from tasks.status import RunStatus


def show_partition(state: dict[str, Any]) -> None:
    """Leave a published partition's counts, seconds and gate findings as a markdown artifact of its flow run."""
    create_markdown_artifact(
        partition_markdown(state), key=state["partition"], description="Counts, gate, seconds"
    )


def show_failure(partition: str, error: str) -> None:
    """Leave why a partition stopped, and what to do."""
    text = (
        f"# {partition} failed\n\n{_cell(error)}\n\nWhat was finished is kept. Retry goes on at the stage that failed: "
        "the same command again, or `cocoscribe retry OUT`.\n"
    )
    create_markdown_artifact(text, key=partition, description="Why it failed and what to do")


def show_dataset(status: RunStatus, out: Path) -> None:
    """Leave the run's funnel as a table artifact of the dataset's flow run."""
    rows: list[dict[str, Any]] = [
        {"rows": status.rows_in, "outcome": "in", "reason": ""},
        {"rows": status.rows_published, "outcome": "published", "reason": ""},
        *(
            {"rows": count, "outcome": "rejected", "reason": reason}
            for reason, count in status.rejected_by_reason.items()
        ),
    ]
    if status.rows_left:
        rows.append({"rows": status.rows_left, "outcome": "not yet decided", "reason": ""})
    create_table_artifact(
        rows, key="caption-dataset", description=f"Report: {out / 'reports' / 'index.html'}"
    )


def partition_markdown(state: dict[str, Any]) -> str:
    """A partition's state file for people."""
    lines = [
        f"# {state['partition']}",
        "",
        f"{state['rows_in']:,} rows in, **{state['rows_published']:,} published**, "
        f"{state['rows_rejected']:,} rejected.",
        "",
        "| stage | seconds |",
        "| --- | ---: |",
        *(f"| {stage} | {state['seconds'][stage]:.1f} |" for stage in STAGES if stage in state["seconds"]),
    ]
    if state["rejected"]:
        lines += ["", "| rejected at | reason | rows |", "| --- | --- | ---: |"]
        lines += [f"| {r['stage']} | {_cell(r['reason'])} | {r['rows']:,} |" for r in state["rejected"]]
    gate = state["figures"]["validate"]
    lines += ["", f"Gate: {gate['expectations']} expectations, {len(gate['failed'])} with findings."]
    if gate["failed"]:
        lines += ["", "| finding | severity | rows |", "| --- | --- | ---: |"]
        lines += [f"| {_cell(f['name'])} | {f['severity']} | {f['rows']:,} |" for f in gate["failed"]]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text from outside cannot break out of a table cell, nor become markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
