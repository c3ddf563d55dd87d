"""The statements of each step of a load and of each look-up, for every engine with transactions: pure text, made by a Dialect."""
# ruff: noqa: S608 -- identifiers go through Dialect.quoted, values through Dialect.text

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from headrace.warehouses._dialect import KEY, Dialect, Relation, Wanted
from headrace.warehouses.base import (
    HOUSEKEEPING,
    KEYS,
    Books,
    Columns,
    ColumnType,
    Hour,
    Load,
    TableName,
    Upsert,
)

Span = tuple[datetime, datetime]

OFFSETS: Final = TableName(HOUSEKEEPING, "offsets")
BOOKS: Final = TableName(HOUSEKEEPING, "books")
COLUMNS: Final = TableName(HOUSEKEEPING, "columns")
DISCARDS: Final = TableName(HOUSEKEEPING, "discards")
REJECTED: Final = TableName(HOUSEKEEPING, "rejected")

_BOOKS_COLUMNS: Final[Columns] = {
    "source": ColumnType.STRING,
    "hour": ColumnType.TIMESTAMP,
    **dict.fromkeys(Books._fields, ColumnType.INTEGER),
}
_TOUCHED_COLUMNS: Final[Columns] = dict.fromkeys(("schema", "table", "column"), ColumnType.STRING)


def create(dialect: Dialect, tables: Mapping[TableName, Columns], added: Mapping[TableName, Columns]) -> list[str]:
    """Schemas, tables and columns; indexes where the engine has them."""
    statements = [dialect.create_schema(schema) for schema in sorted({name.schema for name in tables})]
    for name, columns in tables.items():
        key = KEYS.get(name.table, ()) if name.schema == HOUSEKEEPING else ()
        statements += dialect.create_table(name, columns, key)
    for name, columns in added.items():
        if columns:
            statements += dialect.add_columns(name, columns)
    return statements


# The position.


def move(dialect: Dialect, load: Load) -> str:
    """Compare and set: changes one row, or none when the stored position is another."""
    q = dialect.quoted
    return (
        f"UPDATE {dialect.qualified(OFFSETS)} SET {q('next')} = {load.end} WHERE {_of(dialect, load.consumer, load.partition)} "
        f"AND {q('incarnation')} = {dialect.text(load.incarnation)} AND {q('next')} = {load.start}"
    )


def first_position(dialect: Dialect, load: Load) -> str:
    """For a consumer that has no position yet."""
    columns = dialect.names(("consumer", "partition", "incarnation", "next"))
    return (
        f"INSERT INTO {dialect.qualified(OFFSETS)} ({columns}) VALUES "
        f"({dialect.text(load.consumer)}, {load.partition}, {dialect.text(load.incarnation)}, {load.end})"
    )


def position(dialect: Dialect, consumer: str, partition: int) -> str:
    return (
        f"SELECT {dialect.names(('incarnation', 'next'))} FROM {dialect.qualified(OFFSETS)} "
        f"WHERE {_of(dialect, consumer, partition)}"
    )


def _of(dialect: Dialect, consumer: str, partition: int) -> str:
    return f"{dialect.quoted('consumer')} = {dialect.text(consumer)} AND {dialect.quoted('partition')} = {partition}"


# Rows, books, and what was seen.


def insert(dialect: Dialect, name: TableName, rows: Relation) -> str:
    columns = dialect.names(rows.columns)
    return f"INSERT INTO {dialect.qualified(name)} ({columns}) SELECT {columns} FROM {rows.sql} AS loaded"


def add_books(dialect: Dialect, books: Mapping[Hour, Books]) -> list[str]:
    if not books:
        return []
    added = dialect.inline(_BOOKS_COLUMNS, [(*hour, *counts) for hour, counts in books.items()])
    new = {column: f"added.{dialect.quoted(column)}" for column in _BOOKS_COLUMNS}
    sums = {column: f"{_stored(dialect, BOOKS)}.{dialect.quoted(column)} + {new[column]}" for column in Books._fields}
    return merge(dialect, BOOKS, added.sql, "added", {"source": new["source"], "hour": new["hour"]}, sums, new)


def touch(dialect: Dialect, load: Load, when: datetime) -> list[str]:
    """`last_seen` of columns, never backwards."""
    if not load.touched:
        return []
    seen = dialect.inline(_TOUCHED_COLUMNS, sorted(set(load.touched)))
    last_seen = f"greatest({_stored(dialect, COLUMNS)}.{dialect.quoted('last_seen')}, {dialect.moment(when)})"
    keys = {column: f"seen.{dialect.quoted(column)}" for column in _TOUCHED_COLUMNS}
    return merge(dialect, COLUMNS, seen.sql, "seen", keys, {"last_seen": last_seen}, {})


