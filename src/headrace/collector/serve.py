"""A collector process: the app on a listening socket until it is told to stop, then the rest of the staged events."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import uvicorn

from headrace.collector.committer import Committer
from headrace.collector.doors import Doors
from headrace.collector.protocol import CollectorProtocol, sweep
from headrace.collector.server import Collector
from headrace.config import Config
from headrace.log.base import LogWriter
from headrace.workspace.workspace import Workspace

DRAIN_SECONDS: Final = 5
"""Requests in progress get this long to end after SIGTERM."""


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn raises them again at its end, which would kill the process before it has stored all."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(writer: LogWriter, workspace: Workspace, config: Config, listening: socket.socket) -> None:
    """Collect until SIGTERM or SIGINT. The writer is closed at the end, after the last staged event was stored."""
    committer = Committer(
        writer,
        linger_seconds=config.log.linger_seconds,
        commit_bytes=config.log.commit_bytes,
        staging_bytes=config.collector.staging_bytes,
        timeout_seconds=config.collector.commit_timeout_seconds,
    )
    doors = Doors(workspace)
    collector = Collector(committer, doors, config.collector, lambda: datetime.now(UTC))
    server = _Server(
        uvicorn.Config(
            collector,
            http=CollectorProtocol,
            lifespan="off",
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=config.collector.max_connections,
            timeout_keep_alive=config.collector.keep_alive_seconds,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            backlog=4_096,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server)
    attendants = [
        loop.create_task(doors.watch()),
        loop.create_task(sweep(server.server_state, config.collector.header_timeout_seconds)),
    ]
    try:
        await server.serve(sockets=[listening])
    finally:
        for attendant in attendants:
            attendant.cancel()
        await committer.close()
        writer.close()


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True
