"""headrace's own schema in ClickHouse: tables that take blocks, and over them views with the names and columns that every warehouse has.

`_state` holds positions and books together, so that one block, the last of a load, moves both: whoever reads them reads them of
one moment. Its sums are right before any merge, since the views add up themselves. `_begun` holds the load that a consumer began last.
`_columns` folds into one row a column.
"""
# ruff: noqa: S608 -- identifiers are constants or quoted, values are literals made by _clickhouse_sql

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import pyarrow as pa

from headrace.warehouses import _clickhouse_lease
from headrace.warehouses._clickhouse_session import FENCED, Session
from headrace.warehouses._clickhouse_sql import (
    MADE,
    STATE_WINDOW,
    column_list,
    create_table,
    housekeeping,
    moment,
    quoted,
    table_settings,
    text,
)
from headrace.warehouses._values import microseconds
from headrace.warehouses._values import moment as moment_of
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Books,
    Hour,
    Load,
    NamedColumn,
    Position,
    TableName,
    Unfinished,
)

STATE, BEGUN, NAMED = (housekeeping(table) for table in ("_state", "_begun", "_columns"))
_TIME: Final = "DateTime64(6, 'UTC')"
_COUNTS: Final = ", ".join(f"{name} SimpleAggregateFunction(sum, Int64)" for name in Books._fields)
_SUMS: Final = ", ".join(f"sum(stored.{name}) AS {name}" for name in Books._fields)
Consumer = tuple[str, int]
"""A consumer's partition."""


class State(NamedTuple):
    """What all loaders before did. `ended` has the number of the last load that came to its end."""

    positions: Mapping[Consumer, Position]
    ended: Mapping[Consumer, int]
    unfinished: Mapping[Consumer, Unfinished]


def statements() -> Iterator[str]:
    """All of them may be repeated."""
    yield f"CREATE DATABASE IF NOT EXISTS {quoted(HOUSEKEEPING)}"
    yield _clickhouse_lease.CREATE
    yield (
        f"CREATE TABLE IF NOT EXISTS {STATE} (kind LowCardinality(String), consumer String, `partition` Int64, source String, "
        f"hour {_TIME}, position SimpleAggregateFunction(max, Tuple(UInt64, String, Int64)), {_COUNTS}) "
        f"ENGINE = AggregatingMergeTree ORDER BY (kind, consumer, `partition`, source, hour) "
        f"SETTINGS {table_settings(STATE_WINDOW)} COMMENT {text(MADE)}"
    )
    yield (
        f"CREATE TABLE IF NOT EXISTS {BEGUN} (consumer String, `partition` Int64, number UInt64, incarnation String, "
        f"start Int64, `end` Int64, loaded_at {_TIME}, holder String, at {_TIME} DEFAULT now64(6, 'UTC')) "
        f"ENGINE = ReplacingMergeTree(number) ORDER BY (consumer, `partition`) "
        f"SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT {text(MADE)}"
    )
    yield (
        f"CREATE TABLE IF NOT EXISTS {NAMED} (`schema` String, `table` String, `column` String, "
        f"original SimpleAggregateFunction(anyLast, Nullable(String)), type SimpleAggregateFunction(max, Tuple({_TIME}, String)), "
        f"first_seen SimpleAggregateFunction(min, Nullable({_TIME})), last_seen SimpleAggregateFunction(max, Nullable({_TIME}))) "
        f"ENGINE = AggregatingMergeTree ORDER BY (`schema`, `table`, `column`) "
        f"SETTINGS {table_settings(STATE_WINDOW)} COMMENT {text(MADE)}"
    )
    for table in ("rejected", "discards", "loads"):
        yield create_table(TableName(HOUSEKEEPING, table), HOUSEKEEPING_TABLES[table])
    yield from _views()


def _views() -> Iterator[str]:
    yield _view(
        "offsets",
        "consumer, `partition`, tupleElement(max(stored.position), 2) AS incarnation, "
        "tupleElement(max(stored.position), 3) AS `next`",
        f"{STATE} AS stored WHERE kind = 'position' GROUP BY consumer, `partition`",
    )
    yield _view("books", f"source, hour, {_SUMS}", f"{STATE} AS stored WHERE kind = 'books' GROUP BY source, hour")
    yield _view(
        "columns",
        "`schema`, `table`, `column`, anyLast(stored.original) AS original, "
        "nullIf(tupleElement(max(stored.type), 2), '') AS type, "
        "min(stored.first_seen) AS first_seen, max(stored.last_seen) AS last_seen",
        f"{NAMED} AS stored GROUP BY `schema`, `table`, `column` HAVING anyLast(stored.original) IS NOT NULL",
    )


def _view(table: str, columns: str, source: str) -> str:
    return f"CREATE OR REPLACE VIEW {housekeeping(table)} AS SELECT {columns} FROM {source}"


def read_state(session: Session) -> State:
    found = session.rows(
        f"""
        SELECT 'ended' AS what, consumer, `partition`, tupleElement(max(position), 1) AS number,
            tupleElement(max(position), 2) AS incarnation, tupleElement(max(position), 3) AS a, toInt64(0) AS b, toInt64(0) AS c
        FROM {STATE} WHERE kind = 'position' GROUP BY consumer, `partition`
        UNION ALL
        SELECT 'begun', consumer, `partition`, number, incarnation, start, `end`, toUnixTimestamp64Micro(loaded_at)
        FROM {BEGUN} FINAL
        """
    )
    ended = {(consumer, part): number for kind, consumer, part, number, *_ in found if kind == "ended"}
    positions = {
        (consumer, part): Position(incarnation, following)
        for kind, consumer, part, _, incarnation, following, *_ in found
        if kind == "ended"
    }
    unfinished = {
        (consumer, part): Unfinished(incarnation, start, end, moment_of(loaded))
        for kind, consumer, part, number, incarnation, start, end, loaded in found
        if kind == "begun" and number > ended.get((consumer, part), 0)
    }
    return State(positions, ended, unfinished)


