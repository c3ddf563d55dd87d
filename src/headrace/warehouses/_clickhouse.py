"""ClickHouse: every table takes a load's rows in one block of its own, the position moves last, one loader at a time by a lease."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.errors import ConfigError, HeadraceError, PositionError, WarehouseUnavailableError
from headrace.warehouses import (
    _clickhouse_change,
    _clickhouse_house,
    _clickhouse_load,
    _clickhouse_lookups,
    _clickhouse_query,
)
from headrace.warehouses._clickhouse_lease import LEASE_SECONDS, Lease
from headrace.warehouses._clickhouse_load import Begun
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._reading import Reading, Stop
from headrace.warehouses.base import (
    Account,
    Books,
    Columns,
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

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

logger = logging.getLogger(__name__)

NARROW: Final = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2299, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
WIDE: Final = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))


class ClickHouse:
    """The port is `warehouses.base.Warehouse`."""

    guarantee: Literal["transactional", "per table"] = "per table"

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        ask: Callable[[], Client] | None = None,
        embedded: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """`connect` makes a client of clickhouse-connect, `ask` one that queries of people go through. Raises WarehouseUnavailableError and ConfigError."""
        self._session = Session(connect, ask=ask, embedded=embedded)
        self._lease = Lease(self._session, lease_seconds)
        self._writing = threading.RLock()
        self._unclear: tuple[object, ...] | None = None
        self._closed = False
        try:
            for statement in _clickhouse_house.statements():
                self._session.run(statement)
            self._tables = _clickhouse_lookups.tables(self._session)
            self._state = _clickhouse_house.read_state(self._session)
            self._times = self._held_times()
            self._newest_load: datetime | None = None
        except ValueError as error:
            self._session.close()
            raise ConfigError(f"warehouse: headrace's own tables cannot be made in ClickHouse: {error}") from error
        except BaseException:
            self._session.close()
            raise

    def _held_times(self) -> tuple[datetime, datetime]:
        """The times that DateTime64(6) holds: from 1900 to 2299, and in newer versions all years."""
        shown = self._session.value("SELECT toString(fromUnixTimestamp64Micro(-2208988800000001, 'UTC'))")
        return WIDE if shown == "1899-12-31 23:59:59.999999" else NARROW

    # Reading

    def position(self, consumer: str, partition: int) -> Position | None:
        with self._writing:
            self._lease.hold()
            self._state = _clickhouse_house.read_state(self._session)
            return self._state.positions.get((consumer, partition))

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:
        with self._writing:
            self._lease.hold()
            self._state = _clickhouse_house.read_state(self._session)
            return self._state.unfinished.get((consumer, partition))

    def tables(self) -> Mapping[TableName, Columns]:
        with self._writing:
            self._tables = _clickhouse_lookups.tables(self._session)
            return {name: dict(columns) for name, columns in self._tables.items()}

    def named_columns(self) -> Sequence[NamedColumn]:
        return _clickhouse_house.named_columns(self._session)

    def books(self) -> Mapping[Hour, Books]:
        return _clickhouse_house.books(self._session)

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        names = _clickhouse_lookups.history(self._tables, schema)
        return _clickhouse_lookups.ids_since(self._session, names, since, self._left_out())

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        names = _clickhouse_lookups.history(self._tables, schema)
        return _clickhouse_lookups.existing_ids(self._session, names, ids, spans, self._left_out())

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        return _clickhouse_lookups.rejected_ids(self._session, source, ids, self._left_out())

    def _left_out(self) -> set[datetime]:
        return {load.loaded_at for load in self._state.unfinished.values()}

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        return _clickhouse_lookups.integers_within(self._session, table, column, bound)

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        return _clickhouse_lookups.stored_tables(self._session)

    def newest(self, table: TableName, limit: int, timeout_seconds: float) -> QueryResult:
        columns = _clickhouse_lookups.tables(self._session).get(table, {})
        return self.query(
            _clickhouse_lookups.newest(table, columns, limit), max_rows=limit, timeout_seconds=timeout_seconds
        )

    def account(self, schemas: Sequence[str]) -> Account:
        books, positions = _clickhouse_house.account(self._session)
        discards = self._session.value("SELECT count() FROM headrace.discards")
        last = {
            schema: when
            for schema in schemas
            if (
                when := _clickhouse_lookups.last_received(
                    self._session, _clickhouse_lookups.history(self._tables, schema)
                )
            )
        }
        return Account(books, positions, int(discards), last)

    def latest_rows(self, table: str, limit: int) -> Any:
        return _clickhouse_lookups.latest_rows(self._session, table, limit)

    def column_values(self, table: TableName, column: str) -> Iterator[Any]:
        return _clickhouse_lookups.column_values(self._session, table, column)

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        return _clickhouse_query.answer(self._session, sql, max_rows, timeout_seconds)

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        return _clickhouse_query.arrow(self._session, sql, max_rows, timeout_seconds)

    @contextmanager
    def reading(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Iterator[Reading]:
        with _clickhouse_query.reading(self._session, sql, timeout_seconds, stop) as reading:
            yield reading

    def plan(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Sequence[str]:
        return _clickhouse_query.plan(self._session, sql, timeout_seconds, stop)

    # Writing

    def commit(self, load: Load) -> None:
        if load.end <= load.start:
            raise ValueError(
                f"load: it ends at {load.end}, not after its start {load.start}; every load moves the position"
            )
        with self._writing:
            self._lease.hold()
            self._state = _clickhouse_house.read_state(self._session)
            key = (load.consumer, load.partition)
            stored = self._state.positions.get(key)
            if self._unclear == _range(load) and stored == (load.incarnation, load.end):
                self._unclear = None
                return
            self._unclear = None
            if stored is not None and stored != (load.incarnation, load.start):
                raise _moved(load, stored)
            unfinished = self._state.unfinished.get(key)
            if unfinished is not None and not _clickhouse_load.fits(load, unfinished):
                raise _clickhouse_load.must_be_ended(load, unfinished)
            _clickhouse_load.check(load, self._tables, self._times)
            try:
                _clickhouse_load.prepare(self._session, load, self._tables)
            except BaseException:
                self._learn_again()
                raise
            self._run(load, unfinished)

    def _run(self, load: Load, unfinished: Unfinished | None) -> None:
        """From the first thing that is stored to the last. Whatever fails here fails for now: the load must be ended as it is."""
        begun = self._begun(load, unfinished)
        try:
            if unfinished is None:
                _clickhouse_house.begin(self._session, load, begun.number, begun.loaded_at, begun.guard)
            _clickhouse_load.store(self._session, begun, self._tables, self._renew)
            self._renew()
            token = begun.token(TableName("headrace", "_state"))
            self._unclear = _range(load)
            _clickhouse_house.end(self._session, load, begun.number, token=token, guard=begun.guard)
        except ValueError as error:
            raise WarehouseUnavailableError(f"load: it was begun and cannot be ended now: {error}") from error
        self._unclear = None
        self._newest_load = begun.loaded_at
        self._state = _ended(self._state, begun)

    def _begun(self, load: Load, unfinished: Unfinished | None) -> Begun:
        number = self._state.ended.get((load.consumer, load.partition), 0) + 1
        guard = f"{self._lease.guard()} AND {_clickhouse_house.not_ended(load, number)}"
        if unfinished is not None:
            return Begun(load, number, unfinished.loaded_at, True, guard)
        when = _clickhouse_load.loaded_at(load) or datetime.now(UTC)
        if self._newest_load is None or when <= self._newest_load:
            when = _clickhouse_load.unlike(self._session, when)
        return Begun(load, number, when, False, guard)

    def _renew(self) -> None:
        if not self._lease.renew():
            raise WarehouseUnavailableError("load: this loader's lease has run out; another loader may end the load")

    def _learn_again(self) -> None:
        with suppress(HeadraceError, ValueError):
            self._tables = _clickhouse_lookups.tables(self._session)

    def checkpoint(self, *, force: bool = False) -> bool:  # noqa: ARG002 -- the port's; ClickHouse merges by itself
        return False

    def journal_bytes(self) -> int:
        return 0

    def retype(self, retyping: Retyping) -> None:
        with self._writing:
            self._lease.hold()
            _clickhouse_change.retype(self._session, retyping, self._tables)

    def replace(self, old: TableName, new: TableName) -> int:
        with self._writing:
            self._lease.hold()
            return _clickhouse_change.replace(self._session, old, new, self._tables)

    def recompute(self, upsert: Upsert) -> None:
        with self._writing:
            self._lease.hold()
            _clickhouse_change.recompute(self._session, upsert, self._tables)

    def drop(self, table: TableName) -> None:
        with self._writing:
            self._lease.hold()
            _clickhouse_change.drop(self._session, table, self._tables)

    def close(self) -> None:
        """Gives the lease back. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        with suppress(HeadraceError, ValueError):
            self._lease.release()
        self._session.close()


def _range(load: Load) -> tuple[object, ...]:
    return load.consumer, load.partition, load.incarnation, load.start, load.end


def _moved(load: Load, stored: Position) -> PositionError:
    return PositionError(
        f"load: consumer {load.consumer}, partition {load.partition} begins at {load.start} of log {load.incarnation}, "
        f"the warehouse's position is {stored.next} of log {stored.incarnation}; read the position again"
    )


def _ended(state: _clickhouse_house.State, begun: Begun) -> _clickhouse_house.State:
    """What is known without asking again."""
    key = (begun.load.consumer, begun.load.partition)
    unfinished = {other: load for other, load in state.unfinished.items() if other != key}
    positions = {**state.positions, key: Position(begun.load.incarnation, begun.load.end)}
    return _clickhouse_house.State(positions, {**state.ended, key: begun.number}, unfinished)
