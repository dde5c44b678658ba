"""Checks of the list columns, each over a whole column at once. Answers are boolean arrays, True where a row is right.

Pure Arrow and numpy: knows nothing of Great Expectations or of the pipeline. A null list is right here; that a column
must not hold null is another check.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

# Cosines of unit vectors in single precision pass 1 by a few units in the last place.
COSINE_SLACK = 1e-5


def cosines_in_range(similarities: pa.Array) -> Flags:
    """Every value lies in [-1, 1]; null and NaN do not."""
    values, rows = _flat_numbers(similarities)
    return _rows_without(~(np.abs(values) <= 1 + COSINE_SLACK), rows, len(similarities))


def falling(similarities: pa.Array) -> Flags:
    """No value is greater than the one before it."""
    values, rows = _flat_numbers(similarities)
    rises = (values[1:] > values[:-1]) & (rows[1:] == rows[:-1])
    return _rows_without(rises, rows[1:], len(similarities))


def equally_long(left: pa.Array, right: pa.Array) -> Flags:
    """Both lists of a row have as many values."""
    return np.equal(_lengths(left), _lengths(right))


def finalists_fit(captions: pa.Array, finalists: pa.Array) -> Flags:
    """Null, or between two and as many values as there are captions."""
    lengths = _lengths(finalists)
    is_null = np.asarray(pc.is_null(finalists).to_numpy(zero_copy_only=False), dtype=np.bool_)
    fits = (lengths >= 2) & (lengths <= _lengths(captions))
    return np.logical_or(is_null, fits)


def without_duplicates(captions: pa.Array) -> Flags:
    """No text occurs twice in a list, and none is null."""
    flat, rows = _flat(captions)
    codes = _codes(flat)
    order = np.lexsort((codes, rows))
    again = (codes[order][1:] == codes[order][:-1]) & (rows[order][1:] == rows[order][:-1])
    return _rows_without(again, rows[order][1:], len(captions)) & _rows_without(
        codes < 0, rows, len(captions)
    )


def contains(captions: pa.Array, texts: pa.Array) -> Flags:
    """The row's text is one of the row's list."""
    return np.greater_equal(_positions(captions, texts), 0)


def value_at_match(captions: pa.Array, similarities: pa.Array, texts: pa.Array, values: pa.Array) -> Flags:
    """The row's value is the similarity of the caption that the row's text equals; right where there is none such."""
    place = _positions(captions, texts)
    numbers, _ = _flat_numbers(similarities)
    lengths = _lengths(similarities)
    begins = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    known = (place >= 0) & (place < lengths)
    expected = np.full(len(texts), np.nan)
    expected[known] = numbers[(begins + place)[known]]
    given = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    same = (expected == given) | (np.isnan(expected) & np.isnan(given))
    good: Flags = ~known | same
    return good


def repair_told(raw: pa.Array, repaired: pa.Array, repair: pa.Array) -> Flags:
    """What ``repair`` says agrees with the texts.

    "unchanged": both are equal but for what style alone decides: white space, the first letter's case, a final period.
    "rules", "model": they differ. "refused: why": the model's text was kept out, what is
    left is the rules' work or nothing. Anything else is wrong.
    """
    equal = np.asarray(
        pc.fill_null(pc.equal(raw, repaired), False).to_numpy(zero_copy_only=False), dtype=np.bool_
    )
    equal_words = np.asarray(
        pc.fill_null(pc.equal(_bare(raw), _bare(repaired)), False).to_numpy(zero_copy_only=False),
        dtype=np.bool_,
    )
    unchanged = _is(repair, pa.array(["unchanged"]))
    changed = _is(repair, pa.array(["rules", "model"]))
    refused = pc.fill_null(pc.match_substring_regex(repair, r"^refused: \S"), False).to_numpy(
        zero_copy_only=False
    )
    return (unchanged & equal_words) | (changed & ~equal) | np.asarray(refused, dtype=np.bool_)


def _bare(texts: pa.Array) -> pa.Array:
    """Captions without white space that means nothing, the first letter's case, and one final period."""
    spaced = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    ended = pc.replace_substring_regex(spaced, r"([^. ]) ?\.$", r"\1")
    first = pc.utf8_lower(pc.utf8_slice_codeunits(ended, 0, 1))
    return pc.binary_join_element_wise(first, pc.utf8_slice_codeunits(ended, 1), "")


def _is(values: pa.Array, wanted: pa.Array) -> Flags:
    return np.asarray(pc.is_in(values, value_set=wanted).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _positions(captions: pa.Array, texts: pa.Array) -> Rows:
    """Where in its list each row's text stands first; -1 where nowhere."""
    flat, rows = _flat(captions)
    wanted = texts.take(pa.array(rows, pa.int64()))
    hits = np.asarray(
        pc.fill_null(pc.equal(flat, wanted), False).to_numpy(zero_copy_only=False), dtype=np.bool_
    )
    begins = np.concatenate([[0], np.cumsum(_lengths(captions))])[:-1]
    positions = np.full(len(captions), -1, dtype=np.int64)
    found = np.flatnonzero(hits)[::-1]  # backwards, so that the first hit is written last
    positions[rows[found]] = found - begins[rows[found]]
    return positions


def _flat(lists: pa.Array) -> tuple[pa.Array, Rows]:
    """All values one after the other, and the row of each."""
    rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return pc.list_flatten(lists), rows


def _flat_numbers(lists: pa.Array) -> tuple[npt.NDArray[np.float64], Rows]:
    flat, rows = _flat(lists)
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64), rows


def _lengths(lists: pa.Array) -> Rows:
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def _codes(texts: pa.Array) -> Rows:
    """Equal texts get equal numbers, null gets -1."""
    indices = pc.fill_null(texts.dictionary_encode().indices, -1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _rows_without(bad: Flags, rows: Rows, count: int) -> Flags:
    good = np.ones(count, dtype=np.bool_)
    good[rows[bad]] = False
    return good
