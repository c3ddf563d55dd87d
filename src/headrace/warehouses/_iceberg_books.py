"""What changes with every load and must change at once: tables of headrace's own in the catalogue's database.

Positions, the begun load, the lease, the books, the columns' names and the list of loads are small and are updated in place,
which Iceberg does badly; in one database they move in one transaction. A query sees them as headrace.offsets and so on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa

from headrace.errors import PositionError, WarehouseUnavailableError
from headrace.warehouses._iceberg_catalog import border
from headrace.warehouses._values import microseconds, moment
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Account,
    Books,
    ColumnType,
    Hour,
    Load,
    NamedColumn,
    Position,
    TableName,
    Unfinished,
)

_METADATA: Final = sa.MetaData()
_SQL_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.INTEGER: sa.BigInteger,
    ColumnType.FLOAT: sa.Double,
    ColumnType.TIMESTAMP: sa.BigInteger,  # microseconds since 1970: alike in every database
}
_ARROW_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.TIMESTAMP: pa.timestamp("us", "UTC"),
}
KEPT: Final = ("loads", "columns", "offsets", "books")
"""The housekeeping tables that are here; the others are Iceberg tables."""
_KEYS: Final = {"offsets": ("consumer", "partition"), "books": ("source", "hour")}
_NUMBER: Final = "number"


def _table(name: str) -> sa.Table:
    key = _KEYS.get(name, ())
    columns: list[Any] = [] if key else [sa.Column(_NUMBER, sa.Integer, primary_key=True)]
    columns += [
        sa.Column(column, _SQL_TYPES.get(type_, sa.String), primary_key=column in key, autoincrement=False)
        for column, type_ in HOUSEKEEPING_TABLES[name].items()
    ]
    return sa.Table(f"headrace_{name}", _METADATA, *columns)


_TABLES: Final = {name: _table(name) for name in KEPT}
_OFFSETS, _BOOKS, _COLUMNS = _TABLES["offsets"], _TABLES["books"], _TABLES["columns"]
_BEGUN: Final = sa.Table(
    "headrace_begun",
    _METADATA,
    sa.Column("consumer", sa.String, primary_key=True),
    sa.Column("partition", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("incarnation", sa.String, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("loaded_at", sa.BigInteger, nullable=False),
)
_LEASE: Final = sa.Table(
    "headrace_lease",
    _METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)
_LOADER: Final = "loader"


class Housekeeping:
    """`clock` gives seconds since 1970; loaders on several machines must agree about it to within a part of the lease."""

    def __init__(self, engine: sa.Engine, lease_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._owner = uuid4().hex
        with border("create headrace's tables"):
            _METADATA.create_all(engine)

    # The lease.

    def renew(self) -> None:
        """Take the lease, or keep it. Raises PositionError when another loader holds it, to whom this one has lost it, and
        WarehouseUnavailableError when this one never had it."""
        with border("renew the lease"), self._engine.begin() as connection:
            self._renew(connection)

    def take_lease(self) -> None:
        """Raises WarehouseUnavailableError while another loader holds it."""
        with border("take the lease"), self._engine.begin() as connection:
            held = self._taken(connection)
        if held is not None:
            raise WarehouseUnavailableError(
                f"lake: another loader holds the lease for {held:.0f} seconds more; stop it, or wait", min(held, 5.0)
            )

    def _renew(self, connection: sa.Connection) -> None:
        if self._taken(connection) is not None:
            raise PositionError("lake: another loader has taken the lease; this one must not go on")

    def _taken(self, connection: sa.Connection) -> float | None:
        """None when the lease is this loader's now, else for how many seconds it is another's."""
        now = self._clock()
        free = (_LEASE.c.owner == self._owner) | (_LEASE.c.until < now)
        values = {"owner": self._owner, "until": now + self._lease_seconds}
        changed = connection.execute(sa.update(_LEASE).where(_LEASE.c.name == _LOADER, free).values(**values))
        if changed.rowcount:
            return None
        until = connection.execute(sa.select(_LEASE.c.until)).scalar()
        if until is None:
            connection.execute(sa.insert(_LEASE).values(name=_LOADER, **values))
            return None
        return max(0.0, float(until) - now)

    def release(self) -> None:
        with border("release the lease"), self._engine.begin() as connection:
            connection.execute(sa.update(_LEASE).where(_LEASE.c.owner == self._owner).values(until=0.0))

    # The position and the begun load.

    def position(self, consumer: str, partition: int) -> Position | None:
        with border("read the position"), self._engine.connect() as connection:
            return _position(connection, consumer, partition)

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:
        with border("read the begun load"), self._engine.connect() as connection:
            return _unfinished(connection, consumer, partition)

    def unfinished_moments(self) -> list[datetime]:
        """The `loaded_at` of every begun load."""
        with border("read the begun loads"), self._engine.connect() as connection:
            return [moment(count) for count in connection.execute(sa.select(_BEGUN.c.loaded_at)).scalars()]

    def begin(self, load: Load) -> None:
        """Write down that the load is begun; again for the same load is fine. Raises PositionError."""
        loaded_at = load.started or moment(0)
        wanted = Unfinished(load.incarnation, load.start, load.end, loaded_at)
        with border("begin the load"), self._engine.begin() as connection:
            self._renew(connection)
            _check_position(connection, load)
            begun = _unfinished(connection, load.consumer, load.partition)
            if begun is None:
                values = {"consumer": load.consumer, "partition": load.partition, **wanted._asdict()}
                connection.execute(sa.insert(_BEGUN).values(**values | {"loaded_at": microseconds(loaded_at)}))
            elif begun != wanted:
                raise PositionError(
                    f"load: consumer {load.consumer}, partition {load.partition}: {begun.start} to {begun.end} was begun at "
                    f"{begun.loaded_at}, not {load.start} to {load.end}; ask for the unfinished load and make that one"
                )

    def check_position(self, load: Load) -> None:
        with border("read the position"), self._engine.connect() as connection:
            _check_position(connection, load)

    def finish(self, load: Load) -> None:
        """In one transaction: the position moves, the load is begun no more, books and names are added. Raises PositionError."""
        with border("finish the load"), self._engine.begin() as connection:
            self._renew(connection)
            _move(connection, load)
            where = (_BEGUN.c.consumer == load.consumer, _BEGUN.c.partition == load.partition)
            connection.execute(sa.delete(_BEGUN).where(*where))
            _add_books(connection, load.books)
            for table in KEPT:
                rows = load.rows.get(TableName(HOUSEKEEPING, table))
                if rows is not None and rows.num_rows:
                    connection.execute(sa.insert(_TABLES[table]), _python_rows(rows))
            touched = load.started or datetime.now(UTC)
            for schema, name, column in load.touched:
                named = (_COLUMNS.c.schema == schema, _COLUMNS.c.table == name, _COLUMNS.c.column == column)
                later = _COLUMNS.c.last_seen < microseconds(touched)
                connection.execute(sa.update(_COLUMNS).where(*named, later).values(last_seen=microseconds(touched)))

    def retyped(self, name: TableName, column: str, type_: ColumnType) -> None:
        with border("write the column's type"), self._engine.begin() as connection:
            named = (_COLUMNS.c.schema == name.schema, _COLUMNS.c.table == name.table, _COLUMNS.c.column == column)
            connection.execute(sa.update(_COLUMNS).where(*named).values(type=type_.value))

    # What is read.

    def books(self) -> dict[Hour, Books]:
        with border("read the books"), self._engine.connect() as connection:
            return _books(connection)

    def account(self, discards: int, last_received: Mapping[str, datetime]) -> Account:
        with border("read the books"), self._engine.connect() as connection:
            books = _books(connection)
            rows = connection.execute(sa.select(_OFFSETS)).fetchall()
        positions = {(row.consumer, row.partition): Position(row.incarnation, row.next) for row in rows}
        return Account(books, positions, discards, last_received)

    def named_columns(self) -> Sequence[NamedColumn]:
        names = [_COLUMNS.c[name] for name in NamedColumn._fields]
        with border("read the columns"), self._engine.connect() as connection:
            rows = connection.execute(sa.select(*names)).fetchall()
        return sorted(
            NamedColumn(schema, table, column, original, type_, moment(first), moment(last))
            for schema, table, column, original, type_, first, last in rows
        )

    def arrow(self, table: str, limit: int | None = None) -> pa.Table:
        """A table of KEPT; with a limit the newest rows, newest first."""
        columns = HOUSEKEEPING_TABLES[table]
        chosen = sa.select(*(_TABLES[table].c[name] for name in columns))
        if limit is not None:
            chosen = chosen.order_by(_TABLES[table].c.started.desc(), _TABLES[table].c[_NUMBER].desc()).limit(limit)
        with border(f"read headrace.{table}"), self._engine.connect() as connection:
            rows = connection.execute(chosen).fetchall()
        by_column = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [_array(values, type_) for values, type_ in zip(by_column, columns.values(), strict=True)]
        return pa.table(arrays, names=list(columns))


def _array(values: Sequence[Any], type_: ColumnType) -> pa.Array:
    if type_ is ColumnType.TIMESTAMP:
        return pa.array(values, pa.int64()).cast(_ARROW_TYPES[type_])
    return pa.array(values, _ARROW_TYPES.get(type_, pa.string()))


def _python_rows(rows: pa.Table) -> list[dict[str, Any]]:
    plain = {
        name: rows.column(name).cast(pa.int64()) if pa.types.is_timestamp(field.type) else rows.column(name)
        for name, field in zip(rows.column_names, rows.schema, strict=True)
    }
    return list(pa.table(plain).to_pylist())


def _position(connection: sa.Connection, consumer: str, partition: int) -> Position | None:
    where = (_OFFSETS.c.consumer == consumer, _OFFSETS.c.partition == partition)
    found = connection.execute(sa.select(_OFFSETS.c.incarnation, _OFFSETS.c.next).where(*where)).first()
    return None if found is None else Position(*found)


def _unfinished(connection: sa.Connection, consumer: str, partition: int) -> Unfinished | None:
    columns = (_BEGUN.c.incarnation, _BEGUN.c.start, _BEGUN.c.end, _BEGUN.c.loaded_at)
    where = (_BEGUN.c.consumer == consumer, _BEGUN.c.partition == partition)
    found = connection.execute(sa.select(*columns).where(*where)).first()
    return None if found is None else Unfinished(found[0], found[1], found[2], moment(found[3]))


def _check_position(connection: sa.Connection, load: Load) -> None:
    stored = _position(connection, load.consumer, load.partition)
    if stored is not None and stored != Position(load.incarnation, load.start):
        raise _moved(load, stored)


def _move(connection: sa.Connection, load: Load) -> None:
    """Compare and set."""
    here = (_OFFSETS.c.consumer == load.consumer, _OFFSETS.c.partition == load.partition)
    there = (_OFFSETS.c.incarnation == load.incarnation, _OFFSETS.c.next == load.start)
    if connection.execute(sa.update(_OFFSETS).where(*here, *there).values(next=load.end)).rowcount:
        return
    stored = _position(connection, load.consumer, load.partition)
    if stored is not None:
        raise _moved(load, stored)
    values = {"consumer": load.consumer, "partition": load.partition, "incarnation": load.incarnation, "next": load.end}
    connection.execute(sa.insert(_OFFSETS).values(**values))


def _moved(load: Load, stored: Position) -> PositionError:
    return PositionError(
        f"load: consumer {load.consumer}, partition {load.partition} begins at {load.start} of log {load.incarnation}, "
        f"the warehouse's position is {stored.next} of log {stored.incarnation}; read the position again"
    )


def _books(connection: sa.Connection) -> dict[Hour, Books]:
    names = [_BOOKS.c[name] for name in Books._fields]
    rows = connection.execute(sa.select(_BOOKS.c.source, _BOOKS.c.hour, *names)).fetchall()
    return {Hour(row[0], moment(row[1])): Books(*row[2:]) for row in rows}


def _add_books(connection: sa.Connection, books: Mapping[Hour, Books]) -> None:
    for (source, hour), counts in books.items():
        where = (_BOOKS.c.source == source, _BOOKS.c.hour == microseconds(hour))
        added = {name: _BOOKS.c[name] + count for name, count in counts._asdict().items()}
        if not connection.execute(sa.update(_BOOKS).where(*where).values(**added)).rowcount:
            values = {"source": source, "hour": microseconds(hour), **counts._asdict()}
            connection.execute(sa.insert(_BOOKS).values(**values))
