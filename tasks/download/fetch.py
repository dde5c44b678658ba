"""One HTTP request, bounded in time and bytes. Knows nothing of retries, hosts' queues or pictures.

Redirects are not followed here: the caller checks their target and queues it under its own host. Nothing is
unpacked while it streams: compressed bodies are not asked for, and those that come anyway are unpacked,
bounded, by the decoder.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp

from tasks.download.address import AllowList, Target, is_literal
from tasks.download.limits import DownloadLimits
from tasks.download.resolver import AddressBlocked, CheckedResolver, Lookup, may_pass, system_lookup
from tasks.download.results import Reason
from tasks.download.robots import opt_out
from tasks.errors import DownloadFailed

# Formats that the decoder takes, so that servers which choose by Accept choose one of them.
_ACCEPT = "image/jpeg,image/png,image/webp,image/gif;q=0.9,image/avif;q=0.8,image/*;q=0.7,*/*;q=0.5"

# Headers of busy sites (CSP, cookies) pass aiohttp's default of 8 KiB a line; times 128 lines this stays
# below 5 MiB.
_MAX_HEADER_BYTES = 32 * 2**10

# Connections that wait for another request to their host. Short: a crawl meets thousands of hosts, and each
# idle connection holds a file descriptor.
_KEEPALIVE_SECONDS = 2.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_FORBIDDEN = frozenset({401, 402, 403, 407, 451})
_WITH_IMAGE = frozenset({200, 203})

# This machine's own trouble: no row's fault, so the partition fails and is tried again.
_LOCAL_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True)
class Body:
    """A whole answer of status 200, as sent."""

    data: bytes
    content_encoding: str
    """Lower case; empty where the body is plain."""


@dataclass(frozen=True)
class Redirect:
    """The answer is elsewhere; ``location`` is unchecked and may be relative."""

    location: str


@dataclass(frozen=True)
class Failure:
    """No image from this request."""

    reason: Reason
    detail: str
    may_pass: bool = False
    """Another try may succeed."""
    host_silent: bool = False
    """The host said nothing, or not in time: it may be dead for other rows too."""
    retry_after_seconds: float | None = None
    """The server's wish."""


