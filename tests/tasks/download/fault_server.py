"""An HTTP server on loopback that does to the downloader what the web does: a path per fault, raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from tests.tasks.download import pictures

GZIP_BOMB = gzip.compress(bytes(20_000_000))

Behaviour = Callable[["FaultServer", str, asyncio.StreamWriter], Awaitable[None]]


def reply(
    body: bytes = b"",
    status: str = "200 OK",
    content_type: str | None = "image/jpeg",
    length: int | None = -1,
    headers: tuple[str, ...] = (),
) -> bytes:
    """A whole HTTP/1.1 answer; ``length`` -1 is the true one, None sends none (and closes)."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length == -1 else length}")
    else:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class FaultServer:
    """``fixed`` answers by path; anything that needs time or state is a behaviour."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.heads: list[str] = []
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.port = 0
        self.closes: set[str] = set()
        self.fixed: dict[str, bytes] = {
            "/dog.jpg": reply(pictures.jpeg()),
            "/404": reply(status="404 Not Found"),
            "/410": reply(status="410 Gone"),
            "/403": reply(status="403 Forbidden"),
            "/451": reply(status="451 Unavailable For Legal Reasons"),
            "/418": reply(status="418 I'm a teapot"),
            "/429": reply(status="429 Too Many Requests", headers=("Retry-After: 0",)),
            "/500": reply(status="500 Internal Server Error"),
            "/501": reply(status="501 Not Implemented"),
            "/204": reply(status="204 No Content", length=None),
            "/206": reply(pictures.jpeg(), status="206 Partial Content"),
            "/no-location": reply(status="302 Found"),
            "/retry-later": reply(status="503 Service Unavailable", headers=("Retry-After: 86400",)),
            "/retry-at-a-date": reply(
                status="503 Service Unavailable", headers=("Retry-After: Fri, 31 Dec 2999 23:59:59 GMT",)
            ),
            "/retry-odd": reply(status="503 Service Unavailable", headers=("Retry-After: soon",)),
            "/html.jpg": reply(b"<!DOCTYPE html><html><body>Buy domains</body></html>"),
            "/json.jpg": reply(b'{"error": "gone"}'),
            "/empty.jpg": reply(),
            "/svg.jpg": reply(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'),
            "/tiff.jpg": reply(pictures.encoded(pictures.picture(), "TIFF")),
            "/truncated.jpg": reply(pictures.jpeg()[:-400]),
            "/truncated.png": reply(pictures.encoded(pictures.picture(), "PNG")[:-60]),
            "/bomb.png": reply(pictures.png_that_declares(30_000, 30_000)),
            "/pixel.gif": reply(pictures.encoded(pictures.picture((1, 1)), "GIF")),
            "/ribbon.png": reply(pictures.encoded(pictures.picture((900, 20)), "PNG")),
            "/noai": reply(pictures.jpeg(), headers=("X-Robots-Tag: noai",)),
            "/noindex-other": reply(pictures.jpeg(), headers=("X-Robots-Tag: otherbot: noindex",)),
            "/noindex-us": reply(
                pictures.jpeg(), headers=("x-robots-tag: nofollow", "X-Robots-Tag: Cocoscribe: NoIndex")
            ),
            "/noai-then-moved": reply(
                status="302 Found", headers=("Location: /dog.jpg", "X-Robots-Tag: noimageai")
            ),
            "/length-too-small": reply(pictures.jpeg(), length=500),
            "/length-too-big": reply(
                pictures.jpeg(), length=len(pictures.jpeg()) + 500, headers=("Connection: close",)
            ),
            "/length-huge": reply(b"x", length=10**12),
            "/no-length": reply(pictures.jpeg(), length=None),
            "/gzip": reply(gzip.compress(pictures.jpeg()), headers=("Content-Encoding: gzip",)),
            "/gzip-claimed": reply(pictures.jpeg(), headers=("Content-Encoding: gzip",)),
            "/gzip-bomb": reply(GZIP_BOMB, headers=("Content-Encoding: gzip",)),
            "/gzip-cut": reply(gzip.compress(pictures.jpeg())[:-300], headers=("Content-Encoding: gzip",)),
            "/deflate": reply(zlib.compress(pictures.jpeg()), headers=("Content-Encoding: deflate",)),
            "/brotli": reply(b"\x0b\x02\x80", headers=("Content-Encoding: br",)),
            "/not-http": b"220 mail.example.com ESMTP\r\n",
            "/huge-header": reply(headers=("X-Long: " + "a" * 100_000,)),
            "/many-headers": reply(headers=tuple(f"X-{n}: a" for n in range(1000))),
            "/cookie": reply(
                status="302 Found", headers=("Location: /see-cookie", "Set-Cookie: id=1; Path=/")
            ),
            "/see-cookie": reply(pictures.jpeg()),
        }
        self.behaviours: dict[str, Behaviour] = {
            "/silent": silent,
            "/stalls": stalls,
            "/drips": drips,
            "/floods": floods,
            "/resets": resets,
            "/heals": heals,
            "/resets-once": resets_once,
            "/slow": slow,
        }

    def to(self, path: str, location: str, status: str = "302 Found") -> None:
        """Make ``path`` redirect to ``location``."""
        self.fixed[path] = reply(status=status, headers=(f"Location: {location}",))

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def allow(self) -> tuple[str, ...]:
        return (f"127.0.0.1:{self.port}",)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ", 2)[1]
                route = path.split("?")[0]
                self.hits[path] += 1
                self.heads.append(head)
                self.at_once[route] += 1
                self.most_at_once[route] = max(self.most_at_once[route], self.at_once[route])
                try:
                    behaviour = self.behaviours.get(route)
                    if behaviour is not None:
                        await behaviour(self, path, writer)
                    else:
                        content = self.fixed.get(route, self.fixed["/404"])
                        writer.write(content)
                        await writer.drain()
                        if route in self.closes or b"Connection: close" in content or content[:4] != b"HTTP":
                            break
                finally:
                    self.at_once[route] -= 1
        writer.close()


async def silent(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def stalls(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(server.fixed["/dog.jpg"][:-300])
    await asyncio.sleep(60)


async def drips(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def floods(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def resets(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    raise ConnectionResetError


async def heals(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(server.fixed["/500" if server.hits[path] == 1 else "/dog.jpg"])


async def resets_once(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    # Twice: the client library itself tries once more when a connection is lost before any answer.
    if server.hits[path] <= 2:
        await resets(server, path, writer)
    writer.write(server.fixed["/dog.jpg"])


async def slow(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.03)
    writer.write(server.fixed["/dog.jpg"])


@contextlib.contextmanager
def fault_server() -> Iterator[FaultServer]:
    """A running server on a free port, in a thread of its own."""
    server = FaultServer()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> asyncio.Server:
        listener = await asyncio.start_server(server.answer, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
        started.set()
        return listener

    def main() -> None:
        asyncio.set_event_loop(loop)
        listener = loop.run_until_complete(serve())
        loop.run_forever()
        listener.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    assert started.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
