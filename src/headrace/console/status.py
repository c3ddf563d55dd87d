"""Where every event is: the books by source, the log's bounds, the warehouse's position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.console import books
from headrace.console.books import SourceBooks
from headrace.errors import PositionError
from headrace.log.base import LogReader
from headrace.warehouses.base import HISTORY_TABLES, Books, Warehouse
from headrace.workspace.records import Source


class PartitionStatus(msgspec.Struct, frozen=True):
    """`position` is the loader's; entries from there to before `next` are pending."""

    partition: int
    incarnation: str
    first: int
    next: int
    position: int


class WarehouseStatus(msgspec.Struct, frozen=True):
    """`error` is why loading stands still, None when it does not. `dedup_since` is where the window of duplicates begins by schema."""

    error: str | None = None
    last_load_at: datetime | None = None
    last_load_seconds: float | None = None
    discards: int = 0
    dedup_since: Mapping[str, datetime] = {}


class Status(msgspec.Struct, frozen=True):
    running: bool
    totals: Mapping[str, int]
    sources: Sequence[SourceBooks]
    partitions: Sequence[PartitionStatus]
    warehouse: WarehouseStatus
    lag_seconds: float


def status(
    sources: Sequence[Source],
    readers: Sequence[LogReader],
    warehouse: Warehouse,
    state: WarehouseStatus,
    now: datetime,
    *,
    running: bool,
) -> Status:
    """`state` is what the loader says of itself; discards are counted here.

    The warehouse is read before the log, so that the books add up exactly at any moment."""
    loaded = {row["source"]: _books(row) for row in _rows(warehouse, "SELECT * FROM headrace.books")}
    positions = {
        int(row["partition"]): (row["incarnation"], int(row["next"]))
        for row in _rows(warehouse, 'SELECT "partition", incarnation, "next" FROM headrace.offsets')
    }
    discards = _rows(warehouse, "SELECT count(*) AS n FROM headrace.discards")[0]["n"]
    last_event_at = _last_events(warehouse, sources)
    partitions = []
    oldest: datetime | None = None
    for reader in readers:
        bounds = reader.bounds()
        position = positions.get(reader.partition, (reader.incarnation, bounds.first))[1]
        partitions.append(PartitionStatus(reader.partition, reader.incarnation, bounds.first, bounds.next, position))
        if position < bounds.next:
            pending = _received_at(reader, position)
            oldest = min(filter(None, (oldest, pending)), default=None)
    lag_seconds = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    tallies = books.sum_tallies(reader.totals() for reader in readers)
    entries = books.balance(sources, tallies, loaded, lag_seconds=lag_seconds, last_event_at=last_event_at)
    return Status(
        running=running,
        totals=books.totals(entries),
        sources=entries,
        partitions=partitions,
        warehouse=msgspec.structs.replace(state, discards=discards),
        lag_seconds=lag_seconds,
    )


def _rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    result = warehouse.query(sql, max_rows=1_000_000, timeout_seconds=30.0)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _books(row: dict[str, Any]) -> Books:
    return Books(**{field: int(row.get(field) or 0) for field in Books._fields})


def _received_at(reader: LogReader, position: int) -> datetime | None:
    try:
        entries = reader.read(position, max_entries=1, max_bytes=1).entries
    except PositionError:
        return None
    return entries[0].received_at if entries else None


def _last_events(warehouse: Warehouse, sources: Sequence[Source]) -> dict[str, datetime]:
    """The latest received_at by source: a small query each, since one over all of them would cost memory without bound."""
    tables = {
        (row["table_schema"], row["table_name"])
        for row in _rows(warehouse, "SELECT table_schema, table_name FROM information_schema.tables")
    }
    found = {}
    for source in sources:
        parts = [
            f'SELECT max(received_at) AS latest FROM "{source.schema}"."{table}"'  # noqa: S608 - validated ASCII, and our own names
            for table in HISTORY_TABLES
            if (source.schema, table) in tables
        ]
        if parts:
            latest = _rows(warehouse, f"SELECT max(latest) AS latest FROM ({' UNION ALL '.join(parts)})")[0]["latest"]  # noqa: S608 - as above
            if latest:
                found[source.slug] = datetime.fromisoformat(latest).astimezone(UTC)
    return found
