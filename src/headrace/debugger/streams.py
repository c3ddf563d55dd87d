"""All streams of a server: they share the log's readers and one thread, and cost nothing while nobody watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from headrace.debugger.choice import Choice
from headrace.debugger.position import Position
from headrace.debugger.tail import Frame, Slices, Tail
from headrace.errors import RequestError
from headrace.log.base import LogReader

_T = TypeVar("_T")

MOST_STREAMS: Final = 50
MOST_OF_ONE: Final = 12
"""Streams of the same person or token, so that nobody takes all."""
TICK_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0
"""A stream says so often that it is there, though nothing comes."""


class Start(NamedTuple):
    position: Position
    passed_over: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class Streams:
    """Used in one event loop; `end` may be called from anywhere. Reading the log blocks a thread of its own, never the loop."""

    def __init__(
        self,
        readers: Callable[[], Sequence[LogReader]],
        most_streams: int = MOST_STREAMS,
        tick_seconds: float = TICK_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """`readers` are opened when somebody watches, and closed after the last one."""
        self._readers = readers
        self._most_streams = most_streams
        self._tick_seconds = tick_seconds
        self._idle_seconds = idle_seconds
        self._now = now
        self._thread = ThreadPoolExecutor(1, "debugger")
        self._slices: Slices | None = None
        self._open: Counter[str] = Counter()
        """Streams by owner."""
        self._is_ended = False

    @property
    def is_ended(self) -> bool:
        return self._is_ended

    async def start(self, after: str | None, *, is_jump: bool = False, owner: str = "") -> Start:
        """Where a stream begins: at `after`, or at the log's end. With `is_jump` at the end too, and it is counted how many entries after `after`
        are passed over. `owner` is whose stream it will be. Raises RequestError: too many streams, or a position of another log."""
        self._check_room(owner)
        position = Position.read(after) if after is not None else None
        return await self._in_thread(self._found_start, position, is_jump)

    def _check_room(self, owner: str) -> None:
        count, own = self._open.total(), self._open[owner]
        if count < self._most_streams and own < MOST_OF_ONE:
            return
        are = f"{own} of your streams are open" if own >= MOST_OF_ONE else f"{count} streams are open"
        raise RequestError(
            "too_many_streams",
            f"debugger: {are}, as many as there may be; close a page that shows the debugger, then try again",
            429,
        )

    async def frames(self, choice: Choice, start: Start, owner: str = "") -> AsyncIterator[Frame]:
        """What fits is told every tick; that nothing came or fitted, every `idle_seconds`. Who does not take a frame is not read for.

        Raises RequestError, too: many may have started at the same moment."""
        loop = asyncio.get_running_loop()
        self._check_room(owner)
        self._open[owner] += 1
        try:
            tail = Tail(await self._in_thread(self._opened), choice, start.position, self._now)
            passed_over, looked_at, told_at = start.passed_over, 0, loop.time() - self._idle_seconds
            while not self._is_ended:
                frame = await self._in_thread(tail.frame, passed_over, looked_at)
                if frame.says_something or loop.time() - told_at >= self._idle_seconds:
                    yield frame
                    passed_over, looked_at, told_at = 0, 0, loop.time()
                else:
                    looked_at = frame.looked_at
                # At the same moments for all, so that they share what is read.
                await asyncio.sleep(self._tick_seconds - loop.time() % self._tick_seconds)
        finally:
            self._open[owner] -= 1
            self._open = +self._open  # without owners of none
            self._thread.submit(self._close_if_unused)

    def end(self) -> None:
        """Every stream ends within a tick. Safe to call twice."""
        self._is_ended = True

    async def _in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    # In the thread.

    def _found_start(self, position: Position | None, is_jump: bool) -> Start:  # noqa: FBT001 - an executor takes no names
        try:
            end = self._opened().end()
            start = end if position is None else position.within(end)
            return Start(end, start.entries_to(end)) if is_jump else Start(start)
        finally:
            self._close_if_unused()

    def _opened(self) -> Slices:
        if self._slices is None:
            self._slices = Slices(self._readers())
        return self._slices

    def _close_if_unused(self) -> None:
        if self._slices is not None and not self._open:
            self._slices.close()
            self._slices = None
