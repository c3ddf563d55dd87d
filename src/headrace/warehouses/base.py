"""The port of a warehouse: it knows tables and transactions, not events.

A load is one transaction: DDL first, then the compare-and-set of the position, then rows and the latest-state tables
(`Upsert`), then commit. Either all of it is there or nothing. A driver of this guarantee ("transactional") must make
`commit` fail with PositionError, and store nothing, when the stored position is not `Load.start`.

Values arrive as Arrow tables whose columns have exactly the types of `ARROW_TYPES`. Timestamps are UTC microseconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

HOUSEKEEPING: str = "headrace"
"""The schema of headrace's own tables in every warehouse."""


class ColumnType(enum.Enum):
    """The types of columns (spec: boolean, 64-bit integer, double, timestamp, string; `json` only for `_extra`)."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    TIMESTAMP = "timestamp"
    STRING = "string"
    JSON = "json"


class TableName(NamedTuple):
    schema: str
    table: str


Columns = dict[str, ColumnType]


class Position(NamedTuple):
    """Where a consumer is in a partition: everything before `next` is in the warehouse."""

    incarnation: str
    next: int


class Books(NamedTuple):
    """What the loader did with a source's events, counted in events, since the beginning."""

    loaded: int = 0
    duplicates: int = 0
    rejected: int = 0
    refused: int = 0
    """Refused at the door and stored in headrace.rejected."""
    filtered: int = 0


class Upsert(msgspec.Struct, frozen=True):
    """New rows of a latest-state table (`users` from `identifies`, `accounts` from `groups`).

    The rows to consider are those of `history` in this same load (`Load.rows[history]`) whose `key` column is not null.
    For each key the row of `table` (its column `id`) gets, for each column of `columns`, the last non-null value by
    (received_at, id) over ALL rows of `history` ever loaded with that key, so that any order of arrival gives the same table.
    `received_at` of the row is the largest. `columns` exist in both tables; `id`, `received_at` and `loaded_at` are not
    among them and are set by the driver (`loaded_at`: the greatest of this load's).
    """

    table: TableName
    history: TableName
    key: str
    columns: Sequence[str]


class Load(msgspec.Struct, frozen=True):
    """One transaction. `create` holds whole tables that are new, `add` new columns of tables that exist, `widen` columns
    that change from INTEGER to FLOAT. `rows` maps a table to an Arrow table whose column names are a subset
    of the table's; missing columns are NULL. Rows of the housekeeping schema travel in `rows` like any other;
    `books` is added to headrace.books and `touched` sets last_seen in headrace.columns for (schema, table, column)."""

    consumer: str
    partition: int
    incarnation: str
    start: int
    end: int
    rows: Mapping[TableName, Any]  # pyarrow.Table
    create: Mapping[TableName, Columns] = {}
    add: Mapping[TableName, Columns] = {}
    widen: Mapping[TableName, Sequence[str]] = {}
    upserts: Sequence[Upsert] = ()
    books: Mapping[str, Books] = {}
    touched: Sequence[tuple[str, str, str]] = ()
    started: datetime | None = None


class NamedColumn(NamedTuple):
    r"""A row of headrace.columns: `original` is the path of names as sent, joined by `.` (a dot within a name is `\.`)."""

    schema: str
    table: str
    column: str
    original: str
    type: str
    first_seen: datetime
    last_seen: datetime


class QueryResult(msgspec.Struct, frozen=True):
    """`rows` holds JSON-ready values in column order: timestamps as ISO-8601 texts in UTC with Z, decimals as numbers where
    that is exact and else as texts, bytes as base64, NaN and infinities as the texts NaN, Infinity and -Infinity. `truncated` is true when more rows than asked for were there."""

    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[Any]]
    truncated: bool
    seconds: float


