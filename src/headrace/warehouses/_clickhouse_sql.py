"""ClickHouse's names, types and statements: identifiers and texts come from events, so each of them is quoted."""
# ruff: noqa: SIM905 -- a text of words is read and compared better than a list of quotes

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from headrace.warehouses._values import microseconds
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, TableName

TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.BOOLEAN: "Nullable(Bool)",
    ColumnType.INTEGER: "Nullable(Int64)",
    ColumnType.FLOAT: "Nullable(Float64)",
    ColumnType.TIMESTAMP: "Nullable(DateTime64(6, 'UTC'))",
    ColumnType.STRING: "Nullable(String)",
    ColumnType.JSON: "Nullable(String)",
}
FEW_VALUES: Final = "LowCardinality(Nullable(String))"
FEW_VALUED: Final = frozenset(
    (
        "event event_text context_library_name context_library_version context_timezone context_locale "
        "context_os_name context_device_type context_app_name context_app_version"
    ).split()
)
"""Columns of an event's envelope whose values are few by their nature: they are kept as a dictionary: a third of the bytes
(0.9 of 2.8 a row, ten names) and two thirds of the CPU. A property is never guessed to be one: with unlike values a dictionary saves
nothing and costs six times the CPU (`bench/warehouse_clickhouse.py --sizes`)."""

MADE: Final = "headrace"
"""The comment by which headrace's tables are told from others of the same server."""
LATEST: Final = "headrace: latest state"
"""The comment of the views over states of `_clickhouse_latest`."""
JSON_COMMENT: Final = "JSON"
"""The comment by which a column of JSON texts is told from one of other texts."""

WINDOW: Final = 1_000
"""Tokens that a table of events remembers; a repeated load asks for the last one. The others are for a loader that was held up
between two statements: at a load a second it would have to sleep for a quarter of an hour there. A token costs about 100 bytes
of the server's memory."""
STATE_WINDOW: Final = 10_000
"""The same for the one table that takes a block with every load and whose rows are added up."""

_NULLABLE: Final = re.compile(r"^(?:LowCardinality\()?(?:Nullable\()?(.*?)\)*$")
_PLAIN: Final[Mapping[str, ColumnType]] = {
    "Bool": ColumnType.BOOLEAN,
    **dict.fromkeys(("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32"), ColumnType.INTEGER),
    **dict.fromkeys(("Float32", "Float64"), ColumnType.FLOAT),
}


def quoted(name: str) -> str:
    """A back-quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def qualified(name: TableName) -> str:
    return f"{quoted(name.schema)}.{quoted(name.table)}"


def housekeeping(table: str) -> str:
    return qualified(TableName(HOUSEKEEPING, table))


def column_list(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def texts(values: Iterable[str]) -> str:
    """`('a', 'b')`, the right side of IN; must not be empty."""
    return "(" + ", ".join(map(text, values)) + ")"


def moment(when: datetime) -> str:
    """An exact DateTime64(6, 'UTC')."""
    return f"fromUnixTimestamp64Micro({microseconds(when)}, 'UTC')"


def stored_type(column: str, type_: ColumnType) -> str:
    return FEW_VALUES if column in FEW_VALUED and type_ is ColumnType.STRING else TYPES[type_]


def column_type(stored: str, comment: str) -> ColumnType:
    """The port's type of a column as ClickHouse names it; types that only an operator's own hand can have made are text."""
    if comment == JSON_COMMENT:
        return ColumnType.JSON
    if "DateTime64" in stored:
        return ColumnType.TIMESTAMP
    found = _NULLABLE.match(stored)
    return _PLAIN.get(found[1] if found else stored, ColumnType.STRING)


def column_definition(column: str, type_: ColumnType) -> str:
    comment = f" COMMENT {text(JSON_COMMENT)}" if type_ is ColumnType.JSON else ""
    return f"{quoted(column)} {stored_type(column, type_)}{comment}"


def create_table(name: TableName, columns: Columns) -> str:
    """Sorted by received_at and id where there are such columns; remembers the tokens of its last loads."""
    lines = ", ".join(column_definition(column, type_) for column, type_ in columns.items())
    order = column_list(column for column in _order(name) if column in columns) or "tuple()"
    return (
        f"CREATE TABLE IF NOT EXISTS {qualified(name)} ({lines}) ENGINE = MergeTree ORDER BY ({order}) "
        f"SETTINGS {table_settings(WINDOW)} COMMENT {text(MADE)}"
    )


def _order(name: TableName) -> tuple[str, ...]:
    return ("started",) if name == (HOUSEKEEPING, "loads") else ("received_at", "id")


def table_settings(window: int) -> str:
    """Both windows: a server that keeps its tables in shared storage calls the same one by the other name. A load's parts are on
    the disk before its position is: without the two fsyncs a power loss could keep the position and lose rows."""
    return (
        f"allow_nullable_key = 1, non_replicated_deduplication_window = {window}, "
        "fsync_after_insert = 1, fsync_part_directory = 1"
    )


def add_column(name: TableName, column: str, type_: ColumnType) -> str:
    return f"ALTER TABLE {qualified(name)} ADD COLUMN IF NOT EXISTS {column_definition(column, type_)}"
