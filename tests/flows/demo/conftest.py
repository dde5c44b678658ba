from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.demo.server import DemoServer, demo_server


@pytest.fixture(scope="package")
def server() -> Iterator[DemoServer]:
    with demo_server() as running:
        yield running
