"""Case marker: a text without capitals that says where the capitals were.

"A dog on a TV." <-> "^ a dog on a^ t^v.": a small vocabulary then needs each word once. A word keeps the space before
it, also the first, so that it is the same piece wherever it stands.
"""

from __future__ import annotations

import re

CASE_MARKER = "^"


def mark_case(text: str) -> str:
    """The marked form. A marker that the text itself holds is dropped."""
    return re.sub(
        r"( ?)([A-Z])", lambda m: CASE_MARKER + m[1] + m[2].lower(), " " + text.replace(CASE_MARKER, "")
    )


def unmark_case(text: str) -> str:
    """The plain form of a marked text; a marker before anything but a letter is dropped."""
    plain = re.sub(r"\^( ?)([a-z])", lambda m: m[1] + m[2].upper(), text)
    return " ".join(plain.replace(CASE_MARKER, "").split())
