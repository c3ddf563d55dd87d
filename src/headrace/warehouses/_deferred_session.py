"""A session that collects a transaction's statements and sends them as a whole, guarded by the turn. See `_deferred`."""
# ruff: noqa: S608 -- identifiers go through `quoted`, values are numbers

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, Final

import pyarrow as pa

from headrace.errors import WarehouseUnavailableError
from headrace.warehouses._dialect import Dialect
from headrace.warehouses._session import Answer, HeldError
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, TableName

TURN: Final = TableName(HOUSEKEEPING, "turn")
TURN_COLUMNS: Final[Columns] = {"number": ColumnType.INTEGER}
ROOM_BYTES: Final = 100_000
"""Values that one transaction may hold in its statements, each up to four times: a statement of either engine may have 1 MB."""


class DeferredDialect(Dialect):
    """What such engines say in addition."""

    ddl_in_transaction: ClassVar[bool] = False
    inline_cells: ClassVar[int] = 2_000
    transaction_tables: ClassVar[int] = 0
    """Tables that one transaction may change; 0 is no limit."""
    widens_in_place: ClassVar[bool] = False
    """Whether `widen` is a statement of the engine's; else the column is filled anew and takes the other's place."""

    def rename_columns(self, name: TableName, renamed: Mapping[str, str]) -> list[str]:
        """In the order given, in one statement where the engine can."""
        return [
            f"ALTER TABLE {self.qualified(name)} RENAME COLUMN {self.quoted(old)} TO {self.quoted(new)}"
            for old, new in renamed.items()
        ]

    def drop_column(self, name: TableName, column: str) -> str:
        return f"ALTER TABLE {self.qualified(name)} DROP COLUMN IF EXISTS {self.quoted(column)}"

    def put_in_place(self, old: TableName, new: TableName, *, is_there: bool) -> list[str]:  # noqa: ARG002 -- not needed
        """A clone is one step that may be made again; whoever reads `old` sees the one or the other."""
        return [
            f"CREATE OR REPLACE TABLE {self.qualified(old)} CLONE {self.qualified(new)}",
            f"DROP TABLE IF EXISTS {self.qualified(new)}",
        ]

    def turn(self) -> str:
        return f"SELECT max({self.quoted('number')}) AS {self.quoted('number')} FROM {self.qualified(TURN)}"

    def raise_turn(self, from_: int) -> str:
        """Changes no row when the turn is another one."""
        number = self.quoted("number")
        return f"UPDATE {self.qualified(TURN)} SET {number} = {from_ + 1} WHERE {number} = {from_}"


class DeferredSession(abc.ABC):
    """The protocol is `_session.Session`; an engine's border fills in what is abstract here and there."""

    dialect: DeferredDialect
    is_broken: bool = False

    def __init__(self, dialect: DeferredDialect) -> None:
        self.dialect = dialect
        self._waiting: list[str] | None = None
        self._turn = 0
        self._room = 0

    def begin(self) -> None:
        found = self.fetch(self.dialect.turn()).column(0).to_pylist()
        self._turn = int(found[0] or 0)
        self._waiting, self._room = [], ROOM_BYTES

    def run(self, statements: Sequence[str]) -> None:
        """Within a transaction they wait for `commit`."""
        if self._waiting is not None:
            self._waiting.extend(statements)
            return
        for statement in statements:
            self.execute(statement)

    def change(self, statement: str) -> int:
        if self._waiting is not None:
            raise ValueError("warehouse: what a statement changed is not known before the transaction is sent")
        return self.execute(statement)

    def commit(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting:
            self.send(self.dialect.raise_turn(self._turn), waiting)
        self.unstage()

    def rollback(self) -> None:
        self._waiting = None
        self.abandon()
        self.unstage()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes of values may stand in this transaction's statements; they are then counted."""
        if self._waiting is not None:
            self._room -= size
            return self._room >= 0
        return size <= ROOM_BYTES

    def holder(self, name: TableName | None, error: HeldError) -> str:
        where = "" if name is None else f"{name.schema}.{name.table} is held: "
        return f"{where}{error}"

    @abc.abstractmethod
    def execute(self, statement: str) -> int:
        """Run one statement by itself, now, and tell how many rows it changed."""

    @abc.abstractmethod
    def send(self, raise_turn: str, statements: Sequence[str]) -> None:
        """Run them as one transaction and commit it. Raises what `other_turn` gives when `raise_turn` changes no row,
        ValueError only when nothing of it is stored."""

    @abc.abstractmethod
    def abandon(self) -> None:
        """Roll back what `send` may have left open. Raises nothing."""

    @abc.abstractmethod
    def unstage(self) -> None:
        """Remove what `stage` made. Raises nothing: what stays expires."""

    @abc.abstractmethod
    def fetch(self, query: str) -> pa.Table: ...

    @abc.abstractmethod
    def blocks(self, query: str, max_rows: int) -> Iterator[pa.RecordBatch]: ...

    @abc.abstractmethod
    def stage(self, table: pa.Table) -> str: ...

    @abc.abstractmethod
    def answer(self, sql: str, timeout_seconds: float) -> AbstractContextManager[Answer]: ...

    @abc.abstractmethod
    def is_fit(self) -> bool: ...

    @abc.abstractmethod
    def cancel(self) -> None: ...

    @abc.abstractmethod
    def close(self) -> None: ...


def other_turn() -> WarehouseUnavailableError:
    return WarehouseUnavailableError("load: another loader committed in between, nothing is stored; it is tried again")
