"""Where models come from: a local directory or the Hugging Face hub, safetensors only.

Nothing here unpickles: weights are asked for as safetensors. Every failure to load is a :class:`ModelError` with one
line for the user. Knows nothing of what a model computes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError

from models.identity import LOCAL_PREFIX, MODEL_FILES, ModelError, local_directory
from models.profiles import Profile

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


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
        patterns = [f"*{suffix}" for suffix in MODEL_FILES]
        return Path(snapshot_download(source, revision=revision, allow_patterns=patterns))


def fetch_clip(name: str, pretrained: str) -> None:
    """Download an open_clip model's weights into the cache. Raises ModelError where they are not to be had."""
    import open_clip

    config = open_clip.get_pretrained_cfg(name, pretrained)
    if not config:
        raise ModelError(f"{name}: no pretrained weights {pretrained!r} in open_clip")
    with one_line_errors(name):
        open_clip.download_pretrained(config)


def fetch_profile(profile: Profile) -> list[str]:
    """Have all models of a profile on this machine, as far as they come from a hub; the names of those that do.

    Raises ModelError, in one line, for the first that is neither cached nor to be had.
    """
    fetched = []
    for model in (profile.captioner, profile.repairer):
        if local_directory(model.source) is None:
            fetch_from_hub(model.source, model.revision)
            fetched.append(model.source)
    for ranker in (profile.ranker1, profile.ranker2):
        if ranker is not None and local_directory(ranker.name) is None:
            fetch_clip(ranker.name, ranker.pretrained)
            fetched.append(f"{ranker.name} {ranker.pretrained}")
    return fetched
