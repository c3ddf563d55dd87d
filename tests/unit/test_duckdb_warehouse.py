"""DuckDB's own: opening, locks, errors that end the engine, and a COMMIT whose answer is lost."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, FolderInUseError, PositionError, WarehouseUnavailableError
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import HOUSEKEEPING_TABLES, Position, TableName
from made_loads import CONSUMER, tracks

CONFIG = WarehouseConfig(memory_bytes=128_000_000)
SOURCES = Path(__file__).parent.parent.parent / "src"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def warehouse(file: Path) -> Iterator[DuckDB]:
    opened = DuckDB(file, CONFIG)
    yield opened
    opened.close()


def count(warehouse: DuckDB) -> int:
    rows = warehouse.query("SELECT count(*) FROM shop.tracks", max_rows=1, timeout_seconds=10).rows
    return int(rows[0][0])


def test_a_file_open_in_another_process_is_refused(file: Path) -> None:
    DuckDB(file, CONFIG).close()
    held = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", held, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(FolderInUseError, match="is open in another place"):
            DuckDB(file, CONFIG)
        process.kill()
    DuckDB(file, CONFIG).close()


def test_a_file_open_in_this_process_is_refused_and_stays_usable(file: Path, warehouse: DuckDB) -> None:
    with pytest.raises(FolderInUseError):
        DuckDB(file, CONFIG)
    warehouse.commit(tracks(0, 1, new=True))
    assert count(warehouse) == 1


def damaged(file: Path, how: str) -> None:
    stored = bytearray(file.read_bytes())
    match how:
        case "no database":
            file.write_bytes(b"id,event\n1,opened\n")
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(stored[:5_000])
        case "rotten":
            for place in range(20_000, len(stored), 4_096):
                stored[place] ^= 255
            file.write_bytes(stored)
        case "a folder":
            file.unlink()
            file.mkdir()


@pytest.mark.parametrize("how", ["no database", "empty", "cut", "rotten", "a folder"])
def test_a_file_that_cannot_be_read_is_told_with_its_name(file: Path, how: str) -> None:
    first = DuckDB(file, CONFIG)
    first.commit(tracks(0, 5_000, new=True))
    first.close()
    damaged(file, how)
    with pytest.raises(ConfigError, match=file.name):
        DuckDB(file, CONFIG)


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        DuckDB(tmp_path / "nowhere" / "warehouse.duckdb", CONFIG)


def test_a_creation_that_was_killed_is_begun_again(file: Path) -> None:
    file.with_name(file.name + ".new").write_bytes(b"half a header")
    DuckDB(file, CONFIG).close()
    assert [file.name] == [path.name for path in file.parent.iterdir()]


def test_housekeeping_of_an_earlier_release_gets_its_new_columns(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE SCHEMA headrace; CREATE TABLE headrace.books (source VARCHAR PRIMARY KEY, loaded BIGINT)"
        )
    opened = DuckDB(file, CONFIG)
    assert HOUSEKEEPING_TABLES["books"] == opened.tables()[TableName("headrace", "books")]
    opened.close()


def test_nothing_outside_can_be_reached_or_set_by_any_cursor(warehouse: DuckDB, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\n")
    for sql in ("SET threads = 1", "SET enable_external_access = true", f"FROM '{tmp_path}/x.csv'", "LOAD httpfs"):
        with pytest.raises((ValueError, WarehouseUnavailableError)), warehouse._file.cursor() as cursor:
            cursor.execute(sql)


def test_sorting_more_than_the_memory_spills_beside_the_file_and_cleans_up(file: Path) -> None:
    warehouse = DuckDB(file, WarehouseConfig(memory_bytes=64_000_000))
    rows = "SELECT a.range AS r, md5(a.range::VARCHAR) AS m FROM range(1500000) a"
    sql = f"SELECT count(*), sum(place = r) FROM (SELECT r, row_number() OVER (ORDER BY m) AS place FROM ({rows}))"
    answer = warehouse.query(sql, max_rows=1, timeout_seconds=60)
    assert answer.rows[0][0] == 1_500_000
    warehouse.close()
    assert [file.name] == [path.name for path in file.parent.iterdir()]


def test_a_closed_warehouse_says_so(file: Path) -> None:
    opened = DuckDB(file, CONFIG)
    opened.close()
    opened.close()
    with pytest.raises(ConfigError, match="closed"):
        opened.position(CONSUMER, 0)


def test_a_quiet_checkpoint_leaves_a_small_journal_alone(warehouse: DuckDB) -> None:
    warehouse.checkpoint(force=True)
    warehouse.commit(tracks(0, 1, new=True))
    assert not warehouse.checkpoint()
    assert warehouse.checkpoint(force=True)


# An engine that has ended.


def test_after_a_fatal_error_the_next_call_opens_the_file_again(
    warehouse: DuckDB, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.commit(tracks(0, 5, new=True))
    with pytest.raises(WarehouseUnavailableError, match="opened again"), warehouse._file.cursor():
        raise duckdb.FatalException("FATAL Error: the database has been invalidated")
    before = warehouse._file._root
    with caplog.at_level(logging.WARNING):
        warehouse.commit(tracks(5, 9))
    assert before is not warehouse._file._root
    assert "opened again" in caplog.text
    assert count(warehouse) == 9


def test_a_file_that_cannot_be_opened_again_is_retried_at_the_next_call(file: Path, warehouse: DuckDB) -> None:
    warehouse.commit(tracks(0, 5, new=True))
    warehouse.checkpoint(force=True)
    kept = file.with_name("kept")
    shutil.copy(file, kept)
    with pytest.raises(WarehouseUnavailableError), warehouse._file.cursor():
        raise duckdb.FatalException("FATAL Error: disk")
    warehouse._file._root.close()
    file.write_bytes(b"not there for a while")
    with pytest.raises(WarehouseUnavailableError, match=file.name):
        warehouse.position(CONSUMER, 0)
    kept.replace(file)
    assert Position("log-1", 5) == warehouse.position(CONSUMER, 0)


# A COMMIT whose answer is lost.


class LostAnswer:
    """A cursor whose COMMIT works, or not, and raises in either case."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, *, works: bool) -> None:
        self._cursor, self._works = cursor, works

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql == "COMMIT":
            self._cursor.execute("COMMIT" if self._works else "ROLLBACK")
            raise duckdb.IOException("IO Error: the answer is lost")
        return self._cursor.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def lose_answers(warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch, *, works: bool) -> None:
    real = warehouse._file.cursor

    @contextmanager
    def cursor() -> Iterator[Any]:
        with real() as found:
            yield LostAnswer(found, works=works)

    monkeypatch.setattr(warehouse._file, "cursor", cursor)


