"""People's SQL in ClickHouse: what is refused, what runs, how answers look. The engine is embedded (chdb)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.clickhouse import embedded
from headrace.errors import QueryError
from headrace.warehouses import _clickhouse_select
from headrace.warehouses._clickhouse import ClickHouse
from headrace.warehouses._clickhouse_functions import FUNCTIONS, TABLE_FUNCTIONS
from made_clickhouse import everything, wide_load

CASES = Path(__file__).parent.parent / "cases" / "queries"
REFUSED = json.loads((CASES / "clickhouse-refused.json").read_text())
ALLOWED = json.loads((CASES / "clickhouse-allowed.json").read_text())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    warehouse = ClickHouse(embedded(tmp_path_factory.mktemp("queries")), embedded=True)
    warehouse.commit(wide_load(0, 10))
    yield warehouse
    warehouse.close()


def asked(warehouse: ClickHouse, sql: str, timeout_seconds: float = 10) -> Any:
    return warehouse.query(sql, max_rows=100, timeout_seconds=timeout_seconds)


def test_hostile_or_wrong_sql_is_refused_and_named(filled: ClickHouse) -> None:
    before = everything(filled)
    for sql, named in REFUSED:
        with pytest.raises(QueryError) as refusal:
            asked(filled, sql)
        assert named in refusal.value.reason, (sql, refusal.value.reason)
        assert refusal.value.code in ("query_refused", "query_wrong")
    assert before == everything(filled)


def test_hostile_sql_would_run_without_the_judge(filled: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a read-only handle alone reads files and waits."""
    monkeypatch.setattr(_clickhouse_select, "check", lambda _: None)
    assert asked(filled, "SELECT file('/proc/sys/kernel/ostype')").rows == [["Linux\n"]]
    assert asked(filled, "SELECT * FROM file('/proc/sys/kernel/ostype', 'LineAsString')").rows == [["Linux"]]
    assert asked(filled, "SELECT sleep(0.01)").rows == [[0]]


def test_writing_is_refused_by_the_engine_too(filled: ClickHouse) -> None:
    with pytest.raises(Exception, match="readonly"):
        filled._session.asking.command("INSERT INTO shop.tracks (id) VALUES ('x')")


@pytest.mark.parametrize("sql", ALLOWED, ids=[sql[:60] for sql in ALLOWED])
def test_ordinary_sql_runs(filled: ClickHouse, sql: str) -> None:
    answer = asked(filled, sql)
    assert len(answer.columns) == len(answer.types)
    assert {len(row) for row in answer.rows} <= {len(answer.columns)}
    json.dumps(answer.rows, allow_nan=False)


def test_every_listed_function_is_the_engines_and_no_other_is_meant_by_its_name(filled: ClickHouse) -> None:
    found = filled._session.rows("SELECT name FROM system.functions")
    there = [name for (name,) in found]
    dangerous = (
        "file",
        "sleep",
        "sleepEachRow",
        "joinGet",
        "dictGet",
        "getSetting",
        "hostName",
        "aiGenerate",
        "getMacro",
        "chdb",
    )
    assert set(dangerous) <= set(there)
    assert set() == {name.lower() for name in dangerous} & FUNCTIONS
    table_functions = {name for (name,) in filled._session.rows("SELECT name FROM system.table_functions")}
    assert (
        set() == {"url", "file", "s3", "remote", "mysql", "executable", "python", "merge", "cluster"} & TABLE_FUNCTIONS
    )
    assert set() == TABLE_FUNCTIONS - table_functions - {"SQLStandardValues"}


def test_a_query_that_takes_too_long_is_cancelled_and_the_next_one_runs(filled: ClickHouse) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(filled, "SELECT count() FROM numbers(1000000000000)", timeout_seconds=1)
    assert refusal.value.code == "query_timeout"
    assert [[1]] == asked(filled, "SELECT 1").rows


def test_an_answer_of_many_megabytes_is_refused(filled: ClickHouse) -> None:
    with pytest.raises(QueryError) as refusal:
        asked(filled, "SELECT repeat(toString(number), 1000000) FROM numbers(100)")
    assert refusal.value.code == "query_too_large"


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("toDateTime64('2026-03-29 01:00:00.5', 6, 'UTC')", "2026-03-29T01:00:00.500000Z"),
        ("toDate('2026-03-29')", "2026-03-29"),
        ("toDecimal64('1.50', 2)", 1.5),
        ("toInt128('170141183460469231731687303715884105727')", 2**127 - 1),
        ("nan", "NaN"),
        ("[-inf, inf]", ["-Infinity", "Infinity"]),
        ("toUUID('00000000-0000-0000-0000-000000000001')", "00000000-0000-0000-0000-000000000001"),
        ("map('a', 1)", {"a": 1}),
        ("(1, 'x')", [1, "x"]),
        ("NULL", None),
        ("true", True),
        ("'ä\"\n'", 'ä"\n'),
    ],
)
def test_values_are_shown_without_loss(filled: ClickHouse, expression: str, shown: Any) -> None:
    assert [[shown]] == asked(filled, f"SELECT {expression}").rows
