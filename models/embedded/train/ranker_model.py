"""The two rankers' shapes, their tokenizer, and saving them so that open_clip loads the directory offline.

    open_clip.create_model_and_transforms("local-dir:DIR")
    open_clip.get_tokenizer("local-dir:DIR")

Knows nothing of the visual world or of training: words go in, a model and a directory come out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")
PAD_ID, UNK_ID, BOS_ID, EOS_ID = range(4)
CONTEXT_LENGTH = 32
EMBED_DIM = 192
IMAGE_SIZE = 96


@dataclass(frozen=True)
class TextTower:
    """open_clip's ``text_cfg``. Causal, with features taken at [EOS]: trimming the padding changes nothing."""

    vocab_size: int
    context_length: int = CONTEXT_LENGTH
    width: int = 128
    heads: int = 4
    layers: int = 3
    pool_type: str = "eos"
    eos_id: int = EOS_ID
    pad_id: int = PAD_ID
    hf_tokenizer_name: str = "."  # any name that is not empty: open_clip then reads the directory's own files


# open_clip's vision_cfg: a list of layers makes a ModifiedResNet, a number a ViT.
VISION_TOWERS: dict[str, dict[str, Any]] = {
    "ranker1": {"image_size": IMAGE_SIZE, "layers": 4, "width": 128, "head_width": 32, "patch_size": 12},
    "ranker2": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 12, "head_width": 64},
}


def model_config(ranker: str, vocab_size: int) -> dict[str, Any]:
    """open_clip's ``model_cfg`` of ``ranker1`` or ``ranker2``."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": VISION_TOWERS[ranker],
        "text_cfg": asdict(TextTower(vocab_size)),
    }


def build_model(config: Mapping[str, Any]) -> open_clip.CLIP:
    """A fresh CLIP of ``config``."""
    return open_clip.CLIP(**config)


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token a word: lower case, digits kept, punctuation a blank; words outside ``words`` are [UNK]."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.Lowercase(), normalizers.Replace(Regex("[^a-z0-9]+"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", BOS_ID), ("[EOS]", EOS_ID)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=CONTEXT_LENGTH,
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Token ids ``(texts, longest)``, cut to the context with [EOS] kept."""
    ids: Tensor = tokenizer(
        list(texts), padding=True, truncation=True, max_length=CONTEXT_LENGTH, return_tensors="pt"
    ).input_ids
    return ids


def encode_text(model: open_clip.CLIP, ids: Tensor) -> Tensor:
    """Unit features ``(texts, embed_dim)`` of ids trimmed to any length: open_clip's own wants the full context."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(ids)), (ids == EOS_ID).int().argmax(dim=1)]
    return F.normalize(x @ model.text_projection, dim=-1)


def save_ranker(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, config: Mapping[str, Any], directory: Path
) -> None:
    """Write config, float16 weights and tokenizer. Batch statistics stay float32: small variances underflow."""
    directory.mkdir(parents=True, exist_ok=True)
    parameters = {name for name, _ in model.named_parameters()}
    weights = {
        name: (value.detach().half() if name in parameters else value.detach()).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(weights, directory / "open_clip_model.safetensors")
    preprocess = {
        "size": IMAGE_SIZE,
        "mode": "RGB",
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    text = json.dumps({"model_cfg": dict(config), "preprocess_cfg": preprocess}, indent=2)
    (directory / "open_clip_config.json").write_text(text + "\n")
    tokenizer.save_pretrained(directory)
