"""The worker's JSON API. Until logins come it is served on the Unix socket only; the TCP address answers /health and /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Body, FromPath, QueryParameter

from headrace import __version__
from headrace.config import WarehouseConfig
from headrace.console import deliveries, destinations, email_model, reports
from headrace.console.jobs import Job
from headrace.console.metrics import CONTENT_TYPE, metrics
from headrace.console.reports import ARROW_STREAM
from headrace.console.status import Status
from headrace.console.warehouses import WarehouseDetail
from headrace.errors import ConfigError, HeadraceError, NotFoundError, RequestError, RetryableError
from headrace.warehouses.base import QueryResult

MOST_HOURS: Final = 24 * 400


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. `max_rows` and `timeout_seconds` may only lower the server's limits. Without `warehouse` the one that is meant is asked."""

    sql: str
    max_rows: int | None = None
    timeout_seconds: float | None = None
    warehouse: str | None = None


class JobOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    job: str
    arguments: dict[str, Any] = {}


class Health(msgspec.Struct, frozen=True):
    status: str


class Problem(msgspec.Struct, frozen=True):
    code: str
    message: str


class Working(destinations.Destinations, deliveries.Telling, email_model.Worker, reports.Worker, Protocol):
    """What the worker answers. All may be called from any thread and raise HeadraceError."""

    def status(self, hours: float = 0.0) -> Status:
        """`hours`: how many of the last hours the books tell one by one."""
        ...

    def known_status(self) -> Status:
        """As `status`, out of what the warehouses said some seconds ago."""
        ...

    def detail(self, slug: str) -> WarehouseDetail: ...

    def query(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> QueryResult: ...

    def arrow(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> Any: ...

    def submit(self, slug: str, job: str, arguments: Mapping[str, Any]) -> Job: ...

    def job(self, number: int) -> Job: ...

    def notice(self) -> None:
        """Take up what has changed in the workspace before this returns."""
        ...

    def health(self) -> Health: ...


def api(worker: Working, limits: WarehouseConfig) -> Litestar:
    """The whole API, for the Unix socket."""

    @get("/api/status", sync_to_thread=True)
    def show_status(hours: Annotated[float, QueryParameter(ge=0, le=MOST_HOURS)] = 0.0) -> Status:
        return worker.status(hours)

    def bounds(asked: Query) -> tuple[int, float]:
        rows = min(asked.max_rows or limits.query_rows, max(limits.query_rows, 1))
        return rows, min(asked.timeout_seconds or limits.query_timeout_seconds, limits.query_timeout_seconds)

    @post("/api/query", sync_to_thread=True, status_code=200)
    def run_query(data: Annotated[Query, Body(description="One SELECT")]) -> QueryResult:
        return worker.query(data.sql, *bounds(data), data.warehouse)

    @post("/api/query/arrow", sync_to_thread=True, status_code=200)
    def run_arrow_query(data: Annotated[Query, Body(description="One SELECT")]) -> Response[bytes]:
        return Response(_stream(worker.arrow(data.sql, *bounds(data), data.warehouse)), media_type=ARROW_STREAM)

    @get("/api/warehouses/{slug:str}", sync_to_thread=True)
    def show_warehouse(slug: FromPath[str]) -> WarehouseDetail:
        return worker.detail(slug)

    @post("/api/warehouses/{slug:str}/jobs", sync_to_thread=True, status_code=201)
    def order_job(slug: FromPath[str], data: Annotated[JobOrder, Body(description="What is to be done")]) -> Job:
        return worker.submit(slug, data.job, data.arguments)

    @get("/api/jobs/{number:int}", sync_to_thread=True)
    def show_job(number: FromPath[int]) -> Job:
        return worker.job(number)

    @post("/api/notice", sync_to_thread=True, status_code=200)
    def take_notice() -> Health:
        worker.notice()
        return worker.health()

    return Litestar(
        [
            take_notice,
            show_status,
            run_query,
            run_arrow_query,
            show_warehouse,
            order_job,
            show_job,
            *destinations.routes(worker),
            *deliveries.routes(worker),
            *email_model.routes(worker),
            *reports.routes(worker, _stream),
            _health(worker),
            _metrics(worker),
        ],
        openapi_config=OpenAPIConfig("headrace", __version__, path="/api/schema", render_plugins=[JsonRenderPlugin()]),
        exception_handlers={HeadraceError: _problem},
        logging_config=None,
    )


def health_and_metrics(worker: Working) -> Litestar:
    """What the TCP address answers."""
    return Litestar([_health(worker), _metrics(worker)], openapi_config=None, logging_config=None)


def _health(worker: Working) -> Any:
    @get("/health", sync_to_thread=False)
    def show_health() -> Response[Health]:
        state = worker.health()
        return Response(state, status_code=200 if state.status == "ok" else 503)

    return show_health


def _metrics(worker: Working) -> Any:
    @get("/metrics", sync_to_thread=True, include_in_schema=False)
    def show_metrics() -> Response[bytes]:
        return Response(metrics(worker.known_status()), headers={"content-type": CONTENT_TYPE})

    return show_metrics


def _stream(table: Any) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and the TCP address needs none

    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return bytes(stream.getvalue())


def _problem(_: Request[Any, Any, Any], error: HeadraceError) -> Response[Problem]:
    if isinstance(error, RequestError):
        return Response(Problem(error.code, error.reason), status_code=error.status, media_type=MediaType.JSON)
    if isinstance(error, NotFoundError):
        return Response(Problem("not_found", str(error)), status_code=404, media_type=MediaType.JSON)
    if isinstance(error, ConfigError):
        return Response(Problem("refused", str(error)), status_code=409, media_type=MediaType.JSON)
    status = 503 if isinstance(error, RetryableError) else 500
    return Response(Problem("internal", str(error)), status_code=status, media_type=MediaType.JSON)
