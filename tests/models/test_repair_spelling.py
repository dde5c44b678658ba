"""Spelling and number by counted words."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.repair_number import agree_in_number
from models.repair_spelling import Speller

COUNTS = {"a": 900, "the": 900, "and": 900, "horse": 50, "house": 60, "table": 40, "next": 80, "to": 500, "beach": 40,
          "different": 20, "skis": 9, "rarely": 2, "kitchen": 30}  # fmt: skip


@pytest.fixture
def speller() -> Speller:
    return Speller(COUNTS)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("A hosre on teh table.", "A horse on the table."),
        ("Two tabels nxet to the beach.", "Two tabels next to the beach."),
        ("A tablle in the kitcehn, adn more.", "A table in the kitchen, and more."),
        ("A diffrent horse.", "A different horse."),
        ("Ahorse on thebeach.", "A horse on the beach."),
    ],
)
def test_slips_are_mended(speller: Speller, wrong: str, right: str) -> None:
    assert speller.correct(wrong) == right
    assert speller.correct(right) == right


@pytest.mark.parametrize(
    "text",
    [
        "Two horses and a house.",  # known, or the plural of a known word
        "A hause by a hoose.",  # another letter in place of one: another word
        "A man at Tabel Street.",  # a name
        "A t.v. and a TABEL by o'hosre and table-tabel.",
        "A raerly seen thing.",  # meant is a word too rare to be sure of
        "A abc of xyz.",
    ],
)
def test_the_rest_stays(speller: Speller, text: str) -> None:
    assert speller.correct(text) == text


def test_without_words_nothing_changes() -> None:
    assert Speller({}).correct("A hosre.") == "A hosre."


def test_the_word_list_survives_its_file(speller: Speller, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    speller.write(path)
    assert path.read_text().splitlines()[0] == "a 900"
    assert Speller.read(path).counts == COUNTS
    path.write_text("no count here\n")
    with pytest.raises(ValueError):
        Speller.read(path)


NOUNS = dict.fromkeys(
    ["dog", "dogs", "woman", "women", "door", "doors", "green", "greens", "sheep", "umbrella"], 9
)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Two dog on a couch.", "Two dogs on a couch."),
        ("A man and three dog.", "A man and three dogs."),
        ("A women is standing with a dogs.", "A woman is standing with a dog."),
        ("Two woman riding with a dogs of hers.", "Two women riding with a dog of hers."),
    ],
)
def test_nouns_agree_with_numbers(wrong: str, right: str) -> None:
    assert agree_in_number(wrong, NOUNS) == right
    assert agree_in_number(right, NOUNS) == right


@pytest.mark.parametrize(
    "text",
    [
        "A two door car.",
        "Two dog houses.",
        "A two dog on it.",
        "Two sheep on grass.",
        "Two umbrella on it.",
        "Two green and red doors.",
    ],
)
def test_number_needs_a_head_noun_and_both_forms(text: str) -> None:
    assert agree_in_number(text, NOUNS) == text
    assert agree_in_number("Two dog on a couch.", {}) == "Two dog on a couch."
