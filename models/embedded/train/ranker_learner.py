"""What a ranker learns from: the CLIP being trained, with heads that exist in training only, and the losses.

Three things keep a tiny tower from learning backgrounds alone: dense targets (what each patch shows), linear
read-outs of the scene's facts that images and texts share, and hard negatives in the contrastive loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.embedded.train.ranker_batches import HARD_NEGATIVES, IGNORED, Batch, Facts
from models.embedded.train.ranker_model import EMBED_DIM, encode_text
from models.embedded.world import BACKGROUNDS, KINDS, OBJECTS, ROLES

# Unit features are stretched before the linear read-outs, or their logits could not become decisive.
READ_OUT_SCALE = 8.0
LARGEST_LOGIT_SCALE = 100.0  # open_clip's clamp


class ReadOuts(nn.Module):
    """Linear read-outs of the facts from a unit embedding; one set for both towers."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = {
            "presence": len(OBJECTS),
            "count": 4,
            "background": len(BACKGROUNDS),
            "kind": len(KINDS),
            "first": len(OBJECTS),
            "second": len(OBJECTS),
        }
        self.head = nn.Linear(EMBED_DIM, sum(self.sizes.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        parts = torch.split(self.head(features * READ_OUT_SCALE), list(self.sizes.values()), dim=1)
        return dict(zip(self.sizes, parts, strict=True))

    def loss(self, features: Tensor, facts: Facts) -> Tensor:
        """Sum of the facts' losses, each a mean over the scenes that have the fact."""
        logits = self(features)
        # A scene shows one to three of 68 classes: the mean over classes would drown them.
        presence = F.binary_cross_entropy_with_logits(logits["presence"], facts.presence, reduction="none")
        total = presence.sum(dim=1).mean() / 3
        for name in ("count", "background", "kind", "first", "second"):
            target: Tensor = getattr(facts, name)
            if bool((target != IGNORED).any()):
                total = total + F.cross_entropy(logits[name], target, ignore_index=IGNORED)
        return total


@dataclass(frozen=True)
class Losses:
    contrastive: Tensor
    dense: Tensor
    image_facts: Tensor
    text_facts: Tensor
    top1: float  # share of images whose true caption beats every other text of the batch


class Learner(nn.Module):
    """A CLIP with its training heads. ``grid`` x ``grid`` cells carry the dense targets."""

    def __init__(self, clip: open_clip.CLIP) -> None:
        super().__init__()
        self.clip = clip
        self.read_outs = ReadOuts()
        visual = clip.visual
        self.is_vit = hasattr(visual, "transformer")
        if self.is_vit:
            visual.output_tokens = True
            self.grid: int = visual.grid_size[0]
            channels = visual.transformer.width
        else:
            # A fifth faster on a CPU.
            visual.to(memory_format=torch.channels_last)
            # The last stage has 3 x 3 cells, too few; the one before has twice as many.
            self.grid = visual.image_size // 16
            channels = visual.layer3[-1].conv3.out_channels
        self.dense_head = nn.Linear(channels, len(OBJECTS) + 1 + len(ROLES))

    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Unit features ``(n, embed)`` and cell features ``(n, grid, grid, channels)``."""
        visual = self.clip.visual
        if self.is_vit:
            features, patches = visual(images)
            cells = patches.unflatten(1, (self.grid, self.grid))
        else:
            images = images.contiguous(memory_format=torch.channels_last)
            x = visual.layer3(visual.layer2(visual.layer1(visual.stem(images))))
            cells = x.permute(0, 2, 3, 1)
            features = visual.attnpool(visual.layer4(x))
        return F.normalize(features, dim=-1), cells

    def losses(self, batch: Batch, ids: Tensor) -> Losses:
        """All losses of a batch; ``ids`` are its texts' tokens."""
        images, cells = self.encode_image(batch.images)
        texts = encode_text(self.clip, ids)
        contrastive, top1 = self._contrastive(images[: batch.scenes], texts, batch.texts)
        logits = self.dense_head(cells).flatten(0, 2)
        classes, roles = logits.split([len(OBJECTS) + 1, len(ROLES)], dim=1)
        wanted = batch.dense.permute(1, 0, 2, 3).flatten(1)
        captioned = torch.zeros(len(images), dtype=torch.bool)
        captioned[: batch.scenes] = True
        # Collages have no roles.
        role_targets = torch.where(captioned.repeat_interleave(self.grid**2), wanted[1], IGNORED)
        dense = F.cross_entropy(classes, wanted[0])
        if batch.scenes:
            dense = dense + 0.6 * F.cross_entropy(roles, role_targets, ignore_index=IGNORED)
        return Losses(
            contrastive,
            dense,
            self.read_outs.loss(images, batch.image_facts),
            self.read_outs.loss(texts[batch.with_facts], batch.text_facts),
            top1,
        )

    def _contrastive(self, images: Tensor, texts: Tensor, strings: list[str]) -> tuple[Tensor, float]:
        """Image to all texts of the batch, true text to images; equal captions are no negatives of each other."""
        scale = self.clip.logit_scale.exp().clamp(max=LARGEST_LOGIT_SCALE)
        number = len(images)
        logits = scale * images @ texts.T  # (scenes, scenes * (1 + HARD_NEGATIVES))
        same = torch.tensor([[a == b for b in strings] for a in strings[:number]])
        same[:, :number].fill_diagonal_(False)
        logits = logits.masked_fill(same, -1e4)
        target = torch.arange(number)
        to_text = F.cross_entropy(logits, target)
        to_image = F.cross_entropy(logits[:, :number].T, target)
        # The image's own nearly-true captions once more, by themselves: the batch's others are easy.
        own = torch.stack(
            [logits[target, number + target * HARD_NEGATIVES + place] for place in range(HARD_NEGATIVES)],
            dim=1,
        )
        among_own = F.cross_entropy(
            torch.cat([logits[target, target, None], own], dim=1), torch.zeros_like(target)
        )
        top1 = float((logits.argmax(dim=1) == target).float().mean())
        return 0.5 * to_text + 0.25 * to_image + 0.5 * among_own, top1
