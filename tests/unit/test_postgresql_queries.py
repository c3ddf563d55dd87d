"""What PostgreSQL gives back, and what a user's query may not do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import HeadraceError, QueryError, WarehouseUnavailableError
from headrace.warehouses import _postgresql, _postgresql_select
from headrace.warehouses.base import Columns, ColumnType, TableName, Warehouse
from made_loads import arrow, load, rows_of, tracks
from postgresql_server import PostgreSQLServer, kind, shared


@pytest.fixture(scope="module")
def server() -> PostgreSQLServer:
    return shared()


@pytest.fixture
def database(server: PostgreSQLServer) -> str:
    return server.database()


@pytest.fixture
def warehouse(server: PostgreSQLServer, database: str) -> Iterator[Warehouse]:
    opened = kind(server.dsn(database)).open()
    yield opened
    opened.close()


def count(warehouse: Warehouse) -> int:
    found: int = rows_of(warehouse, "SELECT count(*) FROM shop.tracks")[0][0]
    return found


# Values.


def test_json_comes_back_with_its_content_and_other_spacing(warehouse: Warehouse) -> None:
    name, columns = TableName("shop", "extra"), {"id": ColumnType.STRING, "_extra": ColumnType.JSON}
    sent = '{"b":1,"a":{"c\\u0000d":[1.10,null]}}'
    warehouse.commit(load(0, 1, {name: arrow(columns, [("x", sent)])}, create={name: columns}))
    assert [['{"a": {"cd": [1.10, null]}, "b": 1}']] == rows_of(warehouse, "SELECT _extra FROM shop.extra")


AWKWARD = ["", "NULL", "null", "{}", '"', "\\", '\\"', "'", "a,b", "\x1f", "\x1fx\x1f", "é\n\t\r", "$1", "--", "\u2028"]


@pytest.mark.parametrize("copies", [1, 20_000], ids=["written", "staged"])
def test_any_text_comes_back_as_it_is(warehouse: Warehouse, copies: int) -> None:
    name, columns = TableName("shop", "texts"), {"id": ColumnType.STRING}
    loads: list[list[str | None]] = [[*AWKWARD], [*AWKWARD, None], ["plain", "\x1f"], ["plain", "text"]]
    for number, texts in enumerate(loads):
        rows = arrow(columns, [(text,) for text in texts] * copies)
        create = {name: columns} if number == 0 else {}
        warehouse.commit(load(number, number + 1, {name: rows}, create=create))
        found = rows_of(warehouse, f"SELECT DISTINCT id FROM shop.texts{'' if number < 2 else ' WHERE false'}")
        assert number > 1 or set(texts) == {row[0] for row in found}
    assert [[copies * (2 * len(AWKWARD) + 5)]] == rows_of(warehouse, "SELECT count(*) FROM shop.texts")


@pytest.mark.parametrize("copies", [1, 20_000], ids=["written", "staged"])
def test_numbers_keep_every_digit(warehouse: Warehouse, copies: int) -> None:
    name = TableName("shop", "figures")
    columns: Columns = {"i": ColumnType.INTEGER, "f": ColumnType.FLOAT}
    values = [(2**63 - 1, 0.1 + 0.2), (-(2**63), 5e-324), (0, 1.7976931348623157e308), (None, None)]
    warehouse.commit(load(0, 1, {name: arrow(columns, values * copies)}, create={name: columns}))
    found = warehouse.arrow("SELECT DISTINCT i, f FROM shop.figures", max_rows=10, timeout_seconds=10).to_pydict()
    assert set(values) == set(zip(found["i"], found["f"], strict=True))
    special = arrow({"f": ColumnType.FLOAT}, [(float("nan"),), (float("inf"),), (float("-inf"),)])
    warehouse.commit(load(1, 2, {name: special}))
    asked = "SELECT f FROM shop.figures WHERE i IS NULL AND f IS NOT NULL ORDER BY f"
    assert [["-Infinity"], ["Infinity"], ["NaN"]] == rows_of(warehouse, asked)


def test_a_staged_integer_reaches_a_float_column_as_a_number(warehouse: Warehouse) -> None:
    """Copied straight into the column its bits would be taken for another number's."""
    name, columns = TableName("shop", "mixed"), {"f": ColumnType.FLOAT}
    warehouse.commit(load(0, 1, {name: arrow(columns, [(0.5,)])}, create={name: columns}))
    many = pa.table({"f": pa.array([7] * 20_000, pa.int64())})
    warehouse.commit(load(1, 2, {name: many}))
    assert [[0.5], [7.0]] == rows_of(warehouse, "SELECT DISTINCT f FROM shop.mixed ORDER BY f")


