"""What a transactional warehouse has: the sessions, the look-ups, and what anybody may ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import WarehouseUnavailableError, WideningRefusedError
from headrace.warehouses import _session, _statements
from headrace.warehouses._dialect import COLUMN_TYPES, Dialect, Relation, Wanted
from headrace.warehouses._reading import Reading, Stop
from headrace.warehouses._session import HeldError, Session
from headrace.warehouses._sessions import Sessions
from headrace.warehouses.base import (
    HISTORY_TABLES,
    Account,
    Books,
    Columns,
    ColumnType,
    Guarantee,
    Hour,
    NamedColumn,
    Position,
    QueryResult,
    StoredTable,
    TableName,
    Unfinished,
)

BLOCK_ROWS: Final = 100_000
COUNTED_BYTES: Final = 8_000_000
"""Rows of tables up to this size are counted where the engine itself only estimates them."""
_ID: Final[Columns] = {"id": ColumnType.STRING}


class Lookups:
    """The part of the port `warehouses.base.Warehouse` that changes nothing, and the steps that those share which do."""

    guarantee: Guarantee = "transactional"

    def __init__(self, dialect: Dialect, connect: Callable[[], Session]) -> None:
        self._dialect = dialect
        self._sessions = Sessions(connect)
        self._columns: dict[TableName, Columns] | None = None
        """What the warehouse has, as far as this loader knows; None after anything that failed."""

    def position(self, consumer: str, partition: int) -> Position | None:
        with self._sessions.loading() as session:
            return self._position(session, consumer, partition)

    def _position(self, session: Session, consumer: str, partition: int) -> Position | None:
        found = _rows(session.fetch(_statements.position(self._dialect, consumer, partition)))
        return Position(str(found[0][0]), int(found[0][1])) if found else None

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:  # noqa: ARG002 - the port's signature
        return None

    def tables(self) -> Mapping[TableName, Columns]:
        with self._sessions.loading() as session:
            self._columns = None
            return {name: dict(columns) for name, columns in self._known(session).items()}

    def _known(self, session: Session) -> dict[TableName, Columns]:
        if self._columns is None:
            self._columns = self._read_columns(session)
        return self._columns

    def _read_columns(self, session: Session) -> dict[TableName, Columns]:
        by_name: dict[TableName, Columns] = {}
        types = self._dialect.stored_types
        for schema, table, column, type_ in _rows(session.fetch(self._dialect.tables())):
            stored = types.get(type_.lower(), ColumnType.STRING)
            by_name.setdefault(TableName(schema, table), {})[column] = stored
        return by_name

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        with self._sessions.asking() as session:
            found = self._read_columns(session)
            asked = self._dialect.sizes(found)
            sizes = _rows(session.fetch(asked)) if asked else []
            size_by_name = {TableName(row[0], row[1]): row[2:] for row in sizes}
            rows_by_name = self._counted(session, size_by_name)
        return {
            name: StoredTable(
                columns,
                rows=rows_by_name.get(name, rows),
                is_exact=self._dialect.counts_rows or name in rows_by_name,
                size_bytes=size_bytes,
            )
            for name, columns in found.items()
            for rows, size_bytes in (size_by_name.get(name, (None, None)),)
        }

    def _counted(self, session: Session, sizes: Mapping[TableName, Sequence[Any]]) -> dict[TableName, int]:
        """The rows of small tables, where the engine only estimates them."""
        small = [name for name, (_, size_bytes) in sizes.items() if size_bytes < COUNTED_BYTES]
        if self._dialect.counts_rows or not small:
            return {}
        found = _rows(session.fetch(_statements.counts(self._dialect, small)))
        return {TableName(schema, table): int(rows) for schema, table, rows in found}

    def newest(self, table: TableName, limit: int, timeout_seconds: float) -> QueryResult:
        with self._sessions.asking() as session:
            columns = self._read_columns(session).get(table, {})
        return self.query(
            _statements.newest(self._dialect, table, columns, limit), max_rows=limit, timeout_seconds=timeout_seconds
        )

    def named_columns(self) -> Sequence[NamedColumn]:
        with self._sessions.loading() as session:
            return [NamedColumn(*row) for row in _rows(session.fetch(_statements.named_columns(self._dialect)))]

    def books(self) -> Mapping[Hour, Books]:
        with self._sessions.asking() as session:
            found = _rows(session.fetch(_statements.books(self._dialect)))
        return {Hour(source, hour): Books(*counts) for source, hour, *counts in found}

    def _history(self, session: Session, schema: str) -> list[TableName]:
        """The tables in which an event's one row is, where they exist."""
        known = self._known(session)
        names = [TableName(schema, table) for table in HISTORY_TABLES]
        return [name for name in names if {"id", "received_at"} <= known.get(name, {}).keys()]

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        with self._sessions.asking() as session:
            for name in self._history(session, schema):
                for batch in session.blocks(_statements.ids_since(self._dialect, name, since), BLOCK_ROWS):
                    if batch.num_rows:
                        bounds = pc.min_max(batch.column(1)).as_py()
                        yield bounds["min"], bounds["max"], batch.column(0).to_pylist()

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        if not ids or not spans:
            return set()
        with self._sessions.loading() as session:
            names = self._history(session, schema)
            if not names:
                return set()
            with self._wanted(session, ids) as wanted:
                found = session.fetch(_statements.existing_ids(self._dialect, names, wanted, spans))
        return set(found.column(0).to_pylist())

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        with self._sessions.loading() as session, self._wanted(session, ids) as wanted:
            found = session.fetch(_statements.rejected_ids(self._dialect, source, wanted))
        return set(found.column(0).to_pylist())

    @contextmanager
    def _wanted(self, session: Session, ids: Sequence[str]) -> Iterator[Wanted]:
        """The ids as they are looked for; many of them are staged, which takes a transaction."""
        if len(ids) <= self._dialect.few_ids:
            yield ids
            return
        wanted = pa.table({"id": pa.array(ids, pa.string())})
        if len(ids) <= self._dialect.inline_cells:
            yield self._dialect.written(_ID, wanted)
        else:
            with self._transaction(session):
                yield self._relation(session, wanted, _ID)

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        with self._sessions.loading() as session:
            found = _rows(session.fetch(_statements.integers_within(self._dialect, table, column)))
        return all(value is None or -bound <= value <= bound for value in found[0])

    def column_values(self, table: TableName, column: str) -> Iterator[Any]:
        with self._sessions.asking() as session:
            for batch in session.blocks(_statements.column_values(self._dialect, table, column), BLOCK_ROWS):
                yield pa.Table.from_batches([batch])

    # What anybody may ask.

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        began = time.monotonic()
        with self._sessions.asking() as session, session.answer(sql, timeout_seconds) as answer:
            return _session.result(answer, max_rows, lambda: round(time.monotonic() - began, 6))

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        with self._sessions.asking() as session, session.answer(sql, timeout_seconds) as answer:
            return _session.table(answer, max_rows)

    @contextmanager
    def reading(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
        with self._stoppable(stop) as session, session.answer(sql, timeout_seconds) as answer:
            yield _session.reading(answer)

    def plan(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Sequence[str]:
        with self._stoppable(stop) as session:
            return session.plan(sql, timeout_seconds)

    @contextmanager
    def _stoppable(self, stop: Stop) -> Iterator[Session]:
        with self._sessions.asking() as session:
            try:
                with stop.by(session.cancel):
                    yield session
            finally:
                # A cancellation may reach the server late and hit another statement: the session is not used again.
                session.is_broken = session.is_broken or stop.is_wanted

    def account(self, schemas: Sequence[str]) -> Account:
        with self._sessions.asking() as session:
            there = {TableName(*row[:2]) for row in _rows(session.fetch(self._dialect.tables()))}
            history = {
                schema: [name for table in HISTORY_TABLES if (name := TableName(schema, table)) in there]
                for schema in schemas
            }
            found = _rows(session.fetch(_statements.account(self._dialect, history)))
        return _account(found)

    def latest_rows(self, table: str, limit: int) -> Any:
        with self._sessions.asking() as session:
            return session.fetch(_statements.latest_rows(self._dialect, table, limit))

    # What the engine does by itself.

    def checkpoint(self, *, force: bool = False) -> bool:  # noqa: ARG002 - the port's signature
        return False

    def journal_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self._sessions.close()

    # Steps within a transaction.

    def _relation(self, session: Session, rows: pa.Table, known: Columns) -> Relation:
        """The rows with the types of the table's columns (only the table tells JSON from text): written into statements when
        they are few, else staged."""
        columns = {field.name: known.get(field.name, COLUMN_TYPES.get(field.type)) for field in rows.schema}
        unknown = [field for field in rows.schema if columns[field.name] is None]
        if unknown:
            raise ValueError(
                f"load: the column {unknown[0].name} has the Arrow type {unknown[0].type}, which no column has"
            )
        typed = {column: type_ for column, type_ in columns.items() if type_ is not None}
        stored = [self._dialect.storable(rows.column(column), type_) for column, type_ in typed.items()]
        rows = pa.table(stored, names=list(typed))
        if rows.num_rows * rows.num_columns <= self._dialect.inline_cells:
            return self._dialect.written(typed, rows)
        return self._dialect.typed(session.stage(rows), typed)

    @contextmanager
    def _transaction(
        self,
        session: Session,
        create: Mapping[TableName, Columns] | None = None,
        add: Mapping[TableName, Columns] | None = None,
        widen: Mapping[TableName, Sequence[str]] | None = None,
    ) -> Iterator[None]:
        """Begin, DDL (before, where the engine does not take it within), the body, COMMIT. Every error ends in ROLLBACK."""
        within = self._dialect.ddl_in_transaction
        try:
            if within:
                session.begin()
            if create:
                self._change(session, None, _statements.create(self._dialect, create, {}))
            for name, columns in (add or {}).items():
                self._change(session, name, _statements.create(self._dialect, {}, {name: columns}))
            for name, names in (widen or {}).items():
                for column in names:
                    self._alter(session, name, column, self._dialect.widen(name, column))
            if not within:
                session.begin()
            yield
            session.commit()
        except HeldError as error:
            session.rollback()
            raise WarehouseUnavailableError(f"warehouse: {session.holder(None, error)}") from error
        except BaseException:
            session.rollback()
            raise

    def _change(self, session: Session, name: TableName | None, statements: Sequence[str]) -> None:
        try:
            if statements:
                session.run(statements)
        except HeldError as error:
            session.rollback()
            raise WarehouseUnavailableError(f"warehouse: {session.holder(name, error)}") from error

    def _alter(self, session: Session, name: TableName, column: str, statements: Sequence[str]) -> None:
        try:
            session.run(statements)
        except HeldError as error:
            session.rollback()
            raise WideningRefusedError(name.schema, name.table, column, session.holder(name, error)) from error


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _account(found: Sequence[tuple[Any, ...]]) -> Account:
    """From the rows of `_statements.account`."""
    books: dict[Hour, Books] = {}
    positions: dict[tuple[str, int], Position] = {}
    discards = 0
    last_received: dict[str, datetime] = {}
    for what, name, incarnation, when, *counts in found:
        if what == "books":
            books[Hour(name, when)] = Books(*counts)
        elif what == "position":
            positions[name, counts[0]] = Position(incarnation, counts[1])
        elif what == "discards":
            discards = counts[0]
        elif when is not None:
            last_received[name] = max(when, last_received.get(name, when))
    return Account(books, positions, discards, last_received)
