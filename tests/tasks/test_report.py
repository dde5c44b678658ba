"""Report and card: complete, adding up, safe to open, and made without holding the run in memory."""

from __future__ import annotations

import base64
import io
import re
import tracemalloc
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from expectations.schema import PUBLISHED
from tasks.errors import UserError
from tasks.plan import read_plan
from tasks.report import build_report, duration, model_line, percent, table_cell
from tasks.report_charts import histogram, ranked_means
from tasks.report_figures import read_figures
from tasks.report_gallery import EXAMPLES, THUMBNAIL_PIXELS, choose_examples
from tests.tasks.runs import HOSTILE, SECONDS, make_run

VOID = {"meta", "img", "br"}
FETCHING = {"src", "srcset", "href", "data", "action", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("report") / "my-captions")
    build_report(run)
    return run


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "reports" / "index.html").read_text(encoding="utf-8"))


def test_page_has_all_sections_and_links_lead_somewhere(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {"funnel", "style", "gate", "gallery", "time", "recipe"} <= ids
    targets = [str(a["href"]) for a in page.all("a")]
    assert targets
    assert all(target.startswith("#") and target[1:] in ids for target in targets)


def test_page_fetches_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name in FETCHING & set(attributes):
            assert str(attributes[name]).startswith(("data:image/jpeg;base64,", "#"))
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in (attributes.get("style") or "")
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert str(policies[0]).startswith("default-src 'none'; img-src data:;")


def test_hostile_text_is_shown_as_text(out: Path, page: Page) -> None:
    assert HOSTILE in "".join(page.text)
    assert "alert('x')</script>" not in (out / "reports" / "index.html").read_text()
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))


