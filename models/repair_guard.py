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
_MIN_SPELLED = 4


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
    added = Counter(word for word in new if word in _LIGHT) - Counter(word for word in old if word in _LIGHT)
    if added.total() > _MAX_LIGHT_ADDED:
        return "too many small words"
    return _content_refusal(
        [word for word in old if word not in _LIGHT],
        [word for word in new if word not in _LIGHT],
        known_words,
    )


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def _content_refusal(old: list[str], new: list[str], known_words: Collection[str]) -> str | None:
    """Content words must come in their order; those left out must be said elsewhere."""
    place = 0
    for word in new:
        found = next((i for i in range(place, len(old)) if _matches(old[i], word, known_words)), None)
        if found is None:
            moved = any(_matches(earlier, word, known_words) for earlier in old[:place])
            return "moved words" if moved else "invented words"
        if not all(_said(skipped, new, known_words) for skipped in old[place:found]):
            return "dropped words"
        place = found + 1
    return None if all(_said(left, new, known_words) for left in old[place:]) else "dropped words"


def _said(word: str, words: list[str], known_words: Collection[str]) -> bool:
    if any(_matches(word, other, known_words) for other in words):
        return True
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
