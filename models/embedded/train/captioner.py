"""Train the embedded captioner: `python -m models.embedded.train.captioner --minutes 47.5 --out DIR`.

A transformer of this size learns a scene's objects from captions alone only after many hours. What brings it
to minutes: the vision tower is also told what each patch shows (collages of many objects, a large share of a
batch at first) and what role the shown object plays in the caption (which keeps position alive); batches are
small; Muon moves the hidden matrices. Captions join after a seventh of the budget; the tower is never frozen.
Paraphrases come later than canonical captions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BlipForConditionalGeneration

from models.embedded.train.budget import Budget, Curve, load_checkpoint, save_checkpoint
from models.embedded.train.captioner_batches import IGNORED, Batch, Batches, caption_ids, to_pixels
from models.embedded.train.captioner_model import SEP, WIDTH, new_captioner, save_captioner, word_ids
from models.embedded.train.muon import MuonWithAdamW
from models.embedded.world import BACKGROUNDS, KINDS, OBJECTS, ROLES, Scene, render, scenes, score

MUON_RATE = 0.015
ADAMW_RATE = 1.5e-3
CAPTIONS_FROM = 0.14
COLLAGES_FALL_UNTIL = 0.45
LARGER_BATCH_FROM = 0.5
PARAPHRASES_FROM = 0.5
PARAPHRASE_SHARE = 0.3
GRADIENT_NORM = 1.0
CHECKPOINT_SECONDS = 60.0
PROBE_SEED = 900_000
"""Scenes for the curve, apart from those trained on and from the held-out ones."""
PROBE_SCENES = 64


@dataclass(frozen=True)
class Plan:
    """What a step is made of."""

    batch: int
    collage_share: float
    paraphrase_share: float
    with_captions: bool


def plan(fraction: float) -> Plan:
    """The mixture at that fraction of the budget."""
    falling = min(1.0, max(0.0, (fraction - CAPTIONS_FROM) / (COLLAGES_FALL_UNTIL - CAPTIONS_FROM)))
    return Plan(
        batch=24 if fraction < LARGER_BATCH_FROM else 36,
        collage_share=0.75 - 0.55 * falling,
        paraphrase_share=PARAPHRASE_SHARE if fraction >= PARAPHRASES_FROM else 0.0,
        with_captions=fraction >= CAPTIONS_FROM,
    )


class CaptionerInTraining(nn.Module):
    """The captioner with its scaffolding: linear read-outs of patches and image, dropped when it is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.blip: BlipForConditionalGeneration = new_captioner()
        self.class_head = nn.Linear(WIDTH, len(OBJECTS) + 1)
        self.role_head = nn.Linear(WIDTH, len(ROLES))
        self.background_head = nn.Linear(WIDTH, len(BACKGROUNDS))
        self.kind_head = nn.Linear(WIDTH, len(KINDS))

    def losses(self, batch: Batch, with_captions: bool) -> dict[str, Tensor]:
        """Cross-entropies in nats: per patch (class, role), image (background, kind), token (caption)."""
        seen: Tensor = self.blip.vision_model(pixel_values=batch.pixels).last_hidden_state
        scenes_seen = seen[: batch.scene_count]
        losses = {
            "class": _cross_entropy(self.class_head(seen[:, 1:]), batch.classes),
            "role": _cross_entropy(self.role_head(scenes_seen[:, 1:]), batch.roles),
            "background": _cross_entropy(self.background_head(scenes_seen[:, 0]), batch.backgrounds),
            "kind": _cross_entropy(self.kind_head(scenes_seen[:, 0]), batch.kinds),
        }
        if with_captions:
            logits = self._next_tokens(batch.tokens[:, :-1], scenes_seen)
            losses["caption"] = _cross_entropy(logits, batch.labels)
        return losses

    def _next_tokens(self, tokens: Tensor, seen: Tensor) -> Tensor:
        logits: Tensor = self.blip.text_decoder(
            input_ids=tokens, encoder_hidden_states=seen, is_decoder=True, use_cache=False
        ).logits
        return logits

    @torch.no_grad()
    def greedy(self, images: Tensor, limit: int = 20) -> list[str]:
        """(B, 3, 64, 64) -> a caption each, without the prompt. For the curve: plain, slower than need be."""
        seen = self.blip.vision_model(pixel_values=images).last_hidden_state
        prompt = caption_ids("")[:-1]
        tokens = torch.tensor([prompt] * len(images))
        for _ in range(limit):
            following = self._next_tokens(tokens, seen)[:, -1].argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, following), 1)
            if (tokens == SEP).any(1).all():
                break
        words = list(word_ids())
        return [
            " ".join(words[number] for number in _until_end(row)) for row in tokens[:, len(prompt) :].tolist()
        ]


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(SEP)] if SEP in tokens else tokens


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)


