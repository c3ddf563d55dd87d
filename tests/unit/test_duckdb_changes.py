"""What is DuckDB's own when tables change: indexes, views, readers, a kill before the next checkpoint."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from headrace.config import WarehouseConfig
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import HOUSEKEEPING_TABLES, ColumnType, Retyping, TableName
from made_loads import TRACK_COLUMNS, TRACKS, arrow, at, load, rows_of, tracks

Change = Callable[[DuckDB], None]
NEW = TableName("shop", "_rebuild_0123abcd")
NONE = arrow(HOUSEKEEPING_TABLES["discards"], [])
CONFIG = WarehouseConfig(memory_bytes=128_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(path: Path) -> Iterator[DuckDB]:
    opened = DuckDB(path, CONFIG)
    opened.commit(tracks(0, 5, new=True))
    yield opened
    opened.close()


def retyped_by_number(warehouse: DuckDB) -> None:
    """`user_id` becomes the integer that ends it."""
    kept = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.INTEGER}
    values = [arrow(kept, [(f"e{number}", at(number), number % 3) for number in range(5)])]
    warehouse.retype(Retyping(TRACKS, "user_id", ColumnType.INTEGER, values, NONE))


def replaced(warehouse: DuckDB) -> None:
    rows = arrow(TRACK_COLUMNS, [("e1", "rebuilt", at(1), at(9))])
    warehouse.commit(load(0, 1, {NEW: rows}, create={NEW: TRACK_COLUMNS}, consumer="rebuild shop"))
    warehouse.replace(TRACKS, NEW)


@pytest.mark.parametrize("change", [retyped_by_number, replaced])
def test_an_operators_index_and_view_outlive_a_change(warehouse: DuckDB, path: Path, change: Change) -> None:
    warehouse.close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE INDEX by_id ON shop.tracks (id)")
        connection.execute("CREATE VIEW shop.people AS SELECT id, user_id FROM shop.tracks")
    opened = DuckDB(path, CONFIG)
    change(opened)
    assert [[5]] == rows_of(opened, "SELECT count(user_id) FROM shop.people")
    opened.commit(load(5, 6, {TRACKS: arrow({"id": ColumnType.STRING}, [("e9",)])}))
    opened.close()
    with duckdb.connect(str(path)) as connection:
        assert [("by_id",)] == connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall()


@pytest.mark.parametrize("change", [retyped_by_number, replaced])
def test_rows_stay_in_their_order_and_a_change_outlives_a_kill(
    warehouse: DuckDB, path: Path, tmp_path: Path, change: Change
) -> None:
    change(warehouse)
    left = tmp_path / "left.duckdb"
    # What a kill would leave; copied by another process, since closing a copy here drops DuckDB's lock.
    for suffix in ("", ".wal"):
        subprocess.run(["cp", f"{path}{suffix}", f"{left}{suffix}"], check=True, timeout=60)
    opened = DuckDB(left, CONFIG)
    expected = ["e1", "e0", "e2", "e3", "e4"] if change is replaced else ["e0", "e1", "e2", "e3", "e4"]
    assert expected == [row[0] for row in rows_of(opened, "SELECT id FROM shop.tracks ORDER BY rowid")]
    assert {TRACKS} == {name for name in opened.tables() if name.schema == "shop"}
    opened.close()


def test_a_reader_that_began_before_sees_the_table_as_it_was(warehouse: DuckDB) -> None:
    blocks = warehouse.column_values(TRACKS, "user_id")
    first = next(blocks)
    retyped_by_number(warehouse)
    assert ["u0", "u1", "u2", "u0", "u1"] == first["value"].to_pylist()
    assert [] == list(blocks)
    assert [[0], [1], [2], [0], [1]] == rows_of(warehouse, "SELECT user_id FROM shop.tracks ORDER BY id")


def test_a_change_that_fails_in_the_middle_leaves_everything_as_it_was(warehouse: DuckDB) -> None:
    kept = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.STRING}
    wrong = [arrow(kept, [("e0", at(0), "no integer")])]
    with pytest.raises(ValueError, match="no integer"):
        warehouse.retype(Retyping(TRACKS, "user_id", ColumnType.INTEGER, wrong, NONE))
    assert ColumnType.STRING is warehouse.tables()[TRACKS]["user_id"]
    retyped_by_number(warehouse)
    assert ColumnType.INTEGER is warehouse.tables()[TRACKS]["user_id"]


def test_two_rows_of_one_id_keep_a_value_each(warehouse: DuckDB) -> None:
    twice = [("e0", "u9", at(90), at(100))]  # a repetition from beyond the window of duplicates
    warehouse.commit(load(5, 6, {TRACKS: arrow(TRACK_COLUMNS, twice)}))
    kept = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.INTEGER}
    values = [arrow(kept, [("e0", at(0), 1), ("e0", at(90), 9)])]
    warehouse.retype(Retyping(TRACKS, "user_id", ColumnType.INTEGER, values, NONE))
    assert [[1], [9]] == rows_of(warehouse, "SELECT user_id FROM shop.tracks WHERE id = 'e0' ORDER BY received_at")
