"""The whole port over a session: for engines that put a load's tables, rows and position into one transaction.

A load is: DDL, the compare-and-set of the position, rows, latest state, books, COMMIT. What fails before COMMIT is rolled back; after
an unclear COMMIT only the position tells. The loader has a session of its own; what other threads ask runs on others,
so that a query never waits for a load nor a load for a query.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import PositionError
from headrace.warehouses import _statements
from headrace.warehouses._dialect import KEY, Dialect, Relation
from headrace.warehouses._lookups import Lookups
from headrace.warehouses._session import Session
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Columns,
    ColumnType,
    Load,
    Position,
    Retyping,
    TableName,
    Upsert,
)

logger = logging.getLogger(__name__)

_NARROWER: Final = (ColumnType.FLOAT, ColumnType.INTEGER)
"""A column of a table and of the one that replaces it."""


class TransactionalWarehouse(Lookups):
    """The port is `warehouses.base.Warehouse`. `connect` opens a session; it is called again when one is broken."""

    def __init__(self, dialect: Dialect, connect: Callable[[], Session]) -> None:
        super().__init__(dialect, connect)
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

    # Changing what is stored.

    def retype(self, retyping: Retyping) -> None:
        name, column, type_, latest = retyping.table, retyping.column, retyping.type, retyping.latest
        value = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": type_}
        with self._sessions.loading() as session:
            self._columns = None
            stored = self._known(session)
            self._columns = None
            with self._transaction(session):
                # All values first: whoever gives them may be reading this very column.
                staged = [self._relation(session, block, value) for block in retyping.values if block.num_rows]
                self._empty(session, name, column, type_, stored)
                statements = [s for rows in staged for s in _statements.set_values(self._dialect, name, column, rows)]
                statements.append(_statements.forget_discards(self._dialect, name, column))
                if retyping.discards.num_rows:
                    columns = HOUSEKEEPING_TABLES[_statements.DISCARDS.table]
                    rows = self._relation(session, retyping.discards, columns)
                    statements.append(_statements.insert(self._dialect, _statements.DISCARDS, rows))
                statements.append(_statements.learn_type(self._dialect, name, column, type_))
                session.run(statements)
                if latest is not None:
                    self._empty(session, latest.table, column, type_, stored)
                    session.run(_statements.latest_column(self._dialect, latest, column))

    def _empty(
        self, session: Session, name: TableName, column: str, type_: ColumnType, stored: Mapping[TableName, Columns]
    ) -> None:
        """A column without values, of the type. One that has the type already is not altered, so that a view on it is in no way."""
        if stored.get(name, {}).get(column) is type_:
            quoted = self._dialect.quoted(column)
            where = f"WHERE {quoted} IS NOT NULL"
            session.run([f"UPDATE {self._dialect.qualified(name)} SET {quoted} = NULL {where}"])  # noqa: S608 -- quoted
        else:
            self._alter(session, name, column, self._dialect.empty_as(name, column, type_))

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