def merge(
    dialect: Dialect,
    target: TableName,
    source: str,
    alias: str,
    keys: Mapping[str, str],
    update: Mapping[str, str],
    insert_: Mapping[str, str],
) -> list[str]:
    """Rows of `source` (something that stands in FROM) into `target`: matching ones are updated, others are
    inserted, unless `insert_` is empty. The maps are expressions by column of the target; `_stored` names its own values.
    Each key is in `source` once."""
    q, table, stored = dialect.quoted, dialect.qualified(target), _stored(dialect, target)
    match = " AND ".join(f"{stored}.{q(column)} = {expression}" for column, expression in keys.items())
    changes = ", ".join(f"{q(column)} = {expression}" for column, expression in update.items())
    columns, values = dialect.names(insert_), ", ".join(insert_.values())
    if dialect.has_merge:
        statement = (
            f"MERGE INTO {table} AS stored USING {source} AS {alias} ON {match} WHEN MATCHED THEN UPDATE SET {changes}"
        )
        return [statement + (f" WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})" if insert_ else "")]
    statements = [f"UPDATE {table} SET {changes} FROM {source} AS {alias} WHERE {match}"]
    if insert_:
        missing = f"NOT EXISTS (SELECT 1 FROM {table} WHERE {match})"
        statements.append(f"INSERT INTO {table} ({columns}) SELECT {values} FROM {source} AS {alias} WHERE {missing}")
    return statements


def _stored(dialect: Dialect, target: TableName) -> str:
    return "stored" if dialect.has_merge else dialect.qualified(target)


# The latest state.


def late_keys(dialect: Dialect, upsert: Upsert, rows: Relation) -> str:
    """The keys whose stored row is not older than every row that the load brings for them: new values over old ones would be
    wrong there, so their state is computed from the history anew. Asked before or after the load's rows are inserted."""
    key, received_at, first = dialect.quoted(upsert.key), dialect.quoted("received_at"), dialect.quoted("the first")
    return (
        f"SELECT brought.{dialect.quoted(KEY)} FROM (SELECT {key} AS {dialect.quoted(KEY)}, min({received_at}) AS {first} "
        f"FROM {rows.sql} AS loaded WHERE {key} IS NOT NULL GROUP BY {key}) AS brought "
        f"JOIN {dialect.qualified(upsert.table)} AS stored ON stored.{dialect.quoted('id')} = brought.{dialect.quoted(KEY)} "
        f"WHERE stored.{received_at} IS NULL OR brought.{first} IS NULL OR stored.{received_at} >= brought.{first}"
    )


def upsert(dialect: Dialect, upsert_: Upsert, rows: Relation, late: Relation | None, loaded_at: datetime) -> list[str]:
    """After the load's rows are in the history. `late` holds the late keys in its column KEY."""
    key = dialect.quoted(upsert_.key)
    brought = [column for column in upsert_.columns if column in rows.columns]
    if late is None:
        return _latest(
            dialect, upsert_, dialect.latest(upsert_, rows.sql, brought, f"{key} IS NOT NULL"), brought, loaded_at
        )
    among = f"(SELECT {dialect.quoted(KEY)} FROM {late.sql} AS late)"
    fast = dialect.latest(upsert_, rows.sql, brought, f"{key} IS NOT NULL AND {key} NOT IN {among}")
    anew = dialect.latest(upsert_, dialect.qualified(upsert_.history), upsert_.columns, f"{key} IN {among}")
    return [
        *_latest(dialect, upsert_, fast, brought, loaded_at),
        *_latest(dialect, upsert_, anew, upsert_.columns, loaded_at),
    ]


def _latest(dialect: Dialect, upsert_: Upsert, query: str, columns: Sequence[str], loaded_at: datetime) -> list[str]:
    stored, moment = _stored(dialect, upsert_.table), dialect.moment(loaded_at)
    new = {column: f"latest.{dialect.quoted(column)}" for column in ("received_at", *columns)}
    update = {"received_at": new["received_at"], "loaded_at": moment} | {
        column: f"coalesce({new[column]}, {stored}.{dialect.quoted(column)})" for column in columns
    }
    key = f"latest.{dialect.quoted(KEY)}"
    return merge(
        dialect, upsert_.table, f"({query})", "latest", {"id": key}, update, {"id": key, "loaded_at": moment, **new}
    )


