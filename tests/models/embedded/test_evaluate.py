"""The evaluation: its arithmetic on captions whose truth is known, and its place in the card."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.embedded.evaluate import Choices, by_kind, by_way, facts, greedy_of
from models.embedded.evaluation_card import BEGIN, END, Evaluation, tables, write_card
from models.embedded.world import Placed, Scene
from models.sampling import Sampling

SCENE = Scene(
    0,
    0,
    "next",
    "beach",
    (Placed("dog", 0.3, 0.5, 0.4, False, "left"), Placed("couch", 0.7, 0.5, 0.4, False, "right")),
    0,
    0.0,
    0.0,
    1.0,
    90,
)
RIGHT = "a dog next to a couch on the beach"
WRONG = "a cat next to a couch on the beach"


def choices() -> list[Choices]:
    return [
        Choices(
            SCENE, WRONG, (WRONG, RIGHT), ranker1=0, ranker2=1, both=1, repaired=RIGHT.capitalize() + "."
        ),
        Choices(SCENE, RIGHT, (RIGHT, WRONG), ranker1=0, ranker2=1, both=0, repaired=WRONG),
    ]


def test_each_way_of_choosing_is_counted() -> None:
    ways = by_way(choices())
    assert {way: row["full"] for way, row in ways.items()} == {
        "random candidate": 0.5,
        "greedy": 0.5,
        "first candidate": 0.5,
        "ranker 1": 0.5,
        "ranker 2": 0.5,
        "both rankers": 1.0,
        "both rankers, repaired": 0.5,
    }
    assert ways["ranker 1"]["background"] == 1.0


def test_kinds_are_of_the_final_caption() -> None:
    assert by_kind(choices())["next"]["objects"] == 0.5


def test_facts_tell_what_repair_did() -> None:
    assert facts(choices()) == {
        "unique candidates": 2.0,
        "scenes with a right candidate": 1.0,
        "repair changes words of the chosen caption": 0.5,
        "repair makes a right caption wrong": 0.5,
    }


def test_greedy_is_one_candidate_of_the_same_lengths() -> None:
    greedy = greedy_of(Sampling())
    assert (greedy.candidates, greedy.top_p, greedy.max_new_tokens) == (1, 0.0, 45)


def evaluation() -> Evaluation:
    return Evaluation(2, 1_000_000, 0.9, 0.25, by_way(choices()), {"next": {"full": 0.5}}, facts(choices()))


def test_figures_go_where_the_card_has_their_place(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"# Card\n{BEGIN}\nold\n{END}\nafter\n")
    write_card(card, evaluation())
    write_card(card, evaluation())
    assert card.read_text() == f"# Card\n{BEGIN}\n{tables(evaluation())}\n{END}\nafter\n"
    assert "| both rankers | 100.0 % |" in card.read_text()


def test_a_card_without_a_place_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("# Card\n")
    with pytest.raises(ValueError, match="no single place"):
        write_card(card, evaluation())
