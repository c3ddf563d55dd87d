"""The JSON API under /api/v1: one application on the data folder's Unix socket, for commands, and one on the TCP address."""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol

import msgspec
from litestar import Litestar, Request, Response, Router, get, post
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Body, QueryParameter

from headrace import __version__
from headrace.config import WarehouseConfig
from headrace.console import (
    alerts,
    campaigns,
    catalogue,
    configuration,
    debugger,
    deliveries,
    demo,
    destinations,
    email_model,
    filter_checks,
    problems,
    queries,
    reports,
    saved,
    warehouse_orders,
    warehouse_tables,
)
from headrace.console.access import Who, guard
from headrace.console.entrance import routes as entrance_routes
from headrace.console.home import Worker as HomeWorker
from headrace.console.home import routes as home_routes
from headrace.console.logins import Logins
from headrace.console.metrics import CONTENT_TYPE, metrics
from headrace.console.noting import noting
from headrace.console.openapi import described
from headrace.console.reports import ARROW_STREAM
from headrace.console.sources import Worker as SourcesWorker
from headrace.console.sources import routes as source_routes
from headrace.console.status import Status
from headrace.errors import HeadraceError
from headrace.warehouses.base import QueryResult

MOST_HOURS: Final = 24 * 400
PREFIX: Final = "/api/v1"


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. `max_rows` and `timeout_seconds` may only lower the server's limits. Without `warehouse` the one that is meant is asked."""

    sql: str
    max_rows: int | None = None
    timeout_seconds: float | None = None
    warehouse: str | None = None


class Health(msgspec.Struct, frozen=True):
    status: str


class Working(
    SourcesWorker,
    HomeWorker,
    alerts.Worker,
    campaigns.Worker,
    configuration.Worker,
    demo.Worker,
    destinations.Destinations,
    debugger.Worker,
    deliveries.Telling,
    email_model.Worker,
    filter_checks.Worker,
    queries.Worker,
    reports.Worker,
    saved.Worker,
    warehouse_orders.Worker,
    warehouse_tables.Worker,
    Protocol,
):
    """What the worker answers. All may be called from any thread and raise HeadraceError."""

    @property
    def logins(self) -> Logins: ...

    def status(self, hours: float = 0.0) -> Status:
        """`hours`: how many of the last hours the books tell one by one."""
        ...

    def known_status(self) -> Status:
        """As `status`, out of what the warehouses said some seconds ago."""
        ...

    def query(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> QueryResult: ...

    def arrow(self, sql: str, max_rows: int, timeout_seconds: float, slug: str | None) -> Any: ...

    def notice(self) -> None:
        """Take up what has changed in the workspace before this returns."""
        ...

    def health(self) -> Health: ...


def api(worker: Working, limits: WarehouseConfig, who: Who) -> Litestar:
    """The whole API. `who` tells who asks."""

    @get("/status", role="viewer", sync_to_thread=True)
    def show_status(hours: Annotated[float, QueryParameter(ge=0, le=MOST_HOURS)] = 0.0) -> Status:
        return worker.status(hours)

    def bounds(asked: Query) -> tuple[int, float]:
        rows = min(asked.max_rows or limits.query_rows, max(limits.query_rows, 1))
        return rows, min(asked.timeout_seconds or limits.query_timeout_seconds, limits.query_timeout_seconds)

    @post("/query", role="viewer", sync_to_thread=True, status_code=200)
    def run_query(data: Annotated[Query, Body(description="One SELECT")]) -> QueryResult:
        return worker.query(data.sql, *bounds(data), data.warehouse)

    @post("/query/arrow", role="viewer", sync_to_thread=True, status_code=200, media_type=ARROW_STREAM)
    def run_arrow_query(data: Annotated[Query, Body(description="One SELECT")]) -> Response[bytes]:
        return Response(_stream(worker.arrow(data.sql, *bounds(data), data.warehouse)), media_type=ARROW_STREAM)

    @post("/notice", role="editor", sync_to_thread=True, status_code=200)
    def take_notice() -> Health:
        worker.notice()
        return worker.health()

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def show_openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return described(request.app)

    routes = Router(
        PREFIX,
        route_handlers=[
            *entrance_routes(worker, who),
            take_notice,
            show_status,
            run_query,
            run_arrow_query,
            *alerts.routes(worker),
            *catalogue.routes(),
            *source_routes(worker),
            *home_routes(worker),
            *destinations.routes(worker),
            *deliveries.routes(worker),
            *debugger.routes(worker, guard(who)),
            *email_model.routes(worker),
            *filter_checks.routes(worker),
            *campaigns.routes(worker),
            *configuration.routes(worker),
            *demo.routes(worker),
            *warehouse_orders.routes(worker),
            *warehouse_tables.routes(worker),
            *queries.routes(worker),
            *reports.routes(worker, _stream),
            *saved.routes(worker),
            show_openapi,
        ],
    )
    return Litestar(
        [routes, _health(worker), _metrics(worker)],
        guards=[guard(who)],
        middleware=[noting(lambda: worker.logins.audit)],
        openapi_config=OpenAPIConfig(
            "headrace", __version__, path=f"{PREFIX}/openapi", render_plugins=[JsonRenderPlugin()]
        ),
        exception_handlers={
            HeadraceError: problems.of_error,
            HTTPException: problems.of_http,
            Exception: problems.of_bug,
        },
        logging_config=None,
    )


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
