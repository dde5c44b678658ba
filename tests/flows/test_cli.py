"""Mistakes at the command line: one line, the right exit code, nothing written. And what needs no run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import run_command
from flows.demo.bundle import bundled_scenes, jpeg_of
from tasks.run_lock import only_run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"URL": ["http://127.0.0.1:9/a.jpg"], "TEXT": ["a"]}), path)
    return path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run"], "--out"),
        (["run", "--out", "OUT"], "no input"),
        (["run", "none.parquet", "--out", "OUT"], "no such file"),
        (
            ["run", "SOURCE", "--out", "OUT", "--profile", "nope"],
            "profile 'nope' is not one of embedded, laion-coco",
        ),
        (["run", "SOURCE", "--out", "OUT", "--url-col", "link"], "has no column 'link'"),
        (["run", "SOURCE", "--out", "OUT", "--workers", "0"], "workers"),
        (["run", "SOURCE", "--out", "OUT", "--seed", "-1"], "seed"),
        (["run", "SOURCE", "--out", "OUT", "--limit", "0"], "--limit"),
        (
            ["run", "SOURCE", "--out", "OUT", "--workers", "1", "--scheduler", "tcp://127.0.0.1:1"],
            "give one of them",
        ),
        (["run", "SOURCE", "--out", "OUT", "--scheduler", "tcp://127.0.0.1:1"], "PREFECT_API_URL"),
        (["run", "SOURCE", "--out", "OUT", "--config", "none.toml"], "cannot read none.toml"),
        (["run", "SOURCE", "--out", "OUT", "--allow-host", "http://host/"], "host"),
        (["run", "SOURCE", "--out", "SOURCE"], "is not a run"),
        (["status", "OUT"], "holds no run"),
        (["retry", "OUT"], "holds no run"),
        (["report", "OUT"], "holds no run"),
        (["caption"], "no image"),
        (["caption", "none.jpg"], "none.jpg: no such file"),
        (["caption", "SOURCE"], "not a readable image"),
        (["demo", "--out", "SOURCE"], "not a demo's output"),
        (["demo", "--out", "OUT", "--rows", "0"], "--rows"),
        (["models", "train", "repairer", "--minutes", "1", "--out", "OUT"], "--reference"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], line: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"OUT": str(tmp_path / "out"), "SOURCE": str(source)}
    assert run_command([names.get(a, a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("cocoscribe: ")
    assert line in captured.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("[runn]\n", "unknown table [runn]"),
        ("[run]\npartition_row = 5\n", "[run] has no partition_row"),
        ("[download]\nmax_byte = 5\n", "[download] has no max_byte"),
        ("[download]\nattempts = 'many'\n", "attempts"),
        ("[sampling]\ntop_q = 1\n", "[sampling] has no top_q"),
        ("[sampling]\ntop_p = 7.0\n", "top_p"),
        ("[gate]\nmax_words = 'x'\n", "max_words"),
        ("[batch]\ncaption_images = 0\n", "caption_images"),
        ("[run\n", "not valid TOML"),
    ],
)
def test_a_mistake_in_the_config_file_is_named(
    toml: str, line: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(toml)
    assert run_command(["run", str(source), "--out", str(tmp_path / "out"), "--config", str(config)]) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_second_run_on_one_output_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_run(tmp_path / "out"):
        assert run_command(["run", str(source), "--out", str(tmp_path / "out")]) == 2
    assert "another run is at work" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "SOURCE", "--out", "OUT", "--profile"], ["models", "fetch"]])
def test_a_model_that_is_not_to_be_had_is_one_line_that_names_the_fix(
    command: list[str], source: Path, tmp_path: Path
) -> None:
    """In a process of its own: the hub's client reads HF_HUB_OFFLINE when it is imported."""
    names = {"OUT": str(tmp_path / "out"), "SOURCE": str(source)}
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", *(names.get(a, a) for a in command), "laion-coco"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "Salesforce/blip-image-captioning-large" in ended.stderr
    assert "cocoscribe models fetch" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_schedulers_and_command_lines_do_not_load_torch() -> None:
    """The Dask scheduler unpickles tasks: an import of torch would hold up its event loop for seconds."""
    code = "import sys, flows.caption_dataset, flows.cli; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.stdout.strip() == "[]", ended.stderr


def test_caption_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for number, scene in enumerate(bundled_scenes()[:3]):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(jpeg_of(scene))
    assert run_command(["caption", *map(str, paths), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["image"] for item in found] == [str(path) for path in paths]
    for item in found:
        assert set(item) == {"image", "top_caption", "captions", "similarities"}
        assert item["top_caption"]
        assert len(item["captions"]) == len(item["similarities"]) >= 1
        assert item["similarities"] == sorted(item["similarities"], reverse=True)


def test_a_disk_without_room_is_one_line_and_writes_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.watch._LEAST_FREE_BYTES", 1 << 60)
    assert run_command(["run", str(source), "--out", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "no space left" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
