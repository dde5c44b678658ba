from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.demo import server as server_module
from flows.demo.bundle import bundled_scenes, jpeg_of
from flows.demo.faults import FAULTS
from flows.demo.server import DemoServer, demo_server

HAS_PROC = Path("/proc/self").exists()


def get(server: DemoServer, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", path)
    response = connection.getresponse()
    return response, response.read()


def raw(server: DemoServer, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
    return connection


def received(connection: socket.socket, seconds: float, at_most: int = 1 << 30) -> bytes:
    """What arrives within ``seconds``; the connection must not be closed by the server meanwhile."""
    content, end = bytearray(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and len(content) < at_most:
        connection.settimeout(left)
        try:
            chunk = connection.recv(1 << 16)
        except TimeoutError:
            break
        assert chunk, "the server closed the connection"
        content += chunk
    return bytes(content)


def test_every_served_fault_has_a_route(server: DemoServer):
    routes = server_module._odd_routes()
    served = {
        f.address.removeprefix("{base}/odd/")
        for f in FAULTS
        if f.address and f.address.startswith("{base}/odd")
    }
    assert served <= set(routes)


def test_scenes_are_served_as_bundled(server: DemoServer):
    for scene in (bundled_scenes()[0], bundled_scenes()[-1]):
        response, content = get(server, f"/scenes/{scene.file}?copy=1")
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
        assert content == jpeg_of(scene)
    assert get(server, "/scenes/99999.jpg")[0].status == 404
    assert get(server, "/scenes/..%2f..%2fREADME.md")[0].status == 404


@pytest.mark.parametrize(
    ("name", "status"), [("not-found", 404), ("gone", 410), ("forbidden", 403), ("broken", 500)]
)
def test_refusals(server: DemoServer, name: str, status: int):
    assert get(server, f"/odd/{name}.jpg")[0].status == status
    assert get(server, f"/odd/{name}.jpg")[0].status == status


def test_heals_on_the_second_try():
    with demo_server() as fresh:
        assert get(fresh, "/odd/heals.jpg")[0].status == 500
        for _ in range(2):
            response, content = get(fresh, "/odd/heals.jpg")
            assert response.status == 200
            assert content.startswith(b"\xff\xd8\xff")
        response, _ = get(fresh, "/odd/busy.jpg")
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert get(fresh, "/odd/busy.jpg")[0].status == 200


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("to-private.jpg", "http://10.0.0.1/dog.jpg"),
        ("to-metadata.jpg", "http://169.254.169.254/latest/meta-data/"),
        ("loop.jpg", "/odd/loop.jpg"),
        ("moved.jpg", "http://127.0.0.1:{port}/odd/moved-on.jpg"),
        ("moved-on.jpg", "moved-here.jpg"),
    ],
)
def test_redirects(server: DemoServer, name: str, location: str):
    response, _ = get(server, f"/odd/{name}")
    assert (response.status, response.headers["Location"]) == (302, location.format(port=server.port))


def test_cut_off_announces_more_than_it_sends(server: DemoServer):
    with pytest.raises(http.client.IncompleteRead):
        get(server, "/odd/cut-off.jpg")


def test_overloaded_asks_for_a_long_wait(server: DemoServer):
    response, _ = get(server, "/odd/overloaded.jpg")
    assert (response.status, response.headers["Retry-After"]) == (503, "86400")


def test_lying_files(server: DemoServer):
    response, content = get(server, "/odd/html.jpg")
    assert response.headers["Content-Type"] == "image/jpeg"
    assert content.startswith(b"<!doctype html>")
    assert get(server, "/odd/empty.jpg")[1] == b""
    response, content = get(server, "/odd/mislabelled")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert content.startswith(b"\xff\xd8\xff")


def test_opt_out_header(server: DemoServer):
    response, content = get(server, "/odd/noai.jpg")
    assert response.headers["X-Robots-Tag"] == "noai"
    assert content.startswith(b"\xff\xd8\xff")


def test_endless_answer_dribbles_on(server: DemoServer):
    with raw(server, "/odd/endless.jpg") as connection:
        first = received(connection, 0.5)
        assert b"200 OK" in first
        assert received(connection, 0.5), "a byte now and then"


def test_stalled_answer_falls_silent(server: DemoServer):
    with raw(server, "/odd/stalled.jpg") as connection:
        assert b"\xff\xd8\xff" in received(connection, 0.5)
        assert received(connection, 0.4) == b""


def test_flood_exceeds_any_sensible_limit(server: DemoServer):
    with raw(server, "/odd/flood.jpg") as connection:
        assert len(received(connection, 5, at_most=5_000_000)) >= 5_000_000


def test_ends_with_its_block_even_while_answering():
    with demo_server() as running, raw(running, "/odd/endless.jpg") as connection:
        received(connection, 0.3)
        started = time.monotonic()
    assert time.monotonic() - started < 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), timeout=1)


def test_takes_the_preferred_port_or_another():
    with demo_server() as first:
        with demo_server(preferred_port=first.port) as second:
            assert second.port != first.port
        wanted = second.port
    with demo_server(preferred_port=wanted) as third:
        assert third.port == wanted
        assert third.allow_host == f"127.0.0.1:{wanted}"
        assert third.base == f"http://127.0.0.1:{wanted}"


@pytest.mark.skipif(not HAS_PROC, reason="looks into /proc")
def test_dies_with_a_killed_parent():
    program = (
        "from flows.demo.server import demo_server\n"
        "import sys, time\n"
        "with demo_server() as s:\n"
        "    print(s.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(server_module.__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    # Nobody reaps an orphan in a bare container: a zombie has ended.
    return state != "Z"
