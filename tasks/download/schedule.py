"""Whose turn it is: a queue per host, so that a slow host keeps only its own rows waiting. Pure; told the
time.

A host gives out at most ``per_host`` works at once. Hosts with work take turns. A host may be paused
(Retry-After), and a work may be put off (backoff). A host that fails ``host_failures`` times in a row without
an answer is given up.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field

from tasks.download.address import Target
from tasks.download.results import ImageRow


@dataclass(frozen=True)
class Work:
    """A request to make for a row."""

    row: ImageRow
    first: Target
    """Where the row's URL points; a new attempt starts there."""
    target: Target
    """Where this request goes: ``first``, or what it redirected to."""
    attempt: int = 1
    redirects: int = 0
    """In this attempt, so far."""
    spent_seconds: float = 0.0
    """In this attempt's requests, so far."""


@dataclass
class _Host:
    name: str
    waiting: deque[Work] = field(default_factory=deque)
    out: int = 0
    """Works taken and not given back."""
    failures: int = 0
    """In a row, without an answer."""
    paused_until: float = 0.0
    in_turn: bool = False
    """Stands in the queue of hosts, or among the paused ones."""


class HostQueues:
    """Works by host. Times are seconds of any one clock."""

    def __init__(self, per_host: int, host_failures: int) -> None:
        self._per_host = per_host
        self._host_failures = host_failures
        self._hosts: dict[str, _Host] = {}
        self._turns: deque[_Host] = deque()
        self._paused: list[tuple[float, int, _Host]] = []
        self._put_off: list[tuple[float, int, Work]] = []
        self._given_up: dict[str, str] = {}
        self._serial = itertools.count()

    def add(self, work: Work, *, not_before: float = 0.0) -> None:
        """Queue ``work`` under its target's host, from ``not_before`` on."""
        if not_before > 0:
            heapq.heappush(self._put_off, (not_before, next(self._serial), work))
            return
        host = self._hosts.setdefault(work.target.host, _Host(work.target.host))
        host.waiting.append(work)
        self._line_up(host)

    def take(self, now: float) -> Work | None:
        """The next work that may start, or None; give its host back with ``give_back``."""
        while self._put_off and self._put_off[0][0] <= now:
            self.add(heapq.heappop(self._put_off)[2])
        while self._paused and self._paused[0][0] <= now:
            self._turns.append(heapq.heappop(self._paused)[2])
        while self._turns:
            host = self._turns.popleft()
            if host.paused_until > now:
                heapq.heappush(self._paused, (host.paused_until, next(self._serial), host))
                continue
            host.in_turn = False
            if not host.waiting or host.out >= self._per_host:
                continue
            work = host.waiting.popleft()
            host.out += 1
            self._line_up(host)
            return work
        return None

    def give_back(self, name: str) -> None:
        """A work of host ``name`` has made its request."""
        host = self._hosts[name]
        host.out -= 1
        self._line_up(host)
        self._forget_if_idle(host)

    def answered(self, name: str) -> None:
        """Host ``name`` is alive. Call while a work of it is out."""
        self._hosts[name].failures = 0

    def failed(self, name: str, why: str) -> list[Work]:
        """Host ``name`` gave no answer. Call while a work of it is out.

        Returns the works that end now because the host is given up: all that wait for it, put off ones too.
        """
        host = self._hosts[name]
        host.failures += 1
        if host.failures < self._host_failures or name in self._given_up:
            return []
        self._given_up[name] = f"{host.failures} failures in a row, the last: {why}"
        ended = list(host.waiting)
        host.waiting.clear()
        ended += [work for _, _, work in self._put_off if work.target.host == name]
        self._put_off = [entry for entry in self._put_off if entry[2].target.host != name]
        heapq.heapify(self._put_off)
        return ended

    def given_up(self, name: str) -> str | None:
        """Why host ``name`` is given up, or None."""
        return self._given_up.get(name)

    def pause(self, name: str, until: float) -> None:
        """Start no work of host ``name`` before ``until``. Call while a work of it is out."""
        host = self._hosts[name]
        host.paused_until = max(host.paused_until, until)

    def next_time(self) -> float | None:
        """When ``take`` may have something again although nothing is given back.

        None where nothing is waiting so.
        """
        times = [heap[0][0] for heap in (self._put_off, self._paused) if heap]
        return min(times, default=None)

    def _line_up(self, host: _Host) -> None:
        if not host.in_turn and host.waiting and host.out < self._per_host:
            host.in_turn = True
            self._turns.append(host)

    def _forget_if_idle(self, host: _Host) -> None:
        # Bounds memory on endless inputs; a host with failures is remembered.
        if not (host.waiting or host.out or host.in_turn or host.failures or host.paused_until):
            del self._hosts[host.name]
