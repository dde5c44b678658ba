"""The figures of an evaluation, and their place in the model card.

Knows how figures are shown; knows nothing of how they are measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

Row = dict[str, float]
"""A share between 0 and 1 for each part of the truth: objects, count, relation, background, full."""

BEGIN = "<!-- figures: written by models.embedded.evaluate -->"
END = "<!-- end of figures -->"


@dataclass(frozen=True)
class Evaluation:
    """`ways`: by the way of choosing a caption. `kinds`: the final caption by kind of scene. `facts`: numbers that
    stand alone. `cpu_seconds_per_image` is of the whole family on one thread."""

    scenes: int
    seed: int
    top_p: float
    cpu_seconds_per_image: float
    ways: dict[str, Row]
    kinds: dict[str, Row]
    facts: dict[str, float]


def tables(evaluation: Evaluation) -> str:
    """The figures as Markdown."""
    facts = "\n".join(f"- {name}: {value:.3g}" for name, value in evaluation.facts.items())
    return (
        f"{evaluation.scenes:,} held-out scenes (seed {evaluation.seed}), top_p {evaluation.top_p:g}, "
        f"{evaluation.cpu_seconds_per_image:.2f} CPU-seconds an image for the whole family.\n\n"
        f"{_table('caption chosen by', evaluation.ways)}\n\n"
        f"{_table('final caption, kind of scene', evaluation.kinds)}\n\n"
        f"{facts}"
    )


def write_card(card: Path, evaluation: Evaluation) -> None:
    """Put the figures between the card's marks. Raises ValueError where the card has no such place."""
    text = card.read_text(encoding="utf-8")
    place = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    written, count = place.subn(lambda _: f"{BEGIN}\n{tables(evaluation)}\n{END}", text)
    if count != 1:
        raise ValueError(f"{card} has no single place for figures between {BEGIN!r} and {END!r}")
    card.write_text(written, encoding="utf-8")


def _table(title: str, rows: dict[str, Row]) -> str:
    parts = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(parts)} |", f"| --- |{' ---: |' * len(parts)}"]
    lines += [
        f"| {name} | {' | '.join(f'{100 * row[part]:.1f} %' for part in parts)} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)
