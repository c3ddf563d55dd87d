"""Requests to tools: addresses checked, times and sizes bounded, one client per destination.

HTTP/1.1 itself is httpcore's, the engine of httpx: `AsyncHTTP11Connection` on a stream of ours. httpx's client above it would cost
two to three times the CPU for what is not wanted here (redirects, cookies, proxies, content decoding), and httpcore's pool does not tell
whether a connection had been used before, on which it depends whether a request may be repeated. So the idle connections are kept here.
bench/outgoing.py measures it beside httpx.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

import httpcore

from headrace import __version__
from headrace.delivery._http_opening import Names, Resolve, addresses_of, opened
from headrace.delivery._http_stream import FailureError, Stream, TooLongError, is_tls
from headrace.delivery._http_url import Target, target
from headrace.delivery.addresses import NOTHING_ALLOWED, AllowedNetworks
from headrace.destinations.base import ANSWER_BYTES, Answer, Exchange, Request
from headrace.errors import ConfigError

HEAD_BYTES: Final = 65_536
"""Of an answer's head, informational answers before it included."""
_BODY_BYTES: Final = 2 * ANSWER_BYTES
"""Of a body with what frames its chunks."""
_MOST_PIECES: Final = 4_096
"""A body in more chunks is cut: each costs time, however small it is."""
_PIECES_IN_A_ROW: Final = 64
"""Then others have their turn."""
IDLE_SECONDS: Final = 30.0
LIFE_SECONDS: Final = 300.0
"""So long a connection is used at most: then the name is asked again."""
_OURS: Final = frozenset(("host", "content-length", "transfer-encoding", "connection"))
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class HttpClient:
    """The `Http` of one destination. At most `connections` requests at a time; more wait, and their time does not run meanwhile."""

    def __init__(
        self,
        allowed: AllowedNetworks = NOTHING_ALLOWED,
        *,
        connect_seconds: float = 5.0,
        request_seconds: float = 10.0,
        connections: int = 8,
        ca_file: Path | None = None,
        resolve: Resolve = addresses_of,
    ) -> None:
        """`connect_seconds`: name, connection and TLS. `request_seconds`: all of it, to the last byte of the answer. `ca_file`:
        authorities to trust beside the usual ones."""
        self._allowed = allowed
        self._connect_seconds = connect_seconds
        self._request_seconds = request_seconds
        self._ca_file = ca_file
        self._names = Names(resolve)
        self._most = connections
        self._places = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._expiring: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def exchange(self, request: Request) -> Exchange:
        """Never raises for what the network or the tool does."""
        async with self._places:
            began = time.monotonic()
            answer, code, error = None, "", ""
            try:
                async with asyncio.timeout(self._request_seconds):
                    answer = await self._answer(request)
            except ConfigError as wrong:
                code, error = "INVALID_SETTINGS", str(wrong)
            except FailureError as failure:
                code, error = failure.code, failure.text
            except TimeoutError:
                code = "ETIMEDOUT"
                error = f"{target(request.url).where} gave no complete answer within {self._request_seconds:g} s"
            return Exchange(request, answer, code, error, time.monotonic() - began)

    async def close(self) -> None:
        """Safe to call twice. Requests under way are not ended; they keep no connection."""
        self._is_closed = True
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None
        while self._idle:
            self._idle.pop().stream.abort()

    async def _answer(self, request: Request) -> Answer:
        where = target(request.url)
        outgoing = _outgoing(request, where)
        used = self._taken(where)
        if used is not None:
            try:
                return await self._over(used, outgoing, where)
            except FailureError as failure:
                # The tool closed an idle connection while the request was on its way: that is no failure of the tool.
                if failure.code != "ECONNRESET" or used.stream.received_bytes:
                    raise
        stream = await opened(where, self._names, self._allowed, seconds=self._connect_seconds, ca_file=self._ca_file)
        return await self._over(_Connection(stream, where), outgoing, where)

    async def _over(self, connection: _Connection, outgoing: httpcore.Request, where: Target) -> Answer:
        try:
            return await _exchanged(connection, outgoing)
        except httpcore.LocalProtocolError:
            raise ConfigError("the request's method or a header is none that HTTP allows") from None
        except httpcore.RemoteProtocolError as error:
            if connection.stream.has_ended:
                raise _cut(where) from error
            raise FailureError(
                "ANSWER_UNREADABLE", f"{where.where} answered something else than HTTP: {error}"[:300]
            ) from error
        except TooLongError:
            raise FailureError(
                "ANSWER_UNREADABLE", f"{where.where} answered with a head of more than {HEAD_BYTES} bytes"
            ) from None
        except OSError as error:
            if is_tls(error):
                raise FailureError("ETLS", f"the secure connection to {where.where} broke: {error}"[:300]) from error
            raise _cut(where) from error
        finally:
            self._give_back(connection)

    def _taken(self, where: Target) -> _Connection | None:
        """An idle connection to that place, the one used last."""
        for place in range(len(self._idle) - 1, -1, -1):
            connection = self._idle[place]
            if connection.http.can_handle_request(where.origin):
                del self._idle[place]
                if not connection.is_stale():
                    return connection
                connection.stream.abort()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if self._is_closed or not connection.http.is_idle() or connection.is_stale():
            connection.stream.abort()
            return
        self._idle.append(connection)
        if len(self._idle) > self._most:  # the tool has several hosts
            self._idle.pop(0).stream.abort()
        if self._expiring is None:
            self._expiring = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire)

    def _expire(self) -> None:
        """Connections that nobody needed for a while are closed."""
        kept = [connection for connection in self._idle if not connection.is_stale()]
        for connection in set(self._idle).difference(kept):
            connection.stream.abort()
        self._idle = kept
        self._expiring = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire) if kept else None


