"""A connection's bytes, as httpcore's HTTP/1.1 takes them, and the one error that tells what went wrong by code."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, cast

import httpcore

PIECE_BYTES: Final = 16_384
"""So much is read at once: what a hostile answer of many tiny parts costs between two turns of the loop is bounded by it."""
_HELD_BYTES: Final = 65_536


class FailureError(Exception):
    """There is no answer. `code` is one of destinations.base.CODES."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class TooLongError(Exception):
    """More came than the allowance."""


class Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """What is written goes out with the next read, in one piece: a request is one packet where it fits, and a tool that answers early
    is heard while the body is still on its way."""

    def __init__(self) -> None:
        self.received_bytes = 0
        """Since `begin`."""
        self.has_ended = False
        """The tool has closed, and all that it sent was read."""
        self._allowance = 0
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._received = bytearray()
        self._is_at_end = False
        self._lost: Exception | None = None
        self._is_paused = False
        self._waiting: asyncio.Future[None] | None = None

    def begin(self, allowance: int) -> None:
        """A request begins; at most so many bytes are read for it, until `allow`."""
        self.received_bytes = 0
        self._allowance = allowance

    def allow(self, more: int) -> None:
        self._allowance += more

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """TLS from here on. Raises OSError; then the connection must be closed."""
        if self._received:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the server spoke before TLS began")
        if self._transport is None or self._is_at_end:
            raise self._lost or ConnectionResetError
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(self._transport, self, context, server_hostname=name)
        if secured is None:  # uvloop, where it was closed meanwhile
            raise ConnectionResetError
        self._transport = secured

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _HELD_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_at_end = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_at_end = True
        self._lost = exc
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # httpcore calls these; the time limit is the whole exchange's, so theirs are unused

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 -- httpcore's word
        """Raises OSError where the connection broke, TooLongError beyond the allowance."""
        del timeout
        if self._outgoing and self._transport is not None:
            if (
                not self._transport.is_closing()
            ):  # uvloop's raises RuntimeError then: the tool has closed, which is told below
                self._transport.write(b"".join(self._outgoing))
            self._outgoing.clear()
        while not self._received and not self._is_at_end:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if not self._received:
            self.has_ended = True
            if self._lost is not None:
                raise self._lost
            return b""
        size = min(max_bytes, PIECE_BYTES)
        piece = bytes(self._received[:size])
        del self._received[:size]
        if self._is_paused and len(self._received) < PIECE_BYTES and self._transport is not None:
            self._is_paused = False
            if not self._transport.is_closing():  # as above
                self._transport.resume_reading()
        self.received_bytes += len(piece)
        if self.received_bytes > self._allowance:
            raise TooLongError
        return piece

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- httpcore's word
        del timeout
        if buffer:
            self._outgoing.append(buffer)

    async def aclose(self) -> None:
        self.abort()

    def get_extra_info(self, info: str) -> Any:
        """Whether an idle connection has anything to read: then it cannot be used again."""
        if info == "is_readable":
            return bool(self._received) or self._is_at_end or self._transport is None or self._transport.is_closing()
        return None


def is_tls(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLError)