class Warehouse(Protocol):
    """An open warehouse. All methods but `query` are called by one thread, the loader's; `query` by any."""

    guarantee: Literal["transactional", "per table"]

    def position(self, consumer: str, partition: int) -> Position | None:
        """The stored position; None when this consumer never loaded from this partition."""
        ...

    def tables(self) -> Mapping[TableName, Columns]:
        """Every table with its columns and types, housekeeping included. Called at start."""
        ...

    def named_columns(self) -> Sequence[NamedColumn]:
        """headrace.columns. Called at start."""
        ...

    def books(self) -> Mapping[str, Books]:
        """headrace.books by source, over all partitions."""
        ...

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        """The ids of all rows of `tracks`, identifies, groups, pages, screens, aliases of the schema with
        received_at >= since, in blocks of at most 100,000 as (least and greatest received_at, ids), in the order of received_at as far as it
        is cheap. Called at start, to rebuild the filters of duplicates."""
        ...

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        """Which of these ids are in one of those tables within one of the spans (inclusive) of received_at."""
        ...

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        """Which of these ids of a source are in headrace.rejected with the stage `loader`."""
        ...

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        """Whether every stored value of an integer column is from -bound to bound. Called before the column is widened."""
        ...

    def commit(self, load: Load) -> None:
        """Run the load as one transaction.

        Raises PositionError when the stored position is not `load.start` (for a first load: when there is one), and
        WarehouseUnavailableError when the warehouse cannot take it now; in both cases nothing is stored.
        Any other error (ValueError) means that the load itself is wrong, and nothing is stored either. Every load moves the
        position: `end` is greater than `start`. After WarehouseUnavailableError the same load may be given again, whether or
        not the failed COMMIT had worked."""
        ...

    def checkpoint(self, *, force: bool = False) -> bool:
        """Called at quiet times (and with force when the engine's own journal has grown large); True when it did something."""
        ...

    def journal_bytes(self) -> int:
        """The size of what a checkpoint would fold in."""
        ...

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        """One SELECT of a user. Raises QueryError for anything else, for wrong SQL and when it takes too long."""
        ...

    def close(self) -> None: ...


def union(parts: Iterable[Mapping[TableName, Columns]]) -> dict[TableName, Columns]:
    """Several maps of tables folded into one; later columns win."""
    folded: dict[TableName, Columns] = {}
    for part in parts:
        for name, columns in part.items():
            folded.setdefault(name, {}).update(columns)
    return folded


HOUSEKEEPING_TABLES: Mapping[str, Columns] = {
    "rejected": {
        "source": ColumnType.STRING,
        "message_id": ColumnType.STRING,
        "stage": ColumnType.STRING,
        "code": ColumnType.STRING,
        "reason": ColumnType.STRING,
        "raw": ColumnType.STRING,
        "events": ColumnType.INTEGER,
        "received_at": ColumnType.TIMESTAMP,
        "loaded_at": ColumnType.TIMESTAMP,
    },
    "discards": {
        "schema": ColumnType.STRING,
        "table": ColumnType.STRING,
        "row_id": ColumnType.STRING,
        "column": ColumnType.STRING,
        "value": ColumnType.STRING,
        "reason": ColumnType.STRING,
        "received_at": ColumnType.TIMESTAMP,
        "loaded_at": ColumnType.TIMESTAMP,
    },
    "columns": {
        "schema": ColumnType.STRING,
        "table": ColumnType.STRING,
        "column": ColumnType.STRING,
        "original": ColumnType.STRING,
        "type": ColumnType.STRING,
        "first_seen": ColumnType.TIMESTAMP,
        "last_seen": ColumnType.TIMESTAMP,
    },
    "loads": {
        "consumer": ColumnType.STRING,
        "partition": ColumnType.INTEGER,
        "incarnation": ColumnType.STRING,
        "position_from": ColumnType.INTEGER,
        "position_to": ColumnType.INTEGER,
        "rows": ColumnType.JSON,
        "events": ColumnType.INTEGER,
        "started": ColumnType.TIMESTAMP,
        "seconds": ColumnType.FLOAT,
        "result": ColumnType.STRING,
    },
    "offsets": {
        "consumer": ColumnType.STRING,
        "partition": ColumnType.INTEGER,
        "incarnation": ColumnType.STRING,
        "next": ColumnType.INTEGER,
    },
    "books": {
        "source": ColumnType.STRING,
        "loaded": ColumnType.INTEGER,
        "duplicates": ColumnType.INTEGER,
        "rejected": ColumnType.INTEGER,
        "refused": ColumnType.INTEGER,
        "filtered": ColumnType.INTEGER,
    },
}
"""The driver creates these when it opens a warehouse for the first time. `rejected`, `discards`, `loads` and `columns`
get rows through `Load.rows`; `loads.seconds` is measured by the loader up to the commit."""

HISTORY_TABLES: Sequence[str] = ("tracks", "identifies", "groups", "pages", "screens", "aliases")
"""The tables in which every event of a schema has exactly one row: an id is looked up here and nowhere else."""
