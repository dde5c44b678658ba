"""Measure the embedded family on held-out scenes: `python -m models.embedded.evaluate --out models/embedded/README.md`.

The world's truth answers what no real data set can: how often a caption is right, whether ranking chooses better
captions than chance, whether repair harms right ones. Uses the family through its public interfaces alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from models.captioner import Captioner
from models.embedded.evaluation_card import Evaluation, Row, write_card
from models.embedded.world import HELD_OUT_SEED, KINDS, Scene, captions, render, scenes, score
from models.profiles import Profile, get_profile
from models.ranker import Ranker
from models.repairer import Repairer
from models.sampling import Sampling

IMAGE_SIZE = 192
JPEG_QUALITY = 90
"""As the demo's images are rendered."""
CHUNK = 50
"""Images held at a time."""


@dataclass(frozen=True)
class Choices:
    """For one scene: the greedy caption, the unique candidates, and the index of the one each way of ranking puts
    first. `both` is the pipeline's: ranker 1 keeps a few, ranker 2 chooses among them."""

    scene: Scene
    greedy: str
    candidates: tuple[str, ...]
    ranker1: int
    ranker2: int
    both: int
    repaired: str


@dataclass(frozen=True)
class Family:
    """The four models of a profile, loaded."""

    captioner: Captioner
    ranker1: Ranker
    ranker2: Ranker
    repairer: Repairer

    @classmethod
    def load(cls, profile: Profile) -> Family:
        """Raises ValueError for a profile without a second ranker."""
        if profile.ranker2 is None:
            raise ValueError(f"profile {profile.name!r} has one ranker; this compares two")
        return cls(
            Captioner.load(profile.captioner.source, revision=profile.captioner.revision),
            Ranker.load(profile.ranker1.name, profile.ranker1.pretrained),
            Ranker.load(profile.ranker2.name, profile.ranker2.pretrained),
            Repairer.load(
                profile.repairer.source,
                revision=profile.repairer.revision,
                instruction=profile.repairer.instruction,
            ),
        )


def greedy_of(sampling: Sampling) -> Sampling:
    """The same lengths, one candidate, always the likeliest token."""
    longest = max(sampling.per_candidate(sampling.max_new_tokens))
    shortest = min(sampling.per_candidate(sampling.min_new_tokens))
    return replace(
        sampling,
        candidates=1,
        top_p=0.0,
        top_k=0,
        repetition_penalty=1.0,
        min_new_tokens=shortest,
        max_new_tokens=longest,
    )


def choose(family: Family, drawn: Sequence[Scene], sampling: Sampling, keep: int) -> list[Choices]:
    """Run the family over the scenes' images, as the pipeline would."""
    choices: list[Choices] = []
    for start in range(0, len(drawn), CHUNK):
        part = drawn[start : start + CHUNK]
        images = [render(scene, IMAGE_SIZE, JPEG_QUALITY) for scene in part]
        choices += _choose_part(family, part, images, sampling, keep)
    return choices


def _choose_part(
    family: Family, part: Sequence[Scene], images: Sequence[Image.Image], sampling: Sampling, keep: int
) -> list[Choices]:
    keys = [f"{scene.seed}-{scene.index}" for scene in part]
    greedy = [found[0].text for found in family.captioner.caption(images, keys, greedy_of(sampling))]
    found = family.captioner.caption(images, keys, sampling)
    texts = [tuple(candidate.text for candidate in candidates) for candidates in found]
    first = family.ranker1.similarities(images, texts)
    second = family.ranker2.similarities(images, texts)
    tops1 = [_best(similarities) for similarities in first]
    tops2 = [_best(similarities) for similarities in second]
    both = [
        max(_order(coarse)[:keep], key=fine.__getitem__) for coarse, fine in zip(first, second, strict=True)
    ]
    repairs = family.repairer.repair([text[top] for text, top in zip(texts, both, strict=True)])
    return [
        Choices(scene, *rest)
        for scene, *rest in zip(
            part, greedy, texts, tops1, tops2, both, (repair.text for repair in repairs), strict=True
        )
    ]


def _order(similarities: Sequence[float]) -> list[int]:
    return sorted(range(len(similarities)), key=lambda index: -similarities[index])


def _best(similarities: Sequence[float]) -> int:
    return _order(similarities)[0]


