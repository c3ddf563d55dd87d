"""The lake's files: what other readers see of them, the latest state, upkeep, settings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.table import StaticTable

from headrace.config import WarehouseConfig
from headrace.errors import (
    ConfigError,
    PositionError,
    QueryError,
    WideningRefusedError,
)
from headrace.warehouses import (
    _iceberg_latest,
    _iceberg_load,
    _iceberg_lookups,
    _iceberg_query,
    _iceberg_upkeep,
)
from headrace.warehouses._iceberg import Lake
from headrace.warehouses._iceberg_books import Housekeeping
from headrace.warehouses._iceberg_files import bounds, exchange, planned, written
from headrace.warehouses.base import (
    ColumnType,
    Place,
    TableName,
)
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from lake_house import IDENTIFIES, USERS, Clock, KilledError, state, wide
from latest_state import HISTORY_COLUMNS, LATEST_COLUMNS, TRAITS
from made_loads import CONSUMER, TRACK_COLUMNS, TRACKS, arrow, at, latest, load, rows_of, tracks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Lake]]:
    """Opens the lake once more; those opened before stay as they are, as a killed or paused process would."""
    lakes: list[Lake] = []

    def one_more(**settings: Any) -> Lake:
        place = Place("lake", tmp_path, WarehouseConfig(memory_bytes=128_000_000))
        lakes.append(Lake(IcebergKind(IcebergSettings(**settings), place), clock))
        return lakes[-1]

    yield one_more
    for lake in lakes:
        lake.close()


@pytest.fixture
def lake(opened: Callable[[], Lake]) -> Lake:
    return opened()


# What others see of the files.


def metadata_of(lake: Lake, name: TableName) -> str:
    table = lake._tables.get(name)
    assert table is not None
    return table.metadata_location


def evolved(lake: Lake) -> list[list[Any]]:
    """Three loads, a column more each time, one of them added and then widened. Returns the rows by id."""
    name = TableName("shop", "order_completed")
    first: dict[str, ColumnType] = dict(TRACK_COLUMNS)
    lake.commit(load(0, 1, {name: arrow(first, [("a", "u", at(0), at(9))])}, create={name: first}))
    second = {**first, "2fa": ColumnType.INTEGER}
    rows = {name: arrow(second, [("b", "u", at(86_400), at(9), 7)])}
    lake.commit(load(1, 2, rows, add={name: {"2fa": ColumnType.INTEGER}}))
    third = {**first, "2fa": ColumnType.FLOAT, "_extra": ColumnType.JSON}
    rows = {name: arrow(third, [("c", None, at(1), at(9), 0.5, '{"x": [1]}')])}
    lake.commit(load(2, 3, rows, add={name: {"_extra": ColumnType.JSON}}, widen={name: ["2fa"]}))
    return [["a", None, None], ["b", 7.0, None], ["c", 0.5, {"x": [1]}]]


def as_json(rows: list[list[Any]]) -> list[list[Any]]:
    return [[*row[:-1], json.loads(row[-1]) if isinstance(row[-1], str) else row[-1]] for row in rows]


def test_columns_that_were_added_and_widened_are_read_from_old_and_new_files(lake: Lake) -> None:
    expected = evolved(lake)
    sql = 'SELECT id, "2fa", _extra FROM shop.order_completed ORDER BY id'
    assert expected == as_json(rows_of(lake, sql))
    found = lake.tables()[TableName("shop", "order_completed")]
    assert [ColumnType.FLOAT, ColumnType.JSON] == [found["2fa"], found["_extra"]]


def test_pyiceberg_reads_a_table_from_its_metadata_alone(lake: Lake) -> None:
    expected = evolved(lake)
    table = StaticTable.from_metadata(metadata_of(lake, TableName("shop", "order_completed")))
    found = table.scan(selected_fields=("id", "2fa", "_extra")).to_arrow().sort_by("id")
    assert expected == as_json([list(row) for row in zip(*found.to_pydict().values(), strict=True)])
    assert ["received_at_day"] == [field.name for field in table.spec().fields]
    assert [{0, 1}] == [{file.partition[0] - 20_513 for file in planned(table).files}]  # 2026-03-01 and the day after


def test_duckdb_alone_reads_the_files_that_the_manifests_name(lake: Lake) -> None:
    expected = evolved(lake)
    table = StaticTable.from_metadata(metadata_of(lake, TableName("shop", "order_completed")))
    paths = [file.file_path.removeprefix("file://") for file in planned(table).files]
    connection = duckdb.connect()
    found = connection.execute(
        "SELECT id, _2fa, _extra FROM read_parquet($1, union_by_name=true) ORDER BY id", [paths]
    ).fetchall()
    connection.close()
    assert expected == as_json(
        [list(row) for row in found]
    )  # a name that begins with a digit has a `_` in Parquet files


def test_a_snapshot_says_which_range_of_the_log_it_brought(lake: Lake) -> None:
    lake.commit(tracks(0, 3, new=True))
    snapshot = StaticTable.from_metadata(metadata_of(lake, TRACKS)).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    told = {
        name: value for name, value in snapshot.summary.additional_properties.items() if name.startswith("headrace")
    }
    place = {"consumer": CONSUMER, "partition": "0", "incarnation": "log-1", "start": "0", "end": "3"}
    assert {f"headrace.{name}": value for name, value in place.items()} == told


def test_a_column_that_another_program_renamed_keeps_its_values(lake: Lake) -> None:
    lake.commit(tracks(0, 2, new=True))
    with lake._tables.one(TRACKS).update_schema() as update:
        update.rename_column("user_id", "person")
    assert [["u0"], ["u1"]] == rows_of(lake, "SELECT person FROM shop.tracks ORDER BY id")


def test_a_table_with_another_programs_deletes_is_read_by_pyiceberg(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(wide(0, 4))
    expected = state(lake)
    for module in (_iceberg_query, _iceberg_lookups, _iceberg_latest):
        monkeypatch.setattr(module, "planned", lambda *arguments: planned(*arguments)._replace(masked=True))
    assert expected == state(lake)
    assert {"e1"} == lake.existing_ids("shop", ["e1", "x"], [(at(0), at(9))])
    lake.commit(wide(4, 9))
    monkeypatch.undo()
    assert [[3, 3]] == rows_of(lake, "SELECT count(*), count(DISTINCT id) FROM shop.users")


def test_a_query_reaches_no_file_but_the_lakes(lake: Lake, tmp_path: Path) -> None:
    lake.commit(tracks(0, 1, new=True))
    (tmp_path / "secret.csv").write_text("a,b")
    for sql in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"SELECT * FROM '{tmp_path}/secret.csv'",
        f"SELECT * FROM read_parquet('{tmp_path}/*')",
    ):
        with pytest.raises(QueryError):
            lake.query(sql, max_rows=1, timeout_seconds=10)


def test_a_query_can_list_tables_and_columns(lake: Lake) -> None:
    lake.commit(tracks(0, 1, new=True))
    sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop'"
    assert [["tracks"]] == rows_of(lake, sql)
    columns = rows_of(lake, "SELECT column_name FROM information_schema.columns WHERE table_name = 'tracks'")
    assert set(TRACK_COLUMNS) == {row[0] for row in columns}
    names = {row[0] for row in rows_of(lake, "DESCRIBE shop.tracks")}
    assert set(TRACK_COLUMNS) == names


def test_widening_a_large_table_is_refused_with_the_reason(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    name = TableName("shop", "numbers")
    columns = {"id": ColumnType.STRING, "n": ColumnType.INTEGER}
    lake.commit(load(0, 1, {name: arrow(columns, [("a", 1)])}, create={name: columns}))
    monkeypatch.setattr(_iceberg_load, "WIDEN_BYTES", 10)
    wider = load(1, 2, {name: arrow({**columns, "n": ColumnType.FLOAT}, [("b", 0.5)])}, widen={name: ["n"]})
    with pytest.raises(WideningRefusedError, match="retype"):
        lake.commit(wider)
    assert (None, ColumnType.INTEGER) == (lake.unfinished(CONSUMER, 0), lake.tables()[name]["n"])
    lake.commit(load(1, 2, {name: arrow(columns, [("b", None)])}))
    assert [["a", 1], ["b", None]] == rows_of(lake, "SELECT * FROM shop.numbers ORDER BY id")


# The latest state in files of disjoint ranges.


def test_only_the_files_in_whose_ranges_keys_lie_are_written_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_iceberg_latest, "LEAF_ROWS", 10)
    columns = HISTORY_COLUMNS
    people = [(f"i{number}", f"u{number:03}", at(number), at(1), "free", number) for number in range(100)]
    create = {IDENTIFIES: columns, USERS: LATEST_COLUMNS}
    upserts = [latest("shop", TRAITS)]
    lake.commit(load(0, 100, {IDENTIFIES: arrow(columns, people)}, create=create, upserts=upserts))
    before = {file.file_path for file in planned(lake._tables.one(USERS)).files}
    assert len(before) == 10
    changed = [("j1", "u015", at(200), at(2), "pro", None), ("j2", "u999", at(200), at(2), "pro", None)]
    changed += [("j3", "a", at(200), at(2), "pro", None), ("j4", "u015x", at(200), at(2), "pro", None)]
    lake.commit(load(100, 104, {IDENTIFIES: arrow(columns, changed)}, upserts=upserts))
    after = {file.file_path for file in planned(lake._tables.one(USERS)).files}
    assert len(before - after) == 3
    assert [[103, 103]] == rows_of(lake, "SELECT count(*), count(DISTINCT id) FROM shop.users")
    found = rows_of(lake, "SELECT id, plan, age FROM shop.users WHERE plan = 'pro' ORDER BY id")
    assert [["a", "pro", None], ["u015", "pro", 15], ["u015x", "pro", None], ["u999", "pro", None]] == found
    ranges = sorted(
        bounds(file, lake._tables.one(USERS).schema(), "id") for file in planned(lake._tables.one(USERS)).files
    )
    assert all(most < least for (_, most), (least, _) in pairwise(ranges))


# Upkeep.


def filled(lake: Lake, loads: int) -> None:
    """So many loads of three rows on a day that is over."""
    for number in range(loads):
        lake.commit(tracks(number * 3, number * 3 + 3, new=number == 0))


def files_of(lake: Lake, name: TableName) -> set[str]:
    return {file.file_path for file in planned(lake._tables.one(name)).files}


def on_disk(lake: Lake, name: TableName) -> set[Path]:
    folder = Path(lake._tables.one(name).location().removeprefix("file://"))
    return {path for path in folder.rglob("*") if path.is_file()}


def test_the_small_files_of_a_closed_day_become_one_and_keep_every_row(lake: Lake) -> None:
    filled(lake, 8)
    assert len(files_of(lake, TRACKS)) == 8
    assert lake.checkpoint()
    assert len(files_of(lake, TRACKS)) == 1
    expected = [[f"e{number}"] for number in range(24)]
    assert expected == rows_of(lake, "SELECT id FROM shop.tracks ORDER BY received_at")
    assert not lake.checkpoint()
    lake.commit(tracks(24, 26))
    assert [[26]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")


def test_the_files_of_a_day_that_goes_on_wait_until_there_are_many(lake: Lake) -> None:
    today = datetime.now(UTC)
    for number in range(_iceberg_upkeep.OPEN_FILES):
        row = [(f"e{number}", "u", today, today)]
        create = {TRACKS: TRACK_COLUMNS} if number == 0 else {}
        assert not lake._upkeep._groups(TRACKS, today)
        lake.commit(load(number, number + 1, {TRACKS: arrow(TRACK_COLUMNS, row)}, create=create))
    assert lake.checkpoint()
    assert len(files_of(lake, TRACKS)) == 1
    assert [[_iceberg_upkeep.OPEN_FILES]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")


def test_a_reader_of_an_older_snapshot_still_finds_its_files(lake: Lake) -> None:
    filled(lake, 3)
    older = StaticTable.from_metadata(metadata_of(lake, TRACKS))
    lake.checkpoint(force=True)
    assert older.scan().to_arrow().num_rows == 9


def test_expired_snapshots_go_with_their_files_and_the_table_stays(lake: Lake) -> None:
    filled(lake, 20)
    lake.checkpoint(force=True)
    table = lake._tables.one(TRACKS)
    before = len(on_disk(lake, TRACKS))
    assert _iceberg_upkeep.expire(table, datetime.now(UTC) + timedelta(seconds=1))
    assert len(lake._tables.one(TRACKS).metadata.snapshots) == 1
    assert len(on_disk(lake, TRACKS)) < before - 40  # 20 data files, manifests and their lists
    assert [[60]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")
    needed = {Path(path.removeprefix("file://")) for path in files_of(lake, TRACKS)}
    assert {path for path in on_disk(lake, TRACKS) if path.suffix == ".parquet"} == needed
    with pytest.raises(PositionError):
        lake.commit(tracks(57, 60))  # what the table took is known without the snapshots


def test_a_range_is_known_after_its_snapshot_expired(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = opened()
    with monkeypatch.context() as patched:
        patched.setattr(Housekeeping, "finish", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            lake.commit(tracks(0, 3, new=True))
    monkeypatch.setattr(_iceberg_upkeep, "EXPIRE_AT_ONCE", 1)
    table = lake._tables.one(TRACKS)
    others = arrow(TRACK_COLUMNS, [("other", "by another program", at(0), at(0))])
    exchange(table, lambda transaction: written(transaction, table.io, others))
    assert _iceberg_upkeep.expire(table, datetime.now(UTC) + timedelta(seconds=1))
    lake.commit(tracks(0, 3, new=True))
    assert [[4]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")


def test_files_that_no_snapshot_names_are_deleted_once_they_are_old(lake: Lake) -> None:
    filled(lake, 3)
    needed = on_disk(lake, TRACKS)
    orphan = next(path for path in needed if path.suffix == ".parquet").with_name("left-by-a-kill.parquet")
    orphan.write_bytes(b"")
    table = lake._tables.one(TRACKS)
    assert not _iceberg_upkeep.sweep(table, datetime.now(UTC) - timedelta(days=3))
    assert needed | {orphan} == on_disk(lake, TRACKS)
    assert _iceberg_upkeep.sweep(table, datetime.now(UTC) + timedelta(seconds=1))
    assert orphan not in on_disk(lake, TRACKS)
    assert [[9]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")


def test_a_dropped_or_replaced_table_leaves_no_files(lake: Lake) -> None:
    filled(lake, 2)
    new = TableName("shop", "_rebuild_1")
    rows = {new: arrow(TRACK_COLUMNS, [("e1", "u", at(1), at(9))])}
    lake.commit(load(0, 1, rows, create={new: TRACK_COLUMNS}, consumer="rebuild shop"))
    old_files = on_disk(lake, TRACKS)
    lake.replace(TRACKS, new)
    assert not any(path.exists() for path in old_files)
    files = on_disk(lake, TRACKS)
    lake.drop(TRACKS)
    assert not any(path.exists() for path in files)


# Settings.


def test_a_catalogue_whose_driver_is_missing_is_a_matter_of_the_settings(opened: Callable[..., Lake]) -> None:
    for url in ("nosuch://host/lake", "no url", "postgresql+nosuchdriver://host/lake"):
        with pytest.raises(ConfigError, match="catalogue"):
            opened(catalogue=url)


def test_a_check_tells_each_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    place = Place("lake", tmp_path, WarehouseConfig())
    kind = IcebergKind(IcebergSettings(), place)
    assert [("network", True), ("write", True)] == [(found.step, found.ok) for found in kind.check()]
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file()]
    kind.open().close()
    with closing(sqlite3.connect(kind.folder / "catalogue.sqlite")) as connection:
        before = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        assert [True, True] == [found.ok for found in kind.check()]
        assert before == connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    elsewhere = IcebergKind(IcebergSettings(catalogue="postgresql+nosuchdriver://host/lake"), place)
    found = elsewhere.check()
    assert [("network", False)] == [(step.step, step.ok) for step in found]
    assert "catalogue" in found[0].remedy
