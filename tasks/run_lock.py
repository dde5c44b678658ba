"""One run at a time on one output."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tasks.errors import UserError


@contextlib.contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold ``OUT/_run/lock`` for the block: two runs on one output would undo each other's work."""
    path = out / "_run" / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as reason:
        raise UserError(f"cannot write to {out}: {reason.strerror}") from None
    with file:
        _lock_or_refuse(file, out)
        yield


def refuse_second_run(out: Path) -> None:
    """Raise UserError where another process is at work in ``out``; takes nothing and writes nothing."""
    with contextlib.suppress(FileNotFoundError), (out / "_run" / "lock").open("rb") as file:
        _lock_or_refuse(file, out)


def _lock_or_refuse(file: BinaryIO, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another run is at work in {out}; wait for it, or give another --out") from None
