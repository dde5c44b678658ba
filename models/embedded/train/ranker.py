"""Train one of the two embedded rankers and write it as a directory that open_clip loads.

    python -m models.embedded.train.ranker ranker2 --minutes 7 --out DIR [--resume] [--seed N]

Two phases in one run. First what is where: mostly collages, dense targets and read-outs, both towers apart.
Then the contrastive phase with hard negatives, which keeps the rest as company. Minutes are CPU-minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from models.embedded.train.budget import Budget, Curve, load_checkpoint, save_checkpoint
from models.embedded.train.muon import MuonWithAdamW
from models.embedded.train.ranker_batches import Batch, Mined, make_batch, preprocessing
from models.embedded.train.ranker_learner import Learner
from models.embedded.train.ranker_mining import load_mined
from models.embedded.train.ranker_model import (
    VISION_TOWERS,
    build_model,
    build_tokenizer,
    encode_text,
    model_config,
    save_ranker,
    tokenize,
)
from models.embedded.train.ranker_trial import Trial, try_ranker
from models.embedded.world import vocabulary

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Recipe:
    """Found in trials on one core, see the model card."""

    batch: int = 36
    dense_until: float = 0.22  # share of the budget before captions and images meet
    collages_first: float = 0.7  # share of the batch in the dense phase, and at the end
    collages_last: float = 0.15
    muon_lr: float = 0.015
    contrastive_muon: float = 0.4  # .006: at .02 the contrastive phase fell apart
    adamw_lr: float = 1.5e-3
    fact_weight: float = 0.2  # per tower, over the sum of six facts
    dense_weight: float = 0.5
    checkpoint_every_seconds: float = 60.0
    report_every_steps: int = 50


def collage_number(recipe: Recipe, fraction: float) -> int:
    """Collages in a batch with ``fraction`` of the budget spent: many, then linearly fewer until the middle."""
    falling = min(1.0, max(0.0, (fraction - recipe.dense_until) / (0.5 - recipe.dense_until)))
    share = recipe.collages_first + falling * (recipe.collages_last - recipe.collages_first)
    return min(recipe.batch - 2, round(recipe.batch * share))


class Training:
    """One ranker's run: model, optimiser, budget, curve, and the directory where they live."""

    def __init__(
        self,
        ranker: str,
        out: Path,
        minutes: float,
        *,
        resume: bool = False,
        mined: Sequence[Mined] = (),
        seed: int = 1,
        recipe: Recipe | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.out, self.seed, self.recipe, self.mined = out, seed, recipe or Recipe(), mined
        self.tokenizer = build_tokenizer(word for word in vocabulary() if word.isalnum())
        self.config = model_config(ranker, len(self.tokenizer))
        self.learner = Learner(build_model(self.config))
        self.optimizer = MuonWithAdamW(
            self.learner.named_parameters(), muon_lr=self.recipe.muon_lr, adamw_lr=self.recipe.adamw_lr
        )
        self.transform = preprocessing()
        checkpoint = load_checkpoint(out / CHECKPOINT) if resume else None
        if checkpoint is not None:
            self.learner.load_state_dict(checkpoint["learner"])
            self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.budget = Budget.start(minutes, checkpoint)
        self.curve = Curve(out / CURVE, self.budget)

    def run(self) -> None:
        """Train until the budget is spent."""
        self.learner.train()
        saved_at = self.budget.spent_seconds
        while not self.budget.exhausted:
            self._step()
            if self.budget.spent_seconds - saved_at > self.recipe.checkpoint_every_seconds:
                self.checkpoint()
                saved_at = self.budget.spent_seconds
        self.checkpoint()

    def _step(self) -> None:
        recipe, fraction = self.recipe, self.budget.fraction
        contrastive = fraction >= recipe.dense_until
        batch = self.batch(self.budget.step, collage_number(recipe, fraction))
        rate = self.budget.rate()
        self.optimizer.set_rate(rate, rate * (recipe.contrastive_muon if contrastive else 1.0))
        losses = self.learner.losses(batch, tokenize(self.tokenizer, batch.texts))
        loss = (
            recipe.fact_weight * (losses.image_facts + losses.text_facts) + recipe.dense_weight * losses.dense
        )
        if contrastive:
            loss = loss + losses.contrastive
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimizer.step()
        self.budget.advance()
        if self.budget.step % recipe.report_every_steps == 0:
            self.curve.add(
                contrastive=losses.contrastive.item(),
                dense=losses.dense.item(),
                image_facts=losses.image_facts.item(),
                text_facts=losses.text_facts.item(),
                top1=losses.top1,
                rate=rate,
            )

    def batch(self, number: int, collages: int) -> Batch:
        return make_batch(
            self.seed, number, self.recipe.batch, collages, self.learner.grid, self.transform, self.mined
        )

    def checkpoint(self) -> None:
        state = {"learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_checkpoint(self.out / CHECKPOINT, self.budget, state)

    def save(self) -> None:
        """The model without its training heads, for open_clip."""
        save_ranker(self.learner.clip, self.tokenizer, self.config, self.out / "model")

    def try_out(self, number: int = 500) -> Trial:
        self.learner.eval()

        def images(pictures: Sequence[Image.Image]) -> Tensor:
            return self.learner.encode_image(torch.stack([self.transform(picture) for picture in pictures]))[
                0
            ]

        def texts(captions: Sequence[str]) -> Tensor:
            return encode_text(self.learner.clip, tokenize(self.tokenizer, captions))

        return try_ranker(images, texts, number)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ranker", choices=sorted(VISION_TOWERS))
    parser.add_argument(
        "--minutes", type=float, required=True, help="CPU-minutes, a resumed run's earlier ones included"
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, curve, and model/ when done")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint; more minutes stretch the schedule"
    )
    parser.add_argument("--mined", type=Path, help="a captioner's mistakes, from ranker_mining")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    training = Training(
        arguments.ranker,
        arguments.out,
        arguments.minutes,
        resume=arguments.resume,
        mined=load_mined(arguments.mined) if arguments.mined else (),
        seed=arguments.seed,
    )
    training.run()
    training.save()
    training.curve.add(**training.try_out().figures())


if __name__ == "__main__":
    main()
