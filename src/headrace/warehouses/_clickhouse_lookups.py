"""What is in the tables: ids for the filters of duplicates, the look-up of single ids, and what `status` tells.

Tables are sorted by received_at, so that ClickHouse reads only the granules of a look-up's spans. The rows of a load that was begun and not
ended are left out of look-ups of ids: that load is made again and must find its own events new.
"""
# ruff: noqa: S608 -- identifiers go through _clickhouse_sql.quoted, values are literals made there

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses._clickhouse_sql import (
    MADE,
    column_type,
    housekeeping,
    moment,
    qualified,
    quoted,
    text,
    texts,
)
from headrace.warehouses._values import moment as moment_of
from headrace.warehouses.base import (
    HISTORY_TABLES,
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Columns,
    StoredTable,
    TableName,
)

IDS_AT_ONCE: Final = 5_000
"""Ids in one statement: far below what a server reads of one."""
Span = tuple[datetime, datetime]


def tables(session: Session) -> dict[TableName, Columns]:
    """What headrace made: a server may hold much else, and what is of headrace alone is no table of the port."""
    found = session.rows(
        "SELECT c.database, c.table, c.name, c.type, c.comment FROM system.columns AS c "
        "JOIN system.tables AS t ON t.database = c.database AND t.name = c.table "
        f"WHERE startsWith(t.comment, {text(MADE)}) AND t.database != {text(HOUSEKEEPING)} "
        "ORDER BY c.database, c.table, c.position"
    )
    by_name: dict[TableName, Columns] = {
        TableName(HOUSEKEEPING, table): dict(columns) for table, columns in HOUSEKEEPING_TABLES.items()
    }
    for schema, table, column, stored, comment in found:
        by_name.setdefault(TableName(schema, table), {})[column] = column_type(stored, comment)
    return by_name


def stored_tables(session: Session) -> dict[TableName, StoredTable]:
    """Rows and bytes of the active parts, as the server knows them without reading any."""
    found = session.rows(
        "SELECT database, name, total_rows, total_bytes FROM system.tables WHERE total_rows IS NOT NULL"
    )
    sizes = {TableName(schema, table): (rows, size_bytes) for schema, table, rows, size_bytes in found}
    return {
        name: StoredTable(columns, rows, is_exact=True, size_bytes=size_bytes)
        for name, columns in tables(session).items()
        for rows, size_bytes in (sizes.get(name, (None, None)),)
    }


def newest(name: TableName, columns: Columns, limit: int) -> str:
    """The query for it; tables are sorted by received_at, so that little is read."""
    order = f" ORDER BY {quoted('received_at')} DESC" if "received_at" in columns else ""
    return f"SELECT * FROM {qualified(name)}{order} LIMIT {int(limit)}"


def history(tables_: Mapping[TableName, Columns], schema: str) -> list[TableName]:
    """The tables of the schema in which an event's one row is, where they exist."""
    return [name for table in HISTORY_TABLES if (name := TableName(schema, table)) in tables_]


def _without(unfinished: Collection[datetime]) -> str:
    if not unfinished:
        return ""
    return f" AND ifNull(loaded_at NOT IN ({', '.join(map(moment, unfinished))}), 1)"


def ids_since(
    session: Session, names: Sequence[TableName], since: datetime, unfinished: Collection[datetime]
) -> Iterator[tuple[datetime, datetime, list[str]]]:
    for name in names:
        # Unsorted: sorting would hold everything in the server's memory; parts come nearly in order by themselves.
        for batch in session.batches(
            f"SELECT id, toUnixTimestamp64Micro(received_at) AS at FROM {qualified(name)} "
            f"WHERE id IS NOT NULL AND received_at >= {moment(since)}{_without(unfinished)}"
        ):
            for first in range(0, batch.num_rows, 100_000):
                block = batch.slice(first, 100_000)
                bounds = pc.min_max(block.column(1)).as_py()
                yield moment_of(bounds["min"]), moment_of(bounds["max"]), block.column(0).to_pylist()


def existing_ids(
    session: Session,
    names: Sequence[TableName],
    ids: Sequence[str],
    spans: Sequence[Span],
    unfinished: Collection[datetime],
) -> set[str]:
    if not ids or not spans or not names:
        return set()
    within = " OR ".join(f"received_at BETWEEN {moment(first)} AND {moment(last)}" for first, last in merged(spans))
    found: set[str] = set()
    for start in range(0, len(ids), IDS_AT_ONCE):
        wanted = texts(ids[start : start + IDS_AT_ONCE])
        parts = (
            f"SELECT id FROM {qualified(name)} WHERE ({within}) AND id IN {wanted}{_without(unfinished)}"
            for name in names
        )
        found.update(id_ for (id_,) in session.rows(" UNION ALL ".join(parts)))
    return found


def merged(spans: Sequence[Span]) -> list[Span]:
    """Overlapping spans as one."""
    folded: list[Span] = []
    for first, last in sorted(spans):
        if folded and first <= folded[-1][1]:
            folded[-1] = (folded[-1][0], max(folded[-1][1], last))
        else:
            folded.append((first, last))
    return folded


def rejected_ids(session: Session, source: str, ids: Sequence[str], unfinished: Collection[datetime]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), IDS_AT_ONCE):
        wanted = texts(ids[start : start + IDS_AT_ONCE])
        of_source = f"source = {text(source)} AND stage = 'loader'"
        found.update(
            id_
            for (id_,) in session.rows(
                f"SELECT DISTINCT message_id FROM {housekeeping('rejected')} "
                f"WHERE {of_source} AND message_id IN {wanted}{_without(unfinished)}"
            )
        )
    return found


def integers_within(session: Session, name: TableName, column: str, bound: int) -> bool:
    least, greatest = session.rows(f"SELECT min({quoted(column)}), max({quoted(column)}) FROM {qualified(name)}")[0]
    return all(value is None or -bound <= value <= bound for value in (least, greatest))


def last_received(session: Session, names: Sequence[TableName]) -> datetime | None:
    parts = (f"SELECT toUnixTimestamp64Micro(max(received_at)) FROM {qualified(name)}" for name in names)
    found = [count for (count,) in session.rows(" UNION ALL ".join(parts)) if count is not None] if names else []
    return moment_of(max(found)) if found else None


_NEWEST: Final[Mapping[str, str]] = {
    "loads": "started DESC, position_to DESC",
    "discards": "loaded_at DESC, received_at DESC",
    "rejected": "loaded_at DESC, received_at DESC",
}


def latest_rows(session: Session, table: str, limit: int) -> pa.Table:
    columns = ", ".join(map(quoted, HOUSEKEEPING_TABLES[table]))
    found = session.arrow(f"SELECT {columns} FROM {housekeeping(table)} ORDER BY {_NEWEST[table]} LIMIT {int(limit)}")
    return (
        found
        if found.num_columns
        else pa.table({column: pa.array([], pa.string()) for column in HOUSEKEEPING_TABLES[table]})
    )


def column_values(session: Session, name: TableName, column: str) -> Iterator[Any]:
    for batch in session.batches(
        f"SELECT id, received_at, {quoted(column)} AS value FROM {qualified(name)} WHERE {quoted(column)} IS NOT NULL"
    ):
        for first in range(0, batch.num_rows, 100_000):
            yield pa.Table.from_batches([batch.slice(first, 100_000)])
