"""What is in the tables: ids for the filters of duplicates, look-ups of single ids, the newest rows. The rows of a load that
is begun and not finished are left out: they are those with its `loaded_at`."""
# ruff: noqa: S608 -- identifiers go through _sql.quoted, values are parameters or numbers

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg import expressions
from pyiceberg.expressions import And, BooleanExpression
from pyiceberg.table import Table

from headrace.warehouses._duckdb_lookups import merged
from headrace.warehouses._iceberg_catalog import columns_of
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import bounds, planned, relation
from headrace.warehouses._sql import quoted
from headrace.warehouses._values import microseconds, moment
from headrace.warehouses.base import HISTORY_TABLES, HOUSEKEEPING_TABLES, StoredTable

BLOCK_ROWS: Final = 100_000
_WANTED: Final = "headrace wanted"
_MOST_IN: Final = 200
"""Beyond it pyiceberg does not look at the bounds of files."""
_FILTERS: Final[Any] = expressions
"""The constructors of its filters take names of columns, which their annotations do not know."""
Span = tuple[datetime, datetime]


def history(tables: dict[Any, Table]) -> list[Table]:
    """Of a schema's tables those in which an event's one row is."""
    return [table for name, table in tables.items() if name.table in HISTORY_TABLES]


def _finished(unfinished: Sequence[datetime]) -> str:
    return "".join(f" AND loaded_at IS DISTINCT FROM make_timestamptz({microseconds(when)})" for when in unfinished)


def _since(first: datetime) -> BooleanExpression:
    return cast("BooleanExpression", _FILTERS.GreaterThanOrEqual("received_at", first.isoformat()))


def ids_since(
    engine: Engine, table: Table, since: datetime, unfinished: Sequence[datetime]
) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
    plan = planned(table, _since(since))
    files = sorted(plan.files, key=lambda file: bounds(file, plan.schema, "received_at")[0] or 0)
    with engine.cursor() as cursor:
        rows = relation(cursor, plan._replace(files=files), ["id", "received_at", "loaded_at"])
        found = cursor.sql(
            f"SELECT id, epoch_us(received_at) AS at FROM ({rows}) WHERE id IS NOT NULL "
            f"AND received_at >= make_timestamptz({microseconds(since)}){_finished(unfinished)}"
        )
        with found.to_arrow_reader(BLOCK_ROWS) as reader:
            for batch in reader:
                if batch.num_rows:
                    ends = pc.min_max(batch.column("at")).as_py()
                    yield moment(ends["min"]), moment(ends["max"]), batch.column("id").to_pylist()


def existing_ids(
    engine: Engine, table: Table, ids: Sequence[str], spans: Sequence[Span], unfinished: Sequence[datetime]
) -> set[str]:
    folded = merged(spans)
    within = And(_since(folded[0][0]), _FILTERS.LessThanOrEqual("received_at", folded[-1][1].isoformat()))
    if len(ids) <= _MOST_IN:
        within = And(within, _FILTERS.In("id", ids))
    condition = " OR ".join(
        f"received_at BETWEEN make_timestamptz({microseconds(first)}) AND make_timestamptz({microseconds(last)})"
        for first, last in folded
    )
    plan = planned(table, within)
    if not plan.files:
        return set()
    with engine.cursor() as cursor:
        cursor.register(_WANTED, pa.table({"wanted": pa.array(ids, pa.string())}))
        rows = relation(cursor, plan, ["id", "received_at", "loaded_at"])
        found = cursor.execute(
            f"SELECT id FROM ({rows}) SEMI JOIN {quoted(_WANTED)} ON id = wanted WHERE ({condition}){_finished(unfinished)}"
        )
        return {row[0] for row in found.fetchall()}


def rejected_ids(
    engine: Engine, table: Table, source: str, ids: Sequence[str], unfinished: Sequence[datetime]
) -> set[str]:
    plan = planned(table, _FILTERS.In("message_id", ids) if len(ids) <= _MOST_IN else _FILTERS.NotNull("message_id"))
    if not plan.files:
        return set()
    with engine.cursor() as cursor:
        cursor.register(_WANTED, pa.table({"wanted": pa.array(ids, pa.string())}))
        rows = relation(cursor, plan, ["source", "message_id", "stage", "loaded_at"])
        found = cursor.execute(
            f"SELECT DISTINCT message_id FROM ({rows}) SEMI JOIN {quoted(_WANTED)} ON message_id = wanted "
            f"WHERE source = ? AND stage = 'loader'{_finished(unfinished)}",
            [source],
        )
        return {row[0] for row in found.fetchall()}


def integers_within(engine: Engine, table: Table, column: str, bound: int) -> bool:
    with engine.cursor() as cursor:
        rows = relation(cursor, planned(table), [column])
        ends = cursor.execute(f"SELECT min({quoted(column)}), max({quoted(column)}) FROM ({rows})").fetchall()[0]
        return all(value is None or -bound <= value <= bound for value in ends)


def count(engine: Engine, table: Table, unfinished: Sequence[datetime]) -> int:
    plan = planned(table)
    if not plan.masked and not unfinished:
        return sum(file.record_count for file in plan.files)
    with engine.cursor() as cursor:
        rows = relation(cursor, plan, ["loaded_at"])
        found = cursor.execute(f"SELECT count(*) FROM ({rows}) WHERE true{_finished(unfinished)}").fetchall()
        return int(found[0][0])


def last_received(tables: Sequence[Table]) -> datetime | None:
    """By the files' statistics alone."""
    greatest = [
        bounds(file, plan.schema, "received_at")[1]
        for table in tables
        if "received_at" in table.schema().column_names
        for plan in (planned(table),)
        for file in plan.files
    ]
    return max((moment(found) for found in greatest if found is not None), default=None)


def stored(table: Table) -> StoredTable:
    """By the files' statistics alone; rows that files of deletions take away are counted."""
    plan = planned(table)
    rows, size_bytes = (
        sum(file.record_count for file in plan.files),
        sum(file.file_size_in_bytes for file in plan.files),
    )
    return StoredTable(columns_of(table), rows, not plan.masked, size_bytes)


def latest_rows(engine: Engine, table: Table, name: str, limit: int) -> Any:
    columns = list(HOUSEKEEPING_TABLES[name])
    with engine.cursor() as cursor:
        rows = relation(cursor, planned(table), columns)
        shown = ", ".join(quoted(column) for column in columns)
        return cursor.sql(f"SELECT {shown} FROM ({rows}) ORDER BY loaded_at DESC LIMIT {int(limit)}").to_arrow_table()


def column_values(engine: Engine, table: Table, column: str) -> Iterator[Any]:
    plan = planned(table, _FILTERS.NotNull(column))
    with engine.cursor() as cursor:
        rows = relation(cursor, plan, ["id", "received_at", column])
        value = quoted(column)
        found = cursor.sql(f"SELECT id, received_at, {value} AS value FROM ({rows}) WHERE {value} IS NOT NULL")
        with found.to_arrow_reader(BLOCK_ROWS) as reader:
            for batch in reader:
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
