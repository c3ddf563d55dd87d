"""What the worker process is made of: the loader in a thread of its own, and the API beside it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import uvicorn
import uvloop

from headrace.app import folder
from headrace.config import Config
from headrace.console.api import Health, api, health_only
from headrace.console.status import Status, WarehouseStatus, status
from headrace.errors import HeadraceError, RetryableError
from headrace.loader.loader import Loader
from headrace.log.sqlite import SqliteLog
from headrace.warehouses._duckdb import DuckDB
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

CONSUMER: Final = "warehouse"
DRAIN_SECONDS: Final = 3.0


class Worker:
    """Owns the warehouse. The loader writes it; status and queries read it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._log = SqliteLog(config.folder / folder.LOG, config.log)
        self._partitions = sorted({*self._log.partitions(), *range(config.collector.processes)})
        self._workspace = Workspace.open(config.folder)
        self._sources: Mapping[str, Source] = {}
        self._revision = -1
        self._sources_turn = threading.Lock()
        self.warehouse = DuckDB(config.folder / folder.WAREHOUSE, config.warehouse)
        self._readers = [self._log.reader(partition) for partition in self._partitions]
        self._status_readers = [self._log.reader(partition) for partition in self._partitions]
        self._status_turn = threading.Lock()
        self.loader = Loader(CONSUMER, self._readers, self.warehouse, self.sources, config.loader)
        self.stop = threading.Event()
        self.stands: str | None = None
        """Why loading has ended for good, None while it goes on."""

    def sources(self) -> Mapping[str, Source]:
        """All sources by slug, as they are now: an event in the log may be of a source that was added a moment before."""
        with self._sources_turn:
            if self._workspace.revision() != self._revision:
                self._revision, sources = self._workspace.snapshot()
                self._sources = {source.slug: source for source in sources}
            return self._sources

    def load(self) -> None:
        """Load until told to stop. What the loader must not go on after (a position that does not fit, a warehouse that refuses
        even the rejection of an event) ends loading, loudly; queries and status go on."""
        try:
            self._fold_journal()
            self.loader.run(self.stop)
        except HeadraceError as error:
            self.stands = str(error)
            logger.critical("loading has stopped: %s", error)

    def _fold_journal(self) -> None:
        """After a crash: opening has replayed the warehouse's journal, and the next crash shall not have to do it again."""
        try:
            self.warehouse.checkpoint()
        except RetryableError as error:
            logger.warning("worker: no checkpoint at the start: %s", error)

    def drain(self) -> None:
        """Load what is left, for a few seconds at the most; the rest is loaded at the next start."""
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            while self.stands is None and time.monotonic() < deadline and self.loader.step() is not None:
                pass
            self.warehouse.checkpoint()
        except HeadraceError as error:
            logger.warning("worker: could not load everything before the end: %s", error)

    def status(self) -> Status:
        with self._status_turn:
            progress = self.loader.progress()
            last = max(progress, key=lambda p: p.loaded_at or datetime.min.replace(tzinfo=UTC), default=None)
            sources = list(self.sources().values())
            starts = {source.schema: self.loader.window_start(source.schema) for source in sources}
            state = WarehouseStatus(
                error=self.stands or next((p.error for p in progress if p.error), None),
                last_load_at=last.loaded_at if last else None,
                last_load_seconds=last.seconds if last else None,
                dedup_since={schema: start for schema, start in starts.items() if start},
            )
            return status(sources, self._status_readers, self.warehouse, state, datetime.now(UTC), running=True)

    def health(self) -> Health:
        if self.stands or any(progress.error for progress in self.loader.progress()):
            return Health("loading stands still; see `headrace status`")
        return Health("ok")

    def close(self) -> None:
        self.warehouse.close()
        for reader in (*self._readers, *self._status_readers):
            reader.close()
        self._workspace.close()


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`, which has two of these."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def work(config: Config, descriptor: int) -> None:
    """Run until told to stop. Raises HeadraceError when the warehouse cannot be opened."""
    worker = _patiently(config)
    tcp = socket.socket(fileno=descriptor)
    tcp.setblocking(False)
    try:
        uvloop.run(_serve(worker, config, tcp))
        worker.drain()
    finally:
        worker.close()


def _patiently(config: Config) -> Worker:
    """The warehouse's file may still be held for a moment by a command or a worker that was just killed."""
    deadline = time.monotonic() + 5.0
    while True:
        try:
            return Worker(config)
        except (HeadraceError, RetryableError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


async def _serve(worker: Worker, config: Config, tcp: socket.socket) -> None:
    unix = folder.listen_unix(config.folder / folder.WORKER_SOCKET)
    whole = api(worker.status, _query(worker), worker.health, config.warehouse)
    servers = [_server(whole), _server(health_only(worker.health))]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, worker, servers)
    loading = loop.run_in_executor(None, worker.load)
    loading.add_done_callback(lambda done: None if done.exception() is None else _end(worker, servers))
    await asyncio.gather(servers[0].serve(sockets=[unix]), servers[1].serve(sockets=[tcp]))
    await loading


def _query(worker: Worker) -> Any:
    return lambda sql, rows, seconds: worker.warehouse.query(sql, max_rows=rows, timeout_seconds=seconds)


def _server(app: Any) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )


def _end(worker: Worker, servers: list[uvicorn.Server]) -> None:
    worker.stop.set()
    for server in servers:
        server.should_exit = True
