"""A web server on loopback that serves the bundled scenes and misbehaves as planted, in a process of its own.

``with demo_server() as server: server.base`` starts it. It ends with the block and, should the parent be
killed, by itself: its standard input is a pipe from the parent, whose end it watches. By hand:
``python -m flows.demo.server [PORT]``. Knows nothing of the pipeline.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from flows.demo import odd_images
from flows.demo.bundle import BundledScene, bundled_scenes, jpeg_of
from flows.demo.faults import healthy

HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 30.0
"""Python, aiohttp and Pillow start in about a second; a loaded machine may need more."""
_PARENT_CHECK_SECONDS = 1.0
_DRIBBLE_SECONDS = 0.2
_FLOOD_CHUNK = b"\xff\xd8\xff\xe0" + bytes(65_532)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class DemoServer:
    """A running server."""

    port: int
    pid: int

    @property
    def base(self) -> str:
        """Start of every served URL, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def allow_host(self) -> str:
        """What ``--allow-host`` must name: the downloader refuses loopback otherwise."""
        return f"{HOST}:{self.port}"


@contextlib.contextmanager
def demo_server(preferred_port: int | None = None) -> Iterator[DemoServer]:
    """Run the server as a child process, on ``preferred_port`` if that is free and else on any free port.

    Raises RuntimeError where it does not start, with what it said.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.demo.server", str(preferred_port or 0)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_SECONDS)
        first_line = process.stdout.readline() if ready else b""
        if not first_line:
            raise RuntimeError(f"the demo's web server did not start on {HOST}; see the error above")
        yield DemoServer(port=int(json.loads(first_line)["port"]), pid=process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def application() -> web.Application:
    """Scenes under ``/scenes/``, planted faults under ``/odd/``."""
    app = web.Application()
    scenes = {scene.file: jpeg_of(scene) for scene in bundled_scenes()}

    async def serve_scene(request: web.Request) -> web.Response:
        if (content := scenes.get(request.match_info["file"])) is None:
            raise web.HTTPNotFound
        return _image(content)

    app.router.add_get("/scenes/{file}", serve_scene)
    for path, handler in _odd_routes().items():
        app.router.add_get(f"/odd/{path}", handler)
    return app


def odd_scene(name: str) -> BundledScene:
    """The scene that an odd but healthy row shows: from the end of the bundle, where no plain row goes."""
    names = [fault.name for fault in healthy()]
    return bundled_scenes()[-1 - names.index(name)]


def _odd_routes() -> dict[str, Handler]:
    odd = {fault.name: jpeg_of(odd_scene(fault.name)) for fault in healthy()}
    some = jpeg_of(bundled_scenes()[0])
    return {
        "heals.jpg": _second_time(odd["heals"], 500),
        "busy.jpg": _second_time(odd["busy"], 429, {"Retry-After": "1"}),
        "moved.jpg": _redirect("/odd/moved-on.jpg", absolute=True),
        "moved-on.jpg": _redirect("moved-here.jpg"),
        "moved-here.jpg": _always(odd["moved"]),
        "cmyk.jpg": _always(odd_images.cmyk_jpeg(odd["cmyk"])),
        "alpha.png": _always(odd_images.alpha_png(odd["alpha"]), "image/png"),
        "rotated.jpg": _always(odd_images.rotated_jpeg(odd["rotated"])),
        "palette.png": _always(odd_images.palette_png(odd["palette"]), "image/png"),
        "webp.webp": _always(odd_images.webp(odd["webp"]), "image/webp"),
        "animated.gif": _always(odd_images.animated_gif(odd["animated"]), "image/gif"),
        "mislabelled": _always(odd["mislabelled"], "application/octet-stream"),
        "not-found.jpg": _always(b"", status=404),
        "gone.jpg": _always(b"", status=410),
        "forbidden.jpg": _always(b"", status=403),
        "broken.jpg": _always(b"", status=500),
        "endless.jpg": _endless(some),
        "stalled.jpg": _stalled(some),
        "overloaded.jpg": _always(b"", headers={"Retry-After": "86400"}, status=503),
        "cut-off.jpg": _cut_off(some),
        "flood.jpg": _flood,
        "loop.jpg": _redirect("/odd/loop.jpg"),
        "html.jpg": _always(b"<!doctype html><title>Sale</title><p>This picture has moved.</p>"),
        "empty.jpg": _always(b""),
        "truncated.jpg": _always(odd_images.truncated_jpeg(some)),
        "garbled.jpg": _always(odd_images.garbled_jpeg(some)),
        "giant.png": _always(odd_images.giant_png(30_000, 30_000), "image/png"),
        "svg.jpg": _always(b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"></svg>'),
        "pixel.gif": _always(odd_images.tracking_pixel(), "image/gif"),
        "noai.jpg": _always(some, headers={"X-Robots-Tag": "noai"}),
        "to-private.jpg": _redirect("http://10.0.0.1/dog.jpg"),
        "to-metadata.jpg": _redirect("http://169.254.169.254/latest/meta-data/"),
    }


def _image(
    content: bytes, kind: str = "image/jpeg", headers: dict[str, str] | None = None, status: int = 200
) -> web.Response:
    return web.Response(body=content, content_type=kind, headers=headers, status=status)


def _always(
    content: bytes, kind: str = "image/jpeg", headers: dict[str, str] | None = None, status: int = 200
) -> Handler:
    async def serve(_: web.Request) -> web.Response:
        return _image(content, kind, headers, status)

    return serve


def _second_time(content: bytes, status: int, headers: dict[str, str] | None = None) -> Handler:
    calls = itertools.count(1)

    async def serve(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers) if next(calls) == 1 else _image(content)

    return serve


def _redirect(location: str, *, absolute: bool = False) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        origin = str(request.url.origin()) if absolute else ""
        return web.Response(status=302, headers={"Location": origin + location})

    return serve


async def _started(request: web.Request, content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    await response.prepare(request)
    await response.write(content)
    return response


def _endless(jpeg: bytes) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = await _started(request, jpeg[:100])
        with contextlib.suppress(ConnectionResetError):
            while True:
                await asyncio.sleep(_DRIBBLE_SECONDS)
                await response.write(b"\0")
        return response

    return serve


def _stalled(jpeg: bytes) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        await _started(request, jpeg[: len(jpeg) // 2])
        return await asyncio.Event().wait()  # type: ignore[return-value]

    return serve


def _cut_off(jpeg: bytes) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "image/jpeg", "Content-Length": str(len(jpeg))}
        )
        await response.prepare(request)
        await response.write(jpeg[: len(jpeg) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    return serve


async def _flood(request: web.Request) -> web.StreamResponse:
    response = await _started(request, _FLOOD_CHUNK)
    with contextlib.suppress(ConnectionResetError):  # the reader has seen enough, as it should
        while True:
            await response.write(_FLOOD_CHUNK)
    return response


async def _serve(port: int) -> None:
    # Endless answers must not outlive their reader, nor hold up the end.
    runner = web.AppRunner(application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError:
        await web.TCPSite(runner, HOST, 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await _until_parent_ends()
    await runner.cleanup()


async def _until_parent_ends() -> None:
    """Return at the end of standard input, or when the parent is gone (another may hold the pipe too)."""
    loop, ended, parent = asyncio.get_running_loop(), asyncio.Event(), os.getppid()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            ended.set()

    loop.add_reader(sys.stdin.fileno(), read)
    while not ended.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _PARENT_CHECK_SECONDS)


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    if not sys.stdin.isatty():
        # Ctrl-C reaches the whole process group; the parent decides when the server ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(arguments[0]) if arguments else 0))


if __name__ == "__main__":
    main(sys.argv[1:])
