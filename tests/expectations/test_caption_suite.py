"""The gate: a clean table passes, each planted defect is caught by the expectation that names it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from expectations.caption_suite import GateResult, GateThresholds, validate_table
from expectations.schema import published_schema
from expectations.suites import row_suite, style_suite
from tests.expectations.tables import clean_row, clean_table, table_of, with_caption

DEFAULT = GateThresholds()
BAD = 7  # the row that gets the defect


def key_of(number: int) -> str:
    return f"00000-{number:09d}"


BAD_KEY = key_of(BAD)


def failed(result: GateResult) -> set[str]:
    return {outcome.name for outcome in result.results if not outcome.success}


def judged_with(defect: dict[str, Any], rows: int = 30) -> GateResult:
    table = [clean_row(number) for number in range(rows)]
    table[BAD] |= defect
    return validate_table(table_of(table), DEFAULT)


def test_clean_table_raises_none() -> None:
    result = validate_table(clean_table(280), DEFAULT)
    assert result.passed
    assert result.bad_rows == {}
    assert failed(result) == set()
    assert result.rows == 280


def test_every_expectation_says_why_and_how_severe() -> None:
    result = validate_table(clean_table(280), DEFAULT)
    names = [outcome.name for outcome in result.results]
    assert len(names) == len(set(names)) >= 35
    assert {outcome.severity for outcome in result.results} == {"critical", "warning", "info"}
    assert all(
        outcome.why.endswith(".") and outcome.expectation.startswith("expect_") for outcome in result.results
    )


# Captions in the manner of those that users of captioning models complain of.
BAD_CAPTIONS = [
    ("empty_caption", ""),
    ("empty_caption", " ... "),
    ("too_few_words", "two dogs"),
    ("too_many_words", " ".join(f"w{number}" for number in range(41))),
    ("prompt_remains", "a picture of a dog on the beach"),
    ("prompt_remains", "A  Picture of two zebras."),
    ("model_token_remains", "a dog on the beach [SEP]"),
    ("model_token_remains", "a dog on the be ##ach with sand"),
    ("model_token_remains", "a plate of food <extra_id_0> on a table"),
    ("model_token_remains", "a caf\ufffd on a street corner"),
    ("repeated_words", "a red red bus on a street"),
    ("repeated_words", "a man and a woman. Woman on the beach"),
    ("repeated_words", "a red bus red bus on a street"),
    ("repeated_trigram", "a hat on top of a hat on top of a hat"),
    ("repeated_trigram", "arafed man in a suit and a arafed man in blue"),
    ("file_name", "a dog IMG_2031 on the beach"),
    ("file_name", "photo of a sunset-beach.JPG on a wall"),
    ("file_name", "visit www.example.com for a red bus"),
    ("cut_off", "a man standing in front of a"),
    ("cut_off", "a dog on the beach and"),
]


GOOD_CAPTIONS = [
    "a man holding a picture of a dog",
    "a cow in front of a train in front of a red wall",
    "an old-fashioned clock on a wall that reads 10:10",
    "a dog, a cat and a horse in the grass",
    "A woman's hat sits on a bench (near a café).",
    "a bench to sit on",
    'two people on the beach with "surf\'s up" on a board',
]


INCONSISTENT: list[tuple[str, dict[str, Any]]] = [
    ("similarity_out_of_range", {"all_similarities": [1.5, 0.3, 0.25], "top_similarity": 0.3}),
    ("similarity_out_of_range", {"all_similarities": [0.31, 0.3, float("nan")]}),
    ("similarity_out_of_range", {"all_similarities": [0.31, 0.3, None]}),
    ("finalist_similarity_out_of_range", {"finalist_similarities": [0.2, -1.2]}),
    ("similarities_unsorted", {"all_similarities": [0.2, 0.3, 0.25]}),
    ("lengths_differ", {"all_similarities": [0.31, 0.3]}),
    ("lengths_differ", {"all_similarities": [0.31, 0.3, 0.25, 0.2]}),
    ("finalists_misfit", {"finalist_similarities": [0.2]}),
    ("finalists_misfit", {"finalist_similarities": [0.2, 0.2, 0.2, 0.2]}),
    ("duplicate_candidates", {"all_captions": ["a cat", "a cow", "a cat"]}),
    ("duplicate_candidates", {"all_captions": [None, "a cow", "a cat"]}),
    ("winner_not_a_candidate", {"all_captions": ["a cat", "a dog", "a cow"]}),
    ("winner_not_a_candidate", {"all_captions": [], "all_similarities": [], "finalist_similarities": None}),
    ("wrong_top_similarity", {"top_similarity": 0.29}),
    ("repair_untold", {"repair": "unchanged", "top_caption": "a green cat on a wall"}),
    ("repair_untold", {**with_caption("a dog on a red couch"), "repair": "model"}),
    ("repair_untold", {"repair": "refused: "}),
    ("repair_untold", {"repair": "magic"}),
    ("impossible_width", {"image_width": 0}),
    ("impossible_height", {"image_height": -4}),
    ("malformed_image_hash", {"image_sha256": "ABC"}),
]  # fmt: skip


LESSER: list[tuple[str, dict[str, Any]]] = [
    ("other_script", with_caption("a sign that reads 東京 at night")),
    ("broken_punctuation", with_caption("a dog (on the beach with a ball")),
    ("broken_punctuation", with_caption('a sign that says "stop on a street')),
    ("broken_punctuation", with_caption("a dog,, on the beach")),
    ("caption_is_alt_text", {**with_caption("a dog on a red couch"), "TEXT": "A dog on a red couch!"}),
]

CRITICAL = [(name, with_caption(caption)) for name, caption in BAD_CAPTIONS] + INCONSISTENT
# Each planted row's number: one table holds them all among clean rows, and is judged once.
FIRST_CRITICAL, FIRST_GOOD, FIRST_LESSER = 1000, 2000, 3000


@pytest.fixture(scope="module")
def verdict() -> GateResult:
    rows = [clean_row(number) for number in range(250)]
    rows += [clean_row(FIRST_CRITICAL + n) | defect for n, (_, defect) in enumerate(CRITICAL)]
    rows += [clean_row(FIRST_GOOD + n) | with_caption(caption) for n, caption in enumerate(GOOD_CAPTIONS)]
    rows += [clean_row(FIRST_LESSER + n) | defect for n, (_, defect) in enumerate(LESSER)]
    result = validate_table(table_of(rows), DEFAULT)
    assert result.passed
    return result


@pytest.mark.parametrize("number", range(len(CRITICAL)), ids=[name for name, _ in CRITICAL])
def test_planted_defect_is_quarantined_by_name(verdict: GateResult, number: int) -> None:
    name, _ = CRITICAL[number]
    assert name in verdict.bad_rows[key_of(FIRST_CRITICAL + number)]
    outcome = next(o for o in verdict.results if o.name == name)
    assert (outcome.severity, outcome.scope, outcome.success) == ("critical", "row", False)
    assert outcome.unexpected_count >= 1


def test_every_row_check_has_a_planted_defect() -> None:
    critical = {e.meta["name"] for e in row_suite(DEFAULT).expectations if e.meta["scope"] == "row"}
    assert critical == {name for name, _ in CRITICAL} | {name for name, _ in LESSER}


def test_nothing_else_is_quarantined(verdict: GateResult) -> None:
    assert set(verdict.bad_rows) == {key_of(FIRST_CRITICAL + number) for number in range(len(CRITICAL))}


@pytest.mark.parametrize("name", sorted({name for name, _ in LESSER}))
def test_lesser_fault_is_told_but_not_quarantined(verdict: GateResult, name: str) -> None:
    outcome = next(o for o in verdict.results if o.name == name)
    planted = [n for n, (other, _) in enumerate(LESSER) if other == name]
    # Captions that are bad in another way may have odd punctuation, too.
    assert outcome.unexpected_count >= len(planted)
    assert outcome.severity in ("warning", "info")
    assert not any(key_of(FIRST_LESSER + n) in verdict.bad_rows for n in planted)


def test_several_defects_of_a_row_come_in_the_suites_order() -> None:
    result = judged_with({**with_caption("dog dog"), "image_width": 0})
    assert result.bad_rows[BAD_KEY] == ["too_few_words", "repeated_words", "impossible_width"]


BAD_PARTITIONS: list[tuple[str, pa.Table]] = [
    ("schema", clean_table(9).drop_columns("top_caption")),
    ("schema", clean_table(9).append_column("extra", pa.array([1] * 9))),
    ("schema", clean_table(9).select(["TEXT", "URL", *published_schema().names[2:]])),
    ("schema", clean_table(9).set_column(5, "WIDTH", pa.array([1] * 9, pa.int32()))),
    ("null_in_required_column", table_of([clean_row(0) | {"top_caption": None}, clean_row(1)])),
    ("null_in_required_column", table_of([clean_row(0) | {"all_similarities": None}, clean_row(1)])),
    ("duplicate_key", table_of([clean_row(0), clean_row(1), clean_row(1)])),
    ("malformed_key", table_of([clean_row(0) | {"key": "cat.jpg"}, clean_row(1)])),
    ("too_many_quarantined", table_of([clean_row(n) | with_caption("dog dog dog") for n in range(9)])),
]


@pytest.mark.parametrize(("name", "table"), BAD_PARTITIONS)
def test_bad_partition_does_not_pass(name: str, table: pa.Table) -> None:
    result = validate_table(table, DEFAULT)
    assert not result.passed
    stops = {
        o.name
        for o in result.results
        if not o.success and o.scope == "partition" and o.severity == "critical"
    }
    assert stops == {name}


def test_schema_fault_is_said_in_words() -> None:
    wrong = clean_table(3).set_column(5, "WIDTH", pa.array([1] * 3, pa.int32()))
    outcome = next(o for o in validate_table(wrong, DEFAULT).results if o.name == "schema")
    assert outcome.observed == "WIDTH is int32, not int64"


def test_share_of_bad_rows_decides_from_a_few_rows_on() -> None:
    def judged(bad: int, rows: int) -> bool:
        table = [clean_row(n) | (with_caption("dog dog dog") if n < bad else {}) for n in range(rows)]
        return validate_table(table_of(table), DEFAULT).passed

    assert judged(bad=1, rows=1), "one bad image of one says nothing of the model"
    assert judged(bad=20, rows=100)
    assert not judged(bad=21, rows=100)


def test_empty_table_passes() -> None:
    result = validate_table(clean_table(0), DEFAULT)
    assert result.passed
    assert failed(result) == set()


def test_thresholds_are_obeyed() -> None:
    table = [clean_row(number) for number in range(10)]
    table[BAD] |= with_caption("one two three four five")
    strict = replace(DEFAULT, min_words=5, max_words=40)
    assert "too_few_words" not in failed(validate_table(table_of(table), strict))
    result = validate_table(table_of(table), replace(strict, min_words=6, prompt="One two"))
    assert result.bad_rows[BAD_KEY] == ["too_few_words", "prompt_remains"]


def test_result_is_plain_json() -> None:
    result = judged_with(with_caption("a dog dog on the beach"))
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["bad_rows"] == {BAD_KEY: ["repeated_words"]}
    assert found["results"][0]["name"] == "schema"


def test_threads_get_their_own_verdicts() -> None:
    verdicts: dict[int, GateResult] = {}

    def judge(number: int) -> None:
        table = [clean_row(n) for n in range(20)]
        table[number] |= with_caption("a dog dog on the beach")
        verdicts[number] = validate_table(table_of(table), DEFAULT)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: list(v.bad_rows) for n, v in verdicts.items()} == {n: [key_of(n)] for n in range(3)}


def test_nothing_is_printed_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert validate_table(clean_table(120), DEFAULT).passed
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_suites_name_each_check_once() -> None:
    names = [
        e.meta["name"] for suite in (row_suite(DEFAULT), style_suite(DEFAULT)) for e in suite.expectations
    ]
    assert len(names) == len(set(names))
