"""Tree sampling gives what a plain loop gives, whatever the batch."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from models.captioner import Captioner, preprocess
from models.sampler import _groups, sample
from models.sampling import Sampling
from tests.models.reference import filtered, reference_sample
from tests.models.tiny import BOS, SEP, SPECIAL, WORDS

ACTIVE = Sampling(
    candidates=20,
    top_p=(0.2427,) * 4 + (0.6,) * 6 + (0.95,) * 10,
    top_k=(0,) * 5 + (9,) * 10 + (3,) * 5,
    min_new_tokens=(5,) * 10 + (2,) * 5 + (0,) * 5,
    max_new_tokens=(6,) * 4 + (9,) * 8 + (14,) * 8,
    repetition_penalty=(1.3,) * 15 + (1.0,) * 5,
    force_eos_probability=0.18,
    seed=5,
)


def prompt_ids(text: str = "a picture of") -> list[int]:
    return [BOS, *((*SPECIAL, *WORDS).index(word) for word in text.split())]


@torch.inference_mode()
def vision_states(captioner: Captioner, pictures: list[Image.Image]) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([preprocess(picture, 32) for picture in pictures]))
    states: torch.Tensor = captioner._model.vision_model(pixel_values=pixels).last_hidden_state
    return states


@pytest.fixture(scope="module")
def states(captioner: Captioner, pictures: list[Image.Image]) -> torch.Tensor:
    return vision_states(captioner, pictures)


@pytest.fixture(scope="module")
def keys(states: torch.Tensor) -> list[str]:
    return [f"row {i}" for i in range(len(states))]


def test_equal_to_the_plain_loop_token_for_token(
    captioner: Captioner, states: torch.Tensor, keys: list[str]
) -> None:
    decoder = captioner._model.text_decoder
    wanted, effects = reference_sample(decoder, states, keys, prompt_ids(), ACTIVE, SEP)
    assert sum(map(len, wanted)) == 240
    assert len({tokens for image in wanted for tokens in image}) > 100
    # A rule that never had an effect was not tested.
    rules = "minimum, penalty, top_k, top_p, forced end, forced end before the minimum, drawn end, maximum"
    assert all(effects[rule] >= 3 for rule in rules.split(", ")), effects
    assert sample(decoder, states, keys, prompt_ids(), ACTIVE, SEP) == wanted


def test_without_a_nucleus_it_is_hugging_face_s_greedy_generate(
    captioner: Captioner, states: torch.Tensor, keys: list[str], pictures: list[Image.Image]
) -> None:
    greedy = Sampling(
        candidates=3, top_p=0.0, top_k=0, min_new_tokens=5, max_new_tokens=12, force_eos_probability=None
    )
    found = sample(captioner._model.text_decoder, states, keys, prompt_ids(), greedy, SEP)
    pixels = torch.from_numpy(np.stack([preprocess(picture, 32) for picture in pictures]))
    for image, candidates in enumerate(found):
        assert len(set(candidates)) == 1
        ids = torch.tensor([[*prompt_ids(), SEP]])  # generate replaces the first and drops the last
        theirs = captioner._model.generate(
            pixels[image : image + 1],
            input_ids=ids,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.3,
            min_new_tokens=5,
            max_new_tokens=12,
        )[0, len(prompt_ids()) :].tolist()
        assert list(candidates[0]) == (theirs[: theirs.index(SEP)] if SEP in theirs else theirs)


def test_tokens_come_as_often_as_the_model_says(captioner: Captioner, states: torch.Tensor) -> None:
    decoder = captioner._model.text_decoder
    sampling = Sampling(
        candidates=20, top_p=0.95, top_k=30, min_new_tokens=0, max_new_tokens=2, force_eos_probability=None
    )
    one = states[:1].expand(64, -1, -1)
    pairs: Counter[tuple[int, ...]] = Counter()
    for seed in range(5):
        drawn = sample(
            decoder,
            one,
            [f"row {i}" for i in range(64)],
            prompt_ids(),
            dataclasses.replace(sampling, seed=seed),
            SEP,
        )
        pairs.update(tokens for image in drawn for tokens in image)

    def expected(*tokens: int) -> np.ndarray:
        seen = [*prompt_ids(), *tokens]
        with torch.inference_mode():
            logits = (
                decoder(input_ids=torch.tensor([seen]), encoder_hidden_states=states[:1])
                .logits[0, -1]
                .numpy()
            )
        return filtered(logits, seen, end=None, penalty=1.3, top_k=30, top_p=0.95)

    # A candidate that ended has no token at that place: it drew the end.
    first: Counter[int] = Counter()
    for tokens, n in pairs.items():
        first[tokens[0] if tokens else SEP] += n
    assert sum(first.values()) == 64 * 20 * 5
    assert_fits(first, expected())
    second: Counter[int] = Counter()
    likeliest = next(token for token, _ in first.most_common() if token != SEP)
    for tokens, n in pairs.items():
        if tokens[:1] == (likeliest,):
            second[tokens[1] if len(tokens) > 1 else SEP] += n
    assert_fits(second, expected(likeliest))


def assert_fits(counts: Counter[int], p: np.ndarray) -> None:
    """Pearson's chi-square; tokens expected fewer than five times are taken together."""
    total = sum(counts.values())
    assert all(p[token] > 0 for token in counts), "a token outside of the nucleus"
    expected = p * total
    common = np.flatnonzero(expected >= 5)
    observed = np.array([counts[int(token)] for token in common], float)
    rest = expected.sum() - expected[common].sum()
    statistic = ((observed - expected[common]) ** 2 / expected[common]).sum()
    if rest >= 5:
        statistic += (total - observed.sum() - rest) ** 2 / rest
    freedom = len(common) - (rest < 5)
    assert len(common) >= 4, "too peaked to test anything"
    # The 99.9 % quantile (Wilson-Hilferty).
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * np.sqrt(2 / (9 * freedom))) ** 3


