"""Loads into several tables at once, for the tests of ClickHouse, and what a loader does with one that was not ended."""

from __future__ import annotations

from typing import Any, Final

from headrace.warehouses.base import HOUSEKEEPING, HOUSEKEEPING_TABLES, Books, Load, Position, TableName, Warehouse
from latest_state import HISTORY_COLUMNS, LATEST_COLUMNS, TRAITS
from made_loads import CONSUMER, HOUR, TRACK_COLUMNS, TRACKS, arrow, at, latest, load, rows_of

IDENTIFIES: Final = TableName("shop", "identifies")
USERS: Final = TableName("shop", "users")
ORDERS: Final = TableName("shop", "order_completed")


def wide_load(start: int, end: int, **more: Any) -> Load:
    """Rows in two tables of a source, in `identifies` with its `users`, in the housekeeping tables, and in the books."""
    started = more.pop("started", at(100_000 + end))
    ids = range(start, end)
    of_tracks = [(f"e{number}", f"u{number % 3}", at(number), started) for number in ids]
    traits = [(f"i{number}", f"u{number % 3}", at(number), started, f"p{number}", number) for number in ids]
    named = [("shop", "tracks", f"c{start}", f"c{start}", "string", started, started)]
    of_loads = [(CONSUMER, 0, "log-1", start, end, "{}", end - start, started, 0.5, "ok")]
    discards = [("shop", "tracks", f"e{start}", "c", "1", "x", at(start), started)]
    house: dict[str, list[Any]] = {"columns": named, "loads": of_loads, "discards": discards}
    rows = {
        TRACKS: arrow(TRACK_COLUMNS, of_tracks),
        ORDERS: arrow(TRACK_COLUMNS, of_tracks),
        IDENTIFIES: arrow(HISTORY_COLUMNS, traits),
        **{TableName(HOUSEKEEPING, table): arrow(HOUSEKEEPING_TABLES[table], of) for table, of in house.items()},
    }
    create = {TRACKS: TRACK_COLUMNS, ORDERS: TRACK_COLUMNS, IDENTIFIES: HISTORY_COLUMNS, USERS: LATEST_COLUMNS}
    more.setdefault("create", create if start == 0 else {})
    touched = [("shop", "tracks", "c0")] if start else []
    books = {HOUR: Books(loaded=end - start, duplicates=1)}
    return load(
        start, end, rows, started=started, upserts=[latest("shop", TRAITS)], books=books, touched=touched, **more
    )


def everything(warehouse: Warehouse) -> list[Any]:
    """All that the loads leave, in an order of its own."""
    sqls = (
        "SELECT * FROM shop.tracks ORDER BY ALL",
        "SELECT * FROM shop.order_completed ORDER BY ALL",
        "SELECT * FROM shop.identifies ORDER BY ALL",
        "SELECT * FROM shop.users ORDER BY ALL",
        "SELECT * FROM headrace.loads ORDER BY ALL",
        "SELECT * FROM headrace.discards ORDER BY ALL",
        "SELECT * FROM headrace.columns ORDER BY ALL",
        "SELECT * FROM headrace.books ORDER BY ALL",
        "SELECT * FROM headrace.offsets ORDER BY ALL",
    )
    return [rows_of(warehouse, sql) for sql in sqls]


def again(warehouse: Warehouse, start: int, end: int) -> None:
    """What a loader does after a restart: it makes the unfinished load again, else the next one."""
    unfinished = warehouse.unfinished(CONSUMER, 0)
    position = warehouse.position(CONSUMER, 0)
    if unfinished is not None:
        assert (start, end) == (unfinished.start, unfinished.end)
        warehouse.commit(wide_load(start, end, started=unfinished.loaded_at))
    elif position != Position("log-1", end):
        warehouse.commit(wide_load(start, end))
