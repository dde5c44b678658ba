"""The demo's end: what came of its rows, as a table for people and a dict for programs.

Since the demo's scenes are known, it can also say how many captions are true. Reads the run's files only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from flows.demo.source import scene_of_row
from models.embedded.world import make_scene, score
from tasks.status import RunStatus

EXAMPLES = 5


@dataclass(frozen=True)
class Example:
    """One published row for people to look at."""

    key: str
    alt_text: str
    caption: str


@dataclass(frozen=True)
class Truth:
    """How many published captions are right, by the scenes' truth."""

    rows: int
    objects: int
    """Captions that name all objects."""
    background: int
    full: int
    """Captions that are right in everything: objects, counts, relation, background."""


@dataclass(frozen=True)
class DemoSummary:
    """What ``cocoscribe demo`` reports."""

    out: Path
    status: RunStatus
    seconds_total: float
    """Wall time of the run, cluster start included."""
    published_now: int
    """Rows published by this very run: fewer than all where an earlier one left something."""
    examples: tuple[Example, ...]
    truth: Truth

    @property
    def images_per_second(self) -> float:
        """Published rows by wall time: what a user waits for, start-up and all six stages included."""
        return round(self.published_now / self.seconds_total, 2) if self.seconds_total > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rows_in": self.status.rows_in,
            "rows_published": self.status.rows_published,
            "rows_rejected": self.status.rows_rejected,
            "rejected_by_reason": self.status.rejected_by_reason,
            "seconds_by_stage": self.status.seconds_by_stage,
            "images_per_second": self.images_per_second,
            "seconds_total": round(self.seconds_total, 2),
            "truth": {
                "rows": self.truth.rows,
                "objects": self.truth.objects,
                "background": self.truth.background,
                "full": self.truth.full,
            },
            "examples": [vars(example) for example in self.examples],
            "out": str(self.out),
        }


def summarise(
    out: Path, status: RunStatus, seconds_total: float, published_now: int | None = None
) -> DemoSummary:
    """The summary of a demo in ``out``. ``published_now`` defaults to all published rows."""
    rows = list(_published_rows(out))
    # Evenly spaced, not chosen: the examples are what a reader of the data would meet.
    step = max(1, len(rows) // EXAMPLES)
    return DemoSummary(
        out=out,
        status=status,
        seconds_total=seconds_total,
        published_now=status.rows_published if published_now is None else published_now,
        examples=tuple(rows[::step][:EXAMPLES]),
        truth=judge(rows),
    )


def judge(rows: list[Example]) -> Truth:
    """Compare captions with the scenes that the rows show."""
    scores = []
    for row in rows:
        number = int(row.key.partition("-")[2])
        if (scene := scene_of_row(number)) is not None:
            scores.append(score(row.caption, make_scene(scene.seed, scene.index, scene.kind)))
    return Truth(
        rows=len(scores),
        objects=sum(s.objects for s in scores),
        background=sum(s.background for s in scores),
        full=sum(s.full for s in scores),
    )


def print_summary(summary: DemoSummary, console: Console) -> None:
    """The closing table: fits 80 columns, uses more where there are; plain where output is not a terminal."""
    console.print()
    console.print(_headline(summary))
    for title, body in (
        ("Rejected, by reason", _reasons(summary.status)),
        ("Stages", _stages(summary.status)),
        ("Captions", _examples(summary.examples)),
        ("Where to look", _where_to_look(summary.out)),
    ):
        console.print()
        console.print(Text(title, style="bold"))
        console.print(body)


def _headline(summary: DemoSummary) -> Text:
    status = summary.status
    text = Text()
    text.append(f"{status.rows_in:,} rows in: ")
    text.append(f"{status.rows_published:,} published", style="bold green")
    text.append(", ")
    text.append(f"{status.rows_rejected:,} rejected", style="yellow")
    if status.failed:
        text.append(f", {len(status.failed)} partitions failed", style="bold red")
    text.append(f". {summary.images_per_second:.1f} images/s over {summary.seconds_total:.1f} s.")
    return _flowing(text, summary.truth)


def _flowing(text: Text, truth: Truth) -> Text:
    if truth.rows:
        text.append(
            f"\nBy the scenes' truth {_share(truth.objects, truth.rows)} of the captions name all objects, "
            f"{_share(truth.background, truth.rows)} the background; "
            f"{_share(truth.full, truth.rows)} are right in everything."
        )
    return text


def _reasons(status: RunStatus) -> RenderableType:
    if not status.rejected_by_reason:
        return Text("none")
    entries = [
        Text.assemble((f"{rows:>5,}", "yellow"), f" {reason}")
        for reason, rows in status.rejected_by_reason.items()
    ]
    return Columns(entries, equal=True, column_first=True, padding=(0, 1))


def _stages(status: RunStatus) -> Table:
    table = _table()
    table.add_column()
    for stage in status.seconds_by_stage:
        table.add_column(stage, justify="right")
    seconds = status.seconds_by_stage.values()
    table.add_row("seconds of work", *(f"{s:.1f}" for s in seconds))
    table.add_row(
        "images/s a worker", *(f"{status.rows_published / s:,.0f}" if s > 0 else "-" for s in seconds)
    )
    return table


def _examples(examples: tuple[Example, ...]) -> Table:
    table = _table()
    table.add_column("the web's alt-text", overflow="fold", style="dim", max_width=40)
    table.add_column("Cocoscribe's caption", overflow="fold")
    for example in examples:
        table.add_row(_printable(example.alt_text), _printable(example.caption))
    return table


def _where_to_look(out: Path) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    shown = _short(out)
    for what, where in (
        ("report", f"{shown}/reports/index.html"),
        ("captions", f"{shown}/data/*.parquet"),
        ("rejected", f"{shown}/rejected/*.parquet"),
        ("status", f"cocoscribe status {shown}"),
        (
            "Prefect UI",
            "prefect server start, then PREFECT_API_URL=http://127.0.0.1:4200/api cocoscribe demo",
        ),
    ):
        table.add_row(what, Text(where))
    return table


def _table() -> Table:
    return Table(header_style="dim", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _printable(text: str) -> Text:
    """Web text for a terminal: no markup, no escape sequences."""
    return Text("".join(c if c.isprintable() else " " for c in text).strip() or "(none)")


def _short(path: Path) -> Path:
    """Relative to the working directory where it lies below."""
    absolute, here = path.resolve(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def _published_rows(out: Path) -> Iterator[Example]:
    for path in sorted((out / "data").glob("part-*.parquet")):
        table = pq.read_table(path, columns=["key", "TEXT", "top_caption"])
        for row in table.to_pylist():
            yield Example(row["key"], row["TEXT"] or "", row["top_caption"])
