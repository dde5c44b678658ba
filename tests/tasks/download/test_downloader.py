"""The downloader against a server on loopback that misbehaves in every way of the web."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import io
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from tasks.download import (
    Downloaded,
    DownloadLimits,
    ImageRow,
    Reason,
    Refused,
    download_images,
    download_rows,
)
from tasks.errors import DownloadFailed
from tests.tasks.download.fault_server import FaultServer, reply
from tests.tasks.download.pictures import jpeg

QUICK = DownloadLimits(
    connect_timeout_seconds=0.3,
    read_timeout_seconds=0.2,
    total_timeout_seconds=0.5,
    backoff_seconds=0.01,
    max_bytes=1_000_000,
)
Result = Downloaded | Refused


def limits_for(server: FaultServer, **changes: object) -> DownloadLimits:
    settings = {"allow_hosts": server.allow, **changes}
    return dataclasses.replace(QUICK, **settings)  # type: ignore[arg-type]


def results_of(urls: Sequence[str], limits: DownloadLimits) -> list[Result]:
    """One result per URL, in the order of the URLs."""
    rows = [ImageRow(str(n), url) for n, url in enumerate(urls)]
    results: dict[str, Result] = {}

    def take(result: Result) -> None:
        assert result.key not in results, "a second result for one row"
        results[result.key] = result

    download_images(rows, limits, take)
    return [results[row.key] for row in rows]


def result_of(url: str, limits: DownloadLimits) -> Result:
    return results_of([url], limits)[0]


@pytest.mark.parametrize(
    ("path", "reason", "detail", "requests"),
    [
        ("/404", Reason.HTTP_NOT_FOUND, "404", 1),
        ("/410", Reason.HTTP_NOT_FOUND, "410", 1),
        ("/403", Reason.HTTP_FORBIDDEN, "403", 1),
        ("/451", Reason.HTTP_FORBIDDEN, "451", 1),
        ("/418", Reason.HTTP_CLIENT_ERROR, "418", 1),
        ("/429", Reason.HTTP_TOO_MANY_REQUESTS, "429", 3),
        ("/500", Reason.HTTP_SERVER_ERROR, "500", 3),
        ("/501", Reason.HTTP_SERVER_ERROR, "501", 1),
        ("/204", Reason.HTTP_UNEXPECTED_STATUS, "204", 1),
        ("/206", Reason.HTTP_UNEXPECTED_STATUS, "206", 1),
        ("/no-location", Reason.HTTP_UNEXPECTED_STATUS, "302", 1),
        ("/retry-later", Reason.RETRY_AFTER_TOO_LONG, "86400", 1),
        ("/retry-at-a-date", Reason.RETRY_AFTER_TOO_LONG, "503", 1),
        ("/retry-odd", Reason.HTTP_SERVER_ERROR, "503", 3),
        ("/html.jpg", Reason.NOT_AN_IMAGE, "HTML", 1),
        ("/json.jpg", Reason.NOT_AN_IMAGE, "JSON", 1),
        ("/empty.jpg", Reason.NOT_AN_IMAGE, "nothing", 1),
        ("/svg.jpg", Reason.UNSUPPORTED_FORMAT, "SVG", 1),
        ("/tiff.jpg", Reason.UNSUPPORTED_FORMAT, "TIFF", 1),
        ("/truncated.jpg", Reason.TRUNCATED_IMAGE, "JPEG", 1),
        ("/truncated.png", Reason.TRUNCATED_IMAGE, "PNG", 1),
        ("/bomb.png", Reason.TOO_MANY_PIXELS, "pixels", 1),
        ("/pixel.gif", Reason.TOO_SMALL, "1 x 1", 1),
        ("/ribbon.png", Reason.TOO_ELONGATED, "900 x 20", 1),
        ("/noai", Reason.ROBOTS_OPT_OUT, "noai", 1),
        ("/noindex-us", Reason.ROBOTS_OPT_OUT, "noindex", 1),
        ("/noai-then-moved", Reason.ROBOTS_OPT_OUT, "noimageai", 1),
        ("/length-too-big", Reason.INCOMPLETE_BODY, "3 attempts", 3),
        ("/length-huge", Reason.TOO_MANY_BYTES, "announced", 1),
        ("/floods", Reason.TOO_MANY_BYTES, "more than", 1),
        ("/gzip-bomb", Reason.TOO_MANY_BYTES, "unpacking", 1),
        ("/gzip-cut", Reason.UNSUPPORTED_ENCODING, "ends early", 1),
        ("/brotli", Reason.UNSUPPORTED_ENCODING, "br", 1),
        ("/not-http", Reason.BAD_RESPONSE, "", 1),
        ("/huge-header", Reason.BAD_RESPONSE, "", 1),
        ("/many-headers", Reason.BAD_RESPONSE, "", 1),
        ("/silent", Reason.READ_TIMEOUT, "0.2 s (3 attempts)", 3),
        ("/stalls", Reason.READ_TIMEOUT, "0.2 s (3 attempts)", 3),
        ("/drips", Reason.TOTAL_TIMEOUT, "0.5 s (3 attempts)", 3),
    ],
)
def test_faults(server: FaultServer, path: str, reason: Reason, detail: str, requests: int):
    result = result_of(server.url(path), limits_for(server))
    assert isinstance(result, Refused)
    assert (result.reason, server.hits[path]) == (reason, requests), result.detail
    assert detail in result.detail
    assert "\n" not in result.detail


def test_reset_connections_are_tried_again_and_then_refused(server: FaultServer):
    result = result_of(server.url("/resets"), limits_for(server))
    assert isinstance(result, Refused)
    assert result.reason == Reason.CONNECTION_LOST
    assert server.hits["/resets"] >= 3


@pytest.mark.parametrize(
    ("path", "attempts"),
    [
        ("/dog.jpg", 1),
        ("/no-length", 1),
        ("/noindex-other", 1),
        ("/gzip", 1),
        ("/gzip-claimed", 1),
        ("/deflate", 1),
        ("/heals", 2),
        ("/resets-once", 2),
    ],
)
def test_what_arrives(server: FaultServer, path: str, attempts: int):
    result = result_of(server.url(path), limits_for(server))
    assert isinstance(result, Downloaded), result
    assert result.image == jpeg()
    assert (result.width, result.height, result.attempts) == (64, 48, attempts)


def test_opt_outs_can_be_ignored(server: FaultServer):
    result = result_of(server.url("/noai"), limits_for(server, respect_robots_tag=False))
    assert isinstance(result, Downloaded)


def test_what_the_server_is_told(server: FaultServer):
    limits = limits_for(server, user_agent="tester/2", contact="https://example.org/bot")
    assert isinstance(result_of(server.url("/dog.jpg?a=%7E%2F&b=c+d"), limits), Downloaded)
    head = server.heads[-1]
    assert head.startswith("GET /dog.jpg?a=%7E%2F&b=c+d HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert "User-Agent: tester/2 (+https://example.org/bot)\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    for private in ("Cookie", "Referer", "Authorization"):
        assert private not in head


def test_cookies_are_not_kept(server: FaultServer):
    assert isinstance(result_of(server.url("/cookie"), limits_for(server)), Downloaded)
    assert "Cookie" not in server.heads[-1]


# --- where we do not go ---------------------------------------------------------------------------


def test_loopback_is_refused_unless_allowed(server: FaultServer):
    for url in (server.url("/dog.jpg"), server.url("/dog.jpg", "localhost"), server.url("/dog.jpg", "[::1]")):
        result = result_of(url, QUICK)
        assert isinstance(result, Refused)
        assert result.reason == Reason.BLOCKED_ADDRESS
    other_port = dataclasses.replace(QUICK, allow_hosts=(f"127.0.0.1:{server.port + 1}", "127.0.0.2"))
    result = result_of(server.url("/dog.jpg"), other_port)
    assert isinstance(result, Refused)
    assert result.reason == Reason.BLOCKED_ADDRESS
    assert not server.hits


def test_a_proxy_in_the_environment_is_not_used(server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, server.url("/"))
    result = result_of("http://missing.invalid/dog.jpg", QUICK)
    assert isinstance(result, Refused)
    assert result.reason == Reason.DNS_FAILED
    assert not server.hits


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://10.0.0.1/dog.jpg", Reason.BLOCKED_ADDRESS),
        ("http://169.254.169.254/latest/meta-data/", Reason.BLOCKED_ADDRESS),
        ("http://[::ffff:10.0.0.1]/", Reason.BLOCKED_ADDRESS),
        ("http://2130706433/dog.jpg", Reason.BLOCKED_ADDRESS),
        ("http://localhost/dog.jpg", Reason.BLOCKED_ADDRESS),
        ("http://example.com:25/", Reason.BLOCKED_PORT),
        ("ftp://example.com/dog.jpg", Reason.BLOCKED_SCHEME),
        ("file:///etc/passwd", Reason.BLOCKED_SCHEME),
        ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", Reason.BLOCKED_SCHEME),
        ("http://user:secret@example.com/", Reason.INVALID_URL),
        ("http://[", Reason.INVALID_URL),
        ("/loop", Reason.TOO_MANY_REDIRECTS),
    ],
)
def test_redirects_to_where_we_do_not_go(server: FaultServer, location: str, reason: Reason):
    server.to("/loop", location)
    result = result_of(server.url("/loop"), limits_for(server))
    assert isinstance(result, Refused)
    assert result.reason == reason, result.detail
    assert server.hits["/loop"] == (6 if reason == Reason.TOO_MANY_REDIRECTS else 1)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_redirects_are_followed(server: FaultServer, status: str):
    server.to("/a", "b/../c", status)
    server.to("/c", server.url("/e"), status)
    server.to("/e", f"//127.0.0.1:{server.port}/dog.jpg#top", status)
    result = result_of(server.url("/a"), limits_for(server))
    assert isinstance(result, Downloaded), result
    assert result.attempts == 1


def test_slow_redirects_share_one_attempts_time(server: FaultServer):
    async def dawdle(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(reply(status="302 Found", headers=("Location: /dawdle",)))

    server.behaviours["/dawdle"] = dawdle
    result = result_of(server.url("/dawdle"), limits_for(server, attempts=1, max_redirects=99))
    assert isinstance(result, Refused)
    assert result.reason == Reason.TOTAL_TIMEOUT
    assert server.hits["/dawdle"] <= 5


# --- names ----------------------------------------------------------------------------------------


def with_names(
    urls: Sequence[str], limits: DownloadLimits, names: dict[str, list[list[str]]]
) -> list[Result]:
    """Download with a name server that gives each name its answers in turn, the last one for ever."""

    def lookup(host: str) -> Sequence[str]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answers = names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    results: dict[str, Result] = {}
    rows = [ImageRow(str(n), url) for n, url in enumerate(urls)]
    asyncio.run(download_rows(rows, limits, lambda r: results.update({r.key: r}), lookup=lookup))
    return [results[row.key] for row in rows]


def test_names_are_resolved_once_checked_and_sent_as_host(server: FaultServer):
    limits = dataclasses.replace(QUICK, allow_hosts=(f"intern.example:{server.port}",))
    urls = [server.url("/dog.jpg", host) for host in ("intern.example", "evil.example", "missing.example")]
    good, evil, missing = with_names(
        urls, limits, {"intern.example": [["127.0.0.1"]], "evil.example": [["127.0.0.1"]]}
    )
    assert isinstance(good, Downloaded)
    assert f"Host: intern.example:{server.port}\r\n" in server.heads[-1]
    assert isinstance(evil, Refused)
    assert evil.reason == Reason.BLOCKED_ADDRESS
    assert isinstance(missing, Refused)
    assert missing.reason == Reason.DNS_FAILED
    assert server.hits.total() == 1


def test_a_rebinding_name_never_reaches_its_second_address(server: FaultServer):
    # 192.0.2.1 would be refused, so the first answer is a public address where nothing listens on this port.
    names = {"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]}
    for cache_seconds in (300.0, 0.0):
        limits = dataclasses.replace(QUICK, attempts=3, dns_cache_seconds=cache_seconds)
        (result,) = with_names([server.url("/dog.jpg", "rebind.example")], limits, dict(names))
        assert isinstance(result, Refused)
        assert result.reason in {Reason.CONNECT_TIMEOUT, Reason.CONNECT_FAILED, Reason.BLOCKED_ADDRESS}
    assert not server.hits


def test_ipv6_loopback_is_reached_only_where_allowed():
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listener.listen()
        port = listener.getsockname()[1]
        url = f"http://[::1]:{port}/dog.jpg"
        refused = result_of(url, QUICK)
        assert isinstance(refused, Refused)
        assert refused.reason == Reason.BLOCKED_ADDRESS

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply(jpeg()))

        thread = threading.Thread(target=answer)
        thread.start()
        assert isinstance(
            result_of(url, dataclasses.replace(QUICK, allow_hosts=(f"[::1]:{port}",))), Downloaded
        )
        thread.join()


def test_a_missing_name_costs_one_lookup_and_keeps_its_reason():
    results = with_names([f"http://missing.example/{n}" for n in range(30)], QUICK, {})
    assert {r.reason for r in results if isinstance(r, Refused)} == {Reason.DNS_FAILED}


def test_redirect_to_a_name_with_a_private_address(server: FaultServer):
    server.to("/a", "http://intern.example/dog.jpg")
    (result,) = with_names([server.url("/a")], limits_for(server), {"intern.example": [["192.168.1.1"]]})
    assert isinstance(result, Refused)
    assert result.reason == Reason.BLOCKED_ADDRESS
    assert "192.168.1.1" in result.detail


# --- many rows ------------------------------------------------------------------------------------


def test_every_row_ends_exactly_once(server: FaultServer):
    paths = ["/dog.jpg", "/404", "/heals", "/html.jpg", "/500", "/noai", "/truncated.jpg", "/gzip"]
    urls = [server.url(f"{paths[n % len(paths)]}?{n}") for n in range(200)] + [
        "",
        "ftp://x/y",
        "http://10.0.0.1/",
    ]
    results = results_of(urls, limits_for(server, concurrency=16, per_host=16, lookahead_rows=20))
    assert len(results) == len(urls)
    found = Counter(r.reason if isinstance(r, Refused) else "ok" for r in results)
    assert found == {
        "ok": 75, "http_not_found": 25, "not_an_image": 25, "http_server_error": 25, "robots_opt_out": 25,
        "truncated_image": 25, "invalid_url": 1, "blocked_scheme": 1, "blocked_address": 1,
    }  # fmt: skip


def test_no_rows_at_all():
    assert results_of([], QUICK) == []


def test_rows_are_read_as_they_are_needed(server: FaultServer):
    read, done = 0, 0

    def rows() -> Iterator[ImageRow]:
        nonlocal read
        for n in range(300):
            read += 1
            assert read - done <= 10
            yield ImageRow(str(n), server.url("/dog.jpg"))

    def take(result: Result) -> None:
        nonlocal done
        done += 1

    download_images(rows(), limits_for(server, lookahead_rows=10), take)
    assert (read, done) == (300, 300)


def test_a_host_gets_no_more_requests_at_once_than_its_share(server: FaultServer):
    results = results_of([server.url(f"/slow?{n}") for n in range(30)], limits_for(server, per_host=3))
    assert all(isinstance(r, Downloaded) for r in results)
    assert server.most_at_once["/slow"] == 3


def test_redirected_rows_count_for_the_host_they_go_to(server: FaultServer):
    names = {f"moved-{n}.example": [["127.0.0.1"]] for n in range(20)}
    limits = limits_for(server, per_host=2, allow_hosts=(*server.allow, *names))
    server.to("/a", server.url("/slow"))
    results = with_names([server.url("/a", name) for name in names], limits, names)
    assert all(isinstance(r, Downloaded) for r in results)
    assert server.hits["/slow"] == 20
    assert server.most_at_once["/slow"] <= 2


def test_a_bad_host_stalls_nobody_else(server: FaultServer):
    # 100 rows of a host that never answers, first in line, and 50 of a good one.
    limits = limits_for(
        server,
        allow_hosts=(*server.allow, "bad.example"),
        concurrency=8,
        per_host=4,
        host_failures=8,
        read_timeout_seconds=0.5,
        total_timeout_seconds=9,
    )
    urls = [server.url(f"/silent?{n}", "bad.example") for n in range(100)]
    urls += [server.url(f"/dog.jpg?{n}") for n in range(50)]
    results: list[Result] = []
    rows = [ImageRow(str(n), url) for n, url in enumerate(urls)]
    asyncio.run(download_rows(rows, limits, results.append, lookup=lambda host: ["127.0.0.1"]))
    assert len({result.key for result in results}) == 150
    # The good host's rows are all through before the bad host is given up after two rounds of timeouts ...
    assert all(isinstance(result, Downloaded) for result in results[:50])
    reasons = Counter(result.reason for result in results[50:] if isinstance(result, Refused))
    assert reasons[Reason.HOST_UNREACHABLE] >= 90
    assert reasons.total() == 100
    # ... and most of the bad host's rows were never tried.
    assert sum(n for path, n in server.hits.items() if path.startswith("/silent")) <= 16


def test_retry_after_rests_the_whole_host(server: FaultServer):
    async def busy(server: FaultServer, path: str, writer: asyncio.StreamWriter) -> None:
        if server.hits["/busy?0"] == 1 and path == "/busy?0":
            writer.write(reply(status="429 Too Many Requests", headers=("Retry-After: 1",)))
        else:
            writer.write(server.fixed["/dog.jpg"])

    server.behaviours["/busy"] = busy
    urls = [server.url(f"/busy?{n}") for n in range(3)]
    start = time.monotonic()
    results = results_of(urls, limits_for(server, per_host=1))
    assert [r.attempts for r in results if isinstance(r, Downloaded)] == [2, 1, 1]
    assert 1 <= time.monotonic() - start < 2


def test_nothing_listens(server: FaultServer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        result = result_of(
            f"http://127.0.0.1:{port}/", dataclasses.replace(QUICK, allow_hosts=("127.0.0.1",))
        )
    assert isinstance(result, Refused)
    assert result.reason == Reason.CONNECT_FAILED


def test_connect_timeout():
    # A listener whose queue is full drops further connections.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        limits = dataclasses.replace(QUICK, allow_hosts=("127.0.0.1",), attempts=1)
        result = result_of(f"http://127.0.0.1:{address[1]}/", limits)
        for client in waiting:
            client.close()
    assert isinstance(result, Refused)
    assert result.reason == Reason.CONNECT_TIMEOUT


def test_plain_http_where_tls_is_spoken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        limits = dataclasses.replace(QUICK, allow_hosts=("127.0.0.1",))
        result = result_of(f"https://127.0.0.1:{listener.getsockname()[1]}/", limits)
        thread.join()
    assert isinstance(result, Refused)
    assert result.reason == Reason.TLS_FAILED


def test_a_length_below_the_true_one_is_never_a_picture(server: FaultServer):
    # Which of the two depends on whether what follows the announced length arrives with it.
    result = result_of(server.url("/length-too-small"), limits_for(server))
    assert isinstance(result, Refused)
    assert result.reason in {Reason.TRUNCATED_IMAGE, Reason.BAD_RESPONSE}


def test_large_pictures_are_shrunk(server: FaultServer):
    server.fixed["/large.jpg"] = reply(jpeg((1600, 1200)))
    result = result_of(server.url("/large.jpg"), limits_for(server, stored_shortest_side=128))
    assert isinstance(result, Downloaded)
    assert (result.width, result.height) == (1600, 1200)
    assert min(Image.open(io.BytesIO(result.image)).size) == 128


def test_any_answer_ends_as_a_result(server: FaultServer):
    rng = random.Random(7)
    heads = [content for path, content in server.fixed.items() if len(content) < 5000]
    for n in range(150):
        content = bytearray(rng.choice(heads))
        for _ in range(rng.choice((1, 2, 5))):
            content[rng.randrange(min(len(content), 120))] = rng.choice((0, 10, 13, 32, 48, 58, 128, 255))
        server.fixed[f"/fuzz{n}"] = bytes(content)
    odd = [
        b"",
        b"\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 -1 x\r\n\r\n",
    ]
    for n, content in enumerate(odd):
        server.fixed[f"/odd{n}"] = content
    paths = [*(f"/fuzz{n}" for n in range(150)), *(f"/odd{n}" for n in range(len(odd)))]
    results = results_of(
        [server.url(path) for path in paths], limits_for(server, attempts=1, host_failures=999)
    )
    assert len(results) == len(paths)
    assert all(result.detail.isprintable() for result in results if isinstance(result, Refused))


@pytest.mark.parametrize("location", ["/\xe4\xff", "http://\xe4\xff/", "http://\x00/", "\x80"])
def test_locations_of_odd_bytes(server: FaultServer, location: str):
    server.fixed["/a"] = f"HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode(
        "latin-1"
    )
    result = result_of(server.url("/a"), limits_for(server))
    assert isinstance(result, Refused)
    assert result.reason in {Reason.INVALID_URL, Reason.HTTP_NOT_FOUND, Reason.BAD_RESPONSE}
    assert result.detail.isprintable()


def test_every_reason_is_documented():
    text = Path(__file__).parents[3].joinpath("docs", "download.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(documented) == sorted(Reason)


# --- ends that are not normal ---------------------------------------------------------------------


def test_stops_when_asked_and_leaves_nothing_behind(server: FaultServer):
    results: list[Result] = []
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    limits = limits_for(server, read_timeout_seconds=30, total_timeout_seconds=30)
    rows = [
        ImageRow("good", server.url("/dog.jpg")),
        *(ImageRow(str(n), server.url("/silent")) for n in range(20)),
    ]
    download_images(rows, limits, results.append, should_stop=stop.is_set)
    assert time.monotonic() - start < 2
    assert [r.key for r in results] == ["good"]


def test_what_on_result_raises_comes_out(server: FaultServer):
    class Full(Exception):
        pass

    def take(result: Result) -> None:
        raise Full

    rows = [ImageRow(str(n), server.url("/dog.jpg")) for n in range(20)]
    with pytest.raises(Full):
        download_images(rows, limits_for(server), take)
    with pytest.raises(Full):
        download_images([ImageRow("0", "nonsense")], QUICK, take)


def test_what_should_stop_raises_comes_out(server: FaultServer):
    def broken() -> bool:
        raise LookupError("no mark")

    with pytest.raises(LookupError, match="no mark"):
        download_images([ImageRow("0", server.url("/silent"))], limits_for(server), print, should_stop=broken)


def test_what_the_rows_raise_comes_out(server: FaultServer):
    def rows() -> Iterator[ImageRow]:
        for n in range(20):
            yield ImageRow(str(n), server.url("/dog.jpg"))
        raise LookupError("the input broke")

    results: list[Result] = []
    with pytest.raises(LookupError, match="the input broke"):
        download_images(rows(), limits_for(server, lookahead_rows=4), results.append)
    assert results


def test_this_machines_own_trouble_is_no_rows_fault(server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    async def no_descriptors(*args: object, **kwargs: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("aiohappyeyeballs.start_connection", no_descriptors)
    with pytest.raises(DownloadFailed, match="ulimit"):
        result_of(server.url("/dog.jpg"), limits_for(server))


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"total_timeout_seconds": 0},
        {"backoff_seconds": -1},
        {"max_aspect_ratio": 0.5},
        {"user_agent": "a\r\nX-Evil: 1"},
        {"user_agent": ""},
        {"allow_hosts": ("http://x",)},
    ],
)
def test_limits_that_cannot_work(wrong: dict[str, object]):
    with pytest.raises(ValueError):
        dataclasses.replace(DownloadLimits(), **wrong)  # type: ignore[arg-type]