def recompute(dialect: Dialect, upsert_: Upsert) -> list[str]:
    """Every row from all of its history. Columns that the loader does not keep, and rows without history, stay as they are."""
    q, key = dialect.quoted, dialect.quoted(upsert_.key)
    history = dialect.qualified(upsert_.history)
    latest = dialect.latest(upsert_, history, upsert_.columns, f"{key} IS NOT NULL")
    loaded = (
        f"SELECT {key} AS {q('the other key')}, max({q('loaded_at')}) AS {q('loaded_at')} "
        f"FROM {history} WHERE {key} IS NOT NULL GROUP BY {key}"
    )
    both = (
        f"(SELECT * FROM ({latest}) AS latest JOIN ({loaded}) AS loaded "
        f"ON loaded.{q('the other key')} = latest.{q(KEY)})"
    )
    new = {column: f"anew.{q(column)}" for column in ("received_at", "loaded_at", *upsert_.columns)}
    id_ = f"anew.{q(KEY)}"
    return merge(dialect, upsert_.table, both, "anew", {"id": id_}, new, {"id": id_, **new})


def latest_column(dialect: Dialect, upsert_: Upsert, column: str) -> list[str]:
    """One emptied column of the latest-state table, for all keys."""
    query = dialect.latest(
        upsert_, dialect.qualified(upsert_.history), [column], f"{dialect.quoted(upsert_.key)} IS NOT NULL"
    )
    update = {column: f"latest.{dialect.quoted(column)}"}
    return merge(dialect, upsert_.table, f"({query})", "latest", {"id": f"latest.{dialect.quoted(KEY)}"}, update, {})


# Look-ups.


def ids_since(dialect: Dialect, name: TableName, since: datetime) -> str:
    q = dialect.quoted
    return (
        f"SELECT {q('id')}, {q('received_at')} FROM {dialect.qualified(name)} "
        f"WHERE {q('id')} IS NOT NULL AND {q('received_at')} >= {dialect.moment(since)}"
    )


def existing_ids(dialect: Dialect, names: Sequence[TableName], wanted: Wanted, spans: Sequence[Span]) -> str:
    q = dialect.quoted
    within = " OR ".join(
        f"{q('received_at')} BETWEEN {dialect.moment(first)} AND {dialect.moment(last)}"
        for first, last in merged(spans)
    )
    return " UNION ALL ".join(
        f"SELECT {q('id')} FROM {dialect.qualified(name)} WHERE {dialect.among(q('id'), wanted)} AND ({within})"
        for name in names
    )


