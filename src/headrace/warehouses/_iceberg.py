"""The lake: Iceberg tables of Parquet files, loaded once a minute or so, each table in one commit a load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from headrace.errors import ConfigError, WarehouseUnavailableError
from headrace.warehouses import _iceberg_change, _iceberg_lookups, _iceberg_query
from headrace.warehouses._iceberg_books import KEPT, Housekeeping
from headrace.warehouses._iceberg_catalog import Tables, border, columns_of, create_schema, create_table, opened
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_io import LakeFiles
from headrace.warehouses._iceberg_load import Writing, check
from headrace.warehouses._iceberg_upkeep import Upkeep
from headrace.warehouses._reading import Reading, Stop
from headrace.warehouses._sql import qualified, quoted
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Account,
    Books,
    Columns,
    Guarantee,
    Hour,
    Load,
    NamedColumn,
    Position,
    QueryResult,
    Retyping,
    StoredTable,
    TableName,
    Unfinished,
    Upsert,
)
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings


class Lake:
    """The port is `warehouses.base.Warehouse`."""

    guarantee: Guarantee = "per table"

    def __init__(self, kind: IcebergKind, clock: Callable[[], float] = time.time) -> None:
        settings = cast("IcebergSettings", kind.settings)
        kind.folder.mkdir(parents=True, exist_ok=True)
        check_url(kind)
        self._catalog = opened(settings.catalogue_name, kind.catalogue_url, kind.location, kind.storage)
        try:
            self._open(kind, settings, clock)
        except BaseException:
            self._catalog.close()
            raise

    def _open(self, kind: IcebergKind, settings: IcebergSettings, clock: Callable[[], float]) -> None:
        self._tables = Tables(self._catalog)
        self._seen = Tables(self._catalog)
        """Of readers: their tables are never changed under them by the loader's commits."""
        self._books = Housekeeping(self._catalog.engine, settings.lease_seconds, clock)
        files = LakeFiles(self._catalog.properties)
        self._engine = Engine(kind.location, files, kind.folder / "spill", kind.place.limits)
        self._upkeep = Upkeep(self._tables, self._engine, settings.snapshot_hours)
        self._writing = threading.Lock()
        with border("create the housekeeping tables"):
            self._create_housekeeping()

    def _create_housekeeping(self) -> None:
        create_schema(self._catalog, HOUSEKEEPING)
        for table, columns in HOUSEKEEPING_TABLES.items():
            name = TableName(HOUSEKEEPING, table)
            if table not in KEPT and self._tables.get(name) is None:
                create_table(self._catalog, name, columns, by_id=False)

    def position(self, consumer: str, partition: int) -> Position | None:
        self._books.take_lease()
        return self._books.position(consumer, partition)

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:
        self._books.renew()
        return self._books.unfinished(consumer, partition)

    def tables(self) -> Mapping[TableName, Columns]:
        with border("read the tables"):
            found = {name: columns_of(table) for name, table in self._tables.all().items()}
        return found | {TableName(HOUSEKEEPING, kept): dict(HOUSEKEEPING_TABLES[kept]) for kept in KEPT}

    def named_columns(self) -> Sequence[NamedColumn]:
        return self._books.named_columns()

    def books(self) -> Mapping[Hour, Books]:
        return self._books.books()

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        with border("read the ids"):
            unfinished = self._books.unfinished_moments()
            for table in _iceberg_lookups.history(self._tables.of_schema(schema)):
                for block in _iceberg_lookups.ids_since(self._engine, table, since, unfinished):
                    self._books.renew()
                    yield block

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        if not ids or not spans:
            return set()
        with border("look up ids"):
            unfinished = self._books.unfinished_moments()
            return {
                id_
                for table in _iceberg_lookups.history(self._tables.of_schema(schema))
                for id_ in _iceberg_lookups.existing_ids(self._engine, table, ids, spans, unfinished)
            }

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        with border("look up rejected ids"):
            table = self._tables.one(TableName(HOUSEKEEPING, "rejected"))
            unfinished = self._books.unfinished_moments()
            return _iceberg_lookups.rejected_ids(self._engine, table, source, ids, unfinished)

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        with border("read a column's bounds"):
            return _iceberg_lookups.integers_within(self._engine, self._tables.one(table), column, bound)

    def commit(self, load: Load) -> None:
        if load.end <= load.start:
            raise ValueError(
                f"load: it ends at {load.end}, not after its start {load.start}; every load moves the position"
            )
        with self._writing, border("load"):
            self._books.check_position(load)
            check(self._tables, load)
            self._books.begin(load)
            Writing(self._tables, self._engine, self._books, load).run()
            self._books.finish(load)

    def checkpoint(self, *, force: bool = False) -> bool:
        with self._writing, border("upkeep"):
            self._books.renew()
            return self._upkeep.run(datetime.now(UTC), force=force)

    def journal_bytes(self) -> int:
        return 0

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        with border("query"):
            tables = self._seen.all()
            return _iceberg_query.answer(self._engine, tables, self._books, sql, max_rows, timeout_seconds)

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        with border("query"):
            tables = self._seen.all()
            return _iceberg_query.arrow(self._engine, tables, self._books, sql, max_rows, timeout_seconds)

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        with border("read the tables"):
            found = {name: _iceberg_lookups.stored(table) for name, table in self._seen.all().items()}
        return found | {TableName(HOUSEKEEPING, kept): StoredTable(dict(HOUSEKEEPING_TABLES[kept])) for kept in KEPT}

    def newest(self, table: TableName, limit: int, timeout_seconds: float) -> QueryResult:
        columns = HOUSEKEEPING_TABLES[table.table] if table.schema == HOUSEKEEPING else {}
        if not columns and (found := self._seen.get(table)) is not None:
            columns = columns_of(found)
        order = f" ORDER BY {quoted('received_at')} DESC" if "received_at" in columns else ""
        sql = f"SELECT * FROM {qualified(table)}{order} LIMIT {int(limit)}"  # noqa: S608 -- quoted
        return self.query(sql, max_rows=limit, timeout_seconds=timeout_seconds)

    @contextmanager
    def reading(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
        with (
            border("query"),
            _iceberg_query.reading(self._engine, self._seen.all(), self._books, sql, timeout_seconds, stop) as reading,
        ):
            yield reading

    def plan(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Sequence[str]:
        with border("query"):
            return _iceberg_query.plan(self._engine, self._seen.all(), self._books, sql, timeout_seconds, stop)

    def account(self, schemas: Sequence[str]) -> Account:
        with border("account"):
            unfinished = self._books.unfinished_moments()
            of_discards = self._seen.get(TableName(HOUSEKEEPING, "discards"))
            discards = 0 if of_discards is None else _iceberg_lookups.count(self._engine, of_discards, unfinished)
            last = {}
            for schema in schemas:
                found = _iceberg_lookups.last_received(_iceberg_lookups.history(self._seen.of_schema(schema)))
                if found is not None:
                    last[schema] = found
            return self._books.account(discards, last)

    def latest_rows(self, table: str, limit: int) -> Any:
        if table in KEPT:
            return self._books.arrow(table, limit)
        with border(f"read headrace.{table}"):
            return _iceberg_lookups.latest_rows(
                self._engine, self._seen.one(TableName(HOUSEKEEPING, table)), table, limit
            )

    def column_values(self, table: TableName, column: str) -> Iterator[Any]:
        with border(f"read {table.schema}.{table.table}.{column}"):
            for block in _iceberg_lookups.column_values(self._engine, self._tables.one(table), column):
                self._books.renew()
                yield block

    def retype(self, retyping: Retyping) -> None:
        with self._writing:
            self._books.renew()
            _iceberg_change.retype(self._tables, self._engine, self._books, retyping)

    def replace(self, old: TableName, new: TableName) -> int:
        with self._writing:
            self._books.renew()
            return _iceberg_change.replace(self._tables, self._engine, old, new)

    def recompute(self, upsert: Upsert) -> None:
        with self._writing:
            self._books.renew()
            _iceberg_change.recompute(self._tables, self._engine, upsert)

    def drop(self, table: TableName) -> None:
        with self._writing:
            self._books.renew()
            _iceberg_change.drop(self._tables, table)

    def close(self) -> None:
        """Another loader may begin at once. Safe to call twice."""
        with suppress(WarehouseUnavailableError):  # then the lease runs out by itself
            self._books.release()
        self._engine.close()
        self._catalog.close()


def check_url(kind: IcebergKind) -> None:
    """Raises ConfigError for a catalogue's URL that is none or whose driver is not installed."""
    try:
        sa.make_url(kind.catalogue_url).get_dialect().import_dbapi()
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigError(
            f"lake: the catalogue's URL cannot be used: {error}; correct `catalogue`, or install its driver"
        ) from error
