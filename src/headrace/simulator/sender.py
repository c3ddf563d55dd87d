"""Sends events to a tracking API as platforms and SDKs do: gzipped batches, several connections, the same again after a failure."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from headrace.errors import ConfigError
from headrace.simulator.answers import Again, Refusal, Refused, Stored, Useless, Verdict, verdict
from headrace.simulator.batches import BATCH_BYTES, Ready, body_of, ready
from headrace.simulator.pace import Pace

MOST_EVENTS: Final = 2_500
"""The tracking API's limit for a batch."""
_PROBLEMS_KEPT: Final = 20
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 10.0


class Problem(NamedTuple):
    """An event that is not stored: where it stood in the input (from 1; None when the server does not say), and why."""

    line: int | None
    message_id: str | None
    code: str
    text: str


class Totals(msgspec.Struct):
    """Counted in events. `sent` were in a request at least once, `retried` more than once.

    Each event that was read is unreadable, accepted, rejected or failed; `failed` may yet be stored, if its answer got lost."""

    read: int = 0
    unreadable: int = 0
    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    retried: int = 0
    by_name: Counter[str] = msgspec.field(default_factory=Counter)
    """Those that were sent."""
    problems: list[Problem] = msgspec.field(default_factory=list)
    """The first of them."""
    stopped: str | None = None
    """Why sending ended before the input did."""

    @property
    def failed(self) -> int:
        return self.read - self.unreadable - self.accepted - self.rejected

    @property
    def complete(self) -> bool:
        """Whether everything is stored."""
        return self.stopped is None and self.accepted == self.read

    def add_problem(self, problem: Problem) -> None:
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)


class _Result(NamedTuple):
    batch: list[Ready]
    verdict: Verdict
    tries: int


