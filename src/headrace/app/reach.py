"""Questions to a data folder: through the worker while a server runs, directly when none does."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import msgspec

from headrace.app import folder
from headrace.config import Config
from headrace.console.status import Status, WarehouseStatus, status
from headrace.errors import HeadraceError, NotFoundError, QueryError, WarehouseUnavailableError
from headrace.warehouses.base import QueryResult

if TYPE_CHECKING:
    from headrace.log.base import LogReader
    from headrace.workspace.workspace import Workspace

ANSWER_SECONDS: Final = 300.0
WORKER_STARTS_SECONDS: Final = 20.0

Answer = TypeVar("Answer")


def query(config: Config, sql: str, max_rows: int | None = None) -> QueryResult:
    """The rows of one SELECT. Raises QueryError and, when the data folder or the worker cannot be reached, another HeadraceError."""
    rows = min(max_rows or config.warehouse.query_rows, config.warehouse.query_rows)
    with contextlib.suppress(_StoppedError):
        return _ask(config, "POST", "/api/query", {"sql": sql, "max_rows": rows}, QueryResult)
    with _opened(config) as (_, warehouse, _workspace):
        result: QueryResult = warehouse.query(
            sql, max_rows=rows, timeout_seconds=config.warehouse.query_timeout_seconds
        )
        return result


def status_of(config: Config) -> Status:
    """The books and positions now."""
    with contextlib.suppress(_StoppedError):
        return _ask(config, "GET", "/api/status", None, Status)
    with _opened(config) as (readers, warehouse, workspace):
        sources = workspace.sources(include_removed=True)
        return status(sources, readers, warehouse, WarehouseStatus(), datetime.now(UTC), running=False)


@contextmanager
def _opened(config: Config) -> Iterator[tuple[list[LogReader], Any, Workspace]]:
    from headrace.log.sqlite import SqliteLog  # noqa: PLC0415 - drivers load when a connection opens
    from headrace.warehouses._duckdb import DuckDB  # noqa: PLC0415 - as above
    from headrace.workspace.workspace import Workspace  # noqa: PLC0415 - as above

    if not config.folder.is_dir():
        raise NotFoundError(f"data folder: there is no {config.folder}; give --data, or make it with `headrace serve`")
    workspace = Workspace.open(config.folder, create=False)
    log = SqliteLog(config.folder / folder.LOG, config.log)
    readers: list[LogReader] = []
    try:
        warehouse = DuckDB(config.folder / folder.WAREHOUSE, config.warehouse)
        try:
            readers += [log.reader(partition) for partition in log.partitions()]
            yield readers, warehouse, workspace
        finally:
            warehouse.close()
    finally:
        for reader in readers:
            reader.close()
        workspace.close()


class _StoppedError(Exception):
    """No server works on the folder, or none any more: ask the files."""


def _ask(config: Config, method: str, path: str, body: Any, kind: type[Answer]) -> Answer:
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
                answer = client.request(method, f"http://worker{path}", json=body)
            break
        except (OSError, httpx.TransportError) as error:
            if time.monotonic() > deadline:
                raise WarehouseUnavailableError(
                    f"worker: no answer on {config.folder / folder.WORKER_SOCKET} ({error}); see what `headrace serve` prints"
                ) from None
            time.sleep(0.1)
        finally:
            os.close(descriptor)
    if answer.status_code == 200:
        return msgspec.json.decode(answer.content, type=kind)
    raise _error(answer)


def _knock(name: str) -> None:
    """Raises OSError when nobody listens. httpx would leave such a socket open until the garbage is collected."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.connect(name)


def _error(answer: httpx.Response) -> HeadraceError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    text = str(problem.get("message") or problem.get("detail") or f"worker: answered {answer.status_code}")
    return QueryError(text, str(problem.get("code"))) if answer.status_code == 400 else WarehouseUnavailableError(text)
