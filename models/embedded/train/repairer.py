"""Train the embedded repairer: `python -m models.embedded.train.repairer --reference CAPTIONS.json --out DIR`.

Right captions (COCO annotations that the user names, and the world's) are spoiled, put through the rules as the
repairer does, and a small T5 that starts as a copier learns to give the right caption back. The budget is in
CPU-seconds of one thread; `--resume` goes on from the last checkpoint, with more minutes on a longer schedule. DIR gets
what `models.repairer.Repairer.load` reads: fp16 safetensors, config, tokenizer and the words it knows.
"""

from __future__ import annotations

import argparse
import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from models.embedded.train.budget import Budget, Curve, load_checkpoint, save_checkpoint
from models.embedded.train.muon import MuonWithAdamW
from models.embedded.train.repairer_data import Captions, make_pair, training_captions
from models.embedded.train.repairer_model import build_model, train_tokenizer
from models.repair_case import CASE_MARKER, mark_case
from models.repair_spelling import Speller
from models.repairer import WORDS_FILE

IGNORED = -100
_REPORT_SECONDS, _CHECKPOINT_SECONDS = 15.0, 60.0
_POOL = 2_048


@dataclass(frozen=True)
class Settings:
    """Of one training run; the values are those that shipped."""

    batch: int = 32
    muon_lr: float = 0.01
    adamw_lr: float = 1.5e-3
    clip_norm: float = 1.0
    world_share: float = 0.25
    # The model's answer counts only if it is this many nats more likely than leaving the caption alone.
    margin: float = 1.0
    # Weight of the tokens where right and wrong differ; nine of ten are mere copies.
    edit_weight: float = 2.0


def train_repairer(
    out: Path,
    minutes: float,
    reference: Path,
    *,
    resume: bool = False,
    seed: int = 0,
    settings: Settings | None = None,
    world_count: int = 20_000,
) -> None:
    """Train into ``out``. Raises `ValueError` for a reference that is no COCO caption file."""
    settings = settings or Settings()
    torch.set_num_threads(1)
    captions = training_captions(reference, world_count)
    tokenizer = train_tokenizer(
        [mark_case(text) for text in captions.coco + captions.world[: len(captions.coco) // 3]]
    )
    model = build_model(tokenizer, seed)
    optimizer = MuonWithAdamW(model.named_parameters(), muon_lr=settings.muon_lr, adamw_lr=settings.adamw_lr)
    checkpoint_path = out / "checkpoint.pt"
    checkpoint = load_checkpoint(checkpoint_path) if resume else None
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    budget = Budget.start(minutes, checkpoint)
    curve = Curve(out / "curve.jsonl", budget)
    # Another stream after each resumption: the pairs are made as they are needed.
    batches = _batches(captions, tokenizer, random.Random(f"{seed} {budget.step}"), settings)
    losses: list[float] = []
    reported = saved = budget.spent_seconds
    model.train()
    while not budget.exhausted:
        optimizer.set_rate(budget.rate())
        optimizer.zero_grad()
        loss = sequence_loss(model, *next(batches))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        budget.advance()
        losses.append(loss.item())
        if budget.spent_seconds - reported >= _REPORT_SECONDS:
            reported = budget.spent_seconds
            curve.add(loss=sum(losses) / len(losses), rate=budget.rate())
            losses.clear()
        if budget.spent_seconds - saved >= _CHECKPOINT_SECONDS:
            saved = budget.spent_seconds
            save_checkpoint(
                checkpoint_path, budget, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            )
    if losses:
        curve.add(loss=sum(losses) / len(losses), rate=budget.rate())
    save_checkpoint(
        checkpoint_path, budget, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    )
    export(model, tokenizer, captions.speller, out, settings.margin)


def sequence_loss(
    model: T5ForConditionalGeneration, inputs: Tensor, mask: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Weighted mean cross-entropy per label; all ``(B, tokens)``, labels `IGNORED` and weights 0 where padded."""
    logits = model(input_ids=inputs, attention_mask=mask, labels=labels).logits
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return (each * weights.flatten()).sum() / weights.sum()


def encode_pairs(
    tokenizer: PreTrainedTokenizerFast, pairs: Sequence[tuple[str, str]], edit_weight: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input ids, mask, labels and weights of (wrong, right) pairs. Labels lack the start: the decoder adds it."""
    inputs = tokenizer([mark_case(wrong) for wrong, _ in pairs], padding=True, return_tensors="pt")
    rights = tokenizer([mark_case(right) for _, right in pairs], padding=True, return_tensors="pt")
    labels = rights["input_ids"][:, 1:].masked_fill(rights["attention_mask"][:, 1:] == 0, IGNORED)
    weights = (labels != IGNORED).float()
    if edit_weight != 1:
        for row, (wrong, right) in enumerate(zip(inputs["input_ids"].tolist(), labels.tolist(), strict=True)):
            if wrong[1 : 1 + len(right)] != right[: len(wrong) - 1]:
                weights[row, _edited(wrong[1:], right)] *= edit_weight
    return inputs["input_ids"], inputs["attention_mask"], labels, weights


def _edited(wrong: list[int], right: list[int]) -> list[int]:
    """Places of ``right`` that are no copy of ``wrong``, and those where something of it was left out."""
    edits = SequenceMatcher(None, wrong, right, autojunk=False).get_opcodes()
    return [
        place
        for kind, _, _, start, end in edits
        if kind != "equal"
        for place in range(start, max(end, start + 1))
        if place < len(right)
    ]


def _batches(
    captions: Captions, tokenizer: PreTrainedTokenizerFast, rng: random.Random, settings: Settings
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Endless batches of like length, from a pool that is sorted by length and drawn in random order."""
    while True:
        pool = [make_pair(captions, rng, settings.world_share) for _ in range(_POOL)]
        pool.sort(key=lambda pair: len(pair[0]))
        starts = list(range(0, _POOL, settings.batch))
        rng.shuffle(starts)
        for start in starts:
            yield encode_pairs(tokenizer, pool[start : start + settings.batch], settings.edit_weight)


def export(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    speller: Speller,
    out: Path,
    margin: float,
) -> None:
    """Write the directory that `Repairer.load` reads, next to the checkpoint and the curve."""
    # A copy in half precision, not a converted state: tied tables stay tied, and are stored once.
    half = copy.deepcopy(model).to(torch.float16)
    half.config.cocoscribe = {"case_marker": CASE_MARKER, "margin": margin}
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
    speller.write(out / WORDS_FILE)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=12.0, help="CPU-minutes of one thread")
    parser.add_argument("--reference", type=Path, required=True, help="MS COCO captions_*.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from DIR/checkpoint.pt")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train_repairer(
        arguments.out, arguments.minutes, arguments.reference, resume=arguments.resume, seed=arguments.seed
    )


if __name__ == "__main__":
    main()
