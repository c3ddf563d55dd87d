"""A TCP proxy that cuts a connection at a word of the client's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


class Cutting:
    """A TCP proxy that closes both ends once the client sends `cut_at`: before it is passed on, or after."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_at: bytes | None = None
        self.passes_on = True
        self.has_cut = False
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._ends += [client, server]
            self._start(self._answers, server, client)
            self._start(self._requests, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            if self.cut_at is not None and self.cut_at in data:
                self.cut_at, self.has_cut = None, True
                _end(client)
                if self.passes_on:
                    _sent(server, data)
                    # The server commits, and finds nobody to tell.
                    while _received(server):
                        pass
                _end(server)
                return
            if not _sent(server, data):
                break
        _end(server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        while data := _received(server):
            if not _sent(client, data):
                return
        _end(client)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            _end(end)
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._ends):
            end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65_536)
    except OSError:
        return b""


def _sent(end: socket.socket, data: bytes) -> bool:
    try:
        end.sendall(data)
    except OSError:
        return False
    return True


def _end(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
