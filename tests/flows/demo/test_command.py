from __future__ import annotations

from pathlib import Path

import pytest

from flows.demo.command import run_demo
from tasks.errors import UserError


def test_a_directory_that_is_not_a_demo_is_left_alone(tmp_path: Path):
    precious = tmp_path / "thesis.txt"
    precious.write_text("two years")
    with pytest.raises(UserError, match="not a demo's output"):
        run_demo(tmp_path, rows=5, workers=1, as_json=False)
    assert precious.read_text() == "two years"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_directory_is_left_alone(tmp_path: Path):
    out = tmp_path / "demo-output"
    out.write_text("")
    with pytest.raises(UserError, match="not a demo's output"):
        run_demo(out, rows=5, workers=1, as_json=False)
    assert out.is_file()


def test_no_rows_are_a_mistake_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(UserError, match="--rows"):
        run_demo(tmp_path / "out", rows=0, workers=1, as_json=False)
    assert not (tmp_path / "out").exists()
