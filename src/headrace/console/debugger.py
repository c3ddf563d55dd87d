"""The debugger in the JSON API: the live stream, pages of what was before, and one event with its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Final, Protocol

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from headrace.console.access import REQUESTER, Connection
from headrace.console.problems import Problem, problem
from headrace.console.tracing import Trace
from headrace.debugger.choice import Choice, Wanted, Wish
from headrace.debugger.history import EventPage
from headrace.debugger.shown import Stored
from headrace.debugger.streams import Start
from headrace.debugger.tail import Frame
from headrace.errors import HeadraceError, RequestError
from headrace.event import EventType
from headrace.warehouses.base import QueryResult

EVENT_STREAM: Final = "text/event-stream"
ALLOWED_SECONDS: Final = 5.0
"""So often it is looked at whether who watches still may."""
MOST_PAGE: Final = 500

Chosen = Annotated[Sequence[str], QueryParameter(max_items=100)]
Text = Annotated[str | None, QueryParameter(max_length=1_000)]
Expression = Annotated[
    str | None,
    QueryParameter(
        name="filter", max_length=5_000, description="An expression over accepted events; see docs/filters.md."
    ),
]
PositionText = Annotated[
    str | None,
    QueryParameter(max_length=30_000, description="`position`, `before` or `end` of an answer: a place in the log.", examples=[Example(value="5f0c.0-17.1-4")]),
]  # fmt: skip
Given = Annotated[str, QueryParameter(max_length=1_000)]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST_PAGE)]


def _wanted(
    source: Chosen = (),
    type_: Annotated[Sequence[EventType], QueryParameter(name="type")] = (),
    event: Text = None,
    user: Text = None,
    message_id: Text = None,
    state_: Annotated[Sequence[Wish], QueryParameter(name="state")] = (),
    text: Text = None,
    filter_: Expression = None,
) -> Wanted:
    return Wanted(
        sources=source, types=type_, event=event, user=user, message_id=message_id, states=state_, text=text, filter=filter_
    )  # fmt: skip


CHOSEN: Final = {"wanted": Provide(_wanted, sync_to_thread=False)}


class EventTold(msgspec.Struct, frozen=True):
    """Everything that is known of the events with an id. `stored` are those that the log or the archive still has, in the order of
    `trace.sights` where those say their place."""

    trace: Trace
    stored: Sequence[Stored]
    is_settled: bool
    """Nothing is under way any more: every warehouse and destination has come to an end with it."""


class Streaming(Protocol):
    """The log as it grows. Called in the event loop."""

    @property
    def is_ended(self) -> bool: ...

    async def start(self, after: str | None, *, is_jump: bool = False, owner: str = "") -> Start: ...

    def frames(self, choice: Choice, start: Start, owner: str = "") -> AsyncIterator[Frame]: ...


class Debugging(Protocol):
    """What the worker answers. All but the streams may be called from any thread; raises HeadraceError."""

    @property
    def streams(self) -> Streaming: ...

    def page(self, choice: Choice, before: str | None, until: datetime | None, limit: int) -> EventPage: ...

    def stored(self, partition: int, offset: int) -> Stored: ...

    def told(self, message_id: str, since: str) -> EventTold: ...

    def told_at(self, partition: int, offset: int) -> EventTold: ...

    def rows(self, message_id: str, warehouse: str, schema: str, table: str) -> QueryResult: ...


class Worker(Protocol):
    """What has a debugger."""

    @property
    def debugger(self) -> Debugging: ...


Allowed = Callable[[Connection, Any], Awaitable[None]]
"""Raises RequestError when who asks may not, or not any more."""


def routes(of: Worker, allowed: Allowed) -> list[Any]:
    """Of the worker's API."""

    @get(
        "/debugger/stream",
        role="viewer",
        media_type=EVENT_STREAM,
        responses={200: ResponseSpec(Frame, description="Frames as server-sent events", media_type=EVENT_STREAM)},
        dependencies=CHOSEN,
    )
    async def stream_events(
        request: Request[Any, Any, Any],
        wanted: NamedDependency[Wanted],
        after: PositionText = None,
        jump: FromQuery[bool] = False,  # noqa: FBT002 - a query parameter
    ) -> Stream:
        """Server-sent events: `frame` (see the schema Frame; its id goes on after it, as `after` or as Last-Event-ID), and `end` with a problem
        when the server will not go on."""
        choice = Choice(wanted)
        who = REQUESTER.get()
        owner = who.owner if who is not None else ""
        start = await of.debugger.streams.start(
            request.headers.get("last-event-id") or after, is_jump=jump, owner=owner
        )
        frames = _told(of.debugger.streams, choice, start, lambda: allowed(request, request.route_handler), owner)
        return Stream(frames, media_type=EVENT_STREAM, headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    @get("/debugger/events", role="viewer", sync_to_thread=True, dependencies=CHOSEN)
    def list_events(
        wanted: NamedDependency[Wanted],
        before: PositionText = None,
        until: FromQuery[datetime | None] = None,
        limit: Limit = 100,
    ) -> EventPage:
        return of.debugger.page(Choice(wanted), before, until, limit)

    @get("/debugger/events/{partition:int}/{offset:int}", role="viewer", sync_to_thread=True)
    def show_stored_event(partition: FromPath[int], offset: FromPath[int]) -> Stored:
        return of.debugger.stored(partition, offset)

    @get("/debugger/events/{partition:int}/{offset:int}/way", role="viewer", sync_to_thread=True)
    def show_way(partition: FromPath[int], offset: FromPath[int]) -> EventTold:
        return of.debugger.told_at(partition, offset)

    @get("/events/{message_id:path}", role="viewer", sync_to_thread=True)
    def show_event(
        message_id: FromPath[str], since: Annotated[str, QueryParameter(max_length=100)] = "24h"
    ) -> EventTold:
        return of.debugger.told(message_id.removeprefix("/"), since)

    @get("/debugger/rows", role="viewer", sync_to_thread=True)
    def show_rows_of_event(message_id: Given, warehouse: Given, schema: Given, table: Given) -> QueryResult:
        return of.debugger.rows(message_id, warehouse, schema, table)

    return [stream_events, list_events, show_stored_event, show_way, show_event, show_rows_of_event]


async def _told(
    streams: Streaming, choice: Choice, start: Start, check: Callable[[], Awaitable[None]], owner: str = ""
) -> AsyncIterator[bytes]:
    """Until the server ends, or whoever watches may not any more."""
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    yield b"retry: 1000\n\n"
    try:
        async with aclosing(streams.frames(choice, start, owner)) as frames:  # type: ignore[type-var]  # it is a generator
            async for frame in frames:
                if loop.time() - checked_at >= ALLOWED_SECONDS:
                    checked_at = loop.time()
                    await check()
                yield sent("frame", frame, frame.position)
        yield sent(
            "end", problem(503, "server_ends", "debugger: the server ends; the stream goes on when it is up again")
        )
    except HeadraceError as error:
        yield sent("end", _problem(error))


def _problem(error: HeadraceError) -> Problem:
    if isinstance(error, RequestError):
        return problem(error.status, error.code, error.reason)
    return problem(503, "log_unreadable", str(error))


def sent(name: str, content: Frame | Problem, position: str | None = None) -> bytes:
    """One server-sent event: JSON has no line breaks.

    https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    identity = f"id: {position}\n" if position is not None else ""
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity.encode(), _encoder.encode(content))


_encoder: Final = msgspec.json.Encoder()
