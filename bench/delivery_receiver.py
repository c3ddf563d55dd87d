"""A tool on loopback in a process of its own, cheap so that it leaves the cores to what is measured.

    python bench/delivery_receiver.py      prints its port; ends with its stdin

POST to /fast is answered and looked at no further; /timed notes for each event how long ago it was received; /broken answers 500; /hangs
never does. GET /seconds answers those times, in their order, and forgets them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast

import httptools
import msgspec
import uvloop


class _Event(msgspec.Struct, rename="camel"):
    received_at: datetime


_decode = msgspec.json.Decoder(_Event | list[_Event]).decode
_ANSWER = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_OK, _BROKEN = (_ANSWER % (status, 2, b"{}") for status in (b"200 OK", b"500 Internal Server Error"))


class _Connection(asyncio.Protocol):
    seconds: list[float] = []  # noqa: RUF012 -- all connections share it

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._path == b"/hangs":
            return
        answer = _BROKEN if self._path == b"/broken" else _OK
        if self._path == b"/timed":
            now = datetime.now(UTC)
            found = _decode(b"".join(self._body))
            events = found if isinstance(found, list) else [found]
            self.seconds += [(now - event.received_at).total_seconds() for event in events]
        elif self._path == b"/seconds":
            body = msgspec.json.encode(self.seconds)
            self.seconds.clear()
            answer = _ANSWER % (b"200 OK", len(body), body)
        self._transport.write(answer)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()

    def wait() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()


@contextmanager
def receiving() -> Iterator[str]:
    """The address of one, without a path."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate(timeout=20)


def seconds_of(origin: str) -> list[float]:
    with urllib.request.urlopen(f"{origin}/seconds", timeout=30) as answer:
        return msgspec.json.decode(answer.read(), type=list[float])


if __name__ == "__main__":
    uvloop.run(_serve())
