"""Names to addresses, each checked before it is handed out: the client connects to exactly what was checked.

One lookup serves all that ask for a name at the time and for a while after, failures too: crawls repeat
names, and a flood of lookups is what breaks large downloads.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from tasks.download.address import AllowList, is_public

# Lookup of a name: IP addresses as text in order of preference; raises OSError (socket.gaierror) where there
# is none.
Lookup = Callable[[str], Sequence[str]]

# Names kept: bounds memory on endless inputs at some 10 MB.
_MAX_NAMES = 50_000


class AddressBlocked(OSError):
    """The name has an address that is not public."""


class LookupTimeout(OSError):
    """The system resolver did not come back; may pass."""


def system_lookup(host: str) -> Sequence[str]:
    """The operating system's resolver, with its search rules and /etc/hosts; blocks."""
    # Bytes: names are ASCII already, and Python's own conversion raises UnicodeError on some of them.
    found = socket.getaddrinfo(
        host.encode("ascii"), None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def may_pass(error: OSError) -> bool:
    """Whether another lookup may succeed: the server's trouble, not the name's absence."""
    return isinstance(error, LookupTimeout) or (
        isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    )


class CheckedResolver(AbstractResolver):
    """Resolver for aiohttp's connector.

    ``resolve`` raises ``AddressBlocked`` where any address is not public.
    """

    def __init__(
        self,
        allow: AllowList,
        *,
        concurrency: int,
        timeout_seconds: float,
        cache_seconds: float,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._allow = allow
        self._lookup = lookup
        self._timeout_seconds = timeout_seconds
        self._cache_seconds = cache_seconds
        self._slots = asyncio.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="dns")
        self._names: dict[str, tuple[float, asyncio.Task[Sequence[str]]]] = {}
        self._under_way: set[asyncio.Future[Sequence[str]]] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host``, all of them checked.

        Raises OSError: ``AddressBlocked``, ``LookupTimeout`` or socket.gaierror.
        """
        host = host.lower().removesuffix(".")
        addresses = await self._addresses(host)
        if not self._allow.allows(host, port):
            for address in addresses:
                if not is_public(address):
                    raise AddressBlocked(f"{host} resolves to {address}, which is not a public address")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Give up what is under way; threads inside the system resolver end on their own."""
        for _, task in self._names.values():
            task.cancel()
        for answer in list(self._under_way):
            answer.cancel()
        await asyncio.gather(*(task for _, task in self._names.values()), return_exceptions=True)
        self._names.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, host: str) -> Sequence[str]:
        now = asyncio.get_running_loop().time()
        known = self._names.get(host)
        if known is None or known[0] <= now:
            while len(self._names) >= _MAX_NAMES:
                self._names.pop(next(iter(self._names)))
            known = (now + self._cache_seconds, asyncio.create_task(self._ask(host)))
            self._names[host] = known
        try:
            # Shielded: a row that runs out of time must not take the answer from the others.
            return await asyncio.shield(known[1])
        except OSError as error:
            if may_pass(error) and self._names.get(host) is known:
                del self._names[host]
            raise

    async def _ask(self, host: str) -> Sequence[str]:
        await self._slots.acquire()
        # The slot is held until the thread is back, not until we lose patience: else lookups would queue
        # behind stuck threads and time out for no fault of theirs.
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._lookup, host)
        self._under_way.add(answer)
        answer.add_done_callback(self._free)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await asyncio.shield(answer)
        except TimeoutError as error:
            raise LookupTimeout(f"no answer within {self._timeout_seconds:g} s") from error
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return addresses

    def _free(self, answer: asyncio.Future[Sequence[str]]) -> None:
        self._slots.release()
        self._under_way.discard(answer)
        if not answer.cancelled():
            answer.exception()  # marks it as seen: nobody may be waiting any more
