"""The embedded captioner's shape and vocabulary: a BLIP of 4.6M parameters in transformers' own classes.

Makes and saves the model; knows nothing of how it is trained.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)

from models.embedded.world import vocabulary

PROMPT = "a picture of "
IMAGE_SIZE = 64
PATCH_SIZE = 8
WIDTH = 192
HEADS = 6
VISION_LAYERS = 6
TEXT_LAYERS = 3
MAX_POSITIONS = 64

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
"""BLIP starts a caption with [DEC] and ends it with [SEP]."""
PAD, SEP, BOS = 0, 3, 5


def word_ids() -> dict[str, int]:
    """The whole-word WordPiece vocabulary: special tokens first, then the world's words, sorted."""
    return {word: number for number, word in enumerate((*SPECIAL_TOKENS, *vocabulary()))}


def new_captioner() -> BlipForConditionalGeneration:
    """An untrained captioner with dropout off; its weights depend on torch's seed."""
    # The ids belong into the text config: BLIP reads no others. The defaults that differ from BLIP itself:
    # 8 heads, a vision epsilon of 1e-5, and an initializer_range of 1e-10 with which nothing is learned.
    text = BlipTextConfig(
        vocab_size=len(word_ids()),
        hidden_size=WIDTH,
        encoder_hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=0.02,
        layer_norm_eps=1e-12,
        bos_token_id=BOS,
        sep_token_id=SEP,
        eos_token_id=SEP,
        pad_token_id=PAD,
        label_smoothing=0.0,
    )
    vision = BlipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=HEADS,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        initializer_range=0.02,
        layer_norm_eps=1e-6,
    )
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=WIDTH,
        image_text_hidden_size=WIDTH,
    )
    return BlipForConditionalGeneration(config)


def save_captioner(model: BlipForConditionalGeneration, folder: Path) -> None:
    """Write a directory that `from_pretrained` loads: fp16 safetensors, configs, tokenizer, preprocessing."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {
        name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.save_pretrained(folder, state_dict=half)
    BertTokenizer(vocab=word_ids(), bos_token="[DEC]", do_lower_case=True).save_pretrained(folder)
    BlipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}).save_pretrained(folder)
