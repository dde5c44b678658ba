"""Tiny random models in the real file formats, built in well under a second each, for tests of any package."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
PAD, SEP, BOS = 0, 3, 5
TEXT = (
    "a picture of the dog cat horse pizza couch beach grass snow street red blue two next to above below on in "
    "front night table sitting standing and with man woman ball bus ##s ##ing ##ed . ' t don"
)
WORDS = tuple(TEXT.split(" "))


def build_tiny_blip(directory: Path, *, seed: int = 0, sharpness: float = 6.0, layers: int = 2) -> Path:
    """A random BLIP with a small WordPiece vocabulary.

    ``sharpness`` scales the head's weights: 6 gives peaked distributions, in which [SEP] is sometimes likely, so that
    nucleus, top-k, penalty and forced endings all come into play; 1 gives almost flat ones.
    """
    torch.manual_seed(seed)
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "initializer_range": 0.25,
        "layer_norm_eps": 1e-12,
        "bos_token_id": BOS,
        "sep_token_id": SEP,
        "eos_token_id": SEP,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.25,
        "layer_norm_eps": 1e-6,
    }
    config = BlipConfig(
        text_config=text,
        vision_config=vision,
        projection_dim=32,
        image_text_hidden_size=32,
        tie_word_embeddings=False,
    )
    model = BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        head = model.text_decoder.cls.predictions.decoder
        head.weight.mul_(sharpness / 4)
        head.bias[SEP] += 2.5
        for number, layer in enumerate(model.text_decoder.bert.encoder.layer):
            # The image must matter, or all captions of a seed are alike.
            layer.crossattention.self.value.weight.mul_(3.0 if number else 2.0)
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    BertTokenizer(vocab=vocabulary, bos_token="[DEC]", do_lower_case=True).save_pretrained(directory)
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(directory)
    return directory


def build_tiny_clip(directory: Path, *, seed: int = 0, resnet: bool = False) -> Path:
    """A random CLIP as an open_clip local directory; the vision tower a ViT, or a ModifiedResNet."""
    torch.manual_seed(seed)
    vocabulary = {word: index for index, word in enumerate(("[PAD]", "[UNK]", "[BOS]", "[EOS]", *WORDS))}
    vision: dict[str, object] = {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    }
    if resnet:
        vision = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 16}
    config = {
        "embed_dim": 24,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": 20,
            "vocab_size": len(vocabulary),
            "width": 32,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": 3,
            "pad_id": 0,
            "hf_tokenizer_name": ".",
        },
    }
    model = open_clip.CLIP(**config).eval()
    directory.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, directory / "open_clip_model.safetensors"
    )
    preprocess = {"size": 32, "interpolation": "bicubic", "resize_mode": "shortest"}
    (directory / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=20,
    ).save_pretrained(directory)
    return directory


def build_tiny_t5(directory: Path, *, seed: int = 0) -> Path:
    """A random T5 (it writes nonsense) with a word-level tokenizer that ``AutoTokenizer`` loads."""
    torch.manual_seed(seed)
    vocabulary = {word: index for index, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    directory.mkdir(parents=True, exist_ok=True)
    T5ForConditionalGeneration(config).eval().save_pretrained(directory)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
    ).save_pretrained(directory)
    return directory
