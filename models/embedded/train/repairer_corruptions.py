"""Mistakes put into right captions, by name: what the repairer learns to undo.

A corruption takes the words of a caption and a random generator, and gives the words of a wrong one, or None
where it finds nothing to spoil. It knows nothing of models.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable

from models.repair_inflection import plural, singular

Words = list[str]

_NUMBERS = frozenset(("two", "three", "four", "five", "six", "several", "many", "some", "few"))
_ARTICLES = frozenset(["a", "an", "the"])
_BE_HAVE = {"is": "are", "are": "is", "was": "were", "were": "was", "has": "have", "have": "has"}
# Verbs that captions use in the present tense; stems that take "es" are written out.
_VERBS = {
    **{
        verb: verb + "s"
        for verb in (
            "sit",
            "stand",
            "hold",
            "wear",
            "ride",
            "play",
            "walk",
            "run",
            "look",
            "lie",
            "eat",
            "fly",
            "rest",
            "wait",
            "show",
            "contain",
            "jump",
            "swing",
            "drive",
            "travel",
            "hang",
            "lean",
            "lay",
            "swim",
            "graze",
            "talk",
            "use",
            "take",
            "throw",
            "hit",
            "pose",
            "smile",
            "move",
            "sleep",
            "face",
            "read",
            "prepare",
            "skate",
            "surf",
            "ski",
        )
    },
    "catch": "catches",
    "watch": "watches",
    "pass": "passes",
    "reach": "reaches",
    "cross": "crosses",
    "carry": "carries",
}
_VERB_NUMBER = {**_VERBS, **{third: stem for stem, third in _VERBS.items()}, **_BE_HAVE}
# "on top of", "next to": the second or third word can be told from the others.
_FIXED_PHRASES = (
    ("next", "to"), ("front", "of"), ("top", "of"), ("group", "of"), ("couple", "of"), ("close", "up"), ("bunch", "of"),
    ("filled", "with"), ("covered", "in"), ("covered", "with"), ("pile", "of"), ("piece", "of"), ("side", "of"),
    ("full", "of"), ("lots", "of"), ("plate", "of"), ("bowl", "of"), ("view", "of"), ("slice", "of"), ("cup", "of"),
    ("left", "of"), ("right", "of"), ("picture", "of"), ("middle", "of"), ("attached", "to"), ("variety", "of"),
)  # fmt: skip
_PREPOSITIONS = frozenset(["in", "on", "of", "with", "at", "to"])

# A noun before one of these is the head of its phrase.
_AFTER_NOUN = frozenset(
    [
        "in",
        "on",
        "of",
        "with",
        "at",
        "to",
        "and",
        "is",
        "that",
        "sitting",
        "standing",
        "next",
        "near",
        "holding",
        "riding",
        "by",
        "above",
        "below",
        "behind",
    ]
)
# No comma follows these within a caption.
_NO_COMMA_AFTER = frozenset(
    ["a", "an", "the", "of", "on", "in", "at", "two", "three", "is", "are", "his", "her", "next"]
)


def _pick(rng: random.Random, places: list[int]) -> int | None:
    return rng.choice(places) if places else None


def drop_article(words: Words, rng: random.Random) -> Words | None:
    place = _pick(rng, [i for i, word in enumerate(words[:-1]) if word.lower() in _ARTICLES])
    return None if place is None else words[:place] + words[place + 1 :]


def wrong_article(words: Words, rng: random.Random) -> Words | None:
    place = _pick(rng, [i for i, word in enumerate(words) if word.lower() in {"a", "an"}])
    if place is None:
        return None
    return [*words[:place], "an" if words[place].lower() == "a" else "a", *words[place + 1 :]]


def double_word(words: Words, rng: random.Random) -> Words | None:
    place = _pick(rng, [i for i, word in enumerate(words) if word.isalpha()])
    return None if place is None else words[: place + 1] + words[place:]


def double_phrase(words: Words, rng: random.Random) -> Words | None:
    length = rng.randint(2, 5)
    if len(words) < length + 1:
        return None
    place = rng.randint(0, len(words) - length)
    phrase = words[place : place + length]
    if any(not word.isalpha() for word in phrase):
        return None
    joint = rng.choice([[], [], [], ["and"]])
    return words[: place + length] + joint + words[place:]


def noun_number(words: Words, rng: random.Random) -> Words | None:
    """ "two dogs" -> "two dog", "a dog" -> "a dogs"."""
    counted = [
        i + 1
        for i, word in enumerate(words[:-1])
        if word.lower() in _NUMBERS and singular(words[i + 1]) != words[i + 1]
    ]
    single = [
        i + 1
        for i, word in enumerate(words[:-1])
        if word.lower() in {"a", "an"}
        and words[i + 1].isalpha()
        and (i + 2 >= len(words) or words[i + 2].lower() in _AFTER_NOUN)
    ]
    place = _pick(rng, counted if counted and rng.random() < 0.8 else single)
    if place is None:
        return None
    changed = singular(words[place]) if place in counted else plural(words[place])
    return None if changed == words[place] else [*words[:place], changed, *words[place + 1 :]]


def verb_number(words: Words, rng: random.Random) -> Words | None:
    """ "a dog sits" -> "a dog sit", "two dogs are" -> "two dogs is"."""
    place = _pick(rng, [i for i, word in enumerate(words) if i > 0 and word in _VERB_NUMBER])
    return None if place is None else [*words[:place], _VERB_NUMBER[words[place]], *words[place + 1 :]]


def verb_form(words: Words, rng: random.Random) -> Words | None:
    """ "is standing" -> "is stand"."""
    places = [
        i
        for i, word in enumerate(words)
        if i > 0 and words[i - 1] in {"is", "are"} and word.endswith("ing") and len(word) > 5
    ]
    place = _pick(rng, places)
    if place is None:
        return None
    stem = words[place][:-3]
    if stem + "e" in _VERBS:
        stem += "e"
    elif stem[-1:] == stem[-2:-1] and stem[:-1] in _VERBS:
        stem = stem[:-1]
    return [*words[:place], stem, *words[place + 1 :]]


def drop_preposition(words: Words, rng: random.Random) -> Words | None:
    fixed = [i + 1 for i, pair in enumerate(itertools.pairwise(words)) if pair in _FIXED_PHRASES]
    free = [i for i, word in enumerate(words) if i > 0 and word in _PREPOSITIONS]
    place = _pick(rng, fixed if fixed and rng.random() < 0.8 else free)
    return None if place is None else words[:place] + words[place + 1 :]


def swap_letters(words: Words, rng: random.Random) -> Words | None:
    """Two letters swapped, one dropped or one doubled, in a word of four letters or more."""
    place = _pick(rng, [i for i, word in enumerate(words) if len(word) >= 4 and word.isalpha()])
    if place is None:
        return None
    word = words[place]
    at = rng.randint(1, len(word) - 2)
    kind = rng.random()
    if kind < 0.6:
        spoiled = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif kind < 0.8:
        spoiled = word[:at] + word[at + 1 :]
    else:
        spoiled = word[:at] + word[at] + word[at:]
    return None if spoiled == word else [*words[:place], spoiled, *words[place + 1 :]]


def join_words(words: Words, rng: random.Random) -> Words | None:
    """ "on the beach" -> "on thebeach"."""
    place = _pick(
        rng,
        [
            i
            for i in range(len(words) - 1)
            if words[i].lower() in _ARTICLES | _PREPOSITIONS and words[i + 1].isalpha()
        ],
    )
    return None if place is None else [*words[:place], words[place] + words[place + 1], *words[place + 2 :]]


def punctuation(words: Words, rng: random.Random) -> Words | None:
    """A comma or period where none can be, doubled or spaced; or one missing from a list."""
    commas = [i for i, word in enumerate(words) if word.endswith(",")]
    if commas and rng.random() < 0.5:
        place = rng.choice(commas)
        listed = words[place + 1 : place + 2] in (["a"], ["an"])
        bare = words[place][:-1]
        return [*words[:place], bare + rng.choice([" ,", ",,", "" if listed else " ,"]), *words[place + 1 :]]
    free = _pick(rng, [i for i, word in enumerate(words[:-1]) if word.lower() in _NO_COMMA_AFTER])
    if free is None:
        return None
    return [*words[:free], words[free] + rng.choice([",", ".", " ,"]), *words[free + 1 :]]


def lower_case(words: Words, _rng: random.Random) -> Words | None:
    """As an uncased captioner writes."""
    lowered = [word.lower() for word in words]
    return lowered if lowered != words else None


def title_case(words: Words, _rng: random.Random) -> Words | None:
    raised = [word[:1].upper() + word[1:] for word in words]
    return raised if raised != words else None


CORRUPTIONS: dict[str, Callable[[Words, random.Random], Words | None]] = {
    "drop article": drop_article,
    "wrong article": wrong_article,
    "double word": double_word,
    "double phrase": double_phrase,
    "noun number": noun_number,
    "verb number": verb_number,
    "verb form": verb_form,
    "drop preposition": drop_preposition,
    "swap letters": swap_letters,
    "join words": join_words,
    "punctuation": punctuation,
    "lower case": lower_case,
    "title case": title_case,
}


def corrupt(
    caption: str, rng: random.Random, kinds: int = 1, names: tuple[str, ...] = tuple(CORRUPTIONS)
) -> str:
    """The caption with ``kinds`` corruptions drawn from ``names``; the final period goes half of the time.

    Fewer where a caption offers nothing to spoil.
    """
    text = caption[:-1] if caption.endswith(".") and rng.random() < 0.5 else caption
    ending = text[-1:] if text[-1:] in {".", "?", "!"} else ""
    words = text.removesuffix(ending).split(" ")
    for name in rng.sample(names, min(kinds, len(names))):
        words = CORRUPTIONS[name](words, rng) or words
    return re.sub(r"\s+", " ", " ".join(words)).strip() + ending
