"""Right captions to learn from, and pairs of wrong and right made of them.

COCO captions come from a file that the user names (MS COCO `captions_*.json`), split by image so that no image's
captions are on both sides; world captions from the scenes' own generator. Knows nothing of models.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.embedded.train.repairer_corruptions import CORRUPTIONS, corrupt
from models.embedded.world import captions as scene_captions
from models.embedded.world import scenes
from models.repair_case import CASE_MARKER
from models.repair_rules import apply_rules
from models.repair_spelling import Speller
from models.repairer import mend

Split = Literal["train", "tune", "test"]
TRAINING_SEED = 11
_MAX_WORDS = 28
# Share of captions that get no mistake, one, two, three. Rules and spelling mend every third pair.
_MISTAKES = ((0, 0.22), (1, 0.5), (2, 0.22), (3, 0.06))
# Captioners write lower case: most inputs do.
_LOWER_SHARE = 0.45
# Names and rare words must survive, so some words are replaced by made-up ones, on both sides.
_MADE_UP_SHARE = 0.08
# The rest is left to rules and spelling; lower case is so common that it is drawn apart.
_LEARNED = (
    *(
        "drop article",
        "wrong article",
        "double word",
        "double phrase",
        "noun number",
        "verb number",
        "verb form",
    ),
    *("drop preposition", "punctuation"),
)
_ARTICLE_SHARE = 0.4


@dataclass(frozen=True)
class Captions:
    """Right captions, in the form that a repair should give: capital, final period, single spaces."""

    coco: list[str]
    world: list[str]
    speller: Speller


def read_coco(path: Path, split: Split) -> list[str]:
    """Captions of one split of the file's images, as they were written, in file order.

    Left out: fewer than 4 or more than 28 words, all capitals, characters other than ASCII. Raises `ValueError` if
    the file holds no COCO annotations.
    """
    try:
        annotations = json.loads(path.read_text(encoding="utf-8"))["annotations"]
        rows = [(int(row["image_id"]), str(row["caption"])) for row in annotations]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no COCO caption file (a JSON object with annotations): {error}"
        ) from error
    wanted = (caption for image, caption in rows if _split_of(image) == split)
    return [caption for caption in wanted if _usable(caption)]


def _split_of(image: int) -> Split:
    """Four fifths of the images to learn from; a tenth to choose the margin on; a tenth to measure on."""
    if image % 10 == 0:
        return "test"
    return "tune" if image % 10 == 5 else "train"


def _usable(caption: str) -> bool:
    words = caption.split()
    plain = caption.isascii() and CASE_MARKER not in caption and not caption.isupper()
    return plain and 4 <= len(words) <= _MAX_WORDS


def world_captions(seed: int, count: int) -> list[str]:
    """One caption of each of ``count`` scenes, any of its phrasings, lower case without period."""
    rng = random.Random(f"captions {seed}")
    return [rng.choice(scene_captions(scene)) for scene in scenes(seed, count)]


def training_captions(reference: Path, world_count: int = 20_000) -> Captions:
    coco = [apply_rules(caption) for caption in read_coco(reference, "train")]
    world = [apply_rules(caption) for caption in world_captions(TRAINING_SEED, world_count)]
    speller = Speller(_count_words(coco + world))
    return Captions([mend(caption, speller) for caption in coco], world, speller)


def _count_words(captions: Sequence[str]) -> dict[str, int]:
    """Of words seen at least twice: what is seen once may be a slip itself."""
    counts: Counter[str] = Counter()
    for text in captions:
        counts.update(word.strip(".,;:!?\"'()").lower() for word in text.split())
    return {word: count for word, count in counts.items() if count > 1 and word.isalpha()}


def make_pair(captions: Captions, rng: random.Random, world_share: float = 0.25) -> tuple[str, str]:
    """(what rules and spelling leave of a wrong caption, the right caption)."""
    of_world = rng.random() < world_share
    right = rng.choice(captions.world if of_world else captions.coco)
    if rng.random() < _MADE_UP_SHARE:
        changed = _with_made_up_word(right, rng)
        right = changed if mend(changed, captions.speller) == changed else right
    mistakes = rng.choices([count for count, _ in _MISTAKES], [share for _, share in _MISTAKES])[0]
    # People leave articles out, too: from COCO the model cannot learn so well when that is a mistake.
    kinds = _LEARNED if of_world or rng.random() < _ARTICLE_SHARE else _LEARNED[1:]
    wrong = corrupt(right, rng, mistakes, kinds)
    if rng.random() < _LOWER_SHARE:
        wrong = wrong.lower()
    return mend(wrong, captions.speller), right


def _with_made_up_word(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    place = rng.randrange(1, len(words)) if len(words) > 1 else 0
    ending = words[place][-1:] if words[place][-1:] in {".", ","} else ""
    word = "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(1, 3)))
    word += rng.choice(["", "n", "r", "s", "ck", "t"])
    words[place] = (word.capitalize() if rng.random() < 0.3 else word) + ending
    return " ".join(words)


def held_out_pairs(right: list[str], seed: int, count: int) -> list[tuple[str, str, str]]:
    """(kind, wrong caption, right caption): one mistake each, kinds drawn evenly; a missing period alone is none."""
    rng = random.Random(f"held out {seed}")
    pairs: list[tuple[str, str, str]] = []
    while len(pairs) < count:
        kind = rng.choice(tuple(CORRUPTIONS))
        caption = rng.choice(right)
        wrong = corrupt(caption, rng, 1, (kind,))
        if wrong.rstrip(".") != caption.rstrip("."):
            pairs.append((kind, wrong, caption))
    return pairs
