"""uvicorn's HTTP protocol with bounds on headers: their size, and the time they may take."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEADER_BYTES: Final = 64 * 1024
SWEEP_SECONDS: Final = 5.0


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose headers are too large. `sweep` closes those whose headers do not come."""

    headers_since: float | None = None
    """When the wait for the present request's headers began; None between requests and while one is answered."""
    header_bytes: int = 0

    def connection_made(self, transport: Any) -> None:
        self.headers_since = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.headers_since is not None:
            self.header_bytes += len(data)
            if self.header_bytes > HEADER_BYTES + len(data):
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.headers_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.headers_since = None
        self.header_bytes = 0
        super().on_headers_complete()


async def sweep(state: ServerState, header_timeout_seconds: float) -> None:
    """Close, for ever, connections that have been silent in the middle of their headers for too long."""
    while True:
        await asyncio.sleep(min(SWEEP_SECONDS, header_timeout_seconds / 2))
        limit = asyncio.get_running_loop().time() - header_timeout_seconds
        for connection in list(state.connections):
            since = connection.headers_since if isinstance(connection, BoundedProtocol) else None
            if since is not None and since < limit:
                connection.transport.close()
