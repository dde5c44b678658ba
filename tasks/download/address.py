"""Which URLs and addresses may be contacted. Pure: no lookups, no connections.

A URL from a stranger is taken apart once, here, and the request is built from the parts, so that the checker
and the client can never read it differently.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import idna
from yarl import URL

from tasks.download.results import Reason

# Browsers stop between 2 kB and 64 kB; common servers refuse request lines above 8 KiB.
MAX_URL_CHARACTERS = 8192

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# What may stand in a request line as it is; "%" too, so that signed URLs are sent as they were signed.
_KEPT = "!$%&'()*+,-./:;=?@_~[]|"

# IPv4 blocks that are not public. Source: IANA IPv4 Special-Purpose Address Registry, and multicast.
_IPV4_NOT_PUBLIC = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT; 100.100.100.200 is a cloud's metadata server
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by number, but a cloud's host agent answers there
        "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata server of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# IPv6: only global unicast is public (RFC 4291), less these. Source: IANA IPv6 Special-Purpose Address
# Registry.
_IPV6_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_IPV6_NOT_PUBLIC = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, among them Teredo, which carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, withdrawn (RFC 7526); carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
# Networks without IPv4 reach it through this prefix, so it is judged by the IPv4 address that it carries (RFC
# 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# Ports of other protocols, which a request could be made to talk to. Source: WHATWG Fetch, "bad ports".
# fmt: off
BAD_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
    103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512,
    513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719,
    1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
    6697, 10080,
))
# fmt: on


class UrlRefused(Exception):
    """A URL that must not be requested, with its reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True)
class Target:
    """A URL that may be requested, once the addresses of its host (where it is a name) are checked too."""

    url: URL
    host: str
    """Lower case, ASCII, no trailing dot, no brackets: what queues and caches go by."""
    port: int


class AllowList:
    """Hosts that may have addresses that are not public.

    ``HOST`` (any port) or ``HOST:PORT``; exact, no patterns.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError, naming the entry, where one cannot be read."""
        self._allowed: set[tuple[str, int | None]] = set()
        for entry in entries:
            try:
                literal = ipaddress.ip_address(entry)
            except ValueError:
                self._allowed.add(_host_and_port(entry))
            else:
                self._allowed.add((str(literal), None))

    def allows(self, host: str, port: int) -> bool:
        """Whether ``host`` (as in ``Target.host``) may be contacted at ``port`` wherever it is."""
        return (host, port) in self._allowed or (host, None) in self._allowed


def _host_and_port(entry: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{entry}")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"allowed host {entry!r}: the port must be a number up to 65535") from error
    if parts.path or parts.query or parts.fragment or "@" in entry or not parts.hostname:
        raise ValueError(f"allowed host {entry!r}: write HOST or HOST:PORT, like localhost:80 or [::1]:80")
    try:
        return _plain_host(parts.hostname), port
    except UrlRefused as error:
        raise ValueError(f"allowed host {entry!r}: {error.detail}") from error


def is_public(address: str) -> bool:
    """Whether an IP address (text) belongs to the public internet, looking into IPv4 that IPv6 carries.

    Raises ValueError where ``address`` is not an IP address.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        if ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        else:
            return ip in _IPV6_GLOBAL_UNICAST and not any(ip in block for block in _IPV6_NOT_PUBLIC)
    return not any(ip in block for block in _IPV4_NOT_PUBLIC)


def is_literal(host: str) -> bool:
    """Whether ``host`` (no brackets) is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def read_url(text: str, allow: AllowList, *, base: URL | None = None) -> Target:
    """Take a URL apart, check everything that can be checked without a lookup, and put it together for the
    client.

    ``base`` is the URL that redirected here: ``text`` may then be relative. Raises ``UrlRefused``.
    """
    text = text.strip()
    if len(text) > MAX_URL_CHARACTERS:
        raise UrlRefused(Reason.INVALID_URL, f"longer than {MAX_URL_CHARACTERS} characters")
    if not text:
        raise UrlRefused(Reason.INVALID_URL, "empty")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise UrlRefused(Reason.INVALID_URL, "control character")
    try:
        parts = urlsplit(urljoin(str(base), text) if base is not None else text)
        port = parts.port
    except ValueError as error:
        raise UrlRefused(Reason.INVALID_URL, str(error)) from error
    if parts.scheme not in _DEFAULT_PORTS:
        if not parts.scheme:
            raise UrlRefused(Reason.INVALID_URL, "no scheme")
        raise UrlRefused(Reason.BLOCKED_SCHEME, f"{parts.scheme[:40]}: is not http or https")
    if "@" in parts.netloc:
        raise UrlRefused(Reason.INVALID_URL, "carries a user name")
    if "\\" in parts.netloc or not parts.hostname:
        raise UrlRefused(Reason.INVALID_URL, "no host")
    host = _plain_host(parts.hostname)
    default_port = _DEFAULT_PORTS[parts.scheme]
    if port is None:
        port = default_port
    if not allow.allows(host, port):
        if port in BAD_PORTS:
            raise UrlRefused(Reason.BLOCKED_PORT, f"port {port}")
        if is_literal(host) and not is_public(host):
            raise UrlRefused(Reason.BLOCKED_ADDRESS, f"{host} is not a public address")
    bracketed = f"[{host}]" if ":" in host else host
    try:
        # Bytes of a Location header that are not UTF-8 arrive as escaped surrogates and leave as they came.
        path = quote(parts.path or "/", safe=_KEPT, errors="surrogateescape")
        query = quote(parts.query, safe=_KEPT, errors="surrogateescape")
    except UnicodeError as error:
        raise UrlRefused(Reason.INVALID_URL, "not Unicode") from error
    url = URL.build(
        scheme=parts.scheme,
        authority=bracketed if port == default_port else f"{bracketed}:{port}",
        path=path,
        query_string=query,
        encoded=True,
    )
    return Target(url=url, host=host, port=port)


def _plain_host(host: str) -> str:
    """Lower-case ASCII host; IP addresses in their one plain form. Raises ``UrlRefused``."""
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except UnicodeError as error:  # idna's own errors among them
            raise UrlRefused(Reason.INVALID_URL, f"host name: {error}") from error
    host = host.lower().removesuffix(".")
    if is_literal(host):
        return str(ipaddress.ip_address(host))
    if len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise UrlRefused(Reason.INVALID_URL, "host name has characters or a length that no name may have")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to the C library; no honest link is written so.
        raise UrlRefused(Reason.BLOCKED_ADDRESS, f"{host[:60]} is an IP address in disguise")
    return host
