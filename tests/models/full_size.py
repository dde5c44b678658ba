"""Full-size models with random weights, saved in the formats and shapes of the real ones.

The real weights are gigabytes on a hub; these prove that what loads and runs the tiny models loads and runs the sizes
of the real ones. Used by slow tests and by the benchmark.
"""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.models.tiny import WORDS, build_tiny_t5

SEP, BOS, VOCABULARY = 102, 30522, 30524


def blip_config(*, small: bool = False) -> BlipConfig:
    """Of Salesforce/blip-image-captioning-large; ``small`` is a stand-in for a quick look at the benchmark."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 768,
        "encoder_hidden_size": 1024,
        "num_attention_heads": 12,
    }
    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 16,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-6,
    }
    if small:
        text |= {
            "vocab_size": 3000, "bos_token_id": 2998, "hidden_size": 128, "encoder_hidden_size": 128,
            "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
        }  # fmt: skip
        vision |= {
            "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
            "image_size": 96,
        }  # fmt: skip
    # Not tied, so that the head can be sharpened without the embeddings.
    text["tie_word_embeddings"] = False
    return BlipConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)


def random_blip(
    *, small: bool = False, sharpness: float = 1.0, seed: int = 0
) -> BlipForConditionalGeneration:
    """Random weights; ``sharpness`` scales the head's, apart from the embeddings: 1 is nearly flat, 40 peaked."""
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(blip_config(small=small)).eval()
    with torch.no_grad():
        model.text_decoder.cls.predictions.decoder.weight.mul_(sharpness)
    return model


def build_full_blip(directory: Path, *, sharpness: float) -> Path:
    """BLIP large, 470M parameters: 0.9 GB of float16."""
    model = random_blip(sharpness=sharpness)
    # BERT's own numbers for the special tokens; the other 30,000 are made up.
    vocabulary = {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": SEP,
        "[MASK]": 103,
        "[DEC]": BOS,
        "[ENC]": BOS + 1,
    }
    words = iter([*dict.fromkeys(WORDS), *(f"word{number}" for number in range(VOCABULARY))])
    taken = set(vocabulary.values())
    vocabulary |= {next(words): number for number in range(VOCABULARY) if number not in taken}
    model.half().save_pretrained(directory)
    BertTokenizer(vocab=vocabulary, bos_token="[DEC]").save_pretrained(directory)
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(directory)
    return directory


def build_full_clip(directory: Path, name: str) -> Path:
    """One of open_clip's own models, ``ViT-L-14`` (428M) or ``RN50x64`` (623M), with QuickGELU as OpenAI's have it."""
    config = open_clip.get_model_config(f"{name}-quickgelu")
    torch.manual_seed(0)
    model = open_clip.create_model(f"{name}-quickgelu").half()
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, directory / "open_clip_model.safetensors"
    )
    preprocess = {"interpolation": "bicubic", "resize_mode": "shortest"}
    (directory / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    return directory


def build_base_t5(directory: Path) -> Path:
    """T5 base, 220M: T0's 3B do not fit beside the rest; the classes are the same."""
    build_tiny_t5(directory)  # for its tokenizer
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128, d_model=768, d_ff=3072, num_layers=12, num_heads=12, pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).half().save_pretrained(directory)
    return directory
