"""One run at a time on one output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import UserError
from tasks.run_lock import only_run, refuse_second_run


def test_the_lock_is_for_one(tmp_path: Path) -> None:
    refuse_second_run(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with only_run(tmp_path):
        with pytest.raises(UserError, match="another run is at work"):
            refuse_second_run(tmp_path)
        with pytest.raises(UserError, match="another run is at work"), only_run(tmp_path):
            raise AssertionError("two runs at once")
    refuse_second_run(tmp_path)
