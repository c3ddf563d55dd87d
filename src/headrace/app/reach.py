"""Questions to a data folder: through the worker while a server runs, directly when none does."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx
import msgspec

from headrace.app import folder
from headrace.config import Config
from headrace.console.jobs import Job, OnProgress
from headrace.console.status import Answer, Status, WarehouseState, status
from headrace.console.warehouses import WarehouseDetail, detail
from headrace.errors import ConfigError, HeadraceError, NotFoundError, QueryError, WarehouseUnavailableError
from headrace.reports.answers import (
    FieldsShown,
    FunnelAnswer,
    FunnelOrder,
    HoldoutAnswer,
    HoldoutOrder,
    ReportAnswer,
    ReportSql,
)
from headrace.warehouses.base import QueryResult
from headrace.workspace.actor import LOGIN_HEADER, actor

if TYPE_CHECKING:
    from headrace.app.reporting import OpenWarehouse, Reporting
    from headrace.log.base import LogReader
    from headrace.reports.request import ReportRequest
    from headrace.warehouses.base import Warehouse, WarehouseKind
    from headrace.workspace.records import Source
    from headrace.workspace.workspace import Workspace

POLL_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 300.0
WORKER_STARTS_SECONDS: Final = 20.0


def query(config: Config, sql: str, max_rows: int | None = None, *, warehouse: str | None = None) -> QueryResult:
    """The rows of one SELECT. `warehouse` is a slug, None for the one that is meant when none is named.

    Raises QueryError and, when the data folder or the worker cannot be reached, another HeadraceError."""
    rows = min(max_rows or config.warehouse.query_rows, config.warehouse.query_rows)
    body = {"sql": sql, "max_rows": rows, "warehouse": warehouse}
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "POST", "/api/v1/query", body), type=QueryResult)
    with Opened(config) as folder_, folder_.warehouse(warehouse) as (_, opened):
        result: QueryResult = opened.query(sql, max_rows=rows, timeout_seconds=config.warehouse.query_timeout_seconds)
        return result


def arrow(config: Config, sql: str, *, warehouse: str | None = None) -> Any:
    """The same rows as a pyarrow.Table, with the engine's types. Raises QueryError when there are more than `query_rows`."""
    rows = config.warehouse.query_rows
    with suppress(_StoppedError):
        body = {"sql": sql, "max_rows": rows, "warehouse": warehouse}
        return _table(_ask(config, "POST", "/api/v1/query/arrow", body))
    with Opened(config) as folder_, folder_.warehouse(warehouse) as (_, opened):
        return opened.arrow(sql, max_rows=rows, timeout_seconds=config.warehouse.query_timeout_seconds)


def report(config: Config, request: ReportRequest) -> ReportAnswer:
    """Raises ConfigError, QueryError and, as the others do, what keeps the worker or the folder from being asked."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "POST", "/api/v1/reports", _body(request)), type=ReportAnswer)
    with Opened(config) as folder_:
        return folder_.reporting().report(request)


def report_sql(config: Config, request: ReportRequest) -> str:
    """The SELECT that `report` would ask."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "POST", "/api/v1/reports/sql", _body(request)), type=ReportSql).sql
    with Opened(config) as folder_:
        return folder_.reporting().sql(request).sql


def report_fields(config: Config) -> FieldsShown:
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "GET", "/api/v1/reports/fields", None), type=FieldsShown)
    with Opened(config) as folder_:
        return folder_.reporting().fields()


def funnel(config: Config, order: FunnelOrder) -> FunnelAnswer:
    """Raises as `report`."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "POST", "/api/v1/reports/funnel", _body(order)), type=FunnelAnswer)
    with Opened(config) as folder_:
        return folder_.reporting().funnel(order)


def holdout(config: Config, order: HoldoutOrder) -> HoldoutAnswer:
    """Raises as `report`."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "POST", "/api/v1/reports/holdout", _body(order)), type=HoldoutAnswer)
    with Opened(config) as folder_:
        return folder_.reporting().holdout(order)


def _body(request: Any) -> Any:
    return msgspec.to_builtins(request)