def test_page_can_be_read_without_seeing_it(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert any(m.get("name") == "viewport" for m in page.all("meta"))
    assert all(image.get("alt") for image in page.all("img"))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_figures_add_up(out: Path, page: Page) -> None:
    figures = read_figures(out)
    assert (figures.rows_in, figures.rows_published, figures.rows_rejected) == (40, 34, 6)
    assert figures.rows_published + figures.rows_rejected == figures.rows_settled
    assert figures.rows_after() == {
        "plan": 38, "download": 36, "caption": 36, "rank": 36, "repair": 36, "validate": 34, "publish": 34,
    }  # fmt: skip
    assert figures.rows_read == sum(figures.repairs.values()) == figures.candidates.sum() == 34
    assert figures.seconds == {stage: 2 * seconds for stage, seconds in SECONDS.items()}
    assert dict(figures.rejected) == {
        ("validate", "repeated_words"): 2, ("download", "http_404"): 2, ("plan", "missing_url"): 2,
    }  # fmt: skip
    assert "".join(page.text).count("http 404") >= 2


def test_words_are_counted_as_the_data_has_them(out: Path) -> None:
    captions = [
        c for f in sorted((out / "data").iterdir()) for c in pq.read_table(f)["top_caption"].to_pylist()
    ]
    lengths = [len(caption.split()) for caption in captions]
    figures = read_figures(out)
    mean = sum(lengths) / len(lengths)
    assert figures.words_mean == pytest.approx(mean)
    assert figures.words_sd == pytest.approx((sum((n - mean) ** 2 for n in lengths) / len(lengths)) ** 0.5)
    assert [int(n) for n in figures.rank_counts[:4]] == [34, 34, 34, 0]
    assert figures.rank_sums[0] / 34 == pytest.approx(0.31)


def test_gate_is_summed_over_partitions(out: Path) -> None:
    gate = read_figures(out).gate
    assert (gate["repeated_words"].rows_failed, gate["repeated_words"].rows) == (2, 40)
    assert (gate["mean_words"].partitions_failed, gate["mean_words"].lowest) == (2, 6.5)
    assert gate["schema"].partitions_failed == 0


def test_gallery_is_bounded_and_shows_pictures(out: Path, page: Page) -> None:
    examples = choose_examples(out, read_plan(out), ["part-00000", "part-00001"])
    assert len(examples) == 34 <= EXAMPLES
    assert len({example.key for example in examples}) == 34
    pictures = [str(image["src"]).partition(",")[2] for image in page.all("img")]
    assert len(pictures) == 32, "two rows are unsafe by the input's own figure"
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert max(picture.size) == THUMBNAIL_PIXELS
    unsafe = [example for example in examples if example.picture is None]
    assert all("unsafe" in example.no_picture for example in unsafe)


def test_gallery_is_spread_over_the_run(out: Path) -> None:
    examples = choose_examples(out, read_plan(out), ["part-00000", "part-00001"], limit=6)
    keys = [int(example.key[-9:]) for example in examples]
    assert len(keys) == 6
    assert keys == sorted(keys)
    assert sum(key >= 20 for key in keys) == 3


def test_each_example_has_its_own_picture(out: Path) -> None:
    for example in choose_examples(out, read_plan(out), ["part-00001"]):
        if example.picture:
            content = base64.b64decode(example.picture.partition(",")[2])
            red = Image.open(io.BytesIO(content)).getpixel((5, 5))[0]  # type: ignore[index]
            assert abs(red - int(example.key[-9:]) % 20 * 9) <= 4


def test_images_that_were_not_kept_leave_a_gallery_of_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", partitions=1, keep_images=False)
    page = Page(build_report(run).read_text())
    assert page.all("img") == []
    assert len(page.all("article")) == 17
    assert "The image was not kept." in page.text


def test_failed_partitions_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", partitions=3, failed=1)
    text = "".join(Page(build_report(run).read_text()).text)
    assert "1 partition failed" in text
    assert "part-00002" in text
    assert "20" in (run / "README.md").read_text().partition("**not finished yet**")[2][:20]


def test_run_without_a_published_partition_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", partitions=1, failed=1)
    (run / "_run" / "models.json").unlink()
    (run / "_run" / "config.json").unlink()
    page = Page(build_report(run).read_text())
    assert "Nothing is published yet." in page.text
    assert page.all("svg") == []


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rebuilding_replaces_and_leaves_nothing_behind(out: Path) -> None:
    first = (out / "reports" / "index.html").read_bytes()
    build_report(out)
    assert (out / "reports" / "index.html").read_bytes() == first
    assert [path.name for path in (out / "reports").iterdir()] == ["index.html"]


def test_card_has_header_figures_and_columns(out: Path) -> None:
    card = (out / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["pretty_name"] == "my-captions"
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"][0] == {
        "config_name": "default", "default": True, "data_files": [{"split": "train", "path": "data/*.parquet"}],
    }  # fmt: skip
    assert "| published | 34 |" in card
    assert all(f"| `{column.name}` |" in card for column in PUBLISHED)
    assert "noimageai" in card
    assert "/home/somebody" not in card, "a card says nothing of somebody's disk"
    assert "local directory blip" in card


def test_memory_does_not_grow_with_partitions(tmp_path: Path) -> None:
    def peak(partitions: int) -> int:
        run = make_run(
            tmp_path / f"run{partitions}", partitions=partitions, rows=40, rejected=0, keep_images=False
        )
        read_figures(run)
        tracemalloc.start()
        read_figures(run)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(24) < 1.5 * peak(3) + 100_000


def test_histogram_covers_counts_and_what_is_marked() -> None:
    chart = histogram(
        [0, 0, 5, 15],
        first=0,
        x_label="x",
        summary="s",
        noun="words",
        open_end=True,
        bands=[(1.0, 6.5, "band")],
    )
    assert chart is not None
    assert [bar.title for bar in chart.bars] == ["2 words: 5 (25.0%)", "3 or more words: 15 (75.0%)"]
    assert chart.bars[1].height == pytest.approx(3 * chart.bars[0].height, abs=0.05)
    assert chart.bars[0].y + chart.bars[0].height == pytest.approx(chart.bottom, abs=0.02)
    assert chart.left <= chart.bands[0].x
    assert chart.bands[0].x + chart.bands[0].width <= chart.right
    assert histogram([0, 0], first=0, x_label="x", summary="s", noun="words") is None


def test_ranked_means_may_be_negative() -> None:
    chart = ranked_means([0.4, -0.1], [0.1, 0.1], x_label="rank", summary="s")
    assert chart is not None
    assert chart.bars[0].y + chart.bars[0].height == pytest.approx(chart.bars[1].y, abs=0.02)
    assert chart.bars[1].y + chart.bars[1].height <= chart.bottom + 0.02
    assert ranked_means([], [], x_label="rank", summary="s") is None


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 0, "-"),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (99_999, 100_000, "> 99.9 %"),
        (1, 100_000, "< 0.1 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_percent_never_rounds_to_all_or_none(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said


def test_duration_reads_well() -> None:
    assert [duration(s) for s in (0.25, 59.94, 61, 7325)] == ["0.2 s", "59.9 s", "1 min 01 s", "2 h 02 min"]


def test_table_cell_stays_in_its_cell() -> None:
    assert table_cell("a|b\n<i>_c_") == "a\\|b \\<i\\>\\_c\\_"


def test_shipped_models_are_named_without_a_path() -> None:
    line = model_line(
        "ranker1", {"source": "local-dir:/opt/x/models/embedded/weights/ranker1", "revision": None}
    )
    assert (line.role, line.name) == ("Ranker, stage 1", "shipped with Cocoscribe: ranker1")
