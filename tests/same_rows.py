"""What two warehouses hold differently, table by table, whatever the order of their rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, TableName, Warehouse

MAX_ROWS: Final = 1_000_000
SHOWN: Final = 3
"""Rows of a table that are shown at the most."""
OF_THE_EVENTS: Final = ("rejected", "discards", "columns", "books")
"""Tables of the schema headrace that depend on the events alone."""
IGNORED: Final = frozenset(("loaded_at",))
OF_THE_LOADS: Final = IGNORED | {"first_seen", "last_seen"}
"""What depends on how the events came together in loads, too."""

Row = dict[str, str]


class Side(NamedTuple):
    """An opened warehouse, how it is called in what is found, and how names are written in its SQL."""

    name: str
    warehouse: Warehouse
    written: Callable[[str], str] = '"{}"'.format


def differences(
    left: Side,
    right: Side,
    schema: str,
    *,
    tables: Collection[str] | None = None,
    ignored: Collection[str] = IGNORED,
) -> list[str]:
    """Empty when both have the same tables of the schema (or those of `tables`), columns, types, and rows, as `arrow` and as
    `query` give them. `ignored` are columns. For the loader's thread, since the tables are asked."""
    of_left, of_right = (_columns(side, schema, tables, ignored) for side in (left, right))
    found = [f"{schema}.{table}: only in {left.name}" for table in sorted(of_left.keys() - of_right.keys())]
    found += [f"{schema}.{table}: only in {right.name}" for table in sorted(of_right.keys() - of_left.keys())]
    for table in sorted(of_left.keys() & of_right.keys()):
        mine, theirs = of_left[table], of_right[table]
        name = f"{schema}.{table}"
        found += [
            f"{name}.{column}: {_type(mine, column)} in {left.name}, {_type(theirs, column)} in {right.name}"
            for column in sorted(mine.keys() | theirs.keys())
            if mine.get(column) != theirs.get(column)
        ]
        shared = {column: type_ for column, type_ in mine.items() if theirs.get(column) == type_}
        for read in (_by_arrow, _by_query):
            rows = [read(side, TableName(schema, table), shared) for side in (left, right)]
            found += [f"{name}, by {read.__name__[4:]}: {text}" for text in _of_rows(left.name, right.name, *rows)]
    return found


def of_the_events(
    left: Side, right: Side, schemas: Collection[str], *, ignored: Collection[str] = IGNORED
) -> list[str]:
    """The same over several schemas, and over what headrace keeps about their events."""
    found = [text for schema in sorted(schemas) for text in differences(left, right, schema, ignored=ignored)]
    return found + differences(left, right, HOUSEKEEPING, tables=OF_THE_EVENTS, ignored=ignored)


def _columns(
    side: Side, schema: str, tables: Collection[str] | None, ignored: Collection[str]
) -> Mapping[str, Columns]:
    return {
        name.table: {column: type_ for column, type_ in columns.items() if column not in ignored}
        for name, columns in side.warehouse.tables().items()
        if name.schema == schema and (tables is None or name.table in tables)
    }


def _type(columns: Columns, column: str) -> str:
    return columns[column].value if column in columns else "missing"


def _select(side: Side, name: TableName, columns: Columns) -> str:
    w = side.written
    return f"SELECT {', '.join(map(w, columns))} FROM {w(name.schema)}.{w(name.table)}"


def _by_arrow(side: Side, name: TableName, columns: Columns) -> list[Row]:
    table = side.warehouse.arrow(_select(side, name, columns), max_rows=MAX_ROWS, timeout_seconds=120)
    return _plain(columns, zip(*(column.to_pylist() for column in table.columns), strict=True))


def _by_query(side: Side, name: TableName, columns: Columns) -> list[Row]:
    result = side.warehouse.query(_select(side, name, columns), max_rows=MAX_ROWS, timeout_seconds=120)
    assert not result.truncated
    return _plain(columns, result.rows)


def _plain(columns: Columns, rows: Any) -> list[Row]:
    types = list(columns.items())
    return [
        {column: _text(value, type_) for (column, type_), value in zip(types, row, strict=True) if value is not None}
        for row in rows
    ]


def _text(value: Any, type_: ColumnType) -> str:
    """Equal for equal values of a type, and only for those."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if type_ is ColumnType.JSON:
        return json.dumps(json.loads(value), sort_keys=True)
    return repr(value)


def _of_rows(left: str, right: str, mine: Sequence[Row], theirs: Sequence[Row]) -> Iterator[str]:
    counts = [Counter(json.dumps(row, sort_keys=True) for row in rows) for rows in (mine, theirs)]
    only_mine, only_theirs = counts[0] - counts[1], counts[1] - counts[0]
    if not only_mine and not only_theirs:
        return
    yield f"{len(mine)} rows in {left}, {len(theirs)} in {right}; {only_mine.total()} and {only_theirs.total()} are in one alone"
    theirs_by_id = {row.get("id"): row for row in map(json.loads, only_theirs)}
    for row in list(map(json.loads, only_mine))[:SHOWN]:
        other = theirs_by_id.get(row.get("id")) if "id" in row else None
        if other is None:
            yield f"only in {left}: {row}"
            continue
        for column in sorted(row.keys() | other.keys()):
            if row.get(column) != other.get(column):
                yield f"id {row['id']}, {column}: {row.get(column)} in {left}, {other.get(column)} in {right}"
    ids = {json.loads(row).get("id") for row in only_mine}
    for row in [row for row in map(json.loads, only_theirs) if "id" not in row or row["id"] not in ids][:SHOWN]:
        yield f"only in {right}: {row}"
