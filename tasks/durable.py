"""Files that are whole or not there: temporary name, flush to disk, rename; digests; and what a disk refuses, in words.

Knows nothing of runs or stages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

_NO_ROOM = {errno.ENOSPC: "no space left on the device", errno.EDQUOT: "the disk quota is used up"}
_NO_WRITE = {errno.EROFS: "the file system is read-only", errno.EACCES: "permission denied"}


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON atomically and durably."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True, default=_plain).encode() + b"\n")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: a reader, or a crash, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; after the block flush that file to disk and rename it to ``path``."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(what: object) -> str:
    """SHA-256 (hexadecimal, first 32 digits) of ``what`` as canonical JSON; dataclasses are taken field by field."""
    text = json.dumps(what, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot digest {type(value).__name__}")


def file_digest(*paths: Path) -> str:
    """SHA-256 (hexadecimal, first 32 digits) over the bytes of files, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


def disk_trouble(error: OSError) -> str | None:
    """One line for the disk's own refusals (full, quota, read-only, no permission); None for any other error."""
    code = error.errno or 0
    if code in _NO_ROOM:
        return f"{_NO_ROOM[code]} ({error.filename or 'output'}); free some, then run the same command again"
    if code in _NO_WRITE:
        return f"cannot write {error.filename or 'the output'}: {_NO_WRITE[code]}"
    return None
