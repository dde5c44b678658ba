"""Every knob of the downloader, once, with its unit in its name and where its value comes from."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.download.address import AllowList


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of one call; raises ValueError for values that cannot work.

    They bound memory: at most ``concurrency * max_bytes`` of bodies (1 GiB) and ``decode_threads`` pictures of
    ``max_pixels`` being decoded.
    """

    connect_timeout_seconds: float = 5.0
    """TCP and TLS. A host that needs more than one SYN retransmission (1 s + 2 s) is as good as dead."""
    read_timeout_seconds: float = 10.0
    """Longest silence within an answer; img2dataset's default for the whole download."""
    total_timeout_seconds: float = 30.0
    """One attempt with all its redirects, waiting for a slot and DNS not counted.

    The bound for a slow drip.
    """
    dns_timeout_seconds: float = 20.0
    """One lookup.

    Above the system resolver's own two tries of 5 s at two servers, so it is the last resort.
    """
    dns_cache_seconds: float = 300.0
    """How long an answer, good or bad, is reused; names of a crawl repeat within minutes."""
    dns_concurrency: int = 32
    """Lookups at once. More overloads a resolver: img2dataset's users lost up to 70 % of rows that way."""
    max_bytes: int = 16 * 2**20
    """Of a body, announced or sent, also after unpacking. The web's median image is near 0.1 MB."""
    max_pixels: int = 64_000_000
    """Declared, before decoding: 192 MB as RGB. Phone cameras give 12 to 50 million."""
    min_shortest_side: int = 16
    """Pixels. Smaller ones are tracking pixels, spacers and icons: there is nothing to caption."""
    max_aspect_ratio: float = 20.0
    """Longest side by shortest.

    Beyond, the captioner's square holds a smear; it also bounds what is stored.
    """
    max_redirects: int = 5
    """Image links rarely need more than two (http to https, then a CDN); each is checked again."""
    concurrency: int = 64
    """Rows in flight, per call. A row that waits for its host, or to be retried, takes no place."""
    per_host: int = 8
    """Requests at once to one host, per call: browsers open 6. Every Dask worker counts for itself."""
    host_failures: int = 12
    """Failures in a row without any answer after which a host's other rows end as host_unreachable,
    untried."""
    attempts: int = 3
    """Requests per row for what may pass: timeouts, lost connections, 429, 5xx, DNS trouble."""
    backoff_seconds: float = 0.5
    """Wait before the second attempt.

    Doubles each time; the real wait is 0.5 to 1.5 times that, by chance.
    """
    max_backoff_seconds: float = 8.0
    max_retry_after_seconds: float = 60.0
    """Longest Retry-After that is waited out (the whole host rests meanwhile); a longer one ends the row."""
    lookahead_rows: int = 20_000
    """Rows read ahead, so that many hosts are at hand when one is slow; two partitions of default size."""
    decode_threads: int = 2
    """Pillow decodes outside the interpreter lock; the event loop needs a good half of a core itself."""
    stored_shortest_side: int = 512
    """Pixels kept. The captioner sees 384 x 384, the largest ranker 448 x 448; nothing sees more."""
    allow_hosts: tuple[str, ...] = ()
    """``HOST`` or ``HOST:PORT`` that may have addresses that are not public; exact, no patterns."""
    respect_robots_tag: bool = True
    """Honour ``X-Robots-Tag`` opt-outs."""
    verify_tls: bool = True
    """Check certificates. img2dataset does not; for public pictures turning it off is defensible."""
    user_agent: str = "cocoscribe/0.1"
    """Honest name; the part before the slash is the token that X-Robots-Tag rules may address."""
    contact: str = ""
    """URL or mail address for site owners, appended to the User-Agent."""

    def __post_init__(self) -> None:
        AllowList(self.allow_hosts)  # complains about what it cannot read
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0")
        if self.max_aspect_ratio < 1:
            raise ValueError("max_aspect_ratio must be at least 1")
        if not self.user_agent or not (self.user_agent + self.contact).isprintable():
            raise ValueError(
                "user_agent must be given, and it and contact must be printable text on one line"
            )

    @property
    def user_agent_header(self) -> str:
        """What servers are told: ``cocoscribe/0.1 (+https://example.org/bot)``."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent

    @property
    def user_agent_token(self) -> str:
        """The name that X-Robots-Tag rules may address, lower case: ``cocoscribe``."""
        return self.user_agent.split("/", 1)[0].strip().lower()


# Knobs that change how fast results come, never what they are: digests of a run's settings leave them out.
SPEED_ONLY = ("dns_concurrency", "concurrency", "per_host", "lookahead_rows", "decode_threads")

_POSITIVE = (
    "connect_timeout_seconds",
    "read_timeout_seconds",
    "total_timeout_seconds",
    "dns_timeout_seconds",
    "dns_concurrency",
    "max_bytes",
    "max_pixels",
    "min_shortest_side",
    "concurrency",
    "per_host",
    "host_failures",
    "attempts",
    "lookahead_rows",
    "decode_threads",
    "stored_shortest_side",
)
_NOT_NEGATIVE = (
    "dns_cache_seconds",
    "max_redirects",
    "backoff_seconds",
    "max_backoff_seconds",
    "max_retry_after_seconds",
)
