"""A proxy between a client and the collector that fails as networks do, each fault once, then passes everything on."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from oracle import Sent, events_of

Fault = Literal["drop", "unavailable", "lose the answer"]


class Passed(NamedTuple):
    """A POST that reached the collector. `heard` says whether its client got to know the answer."""

    path: str
    headers: dict[str, str]
    body: Any
    status: int
    heard: bool

    @property
    def message_ids(self) -> list[str]:
        return [event["messageId"] for event in self.body.get("batch", [self.body])]


class Proxy:
    """The n-th POST meets the n-th fault: `drop` closes the connection unread by the collector, `unavailable` answers
    503, `lose the answer` lets the collector store the events and then closes the connection."""

    def __init__(self, port: int, faults: Iterable[Fault] = ()) -> None:
        self.passed: list[Passed] = []
        self.met: list[Fault] = []
        self._faults = list(faults)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Door", (_Door,), {"proxy": self, "port": port}))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def heard_ids(self) -> set[str]:
        return {i for passed in list(self.passed) if passed.heard and passed.status == 200 for i in passed.message_ids}

    @property
    def events(self) -> dict[str, Sent]:
        """What reached the collector, by messageId; of an event that came twice the first, which is the one that counts."""
        found: dict[str, Sent] = {}
        for passed in list(self.passed):
            for event in events_of(passed.path, passed.body):
                assert event.message_id is not None, "every SDK gives its events ids"
                found.setdefault(event.message_id, event)
        return found

    @property
    def unmet(self) -> Sequence[Fault]:
        return tuple(self._faults)

    def next_fault(self) -> Fault | None:
        with self._lock:
            if self._faults:
                self.met.append(self._faults.pop(0))
                return self.met[-1]
            return None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    port: int

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_OPTIONS(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.proxy.next_fault()
        if fault == "unavailable":
            self._answer(503, [("Retry-After", "1"), ("Access-Control-Allow-Origin", "*")], b"{}")
        elif fault == "drop":
            self.close_connection = True
        else:
            self._pass_on(body, heard=fault is None)

    def _pass_on(self, body: bytes, *, heard: bool = True) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        response = upstream.getresponse()
        content = response.read()
        upstream.close()
        if self.command == "POST":
            sent = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.proxy.passed.append(Passed(self.path, headers, sent, response.status, heard))
        if heard:
            self._answer(response.status, response.getheaders(), content)
        else:
            self.close_connection = True

    def _answer(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Be quiet."""