def begin(session: Session, load: Load, number: int, loaded_at: datetime, guard: str) -> None:
    """Write down which load is begun."""
    values = f"{text(load.consumer)}, {load.partition}, {number}, {text(load.incarnation)}, {load.start}, {load.end}, {moment(loaded_at)}"
    session.run(
        f"INSERT INTO {BEGUN} (consumer, `partition`, number, incarnation, start, `end`, loaded_at) "
        f"SELECT {values} WHERE throwIf((SELECT {guard}) = 0, {text(FENCED)}) = 0"
    )


def not_ended(load: Load, number: int) -> str:
    """An expression that is true as long as no load of this number, or one after it, has come to its end."""
    return (
        f"(SELECT ifNull(tupleElement(max(position), 1), 0) FROM {STATE} WHERE kind = 'position' "
        f"AND consumer = {text(load.consumer)} AND `partition` = {load.partition}) = {number - 1}"
    )


def end(session: Session, load: Load, number: int, *, token: str, guard: str) -> None:
    """The last block of a load: the position and the books."""
    kept = [("position", load.consumer, load.partition, "", 0, number, load.incarnation, load.end, *Books())]
    kept += [
        ("books", "", 0, key.source, microseconds(key.hour), 0, "", 0, *counts) for key, counts in load.books.items()
    ]
    rows = pa.table(
        [pa.array(column) for column in zip(*kept, strict=True)], names=[f"c{n}" for n in range(len(kept[0]))]
    )
    select = ["assumeNotNull(c0)", "assumeNotNull(c1)", "assumeNotNull(c2)", "assumeNotNull(c3)"]
    select += ["fromUnixTimestamp64Micro(assumeNotNull(c4), 'UTC')"]
    select += ["tuple(toUInt64(assumeNotNull(c5)), assumeNotNull(c6), assumeNotNull(c7))"]
    select += [f"assumeNotNull(c{8 + place})" for place in range(len(Books._fields))]
    columns = column_list(("kind", "consumer", "partition", "source", "hour", "position", *Books._fields))
    session.insert(f"{STATE} ({columns})", select, rows, token=token, guard=guard)


def books(session: Session) -> dict[Hour, Books]:
    found = session.rows(
        f"SELECT source, toUnixTimestamp64Micro(hour), {_SUMS} FROM {STATE} AS stored WHERE kind = 'books' "
        "GROUP BY source, hour ORDER BY source, hour"
    )
    return {Hour(source, moment_of(hour)): Books(*counts) for source, hour, *counts in found}


def account(session: Session) -> tuple[dict[Hour, Books], dict[Consumer, Position]]:
    """Books and positions of one moment: one statement over one table sees a load's last block or does not."""
    found = session.rows(
        "SELECT kind, consumer, `partition`, source, toUnixTimestamp64Micro(hour), tupleElement(max(stored.position), 2), "
        f"tupleElement(max(stored.position), 3), {_SUMS} FROM {STATE} AS stored GROUP BY kind, consumer, `partition`, source, hour"
    )
    of_books = {
        Hour(source, moment_of(hour)): Books(*counts)
        for kind, _, _, source, hour, _, _, *counts in found
        if kind == "books"
    }
    positions = {
        (consumer, partition): Position(incarnation, following)
        for kind, consumer, partition, _, _, incarnation, following, *_ in found
        if kind == "position"
    }
    return of_books, positions


def named_columns(session: Session) -> list[NamedColumn]:
    found = session.rows(
        "SELECT `schema`, `table`, `column`, original, type, toUnixTimestamp64Micro(first_seen), "
        f"toUnixTimestamp64Micro(last_seen) FROM {housekeeping('columns')} ORDER BY `schema`, `table`, `column`"
    )
    return [
        NamedColumn(schema, table, column, original or "", type_ or "", moment_of(first), moment_of(last))
        for schema, table, column, original, type_, first, last in found
    ]


def name_columns(
    session: Session,
    named: pa.Table | None,
    touched: Sequence[tuple[str, str, str]],
    at: datetime,
    *,
    token: str,
    guard: str,
) -> None:
    """New rows of headrace.columns, and `last_seen` of those that are there. The rows fold into one, so that repeating is harmless."""
    columns = ("schema", "table", "column", "original", "type", "first_seen", "last_seen")
    kept: list[tuple[Any, ...]] = (
        [] if named is None else list(zip(*(named.column(name).to_pylist() for name in columns), strict=True))
    )
    kept += [(*seen, None, None, None, at) for seen in touched]
    if not kept:
        return
    kinds = [pa.string()] * 5 + [pa.timestamp("us", "UTC")] * 2
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*kept, strict=True), kinds, strict=True)]
    rows = pa.table(arrays, names=list(columns))
    select = [f"assumeNotNull(c{place})" for place in range(3)]
    select += ["c3", "tuple(ifNull(c5, toDateTime64(0, 6, 'UTC')), ifNull(c4, ''))", "c5", "c6"]
    session.insert(f"{NAMED} ({column_list(columns)})", select, rows, token=token, guard=guard)


def retyped(session: Session, table: TableName, column: str, type_: str) -> None:
    """headrace.columns learns a column's type; the latest one counts."""
    session.run(
        f"INSERT INTO {NAMED} (`schema`, `table`, `column`, type) "
        f"SELECT {text(table.schema)}, {text(table.table)}, {text(column)}, tuple(now64(6, 'UTC'), {text(type_)})"
    )
