"""Files are whole or not there; digests are of content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.durable import digest_of, write_atomically


def test_writes_are_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert [p.name for p in target.parent.iterdir()] == ["file"]


def test_digests_do_not_depend_on_order_of_keys(tmp_path: Path) -> None:
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    with pytest.raises(TypeError):
        digest_of({"a": object()})
