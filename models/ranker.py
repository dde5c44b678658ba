"""The ranker: cosine similarity of pictures and captions by a CLIP of open_clip's.

Each different caption is encoded once per call, trimmed to the longest of its batch; pictures go through in batches.
The numbers are those of one-by-one encoding at full context, but for the last bits. Knows nothing of what is ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transformer import text_global_pool
from PIL import Image
from torch.nn import functional as F

from models.device import run_in_batches, to_device
from models.identity import LOCAL_PREFIX, ModelError, local_directory, model_fingerprint
from models.loading import one_line_errors, torch_dtype

_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
# Captions of like length together: little padding, and no more than this many at once.
_MOST_CAPTIONS = 256
_MOST_IMAGES = 64
# Squared pixels per pass, so that a tower of 448 pixels takes a few images where one of 96 takes them all.
_PIXELS_PER_BATCH = 8 * 448 * 448
# Poolings that read one place before the padding: behind a causal mask what follows it cannot matter.
_TRIMMABLE = ("argmax", "eos", "first")


class Ranker:
    """A loaded CLIP. Not for several threads at once."""

    def __init__(
        self,
        model: open_clip.CLIP | open_clip.CustomTextCLIP,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[Sequence[str]], torch.Tensor],
        fingerprint: str,
    ) -> None:
        self.model = model.eval()
        self.preprocess = preprocess
        self.tokenizer = tokenizer
        self.fingerprint = fingerprint
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        size = model.visual.image_size
        height, width = size if isinstance(size, tuple) else (size, size)
        self._images_at_once = max(1, min(_MOST_IMAGES, _PIXELS_PER_BATCH // (height * width)))
        self._captions_at_once = _MOST_CAPTIONS

    @classmethod
    def load(cls, name: str, pretrained: str = "", *, device: str = "cpu", dtype: str = "float32") -> Ranker:
        """Load what open_clip calls ``name`` and ``pretrained``; a directory is ``local-dir:/path``.

        Safetensors where the hub has them; anything else is read without unpickling (``weights_only``). ModelError, in
        one line, where loading fails.
        """
        torch_dtype(dtype)
        fingerprint = model_fingerprint(name, pretrained)
        directory = local_directory(name)
        if directory is not None:
            name, pretrained = f"{LOCAL_PREFIX}{directory}", ""
        elif not open_clip.get_pretrained_cfg(name, pretrained):
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "no such model"
            raise ModelError(f"{name}: no pretrained weights {pretrained!r} in open_clip ({tags})")
        with one_line_errors(name):
            # OpenAI's weights need QuickGELU; open_clip only warns where the name's own config does not say so.
            quick = bool((open_clip.get_pretrained_cfg(name, pretrained) or {}).get("quick_gelu"))
            model, _, preprocess = open_clip.create_model_and_transforms(
                name,
                pretrained=pretrained or None,
                precision=_PRECISIONS[dtype],
                device=device,
                **({"force_quick_gelu": True} if quick else {}),
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(name)
        return cls(model, preprocess, tokenizer, fingerprint)

    def similarities(
        self, images: Sequence[Image.Image], captions: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Cosine similarity of each picture with each of its captions, one list per picture."""
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images, {len(captions)} lists of captions")
        pictures = self.encode_images(images)
        texts, place = self.encode_captions([text for texts in captions for text in texts])
        rows = np.repeat(np.arange(len(captions)), [len(texts) for texts in captions])
        columns = np.array([place[text] for texts in captions for text in texts], dtype=np.int64)
        # Pair by pair in one fixed order: a product of matrices would sum differently with every batch.
        cosines = (pictures[rows] * texts[columns]).sum(axis=1)
        found = iter(cosines.tolist())
        return [[next(found) for _ in texts] for texts in captions]

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Unit features ``(images, features)``."""

        def encode(batch: Sequence[Image.Image]) -> list[torch.Tensor]:
            pixels = torch.stack([self.preprocess(image) for image in batch])
            features = self.model.encode_image(to_device(pixels, self._device, self._dtype))
            return list(F.normalize(features.double(), dim=-1).cpu())

        found, self._images_at_once = run_in_batches(images, encode, self._images_at_once)
        return _stacked(found)

    @torch.inference_mode()
    def encode_captions(
        self, captions: Sequence[str]
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], dict[str, int]]:
        """Unit features ``(different texts, features)``, and the row of each caption."""
        different = list(dict.fromkeys(captions))
        tokens = self.tokenizer(different) if different else torch.zeros((0, 1), dtype=torch.long)
        # Captions that differ only in what the tokenizer drops (case, white space) are one text to the model. Encoded
        # twice they would tie but for the last bits, and their order would depend on the batch.
        tokens, same = torch.unique(tokens, dim=0, return_inverse=True)
        lengths = _lengths(tokens)
        by_length = torch.argsort(lengths, stable=True).tolist()

        def encode(batch: Sequence[int]) -> list[torch.Tensor]:
            longest = int(lengths[batch].max())
            ids = tokens[batch].to(self._device)
            return list(F.normalize(self._encode_text(ids, longest).double(), dim=-1).cpu())

        found, self._captions_at_once = run_in_batches(by_length, encode, self._captions_at_once)
        row = {index: row for row, index in enumerate(by_length)}
        return _stacked(found), {
            text: row[index] for text, index in zip(different, same.tolist(), strict=True)
        }

    def _encode_text(self, ids: torch.Tensor, longest: int) -> torch.Tensor:
        """Features ``(texts, features)`` of full-context ``ids``, computed on the first ``longest`` places only.

        open_clip's own ``encode_text`` takes full contexts; this goes through the same modules with the places that
        matter. Towers whose features depend on the padding get all of it.
        """
        tower = getattr(self.model, "text", self.model)
        pool = getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", "")
        mask = getattr(tower, "attn_mask", None)
        if pool not in _TRIMMABLE or mask is None or getattr(tower, "cls_emb", None) is not None:
            features: torch.Tensor = self.model.encode_text(ids)
            return features
        ids = ids[:, :longest]
        kind = tower.transformer.get_cast_dtype()
        hidden = tower.token_embedding(ids).to(kind) + tower.positional_embedding[:longest].to(kind)
        hidden = tower.transformer(hidden, attn_mask=mask[:longest, :longest])
        end = (
            getattr(tower, "eos_id", None) if tower is not self.model else getattr(tower, "text_eos_id", None)
        )
        pooled: torch.Tensor = text_global_pool(tower.ln_final(hidden), ids, pool, eos_token_id=end)
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: torch.Tensor = (
            projection(pooled) if isinstance(projection, torch.nn.Linear) else pooled @ projection
        )
        return projected


def _lengths(tokens: torch.Tensor) -> torch.Tensor:
    """Places of each row up to the last that is not the last column's padding value; at least 1."""
    if not len(tokens):
        return torch.zeros(0, dtype=torch.long)
    # Every tokenizer here pads to the right with one value, which is 0 in CLIP's and in ours.
    places = torch.arange(1, tokens.shape[1] + 1)
    return (places * (tokens != 0)).amax(dim=1).clamp(min=1)


def _stacked(rows: Sequence[torch.Tensor]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return torch.stack(list(rows)).numpy() if rows else np.zeros((0, 1))
