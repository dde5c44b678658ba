"""The embedded T5: its size, its tokenizer, and weights that copy their input before any training.

A repair is a copy with a few edits. Left to itself a model of this size spends its whole budget on finding out how to
copy; here it starts with copying, and training is about the edits. The initial weights match each place of the
input with the words before it:

- a token embedding has an identity part (96 dimensions, random) and a tag part (32, zero);
- encoder heads that look 1, 2 and 3 tokens back (by relative position bias alone) write random codes of the tokens
  there into the tag part; decoder heads that look 0, 1 and 2 back write the same codes;
- cross-attention compares tag with tag (query projection = key projection): the place that follows the words just
  written wins, and its identity is written over the decoder's state, which the tied output layer reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from models.repair_case import CASE_MARKER

PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
PIECES = 1_500
WIDTH, HEADS, HEAD_WIDTH, IDENTITY = 128, 8, 16, 96
# Offset of each head's view from the token itself, in the encoder; the decoder's input is one token late, so there
# the same heads look one token nearer. None: free to learn.
_ENCODER_OFFSETS: tuple[int | None, ...] = (-1, -1, -2, -2, -3, 1, None, None)
# How strongly the token at that offset counts in a tag: the nearest counts most.
_TAG_WEIGHT = {-1: 1.0, -2: 0.5, -3: 0.35}
_AT_OFFSET, _BESIDE_OFFSET = 8.0, 4.0
_MATCH_SHARPNESS = 0.85
_WRITE = (2.0, 1.5)


def train_tokenizer(texts: Iterable[str], pieces: int = PIECES) -> PreTrainedTokenizerFast:
    """BPE over case-marked texts. A word's piece holds the space before it; decoding is concatenation."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    split = Regex(rf"\{CASE_MARKER}| ?[a-z]+| ?[0-9]| ?[^a-z0-9\s\{CASE_MARKER}]|\s")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(split, behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=[PAD, START, END, UNKNOWN], limit_alphabet=80, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(START, tokenizer.token_to_id(START)), (END, tokenizer.token_to_id(END))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> T5ForConditionalGeneration:
    """A T5 of 0.98M parameters (with 1,500 pieces) that copies."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=HEAD_WIDTH,
        d_ff=256,
        num_layers=3,
        num_decoder_layers=2,
        num_heads=HEADS,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    torch.manual_seed(seed)
    model: T5ForConditionalGeneration = T5ForConditionalGeneration(config)
    initialize_to_copy(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def initialize_to_copy(model: T5ForConditionalGeneration, generator: torch.Generator) -> None:
    """Set the weights as the module's docstring says. Works for this module's sizes only."""
    embedding = model.shared.weight
    identity = torch.randn(embedding.size(0), IDENTITY, generator=generator)
    embedding.zero_()
    embedding[:, :IDENTITY] = identity * IDENTITY**0.5 / identity.norm(dim=1, keepdim=True)

    codes = [_orthonormal(HEAD_WIDTH, IDENTITY, generator) for _ in range(HEADS)]
    for stack, shift in ((model.encoder, 0), (model.decoder, 1)):
        attention = stack.block[0].layer[0].SelfAttention
        _look_at(attention.relative_attention_bias, shift, bidirectional=stack is model.encoder)
        _write_tags(attention, codes)
        for block in stack.block:
            # Quiet at first, so that nothing drowns the tags.
            block.layer[-1].DenseReluDense.wo.weight.mul_(0.2)
            if block is not stack.block[0]:
                block.layer[0].SelfAttention.o.weight.mul_(0.2)

    for block, strength in zip(model.decoder.block, _WRITE, strict=True):
        cross = block.layer[1].EncDecAttention
        for head in range(HEADS):
            rows = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
            match = torch.zeros(HEAD_WIDTH, WIDTH)
            match[:, IDENTITY:] = _orthonormal(HEAD_WIDTH, WIDTH - IDENTITY, generator) * _MATCH_SHARPNESS
            cross.q.weight[rows] = match
            cross.k.weight[rows] = match
        mix = _orthonormal(WIDTH, WIDTH, generator)
        cross.v.weight.copy_(mix)
        write = mix.T * strength
        write[IDENTITY:] = 0
        cross.o.weight.copy_(write)
    model.decoder.final_layer_norm.weight.fill_(1.5)


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """``(rows, columns)``, rows <= columns, orthonormal rows."""
    q: Tensor = torch.linalg.qr(torch.randn(columns, rows, generator=generator)).Q
    return q.T.contiguous()


def _look_at(bias: nn.Embedding, shift: int, *, bidirectional: bool) -> None:
    """Bias of T5's relative position buckets, exact up to 7 tokens back and, in the encoder, 7 ahead."""
    ahead = bias.num_embeddings // 2
    bias.weight.mul_(0.1)
    for head, offset in enumerate(_ENCODER_OFFSETS):
        if offset is None or (offset > 0 and not bidirectional):
            continue
        back = -(offset + shift)
        if back < 0:
            bias.weight[ahead - back, head] = _AT_OFFSET
            continue
        bias.weight[back, head] = _AT_OFFSET
        if back > 0:
            # Near the start there is nothing so far back: take what is nearest, in both stacks alike.
            bias.weight[back - 1, head] = _BESIDE_OFFSET


def _write_tags(attention: Any, codes: list[Tensor]) -> None:
    value, output = attention.v.weight, attention.o.weight
    for head, offset in enumerate(_ENCODER_OFFSETS):
        columns = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
        if offset not in _TAG_WEIGHT:
            output[:, columns] *= 0.2
            continue
        value[columns] = 0
        value[columns, :IDENTITY] = codes[head]
        output[:, columns] = 0
        start = IDENTITY + (head % 2) * HEAD_WIDTH
        output[start : start + HEAD_WIDTH, columns] = torch.eye(HEAD_WIDTH) * _TAG_WEIGHT[offset]
