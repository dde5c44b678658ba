"""The repairer: rules, model and guard together, on models that copy and on models that do not."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from models.embedded.train.repairer import export
from models.embedded.train.repairer_model import build_model, train_tokenizer
from models.identity import ModelError
from models.repair_case import mark_case
from models.repair_spelling import Speller
from models.repairer import Repair, Repairer, _Answer
from tests.models.tiny import build_tiny_t5

WORDS = (
    *("dog", "cat", "horse", "man", "woman", "couch", "beach", "table", "bus", "red", "blue", "big", "small"),
    *("on", "in", "the", "near", "with", "two"),
)


def _captions(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["A " + " ".join(rng.sample(WORDS, rng.randint(3, 12))) for _ in range(count)]


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 that copies, untrained, in the shipped format."""
    directory = tmp_path_factory.mktemp("copier")
    tokenizer = train_tokenizer([mark_case(caption + ".") for caption in _captions(200)], pieces=120)
    export(
        build_model(tokenizer, seed=0), tokenizer, Speller(dict.fromkeys(WORDS, 400)), directory, margin=1.0
    )
    return directory


@pytest.fixture(scope="module")
def scribbler(copier: Path) -> Repairer:
    """A copier with noise in its weights: some captions come back as they were, some do not."""
    repairer = Repairer.load(str(copier))
    generator = torch.Generator().manual_seed(1)
    torch.set_num_threads(1)
    with torch.no_grad():
        for parameter in repairer.model.parameters():
            parameter += 0.025 * torch.randn(parameter.shape, generator=generator)
    repairer.margin = None
    return repairer


class Answering(Repairer):
    """Answers as it is told, so that what is judged is the judging."""

    told: dict[str, str]
    asked: list[list[str]]

    def _answers(self, texts: list[str]) -> dict[str, _Answer]:
        self.asked.append(list(texts))
        return {text: _Answer(self.told.get(text, text), 5.0) for text in texts}


def _answering(told: dict[str, str]) -> Answering:
    repairer = Answering(model=None, tokenizer=None)
    repairer.told = told
    repairer.asked = []
    return repairer


def test_reasons_say_what_made_the_text() -> None:
    repairer = _answering(
        {"Two dog on a couch.": "Two dogs on a couch.", "A red dog here.": "A red cat here."}
    )
    assert repairer.repair(
        ["a cat here", "a orange here", "two dog on a couch", "a red dog here", " . "]
    ) == [
        Repair("A cat here.", True, "unchanged"),
        Repair("An orange here.", True, "rules"),
        Repair("Two dogs on a couch.", True, "model"),
        Repair("A red dog here.", False, "refused: invented words"),
        Repair(".", False, "refused: empty caption"),
    ]


def test_an_unsure_model_is_refused() -> None:
    repairer = _answering({"Two dog here.": "Two dogs here."})
    repairer.margin = 6.0
    assert repairer.repair(["two dog here"]) == [Repair("Two dog here.", False, "refused: not sure enough")]


def test_captions_are_remembered_and_asked_once() -> None:
    repairer = _answering({})
    first = repairer.repair(["a dog", "a cat", "a dog", "A dog."])
    assert [repair.text for repair in first] == ["A dog.", "A cat.", "A dog.", "A dog."]
    assert repairer.asked == [["A dog.", "A cat."]]
    assert repairer.repair(["a cat", "a dog"]) == [first[1], first[0]]
    assert repairer.asked[1:] == []


def test_a_copier_leaves_captions_alone(copier: Path) -> None:
    captions = _captions(40, seed=5)
    repairs = Repairer.load(str(copier)).repair(captions)
    unchanged = sum(repair.reason in {"unchanged", "rules"} for repair in repairs)
    assert unchanged >= 36
    assert all(repair.text for repair in repairs)


def test_answers_equal_plain_greedy_generation(scribbler: Repairer) -> None:
    texts = [caption + "." for caption in _captions(20, seed=7)]
    answers = scribbler._answers(texts)
    config = scribbler.model.config
    same = changed = 0
    for text in texts:
        ids = torch.tensor([scribbler.tokenizer(mark_case(text))["input_ids"]])
        plain = GenerationConfig(
            do_sample=False,
            max_new_tokens=int(1.3 * ids.size(1)) + 8,
            pad_token_id=config.pad_token_id,
            eos_token_id=config.eos_token_id,
            decoder_start_token_id=config.decoder_start_token_id,
        )
        written = scribbler.model.generate(ids, generation_config=plain)[0]
        if answers[text].finished:
            assert answers[text].text == scribbler._read(written), text
        else:
            assert config.eos_token_id not in written[: int(1.3 * (ids.size(1) - 1)) + 8], text
        same += answers[text].text == text
        changed += answers[text].text != text
    assert min(same, changed) >= 4


def test_a_repair_does_not_depend_on_its_batch(scribbler: Repairer) -> None:
    captions = _captions(24, seed=9)

    def repaired(batch_captions: int, order: Sequence[str]) -> dict[str, Repair]:
        fresh = copy.copy(scribbler)
        fresh._proposals = {}
        fresh.batch_captions = batch_captions
        return dict(zip(order, fresh.repair(order), strict=True))

    together = repaired(64, captions)
    assert len({repair.reason for repair in together.values()}) > 1
    assert repaired(7, captions[::-1]) == together
    assert repaired(1, captions[:8]) == {caption: together[caption] for caption in captions[:8]}


def test_letters_outside_the_vocabulary_are_left_to_the_rules(copier: Path) -> None:
    [repair] = Repairer.load(str(copier)).repair(["a dog at the café ☕"])
    assert repair == Repair("A dog at the café ☕.", False, "refused: letters that the model does not know")


def test_half_precision_files_load_as_asked(copier: Path) -> None:
    from safetensors.torch import load_file

    stored = load_file(copier / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert Repairer.load(str(copier)).model.dtype == torch.float32
    # T5 overflows in float16.
    assert Repairer.load(str(copier), dtype="float16").model.shared.weight.dtype == torch.bfloat16


def test_settings_come_from_the_directory(copier: Path) -> None:
    repairer = Repairer.load(str(copier))
    assert repairer.case_marker
    assert repairer.margin == 1.0
    assert repairer.speller.knows("dogs")
    assert len(repairer.fingerprint) == 64


def test_a_plain_t5_loads_with_an_instruction(tmp_path: Path) -> None:
    repairer = Repairer.load(str(build_tiny_t5(tmp_path)), instruction="grammar: ")
    assert not repairer.case_marker
    assert repairer.margin is None
    assert repairer.instruction == "grammar: {}"
    assert Repairer.load(str(tmp_path), instruction="Mend {} now").instruction == "Mend {} now"
    # It writes nonsense; the guard keeps that out.
    assert [repair.text for repair in repairer.repair(["a dog in the snow", "the the cat"])] == [
        "A dog in the snow.",
        "The cat.",
    ]


@pytest.mark.parametrize("source", ["/no/such/model", "./missing"])
def test_a_missing_model_is_one_line(source: str) -> None:
    with pytest.raises(ModelError) as error:
        Repairer.load(source)
    assert "\n" not in str(error.value)
    assert source in str(error.value)
