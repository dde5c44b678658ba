"""Measure a repairer: `python -m models.embedded.train.repairer_measure --reference CAPTIONS.json [--model DIR]`.

On captions that no training saw: how many mistakes it undoes exactly, by kind, against the rules alone; and how many
right captions it changes. `--tune` also finds the margin below which the model's answers do not count, on captions
apart from those that are measured, and writes it into DIR's config.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from models.embedded.train.repairer_data import held_out_pairs, read_coco, world_captions
from models.embedded.world import HELD_OUT_SEED, captions, scenes, score
from models.profiles import get_profile
from models.repair_rules import apply_rules, bare
from models.repairer import Repairer, mend

# The model may change this share of COCO captions as people wrote them. About half of these changes are repairs (people
# err, too), and what a run tolerates is 2 % of right captions made wrong, with the changes of the rules.
MOST_RIGHT_CHANGED = 0.012
MARGINS = (0.0, 0.5, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 4.0, 5.0, 7.0, 10.0)
PAIRS = 2_600
SCENES = 1_000


def repair_rates(repairer: Repairer, right: Sequence[str], pairs: int = PAIRS) -> dict[str, object]:
    """Share of planted mistakes that are undone exactly: in all, by rules and spelling alone, and by kind."""
    planted = held_out_pairs(list(right), seed=1, count=pairs)
    started = time.process_time()
    repairs = repairer.repair([wrong for _, wrong, _ in planted])
    milliseconds = 1000 * (time.process_time() - started) / len(planted)
    by_kind: defaultdict[str, list[bool]] = defaultdict(list)
    for (kind, _, caption), repair in zip(planted, repairs, strict=True):
        by_kind[kind].append(repair.text == caption)
    return {
        "exact": _share(
            repair.text == caption for (_, _, caption), repair in zip(planted, repairs, strict=True)
        ),
        "exact_rules_and_spelling": _share(
            mend(wrong, repairer.speller) == caption for _, wrong, caption in planted
        ),
        "by_kind": {kind: _share(hits) for kind, hits in sorted(by_kind.items())},
        "reasons": dict(Counter(repair.reason for repair in repairs).most_common()),
        "cpu_milliseconds_per_caption": round(milliseconds, 2),
    }


def right_coco_changed(repairer: Repairer, written: Sequence[str]) -> dict[str, float]:
    """Share of captions, as people wrote them, that change in more than capital and period."""
    repairs = repairer.repair(written)
    changed = [
        repair.reason
        for caption, repair in zip(written, repairs, strict=True)
        if bare(caption) != bare(repair.text)
    ]
    return {
        "changed": _share_of(len(changed), len(written)),
        # Most of these are wrong captions that the rules mend ("a elephant").
        "changed_by_rules": _share(
            bare(caption) != bare(mend(caption, repairer.speller)) for caption in written
        ),
        "changed_by_model": _share_of(changed.count("model"), len(written)),
    }


def right_world_harmed(repairer: Repairer, count: int = SCENES) -> dict[str, float]:
    """Of every phrasing of held-out scenes: share whose text changes, share that the world calls wrong then."""
    told = [(caption, scene) for scene in scenes(HELD_OUT_SEED, count) for caption in captions(scene)]
    repairs = repairer.repair([caption for caption, _ in told])
    return {
        "captions": len(told),
        "changed": _share(bare(c) != bare(repair.text) for (c, _), repair in zip(told, repairs, strict=True)),
        "made_wrong": _share(
            not score(r.text, scene).full for (_, scene), r in zip(told, repairs, strict=True)
        ),
    }


def choose_margin(
    repairer: Repairer, written: Sequence[str], most_changed: float = MOST_RIGHT_CHANGED
) -> float:
    """The smallest of `MARGINS` with which the model changes at most that share of right captions."""
    for margin in MARGINS:
        repairer.margin = margin
        if right_coco_changed(repairer, written)["changed_by_model"] <= most_changed:
            break
    return margin


def measure(repairer: Repairer, reference: Path) -> dict[str, object]:
    written = read_coco(reference, "test")
    return {
        "margin": repairer.margin,
        "coco": repair_rates(repairer, [apply_rules(caption) for caption in written]),
        "world": repair_rates(
            repairer, [apply_rules(caption) for caption in world_captions(HELD_OUT_SEED, SCENES)]
        ),
        "coco_right": {"captions": len(written), **right_coco_changed(repairer, written)},
        "world_right": right_world_harmed(repairer),
    }


def _share(hits: Iterable[bool]) -> float:
    flags = list(hits)
    return _share_of(sum(flags), len(flags))


def _share_of(part: int, whole: int) -> float:
    return round(part / max(1, whole), 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--reference", type=Path, required=True, help="MS COCO captions_*.json, as in training"
    )
    parser.add_argument("--model", type=Path, help="default: the shipped one")
    parser.add_argument(
        "--tune", action="store_true", help="choose the margin and write it into the model's config"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = str(arguments.model) if arguments.model else get_profile("embedded").repairer.source
    repairer = Repairer.load(source)
    if arguments.tune:
        margin = choose_margin(repairer, read_coco(arguments.reference, "tune"))
        path = Path(source) / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["cocoscribe"]["margin"] = margin
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(measure(repairer, arguments.reference), indent=2))


if __name__ == "__main__":
    main()
