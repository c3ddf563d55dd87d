"""What is in a warehouse, for the console: asked of the open one, and remembered for a while in which it cannot be asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from headrace.app.loading import Loading
from headrace.app.warehouses import Warehouses
from headrace.config import WarehouseConfig
from headrace.console import looking
from headrace.console.looking import Looked
from headrace.console.status import Status
from headrace.console.warehouse_tables import (
    LoadsPage,
    MisfitsShown,
    RejectedPage,
    TableDetail,
    TablesShown,
)
from headrace.console.warehouses import DISCARDS, LOADS, WarehouseDetail, detail, load_of, loads_of
from headrace.errors import HeadraceError, NotFoundError, QueryError, WarehouseUnavailableError
from headrace.warehouses.base import Browsable, QueryResult, StoredTable, TableName, Warehouse
from headrace.workspace.records import Source

LOOK_SECONDS: Final = 5.0
"""What was looked at is shown again for so long."""
REACHED_SECONDS: Final = 10.0
MOST_COLUMNS: Final = 500_000
MOST_OF_ONE_MOMENT: Final = 100_000
"""Rows of a page that cannot be told apart by their moment."""


class _Known(NamedTuple):
    monotonic: float
    looked: Looked
    as_of: datetime


class Browsing:
    """Safe to use from several threads."""

    def __init__(
        self,
        warehouses: Warehouses,
        sources: Callable[[], Mapping[str, Source]],
        status: Callable[[], Status],
        limits: WarehouseConfig,
    ) -> None:
        self._warehouses = warehouses
        self._sources = sources
        self._status = status
        self._limits = limits
        self._turn = threading.Lock()
        self._known_by_slug: dict[str, _Known] = {}

    def detail(self, slug: str) -> WarehouseDetail:
        """Raises NotFoundError."""
        loading = self._warehouses.one(slug)
        found = next(
            entry for entry in self._status().warehouses if entry.warehouse and entry.warehouse.slug == loading.slug
        )
        if found.warehouse is not None and found.warehouse.as_of is not None:
            return WarehouseDetail(found, problem=found.warehouse.error or "it cannot be asked now")
        return detail(found, loading.opened)

    def tables(self, slug: str) -> TablesShown:
        known, problem = self.looked(slug)
        if known is None:
            return TablesShown((), None, problem)
        return TablesShown(looking.tables(known.looked, self._sources().values()), known.as_of, problem)

    def table(self, slug: str, schema: str, table: str) -> TableDetail:
        """Raises NotFoundError, WarehouseUnavailableError."""
        known, problem = self.looked(slug)
        if known is None:
            raise WarehouseUnavailableError(f"warehouse {slug}: it cannot be asked now: {problem}")
        name = self._named(known.looked, schema, table)
        loading = self._warehouses.one(slug)
        held = {
            (*of, column): reason
            for (of, column), reason in (loading.loader.unwidenable() if loading.loader else {}).items()
        }
        of_sources = self._sources().values()
        columns = looking.columns(known.looked, name, set(loading.configured.retyped), held)
        return TableDetail(looking.table(known.looked, name, of_sources), columns, known.as_of, problem)

    def rows(self, slug: str, schema: str, table: str, limit: int) -> QueryResult:
        """Raises NotFoundError, QueryError, WarehouseUnavailableError."""
        _, opened = self._reached(slug)
        known, problem = self.looked(slug)
        if known is None or not isinstance(opened, Browsable):
            raise WarehouseUnavailableError(f"warehouse {slug}: its rows cannot be shown: {problem}")
        name = self._named(known.looked, schema, table)
        return opened.newest(name, limit, self._limits.query_timeout_seconds)

    def loads(self, slug: str, limit: int, before: datetime | None, *, failures: bool) -> LoadsPage:
        """Raises NotFoundError, QueryError, WarehouseUnavailableError."""
        _, opened = self._reached(slug)
        conditions = ("result <> 'ok'",) if failures else ()
        rows, following = self._page(opened, "loads", "started", limit, before, conditions)
        return LoadsPage([load_of(row) for row in rows], following)

    def rejected(self, slug: str, limit: int, before: datetime | None, source: str | None) -> RejectedPage:
        """Raises NotFoundError, QueryError, WarehouseUnavailableError."""
        _, opened = self._reached(slug)
        conditions: tuple[str, ...] = ()
        if source is not None:
            if source not in self._sources():
                raise NotFoundError(f"source: there is no {source[:100]!r}; see: headrace source list")
            conditions = (f"source = '{source}'",)
        rows, following = self._page(opened, "rejected", "received_at", limit, before, conditions)
        return RejectedPage(looking.rejected(rows), following)

    def misfits(self, slug: str) -> MisfitsShown:
        """Raises NotFoundError, WarehouseUnavailableError."""
        loading, opened = self._reached(slug)
        newest = opened.latest_rows("discards", DISCARDS).to_pylist()
        known, _ = self.looked(slug)
        held = {
            (*of, column): why for (of, column), why in (loading.loader.unwidenable() if loading.loader else {}).items()
        }
        answer = loading.answer(list(self._sources().values()), REACHED_SECONDS)
        discards = answer.account.discards if answer.account else 0
        found = looking.misfits(newest, known.looked.tables if known else {}, held)
        return MisfitsShown(found, len(newest), max(discards, len(newest)))

    def looked(self, slug: str) -> tuple[_Known | None, str | None]:
        """What is known of the tables, and why that is not of now. Raises NotFoundError."""
        slug = self._warehouses.one(slug).slug
        with self._turn:
            known = self._known_by_slug.get(slug)
        if known is not None and time.monotonic() - known.monotonic < LOOK_SECONDS:
            return known, None
        try:
            _, opened = self._reached(slug)
            known = _Known(time.monotonic(), self._look(opened), datetime.now(UTC))
        except HeadraceError as error:
            return known, str(error)
        with self._turn:
            self._known_by_slug[slug] = known
        return known, None

    def stored(self, slug: str) -> tuple[Mapping[TableName, StoredTable], datetime | None, str | None]:
        """All tables, of when that is, and why it is not of now. Raises NotFoundError."""
        known, problem = self.looked(slug)
        return (known.looked.tables, known.as_of, problem) if known else ({}, None, problem)

    def forget(self, slug: str) -> None:
        """Its tables have changed."""
        with self._turn:
            self._known_by_slug.pop(slug, None)

    def _look(self, opened: Warehouse) -> Looked:
        tables = opened.stored_tables() if isinstance(opened, Browsable) else {}
        named = self._select(opened, "SELECT * FROM headrace.columns", MOST_COLUMNS)
        recent = loads_of(opened.latest_rows("loads", LOADS))
        misfits = opened.latest_rows("discards", DISCARDS).select(["schema", "table", "column"]).to_pylist()
        return looking.looked(tables, named, recent, misfits)

    def _select(self, opened: Warehouse, sql: str, most: int) -> list[dict[str, Any]]:
        """Rows by names of columns in small letters, which some engines spell in large ones."""
        found = opened.arrow(sql, max_rows=most, timeout_seconds=self._limits.query_timeout_seconds)
        rows = found.rename_columns([name.lower() for name in found.column_names]).to_pylist()
        return [{name: _in_utc(value) for name, value in row.items()} for row in rows]

    def _reached(self, slug: str) -> tuple[Loading, Warehouse]:
        """Without asking one that is known not to answer, which would hang. Raises NotFoundError and WarehouseUnavailableError."""
        loading = self._warehouses.one(slug)
        state = loading.answer(list(self._sources().values()), REACHED_SECONDS).state
        if state.as_of is not None:
            raise WarehouseUnavailableError(f"warehouse {loading.slug}: it cannot be asked now: {state.error}")
        return loading, loading.opened()

    def _named(self, known: Looked, schema: str, table: str) -> TableName:
        name = TableName(schema, table)
        if name not in known.tables:
            raise NotFoundError(
                f"table: there is no {schema[:100]}.{table[:100]}; the list of tables has all that there are"
            )
        return name

    def _page(
        self,
        opened: Warehouse,
        table: str,
        moment: str,
        limit: int,
        before: datetime | None,
        conditions: Sequence[str],
    ) -> tuple[Sequence[dict[str, Any]], datetime | None]:
        """Rows, newest first, and before which moment the page that follows is. Rows of one moment are on one page."""
        most = limit + 50
        while True:
            fetched = self._select(opened, looking.page_sql(table, moment, most, before, conditions), most)
            rows = [row for row in fetched if row[moment] is not None and (before is None or row[moment] < before)]
            page = looking.page(rows, moment, limit, is_all=len(fetched) < most)
            if page is not None:
                return page
            if most >= MOST_OF_ONE_MOMENT:
                raise QueryError(f"{table}: more than {limit} rows of one moment follow; ask for them by SQL")
            most *= 4


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
