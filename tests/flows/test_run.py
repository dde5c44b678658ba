"""``cocoscribe run`` as users have it: processes, Prefect, Dask, HTTP, the shipped models. Crashes included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.demo.faults import FAULTS, PUBLISHED
from flows.demo.server import demo_server
from flows.demo.source import write_source
from flows.prefect_api import Api, prefect_api

ROWS = 150
# Patience as in the demo: the endless answer must not cost this test its time.
CONFIG = """
[run]
partition_rows = 50
[download]
read_timeout_seconds = 1.0
total_timeout_seconds = 3.0
attempts = 2
backoff_seconds = 0.2
max_bytes = 4194304
"""
INEXACT = ["all_similarities", "top_similarity", "finalist_similarities"]


@dataclass(frozen=True)
class Setting:
    """What all tests of this file share: the demo's server and input."""

    source: Path
    config: Path
    allow_host: str

    def command(self, out: Path, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "flows.cli", "run", str(self.source), "--out", str(out)),
            *("--config", str(self.config), "--allow-host", self.allow_host, *more),
        ]

    def run(self, out: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(out, *more),
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("input")
    with demo_server() as server:
        source = write_source(folder / "scenes.parquet", server.base, ROWS)
        (folder / "config.toml").write_text(CONFIG)
        yield Setting(source, folder / "config.toml", server.allow_host)


@pytest.fixture(scope="module")
def undisturbed(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run with two workers, and its ``--json``."""
    out = tmp_path_factory.mktemp("run") / "out"
    ended = setting.run(out, "--workers", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    return out, json.loads(ended.stdout.splitlines()[-1])


def tables(out: Path, kind: str) -> list[Any]:
    return [pq.read_table(path) for path in sorted((out / kind).glob("*.parquet"))]


def assert_equal_output(out: Path, other: Path) -> None:
    names = [path.name for path in sorted((out / "data").iterdir())]
    assert names == [path.name for path in sorted((other / "data").iterdir())]
    for a, b in zip(tables(out, "data"), tables(other, "data"), strict=True):
        assert a.drop_columns(INEXACT).equals(b.drop_columns(INEXACT))
        for first, second in zip(
            a["all_similarities"].to_pylist(), b["all_similarities"].to_pylist(), strict=True
        ):
            assert first == pytest.approx(second, abs=1e-4)
    for a, b in zip(tables(out, "rejected"), tables(other, "rejected"), strict=True):
        # Details may count milliseconds; reasons may not differ.
        assert a.drop_columns("detail").equals(b.drop_columns("detail"))


@pytest.mark.timeout(300)
def test_every_row_ends_once_and_each_fault_under_its_reason(
    undisturbed: tuple[Path, dict[str, Any]],
) -> None:
    out, figures = undisturbed
    assert figures["rows_in"] == ROWS == figures["rows_published"] + figures["rows_rejected"]
    assert figures["partitions"]["published"] == 3
    keys = [
        key
        for kind in ("data", "rejected")
        for table in tables(out, kind)
        for key in table["key"].to_pylist()
    ]
    assert sorted(keys) == [f"00000-{row:09d}" for row in range(ROWS)]
    reasons = {row["key"]: row["reason"] for table in tables(out, "rejected") for row in table.to_pylist()}
    for fault in FAULTS:
        if fault.row < ROWS:
            expected = None if fault.outcome == PUBLISHED else fault.outcome
            assert reasons.get(f"00000-{fault.row:09d}") == expected, fault.name
    assert (out / "reports" / "index.html").exists()
    assert (out / "README.md").exists()
    assert set(figures["seconds_by_stage"]) == {
        "download",
        "caption",
        "rank",
        "repair",
        "validate",
        "publish",
    }
    assert figures["images_per_second"] > 0


@pytest.mark.timeout(300)
def test_the_same_command_again_does_nothing_and_says_so(
    setting: Setting, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    out, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    ended = setting.run(out)
    assert ended.returncode == 0, ended.stderr
    assert "Nothing to do: all 3 partitions are published" in " ".join(ended.stdout.split())
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.timeout(600)
def test_killed_twice_and_with_other_workers_and_batches_the_result_is_equal(
    setting: Setting, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    batches = "[batch]\ncaption_images = 3\nrank_images = 7\nrepair_captions = 5\n"
    setting.config.write_text(CONFIG + batches)
    try:
        for moment in ("*/caption.done.json", "*/validate.done.json"):
            kill_when(setting.command(out, "--workers", "1"), out / "_run" / "staging", moment)
        ended = setting.run(out, "--workers", "1", "--json")
    finally:
        setting.config.write_text(CONFIG)
    assert ended.returncode == 0, ended.stderr
    assert_equal_output(undisturbed[0], out)
    assert not list(out.rglob("*.tmp"))


def kill_when(command: list[str], staging: Path, pattern: str) -> None:
    """Start ``command`` and kill -9 its whole process group as soon as one more file matches ``pattern``."""
    there = len(list(staging.glob(pattern)))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0)
    try:
        while len(list(staging.glob(pattern))) <= there:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr:
            process.stderr.close()


@pytest.mark.timeout(300)
def test_with_a_prefect_server_runs_tasks_and_artifacts_appear_there(
    setting: Setting, tmp_path: Path
) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = Api(f"http://127.0.0.1:{port}/api", port)
    with prefect_api(api, tmp_path / "server", meanwhile=lambda: None):
        ended = setting.run(tmp_path / "out", "--limit", "20", "--workers", "1", PREFECT_API_URL=api.url)
        assert ended.returncode == 0, ended.stderr
        flow_runs = {run["name"]: run for run in ask(api, "flow_runs/filter")}
        task_runs = ask(api, "task_runs/filter")
        artifacts = {artifact["key"] for artifact in ask(api, "artifacts/filter")}
    assert flow_runs["part-00000"]["state_type"] == "COMPLETED"
    dataset = flow_runs[str(tmp_path / "out")]
    assert dataset["state_type"] == "COMPLETED"
    names = {run["name"] for run in task_runs if run["flow_run_id"] == flow_runs["part-00000"]["id"]}
    stages = ("download", "caption", "rank", "repair", "validate", "publish")
    assert {f"part-00000 {stage}" for stage in stages} <= names
    assert {"part-00000", "caption-dataset"} <= artifacts
    assert not (tmp_path / "out" / "_run" / "prefect").exists(), "no second server was started"


def ask(api: Api, what: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(f"{api.url}/{what}", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found