def test_a_result_depends_on_no_neighbour_no_order_and_no_thread_count(
    captioner: Captioner, states: torch.Tensor, keys: list[str]
) -> None:
    decoder = captioner._model.text_decoder
    sampling = dataclasses.replace(ACTIVE, seed=9)
    together = sample(decoder, states, keys, prompt_ids(), sampling, SEP)
    assert together[::-1] == sample(decoder, states.flip(0), keys[::-1], prompt_ids(), sampling, SEP)
    alone = [
        sample(decoder, states[i : i + 1], [key], prompt_ids(), sampling, SEP)[0]
        for i, key in enumerate(keys)
    ]
    assert together == alone
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert together == sample(decoder, states, keys, prompt_ids(), sampling, SEP)
    finally:
        torch.set_num_threads(threads)


def test_fewer_candidates_are_the_first_of_more(
    captioner: Captioner, states: torch.Tensor, keys: list[str]
) -> None:
    decoder = captioner._model.text_decoder
    many = sample(decoder, states, keys, prompt_ids(), ACTIVE, SEP)
    few = sample(decoder, states, keys, prompt_ids(), dataclasses.replace(ACTIVE, candidates=6), SEP)
    assert [image[:6] for image in many] == few


def test_groups_split_where_padding_costs_and_drop_ended_images() -> None:
    assert [g.tolist() for g in _groups(np.array([5, 5, 5]))] == [[0, 1, 2]]
    assert [g.tolist() for g in _groups(np.array([40, 2, 1, 38, 3, 1]))] == [[1, 2, 4, 5], [0, 3]]
    assert [g.tolist() for g in _groups(np.array([40, 2, 1, 38]))] == [[0, 1, 2, 3]]
    assert [g.tolist() for g in _groups(np.array([3, 0, 4, 3, 4]))] == [[0, 1, 2, 3, 4]]
    assert [g.tolist() for g in _groups(np.array([3, 0, 0, 3]))] == [[0, 3]]


def test_captions_beyond_the_positions_are_refused(captioner: Captioner, states: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="64 positions"):
        sample(
            captioner._model.text_decoder, states[:1], ["a"], prompt_ids(), Sampling(max_new_tokens=61), SEP
        )
