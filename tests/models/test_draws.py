"""The random stream, the rules of a step and the draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.draws import Rules, draw, end_probabilities, filtered_weights, small_nuclei, uniforms
from models.sampling import Sampling
from tests.models.reference import filtered

PINNED = [0.8361035312938572, 0.26420903404223783, 0.28942605266930743]


def test_the_stream_depends_on_its_four_keys_alone() -> None:
    small, large = uniforms(1, "row", 3, 5), uniforms(1, "row", 40, 45)
    assert (small == large[:3, :5]).all()
    assert (uniforms(2, "row", 3, 5) != small).all()
    assert (uniforms(1, "other", 3, 5) != small).all()
    assert len(np.unique(large)) == large.size


def test_the_stream_never_changes() -> None:
    """Published captions can be made again only as long as these numbers stay."""
    assert uniforms(0, "key", 1, 3)[0] == pytest.approx(PINNED, abs=0)


def test_the_stream_is_uniform_and_uncorrelated() -> None:
    numbers = np.stack([uniforms(0, f"row {i}", 8, 16) for i in range(500)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=64, range=(0, 1))[0]
    expected = numbers.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 4 * np.sqrt(2 * 63)
    flat = numbers.reshape(500, -1)
    correlations = np.corrcoef(flat, rowvar=False) - np.eye(flat.shape[1])
    assert np.abs(correlations).max() < 5.5 / np.sqrt(500)


@pytest.mark.parametrize("vocabulary", [50, 5000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 8.0])
def test_the_nucleus_is_the_reference_s(vocabulary: int, scale: float) -> None:
    rng = np.random.default_rng(int(scale * 10))
    logits = torch.from_numpy((rng.standard_normal((24, vocabulary)) * scale).astype(np.float32))
    top_p = rng.choice([0.0, 0.1, 0.2427, 0.6, 0.95, 1.0], 24)
    top_k = rng.choice([1, 3, 40, 1500, vocabulary], 24).clip(max=vocabulary)
    wanted = np.stack(
        [
            filtered(
                logits[row].numpy(), [], end=None, penalty=1.0, top_k=int(top_k[row]), top_p=float(top_p[row])
            )
            for row in range(24)
        ]
    )
    weights = filtered_weights(logits, top_k, top_p)
    np.testing.assert_allclose(weights / weights.sum(axis=1, keepdims=True), wanted, rtol=1e-9)
    if vocabulary < 1000:
        return
    ids, weights, sure = small_nuclei(logits, top_k, top_p)
    assert 4 <= sure.sum() < 24
    for row in np.flatnonzero(sure):
        kept = weights[row] > 0
        assert (np.diff(ids[row][kept]) > 0).all(), "tokens must rise, or the draw depends on ranks"
        found = np.zeros(vocabulary)
        found[ids[row][kept]] = weights[row][kept] / weights[row].sum()
        np.testing.assert_allclose(found, wanted[row], rtol=1e-9)


def test_ties_at_the_edge_of_the_nucleus_go_to_the_lower_id() -> None:
    logits = torch.full((1, 4000), -20.0)
    logits[0, [31, 7, 19, 3]] = 1.0
    weights = filtered_weights(logits, np.array([4000]), np.array([0.4]))
    assert np.flatnonzero(weights[0]).tolist() == [3, 7]
    assert not small_nuclei(logits, np.array([4000]), np.array([0.4]))[2][0]


@pytest.mark.parametrize("top_p", [0.3, 0.99, 1.0])
def test_draws_from_a_large_vocabulary_mix_both_ways(top_p: float) -> None:
    """Peaked rows are drawn from their largest logits, flat ones from all; both by inverse CDF in token-id order."""
    rng = np.random.default_rng(4)
    logits = torch.from_numpy(
        (rng.standard_normal((6, 3000)) * np.array([[0.2], [9.0]] * 3)).astype(np.float32)
    )
    rules = Rules.of(Sampling(candidates=50, top_p=top_p, top_k=0, repetition_penalty=1.0, max_new_tokens=9))
    rows, candidates, u = np.repeat(np.arange(6), 50), np.tile(np.arange(50), 6), rng.random(300)
    tokens = draw(logits, torch.zeros((6, 1), dtype=torch.long), rows, candidates, rules, 8, 0, u)
    for row, number, token in zip(rows, u, tokens, strict=True):
        p = filtered(logits[row].numpy(), [], end=None, penalty=1.0, top_k=0, top_p=top_p)
        assert token == np.searchsorted(np.cumsum(p), number, side="right")


def test_draws_follow_their_own_rules_and_prefix() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((3, 30)).astype(np.float32) * 2)
    seen = torch.from_numpy(rng.integers(0, 30, (3, 4)))
    sampling = Sampling(
        candidates=4,
        top_p=(0.3, 0.9, 0.9, 1.0),
        top_k=(0, 5, 5, 0),
        repetition_penalty=(1.0, 2.0, 1.0, 1.3),
        min_new_tokens=(0, 9, 0, 9),
        max_new_tokens=9,
    )
    rows, candidates = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    u = rng.random(12)
    tokens = draw(logits, seen, rows, candidates, Rules.of(sampling), 4, 11, u)
    for row, c, number, token in zip(rows, candidates, u, tokens, strict=True):
        p = filtered(
            logits[row].numpy(),
            seen[row].tolist(),
            end=11 if sampling.per_candidate(sampling.min_new_tokens)[c] > 4 else None,
            penalty=sampling.per_candidate(sampling.repetition_penalty)[c],
            top_k=sampling.per_candidate(sampling.top_k)[c],
            top_p=sampling.per_candidate(sampling.top_p)[c],
        )
        assert token == np.searchsorted(np.cumsum(p), number, side="right")


def test_the_end_s_probability_is_the_raw_softmax() -> None:
    logits = torch.randn(5, 100, generator=torch.Generator().manual_seed(0)) * 5
    np.testing.assert_allclose(
        end_probabilities(logits, 7), logits.double().softmax(-1)[:, 7].numpy(), rtol=1e-6
    )


@pytest.mark.parametrize("u", [0.0, 1 - 2.0**-53])
def test_the_outermost_numbers_draw_the_outermost_tokens_of_the_nucleus(u: float) -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0, -3.0, 5.0, 1.0]])
    seen = torch.zeros((1, 1), dtype=torch.long)
    rules = Rules.of(Sampling(candidates=1, top_p=0.9, top_k=0, repetition_penalty=1.0, max_new_tokens=3))
    token = draw(logits, seen, np.array([0]), np.array([0]), rules, 9, 0, np.array([u]))
    assert token.tolist() == [1 if u == 0 else 4]


@pytest.mark.parametrize(
    "settings",
    [
        {"candidates": 0},
        {"top_p": 1.5},
        {"max_new_tokens": (5,) * 3},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0.0},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Sampling(**settings)  # type: ignore[arg-type]


def test_longer_tuples_are_cut_to_the_candidates() -> None:
    sampling = Sampling(candidates=10)
    assert sampling.per_candidate(sampling.max_new_tokens) == (20,) * 8 + (30,) * 2
    assert sampling.longest == 30