# Queries of users.


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO shop.tracks (id) VALUES ('x')",
        "WITH gone AS (DELETE FROM shop.tracks RETURNING *) SELECT * FROM gone",
        "SELECT * INTO shop.copy FROM shop.tracks",
        "COPY shop.tracks TO PROGRAM 'cat'",
        "SELECT 1; DROP TABLE shop.tracks",
        "SELECT id FROM shop.tracks FOR UPDATE",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
        'SELECT "pg_terminate_backend"(pid) FROM pg_stat_activity',
        "SELECT pg_catalog.pg_terminate_backend /* a /* nested */ comment */ (pid) FROM pg_stat_activity",
        "SELECT PG_Terminate_Backend\n--x\n(pid) FROM pg_stat_activity",
        'SELECT U&"pg\\005fterminate_backend"(pid) FROM pg_stat_activity',
        "SELECT '\\' , pg_terminate_backend(pid) --' FROM pg_stat_activity\n FROM pg_stat_activity",
        "SELECT $a$ ' $a$, pg_terminate_backend(pid), $a$ ' $a$ FROM pg_stat_activity",
        "SELECT E'a'\n'b\\'', pg_terminate_backend(pid), '' FROM pg_stat_activity WHERE 'x' <> ''''",
        "SELECT 1pg_terminate_backend(pid) FROM pg_stat_activity",
        "SELECT pg_terminate_backend\u00a0(pid) FROM pg_stat_activity",
        "SELECT $\u00a0$ ' $\u00a0$, pg_terminate_backend(pid) FROM pg_stat_activity -- '",
        "SELECT 1a$b$, pg_terminate_backend(pid) FROM pg_stat_activity -- $b$",
        "SELECT crosstab('SELECT pg_terminate_backend(pid) FROM pg_stat_activity')",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_create(0)",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_ls_dir('/')",
        "SELECT query_to_xml('SELECT pg_terminate_backend(1)', true, true, '')",
        "SELECT nextval('shop.s')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_sleep(0)",
        "SELECT shop.quiet_writer()",
        "EXPLAIN ANALYZE SELECT 1",
        "SET ROLE admin",
        "COMMIT",
        "",
        "SELECT 'no end",
        "/* no end",
    ],
)
def test_a_query_that_does_more_than_answer_is_refused(
    server: PostgreSQLServer, database: str, warehouse: Warehouse, sql: str
) -> None:
    warehouse.commit(tracks(0, 2, new=True))
    writer = "CREATE FUNCTION shop.quiet_writer() RETURNS int LANGUAGE sql AS 'DELETE FROM shop.tracks; SELECT 1'"
    server.sql("CREATE SEQUENCE shop.s", writer, "GRANT ALL ON SEQUENCE shop.s TO PUBLIC", database=database)
    with pytest.raises(QueryError):
        warehouse.query(sql, max_rows=1, timeout_seconds=10)
    assert count(warehouse) == 2
    warehouse.commit(tracks(2, 3))
    assert [(0,)] == server.sql("SELECT count(*) FROM pg_largeobject_metadata", database=database)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        (r"SELECT '\'', pg_sleep(1) --'", "backslash"),
        (r"SELECT 'a\\', 'b'", "backslash"),
        ("SELECT 'a', pg_sleep(1)", "pg_sleep"),
        ("SELECT " + "x" * 70 + "(1)", "x" * 63 + " is refused"),
        ("SELECT \u00c4(1)", "\u00c4 is refused"),
    ],
)
def test_what_redshift_reads_otherwise_is_refused(sql: str, names: str) -> None:
    with pytest.raises(QueryError, match=names):
        _postgresql_select.check(sql, frozenset(("pg_sleep", "x" * 63, "\u00c4")), has_escapes=True)


def test_numbers_and_texts_of_every_form_are_read() -> None:
    for sql in ("SELECT 1.5e3, .5, 0x1F, 1_000, 5.", r"SELECT E'\\'", "SELECT a.b$c, $$'$$", "SELECT t.a[1:2], x::int"):
        _postgresql_select.check(sql, frozenset())


