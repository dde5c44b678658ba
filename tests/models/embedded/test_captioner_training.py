"""Training the captioner: truth per patch, the loss falls, a run goes on, the result loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BlipForConditionalGeneration

from models.embedded.train import captioner
from models.embedded.train.captioner import CaptionerInTraining
from models.embedded.train.captioner_batches import IGNORED, Batches, caption_ids, collate, patch_instances
from models.embedded.train.captioner_model import BOS, PROMPT, SEP, new_captioner, save_captioner, word_ids
from models.embedded.world import OBJECTS, FontMissing, captions, font_path, make_scene

try:
    font_path()
    FONT_IS_MISSING = False
except FontMissing:
    FONT_IS_MISSING = True


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small are slower on several threads, and much slower where others compete for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


needs_font = pytest.mark.skipif(FONT_IS_MISSING, reason="install Debian's fonts-noto-color-emoji")


def test_a_patch_shows_what_covers_most_of_it() -> None:
    instances = np.zeros((64, 64), np.uint8)
    instances[:8, :8] = 1
    instances[:8, 6:16] = 2
    instances[60:, 56] = 3
    patches = patch_instances(instances, 3).reshape(8, 8)
    assert patches[0, 0] == 1
    assert patches[0, 1] == 2
    assert patches[7, 7] == 0, "a thin object does not claim the patch"
    assert patches.sum() == 3


def test_the_plan_learns_to_see_first_and_paraphrases_later() -> None:
    first, middle, last = captioner.plan(0.0), captioner.plan(0.4), captioner.plan(0.9)
    assert (first.with_captions, middle.with_captions) == (False, True)
    assert first.collage_share == 0.75
    assert last.collage_share == pytest.approx(0.2)
    assert (middle.paraphrase_share, last.paraphrase_share) == (0.0, captioner.PARAPHRASE_SHARE)
    assert (first.batch, last.batch) == (24, 36)


@needs_font
def test_a_batch_holds_the_truth_of_its_scenes() -> None:
    batch = Batches(seed=3).make(step=5, size=12, collage_share=0.5, paraphrase_share=0.0)
    assert batch.pixels.shape == (12, 3, 64, 64)
    assert batch.scene_count == 6
    assert batch.classes.shape == (12, 64)
    assert batch.classes.max() <= len(OBJECTS)
    prompt = len(PROMPT.split())
    assert (batch.labels[:, :prompt] == IGNORED).all()
    assert (batch.tokens[:, 0] == BOS).all()
    assert ((batch.labels == SEP).sum(1) == 1).all()
    again = Batches(seed=3).make(step=5, size=12, collage_share=0.5, paraphrase_share=0.0)
    assert torch.equal(batch.pixels, again.pixels)
    assert torch.equal(batch.tokens, again.tokens)


@needs_font
def test_a_scenes_patches_show_its_classes_and_roles() -> None:
    scene = make_scene(4, 0, "next")
    batch = collate([scene], captions(scene)[:1], [96])
    shown = {list(OBJECTS)[number - 1] for number in batch.classes.unique().tolist() if number}
    assert shown == set(scene.names)
    assert ((batch.classes > 0) == (batch.roles > 0)).all()
    assert batch.roles.unique().numel() == 3


def test_the_saved_directory_loads_with_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = new_captioner().eval()
    save_captioner(model, tmp_path)
    loaded = BlipForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "three pairs of scissors, a tv and an orange"
    assert (
        tokenizer(PROMPT + "a dog, a cat and an orange on a table").input_ids[1:]
        == caption_ids("a dog, a cat and an orange on a table")[1:]
    )
    assert tokenizer.unk_token_id in tokenizer(text).input_ids, "tv is no word of this captioner"
    assert tokenizer.get_vocab() == word_ids()
    assert loaded.config.text_config.bos_token_id == BOS
    assert loaded.config.text_config.sep_token_id == SEP
    pixels = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        difference = (
            loaded.vision_model(pixels).last_hidden_state - model.vision_model(pixels).last_hidden_state
        )
    assert difference.abs().max() < 0.02, "fp16 rounding only"
    assert (tmp_path / "model.safetensors").stat().st_size < 10_000_000


@needs_font
def test_the_loss_falls_and_a_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(captioner, "PROBE_SCENES", 2)
    monkeypatch.setattr(captioner, "plan", lambda fraction: captioner.Plan(6, 0.5, 0.0, True))
    monkeypatch.setattr(CaptionerInTraining, "greedy", lambda *_: ["a dog", "a cat"])
    figures = captioner.train_captioner(tmp_path, minutes=2.5 / 60, seed=1)
    curve = [json.loads(line) for line in (tmp_path / "training" / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["class"] < curve[0]["class"]
    assert figures["class"] < 4.3, "below ln(69), the loss of a guess"
    captioner.train_captioner(tmp_path, minutes=4 / 60, resume=True, seed=1)
    longer = [json.loads(line) for line in (tmp_path / "training" / "curve.jsonl").read_text().splitlines()]
    assert longer[: len(curve)] == curve
    assert longer[-1]["step"] > curve[-1]["step"]
    assert longer[-1]["class"] < curve[0]["class"]
    assert (tmp_path / "config.json").exists()
