"""Pictures to candidates: decoding, uniqueness, batches, memory, and the shape of BLIP."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from transformers import BlipConfig, BlipForConditionalGeneration

from models.captioner import Candidate, Captioner, check_blip, preprocess
from models.identity import ModelError
from models.sampling import Sampling
from models.vision_attention import use_fused_attention

SAMPLING = Sampling(candidates=12, top_p=0.8, max_new_tokens=10)


def test_candidates_are_unique_texts_in_candidate_order(
    captioner: Captioner, pictures: list[Image.Image]
) -> None:
    found = captioner.caption(pictures, [str(i) for i in range(len(pictures))], SAMPLING)
    assert len(found) == len(pictures)
    for candidates in found:
        texts = [candidate.text for candidate in candidates]
        assert len(set(texts)) == len(texts) <= SAMPLING.candidates
        assert all(text == text.strip() and not text.startswith("a picture of") for text in texts)
        assert all(len(candidate.token_ids) <= 10 for candidate in candidates)
    assert any(len(candidates) > 1 for candidates in found)
    one = dataclasses.replace(SAMPLING, candidates=1)
    assert captioner.caption(pictures, [str(i) for i in range(12)], one) == [c[:1] for c in found]


def test_texts_are_decoded_with_the_prompt_and_cut(captioner: Captioner) -> None:
    prompt = captioner._prompt_ids("a picture of ")
    words = captioner._tokenizer.convert_tokens_to_ids(["dog", "##s", "sitting", "."])
    plural = captioner._tokenizer.convert_tokens_to_ids(["##s", "dog"])
    texts = captioner._texts({tuple(words), tuple(plural), ()}, prompt, len("a picture of "))
    assert texts[tuple(words)] == "dogs sitting."
    # The prompt's last word grows by the piece: the original cuts characters, not tokens.
    assert texts[tuple(plural)] == "dog"
    assert texts[()] == ""


def test_keys_not_places_choose_the_random_numbers(captioner: Captioner, pictures: list[Image.Image]) -> None:
    keys = [f"row {i}" for i in range(len(pictures))]
    found = captioner.caption(pictures, keys, SAMPLING)
    assert captioner.caption(pictures[::-1], keys[::-1], SAMPLING) == found[::-1]
    assert captioner.caption(pictures[5:6], keys[5:6], SAMPLING) == found[5:6]
    assert captioner.caption(pictures, [f"other {key}" for key in keys], SAMPLING) != found


def test_running_out_of_memory_halves_the_batch_and_changes_nothing(
    blip_directory: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = Captioner.load(str(blip_directory))
    keys = [str(i) for i in range(len(pictures))]
    wanted = captioner.caption(pictures, keys, SAMPLING)
    whole = captioner._caption_batch

    def small_memory(batch: list[tuple[Image.Image, str]], sampling: Sampling) -> list[list[Candidate]]:
        if len(batch) > 4:
            raise torch.OutOfMemoryError("no memory")
        return whole(batch, sampling)

    monkeypatch.setattr(captioner, "_caption_batch", small_memory)
    assert captioner.caption(pictures, keys, SAMPLING) == wanted
    assert captioner._images_at_once <= 4


def test_preprocessing_is_the_original_s(pictures: list[Image.Image]) -> None:
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    original = transforms.Compose(
        [
            transforms.Resize((32, 32), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    for picture in pictures[:3]:
        np.testing.assert_allclose(preprocess(picture, 32), original(picture).numpy(), atol=1e-6)
    grey = preprocess(Image.new("L", (7, 9), 128), 32)
    assert grey.shape == (3, 32, 32)


def test_fused_attention_gives_the_vision_tower_s_own_states(blip_directory: Path) -> None:
    model = BlipForConditionalGeneration.from_pretrained(blip_directory).eval()
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model.vision_model(pixel_values=pixels).last_hidden_state
        use_fused_attention(model.vision_model)
        after = model.vision_model(pixel_values=pixels).last_hidden_state
    assert (before - after).abs().max() < 1e-5


def _wide(text_heads: int) -> BlipForConditionalGeneration:
    config = BlipConfig(
        text_config={
            "hidden_size": 768,
            "num_attention_heads": text_heads,
            "num_hidden_layers": 1,
            "vocab_size": 50,
        },
        vision_config={
            "hidden_size": 1024,
            "num_attention_heads": 16,
            "num_hidden_layers": 1,
            "image_size": 16,
        },
    )
    with torch.device("meta"):
        return BlipForConditionalGeneration(config)


def test_a_blip_of_real_size_must_have_blip_s_heads_and_gets_its_epsilon() -> None:
    with pytest.raises(ModelError, match="8 attention heads of 96"):
        check_blip(_wide(text_heads=8), "somewhere")
    model = _wide(text_heads=12)
    check_blip(model, "somewhere")
    assert (
        model.vision_model.post_layernorm.eps == model.vision_model.encoder.layers[0].layer_norm1.eps == 1e-6
    )
    assert model.text_decoder.bert.embeddings.LayerNorm.eps == 1e-12


def test_mismatched_keys_are_refused(captioner: Captioner, pictures: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match="12 images, 1 keys"):
        captioner.caption(pictures, ["a"], SAMPLING)
    assert captioner.caption([], [], SAMPLING) == []
