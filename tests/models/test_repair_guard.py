"""The guard: which changes are repairs. Also inflection and the case marker, on which it and the model rest."""

from __future__ import annotations

import pytest

from models.repair_case import mark_case, unmark_case
from models.repair_guard import refusal
from models.repair_inflection import plural, same_word, singular

KNOWN = frozenset(
    ["a", "the", "dog", "dogs", "cat", "horse", "house", "table", "beach", "standing", "on", "of", "red"]
)

REPAIRS = [
    ("Two dog on a couch.", "Two dogs on a couch."),
    ("Dog on couch.", "A dog on the couch."),
    ("A man ride a horse.", "A man is riding a horse."),
    ("Two woman sitting.", "Two women sitting."),
    ("A group dogs in front a house.", "A group of dogs in front of a house."),
    ("A dog on the beach and on the beach.", "A dog on the beach."),
    ("A dog standing, on a couch.", "A dog standing on a couch."),
    ("A honda motorcycle.", "A Honda motorcycle."),
    ("A cat on thebeach.", "A cat on the beach."),
]

REFUSED = [
    ("A dog on a couch.", "", "empty"),
    ("A dog on a couch.", "...", "empty"),
    ("A dog.", "A dog on a couch in a room with a man and a cat.", "too long"),
    ("A dog on a couch next to a man in a red hat.", "A dog.", "too short"),
    ("A dog on a couch.", "A picture of a dog on a couch.", "prompt remains"),
    ("A dog on a couch.", "Correct the grammar: a dog on a couch.", "prompt remains"),
    ("A dog on a couch.", "A dog on a red couch.", "invented words"),
    ("A dog on a couch.", "A cat on a couch.", "invented words"),
    ("A dog above a couch.", "A dog below a couch.", "invented words"),
    ("Two dogs on a couch.", "Three dogs on a couch.", "invented words"),
    ("A man with no hat.", "A man with a hat.", "dropped words"),
    ("A red dog on a couch.", "A dog on a couch.", "dropped words"),
    ("A dog above a cat.", "A cat above a dog.", "moved words"),
    ("A man hitting a ball with a red ball.", "A man hitting a red ball.", "dropped words"),
    ("A plane in the sky at an angle.", "A plane in the sky at angle.", "dropped words"),
    ("A small dog.", "A sMall dog.", "odd capitals"),
    ("A red dog and a cat.", "A red cat and a dog and a cat.", "moved words"),
    ("Dog couch beach.", "There is a dog on the couch of the beach.", "too long"),
    (
        "Man and dog sit couch, beach and grass with red hat.",
        "The man and the dog sit on the couch, beach and grass with a red hat.",
        "too many small words",
    ),
]


@pytest.mark.parametrize(("before", "after"), REPAIRS)
def test_repairs_pass(before: str, after: str) -> None:
    assert refusal(before, after) is None
    assert refusal(before, after, KNOWN) is None


@pytest.mark.parametrize(("before", "after", "reason"), REFUSED)
def test_other_changes_are_refused(before: str, after: str, reason: str) -> None:
    assert refusal(before, after) == reason


def test_spelling_needs_a_slip_or_a_lexicon() -> None:
    assert refusal("A hosre on a table.", "A horse on a table.") is None
    assert refusal("A house on a table.", "A horse on a table.") == "invented words"
    assert refusal("A hoube on a table.", "A house on a table.") == "invented words"
    assert refusal("A hoube on a table.", "A house on a table.", KNOWN) is None
    assert refusal("A horse on a table.", "A house on a table.", KNOWN) == "invented words"


def test_inflection() -> None:
    for one, many in [("dog", "dogs"), ("bus", "buses"), ("woman", "women"), ("baby", "babies"), ("sheep", "sheep"),
                      ("knife", "knives"), ("bench", "benches"), ("toy", "toys")]:  # fmt: skip
        assert plural(one) == many
        assert singular(many) == one
    assert singular("grass") == "grass"
    assert same_word("sits", "sitting")
    assert same_word("women", "Woman")
    assert same_word("riding", "rode")
    assert same_word("carried", "carry")
    assert not same_word("cat", "car")
    assert not same_word("two", "three")


@pytest.mark.parametrize(
    "text", ["A dog on a TV.", "The No. 8 McDonald's SUV", "a cat", "I am in NYC, I think."]
)
def test_case_marker_is_reversible(text: str) -> None:
    marked = mark_case(text)
    assert marked == marked.lower()
    assert unmark_case(marked) == text
