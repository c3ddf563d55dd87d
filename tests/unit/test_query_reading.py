"""Answers while they come: cells that no reader changes, the place of an error, and queries that end when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.config import WarehouseConfig
from headrace.errors import QueryError
from headrace.warehouses import _duckdb_query
from headrace.warehouses._clickhouse_query import kind_of
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Readable, Stop
from postgresql_server import PostgreSQLServer, kind, shared

ENGINES = ["duckdb", "postgresql"]
ENDLESS = {
    "duckdb": "SELECT count(*) FROM range(100000000000) a (n) WHERE n % 7 = 9",
    "postgresql": "SELECT count(*) FROM generate_series(1, 100000000000) a (n)",
}


@pytest.fixture(scope="module")
def server() -> PostgreSQLServer:
    return shared()


@pytest.fixture(scope="module")
def warehouses(server: PostgreSQLServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Readable]]:
    path: Path = tmp_path_factory.mktemp("reading") / "warehouse.duckdb"
    embedded = DuckDB(path, WarehouseConfig(memory_bytes=128_000_000))
    remote: Any = kind(server.dsn(server.database())).open()
    yield {"duckdb": embedded, "postgresql": remote}
    embedded.close()
    remote.close()


def first(warehouse: Readable, expression: str) -> tuple[str, Any]:
    with warehouse.reading(f"SELECT {expression}", timeout_seconds=20, stop=Stop()) as reading:
        return reading.columns[0].kind, next(iter(reading.blocks))[0][0]


SAME = [
    ("9007199254740991", ("integer", 2**53 - 1)),
    ("9007199254740993", ("integer", "9007199254740993")),
    ("-9223372036854775807", ("integer", "-9223372036854775807")),
    ("CAST('1.50' AS numeric(9, 2))", ("decimal", "1.50")),
    ("CAST('12345678901234567890.000000001' AS numeric(38, 9))", ("decimal", "12345678901234567890.000000001")),
    ("CAST('NaN' AS double precision)", ("float", "NaN")),
    ("CAST('-Infinity' AS double precision)", ("float", "-Infinity")),
    ("CAST('0.1' AS real)", ("float", 0.1)),
    ("CAST('0.1' AS double precision) + CAST('0.2' AS double precision)", ("float", 0.1 + 0.2)),
    ("CAST('2026-03-29 03:00:00.123456+02' AS timestamptz)", ("timestamp", "2026-03-29T01:00:00.123456Z")),
    ("CAST('2026-03-29 03:00:00' AS timestamp)", ("timestamp", "2026-03-29T03:00:00")),
    ("CAST('infinity' AS timestamptz)", ("timestamp", "infinity")),
    ("CAST('-infinity' AS timestamptz)", ("timestamp", "-infinity")),
    ("CAST('2026-03-29' AS date)", ("date", "2026-03-29")),
    ("CAST('infinity' AS date)", ("date", "infinity")),
    ("CAST('-infinity' AS date)", ("date", "-infinity")),
    ("CAST('10:00:00.25' AS time)", ("time", "10:00:00.250000")),
    ("CAST('1 month 2 days 3.5 seconds' AS interval)", ("interval", "P1M2DT3.5S")),
    ("CAST(NULL AS integer)", ("integer", None)),
    ("'NULL'", ("text", "NULL")),
    ("''", ("text", "")),
    ("true", ("boolean", True)),
    ("CAST('00000000-0000-0000-0000-000000000001' AS uuid)", ("text", "00000000-0000-0000-0000-000000000001")),
]
OWN = {
    "duckdb": [
        ("CAST('170141183460469231731687303715884105727' AS hugeint)", ("integer", str(2**127 - 1))),
        ("'\\x00\\xAB'::blob", ("bytes", "\\x00ab")),
        ("{'a': 9007199254740993, 'b': [1.5, NULL]}", ("nested", '{"a":9007199254740993,"b":[1.5,null]}')),
        ("MAP {1: 'x'}", ("nested", '[[1,"x"]]')),
        ("'{\"a\": 1}'::json", ("nested", '{"a": 1}')),
    ],
    "postgresql": [
        ("'\\x00ab'::bytea", ("bytes", "\\x00ab")),
        ("ARRAY[1, NULL, 3]", ("nested", "[1,null,3]")),
        ("'{\"a\": 9007199254740993}'::jsonb", ("nested", '{"a": 9007199254740993}')),
        ("'NaN'::numeric", ("decimal", "NaN")),
    ],
}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_type_of_value_arrives_unharmed(warehouses: dict[str, Readable], engine: str) -> None:
    for expression, expected in (*SAME, *OWN[engine]):
        assert expected == first(warehouses[engine], expression), expression


def test_kinds_are_told_by_clickhouse_names() -> None:
    names = {
        "Nullable(Int64)": "integer",
        "Nullable(DateTime64(6, 'UTC'))": "timestamp",
        "LowCardinality(Nullable(String))": "text",
        "Decimal(38, 9)": "decimal",
        "Array(Nullable(Int8))": "nested",
        "Float32": "float",
    }
    assert list(names.values()) == [kind_of(name) for name in names]


PLACES = [
    ("SELECT 1,\n  foo", "foo"),
    ("SELECT * FROM nope", "nope"),
    ("SELECT 'é€',\n\n 1 AS x, nofunction(1)", "nofunction"),
    ("SELECT 'abc' AS x, " + "1 AS y, " * 40 + " missing FROM information_schema.tables", "missing"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("sql", "wrong"), PLACES)
def test_an_error_says_its_place_in_the_text(
    warehouses: dict[str, Readable], engine: str, sql: str, wrong: str
) -> None:
    for ask in (read, explained):
        with pytest.raises(QueryError) as error:
            ask(warehouses[engine], sql)
        assert sql.index(wrong) == error.value.position


def read(warehouse: Readable, sql: str) -> list[Any]:
    with warehouse.reading(sql, timeout_seconds=20, stop=Stop()) as reading:
        return [row for block in reading.blocks for row in block]


def explained(warehouse: Readable, sql: str) -> list[Any]:
    return list(warehouse.plan(sql, timeout_seconds=20, stop=Stop()))


def test_a_wrong_text_says_its_place_in_characters(warehouses: dict[str, Readable]) -> None:
    with pytest.raises(QueryError, match="at character 15") as error:
        read(warehouses["duckdb"], "SELECT 'é', 1 +")
    assert error.value.position == 14


@pytest.mark.parametrize("engine", ENGINES)
def test_explain_shows_lines_and_takes_nothing_but_a_select(warehouses: dict[str, Readable], engine: str) -> None:
    assert warehouses[engine].plan("SELECT 1;", timeout_seconds=20, stop=Stop())
    for sql in (
        "ANALYZE SELECT 1",
        "(ANALYZE) SELECT 1",
        "(ANALYZE true) SELECT 1",
        "DELETE FROM x",
        "SELECT 1; SELECT 2",
    ):
        with pytest.raises(QueryError):
            warehouses[engine].plan(sql, timeout_seconds=20, stop=Stop())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_answer_may_be_left_in_the_middle(warehouses: dict[str, Readable], engine: str) -> None:
    series = "range(100000000)" if engine == "duckdb" else "generate_series(0, 100000000)"
    with warehouses[engine].reading(f"SELECT n FROM {series} a (n)", timeout_seconds=60, stop=Stop()) as reading:
        rows = list(islice((row[0] for block in reading.blocks for row in block), 3))
    assert [0, 1, 2] == rows
    assert ("integer", 1) == first(warehouses[engine], "1")


def asking(warehouse: Readable, sql: str, stop: Stop) -> tuple[threading.Thread, list[QueryError]]:
    failed: list[QueryError] = []

    def ask() -> None:
        try:
            with warehouse.reading(sql, timeout_seconds=60, stop=stop) as reading:
                list(reading.blocks)
        except QueryError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, failed


def active(server: PostgreSQLServer) -> int:
    counted = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%a (n)%' AND pid <> pg_backend_pid()"
    return cast("int", server.sql(counted)[0][0])


def test_a_stopped_query_ends_in_postgresql(warehouses: dict[str, Readable], server: PostgreSQLServer) -> None:
    stop = Stop()
    thread, failed = asking(warehouses["postgresql"], ENDLESS["postgresql"], stop)
    while not active(server):
        pass
    thread.join(0.1)
    assert (True, 1) == (thread.is_alive(), active(server))  # the control: nothing else ends it
    stop.stop()
    thread.join(20)
    assert (["query_cancelled"], 0) == ([error.code for error in failed], active(server))
    assert ("integer", 1) == first(warehouses["postgresql"], "1")


def test_a_stopped_query_ends_in_duckdb(warehouses: dict[str, Readable], monkeypatch: pytest.MonkeyPatch) -> None:
    running = threading.Event()
    judge = _duckdb_query._judge

    def judged(cursor: Any, sql: str) -> None:
        judge(cursor, sql)
        running.set()

    monkeypatch.setattr(_duckdb_query, "_judge", judged)
    stop = Stop()
    thread, failed = asking(warehouses["duckdb"], ENDLESS["duckdb"], stop)
    running.wait(20)
    thread.join(0.1)
    assert thread.is_alive()  # the control: nothing else ends it
    stop.stop()
    thread.join(20)
    assert ["query_cancelled"] == [error.code for error in failed]
    assert ("integer", 1) == first(warehouses["duckdb"], "1")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_query_that_was_stopped_before_it_began_does_not_run(warehouses: dict[str, Readable], engine: str) -> None:
    stop = Stop()
    stop.stop()
    thread, failed = asking(warehouses[engine], ENDLESS[engine], stop)
    thread.join(20)
    assert ["query_cancelled"] == [error.code for error in failed]
