"""Geometry of the report's charts: numbers in, rectangles and lines out. The templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 440, 264
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 8, 40, 42
"""Margins in SVG units: room for the labels."""


@dataclass(frozen=True)
class Bar:
    """One bar and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A label on an axis; ``at`` in SVG units along it."""

    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A vertical line with a label, or with ``width`` > 0 a band."""

    x: float
    width: float
    label: str


@dataclass(frozen=True)
class Chart:
    """All that a template needs to draw."""

    x_label: str
    y_label: str
    summary: str
    """The chart in a sentence, for those who cannot see it."""
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark] = field(default_factory=list)
    bands: list[Mark] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def histogram(
    counts: Sequence[int],
    *,
    first: int,
    x_label: str,
    summary: str,
    noun: str,
    open_end: bool = False,
    bands: Sequence[tuple[float, float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Chart | None:
    """Shares of whole numbers. ``counts[i]`` belongs to ``first + i``; empty ends are cut; None where all is empty.

    ``open_end``: the last number stands for all that are greater. Bands and marks are given in the x axis's numbers.
    """
    total = sum(counts)
    if not total:
        return None
    filled = [i for i, count in enumerate(counts) if count]
    # What bands and marks name must lie inside.
    edges = [*(x for b in bands for x in (b[0], b[1])), *(m[0] for m in marks)]
    low = min([filled[0] + first, *(math.floor(x) for x in edges)])
    high = max([filled[-1] + first, *(math.ceil(x) for x in edges)])
    plot_width = WIDTH - _LEFT - _RIGHT
    step = plot_width / (high - low + 1)

    def x_of(number: float) -> float:
        """The middle of a number's column."""
        return _LEFT + (number - low + 0.5) * step

    top_share = _nice(max(counts) / total)
    plot_height = HEIGHT - _TOP - _BOTTOM
    bars = []
    for number in range(low, high + 1):
        index = number - first
        count = counts[index] if 0 <= index < len(counts) else 0
        if count:
            height = plot_height * count / total / top_share
            more = " or more" if open_end and index == len(counts) - 1 else ""
            bars.append(
                Bar(
                    round(x_of(number) - step * 0.42, 2),
                    round(HEIGHT - _BOTTOM - height, 2),
                    round(step * 0.84, 2),
                    round(height, 2),
                    f"{number}{more} {noun}: {count:,} ({count / total:.1%})",
                )
            )
    every = max(1, math.ceil((high - low + 1) / 10))
    x_ticks = [Tick(round(x_of(n), 2), str(n)) for n in range(low, high + 1) if n % every == 0]
    return Chart(
        x_label,
        "share",
        summary,
        bars,
        x_ticks,
        _share_ticks(top_share),
        [Mark(round(x_of(at), 2), 0, label) for at, label in marks],
        [Mark(round(x_of(a), 2), round((b - a) * step, 2), label) for a, b, label in bands],
    )


def ranked_means(
    means: Sequence[float], spreads: Sequence[float], *, x_label: str, summary: str
) -> Chart | None:
    """Means by rank (1 and on) as bars from zero; the title of each tells its spread. None where there are none."""
    if not means:
        return None
    top, bottom = _nice(max(*means, 0.01)), min(0.0, *means)
    plot_width, plot_height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = plot_width / len(means)
    scale = plot_height / (top - bottom)
    zero = _TOP + top * scale
    bars = [
        Bar(
            round(_LEFT + i * step + step * 0.1, 2),
            round(zero - max(mean, 0) * scale, 2),
            round(step * 0.8, 2),
            round(abs(mean) * scale, 2),
            f"rank {i + 1}: mean {mean:.3f}, standard deviation {spread:.3f}",
        )
        for i, (mean, spread) in enumerate(zip(means, spreads, strict=True))
    ]
    x_ticks = [Tick(round(_LEFT + (i + 0.5) * step, 2), str(i + 1)) for i in range(len(means))]
    y_ticks = [Tick(round(zero - top * part * scale, 2), f"{top * part:.2g}") for part in (0, 0.5, 1)]
    return Chart(x_label, "cosine", summary, bars, x_ticks, y_ticks)


def _share_ticks(top: float) -> list[Tick]:
    plot_height = HEIGHT - _TOP - _BOTTOM
    return [
        Tick(round(HEIGHT - _BOTTOM - plot_height * part, 2), f"{top * part * 100:.3g} %")
        for part in (0, 0.5, 1)
    ]


def _nice(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten: an axis that ends there reads well."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999)
