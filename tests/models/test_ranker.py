"""Deduplicated, trimmed and batched similarities are those of one-by-one encoding at full context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models.ranker import Ranker
from tests.models.tiny import build_tiny_clip

CAPTIONS = [
    ["a dog", "a cat on the beach", "a dog"],
    ["the dog next to a red couch on the grass with two cat and a bus"],
    [],
    [
        "a cat on the beach",
        "snow",
        "a pizza above the table in the street at night with a man and a woman on the beach and on",
    ],
]


def _openai_style(directory: Path) -> Path:
    """Features at the largest id and CLIP's own tokenizer, as OpenAI's models have them; tiny otherwise."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    torch.manual_seed(1)
    model = open_clip.CLIP(**config)
    directory.mkdir()
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, directory / "open_clip_model.safetensors"
    )
    (directory / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"size": 32}})
    )
    return directory


@pytest.fixture(scope="module", params=["vit", "resnet", "openai"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("clip")
    if request.param == "openai":
        return _openai_style(parent / "clip")
    return build_tiny_clip(parent, resnet=request.param == "resnet")


def one_by_one(
    directory: Path, images: Sequence[Image.Image], captions: Sequence[Sequence[str]]
) -> list[list[float]]:
    """open_clip's own functions, one picture and one caption at a time, full context."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    model.eval()
    with torch.inference_mode():
        return [
            [
                torch.cosine_similarity(
                    model.encode_image(preprocess(image)[None]), model.encode_text(tokenizer([text]))
                ).item()
                for text in texts
            ]
            for image, texts in zip(images, captions, strict=True)
        ]


def test_equal_to_one_by_one_encoding(directory: Path, pictures: list[Image.Image]) -> None:
    ranker = Ranker.load(f"local-dir:{directory}", "")
    found = ranker.similarities(pictures[:4], CAPTIONS)
    wanted = one_by_one(directory, pictures[:4], CAPTIONS)
    assert [len(row) for row in found] == [3, 1, 0, 3]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert found[0][0] == found[0][2]


def test_the_batch_changes_nothing(directory: Path, pictures: list[Image.Image]) -> None:
    ranker = Ranker.load(str(directory))
    together = ranker.similarities(pictures[:4], CAPTIONS)
    ranker._images_at_once, ranker._captions_at_once = 1, 2
    apart = ranker.similarities(pictures[:4], CAPTIONS)
    for ours, theirs in zip(together, apart, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_each_text_is_encoded_once_and_trimmed(
    directory: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = Ranker.load(str(directory))
    shapes: list[tuple[int, int]] = []
    whole = ranker._encode_text

    def spy(ids: torch.Tensor, longest: int) -> torch.Tensor:
        shapes.append((len(ids), longest))
        return whole(ids, longest)

    monkeypatch.setattr(ranker, "_encode_text", spy)
    first, _ = ranker.similarities(pictures[:2], [["a dog", "a cat", "a  dog "], ["a cat"]])
    assert shapes == [(2, 4)]  # two texts of begin, two words, end
    assert first[0] == first[2], "what the tokenizer drops makes no difference, not even in the last bit"


def test_nothing_to_rank(directory: Path, pictures: list[Image.Image]) -> None:
    ranker = Ranker.load(str(directory))
    assert ranker.similarities([], []) == []
    assert ranker.similarities(pictures[:1], [[]]) == [[]]
    with pytest.raises(ValueError, match="2 images, 1 lists"):
        ranker.similarities(pictures[:2], [["a"]])


def test_memory_that_runs_out_halves_the_images(
    directory: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = Ranker.load(str(directory))
    wanted = ranker.encode_images(pictures)
    whole = ranker.model.encode_image

    def small_memory(pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return whole(pixels)

    monkeypatch.setattr(ranker.model, "encode_image", small_memory)
    assert ranker.encode_images(pictures) == pytest.approx(wanted, abs=1e-6)
    assert ranker._images_at_once <= 3
