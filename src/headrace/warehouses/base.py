"""The port of a warehouse: it knows tables and transactions, not events.

A file of this folder is a kind of warehouse: its one subclass of `WarehouseKind` is the catalogue entry, an instance is what
a user configured, and `open` gives a `Warehouse`, through which one loader writes and anybody reads.

What a driver guarantees about exactly-once is one of two things, and the contract suite asserts it:

*transactional*: a load is one transaction. DDL first, then the compare-and-set of the position, then rows and the
latest-state tables (`Upsert`), then commit. Either all of it is there or nothing. `commit` fails with PositionError, and
stores nothing, when the stored position is not `Load.start`. `unfinished` is always None.

*per table*: the engine has no transaction over several tables. `commit` first writes down which load it begins (range and
`loaded_at`), then each table takes its rows and remembers the range in one step of that table's own, and the position moves last.
Until then `unfinished` names the load, look-ups of ids leave its rows out (they are those with its `loaded_at`), and the loader makes a load of exactly
that range and `loaded_at` again: tables that have the range are skipped, the others take it. One loader at a time, by a
lease that `position` takes and every call renews. Everything that could be wrong with a load is checked before it is begun.

Values arrive as Arrow tables whose columns have exactly the types of `loader.columns.ARROW_TYPES`. Timestamps are UTC microseconds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import msgspec

from headrace import catalog
from headrace.config import WarehouseConfig
from headrace.errors import NotFoundError
from headrace.event import Hour as Hour  # noqa: PLC0414 -- a word of this port too
from headrace.warehouses._reading import CANCELLED as CANCELLED  # noqa: PLC0414
from headrace.warehouses._reading import CellKind as CellKind  # noqa: PLC0414 -- words of this port, in a file of their own
from headrace.warehouses._reading import ReadColumn as ReadColumn  # noqa: PLC0414
from headrace.warehouses._reading import Reading as Reading  # noqa: PLC0414
from headrace.warehouses._reading import Stop as Stop  # noqa: PLC0414

T = TypeVar("T")

HOUSEKEEPING: Final = "headrace"
"""The schema of headrace's own tables in every warehouse."""

REBUILD: Final = "rebuild "
"""How the consumers begin that make the tables of a schema anew; its name follows."""


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


Guarantee = Literal["transactional", "per table"]


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
    """Left out by the warehouse's selection."""

    def plus(self, other: Books) -> Books:
        return Books(*(mine + its for mine, its in zip(self, other, strict=True)))