def _shares(pairs: Sequence[tuple[str, Scene]]) -> Row:
    """Shares of captions that are right about each part."""
    judged = [score(caption, scene) for caption, scene in pairs]
    parts = ("objects", "count", "relation", "background", "full")
    return {part: sum(bool(getattr(one, part)) for one in judged) / max(1, len(judged)) for part in parts}


def by_way(choices: Sequence[Choices]) -> dict[str, Row]:
    """How right the captions are that each way of choosing gives. A first candidate is one draw of the captioner; a
    random one is drawn among those that ranking sees, which are unique."""
    picks = {
        "greedy": [one.greedy for one in choices],
        "first candidate": [one.candidates[0] for one in choices],
        "ranker 1": [one.candidates[one.ranker1] for one in choices],
        "ranker 2": [one.candidates[one.ranker2] for one in choices],
        "both rankers": [one.candidates[one.both] for one in choices],
        "both rankers, repaired": [one.repaired for one in choices],
    }
    drawn = [one.scene for one in choices]
    ways = {way: _shares(list(zip(texts, drawn, strict=True))) for way, texts in picks.items()}
    each = [_shares([(text, one.scene) for text in one.candidates]) for one in choices]
    random = {part: sum(row[part] for row in each) / len(each) for part in each[0]}
    return {"random candidate": random, **ways}


def by_kind(choices: Sequence[Choices]) -> dict[str, Row]:
    """How right the final captions are for each kind of scene."""
    return {
        kind: _shares([(one.repaired, one.scene) for one in choices if one.scene.kind == kind])
        for kind in KINDS
    }


def facts(choices: Sequence[Choices]) -> dict[str, float]:
    """What does not fit a table; shares between 0 and 1 but for the first."""
    tops = [(one, one.candidates[one.both]) for one in choices]
    right = [(one, top) for one, top in tops if score(top, one.scene).full]
    return {
        "unique candidates": sum(len(one.candidates) for one in choices) / len(choices),
        "scenes with a right candidate": _share(
            [any(score(text, one.scene).full for text in one.candidates) for one in choices]
        ),
        "repair changes words of the chosen caption": _share(
            [_words(one.repaired) != _words(top) for one, top in tops]
        ),
        "repair makes a right caption wrong": _share(
            [not score(one.repaired, one.scene).full for one, _ in right]
        ),
    }


def repair_of_truth(repairer: Repairer, drawn: Sequence[Scene]) -> float:
    """Share of true captions, one a scene, whose words repair changes."""
    true = [captions(scene)[scene.index % len(captions(scene))] for scene in drawn]
    repairs = repairer.repair(true)
    return _share([_words(repair.text) != _words(text) for repair, text in zip(repairs, true, strict=True)])


def _share(judged: Sequence[bool]) -> float:
    return sum(judged) / max(1, len(judged))


def _words(text: str) -> list[str]:
    return text.lower().replace(",", " ").replace(".", " ").split()


def evaluate(profile: Profile, sampling: Sampling, scene_count: int) -> Evaluation:
    """Measure the profile's models with that sampling on the first held-out scenes."""
    family = Family.load(profile)
    drawn = scenes(HELD_OUT_SEED, scene_count)
    started = time.process_time()
    choices = choose(family, drawn, sampling, profile.keep)
    seconds = time.process_time() - started
    return Evaluation(
        scenes=scene_count,
        seed=HELD_OUT_SEED,
        top_p=max(sampling.per_candidate(sampling.top_p)),
        cpu_seconds_per_image=round(seconds / scene_count, 3),
        ways=by_way(choices),
        kinds=by_kind(choices),
        facts={
            **facts(choices),
            "repair changes words of a true caption": repair_of_truth(family.repairer, drawn),
        },
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the embedded family on held-out scenes.")
    parser.add_argument("--out", type=Path, help="model card whose table of figures is rewritten")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--profile", default="embedded")
    parser.add_argument("--top-p", type=float, help="instead of the profile's")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    profile = get_profile(arguments.profile)
    sampling = profile.sampling
    if arguments.top_p is not None:
        sampling = replace(sampling, top_p=arguments.top_p)
    evaluation = evaluate(profile, sampling, arguments.scenes)
    text = json.dumps(asdict(evaluation), indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    if arguments.out:
        write_card(arguments.out, evaluation)


if __name__ == "__main__":
    main()
