"""What the worker process is made of: the loader in a thread of its own, and the API beside it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import uvicorn
import uvloop

from headrace.app import destination_trials, folder
from headrace.app.alert_orders import AlertOrders
from headrace.app.alerting import Alerting, WorkerFigures
from headrace.app.archiving import Archive
from headrace.app.browsing import Browsing
from headrace.app.configuration.served import ServedConfiguration
from headrace.app.debugging import Debugger
from headrace.app.deliveries import Deliveries
from headrace.app.delivery_accounts import DeliveryAccounts
from headrace.app.demo import WorkerDemo
from headrace.app.destination_orders import DestinationOrders
from headrace.app.destination_states import destination_states
from headrace.app.home import House
from headrace.app.queries import Queries
from headrace.app.recent_events import RecentEvents
from headrace.app.replay_orders import ReplayOrders
from headrace.app.reporting import OpenWarehouse, Reporting
from headrace.app.saving import Saving
from headrace.app.sources import SourceHouse
from headrace.app.tracing import Tracer
from headrace.app.warehouse_orders import WarehouseOrders
from headrace.app.warehouses import Warehouses
from headrace.config import Config
from headrace.console.access import REQUESTER, inside, who_of_both
from headrace.console.api import Health, api
from headrace.console.books import sum_tallies
from headrace.console.campaigns import CampaignReports
from headrace.console.email_model import EmailModelSettings
from headrace.console.front import front
from headrace.console.logins import Logins
from headrace.console.status import Status, status, summed
from headrace.console.tracing import Trace
from headrace.console.turns import Turns
from headrace.delivery.trying import TrialOrder, Tried
from headrace.errors import RequestError
from headrace.log.base import Hourly, Tally
from headrace.log.sqlite import SqliteLog
from headrace.warehouses.base import QueryResult
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

KNOWN_SECONDS: Final = 10.0
API_THREADS: Final = 32
"""What waits for a warehouse or a tool holds one; a login, a status or a cancellation must not have to wait for those. A loop's own number
is that of the cores and four."""
TURN_SECONDS: Final = 10.0
"""So long a report waits while others ask; queries of the SQL page run in threads of their own and have limits of their own."""


class Worker:
    """Owns the warehouses. Their loaders write them; status and queries read them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._log = SqliteLog(config.folder / folder.LOG, config.log)
        self._partitions = sorted({*self._log.partitions(), *range(config.collector.processes)})
        self.archive = Archive(config, self._log, self._partitions)
        self._workspace = Workspace.open(config.folder)
        self._sources: Mapping[str, Source] = {}
        self._revision = -1
        self._sources_turn = threading.Lock()
        self._status_readers = self.archive.readers()
        self._status_turn = threading.Lock()
        self._turns = Turns(API_THREADS // 4, API_THREADS // 4, TURN_SECONDS, _busy, of_one=API_THREADS // 4 - 2)
        self.replays = ReplayOrders(config, self._workspace, self.archive.readers)
        self.deliveries = Deliveries(config, self._workspace, self.archive.readers)
        self.warehouses = Warehouses(
            config, self._workspace, self.archive.readers, self.sources, self.archive.stored, self.deliveries.needed
        )
        self.accounts = DeliveryAccounts(config, self._workspace, self.status, self._ask)
        self._tracer = Tracer(config, self._workspace, self.accounts, self.archive.readers, self.status, self._ask)
        self.debugger = Debugger(self._workspace, self.archive.readers, self._tracer, self._ask)
        self.recent = RecentEvents(self.archive.readers)
        self.alerts = AlertOrders(config, self._workspace)
        self.destinations = DestinationOrders(config, self._workspace, self.notice)
        self.browsing = Browsing(self.warehouses, self.sources, self.status, config.warehouse)
        self.warehouse_orders = WarehouseOrders(
            config,
            self._workspace,
            self.warehouses,
            self.sources,
            self.archive,
            lambda hours: self.status(hours, KNOWN_SECONDS),
            self.browsing,
        )
        self.source_house = SourceHouse(
            config, self._workspace, lambda: folder.tracking_url(config), self._tallies, self.known_status, self.notice
        )
        self.queries = Queries(self._opened, self.browsing.stored, config.warehouse)
        self.house = House(
            config,
            self._workspace,
            self.source_house,
            lambda hours: self.status(hours, KNOWN_SECONDS),
            self.alerts,
            self._ask,
        )
        self.email = EmailModelSettings(self._workspace, self._ask, self.known_status)
        self.configurations = ServedConfiguration(config, self._workspace, self.notice)
        self.reports = Reporting(self._workspace, lambda: self.sources().values(), self._asked, config.warehouse)
        self.saved = Saving(self._workspace, self.reports.misfits)
        self.campaigns = CampaignReports(self.reports, self._ask)
        self.demo = WorkerDemo(config, self._workspace, lambda: self.status(within_seconds=1.0), self.reports.standing)
        figures = WorkerFigures(config, self._workspace, lambda hours: self.status(hours, KNOWN_SECONDS), self._hourly)
        self.alerting = Alerting(config, self._workspace, figures)
        self.logins = Logins(self._workspace, config.console, self._collector_url)
        self._ending = threading.Lock()

    def _tallies(self) -> Mapping[str, Tally]:
        with self._status_turn:
            return sum_tallies(reader.totals() for reader in self._status_readers)

    def _collector_url(self) -> str:
        return self._config.collector.public_url.rstrip("/") or folder.address_of(self._config.folder) or ""

    def sources(self) -> Mapping[str, Source]:
        """All sources by slug, as they are now: an event in the log may be of a source that was added a moment before."""
        with self._sources_turn:
            if self._workspace.revision() != self._revision:
                self._revision, sources = self._workspace.snapshot()
                self._sources = {source.slug: source for source in sources}
            return self._sources

    def status(self, hours: float = 0.0, within_seconds: float = 0.0) -> Status:
        self.warehouses.notice()
        sources = list(self.sources().values())
        loadings = self.warehouses.all()
        if not within_seconds:
            for loading in loadings:
                loading.ask(sources)
        answers = [loading.answer(sources, within_seconds) for loading in loadings]
        with self._status_turn:
            meant = self.warehouses.meant()
            now = datetime.now(UTC)
            archive = self.archive.status()
            return status(
                sources,
                self._status_readers,
                answers,
                meant,
                now,
                running=True,
                destinations=destination_states(self._config, self._workspace, running=True),
                archive=archive,
                hours=hours,
            )

    def _hourly(self) -> Hourly:
        with self._status_turn:
            return summed([reader.hourly() for reader in self._status_readers])

    def known_status(self) -> Status:
        return self.status(within_seconds=KNOWN_SECONDS)

    def query(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> QueryResult:
        with self._asked(slug) as found:
            return found.warehouse.query(sql, max_rows=max_rows, timeout_seconds=timeout_seconds)

    def _opened(self, slug: str | None) -> OpenWarehouse:
        loading = self.warehouses.one(slug)
        return OpenWarehouse(loading.slug, loading.configured.kind, loading.opened())

    @contextmanager
    def _asked(self, slug: str | None) -> Iterator[OpenWarehouse]:
        requester = REQUESTER.get()
        with self._turns.one(requester.owner if requester is not None else ""):
            yield self._opened(slug)

    def _ask(self, sql: str, slug: str | None) -> QueryResult:
        limits = self._config.warehouse
        return self.query(sql, limits.query_rows, limits.query_timeout_seconds, slug)

    def trace(self, message_id: str, since: str) -> Trace:
        return self._tracer.trace(message_id, since)

    def arrow(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> Any:
        """A pyarrow.Table."""
        with self._asked(slug) as found:
            return found.warehouse.arrow(sql, max_rows=max_rows, timeout_seconds=timeout_seconds)

    def try_out(self, slug: str, order: TrialOrder) -> Tried:
        return destination_trials.try_out(self._config, self._workspace, slug, order)

    def notice(self) -> None:
        """Take up what has changed in the workspace before this returns."""
        self.warehouses.notice()
        self.deliveries.notice()

    def health(self) -> Health:
        if self.deliveries.error:
            return Health("delivery stands still; see `headrace status`")
        if any(loading.error for loading in self.warehouses.all()):
            return Health("loading stands still; see `headrace status`")
        return Health("ok")

    def end(self) -> None:
        """Load what is left, for a few seconds at the most. Safe to call twice; the second call waits for the first."""
        with self._ending:
            ending = threading.Thread(target=self.deliveries.end, name="end-delivery", daemon=True)
            ending.start()
            self.debugger.end()
            self.queries.end()
            self.demo.end()
            self.alerting.end()
            self.warehouses.end()
            self.archive.end()
            ending.join()

    def close(self) -> None:
        for reader in self._status_readers:
            reader.close()
        self.logins.close()
        self._workspace.close()


def _busy() -> RequestError:
    text = "query: more ask the warehouses now than can be answered at once; try again in a moment"
    return RequestError("warehouses_busy", text, 429, retry_after_seconds=1.0)


class _Server(uvicorn.Server):
    """Leaves signals to `_serve`, which has two of these."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def work(config: Config, descriptor: int) -> None:
    """Run until told to stop. Raises HeadraceError when the workspace or the log cannot be opened."""
    worker = Worker(config)
    tcp = socket.socket(fileno=descriptor)
    tcp.setblocking(False)
    try:
        worker.warehouses.notice()
        watching = threading.Thread(target=worker.warehouses.watch, name="warehouses", daemon=True)
        watching.start()
        worker.archive.start()
        worker.deliveries.start()
        worker.alerting.start()
        uvloop.run(_serve(worker, config, tcp))
        worker.end()
        watching.join(1.0)
    finally:
        worker.close()


async def _serve(worker: Worker, config: Config, tcp: socket.socket) -> None:
    unix = folder.listen_unix(config.folder / folder.WORKER_SOCKET)
    answering = api(worker, config.warehouse, who_of_both(worker.logins.who))
    servers = [_server(inside(answering), "on"), _server(front(answering, config.console), "off")]
    loop = asyncio.get_running_loop()
    give_threads(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, worker, servers)
    await asyncio.gather(servers[0].serve(sockets=[unix]), servers[1].serve(sockets=[tcp]))


def give_threads(loop: asyncio.AbstractEventLoop) -> None:
    """To what the API does in threads."""
    loop.set_default_executor(ThreadPoolExecutor(API_THREADS, "api"))


def _server(app: Any, lifespan: Literal["on", "off"]) -> uvicorn.Server:
    """Of two that serve the same application one begins and ends it."""
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )


def _end(worker: Worker, servers: list[uvicorn.Server]) -> None:
    """The warehouses end at once, beside the servers: a query that hangs would keep the loop from ending before them."""
    threading.Thread(target=worker.end, name="end", daemon=True).start()
    for server in servers:
        server.should_exit = True
