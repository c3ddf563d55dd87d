"""uvicorn's HTTP protocol with bounds on headers (their size, and the time they may take), and a short way for posted events."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headrace.collector import incoming
from headrace.collector.answers import ACCEPTED, ACCEPTED_HTTP, Answer, as_http, problem
from headrace.collector.routes import PATHS_BY_URL
from headrace.collector.server import Collector, Head

logger = logging.getLogger(__name__)

HEADER_BYTES: Final = 64 * 1024
SWEEP_SECONDS: Final = 5.0
WHOLE_SECONDS: Final = 1.0
"""How long the short way waits for the rest of a body."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too large. `sweep` closes those whose headers do not come, and those that are
    not used any more: uvicorn's own timer for that costs as much as reading a request's headers."""

    headers_since: float | None = None
    """When the wait for the present request's headers began; None between requests and while one is answered."""
    header_bytes: int = 0
    in_headers = False
    idle_since: float | None = None
    """When the last request was answered; None before the first and during one."""

    def connection_made(self, transport: Any) -> None:
        self.headers_since = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """uvicorn's, without its timer."""
        if self.headers_since is not None:
            self.header_bytes += len(data)
            if self.header_bytes > HEADER_BYTES + len(data):
                self.transport.close()
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        if self.in_headers and self.headers_since is None:
            self.headers_since = self.loop.time()

    def on_message_begin(self) -> None:
        self.idle_since = None
        self.in_headers = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_headers:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
            return
        # A trailer of a chunked body: no client of ours sends any, and they must not pass for headers.
        self.header_bytes += len(name) + len(value)
        if self.header_bytes > HEADER_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self.in_headers = False
        self.headers_since = None
        self.header_bytes = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.loop.time()

    def is_overdue(self, now: float, header_timeout_seconds: float) -> bool:
        if self.headers_since is not None:
            return self.headers_since < now - header_timeout_seconds
        return self.idle_since is not None and self.idle_since < now - self.timeout_keep_alive


async def sweep(state: ServerState, header_timeout_seconds: float) -> None:
    """Close, for ever, connections that have been silent for too long, in the middle of their headers or between requests."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(SWEEP_SECONDS, header_timeout_seconds / 2))
        now = loop.time()
        for connection in list(state.connections):
            if isinstance(connection, BoundedProtocol) and connection.is_overdue(now, header_timeout_seconds):
                connection.transport.close()


class _Nobody:
    """Stands where uvicorn wakes the task of a request: on the short way there is none."""

    def set(self) -> None:
        pass


class _ShortCycle(msgspec.Struct):
    """A request on the short way, with what uvicorn's protocol asks of a request."""

    path: str
    query: bytes
    keep_alive: bool
    body: bytes | bytearray = b""
    timer: asyncio.TimerHandle | None = None
    disconnected: bool = False
    response_complete: bool = False
    message_event: _Nobody = _Nobody()


class CollectorProtocol(BoundedProtocol):
    """A posted event or batch that comes whole is accepted at once and answered when it is durable, by a callback, without the
    app's task and events: that saves half of the time. Whatever is out of the ordinary goes to the app, as everything else does."""

    app: Collector
    short: _ShortCycle | None = None
    """The present request, while its body is read on the short way."""

    def on_message_begin(self) -> None:
        """Only what `on_headers_complete` needs; uvicorn's own state is made where it is asked for, in `_prepare`."""
        self.idle_since = None
        self.in_headers = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        url, _, query = self.url.partition(b"?")
        path = PATHS_BY_URL.get(url)
        if path is None or not self._may_be_short():
            self._prepare()
            super().on_headers_complete()
            return
        self.in_headers = False
        self.headers_since = None
        self.header_bytes = 0
        cycle: Any = _ShortCycle(path, query, self.parser.should_keep_alive())
        self.cycle = self.short = cycle

    def _may_be_short(self) -> bool:
        parser = self.parser
        before: Any = self.cycle
        return (
            parser.get_method() == b"POST"
            and (before is None or before.response_complete)
            and not self.expect_100_continue
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.flow.write_paused
            and self.app.committer.has_room
            and (self.limit_concurrency is None or len(self.connections) < self.limit_concurrency)
        )

    def _prepare(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)

    def on_body(self, body: bytes) -> None:
        short = self.short
        if short is None:
            super().on_body(body)
            return
        if short.body:  # in pieces, which may be many
            short.body = short.body if isinstance(short.body, bytearray) else bytearray(short.body)
            short.body += body
        else:
            short.body = body
        if len(short.body) > incoming.BATCH_BYTES:
            self._take_long_way(short)

    def on_message_complete(self) -> None:
        short = self.short
        if short is None:
            super().on_message_complete()
            return
        self.short = None
        if short.timer is not None:
            short.timer.cancel()
        head = Head(dict(self.headers), short.query, self.client)
        try:
            self.app.quick(short.path, head, bytes(short.body), lambda answer: self._answer(short, answer))
        except Exception:
            logger.exception("collector: a request failed")
            self._answer(short, problem(500, "internal", "the server failed; its log says why"))

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        short = self.short
        if short is not None and short.timer is None:
            short.timer = self.loop.call_later(WHOLE_SECONDS, self._take_long_way, short)

    def _take_long_way(self, short: _ShortCycle) -> None:
        """The app shall wait for the rest of the body, or refuse it."""
        if short is not self.short or self.transport.is_closing():
            return
        nothing: Any = None
        self.cycle = self.short = nothing
        self._prepare()
        super().on_headers_complete()
        self.cycle.keep_alive = self.cycle.keep_alive and short.keep_alive  # false when the server is shutting down
        super().on_body(bytes(short.body))

    def _answer(self, short: _ShortCycle, answer: Answer) -> None:
        short.response_complete = True
        if short.disconnected:
            return
        is_usual = answer is ACCEPTED and short.keep_alive
        self.transport.write(ACCEPTED_HTTP if is_usual else as_http(answer, keep_alive=short.keep_alive))
        if not short.keep_alive:
            self.transport.close()
        self.on_response_complete()