def status_of(config: Config, hours: float = 0.0) -> Status:
    """The books and positions now; `hours` is how many of the last hours are told one by one."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "GET", f"/api/v1/status?hours={hours}", None), type=Status)
    with Opened(config) as folder_:
        return folder_.status(hours)


def warehouse_detail(config: Config, slug: str) -> WarehouseDetail:
    """Raises NotFoundError."""
    with suppress(_StoppedError):
        return msgspec.json.decode(_ask(config, "GET", f"/api/v1/warehouses/{slug}", None), type=WarehouseDetail)
    with Opened(config) as folder_:
        return folder_.detail(slug)


def notice(config: Config) -> None:
    """Have a running server take up what the workspace says now, before this returns. Without a server nothing is to be done.

    Raises WarehouseUnavailableError when the worker does not answer; it takes up the change by itself then."""
    with suppress(_StoppedError, NotFoundError):  # a server of an earlier release has no such question
        _ask(config, "POST", "/api/v1/notice", None)


def run_job(
    config: Config, warehouse_slug: str, job: str, arguments: dict[str, Any], on_progress: OnProgress
) -> dict[str, Any]:
    """Run a job on a warehouse and wait for its end. Raises what it failed with."""
    with suppress(_StoppedError):
        body = {"job": job, "arguments": arguments}
        answer = _ask(config, "POST", f"/api/v1/warehouses/{warehouse_slug}/jobs", body)
        return _awaited(config, msgspec.json.decode(answer, type=Job), on_progress)
    from headrace.app import tasks  # noqa: PLC0415 - as below
    from headrace.loader.selection import parse_all  # noqa: PLC0415 - as below

    with Opened(config) as folder_, folder_.warehouse(warehouse_slug) as (kind, opened):
        sources = {source.slug: source for source in folder_.sources()}
        record = folder_.workspace.warehouse(warehouse_slug)
        place = tasks.Surroundings(
            record,
            opened,
            kind,
            folder_.new_readers,
            lambda: sources,
            config,
            lambda: parse_all(record.selection),
            lambda column: _noted(folder_.workspace, record.slug, column),
            threading.Event(),
        )
        return tasks.work(job, arguments, place).run(on_progress)


def _awaited(config: Config, job: Job, on_progress: OnProgress) -> dict[str, Any]:
    while job.state in {"waiting", "running"}:
        on_progress(job.done, job.total, job.text or job.state)
        time.sleep(POLL_SECONDS)
        try:
            job = msgspec.json.decode(_ask(config, "GET", f"/api/v1/jobs/{job.id}", None), type=Job)
        except (_StoppedError, NotFoundError):
            raise WarehouseUnavailableError(
                f"job: the worker ended while {job.job} ran on {job.warehouse}; order it again; what is half done is ended then, or at the next start"
            ) from None
    if job.error is not None:
        raise ConfigError(job.error)
    return job.result or {}


def _noted(workspace: Workspace, slug: str, column: str) -> None:
    workspace.note_retyped(slug, column)


class Opened:
    """A data folder on which no server works, opened for one command."""

    def __init__(self, config: Config) -> None:
        """Raises NotFoundError where there is no such folder."""
        if not config.folder.is_dir():
            raise NotFoundError(
                f"data folder: there is no {config.folder}; give --data, or make it with `headrace serve`"
            )
        self._config = config
        self._open = ExitStack()

    def __enter__(self) -> Self:
        from headrace.log.sqlite import SqliteLog  # noqa: PLC0415 - drivers load when a connection opens
        from headrace.workspace.workspace import Workspace  # noqa: PLC0415 - as above

        with ExitStack() as opening:
            self.workspace = opening.enter_context(Workspace.open(self._config.folder, create=False))
            self._log = SqliteLog(self._config.folder / folder.LOG, self._config.log)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sources(self) -> list[Source]:
        """Removed ones too."""
        return self.workspace.sources(include_removed=True)

    def new_readers(self, of_sources: Collection[str] | None = None) -> list[LogReader]:
        """A reader of each partition, for the caller to close; with `of_sources` only their files are read of the archive."""
        from headrace.app.archiving import Archive  # noqa: PLC0415 - as above

        return Archive(self._config, self._log, self._log.partitions()).readers(of_sources)

    @contextmanager
    def warehouse(self, slug: str | None) -> Iterator[tuple[WarehouseKind, Warehouse]]:
        """Raises NotFoundError and ConfigError that list what there is, and what the driver raises."""
        from headrace.warehouses import base  # noqa: PLC0415 - as above

        record = self.workspace.chosen_warehouse(slug)
        place = base.Place(record.slug, self._config.folder, self._config.warehouse)
        kind = base.configured(record.kind, self.workspace.revealed_settings(record.slug), place)
        opened = kind.open()
        try:
            yield kind, opened
        finally:
            opened.close()

    def reporting(self) -> Reporting:
        from headrace.app.reporting import Reporting  # noqa: PLC0415 - as above

        return Reporting(self.workspace, self.sources, self._asked, self._config.warehouse)

    @contextmanager
    def _asked(self, slug: str | None) -> Iterator[OpenWarehouse]:
        from headrace.app.reporting import OpenWarehouse  # noqa: PLC0415 - as above

        with self.warehouse(slug) as (_, opened):
            record = self.workspace.chosen_warehouse(slug)
            yield OpenWarehouse(record.slug, record.kind, opened)

    def status(self, hours: float = 0.0) -> Status:
        """A warehouse that cannot be asked says why."""
        from headrace.app.destination_states import destination_states  # noqa: PLC0415 - as above

        sources = self.sources()
        answers = []
        for record in self.workspace.warehouses():
            about = WarehouseState(record.slug, record.kind, record.nickname, "paused" if record.paused else "closed")
            try:
                with self.warehouse(record.slug) as (_, opened):
                    answers.append(Answer(about, opened.account([source.schema for source in sources])))
            except (HeadraceError, ValueError) as error:
                now = datetime.now(UTC)
                answers.append(Answer(msgspec.structs.replace(about, error=str(error), as_of=now, known=False), None))
        readers = self.new_readers()
        try:
            meant = self._meant()
            destinations = destination_states(self._config, self.workspace, running=False)
            now = datetime.now(UTC)
            return status(sources, readers, answers, meant, now, running=False, destinations=destinations, hours=hours)
        finally:
            for reader in readers:
                reader.close()

    def detail(self, slug: str) -> WarehouseDetail:
        found = next((one for one in self.status().warehouses if one.warehouse and one.warehouse.slug == slug), None)
        if found is None:
            raise NotFoundError(f"warehouse: there is no {slug!r}; see: headrace warehouse list")
        with ExitStack() as opened:
            return detail(found, lambda: opened.enter_context(self.warehouse(slug))[1])

    def _meant(self) -> str | None:
        try:
            return self.workspace.chosen_warehouse(None).slug
        except ConfigError:
            return None


class _StoppedError(Exception):
    """No server works on the folder, or none any more: ask the files."""


def _ask(config: Config, method: str, path: str, body: Any) -> bytes:
    """One request to the worker; while it is starting (also again after a crash) this waits for it.

    Raises _StoppedError, WarehouseUnavailableError and what the worker answers."""
    deadline = time.monotonic() + WORKER_STARTS_SECONDS
    while True:
        if not folder.is_served(config.folder):
            raise _StoppedError
        name, descriptor = folder.short_path(config.folder / folder.WORKER_SOCKET)
        try:
            _knock(name)
            with httpx.Client(transport=httpx.HTTPTransport(uds=name), timeout=ANSWER_SECONDS) as client:
                headers = {LOGIN_HEADER: quote(actor().name)}
                answer = client.request(method, f"http://worker{path}", json=body, headers=headers)
            break
        except (OSError, httpx.TransportError) as error:
            if time.monotonic() > deadline:
                raise WarehouseUnavailableError(
                    f"worker: no answer on {config.folder / folder.WORKER_SOCKET} ({error}); see what `headrace serve` prints"
                ) from None
            time.sleep(0.1)
        finally:
            os.close(descriptor)
    if answer.is_success:
        return answer.content
    raise _error(answer)


def _knock(name: str) -> None:
    """Raises OSError when nobody listens. httpx would leave such a socket open until the garbage is collected."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.connect(name)


_NO_ROUTE: Final = "Not Found"
"""What the framework says of an address that it does not know, in every release."""


def _error(answer: httpx.Response) -> HeadraceError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    text = str(problem.get("detail") or f"worker: answered {answer.status_code}")
    match answer.status_code:
        case 400:
            return QueryError(text, str(problem.get("code")))
        case 404 if text == _NO_ROUTE:
            return NotFoundError(
                "worker: the running server does not know this question, so it is of another release; restart `headrace serve`"
            )
        case 404:
            return NotFoundError(text)
        case 409:
            return ConfigError(text)
    return WarehouseUnavailableError(text)


def _table(stream: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()
