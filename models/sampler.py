"""Tree sampling: many candidates per image at the cost of their different prefixes, with the plain loop's results.

Candidates of an image that have drawn the same tokens so far share one prefix, and a prefix is forwarded once. The
prefixes of an image lie along the sequence axis: a step feeds ``(images, prefixes)`` tokens, all at position ``step``,
with a 4-D mask that lets each attend to its own ancestors among everything in an append-only cache. So cross-attention
keys and values are projected once per image, whatever the number of candidates; the vocabulary is computed on real
prefixes only; ended candidates and images leave.

Goes through Hugging Face's own BLIP decoder modules; knows nothing of pixels or of text. A candidate's tokens depend on
(seed, row key, candidate, step) and on the model alone: not on the batch, its order or its size, but for the last bits
of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import BlipTextLMHeadModel, DynamicCache, EncoderDecoderCache

from models.draws import Bools, Doubles, Ints, Rules, draw, end_probabilities, uniforms
from models.sampling import Sampling

# A batch is split in two when that saves this share of the forwarded places, and this many of them: a forward pass
# has a price of its own, some 50 places (the interpreter's time in a small model, reading the weights in a large one).
_PADDING_SHARE = 0.2
_PADDING_PLACES = 96


@dataclass
class _Tree:
    """Some images, their candidates that have not ended, and the prefixes that these share.

    Prefixes are numbered by image: ``slot`` is a prefix's place among its image's.
    """

    images: Ints
    """``(images,)`` numbers in the caller's batch."""
    states: torch.Tensor
    """``(images, patches, width)`` vision states."""
    cache: EncoderDecoderCache
    step: int
    """Tokens drawn so far by every candidate in here."""
    candidate_image: Ints
    """``(candidates,)`` numbers in the caller's batch."""
    candidate: Ints
    """``(candidates,)`` numbers in 0..Sampling.candidates."""
    candidate_prefix: Ints
    """``(candidates,)`` index of the prefix."""
    prefix_image: Ints
    """``(prefixes,)`` index into ``images``; rising."""
    slot: Ints
    """``(prefixes,)``"""
    seen: torch.Tensor
    """``(prefixes, prompt + step)`` token ids on the model's device."""
    visible: Bools
    """``(prefixes, cached places)``: the prefix's own ancestors."""

    def subset(self, chosen: Ints) -> _Tree:
        """The tree of the images at ``chosen``, indices into ``images``; shares nothing that changes later."""
        place = np.full(len(self.images), -1)
        place[chosen] = np.arange(len(chosen))
        prefixes = np.flatnonzero(place[self.prefix_image] >= 0)
        # Prefixes stay sorted by image: chosen rises.
        renumbered = np.full(len(self.prefix_image), -1)
        renumbered[prefixes] = np.arange(len(prefixes))
        candidates = np.flatnonzero(renumbered[self.candidate_prefix] >= 0)
        index = torch.as_tensor(chosen, device=self.states.device)
        return _Tree(
            self.images[chosen],
            self.states[index],
            _subset_cache(self.cache, index),
            self.step,
            self.candidate_image[candidates],
            self.candidate[candidates],
            renumbered[self.candidate_prefix[candidates]],
            place[self.prefix_image[prefixes]],
            self.slot[prefixes],
            self.seen[torch.as_tensor(prefixes, device=self.seen.device)],
            self.visible[prefixes],
        )


