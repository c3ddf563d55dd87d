"""The port for engines whose DDL ends a transaction or is refused in one: Snowflake and BigQuery.

The order of a load there, and why it keeps the port's promise:

1. What can be known to be wrong is found before anything is touched: columns that no table has, texts that are no JSON, and for a load
   that changes tables a stored position that is not its start.
2. DDL, each statement in words that may be repeated (IF NOT EXISTS) and harmless alone: a new table is empty, a new column is null. Left
   behind by a load that then fails, it is what the same load needs when it is made again.
3. The *turn* is read: a number in `headrace.turn` that every transaction of every loader raises. Then everything the load asks of the
   warehouse (position, keys with late rows) is asked, and its rows are staged, outside of any transaction: staging makes tables.
4. The transaction: raise the turn if it is still what was read; the position; rows; latest state; books; COMMIT. It is collected
   and sent as a whole, so that it is short and no lock waits for a client that was killed.

The turn makes 3 a part of 4: were anything committed in between, the turn would be another one and the load ends without a trace, to be
tried again (WarehouseUnavailableError), or, if the position moved, with PositionError. Raising it is the transaction's first statement:
it takes Snowflake's lock of that table, and is what BigQuery cancels one of two such transactions for, so that two loaders are never
in 4 at once, not even for a position that has no row yet, which an UPDATE of the position alone would not notice.
"""
# ruff: noqa: S608 -- identifiers go through Dialect.quoted

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, cast

import msgspec
import pyarrow as pa

from headrace.errors import PositionError, WideningRefusedError
from headrace.warehouses import _deferred_columns, _statements
from headrace.warehouses._deferred_columns import is_leftover
from headrace.warehouses._deferred_session import TURN, TURN_COLUMNS, DeferredDialect, DeferredSession
from headrace.warehouses._dialect import Relation
from headrace.warehouses._session import HeldError, Session
from headrace.warehouses._transactional import TransactionalWarehouse
from headrace.warehouses.base import (
    HOUSEKEEPING_TABLES,
    Columns,
    ColumnType,
    Load,
    Position,
    Retyping,
    StoredTable,
    TableName,
)

INLINE_BYTES: Final = 16_000
"""A table of a load with more than this is staged, however few its values are."""
HOUSEKEEPING_CHANGED: Final = frozenset((_statements.OFFSETS, _statements.BOOKS, _statements.COLUMNS, TURN))
_NOT_ITS_START: Final = "load: the stored position is not its start"  # TransactionalWarehouse._decide says which it is


