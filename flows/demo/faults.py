"""What the demo plants and what must come of it: one table for the server, the source, the docs and tests.

Knows no HTTP and no parquet. ``{base}`` in an address stands for the demo server, ``http://127.0.0.1:PORT``.
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED = "published"
"""The outcome of rows that look odd and are healthy."""


@dataclass(frozen=True)
class Fault:
    """One planted row of the demo's input."""

    name: str
    """Unique; the route of the demo server carries it."""
    row: int
    """Number in the input, from 0."""
    address: str | None
    """Value of the URL column, ``{base}`` to be filled in; None is null."""
    outcome: str
    """``PUBLISHED``, or the reason under which the row is rejected."""
    what: str
    """In words, for the docs."""

    def url(self, base: str) -> str | None:
        return self.address.format(base=base) if self.address is not None else None


def _planted() -> tuple[Fault, ...]:
    served, scene = "{base}/odd/", "{base}/scenes/00000.jpg"
    rows: list[tuple[str, str | None, str, str]] = [
        # Healthy, though odd.
        ("heals", served + "heals.jpg", PUBLISHED, "500 at first, the image on the second try"),
        ("busy", served + "busy.jpg", PUBLISHED, "429 with Retry-After: 1 at first, then the image"),
        ("moved", served + "moved.jpg", PUBLISHED, "two redirects, the second one relative, to an image"),
        ("cmyk", served + "cmyk.jpg", PUBLISHED, "a CMYK JPEG: converted to RGB"),
        ("alpha", served + "alpha.png", PUBLISHED, "a PNG with a transparent margin: laid on white"),
        ("rotated", served + "rotated.jpg", PUBLISHED, "a JPEG on its side, EXIF orientation 6: turned"),
        ("palette", served + "palette.png", PUBLISHED, "a PNG of 128 colours"),
        ("webp", served + "webp.webp", PUBLISHED, "a WebP"),
        ("animated", served + "animated.gif", PUBLISHED, "an animated GIF: its first frame counts"),
        ("mislabelled", served + "mislabelled", PUBLISHED, "a JPEG served as application/octet-stream"),
        # What the server does wrong.
        ("not-found", served + "not-found.jpg", "http_not_found", "404"),
        ("gone", served + "gone.jpg", "http_not_found", "410"),
        ("forbidden", served + "forbidden.jpg", "http_forbidden", "403"),
        ("broken", served + "broken.jpg", "http_server_error", "500 every time"),
        ("overloaded", served + "overloaded.jpg", "retry_after_too_long", "503 with Retry-After: 86400"),
        ("endless", served + "endless.jpg", "total_timeout", "a byte now and then, without end"),
        ("stalled", served + "stalled.jpg", "read_timeout", "half of an image, then silence"),
        (
            "cut-off",
            served + "cut-off.jpg",
            "incomplete_body",
            "a connection closed before the announced length",
        ),
        ("flood", served + "flood.jpg", "too_many_bytes", "megabytes without end"),
        ("loop", served + "loop.jpg", "too_many_redirects", "a redirect to itself"),
        # What is in the files.
        ("html", served + "html.jpg", "not_an_image", "an HTML page with an image's suffix and content type"),
        ("empty", served + "empty.jpg", "not_an_image", "200 and no bytes"),
        ("truncated", served + "truncated.jpg", "truncated_image", "the first 60 % of a JPEG"),
        ("garbled", served + "garbled.jpg", "undecodable_image", "a JPEG's first bytes, then zeros"),
        ("giant", served + "giant.png", "too_many_pixels", "a tiny PNG that declares 30,000 x 30,000 pixels"),
        ("svg", served + "svg.jpg", "unsupported_format", "an SVG"),
        ("pixel", served + "pixel.gif", "too_small", "a tracking pixel of 1 x 1"),
        # Whom we must not disturb, and where we must not go.
        ("noai", served + "noai.jpg", "robots_opt_out", "an image with the header X-Robots-Tag: noai"),
        ("to-private", served + "to-private.jpg", "blocked_address", "a redirect to http://10.0.0.1/"),
        ("to-metadata", served + "to-metadata.jpg", "blocked_address", "a redirect to the cloud's metadata"),
        ("private", "http://192.168.0.1/dog.jpg", "blocked_address", "a private address"),
        ("loopback", "http://127.0.0.1:8000/dog.jpg", "blocked_address", "another port of this machine"),
        # What is in the table.
        ("ftp", "ftp://images.example.com/dog.jpg", "blocked_scheme", "a scheme other than http and https"),
        ("invalid", "http://[dog.jpg", "invalid_url", "no URL at all"),
        ("null", None, "missing_url", "a null"),
        ("duplicate", scene, "duplicate_url", "the URL of an earlier row"),
    ]
    # Spread over the input, every fourth row from the third on; the first rows are plain.
    return tuple(
        Fault(name, 2 + 4 * i, url, outcome, what) for i, (name, url, outcome, what) in enumerate(rows)
    )


FAULTS: tuple[Fault, ...] = _planted()


def healthy() -> tuple[Fault, ...]:
    """The odd rows that must be published, in row order; each shows a scene of its own."""
    return tuple(fault for fault in FAULTS if fault.outcome == PUBLISHED)


def expected_rejections(rows: int) -> dict[str, int]:
    """Rejected rows by reason of a demo with ``rows`` rows."""
    counts: dict[str, int] = {}
    for fault in FAULTS:
        if fault.row < rows and fault.outcome != PUBLISHED:
            counts[fault.outcome] = counts.get(fault.outcome, 0) + 1
    return dict(sorted(counts.items()))
