"""The recipe as a plain loop: every candidate forwarded whole in every step, no cache, no shared prefixes.

The yardstick for the tree sampler: as few lines as possible, in the order of the code that made LAION-COCO, with the
same random numbers and the draw by inverse CDF over the whole vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from transformers import BlipTextLMHeadModel

from models.draws import uniforms
from models.sampling import Sampling


def filtered(
    logits: np.ndarray, seen: Sequence[int], *, end: int | None, penalty: float, top_k: int, top_p: float
) -> np.ndarray:
    """Probabilities ``(vocabulary,)`` after the rules; ``end`` is masked where it is not None."""
    logits = logits.astype(np.float64).copy()
    if end is not None:
        logits[end] = -np.inf
    for token in set(seen):
        # In float32, as the model's own numbers: the original applied the penalty there.
        value = np.float32(logits[token])
        logits[token] = value * np.float32(penalty) if value < 0 else value / np.float32(penalty)
    if 0 < top_k < len(logits):
        logits[logits < np.sort(logits)[-top_k]] = -np.inf
    order = np.argsort(-logits, kind="stable")
    weights = np.exp(logits[order] - logits[order[0]])
    before = np.cumsum(weights) - weights
    removed = before > top_p * weights.sum()
    removed[0] = False
    logits[order[removed]] = -np.inf
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


@torch.inference_mode()
def reference_sample(
    decoder: BlipTextLMHeadModel,
    states: torch.Tensor,
    keys: Sequence[str],
    prompt: Sequence[int],
    sampling: Sampling,
    end: int,
) -> tuple[list[list[tuple[int, ...]]], Counter[str]]:
    """What ``models.sampler.sample`` returns, and how often each rule had an effect."""
    effects: Counter[str] = Counter()
    top_p, top_k, least, most, penalty = (
        sampling.per_candidate(value)
        for value in (
            sampling.top_p,
            sampling.top_k,
            sampling.min_new_tokens,
            sampling.max_new_tokens,
            sampling.repetition_penalty,
        )
    )
    results = []
    for image, key in enumerate(keys):
        numbers = uniforms(sampling.seed, key, sampling.candidates, sampling.longest)
        tokens: list[list[int]] = [[] for _ in range(sampling.candidates)]
        alive = list(range(sampling.candidates))
        step = 0
        while alive:
            ids = torch.tensor([[*prompt, *tokens[c]] for c in alive])
            logits = decoder(
                input_ids=ids, encoder_hidden_states=states[image : image + 1].expand(len(alive), -1, -1)
            ).logits[:, -1]
            going = []
            for row, c in zip(logits.numpy(), alive, strict=True):
                raw = np.exp(row.astype(np.float64) - row.max())
                seen = [*prompt, *tokens[c]]
                masked = end if step < least[c] else None
                rules = {"end": masked, "penalty": penalty[c], "top_k": top_k[c], "top_p": top_p[c]}
                p = filtered(row, seen, **rules)
                cumulative = np.cumsum(p)
                u = numbers[c, step] * cumulative[-1]
                drawn = min(int(np.searchsorted(cumulative, u, side="right")), int(np.flatnonzero(p)[-1]))
                effects["minimum"] += (
                    masked is not None and filtered(row, seen, **{**rules, "end": None})[end] > 0
                )
                effects["penalty"] += not np.allclose(filtered(row, seen, **{**rules, "penalty": 1.0}), p)
                effects["top_k"] += not np.allclose(filtered(row, seen, **{**rules, "top_k": 0}), p)
                effects["top_p"] += not np.allclose(filtered(row, seen, **{**rules, "top_p": 1.0}), p)
                force = sampling.force_eos_probability
                if force is not None and raw[end] / raw.sum() > force:
                    effects["forced end"] += 1
                    effects["forced end before the minimum"] += step < least[c]
                elif drawn == end:
                    effects["drawn end"] += 1
                else:
                    tokens[c].append(drawn)
                    if step + 1 < most[c]:
                        going.append(c)
                    else:
                        effects["maximum"] += 1
            alive, step = going, step + 1
        results.append([tuple(t) for t in tokens])
    return results, effects
