from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from flows.demo.source import scene_of_row
from flows.demo.summary import EXAMPLES, DemoSummary, Example, judge, print_summary, summarise
from tasks.status import RunStatus

STATUS = RunStatus(
    partitions=2,
    published=2,
    failed={},
    under_way=[],
    rows_in=24,
    rows_published=20,
    rows_rejected=4,
    rejected_by_reason={"blocked_address": 3, "missing_url": 1},
    seconds_by_stage={"download": 4.0, "caption": 10.0, "publish": 0.0},
)


def key(row: int) -> str:
    return f"00000-{row:09d}"


def published(out: Path, rows: list[tuple[int, str | None, str]]) -> None:
    """Write rows (number, alt-text, caption) as two partitions."""
    (out / "data").mkdir(parents=True)
    for part, some in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        columns = {
            "key": [key(row) for row, _, _ in some],
            "TEXT": pa.array([text for _, text, _ in some], pa.string()),
            "top_caption": [caption for _, _, caption in some],
        }
        pq.write_table(pa.table(columns), out / "data" / f"part-{part:05d}.parquet")


def true_caption(row: int) -> str:
    scene = scene_of_row(row)
    assert scene is not None
    return scene.caption


@pytest.fixture
def summary(tmp_path: Path) -> DemoSummary:
    published(tmp_path, [(row, f"alt {row}", true_caption(row)) for row in range(20)])
    return summarise(tmp_path, STATUS, seconds_total=8.0)


def printed(summary: DemoSummary, width: int = 80, **options: bool) -> str:
    target = io.StringIO()
    print_summary(summary, Console(file=target, width=width, **options))
    return target.getvalue()


def test_figures_are_the_run_s(summary: DemoSummary):
    found = summary.to_json()
    assert found["rows_in"] == found["rows_published"] + found["rows_rejected"] == 24
    assert found["rejected_by_reason"] == {"blocked_address": 3, "missing_url": 1}
    assert found["seconds_by_stage"] == {"download": 4.0, "caption": 10.0, "publish": 0.0}
    assert found["images_per_second"] == 2.5
    assert found["seconds_total"] == 8.0
    assert found["truth"] == {"rows": 20, "objects": 20, "background": 20, "full": 20}
    assert Path(found["out"]) == summary.out
    assert json.loads(json.dumps(found)) == found


def test_examples_are_spread_over_the_data(summary: DemoSummary):
    assert len(summary.examples) == EXAMPLES
    assert [example.key for example in summary.examples] == [key(row) for row in (0, 4, 8, 12, 16)]


def test_wrong_captions_are_told_from_right_ones():
    wrong_background = true_caption(0).rpartition(" on ")[0] + " in the snow"
    rows = [
        Example(key(0), "", true_caption(0).capitalize() + "."),
        Example(key(1), "", "a thing nobody has seen"),
        Example(key(0), "", wrong_background),
    ]
    truth = judge(rows)
    assert (truth.rows, truth.full) == (3, 1)
    assert truth.objects >= truth.full


def test_nothing_published_is_said_and_does_not_fail(tmp_path: Path):
    status = RunStatus(1, 0, {"part-00000": "disk full"}, [], 24, 0, 0, {}, {})
    empty = summarise(tmp_path, status, seconds_total=0.0)
    assert empty.to_json()["images_per_second"] == 0.0
    assert empty.examples == ()
    assert "1 partitions failed" in printed(empty)


def test_speed_counts_what_this_run_published(tmp_path: Path):
    published(tmp_path, [(row, "alt", true_caption(row)) for row in range(4)])
    assert summarise(tmp_path, STATUS, 2.0, published_now=5).to_json()["images_per_second"] == 2.5


@pytest.mark.parametrize("width", [60, 80, 120])
def test_table_keeps_its_width_and_says_everything(
    summary: DemoSummary, width: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(summary.out)  # shown relative, or pytest's long path would be folded
    lines = printed(summary, width).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    text = " ".join(" ".join(lines).split())
    for what in ("24 rows in", "20 published", "4 rejected", "3 blocked_address", "1 missing_url", "2.5 images/s",
                 "download", "caption", "alt 0", "reports/index.html", "cocoscribe status", "Prefect UI"):  # fmt: skip
        assert what in text


def test_colours_only_on_a_terminal(summary: DemoSummary, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in printed(summary)
    assert "\x1b[" in printed(summary, force_terminal=True)


def test_alt_texts_cannot_steer_the_terminal(tmp_path: Path):
    published(
        tmp_path, [(0, "\x1b]0;owned\x07[bold]x[/bold]\r\nnext", true_caption(0)), (1, None, true_caption(1))]
    )
    text = printed(summarise(tmp_path, STATUS, 1.0), force_terminal=True)
    assert "\x1b]" not in text
    assert "\x07" not in text
    assert "[bold]x[/bold]" in text
    assert "(none)" in text
