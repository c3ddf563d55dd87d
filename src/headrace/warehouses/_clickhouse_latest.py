"""The latest-state tables (`Upsert`) in ClickHouse: states that fold, and a view with the table's name that finishes them.

For each key and column a state keeps the last non-null value with its (received_at, id). States fold in any order and any number of times
to the same, so late rows, repeated loads and merges that have not run yet change nothing, and a load costs what its own rows cost,
however long the history is.
"""
# ruff: noqa: S608 -- identifiers go through _clickhouse_sql.quoted

from __future__ import annotations

from typing import Any, Final

from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import (
    JSON_COMMENT,
    LATEST,
    MADE,
    TYPES,
    column_list,
    qualified,
    quoted,
    text,
)
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, TableName, Upsert

_TIME: Final = "DateTime64(6, 'UTC')"
_OWN: Final = ("id", "received_at", "loaded_at")
_EPOCH: Final = "toDateTime64(0, 6, 'UTC')"


def states(name: TableName) -> TableName:
    """Where the states of a latest-state table are: `headrace`.`shop.users`. No name of an event's table has a dot."""
    return TableName(HOUSEKEEPING, f"{name.schema}.{name.table}")


def create(session: Session, name: TableName, columns: Columns) -> None:
    """Safe to call twice."""
    session.run(_create_states(states(name), columns))
    session.run(_view("CREATE OR REPLACE VIEW", name, states(name), columns))


def add(session: Session, name: TableName, column: str, type_: ColumnType, columns: Columns) -> None:
    """`columns` are all of them, the new one among them."""
    session.run(f"ALTER TABLE {qualified(states(name))} ADD COLUMN IF NOT EXISTS {quoted(column)} {_state(type_)}")
    session.run(_view("CREATE OR REPLACE VIEW", name, states(name), columns))


def _state(type_: ColumnType) -> str:
    return f"AggregateFunction(argMax, {TYPES[type_]}, String)"


def _create_states(where: TableName, columns: Columns) -> str:
    lines = "".join(f", {quoted(column)} {_state(type_)}" for column, type_ in columns.items() if column not in _OWN)
    return (
        f"CREATE TABLE IF NOT EXISTS {qualified(where)} (id String, received_at SimpleAggregateFunction(max, {_TIME}), "
        f"loaded_at SimpleAggregateFunction(max, {_TIME}){lines}) ENGINE = AggregatingMergeTree ORDER BY id "
        f"SETTINGS fsync_after_insert = 1, fsync_part_directory = 1 COMMENT {text(MADE)}"
    )


def _view(statement: str, name: TableName, of_states: TableName, columns: Columns) -> str:
    lines = []
    finished = []
    for column, type_ in columns.items():
        comment = f" COMMENT {text(JSON_COMMENT)}" if type_ is ColumnType.JSON else ""
        kind = ("String" if column == "id" else _TIME) if column in _OWN else TYPES[type_]
        lines.append(f"{quoted(column)} {kind}{comment}")
        stored = f"stored.{quoted(column)}"
        whole = stored if column == "id" else f"max({stored})" if column in _OWN else f"argMaxMerge({stored})"
        finished.append(f"{whole} AS {quoted(column)}")
    return (
        f"{statement} {qualified(name)} ({', '.join(lines)}) AS SELECT {', '.join(finished)} "
        f"FROM {qualified(of_states)} AS stored GROUP BY stored.id COMMENT {text(LATEST)}"
    )


def fold(session: Session, upsert: Upsert, rows: Any, columns: Columns, *, token: str, guard: str) -> None:
    """The rows of a load into the states. `columns` are those of the latest-state table."""
    brought = [column for column in upsert.columns if column in rows.column_names]
    names = [upsert.key, "received_at", "id", "loaded_at", *brought]
    there = [name for name in names if name in rows.column_names]
    place = {name: f"c{number}" for number, name in enumerate(there)}
    select = _folded(place[upsert.key], {name: place.get(name, "NULL") for name in names}, brought, columns)
    session.insert(
        f"{qualified(states(upsert.table))} ({column_list((*_OWN, *brought))})",
        select,
        rows.select(there),
        token=token,
        # Rows without the key are nobody's.
        guard=guard,
        rest=f"AND {place[upsert.key]} IS NOT NULL GROUP BY {place[upsert.key]}",
    )


def _rank(received_at: str, id_: str) -> str:
    """A text that sorts as (received_at, id): eight bytes of the time, greatest first, and the id. Comparing tuples instead makes
    folding several times as dear."""
    sortable = f"bitXor(reinterpretAsUInt64(toUnixTimestamp64Micro(ifNull({received_at}, {_EPOCH}))), {1 << 63})"
    return f"concat(reverse(reinterpretAsFixedString({sortable})), ifNull({id_}, ''))"


def _folded(key: str, place: dict[str, str], brought: list[str], columns: Columns) -> list[str]:
    rank = _rank(place["received_at"], place["id"])
    select = [f"assumeNotNull({key})"]
    select += [f"ifNull(max({place[name]}), {_EPOCH})" for name in ("received_at", "loaded_at")]
    return select + [f"argMaxState(CAST({place[name]}, {text(TYPES[columns[name]])}), {rank})" for name in brought]


def rebuild(session: Session, upsert: Upsert, columns: Columns, *, there: str | None) -> None:
    """Compute the states anew from all of the history, with these columns, and put them and the view in place of what is there
    (`there`: the comment of the table, None when there is none). Repeating begins from the start."""
    fresh = TableName(HOUSEKEEPING, f"{states(upsert.table).table}.new")
    session.run(f"DROP TABLE IF EXISTS {qualified(fresh)} SYNC")
    session.run(_create_states(fresh, columns))
    own = [column for column in columns if column not in _OWN]
    place = {name: f"h.{quoted(name)}" for name in ("received_at", "id", "loaded_at", *own)}
    key = f"h.{quoted(upsert.key)}"
    in_history = {
        name
        for (name,) in session.rows(
            f"SELECT name FROM system.columns WHERE database = {text(upsert.history.schema)} AND table = {text(upsert.history.table)}"
        )
    }
    brought = [column for column in own if column in in_history]
    session.run(
        f"INSERT INTO {qualified(fresh)} ({column_list((*_OWN, *brought))}) "
        f"SELECT {', '.join(_folded(key, place, brought, columns))} "
        f"FROM {qualified(upsert.history)} AS h WHERE {key} IS NOT NULL GROUP BY {key}"
    )
    session.run(_create_states(states(upsert.table), columns))
    session.run(f"EXCHANGE TABLES {qualified(fresh)} AND {qualified(states(upsert.table))}")
    if there is not None and there != LATEST:
        # It was a table of its own until now.
        session.run(f"DROP TABLE {qualified(upsert.table)} SYNC")
    session.run(_view("CREATE OR REPLACE VIEW", upsert.table, states(upsert.table), columns))
    session.run(f"DROP TABLE IF EXISTS {qualified(fresh)} SYNC")


def drop(session: Session, name: TableName) -> None:
    session.run(f"DROP VIEW IF EXISTS {qualified(name)} SYNC")
    session.run(f"DROP TABLE IF EXISTS {qualified(states(name))} SYNC")
