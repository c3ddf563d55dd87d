"""Group commit: requests of one moment share one append, and each waits until it is durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from headrace.errors import LogUnavailableError
from headrace.log.base import Hour, LogWriter, Tally

logger = logging.getLogger(__name__)

GROUP_BYTES = 16_000_000
"""What one commit takes at the most, however much has been staged meanwhile: far below what a chunk of the log can hold."""

Ended = Callable[[LogUnavailableError | None], None]
"""Called once with None when the lines are durable, or with why they are not."""


class _Staged(msgspec.Struct):
    lines: Sequence[bytes]
    hour: Hour
    tally: Tally
    size_bytes: int
    since: float
    ended: Ended
    is_ended: bool = False

    def end(self, error: LogUnavailableError | None) -> None:
        if not self.is_ended:
            self.is_ended = True
            try:
                self.ended(error)
            except Exception:
                logger.exception("collector: a request could not be answered")


class Committer:
    """Stages lines in memory, bounded in bytes, and appends them from one thread of its own.

    A commit waits `linger_seconds` for company unless `commit_bytes` are there. What arrives during a commit makes up the next
    one, which waits as long again: those who have just been answered send their next requests then.
    """

    def __init__(
        self,
        writer: LogWriter,
        *,
        linger_seconds: float,
        commit_bytes: int,
        staging_bytes: int,
        timeout_seconds: float,
    ) -> None:
        self._writer = writer
        self._linger_seconds = linger_seconds
        self._commit_bytes = commit_bytes
        self._staging_bytes = staging_bytes
        self._timeout_seconds = timeout_seconds
        self._staged: list[_Staged] = []
        self._staged_bytes = 0
        self._underway_bytes = 0
        self._underway: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._thread = ThreadPoolExecutor(1, "append")
        self._loop = asyncio.get_running_loop()
        self.failed: str | None = None
        """Why the last append failed; None when it went well."""
        self.commits = 0
        self.committed_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes in memory that are not durable yet."""
        return self._staged_bytes + self._underway_bytes

    async def room(self) -> None:
        """Wait until staging is below its bound; a request's body is read after that.

        Raises LogUnavailableError when there is none within the time."""
        if self.has_room:
            return
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), self._timeout_seconds)
        except TimeoutError:
            raise LogUnavailableError("log: too many events wait to be stored; send again later") from None

    @property
    def has_room(self) -> bool:
        return self._staged_bytes + self._underway_bytes < self._staging_bytes

    async def store(self, lines: Sequence[bytes], hour: Hour, tally: Tally, size_bytes: int) -> None:
        """Return when the lines are durable. Raises LogUnavailableError when they are not, or not in time."""
        durable: asyncio.Future[None] = self._loop.create_future()

        def ended(error: LogUnavailableError | None) -> None:
            if durable.done():  # the request was cancelled
                return
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

        self.stage(lines, hour, tally, size_bytes, ended)
        await durable

    def stage(self, lines: Sequence[bytes], hour: Hour, tally: Tally, size_bytes: int, ended: Ended) -> None:
        self._staged.append(_Staged(lines, hour, tally, size_bytes, self._loop.time(), ended))
        self._staged_bytes += size_bytes
        if self._underway is None:
            if self._staged_bytes >= self._commit_bytes:
                self._begin()
            elif self._timer is None:
                self._timer = self._loop.call_later(self._linger_seconds, self._begin)
        if self._overdue is None:
            self._overdue = self._loop.call_later(self._timeout_seconds, self._refuse_overdue)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._underway is not None or not self._staged:
            return
        group, self._staged = _split(self._staged)
        self._underway_bytes = sum(staged.size_bytes for staged in group)
        self._staged_bytes -= self._underway_bytes
        self._waiting_group = group
        lines = [line for staged in group for line in staged.lines]
        try:
            self._underway = self._loop.run_in_executor(self._thread, self._append, lines, _summed(group))
        except RuntimeError as error:  # no thread can be started now
            failed: asyncio.Future[None] = self._loop.create_future()
            failed.set_exception(LogUnavailableError(f"log: cannot store: {error}"))
            self._underway = failed
        self._underway.add_done_callback(lambda underway: self._end(underway, group))

    def _append(self, lines: Sequence[bytes], tally: Mapping[Hour, Tally]) -> None:
        self._writer.append(lines, tally)

    def _end(self, underway: asyncio.Future[None], group: Sequence[_Staged]) -> None:
        error = underway.exception()
        if error is None:
            self.failed = None
            self.commits += 1
            self.committed_bytes += self._underway_bytes
        else:
            if not isinstance(error, LogUnavailableError):
                logger.error("log: an append failed unexpectedly", exc_info=error)
                error = LogUnavailableError(f"log: cannot store: {error}")
            if self.failed is None:
                logger.error("%s; requests get 503 until it works again", error)
            self.failed = str(error)
        self._underway, self._underway_bytes, self._waiting_group = None, 0, []
        for staged in group:
            staged.end(error)
        self._room.set()
        if self._staged_bytes >= self._commit_bytes:
            self._begin()
        elif self._staged and self._timer is None:
            self._timer = self._loop.call_later(self._linger_seconds, self._begin)

    _waiting_group: Sequence[_Staged] = ()

    def _refuse_overdue(self) -> None:
        """Answer requests that have waited too long. What is underway may still become durable: the client's retry
        carries the same messageId and counts as a duplicate then."""
        limit = self._loop.time() - self._timeout_seconds
        error = LogUnavailableError("log: storing takes too long; send again later")
        overdue = [staged for staged in (*self._waiting_group, *self._staged) if staged.since <= limit]
        for staged in overdue:
            staged.end(error)
        if overdue:
            self._staged = [staged for staged in self._staged if not staged.is_ended]
            self._staged_bytes = sum(staged.size_bytes for staged in self._staged)
            self.failed = self.failed or str(error)
        waiting = [staged.since for staged in (*self._waiting_group, *self._staged) if not staged.is_ended]
        self._overdue = None
        if waiting:
            due = min(waiting) + self._timeout_seconds
            self._overdue = self._loop.call_at(due + 0.001, self._refuse_overdue)

    async def close(self) -> None:
        """Store what is staged, then end."""
        while self._staged or self._underway is not None:
            self._begin()
            if self._underway is not None:
                await asyncio.wait([self._underway])
                await asyncio.sleep(0)
        for timer in (self._timer, self._overdue):
            if timer is not None:
                timer.cancel()
        self._thread.shutdown()


def _split(staged: list[_Staged]) -> tuple[list[_Staged], list[_Staged]]:
    """The next group, at least one request and then as many as fit GROUP_BYTES, and the rest."""
    size_bytes = 0
    for place, one in enumerate(staged):
        size_bytes += one.size_bytes
        if place and size_bytes > GROUP_BYTES:
            return staged[:place], staged[place:]
    return staged, []


def _summed(group: Sequence[_Staged]) -> dict[Hour, Tally]:
    tally: dict[Hour, Tally] = {}
    for staged in group:
        before = tally.get(staged.hour)
        tally[staged.hour] = (
            staged.tally
            if before is None
            else Tally(before.accepted + staged.tally.accepted, before.refused + staged.tally.refused)
        )
    return tally
