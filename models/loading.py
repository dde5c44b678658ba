"""Where models come from: a local directory or the Hugging Face hub, safetensors only, and what identifies them.

Nothing here unpickles: weights are asked for as safetensors. Every failure to load is a :class:`ModelError` with one
line for the user. Knows nothing of what a model computes.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

LOCAL_PREFIX = "local-dir:"
"""open_clip's way to name a directory; accepted for every model."""

# What a model directory is made of. Anything else in it (a README, a training log) does not change what it computes.
_MODEL_FILES = (".safetensors", ".json", ".txt", ".model")
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

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
    files = sorted(p for p in directory.iterdir() if p.suffix in _MODEL_FILES and p.is_file())
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


def torch_dtype(name: str) -> torch.dtype:
    """``float32``, ``float16`` or ``bfloat16``. Raises ModelError for any other name."""
    try:
        return _DTYPES[name]
    except KeyError:
        raise ModelError(f"dtype {name!r} is not one of {', '.join(_DTYPES)}") from None


@contextlib.contextmanager
def one_line_errors(source: str) -> Iterator[None]:
    """Turn what the model libraries raise while loading ``source`` into a ModelError that says what to do."""
    where = source.removeprefix(LOCAL_PREFIX)
    try:
        yield
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as reason:
        raise ModelError(f"{where}: {_unreachable(reason)}") from reason
    except SafetensorError as reason:
        raise ModelError(f"{where}: damaged weights ({reason}); fetch or train the model again") from reason
    except (OSError, ValueError, RuntimeError, KeyError) as reason:
        # transformers and open_clip wrap hub failures in these.
        text = next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
        if local_directory(source) is None and isinstance(reason, (OSError, RuntimeError)):
            text = _unreachable(text)
        raise ModelError(f"{where}: {text}") from reason


def _unreachable(reason: object) -> str:
    first = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    return (
        f"neither cached nor to be had from the hub ({first[:160]}); run 'cocoscribe models fetch' on a machine with "
        "network, or name a local directory"
    )


def fetch_from_hub(source: str, revision: str | None) -> Path:
    """Download a transformers model's safetensors, configs and tokenizer into the hub's cache; the folder's path."""
    with one_line_errors(source):
        patterns = [f"*{suffix}" for suffix in _MODEL_FILES]
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))
