"""DuckDB, the embedded warehouse: one file, one transaction a load, and every query in the process that holds it open."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import duckdb

from headrace.config import WarehouseConfig
from headrace.errors import WarehouseUnavailableError
from headrace.warehouses import (
    _duckdb_change,
    _duckdb_copies,
    _duckdb_derive,
    _duckdb_load,
    _duckdb_lookups,
    _duckdb_query,
)
from headrace.warehouses._duckdb_file import DatabaseFile
from headrace.warehouses._reading import Reading, Stop
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Account,
    Books,
    Columns,
    Derivation,
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

logger = logging.getLogger(__name__)

T = TypeVar("T")

QUIET_BYTES: Final = 65_536
"""A journal below this is not worth a checkpoint at a quiet time."""


class DuckDB:
    """The port is `warehouses.base.Warehouse`. Raises FolderInUseError when the file is open elsewhere, ConfigError when it
    cannot be read. After an error that ends the engine the next call opens the file again by itself."""

    guarantee: Guarantee = "transactional"
    engine = "duckdb"

    def __init__(self, path: Path, config: WarehouseConfig) -> None:
        self._file = DatabaseFile(path, config)
        self._writing = threading.Lock()
        self._unclear: tuple[str, int, str, int, int] | None = None
        try:
            self._create_housekeeping()
        except BaseException:
            self._file.close()
            raise

    def _create_housekeeping(self) -> None:
        wanted = {TableName(HOUSEKEEPING, table): columns for table, columns in HOUSEKEEPING_TABLES.items()}
        with self._file.cursor() as cursor:
            there = _duckdb_lookups.tables(cursor)
            create = {name: columns for name, columns in wanted.items() if name not in there}
            add = {
                name: {column: type_ for column, type_ in columns.items() if column not in there[name]}
                for name, columns in wanted.items()
                if name in there
            }
            with _rolled_back_on_error(cursor):
                cursor.execute("BEGIN TRANSACTION")
                _duckdb_load.create(cursor, create, add, {})
                cursor.execute("COMMIT")

    def position(self, consumer: str, partition: int) -> Position | None:
        with self._file.cursor() as cursor:
            return _duckdb_load.position(cursor, consumer, partition)

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:  # noqa: ARG002 - the port's signature
        return None

    def tables(self) -> Mapping[TableName, Columns]:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.tables(cursor)

    def named_columns(self) -> Sequence[NamedColumn]:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.named_columns(cursor)

    def books(self) -> Mapping[Hour, Books]:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.books(cursor)

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        with self._file.cursor() as cursor:
            yield from _duckdb_lookups.ids_since(cursor, schema, since)

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.existing_ids(cursor, schema, ids, spans)

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.rejected_ids(cursor, source, ids)

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.integers_within(cursor, table, column, bound)

    def commit(self, load: Load) -> None:
        if load.end <= load.start:
            raise ValueError(
                f"load: it ends at {load.end}, not after its start {load.start}; every load moves the position"
            )
        with self._writing:
            if self._unclear == _range(load) and self._is_in(load):
                self._unclear = None
                return
            self._unclear = None
            committing = False
            try:
                with self._file.cursor() as cursor, _rolled_back_on_error(cursor):
                    cursor.execute("BEGIN TRANSACTION")
                    self._write(cursor, load)
                    committing = True
                    cursor.execute("COMMIT")
            except (WarehouseUnavailableError, ValueError) as error:
                if committing:
                    self._unclear = _range(load)
                self._decide(load, committing, error)

    def _write(self, cursor: duckdb.DuckDBPyConnection, load: Load) -> None:
        _duckdb_load.create(cursor, load.create, load.add, load.widen)
        _duckdb_load.move(cursor, load)
        _duckdb_load.write(cursor, load)

    def _is_in(self, load: Load) -> bool:
        return self.position(load.consumer, load.partition) == Position(load.incarnation, load.end)

    def _decide(self, load: Load, committing: bool, error: Exception) -> None:  # noqa: FBT001 -- a fact, private
        """What a failed load means. After an error of COMMIT only the position tells whether the load is in; when it
        cannot be read now, `_unclear` remembers to ask it before the same load is tried again."""
        stored = self.position(load.consumer, load.partition)
        self._unclear = None
        if committing and stored == Position(load.incarnation, load.end):
            logger.warning(
                "load %s to %s: COMMIT failed (%s), yet the position shows it is in", load.start, load.end, error
            )
            return
        if stored is not None and stored != Position(load.incarnation, load.start):
            raise _duckdb_load.moved(load, stored) from error
        if committing:
            raise WarehouseUnavailableError(f"load: COMMIT failed, nothing is stored: {error}") from error
        raise error

    def checkpoint(self, *, force: bool = False) -> bool:
        waiting = self.journal_bytes()
        if waiting == 0 or (waiting < QUIET_BYTES and not force):
            return False
        with self._writing, self._file.cursor() as cursor:
            cursor.execute("CHECKPOINT")
        return True

    def journal_bytes(self) -> int:
        return self._file.journal_bytes()

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        return self._asked(lambda cursor: _duckdb_query.answer(cursor, sql, max_rows, timeout_seconds))

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        return self._asked(lambda cursor: _duckdb_query.arrow(cursor, sql, max_rows, timeout_seconds))

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        return self._asked(_duckdb_lookups.stored_tables)

    def newest(self, table: TableName, limit: int, timeout_seconds: float) -> QueryResult:
        def ask(cursor: duckdb.DuckDBPyConnection) -> QueryResult:
            sql = _duckdb_lookups.newest(table, _duckdb_lookups.tables(cursor).get(table, {}), limit)
            return _duckdb_query.answer(cursor, sql, limit, timeout_seconds)

        return self._asked(ask)

    @contextmanager
    def reading(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
        with self._file.cursor() as cursor, _duckdb_query.reading(cursor, sql, timeout_seconds, stop) as reading:
            yield reading

    def plan(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Sequence[str]:
        return self._asked(lambda cursor: _duckdb_query.plan(cursor, sql, timeout_seconds, stop))

    def account(self, schemas: Sequence[str]) -> Account:
        return self._asked(lambda cursor: _duckdb_lookups.account(cursor, schemas))

    def latest_rows(self, table: str, limit: int) -> Any:
        with self._file.cursor() as cursor:
            return _duckdb_lookups.latest_rows(cursor, table, limit)

    def column_values(self, table: TableName, column: str) -> Iterator[Any]:
        with self._file.cursor() as cursor:
            yield from _duckdb_change.column_values(cursor, table, column)

    def retype(self, retyping: Retyping) -> None:
        self._change(lambda cursor: _duckdb_change.retype(cursor, retyping))

    def replace(self, old: TableName, new: TableName) -> int:
        return self._change(lambda cursor: _duckdb_change.replace(cursor, old, new))

    def recompute(self, upsert: Upsert) -> None:
        self._change(lambda cursor: _duckdb_change.recompute(cursor, upsert))

    def drop(self, table: TableName) -> None:
        self._change(lambda cursor: _duckdb_change.drop(cursor, table))

    def derive(self, work: Callable[[Derivation], T]) -> T:
        def derived(cursor: duckdb.DuckDBPyConnection) -> T:
            return work(_duckdb_derive.DuckDBDerivation(cursor))

        return self._change(derived)

    def _asked(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Once more when the engine ended meanwhile, which a load or a checkpoint may do to everybody."""
        try:
            with self._file.cursor() as cursor:
                return ask(cursor)
        except WarehouseUnavailableError:
            if not self._file.is_broken:
                raise
        with self._file.cursor() as cursor:
            return ask(cursor)

    def _change(self, change: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """One transaction; after any error nothing of it is there, save after an unclear COMMIT, which `tables` tells."""
        with self._writing, self._file.cursor() as cursor, _rolled_back_on_error(cursor):
            cursor.execute("BEGIN TRANSACTION")
            result = change(cursor)
            cursor.execute("COMMIT")
            return result

    def snapshot(self, to: Path) -> int:
        with self._writing:
            with self._file.cursor() as cursor:
                cursor.execute("CHECKPOINT")
            return _duckdb_copies.copy(self._file.path, to)

    def export(self, name: TableName, to: Path, on_rows: Callable[[int], None]) -> int:
        with self._file.cursor() as cursor:
            schema, batches = _duckdb_copies.blocks(cursor, name)
            return _duckdb_copies.write_parquet(schema, batches, to, on_rows)

    def close(self) -> None:
        self._file.close()


def _range(load: Load) -> tuple[str, int, str, int, int]:
    return load.consumer, load.partition, load.incarnation, load.start, load.end


@contextmanager
def _rolled_back_on_error(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """DuckDB's COMMIT after a caught error says nothing and stores nothing, so every error ends in ROLLBACK."""
    try:
        yield
    except BaseException:
        # The transaction may be over already, and the first error is the one that matters.
        with suppress(Exception):
            cursor.execute("ROLLBACK")
        raise
