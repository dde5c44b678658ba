from __future__ import annotations

import dataclasses
from pathlib import Path

from flows.demo.faults import FAULTS, PUBLISHED, expected_rejections, healthy
from flows.demo.limits import demo_limits
from flows.demo.server import demo_server
from tasks.download import Downloaded, ImageRow, Refused, download_images

DOCS = Path(__file__).parents[3] / "docs" / "demo.md"
PLANNED = {"missing_url", "duplicate_url"}  # decided before any download


def test_names_and_rows_are_unique_and_the_first_row_is_plain():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    rows = [fault.row for fault in FAULTS]
    assert len(set(rows)) == len(FAULTS)
    assert min(rows) > 0


def test_every_required_fault_is_planted():
    required = {
        "not-found", "heals", "endless", "html", "truncated", "giant", "noai", "to-private", "duplicate",
        "cmyk", "alpha", "rotated", "null", "invalid", "ftp",
    }  # fmt: skip
    assert required <= {fault.name for fault in FAULTS}


def test_odd_but_healthy_rows_are_to_be_published():
    assert {"heals", "cmyk", "alpha", "rotated"} <= {fault.name for fault in healthy()}


def test_expected_rejections_count_the_rows_asked_for():
    whole = expected_rejections(10_000)
    assert sum(whole.values()) + len(healthy()) == len(FAULTS)
    assert PUBLISHED not in whole
    assert expected_rejections(1) == {}
    last = FAULTS[-1]
    assert expected_rejections(last.row).get(last.outcome, 0) == whole[last.outcome] - 1


def test_docs_list_every_fault_with_its_outcome():
    text = DOCS.read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    expected = [f"| `{fault.name}` | {fault.row} | {fault.what} | `{fault.outcome}` |" for fault in FAULTS]
    assert listed == expected


def test_the_downloader_ends_each_fault_as_the_table_says():
    results: dict[str, Downloaded | Refused] = {}
    with demo_server() as server:
        # Impatient, so that the test is quick; the server's healthy answers take milliseconds.
        limits = dataclasses.replace(
            demo_limits(server.allow_host),
            read_timeout_seconds=0.6,
            total_timeout_seconds=1.2,
            backoff_seconds=0.05,
        )
        rows = [
            ImageRow(fault.name, url)
            for fault in FAULTS
            if fault.outcome not in PLANNED and (url := fault.url(server.base)) is not None
        ]
        download_images(rows, limits, lambda result: results.__setitem__(result.key, result))
    found = {name: r.reason if isinstance(r, Refused) else PUBLISHED for name, r in results.items()}
    assert found == {fault.name: fault.outcome for fault in FAULTS if fault.outcome not in PLANNED}
    rotated = results["rotated"]
    assert isinstance(rotated, Downloaded)
    assert (rotated.width, rotated.height) == (256, 192)
