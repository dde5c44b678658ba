"""One step's draw: the recipe's rules on a step's logits, then inverse CDF in token-id order. And the random stream.

Works on plain logits; knows nothing of BLIP, of images or of how candidates share prefixes.

The order within a step is that of the code that made LAION-COCO (andreaskoepf/laion_idle_cap, ``docker/sampling.py``):
raw probability of the end token; end token masked before the minimum; repetition penalty; top-k; top-p; draw.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.sampling import Sampling

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Up to this many tokens a full sort is as fast as looking for the largest.
_SMALL_VOCABULARY = 2048
# Of a larger vocabulary this many of the largest logits are looked at first; a nucleus at top_p 0.24 rarely needs more.
_LARGEST = 128
# SplitMix64's increment and multipliers (Steele, Lea, Flood 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def uniforms(seed: int, key: str, candidates: int, steps: int) -> Doubles:
    """``(candidates, steps)`` numbers in [0, 1): each depends on (seed, key, candidate, step) and nothing else.

    BLAKE2b of seed and key gives two 64-bit keys; SplitMix64's output function, applied twice with one key each, makes
    the number of (candidate, step). No state: any number can be had without those before it.
    """
    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16, person=b"cocoscribe-draw").digest()
    first, second = (np.uint64(int.from_bytes(half, "little")) for half in (digest[:8], digest[8:]))
    counter: NDArray[np.uint64] = np.add.outer(
        np.arange(candidates, dtype=np.uint64) << np.uint64(32), np.arange(steps, dtype=np.uint64)
    )
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        bits = _mix(_mix(counter * _GAMMA + first) ^ second)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True)
class Rules:
    """The per-candidate numbers of a :class:`Sampling` as arrays ``(candidates,)``."""

    top_p: Doubles
    top_k: Ints
    min_new_tokens: Ints
    max_new_tokens: Ints
    penalty: Doubles
    kind: Ints
    """Candidates with equal top_p, top_k and penalty have equal numbers."""

    @classmethod
    def of(cls, sampling: Sampling) -> Rules:
        """The rules of ``sampling``, candidate by candidate."""
        top_p = np.array(sampling.per_candidate(sampling.top_p), dtype=np.float64)
        top_k = np.array(sampling.per_candidate(sampling.top_k), dtype=np.int64)
        penalty = np.array(sampling.per_candidate(sampling.repetition_penalty), dtype=np.float64)
        kinds = np.unique(np.stack([top_p, top_k.astype(np.float64), penalty]), axis=1, return_inverse=True)[
            1
        ]
        return cls(
            top_p,
            top_k,
            np.array(sampling.per_candidate(sampling.min_new_tokens), dtype=np.int64),
            np.array(sampling.per_candidate(sampling.max_new_tokens), dtype=np.int64),
            penalty,
            kinds.reshape(-1).astype(np.int64),
        )


def end_probabilities(logits: torch.Tensor, end: int) -> Doubles:
    """Raw P(end) of each row of ``logits`` ``(rows, vocabulary)``, before any rule."""
    largest = logits.amax(dim=-1, keepdim=True)
    total = (logits - largest).exp_().sum(dim=-1, dtype=torch.float64)
    found: Doubles = ((logits[:, end] - largest[:, 0]).double().exp() / total).cpu().numpy()
    return found


def draw(
    logits: torch.Tensor,
    seen: torch.Tensor,
    rows: Ints,
    candidates: Ints,
    rules: Rules,
    step: int,
    end: int,
    u: Doubles,
) -> Ints:
    """One token for each of ``rows.size`` draws.

    ``logits`` ``(prefixes, vocabulary)`` float32 and raw; ``seen`` ``(prefixes, length)`` their token ids, the prompt's
    too; ``rows`` ``(draws,)`` the prefix of each draw, ``candidates`` ``(draws,)`` whose rules hold, ``u`` ``(draws,)``
    its number in [0, 1).
    """
    masked = step < rules.min_new_tokens[candidates]
    # One distribution per (prefix, rules): most draws share theirs with others.
    codes = (rows * (rules.kind.max() + 1) + rules.kind[candidates]) * 2 + masked
    _, example, which = np.unique(codes, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    prefix, example_candidates = rows[example], candidates[example]
    device = logits.device
    picked = torch.as_tensor(prefix, device=device)
    ruled = logits[picked]
    if masked[example].any():
        ruled[torch.as_tensor(masked[example], device=device), end] = -torch.inf
    penalty = rules.penalty[example_candidates]
    if (penalty != 1.0).any():
        ids = seen[picked]
        values = ruled.gather(1, ids)
        factor = torch.as_tensor(penalty, device=device, dtype=ruled.dtype)[:, None]
        ruled.scatter_(1, ids, torch.where(values < 0, values * factor, values / factor))
    return _from_nucleus(ruled, rules.top_k[example_candidates], rules.top_p[example_candidates], which, u)


def _from_nucleus(logits: torch.Tensor, top_k: Ints, top_p: Doubles, which: Ints, u: Doubles) -> Ints:
    """Draw ``(draws,)`` tokens from the filtered rows ``which`` of ``logits`` ``(rows, vocabulary)``."""
    ids, weights = nucleus(logits, top_k, top_p)
    cumulative = np.cumsum(weights, axis=1)
    # The first token whose cumulative weight exceeds the target; a target equal to the sum by rounding: the last one.
    target = u * cumulative[which, -1]
    column = (cumulative[which] <= target[:, None]).sum(axis=1)
    last = (weights > 0).sum(axis=1)[which] - 1
    tokens: Ints = ids[which, np.minimum(column, last)]
    return tokens


def nucleus(logits: torch.Tensor, top_k: Ints, top_p: Doubles) -> tuple[Ints, Doubles]:
    """Top-k then top-p of each row of ``logits`` ``(rows, vocabulary)``.

    Returns token ids ``(rows, n)`` by rising id, and weights ``(rows, n)``: 0 past a row's own nucleus, else e to the
    logit less the row's largest. Ties are cut in favour of the lower id; tokens that tie with the k-th pass top-k.
    """
    rows, vocabulary = logits.shape
    top_k = np.where(top_k <= 0, vocabulary, np.minimum(top_k, vocabulary))
    if vocabulary <= _SMALL_VOCABULARY:
        values, ids = _sorted(logits)
        return _by_id(ids, *_cut(values, top_k, top_p))
    largest, order = torch.topk(logits, _LARGEST, dim=-1)
    total = (logits - largest[:, :1]).exp_().sum(dim=-1, dtype=torch.float64).cpu().numpy()
    values, ids = largest.double().cpu().numpy(), order.cpu().numpy()
    weights = np.exp(values - values[:, :1])
    before = np.cumsum(weights, axis=1) - weights
    # The nucleus is what comes before top_p of the top-k's sum. That sum lies between the k-th part of all and all:
    # if both bounds give one nucleus there is no need to know it.
    most = (before <= (top_p * total)[:, None]).sum(axis=1)
    least = (before <= (top_p * total * top_k / vocabulary)[:, None]).sum(axis=1)
    size = np.maximum(most, 1)
    edge = np.minimum(size, _LARGEST - 1)
    tied = values[np.arange(rows), edge - 1] == values[np.arange(rows), edge]
    unsure = (np.maximum(least, 1) != size) | (size >= _LARGEST) | (size > top_k) | tied
    sure_ids, sure_weights = _by_id(ids, size, weights)
    if not unsure.any():
        return sure_ids, sure_weights
    redo = np.flatnonzero(unsure)
    values, ids = _sorted(logits[torch.as_tensor(redo, device=logits.device)])
    redone_ids, redone_weights = _by_id(ids, *_cut(values, top_k[redo], top_p[redo]))
    width = max(redone_ids.shape[1], sure_ids.shape[1])
    all_ids, all_weights = np.zeros((rows, width), np.int64), np.zeros((rows, width))
    all_ids[:, : sure_ids.shape[1]], all_weights[:, : sure_ids.shape[1]] = sure_ids, sure_weights
    all_weights[redo] = 0.0
    all_ids[redo, : redone_ids.shape[1]], all_weights[redo, : redone_ids.shape[1]] = (
        redone_ids,
        redone_weights,
    )
    return all_ids, all_weights


def _sorted(logits: torch.Tensor) -> tuple[Doubles, Ints]:
    """Values falling and their ids; equal values by rising id."""
    values, ids = torch.sort(logits, dim=-1, descending=True, stable=True)
    return values.double().cpu().numpy(), ids.cpu().numpy()


def _cut(values: Doubles, top_k: Ints, top_p: Doubles) -> tuple[Ints, Doubles]:
    """Size of each row's nucleus and the weights, of all values sorted falling."""
    weights = np.exp(values - values[:, :1])
    cutoff = values[np.arange(len(values)), top_k - 1]
    weights[values < cutoff[:, None]] = 0.0
    cumulative = np.cumsum(weights, axis=1)
    kept = (cumulative - weights <= top_p[:, None] * cumulative[:, -1:]) & (weights > 0)
    return np.maximum(kept.sum(axis=1), 1), weights


def _by_id(ids: Ints, size: Ints, weights: Doubles) -> tuple[Ints, Doubles]:
    """The first ``size`` columns of each row, reordered by rising token id; weight 0 behind them."""
    width = int(size.max())
    inside = np.arange(width) < size[:, None]
    shown = np.where(inside, ids[:, :width], np.iinfo(np.int64).max)
    order = np.argsort(shown, axis=1)
    picked = np.take_along_axis(np.where(inside, weights[:, :width], 0.0), order, axis=1)
    return np.take_along_axis(ids[:, :width], order, axis=1), picked