@torch.inference_mode()
def sample(
    decoder: BlipTextLMHeadModel,
    states: torch.Tensor,
    keys: Sequence[str],
    prompt: Sequence[int],
    sampling: Sampling,
    end: int,
) -> list[list[tuple[int, ...]]]:
    """New tokens of every candidate of every image, without prompt and end token.

    ``states`` ``(images, patches, width)`` are the vision tower's; ``keys`` the images' row keys; ``prompt`` token ids,
    the begin token first; ``end`` the end token's id. Raises ValueError where prompt and longest caption exceed the
    decoder's positions.
    """
    positions = decoder.config.max_position_embeddings
    if len(prompt) + sampling.longest > positions:
        raise ValueError(
            f"{len(prompt)} prompt and {sampling.longest} new tokens exceed {positions} positions"
        )
    rules = Rules.of(sampling)
    numbers = np.stack([uniforms(sampling.seed, key, sampling.candidates, sampling.longest) for key in keys])
    drawn = np.zeros((len(keys), sampling.candidates, sampling.longest), np.int64)
    lengths = np.zeros((len(keys), sampling.candidates), np.int64)
    tree, logits = _plant(decoder, states, prompt, sampling.candidates)
    work = [(tree, logits)]
    while work:
        tree, logits = work.pop()
        while grown := _grow(
            tree, logits, rules, sampling.force_eos_probability, end, numbers, drawn, lengths
        ):
            tree, *others = grown
            work.extend((other, _forward(decoder, other)) for other in others)
            logits = _forward(decoder, tree)
    return [
        [tuple(tokens[:length].tolist()) for tokens, length in zip(*image, strict=True)]
        for image in zip(drawn, lengths, strict=True)
    ]


def _plant(
    decoder: BlipTextLMHeadModel, states: torch.Tensor, prompt: Sequence[int], candidates: int
) -> tuple[_Tree, torch.Tensor]:
    """The tree after the prompt, one prefix per image; and the logits ``(images, vocabulary)`` after it."""
    images = len(states)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    seen = torch.tensor([list(prompt)] * images, device=states.device)
    hidden = decoder.bert(
        input_ids=seen, encoder_hidden_states=states, past_key_values=cache, use_cache=True, is_decoder=True
    ).last_hidden_state
    numbers = np.arange(images)
    tree = _Tree(
        images=numbers,
        states=states,
        cache=cache,
        step=0,
        candidate_image=numbers.repeat(candidates),
        candidate=np.tile(np.arange(candidates), images),
        candidate_prefix=numbers.repeat(candidates),
        prefix_image=numbers,
        slot=np.zeros(images, np.int64),
        seen=seen,
        visible=np.ones((images, len(prompt)), bool),
    )
    return tree, decoder.cls(hidden[:, -1]).float()


def _forward(decoder: BlipTextLMHeadModel, tree: _Tree) -> torch.Tensor:
    """Forward the last token of every prefix, appending to the cache; logits ``(prefixes, vocabulary)``, float32."""
    images, width = len(tree.images), int(tree.slot.max()) + 1
    device = tree.states.device
    cached = tree.visible.shape[1]
    own = np.arange(width) == tree.slot[:, None]
    tree.visible = np.concatenate([tree.visible, own], axis=1)
    # A padded place looks at the begin token: a row that sees nothing would be NaN, and stay in the cache.
    mask = np.zeros((images, width, cached + width), bool)
    mask[:, :, 0] = True
    mask[tree.prefix_image, tree.slot] = tree.visible
    lowest = torch.finfo(tree.states.dtype).min
    additive = torch.where(torch.as_tensor(mask, device=device), 0.0, lowest).to(tree.states.dtype)
    at = (torch.as_tensor(tree.prefix_image, device=device), torch.as_tensor(tree.slot, device=device))
    tokens = torch.zeros((images, width), dtype=torch.long, device=device)
    tokens[at] = tree.seen[:, -1]
    position = torch.full((1, 1), tree.seen.shape[1] - 1, device=device)
    hidden = decoder.bert(
        input_ids=tokens,
        position_ids=position,
        attention_mask=additive[:, None],
        encoder_hidden_states=tree.states,
        past_key_values=tree.cache,
        use_cache=True,
        is_decoder=True,
    ).last_hidden_state
    logits: torch.Tensor = decoder.cls(hidden[at]).float()
    return logits


