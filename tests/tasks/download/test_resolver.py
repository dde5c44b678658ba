from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence

import pytest

from tasks.download.address import AllowList
from tasks.download.resolver import (
    AddressBlocked,
    CheckedResolver,
    Lookup,
    LookupTimeout,
    may_pass,
    system_lookup,
)


def resolver(
    lookup: Lookup,
    *,
    allow: tuple[str, ...] = (),
    cache_seconds: float = 60,
    concurrency: int = 4,
    timeout_seconds: float = 5,
) -> CheckedResolver:
    return CheckedResolver(
        AllowList(allow),
        concurrency=concurrency,
        timeout_seconds=timeout_seconds,
        cache_seconds=cache_seconds,
        lookup=lookup,
    )


class Script:
    """Answers of a name server, one after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_hands_out_what_was_checked():
    async def main() -> None:
        found = await resolver(Script(["93.184.216.34", "2606:2800::1"])).resolve("example.com", 81)
        assert [(r["host"], r["port"], r["family"]) for r in found] == [
            ("93.184.216.34", 81, socket.AF_INET),
            ("2606:2800::1", 81, socket.AF_INET6),
        ]

    asyncio.run(main())


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1%2"]]
)
def test_one_address_that_is_not_public_blocks_the_name(answers: list[str]):
    with pytest.raises(AddressBlocked, match=answers[-1]):
        asyncio.run(resolver(Script(answers)).resolve("evil.example", 80))


def test_allowed_hosts_may_be_anywhere_at_their_port_only():
    async def main() -> None:
        subject = resolver(Script(["127.0.0.1"]), allow=("intern.example:8080",))
        assert (await subject.resolve("Intern.example.", 8080))[0]["host"] == "127.0.0.1"
        with pytest.raises(AddressBlocked):
            await subject.resolve("intern.example", 80)

    asyncio.run(main())


def test_rebinding_name_is_checked_at_every_lookup():
    async def main() -> None:
        script = Script(["93.184.216.34"], ["127.0.0.1"])
        cached = resolver(script)
        for _ in range(3):
            assert (await cached.resolve("rebind.example", 80))[0]["host"] == "93.184.216.34"
        assert len(script.asked) == 1
        uncached = resolver(Script(["93.184.216.34"], ["127.0.0.1"]), cache_seconds=0)
        assert (await uncached.resolve("rebind.example", 80))[0]["host"] == "93.184.216.34"
        with pytest.raises(AddressBlocked):
            await uncached.resolve("rebind.example", 80)

    asyncio.run(main())


def test_a_missing_name_is_asked_once_and_trouble_again():
    async def main() -> None:
        missing = Script(socket.gaierror(socket.EAI_NONAME, "no such name"))
        subject = resolver(missing)
        for _ in range(3):
            with pytest.raises(socket.gaierror) as error:
                await subject.resolve("missing.example", 80)
            assert not may_pass(error.value)
        assert len(missing.asked) == 1
        trouble = Script(socket.gaierror(socket.EAI_AGAIN, "try again"), ["93.184.216.34"])
        subject = resolver(trouble)
        with pytest.raises(socket.gaierror) as error:
            await subject.resolve("slow.example", 80)
        assert may_pass(error.value)
        assert await subject.resolve("slow.example", 80)

    asyncio.run(main())


def test_no_address_is_no_name():
    with pytest.raises(socket.gaierror, match="no address"):
        asyncio.run(resolver(Script([])).resolve("empty.example", 80))


def test_one_lookup_serves_all_and_lookups_are_bounded():
    running, most, lock = 0, 0, threading.Lock()
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            asked.append(host)
        time.sleep(0.02)
        with lock:
            running -= 1
        return ["93.184.216.34"]

    async def main() -> None:
        subject = resolver(lookup, concurrency=2)
        await asyncio.gather(*(subject.resolve(f"host-{n % 6}.example", 80) for n in range(30)))
        await subject.close()

    asyncio.run(main())
    assert sorted(asked) == [f"host-{n}.example" for n in range(6)]
    assert most == 2


def test_a_stuck_lookup_is_given_up_and_close_does_not_wait():
    release = threading.Event()

    def lookup(host: str) -> Sequence[str]:
        release.wait(5)
        return ["93.184.216.34"]

    async def main() -> None:
        subject = resolver(lookup, timeout_seconds=0.05)
        with pytest.raises(LookupTimeout) as error:
            await subject.resolve("stuck.example", 80)
        assert may_pass(error.value)
        await subject.close()

    start = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - start < 2
    release.set()


def test_a_row_that_gives_up_leaves_the_answer_to_others():
    def lookup(host: str) -> Sequence[str]:
        time.sleep(0.1)
        return ["93.184.216.34"]

    async def main() -> None:
        subject = resolver(lookup)
        hasty = asyncio.create_task(subject.resolve("example.com", 80))
        patient = asyncio.create_task(subject.resolve("example.com", 80))
        await asyncio.sleep(0.02)
        hasty.cancel()
        assert (await patient)[0]["host"] == "93.184.216.34"
        assert hasty.cancelled()

    asyncio.run(main())


def test_system_lookup_knows_localhost():
    assert set(system_lookup("localhost")) <= {"127.0.0.1", "::1"}
