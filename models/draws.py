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
_SMALL_VOCABULARY = 1024
# Of a larger vocabulary this many of the largest logits are looked at first; a nucleus at top_p 0.24 rarely needs more.
_LARGEST = 128
# Relative error of a sum of float32 exponentials, generously.
_SLACK = 1e-5
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
    vocabulary = logits.shape[1]
    top_k = np.where(top_k <= 0, vocabulary, np.minimum(top_k, vocabulary))
    if vocabulary <= _SMALL_VOCABULARY or ((top_p >= 1) & (top_k == vocabulary)).all():
        return _inverse(filtered_weights(logits, top_k, top_p), which, u)
    ids, weights, sure = small_nuclei(logits, top_k, top_p)
    tokens: Ints = ids[which, _inverse(weights, which, u)]
    if not sure.all():
        rows = np.flatnonzero(~sure)
        place = np.cumsum(~sure) - 1
        draws = np.flatnonzero(~sure[which])
        weights = filtered_weights(
            logits[torch.as_tensor(rows, device=logits.device)], top_k[rows], top_p[rows]
        )
        tokens[draws] = _inverse(weights, place[which[draws]], u[draws])
    return tokens


def _inverse(weights: Doubles, which: Ints, u: Doubles) -> Ints:
    """Inverse CDF of rows ``which`` of ``weights`` ``(rows, n)`` at ``u``: the first column whose sum exceeds it."""
    cumulative = np.cumsum(weights, axis=1)
    target = u * cumulative[which, -1]
    if weights.shape[1] <= _LARGEST:
        columns = (cumulative[which] <= target[:, None]).sum(axis=1)
    else:
        pairs = zip(which, target, strict=True)
        columns = np.array(
            [np.searchsorted(cumulative[row], goal, side="right") for row, goal in pairs], np.int64
        )
    # A target that equals the whole sum by rounding: the last column that has a weight.
    last = weights.shape[1] - 1 - np.argmax(weights[:, ::-1] > 0, axis=1)
    drawn: Ints = np.minimum(columns, last[which])
    return drawn


def filtered_weights(logits: torch.Tensor, top_k: Ints, top_p: Doubles) -> Doubles:
    """Top-k then top-p of each row of ``logits`` ``(rows, vocabulary)``, by sorting what has to be.

    Returns weights of the same shape, in token-id order: 0 where filtered, else e to the logit less the row's largest.
    Tokens that tie with the k-th pass top-k; ties at the nucleus' edge go to the lower ids. ``top_k`` is at least 1.
    """
    weights: Doubles = logits.cpu().numpy().astype(np.float64)
    np.exp(weights - weights.max(axis=1, keepdims=True), out=weights)
    rows = np.flatnonzero((top_k < logits.shape[1]) | (top_p < 1))
    if not len(rows):
        return weights
    chosen, every = weights[rows], np.arange(len(rows))
    # NumPy sorts numbers without their places ten times faster than torch does with.
    falling = np.sort(chosen, axis=1)[:, ::-1]
    falling = np.where(falling < falling[every, top_k[rows] - 1][:, None], 0.0, falling)
    cumulative = np.cumsum(falling, axis=1)
    kept = (cumulative - falling <= top_p[rows, None] * cumulative[:, -1:]) & (falling > 0)
    size = np.maximum(kept.sum(axis=1), 1)
    edge = falling[every, size - 1][:, None]
    inside, tied = chosen > edge, chosen == edge
    wanted = (size - inside.sum(axis=1))[:, None]
    weights[rows] *= inside | (tied & (np.cumsum(tied, axis=1) <= wanted))
    return weights


def small_nuclei(logits: torch.Tensor, top_k: Ints, top_p: Doubles) -> tuple[Ints, Doubles, Bools]:
    """As :func:`filtered_weights`, from the largest logits alone, without sorting the vocabulary.

    Returns token ids ``(rows, n)`` by rising id, their weights ``(rows, n)``, and ``(rows,)`` whether these are the
    row's nucleus: where it is too large, tied at its edge, or depends on top-k, they need not be.
    """
    rows, vocabulary = logits.shape
    largest, order = torch.topk(logits, _LARGEST, dim=-1)
    total = (logits - largest[:, :1]).exp_().sum(dim=-1, dtype=torch.float64).cpu().numpy()
    values, ids = largest.double().cpu().numpy(), order.cpu().numpy()
    weights = np.exp(values - values[:, :1])
    before = np.cumsum(weights, axis=1) - weights
    # The nucleus is what comes before top_p of the top-k's sum. That sum lies between the k-th part of all and all,
    # and all was summed in float32: if both bounds give one nucleus there is no need to know it better.
    highest, lowest = top_p * total * (1 + _SLACK), top_p * total * top_k / vocabulary * (1 - _SLACK)
    size = np.maximum((before <= highest[:, None]).sum(axis=1), 1)
    least = np.maximum((before <= lowest[:, None]).sum(axis=1), 1)
    every, edge = np.arange(rows), np.minimum(size, _LARGEST - 1)
    tied = values[every, edge - 1] == values[every, edge]
    sure = (least == size) & (size < _LARGEST) & (size <= top_k) & ~tied
    width = int(size[sure].max(initial=1))
    inside = np.arange(width) < size[:, None]
    by_id = np.argsort(np.where(inside, ids[:, :width], vocabulary), axis=1)
    picked = np.take_along_axis(np.where(inside, weights[:, :width], 0.0), by_id, axis=1)
    return np.take_along_axis(ids[:, :width], by_id, axis=1), picked, sure
