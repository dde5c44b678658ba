"""Whether an answer's ``X-Robots-Tag`` headers opt out of what we do. Pure text."""

from __future__ import annotations

from collections.abc import Iterable

# noindex and noimageindex: do not put into a collection. noai and noimageai: do not use for machine learning.
# none is short for "noindex, nofollow". The same four as img2dataset, and none.
OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})

# Rules of the form "name: value", which are not names of robots.
_RULES_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def opt_out(values: Iterable[str], user_agent_token: str) -> str | None:
    """The first rule that opts us out, or None.

    Each of ``values`` is one header's text: rules parted by commas. A robot's name and a colon before a rule
    make it and those after it that robot's; rules for others than ``user_agent_token`` (lower case) and ``*``
    are not ours.
    """
    for value in values:
        ours = True
        for part in value.lower().split(","):
            rule = part.strip()
            name, colon, rest = rule.partition(":")
            if colon and name.strip() in _RULES_WITH_VALUE:
                continue
            if colon:
                ours = name.strip() in {"*", user_agent_token}
                rule = rest.strip()
            if ours and rule in OPT_OUTS:
                return rule
    return None