class _Http11(httpcore.AsyncHTTP11Connection):
    def has_more(self) -> bool:
        """The tool sent more than its answer: the next request would take that for its own answer."""
        return bool(self._h11_state.trailing_data[0])


class _Connection:
    def __init__(self, stream: Stream, where: Target) -> None:
        self.stream = stream
        self.http = _Http11(where.origin, stream, keepalive_expiry=IDLE_SECONDS)
        self._ends = time.monotonic() + LIFE_SECONDS

    def is_stale(self) -> bool:
        return self.http.has_expired() or self.http.has_more() or time.monotonic() > self._ends


def _outgoing(request: Request, where: Target) -> httpcore.Request:
    """Raises ConfigError that names the header at fault, never its value."""
    headers = {
        "host": where.host_header,
        "accept": b"*/*",
        "accept-encoding": b"identity",
        "user-agent": f"headrace/{__version__}".encode(),
    }
    if where.authorization is not None:
        headers["authorization"] = where.authorization
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = str(len(request.body)).encode()
        headers["content-type"] = b"application/json"
    for name, value in request.headers.items():
        key = name.lower()
        if key in _OURS:
            raise ConfigError(f"the header {name[:100]!r} is set by headrace itself; take it out of the settings")
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"the header {name[:100]!r} holds a character that HTTP does not allow")
        headers[key] = value.strip().encode()
    if not _HEADER_NAME.fullmatch(request.method):
        raise ConfigError(f"{request.method[:100]!r} is no method of HTTP")
    named = [(name.encode(), value) for name, value in headers.items()]
    return httpcore.Request(request.method, where.url, headers=named, content=request.body)


async def _exchanged(connection: _Connection, outgoing: httpcore.Request) -> Answer:
    stream = connection.stream
    stream.begin(HEAD_BYTES)
    response = await connection.http.handle_async_request(outgoing)
    stream.allow(_BODY_BYTES)
    body, is_cut = await _body(response)
    if is_cut:
        stream.abort()
    else:
        await response.aclose()
    headers = _headers(response.headers)
    plain, is_plain_cut = _plain(body, headers)
    return Answer(response.status, headers, plain, is_cut=is_cut or is_plain_cut)


async def _body(response: httpcore.Response) -> tuple[bytes, bool]:
    """At most ANSWER_BYTES, and whether there was more."""
    body, count = bytearray(), 0
    try:
        async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_stream())) as pieces:
            async for piece in pieces:
                body += piece
                count += 1
                if len(body) > ANSWER_BYTES or count > _MOST_PIECES:
                    return bytes(body[:ANSWER_BYTES]), True
                if not count % _PIECES_IN_A_ROW:
                    await asyncio.sleep(0)
    except TooLongError:
        return bytes(body), True
    return bytes(body), False


def _headers(listed: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in listed:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _plain(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """A body that is compressed although none was asked for, as far as ANSWER_BYTES; and whether there was more. What cannot be
    decompressed stays as it is."""
    if not body or headers.get("content-encoding", "").strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body, False
    opening = zlib.decompressobj(wbits=47)  # either header, gzip's or zlib's
    try:
        plain = opening.decompress(body, ANSWER_BYTES)
    except zlib.error:
        return body, False
    return plain, bool(opening.unconsumed_tail)


def _cut(where: Target) -> FailureError:
    return FailureError("ECONNRESET", f"{where.where} closed the connection before the answer was complete")
