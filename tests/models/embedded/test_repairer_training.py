"""The repairer's training: corruptions, data, a start that copies, and a run that learns and goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from models.embedded.train.budget import load_checkpoint
from models.embedded.train.repairer import Settings, encode_pairs, train_repairer
from models.embedded.train.repairer_corruptions import CORRUPTIONS, corrupt
from models.embedded.train.repairer_data import held_out_pairs, make_pair, read_coco, training_captions
from models.embedded.train.repairer_measure import choose_margin, right_coco_changed, right_world_harmed
from models.embedded.train.repairer_model import build_model, train_tokenizer
from models.repair_case import mark_case
from models.repair_rules import apply_rules
from models.repairer import Repairer

CAPTION = "Two dogs are sitting on a couch next to a table, a lamp and a bowl of fruit."


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference in COCO's format, 20 images with 5 captions each."""
    rng = random.Random(4)
    things = ["dog", "cat", "horse", "man", "woman", "boat", "train", "pizza", "clock", "kite"]
    rows = [
        {
            "image_id": image,
            "id": 5 * image + k,
            "caption": f"A {rng.choice(things)} is sitting next to a {rng.choice(things)} on the {rng.choice(things)}",
        }
        for image in range(20)
        for k in range(5)
    ]
    rows.append({"image_id": 1, "id": 999, "caption": "Café ☕ in the old town"})
    path = tmp_path_factory.mktemp("reference") / "captions.json"
    path.write_text(json.dumps({"annotations": rows}))
    return path


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_spoils(name: str) -> None:
    spoiled = {corrupt(CAPTION, random.Random(seed), 1, (name,)).rstrip(".") for seed in range(20)}
    spoiled.discard(CAPTION.rstrip("."))
    assert spoiled
    assert corrupt(CAPTION, random.Random(3), 1, (name,)) == corrupt(CAPTION, random.Random(3), 1, (name,))


def test_corruptions_do_what_their_names_say() -> None:
    words = ["Two", "dogs", "are", "sitting", "in", "front", "of", "a", "couch"]
    rng = random.Random(0)
    numbers = [CORRUPTIONS["noun number"](words, rng) or [] for _ in range(20)]
    assert any("dog" in spoiled for spoiled in numbers)
    assert any("couches" in spoiled for spoiled in numbers)
    assert "is" in (CORRUPTIONS["verb number"](words, rng) or [])
    assert "sit" in (CORRUPTIONS["verb form"](words, rng) or [])
    assert "a" not in (CORRUPTIONS["drop article"](words, rng) or ["a"])
    assert "an" in (CORRUPTIONS["wrong article"](words, rng) or [])
    assert len(CORRUPTIONS["double phrase"](words, rng) or []) > len(words) + 1
    assert CORRUPTIONS["verb number"](["Dogs"], rng) is None


def test_splits_share_no_image(reference: Path) -> None:
    splits = [read_coco(reference, split) for split in ("train", "tune", "test")]
    assert [len(captions) for captions in splits] == [80, 10, 10]
    assert not any("Café" in caption for caption in splits[0])


def test_a_file_that_is_no_reference(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"images": []}')
    with pytest.raises(ValueError, match="no COCO caption file"):
        read_coco(path, "train")
    with pytest.raises(ValueError, match="no COCO caption file"):
        read_coco(tmp_path / "absent.json", "train")


def test_pairs_end_in_right_captions(reference: Path) -> None:
    captions = training_captions(reference, world_count=30)
    rng = random.Random(1)
    pairs = [make_pair(captions, rng) for _ in range(300)]
    assert all(apply_rules(right) == right for _, right in pairs)
    assert 60 < sum(wrong == right for wrong, right in pairs) < 220
    assert all(
        wrong.rstrip(".") != right.rstrip(".") for _, wrong, right in held_out_pairs(captions.coco, 1, 50)
    )


def test_weights_stress_what_differs() -> None:
    pairs = [("A dog on on couch.", "A dog on a couch."), ("A dog.", "A dog.")]
    tokenizer = train_tokenizer([mark_case(right) for _, right in pairs], pieces=60)
    _, _, labels, weights = encode_pairs(tokenizer, pairs, edit_weight=3.0)
    stressed = [tokenizer.decode([int(label)]) for label in labels[weights == 3.0]]
    assert stressed == [" a"]
    assert set(weights[1].tolist()) == {0.0, 1.0}


def test_a_new_model_copies(reference: Path) -> None:
    captions = training_captions(reference, world_count=400)
    tokenizer = train_tokenizer([mark_case(text) for text in captions.world], pieces=1_000)
    model = build_model(tokenizer, seed=3).eval()
    texts = captions.world[:64]
    inputs, mask, labels, weights = encode_pairs(tokenizer, [(text, text) for text in texts])
    with torch.inference_mode():
        predicted = model(input_ids=inputs, attention_mask=mask, labels=labels).logits.argmax(-1)
    assert ((predicted == labels) | (weights == 0)).all(dim=1).float().mean() > 0.7
    assert (predicted == labels)[weights > 0].float().mean() > 0.97


def test_training_learns_and_goes_on(reference: Path, tmp_path: Path) -> None:
    settings = Settings(batch=16)
    train_repairer(tmp_path, 1 / 60, reference, settings=settings, world_count=300)
    first = load_checkpoint(tmp_path / "checkpoint.pt")
    assert first["step"] > 1
    train_repairer(tmp_path, 2 / 60, reference, resume=True, settings=settings, world_count=300)
    second = load_checkpoint(tmp_path / "checkpoint.pt")
    assert second["step"] > first["step"]
    assert second["cpu_seconds"] >= 2
    losses = [json.loads(line)["loss"] for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert len(losses) == 2
    assert losses[1] < losses[0]

    repairer = Repairer.load(str(tmp_path))
    assert repairer.margin == settings.margin
    assert len(repairer.repair(["a dog is sitting on the the boat"])) == 1
    written = read_coco(reference, "tune")
    margin = choose_margin(repairer, written, most_changed=0.1)
    repairer.margin = margin
    assert right_coco_changed(repairer, written)["changed_by_model"] <= 0.1 or margin == 10.0
    assert right_world_harmed(repairer, 5)["made_wrong"] <= 0.5
