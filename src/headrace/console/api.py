"""The worker's JSON API. Until logins come it is served on the Unix socket only; the TCP address answers /health alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Body

from headrace import __version__
from headrace.config import WarehouseConfig
from headrace.console.status import Status
from headrace.errors import HeadraceError, RequestError, RetryableError
from headrace.warehouses.base import QueryResult


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One SELECT. `max_rows` and `timeout_seconds` may only lower the server's limits."""

    sql: str
    max_rows: int | None = None
    timeout_seconds: float | None = None


class Health(msgspec.Struct, frozen=True):
    status: str


class Problem(msgspec.Struct, frozen=True):
    code: str
    message: str


def api(
    status: Callable[[], Status],
    query: Callable[[str, int, float], QueryResult],
    health: Callable[[], Health],
    limits: WarehouseConfig,
) -> Litestar:
    """The whole API, for the Unix socket."""

    @get("/api/status", sync_to_thread=True)
    def show_status() -> Status:
        return status()

    @post("/api/query", sync_to_thread=True, status_code=200)
    def run_query(data: Annotated[Query, Body(description="One SELECT")]) -> QueryResult:
        rows = min(data.max_rows or limits.query_rows, max(limits.query_rows, 1))
        seconds = min(data.timeout_seconds or limits.query_timeout_seconds, limits.query_timeout_seconds)
        return query(data.sql, rows, seconds)

    return Litestar(
        [show_status, run_query, _health(health)],
        openapi_config=OpenAPIConfig("headrace", __version__, path="/api/schema", render_plugins=[JsonRenderPlugin()]),
        exception_handlers={HeadraceError: _problem},
        logging_config=None,
    )


def health_only(health: Callable[[], Health]) -> Litestar:
    """What the TCP address answers."""
    return Litestar([_health(health)], openapi_config=None, logging_config=None)


def _health(health: Callable[[], Health]) -> Any:
    @get("/health", sync_to_thread=False)
    def show_health() -> Response[Health]:
        state = health()
        return Response(state, status_code=200 if state.status == "ok" else 503)

    return show_health


def _problem(_: Request[Any, Any, Any], error: HeadraceError) -> Response[Problem]:
    if isinstance(error, RequestError):
        return Response(Problem(error.code, error.reason), status_code=error.status, media_type=MediaType.JSON)
    status = 503 if isinstance(error, RetryableError) else 500
    return Response(Problem("internal", str(error)), status_code=status, media_type=MediaType.JSON)