class Unfinished(NamedTuple):
    """A load that a per-table driver began and did not end: offsets from `start` to before `end`."""

    incarnation: str
    start: int
    end: int
    loaded_at: datetime


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
    `books` is added to headrace.books (a negative count takes away) and `touched` sets last_seen in headrace.columns for (schema, table, column)."""

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
    books: Mapping[Hour, Books] = {}
    touched: Sequence[tuple[str, str, str]] = ()
    started: datetime | None = None
    """The `loaded_at` of every row of the load."""


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


class Account(NamedTuple):
    """What a warehouse says of itself, all of one moment, so that it adds up. `last_received` is the greatest received_at by schema."""

    books: Mapping[Hour, Books]
    positions: Mapping[tuple[str, int], Position]
    """By consumer and partition."""
    discards: int
    last_received: Mapping[str, datetime]


class Retyping(msgspec.Struct, frozen=True):
    """A column gets another type. `values` holds blocks of (id, received_at, value): every row whose new value is not null,
    with the new Arrow type; rows that are not among them become null. headrace.discards loses all rows of this table and column and
    gets `discards` (an Arrow table) instead; headrace.columns learns the type. With `latest` the column of that latest-state table
    gets the type too, and its values are computed anew from the history for all keys."""

    table: TableName
    column: str
    type: ColumnType
    values: Iterable[Any]  # pyarrow.Table
    discards: Any  # pyarrow.Table
    latest: Upsert | None = None


class Warehouse(Protocol):
    """An open warehouse. Methods that a loader's thread alone calls are marked so; all others any thread may call."""

    guarantee: Guarantee

    def position(self, consumer: str, partition: int) -> Position | None:
        """The stored position; None when this consumer never loaded from this partition. The loader's thread."""
        ...

    def unfinished(self, consumer: str, partition: int) -> Unfinished | None:
        """The load to make again before any other; always None for a transactional driver. The loader's thread; asked before each load."""
        ...

    def tables(self) -> Mapping[TableName, Columns]:
        """Every table with its columns and types, housekeeping included. The loader's thread, at the start."""
        ...

    def named_columns(self) -> Sequence[NamedColumn]:
        """headrace.columns. The loader's thread, at the start."""
        ...

    def books(self) -> Mapping[Hour, Books]:
        """headrace.books, over all partitions."""
        ...

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        """The ids of all rows of `tracks`, identifies, groups, pages, screens, aliases of the schema with
        received_at >= since, in blocks of at most 100,000 as (least and greatest received_at, ids), in the order of received_at as far as it
        is cheap. An unfinished load's rows are left out. The loader's thread, at the start: it rebuilds the filters of duplicates."""
        ...

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        """Which of these ids are in one of those tables within one of the spans (inclusive) of received_at. An unfinished
        load's rows are left out. The loader's thread."""
        ...

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        """Which of these ids of a source are in headrace.rejected with the stage `loader`. An unfinished load's rows are
        left out. The loader's thread."""
        ...

    def integers_within(self, table: TableName, column: str, bound: int) -> bool:
        """Whether every stored value of an integer column is from -bound to bound. Called before the column is widened.
        The loader's thread."""
        ...

    def commit(self, load: Load) -> None:
        """Run the load, as its guarantee says. The loader's thread.

        Raises PositionError when the stored position is not `load.start` (for a first load: when there is one), and
        WarehouseUnavailableError when the warehouse cannot take it now; in both cases nothing is stored, or what is stored is
        `unfinished`. Raises WideningRefusedError when something holds a column of `load.widen` to its type (a view that uses it, a lock that
        does not go away within 2 s); nothing is stored then, and the loader makes the load again without it.
        Any other error (ValueError) means that the load itself is wrong, and nothing is stored either. Every load moves the
        position: `end` is greater than `start`. After WarehouseUnavailableError the same load may be given again, whether or
        not the failed COMMIT had worked."""
        ...

    def checkpoint(self, *, force: bool = False) -> bool:
        """Called at quiet times (and with force when the engine's own journal has grown large); True when it did something.
        False at once where the engine cares for itself. The loader's thread."""
        ...

    def journal_bytes(self) -> int:
        """The size of what a checkpoint would fold in; 0 where the engine cares for itself."""
        ...

    def query(self, sql: str, *, max_rows: int, timeout_seconds: float) -> QueryResult:
        """One SELECT of a user. Raises QueryError for anything else, for wrong SQL and when it takes too long."""
        ...

    def arrow(self, sql: str, *, max_rows: int, timeout_seconds: float) -> Any:
        """The same as a pyarrow.Table, with the engine's own Arrow types; raises the same errors and, for more than
        `max_rows` rows, QueryError with the code query_too_large."""
        ...

    def account(self, schemas: Sequence[str]) -> Account:
        """What `headrace status` tells. Schemas without tables are left out."""
        ...

    def latest_rows(self, table: str, limit: int) -> Any:
        """The newest rows of a housekeeping table (`loads`, `discards` or `rejected`), newest first, as a pyarrow.Table of all its columns."""
        ...

    def column_values(self, table: TableName, column: str) -> Iterator[Any]:
        """Every row whose value in the column is not null, as pyarrow.Tables (id, received_at, value) of at most 100,000 rows. The loader's thread."""
        ...

    def retype(self, retyping: Retyping) -> None:
        """Change a column's type, in one transaction or, per table, in a way that can be repeated. The loader's thread.

        Raises WideningRefusedError when something holds the column to its type, WarehouseUnavailableError."""
        ...

    def replace(self, old: TableName, new: TableName) -> int:
        """Put the table `new` in the place of `old`, after adding to it those rows of `old` whose id it does not have (their
        number is returned), for the columns that both have; columns that only `old` has are added first. `old` need not exist.
        In one transaction or, per table, in a way that can be repeated. The loader's thread."""
        ...

    def recompute(self, upsert: Upsert) -> None:
        """Compute the latest-state table anew from all of its history. The loader's thread."""
        ...

    def drop(self, table: TableName) -> None:
        """Remove a table; nothing happens when there is none. The loader's thread; only for tables that a rebuild made."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Embedded(Protocol):
    """What a warehouse offers whose database no other program can open while it is open here."""

    def snapshot(self, to: Path) -> int:
        """Write a copy of this moment, there as a whole or not at all; returns its bytes. Loads wait meanwhile.

        Raises ConfigError and WarehouseUnavailableError."""
        ...

    def export(self, name: TableName, to: Path, on_rows: Callable[[int], None]) -> int:
        """Write a table as a Parquet file; returns its rows. `on_rows` is told how many each block has. Raises ConfigError."""
        ...


class StoredTable(NamedTuple):
    """A table by the engine's own books. `rows` and `size_bytes` are None where they do not tell; `is_exact` is about `rows`."""

    columns: Columns
    rows: int | None = None
    is_exact: bool = True
    size_bytes: int | None = None