def _grow(
    tree: _Tree,
    logits: torch.Tensor,
    rules: Rules,
    force: float | None,
    end: int,
    numbers: Doubles,
    drawn: Ints,
    lengths: Ints,
) -> list[_Tree]:
    """Draw one token for every candidate, write it to ``drawn`` and ``lengths``, and make the next step's trees: none
    where all have ended, two where the images' numbers of prefixes differ so much that padding would cost more.
    """
    image, candidate, prefix, step = tree.candidate_image, tree.candidate, tree.candidate_prefix, tree.step
    if force is not None:
        # The recipe's forced end ignores the minimum, and drops the token of its own step: so there is none to draw.
        alive = np.flatnonzero(end_probabilities(logits, end)[prefix] <= force)
        image, candidate, prefix = image[alive], candidate[alive], prefix[alive]
        if not len(alive):
            return []
    tokens = draw(logits, tree.seen, prefix, candidate, rules, step, end, numbers[image, candidate, step])
    kept = np.flatnonzero(tokens != end)
    image, candidate, prefix, tokens = image[kept], candidate[kept], prefix[kept], tokens[kept]
    drawn[image, candidate, step] = tokens
    lengths[image, candidate] = step + 1
    going = np.flatnonzero(rules.max_new_tokens[candidate] > step + 1)
    image, candidate, prefix, tokens = image[going], candidate[going], prefix[going], tokens[going]
    if not len(going):
        return []
    # Equal parents and equal tokens are one prefix. Sorted by parent, so by image.
    pairs, new_prefix = np.unique(prefix * logits.shape[1] + tokens, return_inverse=True)
    parents, last = np.divmod(pairs, logits.shape[1])
    prefix_image = tree.prefix_image[parents]
    first_of_image = np.searchsorted(prefix_image, prefix_image)
    device = tree.seen.device
    before = tree.seen[torch.as_tensor(parents, device=device)]
    seen = torch.cat([before, torch.as_tensor(last, device=device)[:, None]], dim=1)
    grown = _Tree(
        tree.images,
        tree.states,
        tree.cache,
        step + 1,
        image,
        candidate,
        new_prefix.reshape(-1),
        prefix_image,
        np.arange(len(pairs)) - first_of_image,
        seen,
        tree.visible[parents],
    )
    groups = _groups(np.bincount(prefix_image, minlength=len(tree.images)))
    if len(groups) == 1 and len(groups[0]) == len(tree.images):
        return [grown]
    return [grown.subset(group) for group in groups]


def _groups(prefixes: Ints) -> list[Ints]:
    """Images to go on together, by their numbers of prefixes ``(images,)``: one group or two, sorted, none with 0."""
    living = np.flatnonzero(prefixes)
    counts = np.sort(prefixes[living])
    together = counts[-1] * len(counts)
    if len(counts) > 1:
        # The cut that forwards the fewest places: the smaller ones padded to their largest, the others to theirs.
        sizes = np.arange(1, len(counts))
        apart = counts[:-1] * sizes + counts[-1] * (len(counts) - sizes)
        best = int(apart.argmin())
        saved = together - apart[best]
        if saved >= max(_PADDING_PLACES, _PADDING_SHARE * together):
            small = prefixes[living] <= counts[best]
            return [living[small], living[~small]]
    # Images that have ended cost nothing as long as there are few of them: leaving means copying the cache.
    return [living] if len(living) < 0.75 * len(prefixes) else [np.arange(len(prefixes))]


def _subset_cache(cache: EncoderDecoderCache, images: torch.Tensor) -> EncoderDecoderCache:
    """A copy of the cache with only ``images``, indices into its batch axis."""
    copies = []
    for part in (cache.self_attention_cache, cache.cross_attention_cache):
        copy = DynamicCache()
        for number, layer in enumerate(part.layers):
            copy.update(layer.keys[images], layer.values[images], number)
        copies.append(copy)
    return EncoderDecoderCache(*copies)
