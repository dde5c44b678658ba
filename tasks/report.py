"""Write what a run came to: ``OUT/reports/index.html`` for people, offline, and ``OUT/README.md``, the dataset's card.

One HTML file without scripts and without anything from the net: styles, charts (SVG) and thumbnails are inside, and its
own policy forbids the browser to fetch more. Every text that comes from the web or a model is escaped. Reads the run's
files partition by partition (:mod:`tasks.report_figures`); knows nothing of how they were made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from expectations.gate import COCO_WORDS_MEAN, COCO_WORDS_SD
from expectations.schema import LAION_COCO, PUBLISHED
from tasks.durable import write_atomically
from tasks.plan import read_plan
from tasks.report_charts import Chart, histogram, ranked_means
from tasks.report_figures import GateFigures, RunFigures, read_figures, read_json
from tasks.report_gallery import choose_examples

_SEVERITIES = ("critical", "warning", "info")
_ROLES = {
    "captioner": "Captioner",
    "ranker1": "Ranker, stage 1",
    "ranker2": "Ranker, stage 2",
    "repairer": "Repairer",
}


@dataclass(frozen=True)
class ModelLine:
    """One model of the run, as people are told of it."""

    role: str
    name: str
    revision: str
    fingerprint: str


@dataclass(frozen=True)
class StageLine:
    """One stage over all published partitions."""

    name: str
    rows_in: int
    rows_out: int
    seconds: float

    @property
    def rate(self) -> float:
        """Rows per second of work."""
        return self.rows_in / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class GateVerdict:
    """The gate over the whole run, in three numbers."""

    stopped: int
    """Partitions that a critical check of the whole partition stopped (at least: of the check that stopped most)."""
    quarantined: int
    """Rows of published partitions."""
    warnings: int
    """Expectations of severity warning that failed in some partition."""


def build_report(out: Path) -> Path:
    """Write report and card of the run in ``out`` as it stands; returns the report's path.

    Both are replaced atomically. Raises UserError where there is no run. Memory is bounded by one partition's text
    and a few row groups of images.
    """
    figures = read_figures(out)
    context = _context(out, figures)
    templates = _templates()
    page = out / "reports" / "index.html"
    examples = choose_examples(out, read_plan(out), figures.published)
    write_atomically(
        page, templates.get_template("report.html.j2").render(**context, examples=examples).encode()
    )
    write_atomically(out / "README.md", templates.get_template("card.md.j2").render(**context).encode())
    return page


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks", "report_templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=lambda number: f"{number:,}",
        percent=percent,
        seconds=duration,
        moment=moment,
        decimals=lambda number, digits=2: f"{number:.{digits}f}",
        words=lambda text: str(text).replace("_", " "),
        cell=table_cell,
        arrow_type=arrow_type,
    )
    return environment


def _context(out: Path, figures: RunFigures) -> dict[str, Any]:
    config = read_json(out / "_run" / "config.json")
    identity = read_json(out / "_run" / "models.json")
    plan = read_plan(out)
    gate = sorted(
        figures.gate.values(),
        key=lambda g: (g.partitions_failed == 0, _SEVERITIES.index(g.severity)),
    )
    return {
        "figures": figures,
        "name": out.resolve().name,
        "profile": config.get("profile", "unknown"),
        "seed": config.get("seed", "unknown"),
        "plan": plan,
        "sources": [Path(source.path).name for source in plan.sources],
        "models": [model_line(role, model) for role, model in identity.get("models", {}).items()],
        "sampling": identity.get("sampling", {}),
        "versions": identity.get("versions", {}),
        "stages": _stage_lines(figures),
        "gate": gate,
        "verdict": _verdict(figures, gate),
        "charts": _charts(figures),
        "rejected": sorted(figures.rejected.items(), key=lambda item: (-item[1], item[0])),
        "columns": PUBLISHED,
        "laion_columns": len(LAION_COCO),
        "coco_words": (COCO_WORDS_MEAN, COCO_WORDS_SD),
        "size_category": _size_category(figures.rows_published),
    }


def _verdict(figures: RunFigures, gate: list[GateFigures]) -> GateVerdict:
    stopping = [g for g in gate if g.severity == "critical" and g.scope == "partition"]
    return GateVerdict(
        stopped=max((g.partitions_failed for g in stopping), default=0),
        quarantined=sum(rows for (stage, _), rows in figures.rejected.items() if stage == "validate"),
        warnings=sum(g.severity == "warning" and g.partitions_failed > 0 for g in gate),
    )


def _stage_lines(figures: RunFigures) -> list[StageLine]:
    lines = []
    rows = figures.rows_settled
    for stage, left in figures.rows_after().items():
        lines.append(StageLine(stage, rows, left, figures.seconds.get(stage, 0.0)))
        rows = left
    return lines


def _charts(figures: RunFigures) -> dict[str, Chart | None]:
    mean, sd = COCO_WORDS_MEAN, COCO_WORDS_SD
    present = [i for i, count in enumerate(figures.rank_counts) if count]
    means = [float(figures.rank_sums[i] / figures.rank_counts[i]) for i in present]
    squares = [float(figures.rank_squares[i] / figures.rank_counts[i]) for i in present]
    return {
        "words": histogram(
            [int(n) for n in figures.words],
            first=0,
            open_end=True,
            x_label="words per caption",
            noun="words",
            summary=(
                f"Captions have {figures.words_mean:.2f} words on average, standard deviation {figures.words_sd:.2f}; "
                f"MS COCO's have {mean}, standard deviation {sd}."
            ),
            bands=[(mean - sd, mean + sd, "COCO, mean ± one sd")],
            marks=[(figures.words_mean, f"here {figures.words_mean:.1f}")],
        ),
        "candidates": histogram(
            [int(n) for n in figures.candidates],
            first=0,
            open_end=True,
            x_label="unique candidates per image",
            noun="candidates",
            summary=f"Ranking had {figures.candidates_mean:.1f} different captions per image to choose from.",
        ),
        "ranks": ranked_means(
            means,
            [math.sqrt(max(0.0, s - m * m)) for s, m in zip(squares, means, strict=True)],
            x_label="rank among the image's candidates",
            summary="Mean stage-1 similarity of image and caption by rank, among images with so many candidates.",
        ),
    }


def model_line(role: str, model: dict[str, str | None]) -> ModelLine:
    """A model for people. Of a local directory only the end is named: a card tells nothing of somebody's disk."""
    source = str(model.get("source") or "")
    path = source.removeprefix("local-dir:")
    if path.startswith("/") or "\\" in path:
        parts = Path(path).parts
        shipped = parts[-4:-1] == ("models", "embedded", "weights")
        source = f"shipped with Cocoscribe: {parts[-1]}" if shipped else f"local directory {parts[-1]}"
    return ModelLine(
        _ROLES.get(role, role),
        source,
        str(model.get("revision") or ""),
        str(model.get("fingerprint") or "")[:12],
    )


def percent(part: float, whole: float) -> str:
    """A share with as many digits as it deserves: never 100 % for less than all, nor 0 % for more than none."""
    if not whole:
        return "-"
    share = part / whole * 100
    if 99.95 <= share < 100:
        return "> 99.9 %"
    if 0 < share < 0.05:
        return "< 0.1 %"
    return f"{share:.1f} %" if share not in (0, 100) else f"{share:.0f} %"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(iso: str | None) -> str:
    """An ISO 8601 moment (UTC) to the minute."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M UTC") if iso else "unknown"


def arrow_type(kind: pa.DataType) -> str:
    """A column's type as people say it: list<string>, not list<item: string>."""
    if pa.types.is_dictionary(kind):
        return f"{kind.value_type} (dictionary)"
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def table_cell(text: object) -> str:
    """Text in a Markdown table's cell, as text: no bar, markup or line break of its own."""
    flat = " ".join(str(text).split())
    for mark in "\\`*_[]<>|#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def _size_category(rows: int) -> str:
    """The Hugging Face hub's name for so many rows."""
    limits = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if rows < 1000:
        return "n<1K"
    number = min(int(math.log10(rows)) - 3, len(limits) - 2)
    return f"{limits[number]}<n<{limits[number + 1]}"
