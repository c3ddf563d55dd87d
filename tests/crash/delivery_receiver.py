"""A tool in a process of its own that writes down each messageId before it answers: `python delivery_receiver.py FILE PORT [keeps|drops] [SECONDS]`.

A line of FILE is a path and a messageId. `drops` leaves out what stands there already, as a tool does that tells events by their id. With
SECONDS it does both only after that time, and neither for a client that has left meanwhile. It prints its port once it listens, and may
be killed at any moment: what it answered for is in the file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httptools
import msgspec

_decode = msgspec.json.Decoder().decode


class Receipts:
    """The file, written by one call a request."""

    def __init__(self, file: Path, *, drops: bool) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        whole = file.read_bytes()
        complete = whole[: whole.rfind(b"\n") + 1]
        os.ftruncate(self._descriptor, len(complete))  # a kill in the middle of a line: nobody was answered for it
        self._known = set(complete.splitlines()) if drops else None

    def write(self, path: str, message_ids: list[str]) -> None:
        lines = [f"{path} {message_id}".encode() for message_id in message_ids]
        if self._known is not None:
            lines = [line for line in dict.fromkeys(lines) if line not in self._known]
            self._known.update(lines)
        if lines:
            os.write(self._descriptor, b"\n".join(lines) + b"\n")


def ids(body: Any) -> list[str]:
    """Of one event, of a list of them, or of a tracking API's batch."""
    events = body if isinstance(body, list) else body.get("batch", [body])
    return [event["messageId"] for event in events]


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, receipts: Receipts, seconds: float) -> None:
        self._receipts = receipts
        self._seconds = seconds
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, message_ids = self._url.decode(), ids(_decode(b"".join(self._body)))
        if self._seconds:
            asyncio.get_running_loop().call_later(self._seconds, self._take, path, message_ids)
        else:
            self._take(path, message_ids)

    def _take(self, path: str, message_ids: list[str]) -> None:
        if not self.transport.is_closing():
            self._receipts.write(path, message_ids)
            self.transport.write(
                b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{"success":true}'
            )


async def serve(file: Path, port: int, *, drops: bool, seconds: float) -> None:
    receipts = Receipts(file, drops=drops)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(receipts, seconds), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        serve(
            Path(sys.argv[1]),
            int(sys.argv[2]),
            drops=sys.argv[3] == "drops",
            seconds=float(sys.argv[4]) if len(sys.argv) > 4 else 0.0,
        )
    )
