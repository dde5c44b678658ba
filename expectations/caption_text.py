"""Checks of caption text, each over a whole column at once. Answers are boolean arrays, True where a caption is right.

Pure Arrow and numpy: knows nothing of Great Expectations or of the pipeline. Null is right here; that a column must not
hold null is another check.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Flags = npt.NDArray[np.bool_]

# Marks of tokenizers: BERT and BLIP, T5, CLIP; and U+FFFD, what undecodable bytes become.
_TOKENS = (
    r"\[(?:UNK|SEP|CLS|PAD|MASK|DEC|ENC)\]|</?s>|<pad>|<unk>|<extra_id_\d+>|##\w"
    r"|<\|?(?:start|end)_?of_?text\|?>|\x{FFFD}|[\x{0}-\x{8}\x{E}-\x{1F}\x{7F}]"
)
_FILE_NAME = (
    r"(?i)\b[\w-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|avif|heic)\b"
    r"|\b(?:IMG|DSC[NF]?|DCIM|PICT)_?\d{3,}\b|https?://|\bwww\."
)
# A caption cannot end so; "in", "on", "with" may ("a bench to sit on").
_CUT_OFF = r"(?i)(?:^|[\s,])(?:a|an|the|and|or|of)[\s.,;:]*$"
# Latin letters with accents, digits, and the punctuation that English uses.
_OTHER_SCRIPT = (
    r"[^\x{9}-\x{D}\x{20}-\x{7E}\x{A0}-\x{24F}\x{2010}-\x{2027}\x{2030}-\x{205E}\x{20A0}-\x{20BF}\x{FFFD}]"
)

# Of these alone English makes phrases that may well come twice: "a cow in front of a train in front of a wall".
_FUNCTION_WORDS = (
    "a an the and or with in on at of to by for from near next front behind top side back middle edge above below "
    "under over beside between is are it its his her their that this two three four some pair couple group"
)


def word_counts(captions: pa.Array) -> npt.NDArray[np.int64]:
    """Words per caption, split at white space as COCO's figures are; 0 for null."""
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(captions))
    counts = pc.list_value_length(words)
    # Splitting "" gives one empty word.
    counts = pc.if_else(pc.equal(pc.utf8_trim_whitespace(captions), ""), 0, counts)
    return np.asarray(pc.fill_null(counts, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def words_between(captions: pa.Array, minimum: int, maximum: int) -> Flags:
    """At least ``minimum`` and at most ``maximum`` words."""
    counts = word_counts(captions)
    return (counts >= minimum) & (counts <= maximum)


def holds_letters(captions: pa.Array) -> Flags:
    """At least one letter: neither empty, nor blank, nor only punctuation."""
    return _matches(captions, r"\p{L}")


def free_of_prompt(captions: pa.Array, prompt: str) -> Flags:
    """Does not start with ``prompt``, in any case; "a man holding a picture of a dog" is right."""
    words = [re.escape(word) for word in prompt.split()]
    if not words:
        return np.ones(len(captions), dtype=np.bool_)
    return ~_matches(captions, r"(?i)^\W*" + r"\s+".join(words) + r"(?:\W|$)", null=False)


def free_of_model_tokens(captions: pa.Array) -> Flags:
    """No special token, word piece or control character."""
    return ~_matches(captions, _TOKENS, null=False)


def free_of_file_names(captions: pa.Array) -> Flags:
    """No image file name and no address."""
    return ~_matches(captions, _FILE_NAME, null=False)


def not_cut_off(captions: pa.Array) -> Flags:
    """Does not end in an article or conjunction, as captions do that ran into the length limit."""
    return ~_matches(captions, _CUT_OFF, null=False)


def in_latin_script(captions: pa.Array) -> Flags:
    """Latin letters and English punctuation only."""
    return ~_matches(captions, _OTHER_SCRIPT, null=False)


def balanced_punctuation(captions: pa.Array) -> Flags:
    """Brackets and double quotes come in pairs, and no mark stands doubled (an ellipsis may)."""
    even = np.ones(len(captions), dtype=np.bool_)
    for opening, closing in ("()", "[]", "{}"):
        even &= _count(captions, opening) == _count(captions, closing)
    even &= _count(captions, '"') % 2 == 0
    return even & ~_matches(
        captions, r"[,;:!?]\s*[,;:]|(?:^|[^.])\.\.(?:[^.]|$)|\s[.,;:](?:\s|$)|^[,;:]", null=False
    )


def free_of_repeated_words(captions: pa.Array) -> Flags:
    """No word, and no pair of words, follows itself: "a dog dog", "red bus red bus"."""
    codes, rows, _ = _word_codes(captions)
    good = np.ones(len(captions), dtype=np.bool_)
    if len(codes) > 1:
        good[rows[1:][(codes[1:] == codes[:-1]) & (rows[1:] == rows[:-1])]] = False
    if len(codes) > 3:
        pair = (codes[2:-1] == codes[:-3]) & (codes[3:] == codes[1:-2]) & (rows[3:] == rows[:-3])
        good[rows[3:][pair]] = False
    return good


def free_of_repeated_trigrams(captions: pa.Array) -> Flags:
    """No three words in a row occur twice: "a hat on top of a hat on top of a hat". One of them must carry meaning."""
    codes, rows, words = _word_codes(captions)
    good = np.ones(len(captions), dtype=np.bool_)
    if len(codes) < 4:
        return good
    meaning = ~_flags(pc.is_in(words, value_set=pa.array(_FUNCTION_WORDS.split())))[codes]
    inside = (rows[2:] == rows[:-2]) & (meaning[:-2] | meaning[1:-1] | meaning[2:])
    grams = np.stack([rows[2:], codes[:-2], codes[1:-1], codes[2:]], axis=1)[inside]
    order = np.lexsort(grams.T[::-1])
    grams = grams[order]
    repeated = np.all(grams[1:] == grams[:-1], axis=1)
    good[grams[1:][repeated, 0]] = False
    return good


def same_text(captions: pa.Array, others: pa.Array) -> Flags:
    """True where both hold the same text, but for case, punctuation and spaces."""
    return np.asarray(
        pc.fill_null(pc.equal(_plain(captions), _plain(others)), False).to_numpy(zero_copy_only=False),
        dtype=np.bool_,
    )


def vocabulary(captions: pa.Array) -> int:
    """Different words in all captions together, in lower case without punctuation."""
    return len(np.unique(_word_codes(captions)[0]))


def _plain(captions: pa.Array) -> pa.Array:
    lowered = pc.utf8_lower(captions)
    # The time 10:10 and the price 7.7 are one word each, no repeated ones.
    joined = pc.replace_substring_regex(lowered, r"(\d)[:.,/](\d)", r"\1_\2")
    spaced = pc.replace_substring_regex(joined, r"[^\p{L}\p{N}_'\-]+", " ")
    return pc.utf8_trim_whitespace(spaced)


def _word_codes(captions: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], pa.Array]:
    """Every word of every caption as a number, the row of each, and the word of each number."""
    words = pc.utf8_split_whitespace(pc.fill_null(_plain(captions), ""))
    flat = pc.list_flatten(words)
    rows = pc.list_parent_indices(words).to_numpy(zero_copy_only=False).astype(np.int64)
    filled = _flags(pc.not_equal(flat, ""))
    encoded = flat.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes[filled], rows[filled], encoded.dictionary


def _flags(values: pa.Array) -> Flags:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _matches(captions: pa.Array, pattern: str, *, null: bool = True) -> Flags:
    return _flags(pc.fill_null(pc.match_substring_regex(captions, pattern), null))


def _count(captions: pa.Array, text: str) -> npt.NDArray[np.int64]:
    counts = pc.fill_null(pc.count_substring(captions, text), 0)
    return np.asarray(counts.to_numpy(zero_copy_only=False), dtype=np.int64)
