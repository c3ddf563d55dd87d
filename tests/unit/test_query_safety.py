"""The SQL of users: what is refused, what runs, how answers look, and that nothing of it stops the loader."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from headrace.config import WarehouseConfig
from headrace.errors import QueryError
from headrace.warehouses import _duckdb_functions, _duckdb_select
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Columns, ColumnType, QueryResult, TableName
from made_loads import arrow, load, tracks

CASES = Path(__file__).parent.parent / "cases" / "queries"
REFUSED = json.loads((CASES / "refused.json").read_text())
ALLOWED = json.loads((CASES / "allowed.json").read_text())
NUMBERS: Columns = {"n": ColumnType.INTEGER}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDB]:
    config = WarehouseConfig(memory_bytes=128_000_000)
    opened = DuckDB(tmp_path_factory.mktemp("queries") / "warehouse.duckdb", config)
    opened.commit(tracks(0, 5, new=True))
    create = {TableName("shop", "numbers"): NUMBERS, TableName("shop", "pg_upgraded"): NUMBERS}
    numbers = arrow(NUMBERS, [(1,), (2,), (3,)])
    opened.commit(load(5, 6, {TableName("shop", "numbers"): numbers}, create=create))
    yield opened
    opened.close()


def asked(warehouse: DuckDB, sql: str, *, max_rows: int = 100, timeout_seconds: float = 20) -> QueryResult:
    return warehouse.query(sql, max_rows=max_rows, timeout_seconds=timeout_seconds)


def value(warehouse: DuckDB, expression: str) -> Any:
    return asked(warehouse, f"SELECT {expression}").rows[0][0]


def everything(warehouse: DuckDB) -> list[Any]:
    tables = [".".join(name) for name in sorted(warehouse.tables())]
    return [tables, *(asked(warehouse, f"SELECT * FROM {table} ORDER BY ALL").rows for table in tables)]


@pytest.mark.parametrize(("sql", "names"), REFUSED, ids=[sql[:70] for sql, _ in REFUSED])
def test_hostile_or_wrong_sql_is_refused_and_named(warehouse: DuckDB, sql: str, names: str) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(warehouse, sql)
    assert names in refusal.value.reason
    assert refusal.value.status == 400
    assert refusal.value.code in ("query_refused", "query_wrong")


def test_refused_sql_has_changed_nothing(warehouse: DuckDB) -> None:
    before = everything(warehouse)
    for sql, _ in REFUSED:
        with pytest.raises(QueryError):
            asked(warehouse, sql)
    assert before == everything(warehouse)


def test_hostile_sql_would_run_without_the_judge(tmp_path: Path) -> None:
    """The control: a read-only transaction alone lets this through."""
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("BEGIN TRANSACTION READ ONLY")
        for sql in ("FROM checkpoint()", "FROM duckdb_settings()", "SELECT current_setting('temp_directory')"):
            assert connection.execute(sql).fetchall() is not None


@pytest.mark.parametrize("sql", ALLOWED, ids=[sql[:70] for sql in ALLOWED])
def test_ordinary_sql_runs(warehouse: DuckDB, sql: str) -> None:
    answer = asked(warehouse, sql)
    assert len(answer.columns) == len(answer.types)
    assert {len(row) for row in answer.rows} <= {len(answer.columns)}
    json.dumps(answer.rows, allow_nan=False)
    msgspec.json.encode(answer)


def test_every_listed_function_exists_and_none_writes() -> None:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT lower(function_name), has_side_effects FROM duckdb_functions()").fetchall()
    there = {name for name, _ in found}
    syntax = {"grouping", "ifnull", "->"}  # spelt so by the parser, no functions of the catalogue
    listed = _duckdb_functions.FUNCTIONS | _duckdb_functions.OPERATORS | _duckdb_functions.TABLE_FUNCTIONS
    assert set() == listed - there - syntax
    random = {"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "error"}
    assert set() == {name for name, effects in found if effects and name in listed} - random


def test_expressions_nested_too_deeply_are_refused_not_crashed_on(warehouse: DuckDB) -> None:
    for sql in (
        "SELECT " + "1 + " * 20_000 + "1",
        "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
        "SELECT " + "-" * 900 + "1",
    ):
        with pytest.raises(QueryError):
            asked(warehouse, sql)


def test_sql_of_any_length_or_with_nul_is_refused(warehouse: DuckDB) -> None:
    with pytest.raises(QueryError, match="characters"):
        asked(warehouse, "SELECT 1" + " " * _duckdb_select.MAX_CHARACTERS)
    with pytest.raises(QueryError, match="NUL"):
        asked(warehouse, "SELECT 1\0; DROP TABLE shop.tracks")
    with pytest.raises(QueryError):
        asked(warehouse, "SELECT '\udcff'")


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("TIMESTAMPTZ '2026-03-29 03:00:00.5+02'", "2026-03-29T01:00:00.500000Z"),
        ("TIMESTAMPTZ '2026-03-29 03:00:00+02'", "2026-03-29T01:00:00Z"),
        ("TIMESTAMP '0987-03-29 03:00:00'", "0987-03-29T03:00:00"),
        ("TIMESTAMP_NS '2026-03-29 03:00:00.000000001'", "2026-03-29T03:00:00.000000001"),
        ("TIMESTAMPTZ 'infinity'", "infinity"),
        ("TIMESTAMPTZ '-infinity'", "-infinity"),
        ("TIMESTAMPTZ '20000-01-01 00:00:00+00'", "568971820800 seconds since 1970"),
        ("DATE '2026-03-29'", "2026-03-29"),
        ("DATE 'infinity'", "infinity"),
        ("TIME '10:00:00.25'", "10:00:00.250000"),
        ("INTERVAL '1 month 2 days 90 seconds'", "P1M2DT90S"),
        ("9223372036854775808::HUGEINT - 1", 9223372036854775807),
        ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
        ("sum(n) FROM shop.numbers", 6),
        ("1.50::DECIMAL(5, 2)", 1.5),
        ("12345678901234567.89::DECIMAL(30, 2)", "12345678901234567.89"),
        ("'NaN'::DOUBLE", "NaN"),
        ("['-inf'::DOUBLE, 'inf'::DOUBLE, NULL]", ["-Infinity", "Infinity", None]),
        ("'\\x00\\xAB'::BLOB", base64.b64encode(b"\x00\xab").decode()),
        (
            "{'a': TIMESTAMPTZ '2026-03-29 00:00:00+00', 'b': [1.5::DECIMAL(3, 1)]}",
            {"a": "2026-03-29T00:00:00Z", "b": [1.5]},
        ),
        ("MAP {1: 'x', 2: NULL}", [[1, "x"], [2, None]]),
        ("'00000000-0000-0000-0000-000000000001'::UUID", "00000000-0000-0000-0000-000000000001"),
        ("'{\"a\":1}'::JSON", '{"a":1}'),
        ("NULL", None),
        ("true", True),
        ("'ä\"\n'", 'ä"\n'),
    ],
)
def test_values_are_shown_without_loss(warehouse: DuckDB, expression: str, shown: Any) -> None:
    found = value(warehouse, expression)
    assert shown == found
    assert type(shown) is type(found)


def test_the_session_is_in_utc_wherever_the_machine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        opened = DuckDB(tmp_path / "warehouse.duckdb", WarehouseConfig())
        assert (
            value(opened, "date_trunc('day', TIMESTAMPTZ '2026-03-29 20:00:00Z')::VARCHAR") == "2026-03-29 00:00:00+00"
        )
        opened.close()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_may_share_a_name(warehouse: DuckDB) -> None:
    answer = asked(warehouse, "SELECT 1 AS a, 2 AS a")
    assert (["a", "a"], [[1, 2]]) == (answer.columns, answer.rows)


def test_an_answer_of_many_megabytes_is_refused(warehouse: DuckDB) -> None:
    sql = "SELECT string_agg(r::VARCHAR, '') FROM range(1000000) t(r), range(20) u(g) GROUP BY g"
    with pytest.raises(QueryError) as refusal:
        asked(warehouse, sql)
    assert refusal.value.code in ("query_too_large", "query_memory")


RUNAWAY = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 11"


def test_a_runaway_query_is_cancelled_while_commits_go_on(tmp_path: Path) -> None:
    warehouse = DuckDB(tmp_path / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    warehouse.commit(tracks(0, 10, new=True))
    refusals: list[QueryError] = []

    def run_away() -> None:
        with pytest.raises(QueryError) as refusal:
            asked(warehouse, RUNAWAY, timeout_seconds=1)
        refusals.append(refusal.value)

    thread = threading.Thread(target=run_away)
    thread.start()
    committed = 10
    while thread.is_alive():
        warehouse.commit(tracks(committed, committed + 10))
        committed += 10
    thread.join()
    assert ["query_timeout"] == [refusal.code for refusal in refusals]
    assert committed > 10
    assert value(warehouse, "count(*) FROM shop.tracks") == committed
    warehouse.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.range FROM range(100000000) a ORDER BY md5(a.range::VARCHAR)",
        "SELECT * FROM generate_series(1, 1000000000000) g(n) WHERE n < 0",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
        "SELECT a.range FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1",
    ],
)
def test_runaway_queries_of_all_kinds_end(warehouse: DuckDB, sql: str) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(warehouse, sql, timeout_seconds=0.5)
    assert refusal.value.code in ("query_timeout", "query_memory")
    assert value(warehouse, "1") == 1


def test_a_query_beyond_the_memory_is_refused_and_the_next_one_runs(warehouse: DuckDB) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(warehouse, "SELECT list(range) FROM range(100000000)", timeout_seconds=60)
    assert refusal.value.code in ("query_memory", "query_timeout")
    assert value(warehouse, "1") == 1


def test_closing_cancels_a_running_query(tmp_path: Path) -> None:
    warehouse = DuckDB(tmp_path / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))
    refusals: list[str] = []

    def run_away() -> None:
        with pytest.raises(QueryError) as refusal:
            asked(warehouse, RUNAWAY, timeout_seconds=100)
        refusals.append(refusal.value.reason)

    thread = threading.Thread(target=run_away)
    thread.start()
    while not warehouse._file._cursors:
        time.sleep(0.01)
    time.sleep(0.3)  # past its statement's beginning, where an interrupt would be lost
    warehouse.close()
    thread.join()
    assert len(refusals) == 1


def test_a_finite_float_is_no_text(warehouse: DuckDB) -> None:
    assert math.isclose(0.1, value(warehouse, "0.1::DOUBLE"), rel_tol=0)
