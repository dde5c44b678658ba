"""Tiny models, built once per test run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.captioner import Captioner
from tests.models.tiny import build_tiny_blip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from more threads, and lose much where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def blip_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="session")
def captioner(blip_directory: Path) -> Captioner:
    return Captioner.load(str(blip_directory))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Twelve pictures of coarse noise, of different sizes."""
    rng = np.random.default_rng(3)
    coarse = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(12)]
    return [
        Image.fromarray(c).resize((30 + 7 * i, 60 - 3 * i), Image.Resampling.NEAREST)
        for i, c in enumerate(coarse)
    ]
