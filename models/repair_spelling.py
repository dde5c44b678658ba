"""Spelling by a word list: slips of the keyboard in words that the list does not know.

Letters swapped, doubled or missing, and a small word stuck to the next ("thebeach"); never another letter in place
of one, since that makes other words. Words with capitals within a sentence are names and stay. Knows nothing of
grammar; a word that the list knows is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from models.repair_inflection import singular

_STUCK = ("a", "an", "the", "on", "in", "of", "with", "at", "to", "and", "is", "his", "her")
# How often a word must have been seen to be what another one was meant to be: more for the likelier accidents.
_MIN_COUNT_SLIP, _MIN_COUNT_MISSING, _MIN_COUNT_STUCK, _MIN_COUNT_SHORT = 5, 15, 30, 300
_MIN_LETTERS = 4
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Speller:
    """Corrects words against counts of words (lower case) in text that is mostly right."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = counts
        self._corrections: dict[str, str] = {}

    def correct(self, text: str) -> str:
        """The text with its slips mended; the text itself if the word list is empty."""
        if not self.counts:
            return text
        return re.sub(r"(?<![\w'.-])[A-Za-z]+(?![\w'-]|\.\w)", lambda match: self._correct_match(match), text)

    @classmethod
    def read(cls, path: Path) -> Speller:
        """From lines of a word and its count. Raises `ValueError` for anything else."""
        lines = path.read_text(encoding="utf-8").splitlines()
        return cls({word: int(count) for word, count in (line.split(" ") for line in lines)})

    def write(self, path: Path) -> None:
        """The list that `read` reads, most frequent first."""
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        path.write_text("".join(f"{word} {count}\n" for word, count in ranked), encoding="utf-8")

    def knows(self, word: str) -> bool:
        """Whether a lower-case word, or the singular of it, is in the list."""
        return word in self.counts or singular(word) in self.counts

    def _correct_match(self, match: re.Match[str]) -> str:
        word = match[0]
        rest_capital = any(letter.isupper() for letter in word[1:])
        if rest_capital or (word[0].isupper() and match.start() > 0):
            return word
        correction = self._correction(word.lower())
        return correction[0].upper() + correction[1:] if word[0].isupper() else correction

    def _correction(self, word: str) -> str:
        if word not in self._corrections:
            self._corrections[word] = word if self.knows(word) else self._meant(word)
        return self._corrections[word]

    def _meant(self, word: str) -> str:
        for small in _STUCK:
            rest = word.removeprefix(small)
            if rest != word and self._seen(rest) >= (
                _MIN_COUNT_STUCK if len(rest) >= _MIN_LETTERS else _MIN_COUNT_SHORT
            ):
                return f"{small} {rest}"
        if len(word) < _MIN_LETTERS:
            meant = [other for other in _swapped(word) if self._seen(other) >= _MIN_COUNT_SHORT]
        else:
            meant = [
                other
                for other in (*_swapped(word), *_undoubled(word))
                if self._seen(other) >= _MIN_COUNT_SLIP
            ]
            meant += [other for other in _completed(word) if self._seen(other) >= _MIN_COUNT_MISSING]
        # Ties go to the alphabet, so that the answer does not depend on the order of a set.
        return max(meant, key=lambda other: (self._seen(other), other), default=word)

    def _seen(self, word: str) -> int:
        return self.counts.get(word, 0)


def _swapped(word: str) -> Iterator[str]:
    """Neighbouring letters swapped back; the first letter is hardly ever part of it."""
    for i in range(len(word) - 1):
        yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _undoubled(word: str) -> Iterator[str]:
    for i in range(len(word) - 1):
        if word[i] == word[i + 1]:
            yield word[:i] + word[i + 1 :]


def _completed(word: str) -> Iterator[str]:
    """A letter put in, but not at the ends: "pizz" may be a name, and "s" at the end is grammar."""
    for i in range(1, len(word)):
        for letter in _LETTERS:
            yield word[:i] + letter + word[i:]
