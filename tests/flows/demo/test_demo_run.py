"""The demo as a user runs it, in a process of its own, on as many rows as hold every fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expectations.schema import published_schema, rejected_schema
from flows.demo.faults import FAULTS, PUBLISHED, expected_rejections, healthy
from tasks.rows import row_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = max(fault.row for fault in FAULTS) + 1


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def printed(out: Path) -> tuple[dict[str, Any], str]:
    """The JSON object and the table."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    finished = subprocess.run(
        [sys.executable, "-m", "flows.cli", "demo", "--out", out, "--rows", str(ROWS), "--json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1]), finished.stderr


def rows_of(out: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in pq.read_table(out / kind).to_pylist()}


def test_every_row_is_accounted_for(printed: tuple[dict[str, Any], str], out: Path):
    summary, _ = printed
    data, rejected = rows_of(out, "data"), rows_of(out, "rejected")
    assert summary["rows_in"] == ROWS == len(data) + len(rejected)
    assert (summary["rows_published"], summary["rows_rejected"]) == (len(data), len(rejected))
    assert sum(summary["rejected_by_reason"].values()) == len(rejected)
    assert set(data) | set(rejected) == {row_key(0, row) for row in range(ROWS)}


def test_every_fault_ends_as_planted(printed: tuple[dict[str, Any], str], out: Path):
    summary, _ = printed
    data, rejected = rows_of(out, "data"), rows_of(out, "rejected")
    ended = {f.name: rejected.get(row_key(0, f.row), {}).get("reason", PUBLISHED) for f in FAULTS}
    assert ended == {fault.name: fault.outcome for fault in FAULTS}
    assert all(row_key(0, fault.row) in data for fault in healthy())
    for reason, rows in expected_rejections(ROWS).items():
        assert summary["rejected_by_reason"][reason] == rows
    rotated = data[row_key(0, next(fault.row for fault in FAULTS if fault.name == "rotated"))]
    assert (rotated["image_width"], rotated["image_height"]) == (256, 192)


def test_published_files_have_the_schema(printed: tuple[dict[str, Any], str], out: Path):
    for kind, schema in (("data", published_schema()), ("rejected", rejected_schema())):
        for path in sorted((out / kind).glob("*.parquet")):
            assert pq.read_schema(path).equals(pa.schema(schema)), path


def test_captions_are_mostly_true_and_the_table_shows_some(printed: tuple[dict[str, Any], str], out: Path):
    summary, table = printed
    truth = summary["truth"]
    assert truth["rows"] == summary["rows_published"]
    # The model card gives what is measured on 1,000 scenes; this is a guard against a broken pipeline.
    assert truth["full"] > truth["rows"] / 2
    assert "\x1b" not in table
    assert summary["examples"][0]["caption"] in " ".join(table.split())
    assert (out / "reports" / "index.html").is_file()
    assert (out / "README.md").is_file()
