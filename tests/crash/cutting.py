"""A TCP proxy before a database server that loses the connection at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

CHUNK_BYTES = 65_536


class Cutting:
    """When a client sends `cut_at`, its connection ends: the request reaches the server (`passes_on`) or does not, no answer comes back."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_at: bytes | None = None
        self.passes_on = True
        self.cuts = 0
        self._run(self._accept)

    def _run(self, target: Callable[..., None], *ends: socket.socket) -> None:
        threading.Thread(target=target, args=ends, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._to), timeout=10)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._run(self._requests, client, server)
                self._run(self._answers, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            if self.cut_at is not None and self.cut_at in data:
                self.cut_at = None
                self.cuts += 1
                _end(client)
                if not self.passes_on:
                    break
                with contextlib.suppress(OSError):
                    server.sendall(data)
                return  # its answer finds nobody
            try:
                server.sendall(data)
            except OSError:
                break
        _end(server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(server):
            with contextlib.suppress(OSError):
                client.sendall(data)
        _end(client)
        _end(server)
        client.close()
        server.close()

    def close(self) -> None:
        self._listener.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(CHUNK_BYTES)
    except OSError:
        return b""


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
