"""Another type for a column: what it holds is converted, what waited in headrace.discards is applied again, nothing is lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import ConfigError, NotFoundError, RejectedEventError
from headrace.loader import conversions, values
from headrace.loader.batch import LATEST
from headrace.loader.columns import ARROW_TYPES
from headrace.loader.growing import arrow_table
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.loader.values import MISFIT
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Columns,
    ColumnType,
    Retyping,
    TableName,
    Upsert,
    Warehouse,
)

HISTORY: Final = {latest: history for history, (latest, _) in LATEST.items()}
"""The history table that a latest-state table is made of."""
BESIDE: Final = "_rebuild"
"""What the names of a rebuild's own tables begin with; no event's table has such a name."""
NAMES_LISTED: Final = 20
DISCARDS: Final = HOUSEKEEPING_TABLES["discards"]


class Retyped(msgspec.Struct, frozen=True):
    """`converted` values were stored before, `reapplied` ones waited in headrace.discards, where `discarded` are now."""

    schema: str
    table: str
    column: str
    was: str
    type: str
    converted: int
    reapplied: int
    discarded: int
    latest: str | None = None
    """The latest-state table that changed along."""


class Retype(msgspec.Struct, frozen=True):
    """A change of a column's type, to be run on the loader's thread between two loads.

    A column of `users` or `accounts` stands for that of `identifies` or `groups`; both tables change."""

    schema: str
    table: str
    column: str
    type: ColumnType

    @staticmethod
    def parsed(column: str, type_name: str) -> Retype:
        """From `shop.order_completed.revenue` and `float`. Raises ConfigError."""
        schema, table, name = (*column.split("."), "", "")[:3]
        if column.count(".") != 2 or not (schema and table and name):
            raise ConfigError(f"retype: expected SCHEMA.TABLE.COLUMN, found {column!r}")
        kinds = {kind.value: kind for kind in conversions.TYPES}
        if type_name not in kinds:
            raise ConfigError(f"retype: there is no type {type_name!r}; a column can be {', '.join(kinds)}")
        return Retype(schema, table, name, kinds[type_name])

    def run(self, warehouse: Warehouse, now: Callable[[], datetime]) -> Retyped:
        """Raises ConfigError (nothing is changed then), WideningRefusedError and WarehouseUnavailableError. Safe to call again.

        Whoever knows the warehouse's tables must read them again afterwards."""
        if self.type not in conversions.TYPES:
            raise ConfigError(f"retype: no column can be made {self.type.value}")
        stored = warehouse.tables()
        name = TableName(self.schema, HISTORY.get(self.table, self.table))
        was = _type_of(stored, name, self.column)
        if TableName(self.schema, BESIDE) in stored:
            raise ConfigError(f"retype: a rebuild of {self.schema} was interrupted; run it again, then change the type")
        waiting = _discards(warehouse, name, self.column)
        with spooled(self.type) as spool:
            outcome = _Conversion(self, name, spool, now()).run(warehouse, waiting)
            if was is self.type and not outcome.reapplied:
                raise ConfigError(
                    f"retype: {'.'.join(name)}.{self.column} is {was.value} already, and headrace.discards holds nothing "
                    "that this type takes; choose another type, or string, which takes everything"
                )
            latest = _latest(stored, name, self.column)
            discards = outcome.discards
            warehouse.retype(Retyping(name, self.column, self.type, spool.blocks(), discards, latest))
        counts = outcome.converted, outcome.reapplied, discards.num_rows
        return Retyped(*name, self.column, was.value, self.type.value, *counts, latest.table.table if latest else None)


class _Waiting(NamedTuple):
    """A row of headrace.discards."""

    row_id: str
    received_at: datetime
    value: str
    reason: str
    loaded_at: datetime


