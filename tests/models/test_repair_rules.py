"""Caption rules: what each changes, and what none may touch."""

from __future__ import annotations

import pytest

from models.repair_rules import apply_rules, article_for, bare

CHANGED = [
    ("a dog on a couch", "A dog on a couch."),
    ("  a dog \n on a   couch . ", "A dog on a couch."),
    ("a man , with a hat", "A man, with a hat."),
    ("a cat,a dog and a bird", "A cat, a dog and a bird."),
    ("a cat,, a dog, , and a bird ..", "A cat, a dog, and a bird."),
    ("a dog on the, beach", "A dog on the beach."),
    (", a dog -", "A dog."),
    ('"a dog on a couch"', "A dog on a couch."),
    ('a sign that reads "stop', "A sign that reads stop."),
    ("a dog dog dog on the the beach", "A dog on the beach."),
    ("a dog on the beach on the beach", "A dog on the beach."),
    ("a dog on the beach, on the beach.", "A dog on the beach."),
    ("a dog next to next to a cat next to a cat", "A dog next to a cat."),
    ("a dog and a dog and a dog and a dog", "A dog and a dog."),
    ("a dog on the beach and on the beach", "A dog on the beach."),
    ("a red dog and a red dog", "A red dog and a red dog."),
    ("there is two dogs on a couch", "There are two dogs on a couch."),
    ("there are an apple on a table", "There is an apple on a table."),
    ("a orange and an dog", "An orange and a dog."),
    ("an unicorn for a hour", "A unicorn for an hour."),
    ("a 8 year old with a old umbrella", "An 8 year old with an old umbrella."),
    ("a dog on a beach with a", "A dog on a beach."),
    ("a dog standing on the", "A dog standing."),
    ("ar asian woman in a dress", "An asian woman in a dress."),
    ("arafed man riding a horse", "A man riding a horse."),
    ("araffe two dogs on a couch", "Two dogs on a couch."),
    ("a cat [UNK] on a sk ##ateboard [SEP]", "A cat on a skateboard."),
    ("A Dog Next To A Red Couch", "A dog next to a red couch."),
    ("A DOG NEXT TO A COUCH", "A dog next to a couch."),
    ("tHERE ARE TWO DOGS HERE", "There are two dogs here."),
    ("i am not sure what this is", "I am not sure what this is."),
]

# COCO captions that are right as they are.
RIGHT = [
    "A dog on a couch.",
    "Four computers are turned on on a desk.",
    "A very very big dog.",
    "A desk with a computer, computer keyboard, mug and a laptop.",
    "A street sign at the corner of East St. and East St.",
    'A sign mounted to a pole that reads "No Stops".',
    "A Van Gogh Museum Bus is parked.",
    "A man on a one way street with an SUV and a UPS truck.",
    "An historic building with an herb garden.",
    "A European man in a uniform with a utensil and a euro.",
    "A room with the lights on.",
    "A side by side picture of two dogs.",
    "There are a dog and a cat.",
    "There are a large number of dogs on the beach.",
    "There is a two story house.",
    "Is this a dog?",
    "A t.v. on a table.",
    "A picture of a dog.",
]


@pytest.mark.parametrize(("caption", "expected"), CHANGED)
def test_rules_change(caption: str, expected: str) -> None:
    assert apply_rules(caption) == expected


@pytest.mark.parametrize("caption", RIGHT)
def test_a_right_caption_stays(caption: str) -> None:
    assert apply_rules(caption) == caption
    assert bare(apply_rules(caption.rstrip("."))) == bare(caption)


@pytest.mark.parametrize("caption", [wrong for wrong, _ in CHANGED] + RIGHT)
def test_rules_are_idempotent(caption: str) -> None:
    once = apply_rules(caption)
    assert apply_rules(once) == once


@pytest.mark.parametrize("caption", ["", "   ", " . ", '""', ",,"])
def test_nothing_comes_of_nothing(caption: str) -> None:
    assert apply_rules(caption) == ""


def test_only_a_caption_without_period_counts_as_cut_off() -> None:
    assert apply_rules("A dog that someone is fond of.") == "A dog that someone is fond of."
    assert apply_rules("a dog in front of") == "A dog in front."


def test_bare_ignores_style_only() -> None:
    assert bare(" A dog  on a couch . ") == bare("a dog on a couch")
    assert bare("A dog on a couch.") != bare("A dogs on a couch.")
    assert bare("A dog, on a couch.") != bare("A dog on a couch.")


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("apple", "an"),
        ("dog", "a"),
        ("hour", "an"),
        ("hotdog", "a"),
        ("one", "a"),
        ("onion", "an"),
        ("unusual", "an"),
        ("uniform", "a"),
        ("unidentified", "an"),
        ("umbrella", "an"),
        ("usual", "a"),
        ("8", "an"),
        ("11", "an"),
        ("historic", None),
        ("SUV", None),
        ("x-ray", None),
        ("of", None),
        ("", None),
    ],
)
def test_article_goes_by_sound(word: str, article: str | None) -> None:
    assert article_for(word) == article
