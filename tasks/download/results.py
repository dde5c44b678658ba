"""What goes into the downloader and what comes out.

One row in, exactly one result out. Knows nothing of how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a row has no image: the whole vocabulary. ``docs/download.md`` says what each means to the user."""

    INVALID_URL = "invalid_url"
    """Not a URL, no host, carries a user name, or longer than 8 KiB."""
    BLOCKED_SCHEME = "blocked_scheme"
    """Neither http nor https (data:, ftp:, file:), in the row or in a redirect."""
    BLOCKED_ADDRESS = "blocked_address"
    """The host is, or resolves to, an address that is not public; at the row's URL or at any redirect."""
    BLOCKED_PORT = "blocked_port"
    """A port that belongs to another protocol (mail, SSH, IRC), which no browser would open either."""
    DNS_FAILED = "dns_failed"
    """The host's name does not exist or the name server did not answer."""
    CONNECT_FAILED = "connect_failed"
    """Connection refused, or no route."""
    CONNECT_TIMEOUT = "connect_timeout"
    """No connection (TLS included) within ``connect_timeout_seconds``."""
    CONNECTION_LOST = "connection_lost"
    """Reset or closed by the server before the answer began."""
    TLS_FAILED = "tls_failed"
    """Certificate invalid, expired or for another name, or no common protocol."""
    READ_TIMEOUT = "read_timeout"
    """Silence for ``read_timeout_seconds`` within an answer."""
    TOTAL_TIMEOUT = "total_timeout"
    """An answer that keeps sending but is not whole after ``total_timeout_seconds``."""
    HOST_UNREACHABLE = "host_unreachable"
    """Not tried: the host failed ``host_failures`` times in a row without an answer."""
    HTTP_NOT_FOUND = "http_not_found"
    """Status 404 or 410: the image is gone."""
    HTTP_FORBIDDEN = "http_forbidden"
    """Status 401, 402, 403, 407 or 451."""
    HTTP_TOO_MANY_REQUESTS = "http_too_many_requests"
    """Status 429, also after the retries."""
    HTTP_CLIENT_ERROR = "http_client_error"
    """Any other status 4xx."""
    HTTP_SERVER_ERROR = "http_server_error"
    """Status 5xx, also after the retries."""
    HTTP_UNEXPECTED_STATUS = "http_unexpected_status"
    """A status that promises no image: 204, 206, 304, a redirect without an address."""
    RETRY_AFTER_TOO_LONG = "retry_after_too_long"
    """The server asks for a longer wait than ``max_retry_after_seconds``."""
    TOO_MANY_REDIRECTS = "too_many_redirects"
    """More than ``max_redirects``."""
    BAD_RESPONSE = "bad_response"
    """Not HTTP, or HTTP with broken or oversized headers."""
    INCOMPLETE_BODY = "incomplete_body"
    """The connection ended before the announced length, also after the retries."""
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    """Compressed in a way that was not asked for and that is not gzip or deflate, or broken."""
    TOO_MANY_BYTES = "too_many_bytes"
    """Larger than ``max_bytes``, announced, sent, or after unpacking."""
    ROBOTS_OPT_OUT = "robots_opt_out"
    """``X-Robots-Tag`` says noai, noimageai, noindex, noimageindex or none."""
    NOT_AN_IMAGE = "not_an_image"
    """The content is something else: HTML, JSON, text, nothing at all."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """An image of a format that is not decoded: SVG, TIFF, HEIC, JPEG XL, JPEG 2000, ICO, PSD."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header declares more than ``max_pixels``; nothing was decoded."""
    TOO_SMALL = "too_small"
    """Shortest side below ``min_shortest_side``: tracking pixels and spacers."""
    TOO_ELONGATED = "too_elongated"
    """Longest side more than ``max_aspect_ratio`` times the shortest."""
    TRUNCATED_IMAGE = "truncated_image"
    """The file ends before the picture does."""
    UNDECODABLE_IMAGE = "undecodable_image"
    """The decoder refused the content for any other cause."""


@dataclass(frozen=True)
class ImageRow:
    """One row to download. ``key`` is unique within the call and comes back with the result."""

    key: str
    url: str


@dataclass(frozen=True)
class Downloaded:
    """A row that has its image."""

    key: str
    image: bytes
    """RGB JPEG, PNG or WebP that needs no rotation, shortest side at most ``stored_shortest_side``.

    Decodes whole.
    """
    sha256: str
    """Of the image file as the server sent it (after transfer and content decoding), hexadecimal."""
    width: int
    """Pixels of the original, orientation applied."""
    height: int
    attempts: int
    """1 when the first request sequence brought it."""


@dataclass(frozen=True)
class Refused:
    """A row that ends here. ``reason`` is a ``Reason`` value; ``detail`` is for people and is not stable."""

    key: str
    reason: str
    detail: str