def test_a_function_that_ends_sessions_would_do_so_without_the_list(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a read-only transaction does not keep a query from ending the loader's session."""
    warehouse.commit(tracks(0, 2, new=True))
    monkeypatch.setattr(_postgresql.PostgreSQLSession, "volatile_functions", "SELECT 'none'")
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
    assert [[True]] == rows_of(warehouse, ends)
    with pytest.raises(WarehouseUnavailableError, match="connection was lost"):
        warehouse.commit(tracks(2, 3))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 -- a comment", [[1]]),
        ("(SELECT 1) UNION ALL SELECT 2;", [[1], [2]]),
        ("WITH a AS (SELECT 'it''s; fine' AS t) TABLE a", [["it's; fine"]]),
        ("VALUES (1, 'a')", [[1, "a"]]),
        ("SELECT sum(n) FROM (VALUES (1::bigint), (2)) AS v (n)", [[3]]),
        ("SELECT 1.50::numeric, 'NaN'::numeric, NULL::numeric", [[1.5, "NaN", None]]),
        ("SELECT 12345678901234567890.123", [["12345678901234567890.123"]]),
        ("SELECT '{\"b\": 1}'::jsonb, true, 'x'::varchar(3)", [['{"b": 1}', True, "x"]]),
        ("SELECT date '2026-01-31', timestamptz '2026-01-31 10:30:00+01'", [["2026-01-31", "2026-01-31T09:30:00Z"]]),
        ("SELECT ARRAY[1, NULL, 3], round(2.567, 1), random() < 2", [[[1, None, 3], 2.6, True]]),
        ("SELECT count(*) FROM pg_settings WHERE name = 'TimeZone' AND setting = 'UTC'", [[1]]),
    ],
)
def test_a_select_is_answered(warehouse: Warehouse, sql: str, expected: list[list[Any]]) -> None:
    assert expected == rows_of(warehouse, sql)


def test_decimals_are_numbers_in_arrow_too(warehouse: Warehouse) -> None:
    found = warehouse.arrow("SELECT sum(n), avg(n) FROM (VALUES (1::bigint), (2)) v (n)", max_rows=5, timeout_seconds=9)
    assert [3, 1.5] == [float(column[0].as_py()) for column in found.columns]
    assert pa.int64() == found.schema.field(0).type


def test_an_error_in_the_middle_of_an_answer_is_the_querys(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match="division by zero"):
        warehouse.query("SELECT 1 / (90000 - n) FROM generate_series(1, 100000) n", max_rows=10**6, timeout_seconds=30)
    assert [[1]] == rows_of(warehouse, "SELECT 1")


def test_a_type_that_cannot_be_shown_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match=r"column p has the type point.*cast it to text"):
        warehouse.query("SELECT point(1, 2) AS p", max_rows=1, timeout_seconds=5)


def test_a_query_that_takes_too_long_is_cancelled_and_the_next_one_works(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match=r"cancelled after 0\.2 seconds") as late:
        warehouse.query("SELECT count(*) FROM generate_series(1, 1000000000)", max_rows=1, timeout_seconds=0.2)
    assert late.value.code == "query_timeout"
    assert [[1]] == rows_of(warehouse, "SELECT 1")


ENDLESS = "generate_series(1, 100000) n, generate_series(1, 100000) m"
"""Rows that come one by one, for hours."""


def test_rows_are_bounded_by_fetching_and_a_huge_answer_is_cut_early(warehouse: Warehouse) -> None:
    answer = warehouse.query(f"SELECT n FROM {ENDLESS}", max_rows=3, timeout_seconds=60)
    assert ([[1], [1], [1]], True) == (answer.rows, answer.truncated)
    assert [[1]] == rows_of(warehouse, "SELECT 1")
    with pytest.raises(QueryError, match="larger than"):
        warehouse.query(f"SELECT repeat('x', 1000) FROM {ENDLESS}", max_rows=10**9, timeout_seconds=60)
    assert [[1]] == rows_of(warehouse, "SELECT 1")


def test_closing_ends_what_runs(server: PostgreSQLServer, database: str) -> None:
    warehouse = kind(server.dsn(database)).open()
    failed: list[HeadraceError] = []

    def ask() -> None:
        try:
            warehouse.query("SELECT count(*) FROM generate_series(1, 100000000000)", max_rows=1, timeout_seconds=60)
        except HeadraceError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not server.sql(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND state = 'active' AND pid <> pg_backend_pid()"
    ):
        pass
    warehouse.close()
    asking.join(30)
    assert [QueryError] == [type(error) for error in failed]
