"""The second half of a rebuild: new tables take the places of the old ones, discards, books and latest states follow.

The plan and the rebuild's own discards stand in the table `_rebuild` of the schema. From the moment the plan is there, a rebuild
that was killed is not begun anew but ended: each step can be repeated, and the books move once, with the plan's position.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import RetryableError
from headrace.loader import conversions
from headrace.loader.batch import LATEST
from headrace.loader.growing import arrow_table
from headrace.loader.retyping import BESIDE, DISCARDS, discards_of, no_discards, spooled
from headrace.loader.standard import LOADED_AT, standard_columns
from headrace.loader.values import MISFIT
from headrace.names import hash8
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    REBUILD,
    Books,
    Columns,
    ColumnType,
    Hour,
    Load,
    Position,
    Retyping,
    TableName,
    Upsert,
    Warehouse,
)

logger = logging.getLogger(__name__)

INCARNATION: Final = "rebuild"
"""The positions of a rebuild's consumer count its loads, not the log's entries."""
TRIES: Final = 8
LONGEST_WAIT_SECONDS: Final = 10.0
NOTES_COLUMNS: Final[Columns] = {
    "id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    LOADED_AT: ColumnType.TIMESTAMP,
    "entry": ColumnType.STRING,
}
_PLAN: Final = "plan"


class Moved(NamedTuple):
    """Of a source's events received in an hour: so many that were filtered are loaded now, or are repetitions of such."""

    source: str
    hour: datetime
    loaded: int
    duplicates: int


class Plan(msgspec.Struct, frozen=True):
    """What is left to do once the new tables are complete.

    `restored` names the columns whose values the log does not tell: those that the selection leaves out and those of an operator's own
    hand. `columns` are rows of headrace.columns; `create` and `add` concern the latest-state tables. Rows of the rebuild have a
    `loaded_at` from `began` to `ended`."""

    position: int
    began: datetime
    ended: datetime
    entries: int
    seconds: float
    rows_by_table: dict[str, int]
    restored: dict[str, list[str]]
    books: list[Moved]
    columns: list[dict[str, Any]]
    create: dict[str, dict[str, ColumnType]]
    add: dict[str, dict[str, ColumnType]]


class NotedDiscard(NamedTuple):
    """A row of headrace.discards in the table `_rebuild`."""

    table: str
    row_id: str
    column: str
    value: str
    reason: str
    received_at: datetime


def consumer_of(schema: str) -> str:
    return f"{REBUILD}{schema}"


def notes_of(schema: str) -> TableName:
    return TableName(schema, BESIDE)


def beside(name: TableName) -> TableName:
    """The new table of a table."""
    return TableName(name.schema, f"{BESIDE}_{hash8(name.table)}")


def noted(rows: Iterable[tuple[str, datetime, datetime, Any]]) -> Any:
    """Rows of the table `_rebuild` as a pyarrow.Table; the last value of each is what is noted."""
    encoded = [(*row[:3], msgspec.json.encode(row[3]).decode()) for row in rows]
    return arrow_table(NOTES_COLUMNS, encoded)


def plan_load(schema: str, plan: Plan, *, is_first: bool) -> Load:
    """The load that makes the plan stand. `is_first`: no load of this rebuild came before it."""
    notes = notes_of(schema)
    rows = {notes: noted([(_PLAN, plan.ended, plan.ended, plan)])}
    create = {notes: NOTES_COLUMNS} if is_first else {}
    span = (consumer_of(schema), 0, INCARNATION, plan.position - 1, plan.position)
    return Load(*span, rows, create=create, started=plan.ended)


def commit(warehouse: Warehouse, load: Load, stop: threading.Event) -> None:
    """Tries again while the warehouse cannot take the load. Raises WarehouseUnavailableError when it still cannot after that."""
    for tries in range(TRIES):
        try:
            stored = warehouse.position(load.consumer, load.partition) if tries else None
            if stored != Position(load.incarnation, load.end):
                warehouse.commit(load)
        except RetryableError as error:
            if tries == TRIES - 1:
                raise
            logger.warning("rebuild: tried again: %s", error)
            with contextlib.suppress(RetryableError):
                warehouse.checkpoint(force=True)
            stop.wait(min(error.retry_after_seconds, LONGEST_WAIT_SECONDS))
        else:
            return


