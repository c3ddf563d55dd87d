"""Loads of several tables for the lake, and what is to be in it then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.config import WarehouseConfig
from headrace.warehouses._iceberg import Lake
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Books,
    Load,
    Place,
    TableName,
)
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from latest_state import HISTORY_COLUMNS, LATEST_COLUMNS, TRAITS
from made_loads import CONSUMER, HOUR, TRACK_COLUMNS, TRACKS, arrow, at, latest, load, rows_of

IDENTIFIES, USERS = TableName("shop", "identifies"), TableName("shop", "users")
REJECTED = TableName(HOUSEKEEPING, "rejected")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class KilledError(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def wide(start: int, end: int, **more: Any) -> Load:
    """A load of several tables: rows, latest state, a rejected event, and on the first DDL."""
    name = TableName("shop", "order_completed")
    events = [(f"e{number}", f"u{number % 3}", at(number), at(100_000 + end)) for number in range(start, end)]
    people = [
        (f"e{number}", f"u{number % 3}", at(number), at(100_000 + end), f"p{number}", number)
        for number in range(start, end)
    ]
    rejected = [("shop", f"r{end}", "loader", "x", "x", "{}", 1, at(end), at(100_000 + end))]
    rows = {
        TRACKS: arrow(TRACK_COLUMNS, events),
        name: arrow(TRACK_COLUMNS, events),
        IDENTIFIES: arrow(HISTORY_COLUMNS, people),
        REJECTED: arrow(HOUSEKEEPING_TABLES["rejected"], rejected),
    }
    create = {TRACKS: TRACK_COLUMNS, name: TRACK_COLUMNS, IDENTIFIES: HISTORY_COLUMNS, USERS: LATEST_COLUMNS}
    books = {HOUR: Books(loaded=end - start, rejected=1)}
    return load(
        start, end, rows, create=create if start == 0 else {}, upserts=[latest("shop", TRAITS)], books=books, **more
    )


def state(lake: Lake) -> dict[str, Any]:
    tables = ("shop.tracks", "shop.order_completed", "shop.identifies")
    found: dict[str, Any] = {table: rows_of(lake, f"SELECT id FROM {table} ORDER BY id") for table in tables}
    found["users"] = rows_of(lake, "SELECT id, received_at, plan, age FROM shop.users ORDER BY id")
    found["rejected"] = rows_of(lake, "SELECT message_id FROM headrace.rejected ORDER BY 1")
    found["books"] = lake.books()
    found["position"] = lake.position(CONSUMER, 0)
    return found


def expected_state(tmp_path: Path) -> dict[str, Any]:
    place = Place("untouched", tmp_path, WarehouseConfig(memory_bytes=128_000_000))
    lake = Lake(IcebergKind(IcebergSettings(), place))
    lake.commit(wide(0, 4))
    lake.commit(wide(4, 9))
    found = state(lake)
    lake.close()
    return found