def test_a_commit_that_worked_without_an_answer_is_no_failure(
    warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.commit(tracks(0, 5, new=True))
    with monkeypatch.context() as patch:
        lose_answers(warehouse, patch, works=True)
        warehouse.commit(tracks(5, 9))
    assert Position("log-1", 9) == warehouse.position(CONSUMER, 0)
    assert count(warehouse) == 9


def test_a_commit_that_failed_can_be_tried_again(warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse.commit(tracks(0, 5, new=True))
    with monkeypatch.context() as patch:
        lose_answers(warehouse, patch, works=False)
        with pytest.raises(WarehouseUnavailableError, match="nothing is stored"):
            warehouse.commit(tracks(5, 9))
    warehouse.commit(tracks(5, 9))
    assert count(warehouse) == 9


@pytest.mark.parametrize("works", [True, False])
def test_a_commit_that_nobody_could_ask_about_is_asked_about_before_it_is_tried_again(
    warehouse: DuckDB, monkeypatch: pytest.MonkeyPatch, *, works: bool
) -> None:
    def unreachable(*_: object) -> Position:
        raise WarehouseUnavailableError("not now")

    warehouse.commit(tracks(0, 5, new=True))
    with monkeypatch.context() as patch:
        lose_answers(warehouse, patch, works=works)
        patch.setattr(warehouse, "position", unreachable)
        with pytest.raises(WarehouseUnavailableError):
            warehouse.commit(tracks(5, 9))
    warehouse.commit(tracks(5, 9))
    assert count(warehouse) == 9
    with pytest.raises(PositionError):
        warehouse.commit(tracks(5, 9))


def test_listing_the_kinds_does_not_import_any_engine() -> None:
    engines = (
        "_duckdb",
        "pyarrow",
        "headrace.warehouses._duckdb",
        "clickhouse_connect",
        "adbc_driver_manager",
        "pyiceberg",
    )
    code = f"import sys; from headrace.warehouses.base import kinds; kinds(); sys.exit(bool(sys.modules.keys() & set({engines})))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": str(SOURCES)}
        ).returncode
        == 0
    )


def test_order_and_limit_leave_no_row_out_after_others_were_deleted(tmp_path: Path) -> None:
    statements = (
        "CREATE SCHEMA s",
        "CREATE TABLE s.t (k VARCHAR, n BIGINT)",
        "INSERT INTO s.t SELECT 'a' || i, i % 10 FROM range(3000) r(i)",
        "DELETE FROM s.t WHERE n >= 2",
        "INSERT INTO s.t SELECT 'x' || i, i % 7 FROM range(300000) r(i)",
    )
    first = "SELECT n, k FROM s.t ORDER BY n DESC, k LIMIT 1"
    warehouse = DuckDB(tmp_path / "warehouse.duckdb", WarehouseConfig())
    warehouse.derive(lambda derivation: derivation.run(statements))
    assert [[6, "x1000"]] == [list(row) for row in warehouse.query(first, max_rows=5, timeout_seconds=30).rows]
    warehouse.close()
    with duckdb.connect() as plain:  # the control: once this fails, the engine has mended it
        for statement in statements:
            plain.execute(statement)
        assert (6, "x1000") != plain.execute(first).fetchone()
