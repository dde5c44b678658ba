from __future__ import annotations

import pytest

from tasks.download.robots import opt_out


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([], None),
        ([""], None),
        (["all"], None),
        (["nofollow, nosnippet"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["nofollow, noindex"], "noindex"),
        (["nofollow", "noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["googlebot: noindex"], None),
        (["googlebot: nofollow, noindex"], None),
        (["googlebot: noindex", "noai"], "noai"),
        (["cocoscribe: noindex"], "noindex"),
        (["Cocoscribe : noarchive, noai"], "noai"),
        (["*: noai"], "noai"),
        (["googlebot: noindex, cocoscribe: noai"], "noai"),
        (["max-image-preview: none"], None),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["noaircraft"], None),
    ],
)
def test_opt_out(values: list[str], rule: str | None):
    assert opt_out(values, "cocoscribe") == rule
