"""Judge a caption by the truth of its scene, whatever its case, punctuation and phrasing.

Reads the caption word by word: things with their counts, the relation words between them, and the background.
A caption that names something that is not there is wrong about the objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from models.embedded.world.backgrounds import BACKGROUNDS
from models.embedded.world.captions import NUMBERS
from models.embedded.world.objects import OBJECTS
from models.embedded.world.scene import Scene


@dataclass(frozen=True)
class Score:
    """`objects`: exactly the scene's classes are named. `count`: with their numbers. `relation`: how they
    stand; a list or a single class has none, and none may be claimed. `full`: all of it."""

    objects: bool
    count: bool
    relation: bool
    background: bool

    @property
    def full(self) -> bool:
        return self.objects and self.count and self.relation and self.background


@dataclass(frozen=True)
class Parsed:
    """`things`: (class, count) in order of mention. `relations`: (relation, things named before it)."""

    things: tuple[tuple[str, int], ...]
    relations: tuple[tuple[str, int], ...]
    backgrounds: frozenset[str]


_RELATIONS = {
    "next to": "next",
    "beside": "next",
    "to the left of": "left",
    "left of": "left",
    "to the right of": "right",
    "right of": "right",
    "in front of": "front",
    "behind": "behind",
    "above": "above",
    "over": "above",
    "below": "below",
    "under": "below",
    "underneath": "below",
    "beneath": "below",
}
_COUNTS = {"a": 1, "an": 1, "the": 1, **{word: number for number, word in enumerate(NUMBERS)}}
_COUNTS |= {str(number): number for number in range(1, 10)} | {"five": 5, "six": 6, "several": 9, "many": 9}


@lru_cache(maxsize=1)
def _lexicon() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    """A pattern of every known phrase, longest first, and what each phrase means."""
    meaning: dict[str, tuple[str, str]] = {}
    for known in OBJECTS.values():
        for noun in (known.name, known.plural, *known.synonyms):
            meaning[noun] = ("thing", known.name)
    # The things of a background are not objects: "under the night sky", "in front of a blue wall".
    for background in BACKGROUNDS.values():
        for phrase in (*background.phrases, *background.words):
            meaning[phrase] = ("background", background.name)
    meaning |= {phrase: ("relation", relation) for phrase, relation in _RELATIONS.items()}
    meaning |= {word: ("count", word) for word in _COUNTS}
    phrases = "|".join(re.escape(phrase) for phrase in sorted(meaning, key=len, reverse=True))
    return re.compile(rf"\b(?:{phrases})\b"), meaning


@lru_cache(maxsize=4096)
def parse(caption: str) -> Parsed:
    """What the caption claims. Unknown words say nothing."""
    pattern, meaning = _lexicon()
    text = " ".join(re.findall(r"[a-z0-9]+", caption.lower()))
    things: list[tuple[str, int]] = []
    relations: list[tuple[str, int]] = []
    backgrounds: set[str] = set()
    count = 1
    for match in pattern.finditer(text):
        sort, value = meaning[match.group()]
        if sort == "thing":
            things.append((value, count))
            count = 1
        elif sort == "count":
            count = _COUNTS[value]
        elif sort == "relation":
            relations.append((value, len(things)))
        else:
            backgrounds.add(value)
    return Parsed(tuple(things), tuple(relations), frozenset(backgrounds))


def score(caption: str, scene: Scene) -> Score:
    """How far the caption is true of the scene."""
    parsed = parse(caption)
    named = [name for name, _ in parsed.things]
    wanted = {(name, scene.count) for name in scene.names}
    return Score(
        objects=sorted(named) == sorted(scene.names),
        count=set(parsed.things) == wanted,
        relation=_relation(parsed, scene),
        background=parsed.backgrounds == {scene.background},
    )


_TRUE_RELATIONS = {
    "next": {("next", False), ("next", True), ("left", False), ("right", True)},
    "above": {("above", False), ("below", True)},
    "front": {("front", False), ("behind", True)},
}
"""By kind: the relation, and whether the scene's objects are then named in reverse order."""


def _relation(parsed: Parsed, scene: Scene) -> bool:
    if scene.kind not in _TRUE_RELATIONS:
        return not parsed.relations
    if len(parsed.relations) != 1 or parsed.relations[0][1] != 1:
        return False
    named = tuple(name for name, _ in parsed.things)
    # With a wrong object the relation word alone is judged, by the order of the objects that are right.
    backwards = named == scene.names[::-1] or (
        named != scene.names and any(a == b for a, b in zip(named, scene.names[::-1], strict=False))
    )
    return (parsed.relations[0][0], backwards) in _TRUE_RELATIONS[scene.kind]
