"""A tracking API that answers as it is told, for tests of whoever sends to it."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

OK = {"success": True}


class Reply(NamedTuple):
    """`status` 0 drops the connection after the request was read; `stored` says whether its events count as stored."""

    status: int = 200
    body: Any = OK
    headers: tuple[tuple[str, str], ...] = ()
    stored: bool = False


class Request(NamedTuple):
    path: str
    key: str
    connection: int
    size: int
    document: dict[str, Any]

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(self.document["batch"])


class ScriptedServer:
    """Gives the replies in their order, then 200 for ever. `requests` are those that came, in order."""

    def __init__(self, replies: Iterable[Reply] = ()) -> None:
        self.replies = list(replies)
        self.requests: list[Request] = []
        self.stored: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._request_class())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            reply = self.replies.pop(0) if self.replies else Reply()
            if reply.stored or reply.status == 200:
                self.stored.extend(request.events)
            return reply

    def _request_class(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class _Post(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                text = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                key = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                port = self.client_address[1]
                reply = script.reply(Request(self.path, key, port, len(text), json.loads(text)))
                if reply.status == 0:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
                """Tests print no access log."""

        return _Post