class Sender:
    """Use it as a context manager: leaving it sends what is left and waits for the answers.

    `add` raises ConfigError when no event will ever be accepted (wrong write key or address), or when the server could not be reached
    for all the tries; `totals` is right then too, and so is `totals.stopped`."""

    def __init__(
        self,
        url: str,
        write_key: str,
        *,
        batch_events: int = 100,
        connections: int = 4,
        tries: int = 12,
        pace: Pace | None = None,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """`progress` is told of events that are done with, well or not."""
        if not 1 <= batch_events <= MOST_EVENTS:
            raise ConfigError(f"send: a batch has 1 to {MOST_EVENTS} events, not {batch_events}")
        if pace is not None:  # ten batches a second at the most, so that a slow pace is smooth too
            batch_events = min(batch_events, max(1, int(pace.events_per_second / 10)))
        self.totals = Totals()
        self._batch_events = batch_events
        self._connections = connections
        self._tries = tries
        self._pace = pace
        self._now = now
        self._ended = threading.Event()
        self._sleep = sleep or self._ended.wait
        self._progress = progress or _ignore
        self._url = _batch_url(url)
        self._client = httpx.Client(
            auth=httpx.BasicAuth(write_key, ""),
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="sender")
        self._running: set[Future[_Result]] = set()
        self._batch: list[Ready] = []
        self._batch_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if kind is KeyboardInterrupt:
                self.totals.stopped = self.totals.stopped or "interrupted"
            self._ended.set()
            self._threads.shutdown(wait=True, cancel_futures=True)
            for future in self._running:
                if not future.cancelled():
                    self._count(future.result())
            self._client.close()

    def send(self, events: Iterable[bytes]) -> Totals:
        """Send all, a JSON object each, and wait for the answers. Raises as `add` does."""
        for event in events:
            self.add(event)
        self.finish()
        return self.totals

    def add(self, event: bytes, line: int | None = None) -> None:
        """One event as JSON; it goes out when its batch is full. What is no JSON object is counted and left out.

        `line` is its place in the input; without it events are numbered from 1."""
        self.totals.read += 1
        line = self.totals.read if line is None else line
        try:
            prepared = ready(line, event)
        except ValueError as error:
            self.totals.unreadable += 1
            self.totals.add_problem(Problem(line, None, "unreadable", str(error)))
            self._progress(1)
            return
        if self._batch and self._batch_bytes + prepared.size > BATCH_BYTES:
            self._dispatch()
        self._batch.append(prepared)
        self._batch_bytes += prepared.size
        if len(self._batch) >= self._batch_events:
            self._dispatch()

    def finish(self) -> None:
        """Send what is left and wait for every answer. Raises as `add` does."""
        if self._batch:
            self._dispatch()
        while self._running:
            self._collect()

    def _dispatch(self) -> None:
        if self.totals.stopped is not None:
            raise ConfigError(f"send: {self.totals.stopped}")
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._collect(least=0)
        while len(self._running) >= 2 * self._connections:
            self._collect()
        if self._pace is not None:
            self._pace.wait(len(batch))
        self._running.add(self._threads.submit(self._deliver, batch))

    def _collect(self, least: int = 1) -> None:
        """Count the answers that are there, waiting for one unless `least` is 0."""
        done, self._running = wait(self._running, None if least else 0, FIRST_COMPLETED)
        for future in done:
            self._count(future.result())
        if self.totals.stopped is not None and not self._ended.is_set():
            self._ended.set()
            raise ConfigError(f"send: {self.totals.stopped}")

    def _count(self, result: _Result) -> None:
        totals, batch = self.totals, result.batch
        if result.tries:
            totals.sent += len(batch)
            totals.by_name.update(event.name for event in batch)
        if result.tries > 1:
            totals.retried += len(batch)
        match result.verdict:
            case Stored(refusals):
                totals.rejected += len(refusals)
                totals.accepted += len(batch) - len(refusals)
                for refusal in refusals:
                    totals.add_problem(_problem(refusal, batch))
            case Refused(code, text):
                totals.rejected += len(batch)
                for event in batch:
                    totals.add_problem(Problem(event.line, event.message_id, code, text))
            case Again(text) if result.tries == self._tries:
                totals.stopped = totals.stopped or f"given up after {result.tries} tries: {text}"
            case Useless(text):
                totals.stopped = totals.stopped or text
        self._progress(len(batch))

    def _deliver(self, batch: list[Ready]) -> _Result:
        """In a thread of its own: try until there is a verdict that another try cannot change."""
        last: Verdict = Again("sending was stopped")
        tries = 0
        while tries < self._tries and not self._ended.is_set():
            tries += 1
            last = self._try(batch)
            if not isinstance(last, Again):
                break
            if tries < self._tries:
                self._sleep(_wait_seconds(tries, last.wait_seconds))
        return _Result(batch, last, tries)

    def _try(self, batch: list[Ready]) -> Verdict:
        try:
            answer = self._client.post(self._url, content=body_of(batch, self._now()))
        except httpx.RequestError as error:
            return Again(f"{self._url}: {str(error) or type(error).__name__}")
        return verdict(answer.status_code, answer.headers.get("retry-after"), answer.content)


def _ignore(_: int) -> None:
    """No progress is shown."""


def _wait_seconds(tries: int, asked: float) -> float:
    """Doubling, with a random part so that many senders do not come back at once; never shorter than the server asked."""
    backoff: float = min(_FIRST_WAIT_SECONDS * 2 ** (tries - 1), _LONGEST_WAIT_SECONDS)
    return max(asked, backoff * random.uniform(0.5, 1.0))  # noqa: S311 -- nothing secret


def _problem(refusal: Refusal, batch: list[Ready]) -> Problem:
    if refusal.place is None or refusal.place >= len(batch):
        return Problem(None, None, refusal.code, refusal.text)
    event = batch[refusal.place]
    return Problem(event.line, event.message_id, refusal.code, refusal.text)


def _batch_url(url: str) -> str:
    """Raises ConfigError."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise ConfigError(f"send: {url!r} is no address of a tracking API, for example http://127.0.0.1:8000")
    path = f"{parts.path.rstrip('/').removesuffix('/v1')}/v1/batch"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
