"""The API's questions about what is in a warehouse: tables, columns, rows, loads, misfits and rejected events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from headrace.console.warehouses import LoadShown, WarehouseDetail
from headrace.warehouses.base import QueryResult

TableKind = Literal["events", "event", "latest", "headrace", "email", "other"]
"""events: every event of a type, such as `tracks`. event: those of one name. latest: the latest state of a user or account.
other: not headrace's."""


class TableShown(msgspec.Struct, frozen=True):
    """`rows` and `size_bytes` are null where the engine does not tell; `is_exact` is about `rows`. `source` is the one whose schema it is.
    `last_loaded_at` is to the hour for tables that the last loads did not touch."""

    schema: str
    table: str
    kind: TableKind
    source: str | None
    rows: int | None
    is_exact: bool
    size_bytes: int | None
    columns: int
    last_loaded_at: datetime | None
    misfits: int


class TablesShown(msgspec.Struct, frozen=True):
    """`as_of`: when the warehouse was asked. `problem`: why it could not be asked now; then these are the tables of that time."""

    tables: Sequence[TableShown]
    as_of: datetime | None
    problem: str | None = None


class ColumnShown(msgspec.Struct, frozen=True):
    """`original` is the path of names as sent, empty for a standard column. `origin` says in words where its values come from.
    `held` is why it cannot change its type; `is_retyped`: a person chose the type."""

    column: str
    type: str
    original: str
    origin: str
    is_standard: bool
    is_retyped: bool
    first_seen: datetime | None
    last_seen: datetime | None
    misfits: int
    held: str


class TableDetail(msgspec.Struct, frozen=True):
    table: TableShown
    columns: Sequence[ColumnShown]
    as_of: datetime | None
    problem: str | None = None


class LoadsPage(msgspec.Struct, frozen=True):
    """Newest first. `before` asks for the page that follows; null on the last one."""

    loads: Sequence[LoadShown]
    before: datetime | None


class RejectedShown(msgspec.Struct, frozen=True):
    source: str
    stage: str
    code: str
    reason: str
    message_id: str | None
    raw: str
    events: int
    received_at: datetime | None


class RejectedPage(msgspec.Struct, frozen=True):
    """Newest first. `before` asks for the page that follows; null on the last one."""

    rejected: Sequence[RejectedShown]
    before: datetime | None


class Reason(msgspec.Struct, frozen=True):
    reason: str
    values: int
    last_received_at: datetime | None


class Proposal(msgspec.Struct, frozen=True):
    """With this type `fits` of the `of` values that were looked at would fit. `keeps`: what the column holds converts, too, whatever it is."""

    type: str
    fits: int
    of: int
    keeps: bool
    is_best: bool = False


class MisfitColumn(msgspec.Struct, frozen=True):
    """The discarded values of one column: how many, why, some of them as they were sent (JSON), and types that would take them."""

    schema: str
    table: str
    column: str
    type: str | None
    values: int
    reasons: Sequence[Reason]
    samples: Sequence[str]
    proposals: Sequence[Proposal]
    held: str = ""


class MisfitsShown(msgspec.Struct, frozen=True):
    """`looked_at` of `discards` in all: the newest."""

    columns: Sequence[MisfitColumn]
    looked_at: int
    discards: int


class Tables(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def detail(self, slug: str) -> WarehouseDetail: ...

    def tables(self, slug: str) -> TablesShown: ...

    def table(self, slug: str, schema: str, table: str) -> TableDetail: ...

    def rows(self, slug: str, schema: str, table: str, limit: int) -> QueryResult: ...

    def loads(self, slug: str, limit: int, before: datetime | None, *, failures: bool) -> LoadsPage: ...

    def rejected(self, slug: str, limit: int, before: datetime | None, source: str | None) -> RejectedPage: ...

    def misfits(self, slug: str) -> MisfitsShown: ...


class Worker(Protocol):
    @property
    def browsing(self) -> Tables: ...


Limit = Annotated[int, QueryParameter(ge=1, le=200)]
Before = Annotated[datetime | None, QueryParameter(description="The page of those before this moment")]


def routes(worker: Worker) -> list[Any]:
    @get("/warehouses/{slug:str}", role="viewer", sync_to_thread=True)
    def show_warehouse(slug: FromPath[str]) -> WarehouseDetail:
        return worker.browsing.detail(slug)

    @get("/warehouses/{slug:str}/tables", role="viewer", sync_to_thread=True)
    def list_tables(slug: FromPath[str]) -> TablesShown:
        return worker.browsing.tables(slug)

    @get("/warehouses/{slug:str}/tables/{schema:str}/{table:str}", role="viewer", sync_to_thread=True)
    def show_table(slug: FromPath[str], schema: FromPath[str], table: FromPath[str]) -> TableDetail:
        return worker.browsing.table(slug, schema, table)

    @get("/warehouses/{slug:str}/tables/{schema:str}/{table:str}/rows", role="viewer", sync_to_thread=True)
    def list_newest_rows(
        slug: FromPath[str], schema: FromPath[str], table: FromPath[str], limit: Limit = 50
    ) -> QueryResult:
        return worker.browsing.rows(slug, schema, table, limit)

    @get("/warehouses/{slug:str}/loads", role="viewer", sync_to_thread=True)
    def list_loads(
        slug: FromPath[str],
        limit: Limit = 50,
        before: Before = None,
        result: Annotated[Literal["any", "failed"], QueryParameter(description="failed: no others")] = "any",
    ) -> LoadsPage:
        return worker.browsing.loads(slug, limit, before, failures=result == "failed")

    @get("/warehouses/{slug:str}/rejected", role="viewer", sync_to_thread=True)
    def list_rejected_rows(
        slug: FromPath[str],
        limit: Limit = 50,
        before: Before = None,
        source: Annotated[str | None, QueryParameter(description="Only of this source")] = None,
    ) -> RejectedPage:
        return worker.browsing.rejected(slug, limit, before, source)

    @get("/warehouses/{slug:str}/misfits", role="viewer", sync_to_thread=True)
    def list_misfits(slug: FromPath[str]) -> MisfitsShown:
        return worker.browsing.misfits(slug)

    return [show_warehouse, list_tables, show_table, list_newest_rows, list_loads, list_rejected_rows, list_misfits]