class Spool:
    """Blocks of (id, received_at, value) in a file of its own, so that a column of any size takes little memory and the
    warehouse is not read while it is written."""

    def __init__(self, file: Any, kind: ColumnType) -> None:
        text, time = ARROW_TYPES[ColumnType.STRING], ARROW_TYPES[ColumnType.TIMESTAMP]
        self._file = file
        self._schema = pa.schema([("id", text), ("received_at", time), ("value", ARROW_TYPES[kind])])
        self._writer = pa.ipc.new_stream(file, self._schema)
        self.rows = 0

    def add_rows(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of (id, received_at, value)."""
        if rows:
            columns = zip(zip(*rows, strict=True), self._schema.types, strict=True)
            arrays = [pa.array(column, arrow_type) for column, arrow_type in columns]
            self.write(pa.table(arrays, schema=self._schema))

    def write(self, block: Any) -> None:
        """A block as `Warehouse.column_values` gives it, of the same type."""
        self._writer.write_table(block.select(self._schema.names).cast(self._schema))
        self.rows += block.num_rows

    def blocks(self) -> Iterator[Any]:
        self._writer.close()
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


@contextmanager
def spooled(kind: ColumnType) -> Iterator[Spool]:
    with tempfile.TemporaryFile(prefix="headrace-retype-") as file:
        yield Spool(file, kind)


class _Conversion:
    """The column's values on their way; `discards` is what headrace.discards will hold of the column."""

    def __init__(self, retype: Retype, name: TableName, spool: Spool, now: datetime) -> None:
        self._retype = retype
        self._name = name
        self._spool = spool
        self._now = now
        self._out: list[Any] = []
        self.converted = 0
        self.reapplied = 0

    def run(self, warehouse: Warehouse, waiting: Sequence[_Waiting]) -> _Conversion:
        filled: set[tuple[str, datetime]] = set()
        newest = {(row.row_id, row.received_at): row for row in waiting}
        for block in warehouse.column_values(self._name, self._retype.column):
            rows = list(zip(*(block[column].to_pylist() for column in ("id", "received_at", "value")), strict=True))
            filled.update((row_id, received_at) for row_id, received_at, _ in rows if (row_id, received_at) in newest)
            self._convert(rows)
        there = _rows_there(warehouse, self._name, newest.keys()) - filled
        self._reapply(waiting, {place: row for place, row in newest.items() if place in there})
        return self

    @property
    def discards(self) -> Any:
        return pa.concat_tables([no_discards(), *self._out])

    def _convert(self, rows: Sequence[tuple[str, datetime, Any]]) -> None:
        kind = self._retype.type
        fits = [conversions.converted(value, kind) for _, _, value in rows]
        kept = [(row_id, at, fit) for (row_id, at, _), fit in zip(rows, fits, strict=True) if fit is not MISFIT]
        out = [
            _Waiting(row_id, at, conversions.sent(value), conversions.reason(value, kind), self._now)
            for (row_id, at, value), fit in zip(rows, fits, strict=True)
            if fit is MISFIT
        ]
        self._spool.add_rows(kept)
        self._discard(out)
        self.converted += len(kept)

    def _reapply(self, waiting: Sequence[_Waiting], newest: Mapping[tuple[str, datetime], _Waiting]) -> None:
        kept = []
        applied: dict[tuple[str, datetime], str] = {}
        for place, row in newest.items():
            fit = _refitted(row.value, self._retype.type)
            if fit is not MISFIT:
                kept.append((*place, fit))
                applied[place] = row.value
        self._spool.add_rows(kept)
        self._discard([row for row in waiting if applied.get((row.row_id, row.received_at)) != row.value])
        self.reapplied = len(kept)

    def _discard(self, rows: Sequence[_Waiting]) -> None:
        if rows:
            column = self._retype.column
            of_table = [
                (*self._name, row.row_id, column, row.value, row.reason, row.received_at, row.loaded_at) for row in rows
            ]
            self._out.append(arrow_table(DISCARDS, of_table))


def no_discards() -> Any:
    return pa.table({name: pa.array([], ARROW_TYPES[kind]) for name, kind in DISCARDS.items()})


def _refitted(text: str, kind: ColumnType) -> Any:
    """What the column stores for a value of headrace.discards, or MISFIT."""
    try:
        value = values.parsed(msgspec.Raw(b'{"v":' + text.encode() + b"}"))["v"]
    except (msgspec.DecodeError, RejectedEventError, ValueError, KeyError):  # written by another hand
        return MISFIT
    return MISFIT if value is None else conversions.refitted(value, kind)


def discards_of(warehouse: Warehouse, schema: str) -> Any:
    """A schema's rows of headrace.discards, the oldest first, as a pyarrow.Table."""
    count = warehouse.account(()).discards
    found = warehouse.latest_rows("discards", max(count, 1)).select(list(DISCARDS))
    return found.filter(pc.equal(found["schema"], schema)).sort_by("loaded_at")


def _discards(warehouse: Warehouse, name: TableName, column: str) -> Sequence[_Waiting]:
    found = discards_of(warehouse, name.schema)
    found = found.filter(pc.and_(pc.equal(found["table"], name.table), pc.equal(found["column"], column)))
    return [
        _Waiting(row["row_id"], row["received_at"], row["value"], row["reason"], row["loaded_at"])
        for row in found.to_pylist()
    ]


def _rows_there(warehouse: Warehouse, name: TableName, places: Any) -> set[tuple[str, datetime]]:
    """Those of the places (id, received_at) at which the table has a row."""
    if not places:
        return set()
    ids = pa.array(sorted({row_id for row_id, _ in places}), pa.string())
    there: set[tuple[str, datetime]] = set()
    for block in warehouse.column_values(name, "id"):
        found = block.filter(pc.is_in(block["id"], value_set=ids))
        there.update(zip(found["id"].to_pylist(), found["received_at"].to_pylist(), strict=True))
    return there & set(places)


def _latest(stored: Mapping[TableName, Columns], name: TableName, column: str) -> Upsert | None:
    if name.table not in LATEST:
        return None
    table, key = LATEST[name.table]
    latest = TableName(name.schema, table)
    return Upsert(latest, name, key, [column]) if column in stored.get(latest, {}) else None


def _type_of(stored: Mapping[TableName, Columns], name: TableName, column: str) -> ColumnType:
    """The type that the column has. Raises ConfigError for one whose type cannot be changed."""
    columns = stored[known_table(stored, name, "retype")]
    if column in standard_columns(name.table) or column in (LOADED_AT, EXTRA):
        raise ConfigError(
            f"retype: {column!r} is a standard column of {'.'.join(name)} and keeps its type; "
            "columns of properties, traits and context can get another one"
        )
    if column not in columns:
        own = [known for known in columns if known not in standard_columns(name.table)]
        raise NotFoundError(f"retype: {'.'.join(name)} has no column {column!r}{_known(column, own)}")
    return columns[column]


def known_table(stored: Mapping[TableName, Columns], name: TableName, step: str) -> TableName:
    """The table, if it is a source's. Raises ConfigError that says which there are."""
    stored = {known: columns for known, columns in stored.items() if not known.table.startswith(BESIDE)}
    schemas = sorted({known.schema for known in stored} - {HOUSEKEEPING})
    if name.schema == HOUSEKEEPING:
        raise ConfigError(f"{step}: the tables of the schema headrace are not made from events; name a source's schema")
    if name.schema not in schemas:
        raise NotFoundError(f"{step}: the warehouse has no schema {name.schema!r}{_known(name.schema, schemas)}")
    if name not in stored:
        tables = [known.table for known in stored if known.schema == name.schema]
        raise NotFoundError(f"{step}: the schema {name.schema} has no table {name.table!r}{_known(name.table, tables)}")
    return name


def _known(name: str, names: Sequence[str]) -> str:
    meant = get_close_matches(name, names, n=1)
    if meant:
        return f"; did you mean {meant[0]!r}?"
    listed = ", ".join(sorted(names)[:NAMES_LISTED])
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return f"; it has {listed}{more}" if names else "; it has none"
