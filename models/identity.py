"""What names and identifies a model, without loading it: directories, hub names, fingerprints, the error for users.

Imports nothing heavy: schedulers and command lines know models by this alone. Knows nothing of what a model computes.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

LOCAL_PREFIX = "local-dir:"
"""open_clip's way to name a directory; accepted for every model."""

# What a model directory is made of. Anything else in it (a README, a training log) does not change what it computes.
MODEL_FILES = (".safetensors", ".json", ".txt", ".model")

_file_digests: dict[tuple[str, int, int], bytes] = {}
_file_digests_lock = threading.Lock()


class ModelError(Exception):
    """One line for the user: which model, what is wrong, and the fix."""


def local_directory(source: str) -> Path | None:
    """The directory that ``source`` names, or None where it is a hub name.

    Raises ModelError where ``source`` is clearly a path but no directory is there.
    """
    name = source.removeprefix(LOCAL_PREFIX)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    # "owner/name" is a hub name; an absolute or dotted path, or more than one slash, cannot be.
    if (
        source.startswith(LOCAL_PREFIX)
        or path.is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
    ):
        raise ModelError(
            f"{name}: no model directory there; for the shipped models, 'cocoscribe models train'"
        )
    return None


def model_fingerprint(source: str, revision: str | None = None) -> str:
    """What identifies a model's bytes: sha256 of a local directory's files, or ``name@revision`` on the hub.

    Files are hashed once per (path, size, mtime). For an open_clip model ``revision`` is the pretrained tag.
    """
    directory = local_directory(source)
    if directory is None:
        return f"{source}@{revision or 'main'}"
    files = sorted(p for p in directory.iterdir() if p.suffix in MODEL_FILES and p.is_file())
    if not any(p.suffix == ".safetensors" for p in files):
        raise ModelError(f"{directory}: no .safetensors file there; save the model with save_pretrained")
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.name.encode() + b"\0" + _file_digest(path))
    return whole.hexdigest()


def _file_digest(path: Path) -> bytes:
    status = path.stat()
    identity = (str(path), status.st_size, status.st_mtime_ns)
    with _file_digests_lock:
        known = _file_digests.get(identity)
    if known is None:
        with path.open("rb") as file:
            known = hashlib.file_digest(file, "sha256").digest()
        with _file_digests_lock:
            _file_digests[identity] = known
    return known
