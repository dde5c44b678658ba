"""How many images a core downloads, checks, shrinks and re-encodes: JPEGs over loopback, served by another process.

    python -m benchmarks.download [--images 2000] [--processes 1] [--kilobytes 160] [--side 384] [--json]

``images_per_core_second`` divides by the CPU seconds of the downloading processes alone, so that it holds on a busy
machine too; ``images_per_second`` is by the clock and needs an idle one. Each process downloads its share with the
limits of a run, through ``tasks.download.download_images``.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import io
import json
import multiprocessing
import resource
import time
from collections import Counter
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from tasks.download import Downloaded, DownloadLimits, ImageRow, Refused, download_images

# Distinct files served, so that no cache of ours or the machine's sees only one.
DISTINCT = 16


@dataclasses.dataclass(frozen=True)
class Share:
    """What one downloading process did."""

    outcomes: Counter[str]
    stored_bytes: int
    cpu_seconds: float
    peak_memory_bytes: int


def photograph(seed: int, kilobytes: int, size: tuple[int, int] = (1024, 768)) -> bytes:
    """A JPEG of about so many kB with a photograph's spectrum (amplitude falls with frequency)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((size[1], size[0], 3), np.float32)
    for cell in (2, 4, 8, 16, 32, 64, 128, 256):
        coarse = rng.normal(size=(size[1] // cell + 2, size[0] // cell + 2, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[:, :, channel]).resize(size, Image.Resampling.BICUBIC)
            picture[:, :, channel] += np.asarray(layer) * cell**1.3
    picture = (picture - picture.min()) / (picture.max() - picture.min()) * 255
    image = Image.fromarray(picture.astype(np.uint8))
    best = b""
    for quality in range(40, 100):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        best = out.getvalue()
        if len(best) >= kilobytes * 1000:
            break
    return best


def serve(kilobytes: int, pipe: Connection) -> None:
    """Answer every request on a free port with one of ``DISTINCT`` photographs, until the pipe closes."""
    answers = []
    for seed in range(DISTINCT):
        body = photograph(seed, kilobytes)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        answers.append(head.encode() + body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                writer.write(answers[int(line.rsplit(b"/", 1)[1]) % DISTINCT])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send((server.sockets[0].getsockname()[1], sum(map(len, answers)) // DISTINCT))
        await asyncio.to_thread(pipe.poll, None)
        server.close()

    asyncio.run(main())


def download(port: int, first: int, count: int, limits: DownloadLimits, pipe: Connection) -> None:
    """One downloading process: ``count`` rows, results counted and dropped as a stage would write them."""
    outcomes: Counter[str] = Counter()
    stored = 0

    def take(result: Downloaded | Refused) -> None:
        nonlocal stored
        if isinstance(result, Downloaded):
            outcomes["downloaded"] += 1
            stored += len(result.image)
        else:
            outcomes[result.reason] += 1

    before = resource.getrusage(resource.RUSAGE_SELF)
    rows = (ImageRow(str(n), f"http://127.0.0.1:{port}/{n}") for n in range(first, first + count))
    download_images(rows, limits, take)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    pipe.send(Share(outcomes, stored, cpu, after.ru_maxrss * 1024))


def measure(images: int, processes: int, kilobytes: int, limits: DownloadLimits) -> dict[str, object]:
    """Run server and downloaders; figures as a dictionary for ``--json``."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(kilobytes, theirs))
    server.start()
    port, body_bytes = ours.recv()
    limits = dataclasses.replace(limits, allow_hosts=(f"127.0.0.1:{port}",))
    workers = []
    start = time.perf_counter()
    for n in range(processes):
        result, pipe = spawn.Pipe(duplex=False)
        count = images // processes
        worker = spawn.Process(target=download, args=(port, n * count, count, limits, pipe))
        worker.start()
        workers.append((worker, result))
    shares = [result.recv() for _, result in workers]
    seconds = time.perf_counter() - start
    for worker, _ in workers:
        worker.join()
    ours.send("end")
    server.join()
    outcomes = sum((share.outcomes for share in shares), Counter[str]())
    cpu = sum(share.cpu_seconds for share in shares)
    return {
        "images": outcomes["downloaded"],
        "outcomes": dict(outcomes),
        "processes": processes,
        "bytes_per_image": body_bytes,
        "stored_shortest_side": limits.stored_shortest_side,
        "stored_bytes_per_image": round(
            sum(share.stored_bytes for share in shares) / max(1, outcomes["downloaded"])
        ),
        "seconds": round(seconds, 2),
        "images_per_second": round(outcomes["downloaded"] / seconds, 1),
        "cpu_milliseconds_per_image": round(1000 * cpu / max(1, outcomes["downloaded"]), 2),
        "images_per_core_second": round(outcomes["downloaded"] / cpu, 1),
        "peak_memory_bytes": max(share.peak_memory_bytes for share in shares),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kilobytes", type=int, default=160, help="size of a served JPEG, 1024 x 768 pixels")
    parser.add_argument("--side", type=int, default=384, help="shortest side that is stored")
    parser.add_argument("--concurrency", type=int, default=DownloadLimits.concurrency)
    parser.add_argument("--decode-threads", type=int, default=DownloadLimits.decode_threads)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    limits = DownloadLimits(
        stored_shortest_side=options.side,
        concurrency=options.concurrency,
        per_host=options.concurrency,  # one host serves all
        decode_threads=options.decode_threads,
    )
    figures = measure(options.images, options.processes, options.kilobytes, limits)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