WEIGHTS = {"caption": 1.0, "class": 0.5, "role": 0.3, "background": 0.05, "kind": 0.05}


def train_captioner(
    out: Path, minutes: float, resume: bool = False, seed: int = 0, log: Path | None = None
) -> dict[str, float]:
    """Train for that many CPU-minutes of this process, save to `out`; returns the last figures of the curve.

    `out` also holds `training/`: checkpoint and curve (`log` names another file for it). `resume` goes on
    from the checkpoint; more minutes than before stretch the schedule. `seed` < 900,000 picks weights
    and scenes.
    """
    torch.manual_seed(seed)
    checkpoint_file = out / "training" / "checkpoint.pt"
    checkpoint = load_checkpoint(checkpoint_file) if resume else None
    model = CaptionerInTraining()
    optimizer = MuonWithAdamW(model.named_parameters(), muon_lr=MUON_RATE, adamw_lr=ADAMW_RATE)
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    budget = Budget.start(minutes, checkpoint)
    curve = Curve(log or out / "training" / "curve.jsonl", budget)
    batches = Batches(seed)
    probe = scenes(PROBE_SEED, PROBE_SCENES)
    figures: dict[str, float] = {}
    next_save = budget.spent_seconds + CHECKPOINT_SECONDS
    for means in _steps(model, optimizer, budget, batches):
        if budget.spent_seconds >= next_save or budget.exhausted:
            next_save = budget.spent_seconds + CHECKPOINT_SECONDS
            figures = {**means, **_probe(model, probe)}
            curve.add(**figures)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint_file, budget, state)
    save_captioner(model.blip, out)
    return figures


def _steps(
    model: CaptionerInTraining, optimizer: MuonWithAdamW, budget: Budget, batches: Batches
) -> Iterator[dict[str, float]]:
    """Train until the budget is spent; after each step the running means of the losses, in nats."""
    means: dict[str, float] = {}
    while not budget.exhausted:
        now = plan(budget.fraction)
        batch = batches.make(budget.step, now.batch, now.collage_share, now.paraphrase_share)
        losses = model.losses(batch, now.with_captions)
        optimizer.zero_grad()
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        optimizer.set_rate(budget.rate())
        optimizer.step()
        budget.advance()
        for name, loss in losses.items():
            means[name] = means.get(name, loss.item()) * 0.98 + loss.item() * 0.02
        yield means


@torch.no_grad()
def _probe(model: CaptionerInTraining, probe: list[Scene]) -> dict[str, float]:
    """Shares of the probe's scenes whose greedy caption is right about objects, about all."""
    pixels = torch.stack([torch.from_numpy(to_pixels(render(scene))) for scene in probe])
    scores = [score(caption, scene) for caption, scene in zip(model.greedy(pixels), probe, strict=True)]
    return {
        "probe_objects": sum(judged.objects for judged in scores) / len(scores),
        "probe_full": sum(judged.full for judged in scores) / len(scores),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the embedded captioner.")
    parser.add_argument("--minutes", type=float, default=47.5, help="CPU-minutes of this process")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/training/checkpoint.pt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train_captioner(arguments.out, arguments.minutes, arguments.resume, arguments.seed)


if __name__ == "__main__":
    main()
