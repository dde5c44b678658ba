"""Does another device or precision give what the CPU gives? The embedded models on both, with figures.

Behind ``cocoscribe models check --device cuda``: one command on a GPU machine verifies equality and prints images per
second. Not run on CUDA yet. Knows nothing of how its figures are shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from models.captioner import Captioner
from models.identity import ModelError
from models.profiles import Profile, get_profile
from models.quantised import INT8
from models.ranker import Ranker

# What float32 must reach on any device. Sums in another order move a draw or a nucleus' edge once in some thousands.
_LEAST_EQUAL = 0.95
_MOST_LOGIT_ERROR = 1e-3
_SCENES = Path(__file__).resolve().parent / "embedded" / "data" / "demo"


@dataclass(frozen=True)
class DeviceCheck:
    """One device and precision against float32 on the CPU, over the same images."""

    device: str
    dtype: str
    images: int
    equal_candidates: float
    """Share of images all of whose candidates are equal."""
    equal_top: float
    """Share of images with an equal best caption by ranker 1."""
    logit_error: float
    """Largest difference of the captioner's logits after the prompt."""
    similarity_error: float
    """Largest difference of ranker 1's cosines, of the CPU's candidates."""
    images_per_second: float
    """Captioning and ranker 1, after one batch to warm up."""
    cpu_images_per_second: float
    passed: bool
    """float32 must equal the CPU's but for rare draws at a rounding's edge; other precisions only report."""


@dataclass(frozen=True)
class _Run:
    texts: list[list[str]]
    top: list[str]
    seconds: float


def check_device(
    device: str, dtype: str, profile_name: str = "embedded", most_images: int = 64
) -> DeviceCheck:
    """Compare ``profile_name``'s captioner and ranker 1 on ``device`` in ``dtype`` with float32 on the CPU.

    ``int8`` quantises the captioner only. Raises ModelError where the models, the images or the device are missing.
    """
    profile = get_profile(profile_name)
    images = demo_images(most_images)
    keys = [f"check {number}" for number in range(len(images))]
    captioner, ranker = _load(profile, "cpu", "float32")
    try:
        other_captioner, other_ranker = _load(profile, device, dtype)
    except (RuntimeError, AssertionError) as reason:  # torch without CUDA raises an AssertionError
        raise ModelError(f"device {device}: {str(reason).splitlines()[0]}") from reason
    wanted = _run(captioner, ranker, profile, images, keys)
    found = _run(other_captioner, other_ranker, profile, images, keys)
    prompt = profile.sampling.prompt
    logit_error = float(
        (captioner.first_logits(images, prompt) - other_captioner.first_logits(images, prompt)).abs().max()
    )
    pairs = zip(
        ranker.similarities(images, wanted.texts),
        other_ranker.similarities(images, wanted.texts),
        strict=True,
    )
    similarity_error = max(float(np.abs(np.subtract(ours, theirs)).max()) for ours, theirs in pairs)
    equal_candidates = float(np.mean([a == b for a, b in zip(wanted.texts, found.texts, strict=True)]))
    exact = equal_candidates >= _LEAST_EQUAL and logit_error <= _MOST_LOGIT_ERROR
    return DeviceCheck(
        device=device,
        dtype=dtype,
        images=len(images),
        equal_candidates=equal_candidates,
        equal_top=float(np.mean([a == b for a, b in zip(wanted.top, found.top, strict=True)])),
        logit_error=logit_error,
        similarity_error=similarity_error,
        images_per_second=len(images) / found.seconds,
        cpu_images_per_second=len(images) / wanted.seconds,
        passed=exact or dtype != "float32",
    )


def demo_images(most: int) -> list[Image.Image]:
    """The first shipped scenes. Raises ModelError where there are none."""
    images = []
    for path in sorted(_SCENES.glob("*.jpg"))[:most]:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    if not images:
        raise ModelError(f"{_SCENES}: no shipped scenes; install cocoscribe whole")
    return images


def _load(profile: Profile, device: str, dtype: str) -> tuple[Captioner, Ranker]:
    captioner = Captioner.load(
        profile.captioner.source, device=device, dtype=dtype, revision=profile.captioner.revision
    )
    ranker_dtype = "float32" if dtype == INT8 else dtype
    return captioner, Ranker.load(
        profile.ranker1.name, profile.ranker1.pretrained, device=device, dtype=ranker_dtype
    )


def _run(
    captioner: Captioner, ranker: Ranker, profile: Profile, images: Sequence[Image.Image], keys: Sequence[str]
) -> _Run:
    warm = captioner.caption(images[:4], keys[:4], replace(profile.sampling, candidates=2))
    ranker.similarities(images[:4], [[candidate.text for candidate in each] for each in warm])
    start = time.perf_counter()
    texts = [
        [candidate.text for candidate in each] for each in captioner.caption(images, keys, profile.sampling)
    ]
    similarities = ranker.similarities(images, texts)
    seconds = time.perf_counter() - start
    top = [each[int(np.argmax(scores))] for each, scores in zip(texts, similarities, strict=True)]
    return _Run(texts, top, seconds)