def merged(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans as one."""
    folded: list[Span] = []
    for first, last in sorted(spans):
        if folded and first <= folded[-1][1]:
            folded[-1] = (folded[-1][0], max(folded[-1][1], last))
        else:
            folded.append((first, last))
    return folded


def rejected_ids(dialect: Dialect, source: str, wanted: Wanted) -> str:
    q = dialect.quoted
    return (
        f"SELECT DISTINCT {q('message_id')} FROM {dialect.qualified(REJECTED)} WHERE {q('source')} = {dialect.text(source)} "
        f"AND {q('stage')} = 'loader' AND {dialect.among(q('message_id'), wanted)}"
    )


def integers_within(dialect: Dialect, name: TableName, column: str) -> str:
    """The least and the greatest value."""
    quoted = dialect.quoted(column)
    return f"SELECT min({quoted}) AS {dialect.quoted('least')}, max({quoted}) AS {dialect.quoted('greatest')} FROM {dialect.qualified(name)}"


def named_columns(dialect: Dialect) -> str:
    columns = ("schema", "table", "column", "original", "type", "first_seen", "last_seen")
    # `column` last: ids of columns are compared as bytes.
    order = ", ".join(dialect.by_bytes(dialect.quoted(column)) for column in columns[:5])
    return f"SELECT {dialect.names(columns)} FROM {dialect.qualified(COLUMNS)} ORDER BY {order}"


def books(dialect: Dialect) -> str:
    return f"SELECT {dialect.names(_BOOKS_COLUMNS)} FROM {dialect.qualified(BOOKS)}"


def column_values(dialect: Dialect, name: TableName, column: str) -> str:
    columns = dialect.names(("id", "received_at"))
    value = dialect.quoted(column)
    return f"SELECT {columns}, {value} AS {dialect.quoted('value')} FROM {dialect.qualified(name)} WHERE {value} IS NOT NULL"


NEWEST_BY: Final[Mapping[str, str]] = {"loads": "started", "discards": "loaded_at", "rejected": "loaded_at"}
"""What tells the newest rows of a housekeeping table."""


def latest_rows(dialect: Dialect, table: str, limit: int) -> str:
    order = dialect.quoted(NEWEST_BY[table])
    return f"SELECT * FROM {dialect.qualified(TableName(HOUSEKEEPING, table))} ORDER BY {order} DESC LIMIT {limit}"


def counts(dialect: Dialect, names: Sequence[TableName]) -> str:
    """One statement: (schema, table, rows) each."""
    return " UNION ALL ".join(
        f"SELECT {dialect.text(name.schema)}, {dialect.text(name.table)}, count(*) FROM {dialect.qualified(name)}"
        for name in names
    )


def newest(dialect: Dialect, name: TableName, columns: Columns, limit: int) -> str:
    received_at = dialect.quoted("received_at")
    order = f" ORDER BY {received_at} DESC" if "received_at" in columns else ""
    where = f" WHERE {dialect.newest_from(name)}" if order and dialect.newest_from(name) else ""
    return f"SELECT * FROM {dialect.qualified(name)}{where}{order} LIMIT {int(limit)}"


ACCOUNT_COLUMNS: Final = ("what", "name", "incarnation", "moment", "a", "b", "c", "d", "e")


def account(dialect: Dialect, history: Mapping[str, Sequence[TableName]]) -> str:
    """One statement, so that everything is of one moment: rows of ACCOUNT_COLUMNS. `history` is by schema."""
    q = dialect.quoted
    none = {
        type_: dialect.cast("NULL", type_) for type_ in (ColumnType.STRING, ColumnType.INTEGER, ColumnType.TIMESTAMP)
    }
    text, number, moment = none[ColumnType.STRING], none[ColumnType.INTEGER], none[ColumnType.TIMESTAMP]

    def line(what: str, name: str, incarnation: str, when: str, counts: Sequence[str], table: TableName | None) -> str:
        padded = [*counts, *[number] * (5 - len(counts))]
        values = (dialect.text(what), name, incarnation, when, *padded)
        shown = ", ".join(f"{value} AS {q(alias)}" for value, alias in zip(values, ACCOUNT_COLUMNS, strict=True))
        return f"SELECT {shown}" + (f" FROM {dialect.qualified(table)}" if table else "")

    parts = [
        line("books", q("source"), text, q("hour"), [q(field) for field in Books._fields], BOOKS),
        line("position", q("consumer"), q("incarnation"), moment, [q("partition"), q("next")], OFFSETS),
        line("discards", text, text, moment, ["count(*)"], DISCARDS),
        *(
            line("received", dialect.text(schema), text, dialect.last_received(name), [], None)
            for schema, names in history.items()
            for name in names
        ),
    ]
    return " UNION ALL ".join(parts)


# Changing what is stored.


def set_values(dialect: Dialect, name: TableName, column: str, values: Relation) -> list[str]:
    """`values` has id, received_at and value."""
    keys = {key: f"given.{dialect.quoted(key)}" for key in ("id", "received_at")}
    distinct = f"(SELECT DISTINCT {dialect.names(values.columns)} FROM {values.sql} AS every)"
    return merge(dialect, name, distinct, "given", keys, {column: f"given.{dialect.quoted('value')}"}, {})


def forget_discards(dialect: Dialect, name: TableName, column: str) -> str:
    q, text = dialect.quoted, dialect.text
    return (
        f"DELETE FROM {dialect.qualified(DISCARDS)} WHERE {q('schema')} = {text(name.schema)} "
        f"AND {q('table')} = {text(name.table)} AND {q('column')} = {text(column)}"
    )


def learn_type(dialect: Dialect, name: TableName, column: str, type_: ColumnType) -> str:
    q, text = dialect.quoted, dialect.text
    return (
        f"UPDATE {dialect.qualified(COLUMNS)} SET {q('type')} = {text(type_.value)} WHERE {q('schema')} = {text(name.schema)} "
        f"AND {q('table')} = {text(name.table)} AND {q('column')} = {text(column)}"
    )


def add_missing(dialect: Dialect, old: TableName, new: TableName, before: Columns, after: Columns) -> str:
    """Those rows of `old` whose id `new` does not have. `before` are the columns of `old`, `after` those of `new`. Only casts that
    lose nothing are written: anything else the engine refuses."""
    id_ = dialect.quoted("id")
    shown = []
    for column, type_ in before.items():
        value, to = f"old.{dialect.quoted(column)}", after[column]
        is_safe = to is ColumnType.STRING or (type_, to) == (ColumnType.INTEGER, ColumnType.FLOAT)
        shown.append(dialect.cast(value, to) if type_ is not to and is_safe else value)
    missing = f"NOT EXISTS (SELECT 1 FROM {dialect.qualified(new)} AS new WHERE new.{id_} = old.{id_})"
    return (
        f"INSERT INTO {dialect.qualified(new)} ({dialect.names(before)}) "
        f"SELECT {', '.join(shown)} FROM {dialect.qualified(old)} AS old WHERE {missing}"
    )
