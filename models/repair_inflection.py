"""English inflection as far as captions need it: plurals, and whether two words are forms of one word.

Suffixes and a short table of irregular words; no dictionary. `same_word` would rather call two words the same than
different: it serves a guard that looks for invented words, not a grammar.
"""

from __future__ import annotations

from functools import lru_cache

_IRREGULAR_NOUNS = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "goose": "geese", "knife": "knives", "shelf": "shelves", "leaf": "leaves", "loaf": "loaves",
    "wolf": "wolves", "calf": "calves", "half": "halves", "scarf": "scarves", "wife": "wives", "fireman": "firemen",
    "policeman": "policemen", "snowman": "snowmen", "sheep": "sheep", "deer": "deer", "fish": "fish", "ski": "skis",
    "potato": "potatoes", "tomato": "tomatoes", "bus": "buses",
}  # fmt: skip
_SINGULAR = {many: one for one, many in _IRREGULAR_NOUNS.items()}
_IRREGULAR_VERBS = {
    "ran": "run", "sat": "sit", "stood": "stand", "held": "hold", "wore": "wear", "worn": "wear", "rode": "ride",
    "ridden": "ride", "ate": "eat", "eaten": "eat", "flew": "fly", "flown": "fly", "lay": "lie", "laid": "lie",
    "lying": "lie", "took": "take", "taken": "take", "threw": "throw", "thrown": "throw", "made": "make", "seen": "see",
    "saw": "see", "shown": "show", "lit": "light", "cut": "cut", "caught": "catch", "drove": "drive", "driven": "drive",
    "swam": "swim", "swung": "swing", "slept": "sleep", "hung": "hang", "gave": "give", "given": "give", "lain": "lie",
}  # fmt: skip
# They end in s and are no plurals, or are plurals without a singular.
_NO_PLURAL = frozenset(
    [
        "glass",
        "grass",
        "bus",
        "tennis",
        "dress",
        "is",
        "was",
        "has",
        "this",
        "his",
        "its",
        "canvas",
        "lens",
        "gas",
        "scissors",
        "pants",
        "jeans",
        "shorts",
    ]
)


def singular(word: str) -> str:
    """The singular of a plural noun; the word itself where it does not look like a plural."""
    lower = word.lower()
    if lower in _SINGULAR:
        return _SINGULAR[lower]
    if lower in _NO_PLURAL or len(lower) < 4 or not lower.endswith("s") or lower.endswith(("ss", "us", "'s")):
        return word
    if lower.endswith("ies") and len(lower) > 4:
        return word[:-3] + "y"
    if lower.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return word[:-2]
    return word[:-1]


def plural(word: str) -> str:
    """The plural of a singular noun."""
    lower = word.lower()
    if lower in _IRREGULAR_NOUNS:
        return _IRREGULAR_NOUNS[lower]
    if lower.endswith(("s", "ch", "sh", "x", "zz")):
        return word + "es"
    if lower.endswith("y") and lower[-2:-1] not in {"a", "e", "i", "o", "u"}:
        return word[:-1] + "ies"
    return word + "s"


def same_word(first: str, second: str) -> bool:
    """Whether two words can be forms of one word: "sits" and "sitting", "woman" and "women"."""
    return first.lower() == second.lower() or bool(_stems(first.lower()) & _stems(second.lower()))


@lru_cache(maxsize=32_768)
def _stems(word: str) -> frozenset[str]:
    word = word.removesuffix("'s").removesuffix("'")
    stems = {word, singular(word)}
    if word in _IRREGULAR_VERBS:
        stems.add(_IRREGULAR_VERBS[word])
    for suffix in ("ing", "ed", "es"):
        rest = word.removesuffix(suffix)
        if rest != word and len(rest) >= 2:
            stems |= {rest, rest + "e"}
            if len(rest) > 2 and rest[-1] == rest[-2]:
                stems.add(rest[:-1])
            if suffix == "ed" and rest.endswith("i"):
                stems.add(rest[:-1] + "y")
    return frozenset(stems)