class DeferredWarehouse(TransactionalWarehouse):
    _dialect: DeferredDialect

    def __init__(self, dialect: DeferredDialect, connect: Callable[[], DeferredSession]) -> None:
        super().__init__(dialect, cast("Callable[[], Session]", connect))

    def _create_housekeeping(self) -> None:
        with self._sessions.loading() as session:
            if TURN not in self._known(session):
                self._columns = None
                table = self._dialect.qualified(TURN)
                session.run(
                    [
                        self._dialect.create_schema(TURN.schema),
                        *self._dialect.create_table(TURN, TURN_COLUMNS, ()),
                        # Two who open at once may both insert: only the greatest number counts.
                        f"INSERT INTO {table} SELECT 0 FROM (SELECT count(*) AS n FROM {table}) AS t WHERE n = 0",
                    ]
                )
        super()._create_housekeeping()
        with self._sessions.loading() as session:
            self._finish(session)

    def _finish(self, session: Session) -> None:
        every = self._every_column(session)
        if any(is_leftover(column) for columns in every.values() for column in columns):
            types = {(*named[:2], named.column): named.type for named in self.named_columns()}
            _deferred_columns.finish(_deferred(session), every, types)
            self._columns = None

    def _known(self, session: Session) -> dict[TableName, Columns]:
        if self._columns is None:
            self._columns = {
                name: {column: type_ for column, type_ in columns.items() if not is_leftover(column)}
                for name, columns in self._every_column(session).items()
            }
        return self._columns

    def _every_column(self, session: Session) -> dict[TableName, Columns]:
        """With what an unfinished change of type left."""
        self._columns = None
        every = super()._known(session)
        self._columns = None
        return every

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        return {
            name: table._replace(columns={c: type_ for c, type_ in table.columns.items() if not is_leftover(c)})
            for name, table in super().stored_tables().items()
        }

    # A load.

    def _after(self, load: Load, session: Session) -> dict[TableName, Columns]:
        known = super()._after(load, session)
        check(load, known, self._dialect.transaction_tables)
        if load.create or load.add or load.widen:
            stored = self._position(session, load.consumer, load.partition)
            if stored not in (None, Position(load.incarnation, load.start)):
                raise PositionError(_NOT_ITS_START)
        return known

    @contextmanager
    def _transaction(
        self,
        session: Session,
        create: Mapping[TableName, Columns] | None = None,
        add: Mapping[TableName, Columns] | None = None,
        widen: Mapping[TableName, Sequence[str]] | None = None,
    ) -> Iterator[None]:
        for name, columns in (widen or {}).items():
            for column in columns:
                self._widen(session, name, column)
        with super()._transaction(session, create, add):
            yield

    def _move(self, session: Session, load: Load) -> None:
        """What is read here holds until COMMIT, or the turn is another one."""
        stored = self._position(session, load.consumer, load.partition)
        if stored is None:
            session.run([_statements.first_position(self._dialect, load)])
        elif stored == Position(load.incarnation, load.start):
            session.run([_statements.move(self._dialect, load)])
        else:
            raise PositionError(_NOT_ITS_START)

    def _relation(self, session: Session, rows: pa.Table, known: Columns) -> Relation:
        if rows.nbytes <= INLINE_BYTES and _deferred(session).has_room(rows.nbytes):
            return super()._relation(session, rows, known)
        typed = {name: known.get(name, ColumnType.STRING) for name in rows.column_names}
        return self._dialect.typed(session.stage(rows), typed)

    # Changing what is stored.

    def _widen(self, session: Session, name: TableName, column: str) -> None:
        if self._dialect.widens_in_place:
            self._alter(session, name, column, self._dialect.widen(name, column))
            return
        try:
            _deferred_columns.widen(_deferred(session), name, column, self._every_column(session)[name])
        except HeldError as error:
            session.rollback()
            raise WideningRefusedError(name.schema, name.table, column, session.holder(name, error)) from error

    def retype(self, retyping: Retyping) -> None:
        """May be repeated after a crash at any step: what the loader reads again is the column with its old values until
        the transaction, and with its new ones after it."""
        name, column, type_, latest = retyping.table, retyping.column, retyping.type, retyping.latest
        value = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": type_}
        with self._sessions.loading() as session:
            self._columns = None
            new = _deferred_columns.beside(_deferred(session), name, column, type_)
            with self._transaction(session):
                for block in retyping.values:
                    if block.num_rows:
                        rows = self._relation(session, block, value)
                        session.run(_statements.set_values(self._dialect, name, new, rows))
                session.run([_statements.forget_discards(self._dialect, name, column)])
                if retyping.discards.num_rows:
                    rows = self._relation(session, retyping.discards, HOUSEKEEPING_TABLES[_statements.DISCARDS.table])
                    session.run([_statements.insert(self._dialect, _statements.DISCARDS, rows)])
                session.run([_statements.learn_type(self._dialect, name, column, type_)])
            _deferred_columns.take_place(_deferred(session), name, column, new)
            if latest is not None:
                new = _deferred_columns.beside(_deferred(session), latest.table, column, type_)
                _deferred_columns.take_place(_deferred(session), latest.table, column, new)
                with self._transaction(session):
                    session.run(_statements.latest_column(self._dialect, latest, column))

    def replace(self, old: TableName, new: TableName) -> int:
        """The rows that only `old` has are added in a transaction; the exchange is DDL, and what another loader stores in `old` in
        between is lost: a rebuild is for one loader alone."""
        with self._sessions.loading() as session:
            self._columns = None
            known = self._known(session)
            before, after = known.get(old), known[new]
            self._columns = None
            added = 0
            if before is not None:
                only_old = {column: type_ for column, type_ in before.items() if column not in after}
                with self._transaction(session, add={new: only_old}):
                    pass
                added = session.change(self._add_missing(old, new, before, after))
            self._change(session, old, self._dialect.put_in_place(old, new, is_there=before is not None))
            return added

    def _add_missing(self, old: TableName, new: TableName, before: Columns, after: Columns) -> str:
        """Those rows of `old` whose id `new` does not have."""
        q, table = self._dialect.quoted, self._dialect.qualified
        values = [
            f"old.{q(column)}"
            if after.get(column, type_) is type_
            else self._dialect.cast(f"old.{q(column)}", after[column])
            for column, type_ in before.items()
        ]
        missing = f"NOT EXISTS (SELECT 1 FROM {table(new)} AS rebuilt WHERE rebuilt.{q('id')} = old.{q('id')})"
        return (
            f"INSERT INTO {table(new)} ({self._dialect.names(before)}) "
            f"SELECT {', '.join(values)} FROM {table(old)} AS old WHERE {missing}"
        )

    def drop(self, table: TableName) -> None:
        with self._sessions.loading() as session:
            self._columns = None
            self._change(session, table, [f"DROP TABLE IF EXISTS {self._dialect.qualified(table)}"])


def check(load: Load, known: Mapping[TableName, Columns], max_tables: int = 0) -> None:
    """Raises ValueError for what the engine would find only after DDL was done. One of too many tables is not wrong, but
    ValueError lets the loader find out which smaller ones are right."""
    changed = len({*load.rows, *(upsert.table for upsert in load.upserts)} | HOUSEKEEPING_CHANGED)
    if max_tables and changed > max_tables:
        raise ValueError(f"load: it changes {changed} tables, the warehouse takes {max_tables} in one transaction")
    for name, rows in load.rows.items():
        columns = known.get(name)
        if columns is None:
            raise ValueError(f"load: there is no table {name.schema}.{name.table}")
        for column in rows.column_names:
            if column not in columns:
                raise ValueError(f"load: the table {name.schema}.{name.table} has no column {column}")
            if columns[column] is ColumnType.JSON:
                _check_json(name, column, rows.column(column))


def _check_json(name: TableName, column: str, values: pa.ChunkedArray) -> None:
    for value in values.drop_null().to_pylist():
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"load: {name.schema}.{name.table}.{column} is no JSON: {error}") from None


def _deferred(session: Session) -> DeferredSession:
    """The sessions of such a warehouse are all of this class: its `connect` gives no others."""
    return cast("DeferredSession", session)