@runtime_checkable
class Browsable(Protocol):
    """What a warehouse offers to people who look around in it. Any thread may call it, and loads go on meanwhile."""

    def stored_tables(self) -> Mapping[TableName, StoredTable]:
        """Every table, housekeeping included, without reading rows: quick also where there are many."""
        ...

    def newest(self, table: TableName, limit: int, timeout_seconds: float) -> QueryResult:
        """Rows of a table, the newest by received_at first where it has that column. Raises QueryError, WarehouseUnavailableError."""
        ...


@runtime_checkable
class Readable(Protocol):
    """What a warehouse offers whose answers can be read while they come, and whose queries end when they are told to. Any thread may call it."""

    def reading(self, sql: str, *, timeout_seconds: float, stop: Stop) -> AbstractContextManager[Reading]:
        """One SELECT of a user, judged like `query`, with as many rows as are taken from it. Raises QueryError, also while blocks are read;
        its code is query_cancelled after `stop`, and then nothing of it runs in the engine any more."""
        ...

    def plan(self, sql: str, *, timeout_seconds: float, stop: Stop) -> Sequence[str]:
        """The lines of what the engine's EXPLAIN says. Raises QueryError, also where there is none."""
        ...


class Derivation(Protocol):
    """A transaction in which tables are made from tables, by statements of headrace's own."""

    engine: str
    """Whose SQL it takes: duckdb or postgresql."""

    def run(self, statements: Sequence[str]) -> None:
        """In order. Temporary tables that they make are gone when the transaction ends."""
        ...

    def fetch(self, query: str) -> Any:
        """The rows of a query as a pyarrow.Table."""
        ...

    def stage(self, name: str, table: Any) -> None:
        """Put the rows of a pyarrow.Table into a temporary table of that name, a plain word, with the same columns."""
        ...


@runtime_checkable
class Deriving(Protocol):
    """What a warehouse offers in which headrace keeps tables that are made from those of the events."""

    engine: str

    def derive(self, work: Callable[[Derivation], T]) -> T:
        """Run `work` in one transaction: all that it does is there, or, after any error, nothing. The loader's thread.

        Raises WarehouseUnavailableError for what may pass, also after an unclear COMMIT; ValueError for a wrong statement."""
        ...


class WarehouseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a kind can be set to: a subclass with annotated fields, each with a default. Descriptions feed forms and
    documentation; `extra={"secret": True}` in a field's Meta keeps the value encrypted at rest and masked wherever it is shown."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # a value may be secret


class Place(NamedTuple):
    """What a configured warehouse gets from its surroundings."""

    slug: str
    folder: Path
    """The data folder, for what is embedded."""
    limits: WarehouseConfig


class Finding(NamedTuple):
    """One step of `headrace warehouse test`, in the order in which they are taken: network, login, privilege, schema, write.

    `remedy` is the statement or the setting that mends it, empty when `ok`."""

    step: str
    ok: bool
    text: str
    remedy: str = ""


class WarehouseKind:
    """A catalogue entry. A subclass in its own file sets the class variables and overrides `open` and `check`."""

    title: ClassVar[str]
    summary: ClassVar[str]
    docs_url: ClassVar[str]
    guarantee: ClassVar[Guarantee]
    tried: ClassVar[str]
    """Against what it was tried, in words, for example: PostgreSQL 15, or: not yet tried on a live account."""
    setup: ClassVar[Sequence[str]] = ()
    """What the operator prepares at the other end, a sentence or statement each."""
    Settings: ClassVar[type[WarehouseSettings]] = WarehouseSettings

    def __init__(self, settings: WarehouseSettings, place: Place) -> None:
        self.settings = settings
        self.place = place

    @property
    def pace_seconds(self) -> float:
        """How long to wait at the least from one load to the next while less than a whole load is waiting: 0 where a small load costs little,
        more where each costs money or leaves a file behind. A setting of the kind, if at all."""
        return 0.0

    def open(self) -> Warehouse:
        """Connect, and create the housekeeping tables where they are missing. Heavy drivers are imported here, not before.

        Raises ConfigError (the settings are wrong) and WarehouseUnavailableError (try again)."""
        raise NotImplementedError

    def check(self) -> Sequence[Finding]:
        """What `headrace warehouse test` shows: each step up to the first that fails. Leaves nothing behind and raises nothing."""
        raise NotImplementedError


def kinds() -> Mapping[str, type[WarehouseKind]]:
    """Every kind of warehouse by slug."""
    return cast("Mapping[str, type[WarehouseKind]]", catalog.connectors("headrace.warehouses", WarehouseKind))


def kind(slug: str) -> type[WarehouseKind]:
    """Raises NotFoundError that lists what there is."""
    found = kinds().get(slug)
    if found is None:
        raise NotFoundError(f"warehouse: there is no kind {slug!r} in the catalogue; it has {', '.join(kinds())}")
    return found


def configured(kind_slug: str, settings: Mapping[str, Any], place: Place) -> WarehouseKind:
    """The instance for a stored warehouse. Raises msgspec.ValidationError for settings that the kind does not declare."""
    chosen = kind(kind_slug)
    return chosen(msgspec.convert(dict(settings), chosen.Settings), place)


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
        "hour": ColumnType.TIMESTAMP,
        "loaded": ColumnType.INTEGER,
        "duplicates": ColumnType.INTEGER,
        "rejected": ColumnType.INTEGER,
        "refused": ColumnType.INTEGER,
        "filtered": ColumnType.INTEGER,
    },
}
"""The driver creates these when it opens a warehouse for the first time. `rejected`, `discards`, `loads` and `columns`
get rows through `Load.rows`; `loads.seconds` is measured by the loader up to the commit; `loads.result` is `ok`, or the text of a
failure that came before (its `rows` is `{}`, its positions are those of the failed load)."""

HISTORY_TABLES: Sequence[str] = ("tracks", "identifies", "groups", "pages", "screens", "aliases")
"""The tables in which every event of a schema has exactly one row: an id is looked up here and nowhere else."""

KEYS: Final[Mapping[str, Sequence[str]]] = {"offsets": ("consumer", "partition"), "books": ("source", "hour")}
"""The unique keys of housekeeping tables."""
