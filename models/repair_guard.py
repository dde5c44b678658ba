"""The guard between a repair model and a dataset: which changes of a caption count as repairs.

A repair may fix inflection, spelling, articles and plain prepositions, and may drop what was said twice. It may not
drop, invent or move what the caption says: content words, numbers, colours, negations and words of place ("above"
for "below" is another caption). The guard knows no model; it compares two texts, and can be given words that are
surely spelled right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from models.repair_inflection import same_word

# Words that a repair may add or drop; everything else is content.
_LIGHT = frozenset(
    [
        *(
            "a",
            "an",
            "the",
            "some",
            "this",
            "that",
            "these",
            "those",
            "there",
            "it",
            "its",
            "their",
            "his",
            "her",
        ),
        *("is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "which", "who"),
        *("and", "of", "to", "with", "in", "on", "at", "by", "for", "from", "as", "up"),
    ]
)
_MAX_LIGHT_ADDED = 3
# Words after, per word before: repetition may halve a caption; nothing makes it grow by more than its small words.
_SHORTEST, _LONGEST, _GROWTH_WORDS = 0.4, 1.3, 2
_PROMPTS = re.compile(
    r"(?:a|an)? ?(?:picture|photo|image) of\b|(?:correct|fix|rewrite|repair|grammar|sentence|caption)\b.*:|instruction",
    re.IGNORECASE,
)
_MIN_SPELLED, _LONGEST_PHRASE = 4, 8


def refusal(before: str, after: str, known_words: Collection[str] = ()) -> str | None:
    """Why ``after`` is no repair of ``before``; None if it is one.

    ``known_words`` (lower case) are never misspellings. Without them only swapped, doubled and missing letters in
    words of five or more count as spelling.
    """
    old, new = _words(before), _words(after)
    if not new:
        return "empty"
    if len(new) > _LONGEST * len(old) + _GROWTH_WORDS:
        return "too long"
    if len(new) < _SHORTEST * len(old):
        return "too short"
    if _PROMPTS.match(after) and not _PROMPTS.match(before):
        return "prompt remains"
    if _has_odd_capitals(after) and not _has_odd_capitals(before):
        return "odd capitals"
    light_old, light_new = (Counter(word for word in words if word in _LIGHT) for words in (old, new))
    if (light_new - light_old).total() > _MAX_LIGHT_ADDED:
        return "too many small words"
    content_old, content_new = ([word for word in words if word not in _LIGHT] for words in (old, new))
    # A small word may be exchanged for another ("are" for "is") or go with a phrase said twice; alone it stays.
    if len(content_old) == len(content_new) and light_new.total() < light_old.total():
        return "dropped words"
    return _content_refusal(old, content_new, known_words)


def _has_odd_capitals(text: str) -> bool:
    """A capital after a small letter within a word: "aNgle"."""
    return re.search(r"[a-z][A-Z]", text) is not None


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def _content_refusal(old: list[str], new: list[str], known_words: Collection[str]) -> str | None:
    """Content words ``new`` must come in the order of ``old`` (all words); those left out were said twice."""
    content = [place for place, word in enumerate(old) if word not in _LIGHT]
    used: list[int] = []
    for word in new:
        later = (place for place in content if not used or place > used[-1])
        found = next((place for place in later if _matches(old[place], word, known_words)), None)
        if found is None:
            moved = any(_matches(old[place], word, known_words) for place in content)
            return "moved words" if moved else "invented words"
        used.append(found)
    left_out = set(content) - set(used)
    return (
        None
        if all(_repeats(old, place) or _stuck(old[place], known_words) for place in left_out)
        else "dropped words"
    )


def _repeats(words: list[str], place: int) -> bool:
    """Whether the word is part of a phrase that comes twice in a row, or twice with "and" between."""
    for length in range(1, _LONGEST_PHRASE + 1):
        for start in range(max(0, place - length + 1), place + 1):
            phrase = words[start : start + length]
            for gap in (0, 1):
                after, before = start + length + gap, start - length - gap
                if words[after : after + length] == phrase and words[after - gap : after] in ([], ["and"]):
                    return True
                if (
                    before >= 0
                    and words[before : before + length] == phrase
                    and words[start - gap : start] in ([], ["and"])
                ):
                    return True
    return False


def _stuck(word: str, known_words: Collection[str]) -> bool:
    """Whether the word is two small words stuck together: "ona"."""
    return word not in known_words and any(
        word[:i] in _LIGHT and word[i:] in _LIGHT for i in range(1, len(word))
    )


def _matches(before: str, after: str, known_words: Collection[str]) -> bool:
    """Whether the word is the same but for inflection, spelling, or a small word that was stuck to it."""
    if same_word(before, after):
        return True
    if before in known_words or before.isdigit():
        return False
    if before.endswith(after) and before[: -len(after)] in _LIGHT:
        return True
    if known_words:
        nearly = after in known_words and len(after) >= _MIN_SPELLED
        return nearly and _edits(before, after) <= (2 if len(after) > 2 * _MIN_SPELLED else 1)
    return len(after) > _MIN_SPELLED and _slip(before, after)


def _slip(first: str, second: str) -> bool:
    """Neighbouring letters swapped, or a letter doubled or missing; no letter replaced."""
    if len(first) == len(second):
        return sorted(first) == sorted(second) and _edits(first, second) == 1
    return _edits(first, second) == 1


def _edits(first: str, second: str) -> int:
    """Letters inserted, dropped, replaced or swapped with a neighbour (optimal string alignment)."""
    if abs(len(first) - len(second)) > 2:
        return 3
    rows = [list(range(len(second) + 1))]
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
