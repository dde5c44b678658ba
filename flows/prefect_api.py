"""A Prefect server for one run: without ``PREFECT_API_URL`` a run brings its own and takes it away again.

It listens on loopback, keeps its SQLite file in ``OUT/_run/prefect``, and sends nothing anywhere. For real use start a
server with PostgreSQL and set ``PREFECT_API_URL``: then runs, tasks and artifacts appear there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import CaptionPipelineError

# Telemetry off; the UI is for servers that outlive a run; no service that one run on one machine does not need.
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
}
_START_TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class Api:
    """Where Prefect is: the user's server, or one that this run brings."""

    url: str
    port: int | None
    """Of our own server; None where the user has one."""


def choose_api() -> Api:
    """Decide on the Prefect API and put it, with telemetry off, into the environment, for children too.

    Prefect reads the environment when it is imported: call this before.
    """
    os.environ.update({"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"})
    # Prefect's lines would tear the progress display apart; they go to the API and can be read in the UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if url := os.environ.get("PREFECT_API_URL"):
        return Api(url, None)
    port = _free_port()
    os.environ["PREFECT_API_URL"] = url = f"http://127.0.0.1:{port}/api"
    return Api(url, port)


@contextlib.contextmanager
def prefect_api(api: Api, out: Path, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Have the chosen API there for the block; our own server is started, and ended after the block.

    ``meanwhile`` is called once, while the server starts: both take seconds. It may import Prefect.
    """
    if api.port is None:
        meanwhile()
        yield
        return
    home = out / "_run" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
                *("--host", "127.0.0.1", "--port", str(api.port), "--log-level", "error", "--lifespan", "on"),
            ],
            env={**os.environ, **_ENVIRONMENT, "PREFECT_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Not in the terminal's process group: Ctrl-C is for the run, which then ends its server.
            process_group=0,
            preexec_fn=_die_with_parent,
        )
    try:
        meanwhile()
        _wait_until_up(server, api.url, home / "server.log")
        yield
    finally:
        from prefect.logging.handlers import APILogHandler

        # What was logged last is still in this process; the server must be there to take it.
        APILogHandler().flush()
        _end(server)


def _die_with_parent() -> None:
    """Linux: SIGTERM when the run is killed, so that no server is left behind; elsewhere there is no such thing."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # from <sys/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/health", timeout=2),
        ):
            return
        time.sleep(0.1)
    raise CaptionPipelineError(f"the Prefect server of this run did not start; its log is {log}")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
