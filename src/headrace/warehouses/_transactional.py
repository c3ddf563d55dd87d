"""The whole port over a session: for engines that put a load's tables, rows and position into one transaction.

A load is: DDL, the compare-and-set of the position, rows, latest state, books, COMMIT. What fails before COMMIT is rolled back; after
an unclear COMMIT only the position tells. The loader has a session of its own; what other threads ask runs on others,
so that a query never waits for a load nor a load for a query.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import PositionError, WarehouseUnavailableError, WideningRefusedError
from headrace.warehouses import _session, _statements
from headrace.warehouses._dialect import COLUMN_TYPES, KEY, Dialect, Relation, Wanted
from headrace.warehouses._session import HeldError, Session
from headrace.warehouses._sessions import Sessions
from headrace.warehouses.base import (
    HISTORY_TABLES,
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Account,
    Books,
    Columns,
    ColumnType,
    Guarantee,
    Hour,
    Load,
    NamedColumn,
    Position,
    QueryResult,
    Retyping,
    TableName,
    Unfinished,
    Upsert,
)

logger = logging.getLogger(__name__)

BLOCK_ROWS: Final = 100_000
_NARROWER: Final = (ColumnType.FLOAT, ColumnType.INTEGER)
"""A column of a table and of the one that replaces it."""
_ID: Final[Columns] = {"id": ColumnType.STRING}


class TransactionalWarehouse:
    """The port is `warehouses.base.Warehouse`. `connect` opens a session; it is called again when one is broken."""

    guarantee: Guarantee = "transactional"

    def __init__(self, dialect: Dialect, connect: Callable[[], Session]) -> None:
        self._dialect = dialect
        self._sessions = Sessions(connect)
        self._columns: dict[TableName, Columns] | None = None
        """What the warehouse has, as far as this loader knows; None after anything that failed."""
        self._unclear: tuple[str, int, str, int, int] | None = None
        try:
            self._create_housekeeping()
        except BaseException:
            self._sessions.close()
            raise

    def _create_housekeeping(self) -> None:
        with self._sessions.loading() as session:
            there = self._known(session)
            wanted = {TableName(HOUSEKEEPING, table): columns for table, columns in HOUSEKEEPING_TABLES.items()}
            create = {name: columns for name, columns in wanted.items() if name not in there}
            add = {name: _missing(columns, there[name]) for name, columns in wanted.items() if name in there}
            if create or any(add.values()):
                self._columns = None
                with self._transaction(session, create, add):
                    pass

    # Look-ups.

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
            by_name: dict[TableName, Columns] = {}
            types = self._dialect.stored_types
            for schema, table, column, type_ in _rows(session.fetch(self._dialect.tables())):
                stored = types.get(type_.lower(), ColumnType.STRING)
                by_name.setdefault(TableName(schema, table), {})[column] = stored
            self._columns = by_name
        return self._columns

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

    # A load.

    def commit(self, load: Load) -> None:
        if load.end <= load.start:
            raise ValueError(
                f"load: it ends at {load.end}, not after its start {load.start}; every load moves the position"
            )
        with self._sessions.loading() as session:
            is_again = self._unclear == _range(load)
            if is_again and self._is_in(session, load):
                self._unclear = None
                return
            committing = False
            try:
                known = self._after(load, session)
                with self._transaction(session, load.create, load.add, load.widen):
                    self._write(session, load, known)
                    committing = True
                self._columns, self._unclear = known, None
            except Exception as error:  # noqa: BLE001 -- it is raised again, or is what the position says
                if committing:
                    self._unclear = _range(load)
                self._decide(load, committing or is_again, error)

    def _is_in(self, session: Session, load: Load) -> bool:
        return self._position(session, load.consumer, load.partition) == Position(load.incarnation, load.end)

    def _after(self, load: Load, session: Session) -> dict[TableName, Columns]:
        """The tables as they are once the load is in."""
        known = dict(self._known(session))
        known.update({name: dict(columns) for name, columns in load.create.items()})
        for name, columns in load.add.items():
            known[name] = {**known.get(name, {}), **columns}
        for name, widened in load.widen.items():
            known[name] = {**known.get(name, {}), **dict.fromkeys(widened, ColumnType.FLOAT)}
        return known

    def _write(self, session: Session, load: Load, known: Mapping[TableName, Columns]) -> None:
        self._move(session, load)
        rows_by_name = {name: rows for name, rows in load.rows.items() if rows.num_rows}
        relations = {name: self._relation(session, rows, known.get(name, {})) for name, rows in rows_by_name.items()}
        statements = [_statements.insert(self._dialect, name, rows) for name, rows in relations.items()]
        for upsert in load.upserts:
            loaded_at = _last_loaded(rows_by_name.get(upsert.history), upsert.key)
            if loaded_at is not None:
                rows = relations[upsert.history]
                late = self._late(session, upsert, rows)
                statements += _statements.upsert(self._dialect, upsert, rows, late, loaded_at)
        statements += _statements.add_books(self._dialect, load.books)
        statements += _statements.touch(self._dialect, load, load.started or datetime.now(UTC))
        if statements:
            session.run(statements)

    def _move(self, session: Session, load: Load) -> None:
        """Compare and set: what makes a repeated load, or another loader's, fail. Raises PositionError."""
        locks = self._dialect.lock_position()
        if locks:
            session.run(locks)
        if session.change(_statements.move(self._dialect, load)) == 1:
            return
        stored = self._position(session, load.consumer, load.partition)
        if stored is not None:
            raise _moved(load, stored)
        session.run([_statements.first_position(self._dialect, load)])

    def _late(self, session: Session, upsert: Upsert, rows: Relation) -> Relation | None:
        found = session.fetch(_statements.late_keys(self._dialect, upsert, rows))
        if not found.num_rows:
            return None
        return self._relation(session, found.rename_columns([KEY]), {KEY: ColumnType.STRING})

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

    def _decide(self, load: Load, unclear: bool, error: Exception) -> None:  # noqa: FBT001 -- a fact, private
        """What a failed load means. After an error of COMMIT only the position tells whether the load is in; while it cannot be
        read, `_unclear` remembers to ask it before the same load is tried again. It also remembers when the position says no:
        a server that lost the connection may be finishing that COMMIT still."""
        self._columns = None
        stored = self.position(load.consumer, load.partition)
        if unclear and stored == Position(load.incarnation, load.end):
            self._unclear = None
            logger.warning(
                "load %s to %s: COMMIT failed (%s), yet the position shows it is in", load.start, load.end, error
            )
            return
        if stored is not None and stored != Position(load.incarnation, load.start):
            raise _moved(load, stored) from error
        raise error

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

    # Changing what is stored.

    def retype(self, retyping: Retyping) -> None:
        name, column, type_, latest = retyping.table, retyping.column, retyping.type, retyping.latest
        value = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": type_}
        with self._sessions.loading() as session:
            self._columns = None
            with self._transaction(session):
                # All values first: whoever gives them may be reading this very column.
                staged = [self._relation(session, block, value) for block in retyping.values if block.num_rows]
                self._alter(session, name, column, self._dialect.empty_as(name, column, type_))
                statements = [s for rows in staged for s in _statements.set_values(self._dialect, name, column, rows)]
                statements.append(_statements.forget_discards(self._dialect, name, column))
                if retyping.discards.num_rows:
                    columns = HOUSEKEEPING_TABLES[_statements.DISCARDS.table]
                    rows = self._relation(session, retyping.discards, columns)
                    statements.append(_statements.insert(self._dialect, _statements.DISCARDS, rows))
                statements.append(_statements.learn_type(self._dialect, name, column, type_))
                session.run(statements)
                if latest is not None:
                    self._alter(session, latest.table, column, self._dialect.empty_as(latest.table, column, type_))
                    session.run(_statements.latest_column(self._dialect, latest, column))

    def replace(self, old: TableName, new: TableName) -> int:
        with self._sessions.loading() as session:
            self._columns = None
            known = self._known(session)
            before, after = known.get(old), dict(known[new])
            self._columns = None
            if before is None:
                with self._transaction(session):
                    self._change(session, new, self._dialect.put_in_place(old, new, is_there=False))
                return 0
            after = {**before, **after}
            widen = [column for column, type_ in after.items() if (before.get(column), type_) == _NARROWER]
            after.update(dict.fromkeys(widen, ColumnType.FLOAT))
            only_old = _missing(before, known[new])
            with self._transaction(session, add={new: only_old}, widen={new: widen}):
                added = session.change(_statements.add_missing(self._dialect, old, new, before, after))
                self._change(session, old, self._dialect.put_in_place(old, new, is_there=True))
            return added

    def recompute(self, upsert: Upsert) -> None:
        with self._sessions.loading() as session, self._transaction(session):
            session.run(_statements.recompute(self._dialect, upsert))

    def drop(self, table: TableName) -> None:
        with self._sessions.loading() as session:
            self._columns = None
            with self._transaction(session):
                self._change(session, table, [f"DROP TABLE IF EXISTS {self._dialect.qualified(table)}"])

    # What anybody may ask.

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        began = time.monotonic()
        with self._sessions.asking() as session, session.answer(sql, timeout_seconds) as answer:
            return _session.result(answer, max_rows, lambda: round(time.monotonic() - began, 6))

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        with self._sessions.asking() as session, session.answer(sql, timeout_seconds) as answer:
            return _session.table(answer, max_rows)

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


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _missing(wanted: Columns, there: Columns) -> Columns:
    return {column: type_ for column, type_ in wanted.items() if column not in there}


def _range(load: Load) -> tuple[str, int, str, int, int]:
    return load.consumer, load.partition, load.incarnation, load.start, load.end


def _moved(load: Load, stored: Position) -> PositionError:
    return PositionError(
        f"load: consumer {load.consumer}, partition {load.partition} begins at {load.start} of log {load.incarnation}, "
        f"the warehouse's position is {stored.next} of log {stored.incarnation}; read the position again"
    )


def _last_loaded(rows: pa.Table | None, key: str) -> datetime | None:
    """The greatest loaded_at of the rows that have a key; None when none has one."""
    if rows is None:
        return None
    last: datetime | None = pc.max(rows.filter(pc.is_valid(rows.column(key))).column("loaded_at")).as_py()
    return last


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