class Client:
    """Requests whose every connection goes to an address that was checked. Create and use within one event
    loop.

    Use as ``async with Client(limits) as client``.
    """

    def __init__(self, limits: DownloadLimits, *, lookup: Lookup = system_lookup) -> None:
        self._limits = limits
        self._resolver = CheckedResolver(
            AllowList(limits.allow_hosts),
            concurrency=limits.dns_concurrency,
            timeout_seconds=limits.dns_timeout_seconds,
            cache_seconds=limits.dns_cache_seconds,
            lookup=lookup,
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,  # the resolver caches, and checks what it takes from there
                limit=0,  # rows in flight are bounded by the caller
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ssl=limits.verify_tls,
            ),
            headers={
                "User-Agent": limits.user_agent_header,
                "Accept": _ACCEPT,
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=limits.connect_timeout_seconds,
                sock_read=limits.read_timeout_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy would connect for us, to addresses that nobody checked
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()
        await self._resolver.close()

    async def resolve_ahead(self, target: Target) -> Failure | None:
        """Look the host up before the clock of ``fetch`` starts.

        The answer stays cached and is checked again there.
        """
        if is_literal(target.host):
            return None
        try:
            await self._resolver.resolve(target.host, target.port)
        except OSError as error:
            return _dns_failure(error)
        return None

    async def fetch(self, target: Target, seconds_left: float) -> Body | Redirect | Failure:
        """Request ``target`` once; ``seconds_left`` bounds it from connection to last byte.

        Raises ``DownloadFailed`` only for this machine's own trouble (no file descriptors, no memory).
        """
        limits = self._limits
        try:
            async with asyncio.timeout(seconds_left):
                async with self._session.get(target.url, allow_redirects=False) as response:
                    return await _read(response, limits)
        except aiohttp.ConnectionTimeoutError:
            detail = f"no connection within {limits.connect_timeout_seconds:g} s"
            return Failure(Reason.CONNECT_TIMEOUT, detail, may_pass=True, host_silent=True)
        except aiohttp.SocketTimeoutError:
            detail = f"silent for {limits.read_timeout_seconds:g} s"
            return Failure(Reason.READ_TIMEOUT, detail, may_pass=True, host_silent=True)
        except TimeoutError:
            detail = f"not finished after {limits.total_timeout_seconds:g} s"
            return Failure(Reason.TOTAL_TIMEOUT, detail, may_pass=True, host_silent=True)
        except aiohttp.ClientConnectorDNSError as error:
            return _dns_failure(error.os_error)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            return Failure(Reason.TLS_FAILED, _short(error))
        except aiohttp.ClientConnectorError as error:
            _raise_local_trouble(error.os_error)
            lost = isinstance(error.os_error, (ConnectionResetError, ConnectionAbortedError))
            return Failure(Reason.CONNECT_FAILED, _short(error.os_error), may_pass=lost, host_silent=True)
        except aiohttp.ClientPayloadError as error:
            return Failure(Reason.INCOMPLETE_BODY, _short(error), may_pass=True)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            if isinstance(error, OSError):
                _raise_local_trouble(error)
            return Failure(Reason.CONNECTION_LOST, _short(error), may_pass=True, host_silent=True)
        except aiohttp.InvalidURL as error:
            return Failure(Reason.INVALID_URL, _short(error))
        except (aiohttp.ClientError, ValueError) as error:
            # ValueError: what the header parser lets through when a server sends bytes that no header may
            # have.
            return Failure(Reason.BAD_RESPONSE, _short(error))


async def _read(response: aiohttp.ClientResponse, limits: DownloadLimits) -> Body | Redirect | Failure:
    status = response.status
    if limits.respect_robots_tag:
        rule = opt_out(response.headers.getall("X-Robots-Tag", ()), limits.user_agent_token)
        if rule is not None:
            return Failure(Reason.ROBOTS_OPT_OUT, f"X-Robots-Tag: {rule}")
    if status in _REDIRECTS and "Location" in response.headers:
        return Redirect(response.headers["Location"])
    if status not in _WITH_IMAGE:
        return _status_failure(response)
    announced = response.content_length
    if announced is not None and announced > limits.max_bytes:
        return Failure(Reason.TOO_MANY_BYTES, f"{announced} bytes announced, {limits.max_bytes} allowed")
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limits.max_bytes:
            return Failure(Reason.TOO_MANY_BYTES, f"more than {limits.max_bytes} bytes")
    return Body(bytes(data), response.headers.get("Content-Encoding", "").strip().lower())


def _status_failure(response: aiohttp.ClientResponse) -> Failure:
    status = response.status
    detail = f"status {status}"
    if status in _GONE:
        return Failure(Reason.HTTP_NOT_FOUND, detail)
    if status in _FORBIDDEN:
        return Failure(Reason.HTTP_FORBIDDEN, detail)
    wish = _retry_after_seconds(response.headers.get("Retry-After"))
    if status == 429:
        return Failure(Reason.HTTP_TOO_MANY_REQUESTS, detail, may_pass=True, retry_after_seconds=wish)
    if 400 <= status < 500:
        # 408 Request Timeout and 425 Too Early ask to be tried again.
        return Failure(Reason.HTTP_CLIENT_ERROR, detail, may_pass=status in {408, 425})
    if status >= 500:
        # 501 Not Implemented and 505 HTTP Version Not Supported do not heal.
        return Failure(
            Reason.HTTP_SERVER_ERROR, detail, may_pass=status not in {501, 505}, retry_after_seconds=wish
        )
    return Failure(Reason.HTTP_UNEXPECTED_STATUS, detail)


def _retry_after_seconds(value: str | None) -> float | None:
    """Seconds from now, from a number or an HTTP date; None where there is none or it makes no sense."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, when.timestamp() - time.time())


def _dns_failure(error: OSError) -> Failure:
    if isinstance(error, AddressBlocked):
        return Failure(Reason.BLOCKED_ADDRESS, str(error))
    _raise_local_trouble(error)
    return Failure(Reason.DNS_FAILED, _short(error), may_pass=may_pass(error))


def _raise_local_trouble(error: OSError) -> None:
    if error.errno in _LOCAL_TROUBLE:
        raise DownloadFailed(
            f"this machine cannot open more connections ({error.strerror or error}): "
            "raise the limit (ulimit -n) or lower the download concurrency"
        ) from error


def _short(error: BaseException) -> str:
    """One line of bounded length: servers choose parts of these texts."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
