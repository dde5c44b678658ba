"""The captioner: pictures in, unique candidate captions out. BLIP of any size from ``from_pretrained``.

Knows nothing of files, tables or ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, BlipConfig, BlipForConditionalGeneration

from models.device import items_that_fit, run_in_batches, to_device
from models.identity import ModelError, local_directory, model_fingerprint
from models.loading import one_line_errors, torch_dtype
from models.quantised import INT8, quantised
from models.sampler import sample
from models.sampling import Sampling
from models.vision_attention import use_fused_attention

# OpenAI CLIP's, which BLIP uses too (salesforce/BLIP, data/__init__.py).
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
# From this width on a BLIP is one of Salesforce's: 64 per head, and 1e-6 in the vision tower's norms
# (salesforce/BLIP, models/vit.py), where configs of the hub and transformers' defaults say 8 text heads and 1e-5.
_REAL_WIDTH = 768
_REAL_HEAD_WIDTH = 64
_REAL_VISION_EPSILON = 1e-6
# Images in one pass: enough to fill a device, and to share the interpreter's time per step of a small model.
_MOST_IMAGES = 64
_PLACES_PER_BATCH = 16_384


@dataclass(frozen=True)
class Candidate:
    """One caption of an image."""

    text: str
    """Without the prompt; decoded and cleaned up as the tokenizer does."""
    token_ids: tuple[int, ...]
    """New tokens, without prompt and end."""


class Captioner:
    """A loaded BLIP. ``load`` one, then ``caption`` any number of batches; not for several threads at once."""

    def __init__(self, model: BlipForConditionalGeneration, tokenizer: object, fingerprint: str) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self.fingerprint = fingerprint
        """What identifies the weights; see :func:`models.loading.model_fingerprint`."""
        self._image_size: int = model.config.vision_config.image_size
        self._begin: int = model.config.text_config.bos_token_id
        # BLIP ends with [SEP]; its text config's eos_token_id is ignored.
        self._end: int = model.config.text_config.sep_token_id
        patches = (self._image_size // model.config.vision_config.patch_size) ** 2
        self._images_at_once = max(1, min(_MOST_IMAGES, _PLACES_PER_BATCH // patches))

    @classmethod
    def load(
        cls, source: str, *, device: str = "cpu", dtype: str = "float32", revision: str | None = None
    ) -> Captioner:
        """Load from a directory or the hub; ModelError, in one line, where that fails or the model is not BLIP's.

        ``dtype``: ``float32``, ``float16``, ``bfloat16``, or ``int8`` for a CPU (see :mod:`models.quantised`).
        """
        fingerprint = model_fingerprint(source, revision)
        if dtype == INT8:
            model = cls.load(source, device=device, revision=revision)
            return cls(quantised(model._model, device), model._tokenizer, f"{fingerprint}-{INT8}")
        where = str(local_directory(source) or source)
        with one_line_errors(source):
            config, _ = BlipConfig.get_config_dict(where, revision=revision)
            if config.get("model_type") != "blip":
                raise ModelError(f"{source}: a {config.get('model_type')!r} model where a BLIP is needed")
            tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
            model, report = BlipForConditionalGeneration.from_pretrained(
                where,
                revision=revision,
                dtype=torch_dtype(dtype),
                use_safetensors=True,
                output_loading_info=True,
            )
        if report["missing_keys"] or report["mismatched_keys"]:
            missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
            raise ModelError(f"{source}: the weights lack {len(missing)} tensors, {missing[0]} among them")
        check_blip(model, source)
        use_fused_attention(model.vision_model)
        return cls(model.to(device), tokenizer, fingerprint)

    def caption(
        self, images: Sequence[Image.Image], keys: Sequence[str], sampling: Sampling
    ) -> list[list[Candidate]]:
        """Unique candidates of each image, in candidate order. ``keys`` name the images in the random stream."""
        if len(images) != len(keys):
            raise ValueError(f"{len(images)} images, {len(keys)} keys")
        pairs = list(zip(images, keys, strict=True))
        fitting = self._fitting(sampling)
        found, fitted = run_in_batches(pairs, lambda batch: self._caption_batch(batch, sampling), fitting)
        if fitted < fitting:
            self._images_at_once = fitted
        return found

    def first_logits(self, images: Sequence[Image.Image], prompt: str) -> torch.Tensor:
        """``(images, vocabulary)`` float32 on the CPU, after the prompt: what two devices can be compared by."""
        ids = torch.tensor([self._prompt_ids(prompt)] * len(images), device=self._model.device)
        with torch.inference_mode():
            decoder = self._model.text_decoder
            logits: torch.Tensor = decoder(
                input_ids=ids, encoder_hidden_states=self._see(images), logits_to_keep=1
            ).logits
        return logits[:, -1].float().cpu()

    def _see(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Vision states ``(images, patches, width)``."""
        pixels = torch.from_numpy(np.stack([preprocess(image, self._image_size) for image in images]))
        on_device = to_device(pixels, self._model.device, self._model.dtype)
        states: torch.Tensor = self._model.vision_model(pixel_values=on_device).last_hidden_state
        return states

    def _fitting(self, sampling: Sampling) -> int:
        """Images at once: vision states, and keys and values of patches and candidates in every decoder layer."""
        text, vision = self._model.config.text_config, self._model.config.vision_config
        patches = (self._image_size // vision.patch_size) ** 2 + 1
        places = patches + sampling.candidates * sampling.longest
        numbers = (
            text.num_hidden_layers * 2 * places * text.hidden_size + 8 * patches * vision.intermediate_size
        )
        return items_that_fit(numbers * self._model.dtype.itemsize, self._model.device, self._images_at_once)

    def _caption_batch(
        self, batch: Sequence[tuple[Image.Image, str]], sampling: Sampling
    ) -> list[list[Candidate]]:
        images, keys = [image for image, _ in batch], [key for _, key in batch]
        prompt = self._prompt_ids(sampling.prompt)
        with torch.inference_mode():
            drawn = sample(self._model.text_decoder, self._see(images), keys, prompt, sampling, self._end)
        texts = self._texts({ids for candidates in drawn for ids in candidates}, prompt, len(sampling.prompt))
        return [_unique(candidates, texts) for candidates in drawn]

    def _prompt_ids(self, prompt: str) -> list[int]:
        """Begin token, then the prompt's; as the original, the tokenizer's own first and last are replaced and cut."""
        ids: list[int] = self._tokenizer(prompt).input_ids  # type: ignore[operator]
        return [self._begin, *ids[1:-1]]

    def _texts(
        self, drawn: set[tuple[int, ...]], prompt: list[int], prompt_chars: int
    ) -> dict[tuple[int, ...], str]:
        """Decode each sequence with its prompt, and cut the prompt's characters off, as the original does."""
        ordered = list(drawn)
        decoded = self._tokenizer.batch_decode(  # type: ignore[attr-defined]
            # Without the begin token: a tokenizer of the hub need not know it.
            [[*prompt[1:], *ids] for ids in ordered],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=True,
        )
        return {ids: text[prompt_chars:].strip() for ids, text in zip(ordered, decoded, strict=True)}


def _unique(drawn: Sequence[tuple[int, ...]], texts: dict[tuple[int, ...], str]) -> list[Candidate]:
    unique: dict[str, Candidate] = {}
    for ids in drawn:
        text = texts[ids]
        unique.setdefault(text, Candidate(text, ids))
    return list(unique.values())


def preprocess(image: Image.Image, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """``(3, size, size)`` float32: squashed to a square, bicubic, CLIP's mean and standard deviation."""
    squashed = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    scaled = (np.asarray(squashed, np.float32) / 255.0 - _MEAN) / _STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def check_blip(model: BlipForConditionalGeneration, source: str) -> None:
    """Hold a BLIP of the published sizes to BLIP's own shape; raises ModelError where its config is another's.

    Sets the vision tower's epsilon to what it was trained with. Smaller models are taken as their config says.
    """
    for part in (model.config.text_config, model.config.vision_config):
        head_width = part.hidden_size // part.num_attention_heads
        if part.hidden_size >= _REAL_WIDTH and head_width != _REAL_HEAD_WIDTH:
            raise ModelError(
                f"{source}: {part.num_attention_heads} attention heads of {head_width} where BLIP has heads of "
                f"{_REAL_HEAD_WIDTH}; set num_attention_heads in its config.json"
            )
    if model.config.vision_config.hidden_size >= _REAL_WIDTH:
        for module in model.vision_model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = _REAL_VISION_EPSILON
