"""A log, a destination's books and what delivers, in one folder, for tests: the transport is a function, the clock is the real one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace import event as events
from headrace.config import LogConfig
from headrace.delivery.delivering import Delivering
from headrace.delivery.feed import Feed
from headrace.delivery.preparing import checked
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations.base import Answer, Exchange, Place, Request
from headrace.event import Event
from headrace.log._sqlite_reader import SqliteReader
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog
from segment_events import event_of

Answering = Callable[[Request], Answer | Exchange | Awaitable[Answer | Exchange]]
WEBHOOK: Mapping[str, Any] = {"url": "https://tool.example/hook"}
EVENING_BEFORE = datetime(2026, 2, 1, tzinfo=UTC)


class Tool:
    """A transport that answers by a function, and keeps what was sent."""

    def __init__(self, answer: Answering = lambda _: Answer(200)) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def exchange(self, request: Request) -> Exchange:
        self.requests.append(request)
        answer = self.answer(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, Exchange) else Exchange(request, answer)

    @property
    def ids(self) -> list[str]:
        """The messageIds that were sent, in their order; of batches too."""
        return [each for request in self.requests for each in ids_of(request)]


def ids_of(request: Request) -> list[str]:
    body = json.loads(request.body)
    return [each["messageId"] for each in (body if isinstance(body, list) else [body])]


class House:
    """`deliver` runs a destination for a while; between two calls it is as after a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = SqliteLog(folder / "log", LogConfig())
        self._writer = self._log.writer(0)
        self._events = 0
        self.on_gone: Callable[[str], Awaitable[None]] | None = None

    def accept(self, sent: Iterable[Mapping[str, Any]], source: str = "selligent") -> list[Event]:
        """Append them; each without a messageId gets m-0, m-1, ... and the time now."""
        accepted = []
        for each in sent:
            now = datetime.now(UTC).isoformat()
            complete = {
                "type": "track",
                "event": "Email Opened",
                "userId": "u",
                "messageId": f"m-{self._events}",
                "receivedAt": now,
            }
            accepted.append(event_of({**complete, **each}, source))
            self._events += 1
        self._writer.append([events.encode(event) for event in accepted], tallied(accepted))
        return accepted

    def tracks(self, count: int, **more: Any) -> list[Event]:
        return self.accept([more] * count)

    def deliver(self, tool: Tool, until: Callable[[], bool] | float = 0.5, **how: Any) -> Delivering:
        """Until the condition holds, which it must within 20 s, or for so many seconds. See `delivering` for the rest."""
        return asyncio.run(self._deliver(tool, until, **how))

    async def _deliver(
        self,
        tool: Tool,
        until: Callable[[], bool] | float,
        *,
        kind: str = "webhook",
        settings: Mapping[str, Any] | None = None,
        sources: Iterable[str] = ("selligent",),
        added_at: datetime = EVENING_BEFORE,
        is_killed: bool = False,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> Delivering:
        """`is_killed` ends it without a word. `meanwhile` is called once it has taken its position."""
        feed = Feed([self._log.reader(0)], self.folder / "deliveries")
        store = Store(self.file)
        given = {**(WEBHOOK if kind == "webhook" else {}), **(settings or {})}
        configured = base.configured(kind, given, Place("tool", self.folder / "own"))
        delivering = Delivering(
            configured,
            checked(configured),
            list(sources),
            added_at,
            store,
            feed,
            tool,
            open_readers=self.readers,
            on_gone=self.on_gone,
            chance=lambda: 0.02,
        )
        running = asyncio.create_task(delivering.run())
        await asyncio.sleep(0.05)
        following = asyncio.create_task(feed.follow())
        try:
            meanwhile()
            await _wait(running, until)
        finally:
            if not is_killed:
                delivering.stop()
                await asyncio.wait([running], timeout=60)
            running.cancel()
            following.cancel()
            await asyncio.gather(running, following, return_exceptions=True)
            await delivering.close()
            store.close()
            await feed.close()
        return delivering

    def readers(self) -> list[SqliteReader]:
        return [self._log.reader(0)]

    @property
    def file(self) -> Path:
        return self.folder / "deliveries" / "tool.db"

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.file)
        try:
            return connection.execute(select).fetchall()
        finally:
            connection.close()

    def counts(self) -> dict[str, int]:
        """Events by outcome and code, as the minutes have them."""
        rows = self.rows("SELECT outcome, code, sum(events) FROM minutes GROUP BY 1, 2 HAVING sum(events) != 0")
        return {f"{outcome} {code}".strip(): n for outcome, code, n in rows}

    def position(self) -> int:
        return int(self.rows("SELECT next FROM positions")[0][0])

    def runs(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT first, next, outcome, code FROM runs ORDER BY first")


async def _wait(running: asyncio.Task[None], until: Callable[[], bool] | float) -> None:
    if isinstance(until, float | int):
        await asyncio.wait([running], timeout=until)
    else:
        async with asyncio.timeout(120):
            while not until() and not running.done():  # noqa: ASYNC110 -- what tests wait for has no event
                await asyncio.sleep(0.01)
    if running.done():
        await running
