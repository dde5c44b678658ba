"""Rows of URLs in, one result per row out: the loop that ties queues, requests and decoding together.

Results are handed over as they come; what is held is bounded by the limits. A row in flight (requesting,
decoding) takes one of ``concurrency`` places; a row that waits for its host, a retry or a pause takes none.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tasks.download.address import AllowList, Target, UrlRefused, read_url
from tasks.download.decode import PictureRefused, decode
from tasks.download.fetch import Body, Client, Failure, Redirect
from tasks.download.limits import DownloadLimits
from tasks.download.resolver import Lookup, system_lookup
from tasks.download.results import Downloaded, ImageRow, Reason, Refused
from tasks.download.schedule import HostQueues, Work

OnResult = Callable[[Downloaded | Refused], None]

_DETAIL_CHARACTERS = 300

# How often should_stop is asked while nothing else happens.
_STOP_CHECK_SECONDS = 0.5


def download_images(
    rows: Iterable[ImageRow],
    limits: DownloadLimits,
    on_result: OnResult,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """``download_rows`` with an event loop of its own.

    For a thread that has none, such as a Dask worker's.
    """
    asyncio.run(download_rows(rows, limits, on_result, should_stop=should_stop))


async def download_rows(
    rows: Iterable[ImageRow],
    limits: DownloadLimits,
    on_result: OnResult,
    *,
    should_stop: Callable[[], bool] | None = None,
    lookup: Lookup = system_lookup,
) -> None:
    """Download every row; call ``on_result`` exactly once for each, as they end, from the loop's thread.

    ``should_stop`` is asked about twice a second; once it says yes, what is in flight is dropped and the call
    returns: the rows without a result are then simply not done. Raises ``DownloadFailed`` for this machine's
    own trouble, and what the caller's rows and functions raise; nothing is in flight any more when it does.
    ``lookup`` resolves names (tests replace it).
    """
    decoders = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="decode")
    try:
        async with Client(limits, lookup=lookup) as client:
            await _Download(rows, limits, on_result, should_stop, client, decoders).run()
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)


class _Download:
    """One call of ``download_rows``. All methods run on the event loop."""

    def __init__(
        self,
        rows: Iterable[ImageRow],
        limits: DownloadLimits,
        on_result: OnResult,
        should_stop: Callable[[], bool] | None,
        client: Client,
        decoders: ThreadPoolExecutor,
    ) -> None:
        self._rows = iter(rows)
        self._limits = limits
        self._on_result = on_result
        self._should_stop = should_stop
        self._client = client
        self._decoders = decoders
        self._allow = AllowList(limits.allow_hosts)
        self._queues = HostQueues(limits.per_host, limits.host_failures)
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self._exhausted = False
        self._alarm: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        watch = self._loop.create_task(self._watch()) if self._should_stop else None
        if watch:
            watch.add_done_callback(self._served)
        try:
            self._pump()
            await self._finished
        finally:
            if self._alarm:
                self._alarm.cancel()
            tasks = [*self._in_flight, *([watch] if watch else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        assert self._should_stop is not None
        while not self._should_stop():
            await asyncio.sleep(_STOP_CHECK_SECONDS)
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        if self._finished.done():
            return
        if error is None:
            self._finished.set_result(None)
        else:
            self._finished.set_exception(error)

    def _pump(self) -> None:
        """Read rows ahead and start whatever may start.

        Called at the beginning and whenever something changed.
        """
        self._read_ahead()
        while not self._finished.done() and len(self._in_flight) < self._limits.concurrency:
            work = self._queues.take(self._loop.time())
            if work is None:
                break
            task = self._loop.create_task(self._serve(work))
            self._in_flight.add(task)
            task.add_done_callback(self._served)
        if self._exhausted and self._unanswered == 0:
            self._end()
            return
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        wake = self._queues.next_time()
        if wake is not None and not self._finished.done():
            self._alarm = self._loop.call_at(wake, self._wake)

    def _wake(self) -> None:
        """``_pump`` for the event loop's own calls, which would only log what it raises."""
        try:
            self._pump()
        except Exception as error:  # from the caller's rows or on_result: run() raises it
            self._end(error)

    def _read_ahead(self) -> None:
        while not self._exhausted and self._unanswered < self._limits.lookahead_rows:
            row = next(self._rows, None)
            if row is None:
                self._exhausted = True
                return
            self._unanswered += 1
            try:
                target = read_url(row.url, self._allow)
            except UrlRefused as refused:
                self._refuse(row, refused.reason, refused.detail)
            else:
                self._queue(Work(row, target, target))

    def _served(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._end(error)
            return
        self._wake()

    async def _serve(self, work: Work) -> None:
        """Make one request and act on its outcome; the host's place is free again before decoding starts."""
        host = work.target.host
        try:
            outcome, seconds = await self._request(work.target, work.spent_seconds)
            if isinstance(outcome, Failure):
                self._note_failure(host, outcome)
            else:
                self._queues.answered(host)
        finally:
            self._queues.give_back(host)
        if isinstance(outcome, Failure):
            self._retry_or_refuse(work, outcome)
        elif isinstance(outcome, Redirect):
            self._follow(work, outcome, work.spent_seconds + seconds)
        else:
            self._pump()  # the host's next request need not wait for this picture
            await self._decode(work, outcome)

    async def _request(self, target: Target, spent_seconds: float) -> tuple[Body | Redirect | Failure, float]:
        failure = await self._client.resolve_ahead(target)
        if failure is not None:
            return failure, 0.0
        start = self._loop.time()
        outcome = await self._client.fetch(target, self._limits.total_timeout_seconds - spent_seconds)
        return outcome, self._loop.time() - start

    def _note_failure(self, host: str, failure: Failure) -> None:
        if not failure.host_silent:
            self._queues.answered(host)
            if (
                failure.retry_after_seconds
                and failure.retry_after_seconds <= self._limits.max_retry_after_seconds
            ):
                self._queues.pause(host, self._loop.time() + failure.retry_after_seconds)
            return
        for ended in self._queues.failed(host, failure.reason):
            self._refuse_unreachable(ended)

    def _retry_or_refuse(self, work: Work, failure: Failure) -> None:
        wish = failure.retry_after_seconds or 0.0
        if not failure.may_pass or work.attempt >= self._limits.attempts:
            tried = f" ({work.attempt} attempts)" if work.attempt > 1 else ""
            self._refuse(work.row, failure.reason, failure.detail + tried)
        elif wish > self._limits.max_retry_after_seconds:
            detail = f"{failure.detail}, retry after {wish:.0f} s"
            self._refuse(work.row, Reason.RETRY_AFTER_TOO_LONG, detail)
        else:
            wait = self._limits.backoff_seconds * 2 ** (work.attempt - 1)
            wait = min(wait, self._limits.max_backoff_seconds) * random.uniform(0.5, 1.5)
            self._queue(
                Work(work.row, work.first, work.first, work.attempt + 1), self._loop.time() + max(wait, wish)
            )

    def _follow(self, work: Work, redirect: Redirect, spent_seconds: float) -> None:
        if work.redirects >= self._limits.max_redirects:
            detail = f"more than {self._limits.max_redirects}, the last to {redirect.location[:100]}"
            self._refuse(work.row, Reason.TOO_MANY_REDIRECTS, detail)
            return
        try:
            target = read_url(redirect.location, self._allow, base=work.target.url)
        except UrlRefused as refused:
            self._refuse(work.row, refused.reason, f"redirect: {refused.detail}")
            return
        self._queue(replace(work, target=target, redirects=work.redirects + 1, spent_seconds=spent_seconds))

    async def _decode(self, work: Work, body: Body) -> None:
        try:
            picture = await self._loop.run_in_executor(
                self._decoders, decode, body.data, body.content_encoding, self._limits
            )
        except PictureRefused as refused:
            self._refuse(work.row, refused.reason, refused.detail)
            return
        self._deliver(
            Downloaded(
                work.row.key, picture.image, picture.sha256, picture.width, picture.height, work.attempt
            )
        )

    def _queue(self, work: Work, not_before: float = 0.0) -> None:
        if self._queues.given_up(work.target.host) is not None:
            self._refuse_unreachable(work)
        else:
            self._queues.add(work, not_before=not_before)

    def _refuse_unreachable(self, work: Work) -> None:
        why = self._queues.given_up(work.target.host)
        self._refuse(work.row, Reason.HOST_UNREACHABLE, f"{work.target.host}: {why}")

    def _refuse(self, row: ImageRow, reason: Reason, detail: str) -> None:
        # Servers choose parts of these texts: keep them short, on one line and fit for any file and terminal.
        plain = "".join(c if c.isprintable() else "?" for c in " ".join(detail.split()))
        self._deliver(Refused(row.key, reason, plain[:_DETAIL_CHARACTERS]))

    def _deliver(self, result: Downloaded | Refused) -> None:
        self._unanswered -= 1
        self._on_result(result)
