"""Stand-ins of tools: what one looks like, and any of them over real HTTP on loopback.

In a test's own process:   with Served(Tool()) as served: kind = configured(slug, served.settings(), place)
In a process of its own:   python tests/tools/serving.py segment   prints one line of JSON: port, and the settings under which the kind
                           talks to it; GET /_taken on that port answers what it took, as JSON; it ends when its stdin is closed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from http.client import responses
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self
from urllib.parse import urlsplit

import httptools

from headrace.destinations.base import Answer, Exchange, Request

FOLDER: Final = Path(__file__).parent
NO_TOOLS: Final = frozenset(("serving", "__init__"))
SLUGS: Final = sorted(file.stem.replace("_", "-") for file in FOLDER.glob("[a-z]*.py") if file.stem not in NO_TOOLS)
"""The kinds that have a stand-in: a file of this folder with a class `Tool`."""

HOST: Final = "127.0.0.1"
TAKEN: Final = "/_taken"


class StandIn(Protocol):
    """A tool's documented behaviour in memory. `answer` validates strictly: method, path, headers, limits, body."""

    settings: ClassVar[Mapping[str, Any]]
    """Under which the kind talks to it."""
    wrong_key: ClassVar[Mapping[str, Any]]
    """Changes to `settings` that make it refuse the key; empty where the tool never says so."""
    events: ClassVar[Sequence[Mapping[str, Any]]]
    """Three or more in Segment's form, with distinct messageIds, that it takes."""
    refused: ClassVar[Mapping[str, Any] | None]
    """One that it refuses by its documented validation while its neighbours pass; None where it refuses none."""
    drops_repeats: ClassVar[bool]
    """Whether the same event sent again leaves `taken` as it was."""
    taken: list[str]
    """The messageIds, or what stands for them, that it kept, in their order."""
    limited: int
    """So many next requests get its documented answer for too many requests."""
    broken: int
    """So many next requests get its documented 5xx answer."""

    def answer(self, request: Request) -> Answer: ...


def tool(slug: str) -> StandIn:
    """A new one."""
    made: StandIn = importlib.import_module(f"tools.{slug.replace('-', '_')}").Tool()
    return made


class Direct:
    """The transport of delivery without a network: the stand-in answers at once. Keeps what was exchanged."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self.exchanges: list[Exchange] = []

    async def exchange(self, request: Request) -> Exchange:
        made = Exchange(request, self._stand_in.answer(request))
        self.exchanges.append(made)
        return made


class Served:
    """A stand-in at an address of its own, in a thread. Requests reach `answer` one after the other."""

    def __init__(self, stand_in: StandIn) -> None:
        self.tool = stand_in
        self.port = 0
        self.failures: list[Exception] = []
        """What `answer` raised; the client saw 500. Look at it when a test fails."""
        self.origins: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stand-in", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def origin(self) -> str:
        return f"http://{HOST}:{self.port}"

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The stand-in's settings with every address moved here. A kind whose address is a default is given it:
        `served.settings(endpoint="https://api.example.com/v1")`."""
        return {name: self._moved(value) for name, value in {**self.tool.settings, **changes}.items()}

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            return value
        parts = urlsplit(value)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin == self.origin:
            return value
        if origin not in self.origins:
            self.origins.append(origin)
        return self.origin + value.removeprefix(origin)

    def answered(self, request: Request) -> Answer:
        """The stand-in sees the address that it would have as the real tool; of several the first."""
        if urlsplit(request.url).path == TAKEN:
            return Answer(200, {"content-type": "application/json"}, json.dumps(self.tool.taken).encode())
        url = (self.origins[0] if self.origins else self.origin) + request.url
        try:
            return self.tool.answer(Request(request.method, url, request.headers, request.body))
        except Exception as error:  # noqa: BLE001 -- shown by the test that asks for `failures`
            self.failures.append(error)
            return Answer(500, {}, f"the stand-in raised {error!r}".encode())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(lambda: _Connection(self), HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for connection in list(_open):
            if connection.loop is self._loop:
                connection.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


_open: Final[set[_Connection]] = set()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for clients that send one request at a time on a connection."""

    transport: asyncio.Transport

    def __init__(self, served: Served) -> None:
        self._served = served
        self.loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        _open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        _open.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        if name.lower() == b"expect":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        request = Request(method, self._url.decode("latin-1"), self._headers, b"".join(self._body))
        answer = self._served.answered(request)
        phrase = responses.get(answer.status, "Unknown")
        lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers.items())]
        if answer.status not in (204, 304):
            lines.append(f"content-length: {len(answer.body)}")
        keeps = self._parser.should_keep_alive()
        lines += [] if keeps else ["connection: close"]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
        if not keeps:
            self.transport.close()


def main(slug: str) -> None:
    with Served(tool(slug)) as served:
        print(json.dumps({"port": served.port, "settings": served.settings()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parent))
    main(sys.argv[1])
