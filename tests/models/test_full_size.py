"""The real models' sizes through the same classes: random weights from local directories, one model at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from models.captioner import Captioner
from models.ranker import Ranker
from models.repairer import Repairer
from models.sampler import sample
from models.sampling import Sampling
from tests.models.full_size import BOS, SEP, build_base_t5, build_full_blip, build_full_clip
from tests.models.reference import reference_sample

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone after the test: these models are gigabytes."""
    folder = tmp_path / "model"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def all_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_blip_large_equals_the_plain_loop_token_for_token(
    directory: Path, pictures: list[Image.Image]
) -> None:
    captioner = Captioner.load(str(build_full_blip(directory, sharpness=40.0)))
    sampling = Sampling(
        candidates=6,
        top_p=(0.2427, 0.2427, 0.6, 0.6, 0.9, 0.9),
        max_new_tokens=(4, 5, 6, 6, 5, 6),
        min_new_tokens=3,
    )
    prompt = captioner._prompt_ids(sampling.prompt)
    assert (prompt[0], len(prompt)) == (BOS, 4)
    with torch.inference_mode():
        states = captioner._see(pictures[:2])
    decoder = captioner._model.text_decoder
    wanted, effects = reference_sample(decoder, states, ["a", "b"], prompt, sampling, SEP)
    assert effects["top_p"] > 20
    assert sample(decoder, states, ["a", "b"], prompt, sampling, SEP) == wanted
    found = captioner.caption(pictures[:2], ["a", "b"], sampling)
    assert [[c.token_ids for c in image] for image in found] == [
        list(dict.fromkeys(image)) for image in wanted
    ]


@pytest.mark.parametrize("name", ["ViT-L-14", "RN50x64"])
def test_clip_of_full_size_equals_one_by_one_encoding(
    name: str, directory: Path, pictures: list[Image.Image]
) -> None:
    ranker = Ranker.load(str(build_full_clip(directory, name)))
    texts = ["a dog", "a brown dog that sits on a red couch", "a dog", "two cats"]
    found = ranker.similarities(pictures[:2], [texts, texts[:2]])
    model, tokenizer = ranker.model, open_clip.get_tokenizer(name)
    with torch.inference_mode():
        for picture, row in zip(pictures, found, strict=False):
            image = model.encode_image(ranker.preprocess(picture)[None])
            for text, value in zip(texts, row, strict=False):
                assert value == pytest.approx(
                    torch.cosine_similarity(image, model.encode_text(tokenizer([text]))).item(), abs=1e-5
                )


def test_t5_of_base_size_repairs_or_leaves(directory: Path) -> None:
    repairer = Repairer.load(str(build_base_t5(directory)), instruction="grammar: ")
    repairs = repairer.repair(["a dog on the beach", "a cat"])
    assert [repair.text.lower().rstrip(".") for repair in repairs] == ["a dog on the beach", "a cat"]
