"""What the engine is measured against: the code that made LAION-COCO, and stock Hugging Face and open_clip calls.

Same models, same settings, same number of tokens. The original's loop is written anew after its structure
(andreaskoepf/laion_idle_cap, ``docker/sampling.py``): one copy of the image per candidate, no cache, every step
forwards every candidate whole, texts are encoded one by one at full context.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cosine_similarity
from transformers import BlipForConditionalGeneration

from models.ranker import Ranker
from models.sampling import Sampling


def original_tokens(
    model: BlipForConditionalGeneration,
    states: torch.Tensor,
    prompt: Sequence[int],
    sampling: Sampling,
    end: int,
) -> torch.Tensor:
    """``(candidates, prompt + longest)`` of one image with ``states`` ``(1, patches, width)``."""
    copies = states.repeat_interleave(sampling.candidates, dim=0)
    attended = torch.ones(copies.shape[:2], dtype=torch.long)
    ids = torch.tensor([list(prompt)] * sampling.candidates)
    top_p, top_k = _scalar(sampling.top_p), int(_scalar(sampling.top_k))
    for step in range(sampling.longest):
        logits = model.text_decoder(
            input_ids=ids, encoder_hidden_states=copies, encoder_attention_mask=attended
        ).logits[:, -1]
        if step < _scalar(sampling.min_new_tokens):
            logits[:, end] = -torch.inf
        values = logits.gather(-1, ids)
        penalty = _scalar(sampling.repetition_penalty)
        logits.scatter_(-1, ids, torch.where(values < 0, values * penalty, values / penalty))
        if 0 < top_k < logits.shape[-1]:
            logits[logits < logits.topk(top_k).values[:, -1:]] = -torch.inf
        falling, order = logits.sort(descending=True)
        removed = falling.softmax(-1).cumsum(-1) > top_p
        removed[:, 1:] = removed[:, :-1].clone()
        removed[:, 0] = False
        logits[removed.scatter(1, order, removed)] = -torch.inf
        ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], dim=-1)
    return ids


def stock_tokens(
    model: BlipForConditionalGeneration,
    states: torch.Tensor,
    prompt: Sequence[int],
    sampling: Sampling,
    end: int,
) -> torch.Tensor:
    """Hugging Face's ``generate`` on the decoder with ``num_return_sequences``, as BLIP's own ``generate`` calls it."""
    found: torch.Tensor = model.text_decoder.generate(
        input_ids=torch.tensor([list(prompt)] * len(states)),
        encoder_hidden_states=states,
        encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long),
        eos_token_id=end,
        pad_token_id=0,
        do_sample=True,
        top_p=_scalar(sampling.top_p),
        top_k=int(_scalar(sampling.top_k)),
        repetition_penalty=_scalar(sampling.repetition_penalty),
        min_new_tokens=int(_scalar(sampling.min_new_tokens)),
        max_new_tokens=sampling.longest,
        num_return_sequences=sampling.candidates,
    )
    return found


def original_similarities(ranker: Ranker, pixels: torch.Tensor, tokens: torch.Tensor) -> list[float]:
    """One picture ``(1, 3, size, size)``; each text of ``tokens`` ``(texts, context)`` on its own."""
    picture = ranker.model.encode_image(pixels)
    return [cosine_similarity(picture, ranker.model.encode_text(text[None])).item() for text in tokens]


def stock_similarities(ranker: Ranker, pixels: torch.Tensor, tokens: torch.Tensor) -> list[float]:
    """One picture, all texts in one batch, none left out, full context."""
    return cosine_similarity(ranker.model.encode_image(pixels), ranker.model.encode_text(tokens)).tolist()


def _scalar(value: float | tuple[float, ...]) -> float:
    assert not isinstance(value, tuple)
    return value