class Replacing:
    """Ends a rebuild by its plan. Safe to run again after any interruption."""

    def __init__(self, warehouse: Warehouse, schema: str, plan: Plan, discards: Sequence[NotedDiscard]) -> None:
        self._warehouse = warehouse
        self._schema = schema
        self.plan = plan
        self._discards = list(discards)
        self.carried_by_table: dict[str, int] = {}

    @staticmethod
    def interrupted(warehouse: Warehouse, schema: str) -> Replacing | None:
        """The rebuild of the schema that has a plan and did not end."""
        notes = notes_of(schema)
        if notes not in warehouse.tables():
            return None
        plan: Plan | None = None
        discards: list[NotedDiscard] = []
        for block in warehouse.column_values(notes, "entry"):
            for row_id, entry in zip(block["id"].to_pylist(), block["value"].to_pylist(), strict=True):
                if row_id == _PLAN:
                    plan = msgspec.json.decode(entry, type=Plan)
                else:
                    discards.append(msgspec.json.decode(entry, type=NotedDiscard))
        return None if plan is None else Replacing(warehouse, schema, plan, discards)

    def run(self, stop: threading.Event) -> None:
        """Raises WarehouseUnavailableError, and WideningRefusedError when something holds a table; run it again then."""
        plan, warehouse = self.plan, self._warehouse
        if warehouse.position(consumer_of(self._schema), 0) == Position(INCARNATION, plan.position):
            commit(warehouse, self._closing_load(), stop)
        for table in plan.rows_by_table:
            self._replace(TableName(self._schema, table))
        self._put_discards_right()
        self._compute_latest()
        warehouse.drop(notes_of(self._schema))

    def _closing_load(self) -> Load:
        plan = self.plan
        span = (consumer_of(self._schema), 0, INCARNATION, plan.position, plan.position + 1)
        counts = {f"{self._schema}.{table}": rows for table, rows in plan.rows_by_table.items()}
        text = msgspec.json.encode(counts).decode()
        loads = [(*span, text, plan.entries, plan.began, plan.seconds, "ok")]
        rows = {TableName(HOUSEKEEPING, "loads"): arrow_table(HOUSEKEEPING_TABLES["loads"], loads)}
        if plan.columns:
            known = HOUSEKEEPING_TABLES["columns"]
            named = [[_moment(row[name], known[name]) for name in known] for row in plan.columns]
            rows[TableName(HOUSEKEEPING, "columns")] = arrow_table(known, named)
        books = {
            Hour(moved.source, moved.hour): Books(
                loaded=moved.loaded, duplicates=moved.duplicates, filtered=-moved.loaded - moved.duplicates
            )
            for moved in plan.books
        }
        create = {TableName(self._schema, table): dict(columns) for table, columns in plan.create.items()}
        add = {TableName(self._schema, table): dict(columns) for table, columns in plan.add.items()}
        # Its loaded_at is another than that of the load before.
        started = plan.ended + datetime.resolution
        return Load(*span, rows, create=create, add=add, books=books, started=started)

    def _replace(self, name: TableName) -> None:
        new = beside(name)
        stored = self._warehouse.tables()
        if new not in stored:  # it took its place before the interruption
            return
        of_old = stored.get(name, {})
        for column, kind in stored[new].items():
            if of_old.get(column, kind) is not kind:
                self._convert(name, column, of_old[column])
        for column in self.plan.restored.get(name.table, ()):
            if column in of_old:
                self._copy_values(name, new, column, of_old[column])
        self.carried_by_table[name.table] = self._warehouse.replace(name, new)

    def _convert(self, name: TableName, column: str, kind: ColumnType) -> None:
        """A load after an interruption has widened the column of the old table, or made it with another type."""
        new = beside(name)
        with spooled(kind) as spool:
            for block in self._warehouse.column_values(new, column):
                rows = list(zip(*(block[part].to_pylist() for part in ("id", "received_at", "value")), strict=True))
                fits = [(*place, conversions.refitted(value, kind)) for *place, value in rows]
                spool.add_rows([row for row in fits if row[2] is not MISFIT])
                for (row_id, received_at, value), fit in zip(rows, fits, strict=True):
                    if fit[2] is MISFIT:
                        text, reason = conversions.sent(value), conversions.reason(value, kind)
                        self._discards.append(NotedDiscard(name.table, row_id, column, text, reason, received_at))
            self._warehouse.retype(Retyping(new, column, kind, spool.blocks(), no_discards()))

    def _copy_values(self, old: TableName, new: TableName, column: str, kind: ColumnType) -> None:
        with spooled(kind) as spool:
            for block in self._warehouse.column_values(old, column):
                spool.write(block)
            if spool.rows:
                self._warehouse.retype(Retyping(new, column, kind, spool.blocks(), no_discards()))

    def _put_discards_right(self) -> None:
        """The discards of rows that were rebuilt are those of the rebuild; of rows that were carried over they stay."""
        old = discards_of(self._warehouse, self._schema)
        for table in self.plan.rows_by_table:
            name = TableName(self._schema, table)
            of_table = old.filter(pc.equal(old["table"], table))
            new = [discard for discard in self._discards if discard.table == table]
            rebuilt = self._rebuilt_ids(name, of_table["row_id"])
            columns = {*of_table["column"].to_pylist(), *(discard.column for discard in new)}
            for column in sorted(columns - set(self.plan.restored.get(table, ()))):
                before = of_table.filter(pc.equal(of_table["column"], column))
                self._replace_discards(name, column, before, rebuilt, new)

    def _replace_discards(
        self, name: TableName, column: str, before: Any, rebuilt: Any, new: Sequence[NotedDiscard]
    ) -> None:
        kept = before.filter(pc.invert(pc.is_in(before["row_id"], value_set=rebuilt)))
        rows = [(name.schema, *discard, self.plan.ended) for discard in new if discard.column == column]
        kind = self._warehouse.tables()[name].get(column)
        discards = pa.concat_tables([no_discards(), kept.cast(no_discards().schema), *_as_arrow(rows)])
        if kind is None or _told(before) == _told(discards):
            return
        with spooled(kind) as spool:
            for block in self._warehouse.column_values(name, column):
                spool.write(block)
            self._warehouse.retype(Retyping(name, column, kind, spool.blocks(), discards))

    def _rebuilt_ids(self, name: TableName, ids: Any) -> Any:
        """Those of the ids whose row came from the rebuild, and not from a load before it or since an interruption."""
        found = [pa.array([], pa.string())]
        if len(ids):
            value_set = pc.unique(ids.cast(pa.string()))
            for block in self._warehouse.column_values(name, LOADED_AT):
                first, last = (pa.scalar(at, block["value"].type) for at in (self.plan.began, self.plan.ended))
                is_new = pc.and_(pc.greater_equal(block["value"], first), pc.less_equal(block["value"], last))
                chosen = block.filter(pc.and_(is_new, pc.is_in(block["id"].cast(pa.string()), value_set=value_set)))
                found += chosen["id"].cast(pa.string()).chunks
        return pa.concat_arrays(found)

    def _compute_latest(self) -> None:
        stored = self._warehouse.tables()
        for history, (latest, key) in LATEST.items():
            of_latest = stored.get(TableName(self._schema, latest))
            if history not in self.plan.rows_by_table or of_latest is None:
                continue
            of_history = stored[TableName(self._schema, history)]
            own = [column for column in of_history if column in of_latest and column not in standard_columns(history)]
            columns = [column for column in own if column != LOADED_AT]
            name = TableName(self._schema, latest)
            self._warehouse.recompute(Upsert(name, TableName(self._schema, history), key, columns))


def _as_arrow(rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
    return [arrow_table(DISCARDS, rows)] if rows else ()


def _told(discards: Any) -> Counter[tuple[Any, ...]]:
    return Counter(zip(*(discards[name].to_pylist() for name in ("row_id", "value", "received_at")), strict=True))


def _moment(value: Any, kind: ColumnType) -> Any:
    """A value that went through JSON."""
    return datetime.fromisoformat(value) if kind is ColumnType.TIMESTAMP and isinstance(value, str) else value


def clear(warehouse: Warehouse, schema: str) -> None:
    """Remove what a rebuild without a plan has left."""
    tables: Mapping[TableName, Columns] = warehouse.tables()
    for name in tables:
        if name.schema == schema and name.table.startswith(BESIDE):
            warehouse.drop(name)
