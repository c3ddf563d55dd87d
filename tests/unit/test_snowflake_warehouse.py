"""Snowflake: the order of statements, its DDL that ends transactions, names, what users may ask, errors. Nothing here was tried on an
account: a connection that writes down what it is told stands in, and where rows matter, fakesnow (tests/engines/snowflake.py)."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from depth import depth
from engines.snowflake import connection_of
from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, PositionError, QueryError, WarehouseUnavailableError
from headrace.warehouses import _snowflake_errors as errors
from headrace.warehouses._deferred import DeferredWarehouse
from headrace.warehouses._snowflake import SnowflakeSession
from headrace.warehouses._snowflake_dialect import SnowflakeDialect
from headrace.warehouses._snowflake_select import judged
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Columns,
    ColumnType,
    Load,
    Place,
    Retyping,
    TableName,
    kind,
)
from headrace.warehouses.snowflake import SnowflakeSettings, checked
from made_loads import CONSUMER, TRACK_COLUMNS, TRACKS, arrow, at, load, rows_of, tracks

DIALECT = SnowflakeDialect()
Execute = Callable[[str], None]


class RefusedError(Exception):
    """An error as the connector has it."""

    def __init__(self, errno: int, sqlstate: str, msg: str) -> None:
        super().__init__(msg)
        self.errno, self.sqlstate, self.msg = errno, sqlstate, msg


class Watched:
    """A connection over another: what is told to it is written down, and it may fail at a statement."""

    def __init__(self, connection: Any, told: list[str], fails: dict[str, Exception]) -> None:
        self._connection, self._told, self._fails = connection, told, fails

    def cursor(self) -> WatchedCursor:
        return WatchedCursor(self._connection.cursor(), self._told, self._fails)

    def close(self) -> None:
        self._connection.close()


class WatchedCursor:
    def __init__(self, cursor: Any, told: list[str], fails: dict[str, Exception]) -> None:
        self._cursor, self._told, self._fails = cursor, told, fails

    def execute(self, statement: str) -> None:
        self._told.append(statement)
        for beginning in [beginning for beginning in self._fails if statement.startswith(beginning)]:
            error = self._fails.pop(beginning)
            if getattr(error, "after", False):
                self._cursor.execute(statement)
            raise error
        self._cursor.execute(statement)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._cursor.close()


class House:
    """A warehouse in fakesnow, what it was told since, and what is to fail."""

    def __init__(self, folder: Path) -> None:
        self.told: list[str] = []
        self.fails: dict[str, Exception] = {}
        self._connect = connection_of(folder)
        self.warehouse = self.opened()
        self.told.clear()

    def opened(self) -> DeferredWarehouse:
        return DeferredWarehouse(
            DIALECT, lambda: SnowflakeSession(DIALECT, lambda: Watched(self._connect(), self.told, self.fails))
        )


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def many(start: int, end: int, **more: Any) -> Load:
    """Rows enough to be staged."""
    of = [(f"e{number}-{copy}", "u", at(number), at(99)) for number in range(start, end) for copy in range(600)]
    return load(start, end, {TRACKS: arrow(TRACK_COLUMNS, of)}, **more)


def stored(warehouse: DeferredWarehouse) -> Any:
    return rows_of(warehouse, "SELECT count(*) FROM shop.tracks")[0][0]


def transactions(told: Sequence[str]) -> list[list[str]]:
    """What stands between each BEGIN and its COMMIT."""
    whole = "\0".join(told)
    return [part.strip("\0").split("\0") for part in re.findall(r"BEGIN\0(.*?)\0COMMIT", whole, re.DOTALL)]


# DDL ends a transaction in Snowflake, which fakesnow does not know: so none may stand in one.


def test_no_statement_of_a_transaction_is_ddl(house: House) -> None:
    house.warehouse.commit(many(0, 1, create={TRACKS: TRACK_COLUMNS}))
    columns: Columns = {"id": ColumnType.STRING, "n": ColumnType.INTEGER}
    house.warehouse.commit(load(1, 2, {TRACKS: arrow(columns, [("x", 1)])}, add={TRACKS: {"n": ColumnType.INTEGER}}))
    wide: Columns = {"id": ColumnType.STRING, "n": ColumnType.FLOAT}
    house.warehouse.commit(load(2, 3, {TRACKS: arrow(wide, [("y", 1.5)])}, widen={TRACKS: ["n"]}))
    found = transactions(house.told)
    assert {"UPDATE", "INSERT"} == {statement.split()[0] for part in found for statement in part}
    assert all(part[0].startswith('UPDATE "HEADRACE"."TURN"') for part in found)
    assert [[1.0], [1.5]] == rows_of(house.warehouse, "SELECT n FROM shop.tracks WHERE n IS NOT NULL ORDER BY n")


def test_tables_and_columns_are_made_in_words_that_may_be_repeated(house: House) -> None:
    house.warehouse.commit(many(0, 1, create={TRACKS: TRACK_COLUMNS}))
    made = [statement for statement in house.told if re.match(r"CREATE (SCHEMA|TABLE)|ALTER TABLE", statement)]
    assert made
    assert all("IF NOT EXISTS" in statement for statement in made)


def test_a_staged_load_takes_these_statements(house: House) -> None:
    house.warehouse.commit(many(0, 1, create={TRACKS: TRACK_COLUMNS}))
    house.told.clear()
    house.warehouse.commit(many(1, 2))
    expected = ["SELECT", "SELECT", "PUT", "CREATE TEMPORARY", "COPY INTO", "BEGIN", "UPDATE", "UPDATE", "INSERT INTO"]
    words = [
        " ".join(statement.split()[: 2 if statement[0] == "C" and statement != "COMMIT" else 1])
        for statement in house.told
    ]
    assert [*expected, "COMMIT", "DROP"] == [{"INSERT": "INSERT INTO"}.get(word, word) for word in words]


# Faults.


LOADING = [
    "SELECT max",
    "PUT",
    "CREATE TEMPORARY TABLE",
    "COPY",
    "BEGIN",
    'UPDATE "HEADRACE"."TURN"',
    "INSERT",
]
BEFORE, AFTER = "before it ran", "after it ran"


def crossed(steps: Sequence[str], first: str, second: str) -> list[tuple[str, str]]:
    """Every step with both; in the suite with one of them, in turn."""
    turns = [(step, (first, second)[number % 2]) for number, step in enumerate(steps)]
    return depth(turns, [(step, one) for step in steps for one in (first, second)])


@pytest.mark.parametrize(("step", "when"), [*crossed(LOADING, BEFORE, AFTER), ("COMMIT", BEFORE), ("COMMIT", AFTER)])
def test_a_load_is_in_once_whatever_statement_failed(house: House, step: str, when: str) -> None:
    house.warehouse.commit(many(0, 1, create={TRACKS: TRACK_COLUMNS}))
    lost = RefusedError(250_003, "08001", "the connection was reset")
    lost.after = when == AFTER  # type: ignore[attr-defined]
    house.fails[step] = lost
    for _ in range(3):
        try:
            house.warehouse.commit(many(1, 2))
            break
        except WarehouseUnavailableError:
            continue
    assert {} == house.fails
    assert stored(house.warehouse) == 1_200
    position = house.warehouse.position(CONSUMER, 0)
    assert position is not None
    assert position.next == 2


def test_a_load_prepared_before_another_one_committed_ends_without_a_trace(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert after_another(house, monkeypatch) == 7


def test_a_load_prepared_before_another_one_committed_is_stored_without_the_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SnowflakeDialect, "raise_turn", lambda *_: 'UPDATE "HEADRACE"."TURN" SET "NUMBER" = "NUMBER"')
    assert after_another(house, monkeypatch) == 8


def after_another(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two first loads of one partition, the second between the first one's look at the position and its transaction."""
    house.warehouse.commit(tracks(0, 3, new=True))
    other = house.opened()
    move = DeferredWarehouse._move
    ran: list[bool] = []

    def meanwhile(self: DeferredWarehouse, session: Any, load_: Load) -> None:
        move(self, session, load_)
        if self is house.warehouse and not ran:
            ran.append(True)
            other.commit(tracks(50, 54, partition=1))

    monkeypatch.setattr(DeferredWarehouse, "_move", meanwhile)
    with contextlib.suppress(PositionError, WarehouseUnavailableError):
        house.warehouse.commit(tracks(50, 51, partition=1))
    return stored(house.warehouse)


STEPS = [
    "ALTER TABLE",
    'UPDATE "SHOP"',
    'ALTER TABLE "SHOP"."N" RENAME COLUMN "N" ',
    'ALTER TABLE "SHOP"."N" RENAME COLUMN "N__WIDER"',
]
STEPS += ["BEGIN", "COMMIT", 'ALTER TABLE "SHOP"."N" DROP']


@pytest.mark.parametrize(("step", "again"), crossed(STEPS, "reopened", "tried again"))
def test_a_widening_that_was_cut_off_is_finished(house: House, step: str, again: str) -> None:
    name = TableName("shop", "n")
    columns: Columns = {"id": ColumnType.STRING, "n": ColumnType.INTEGER}
    house.warehouse.commit(load(0, 1, {name: arrow(columns, [("a", 7)])}, create={name: columns}))
    house.fails[step] = RefusedError(250_003, "08001", "the connection was reset")
    wide = load(1, 2, {name: arrow(columns | {"n": ColumnType.FLOAT}, [("b", 7.5)])}, widen={name: ["n"]})
    with pytest.raises(WarehouseUnavailableError):
        house.warehouse.commit(wide)
    warehouse = house.opened() if again == "reopened" else house.warehouse
    warehouse.commit(wide)
    assert columns | {"n": ColumnType.FLOAT} == warehouse.tables()[name]
    assert [["a", 7.0], ["b", 7.5]] == rows_of(warehouse, "SELECT id, n FROM shop.n ORDER BY id")
    left = rows_of(warehouse, "SELECT column_name FROM information_schema.columns WHERE contains(column_name, '__')")
    assert [] == left


RETYPING = {
    'ALTER TABLE "SHOP"."R" ADD': ColumnType.STRING,
    "COMMIT": ColumnType.STRING,
    'ALTER TABLE "SHOP"."R" RENAME COLUMN "V" TO': ColumnType.FLOAT,
    'ALTER TABLE "SHOP"."R" RENAME COLUMN "V__': ColumnType.FLOAT,
    'ALTER TABLE "SHOP"."R" DROP': ColumnType.FLOAT,
}
"""A statement of a change of type, and the column's type after the next opening if it was the last."""


@pytest.mark.parametrize("step", RETYPING)
def test_a_change_of_type_that_was_cut_off_is_there_as_a_whole_or_not_at_all(house: House, step: str) -> None:
    name = TableName("shop", "r")
    columns: Columns = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "v": ColumnType.STRING}
    named = TableName(HOUSEKEEPING, "columns")
    known = arrow(HOUSEKEEPING_TABLES["columns"], [("shop", "r", "v", "v", "string", at(0), at(0))])
    rows = {name: arrow(columns, [("a", at(1), "7"), ("b", at(2), "x")]), named: known}
    house.warehouse.commit(load(0, 1, rows, create={name: columns}))
    value: Columns = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.FLOAT}
    none = arrow(HOUSEKEEPING_TABLES["discards"], [])
    retyping = Retyping(name, "v", ColumnType.FLOAT, [arrow(value, [("a", at(1), 7.0)])], none)
    house.fails[step] = RefusedError(250_003, "08001", "the connection was reset")
    with pytest.raises(WarehouseUnavailableError):
        house.warehouse.retype(retyping)
    house.warehouse.close()
    warehouse = house.opened()
    expected = [["a", "7"], ["b", "x"]] if RETYPING[step] is ColumnType.STRING else [["a", 7.0], ["b", None]]
    assert RETYPING[step] is warehouse.tables()[name]["v"]
    assert expected == rows_of(warehouse, "SELECT id, v FROM shop.r ORDER BY id")
    warehouse.retype(retyping)
    assert [["a", 7.0], ["b", None]] == rows_of(warehouse, "SELECT id, v FROM shop.r ORDER BY id")
    left = rows_of(warehouse, "SELECT column_name FROM information_schema.columns WHERE contains(column_name, '__')")
    assert [] == left


# Names, values and statements as Snowflake reads them.


def test_names_are_upper_case_so_that_users_need_no_quotes(house: House) -> None:
    house.warehouse.commit(tracks(0, 1, new=True))
    assert any(
        statement.startswith('CREATE TABLE IF NOT EXISTS "SHOP"."TRACKS" ("ID" VARCHAR') for statement in house.told
    )
    answer = house.warehouse.query("select user_id from Shop.tracks", max_rows=1, timeout_seconds=5)
    assert ["user_id"] == answer.columns


@pytest.mark.parametrize("value", ["it's", "back\\slash", "\\'; --", "line\nbreak", "äöü", "$$", "%s"])
def test_texts_come_back_as_they_went_in(house: House, value: str) -> None:
    name, columns = TableName("shop", "texts"), {"id": ColumnType.STRING}
    house.warehouse.commit(load(0, 1, {name: arrow(columns, [(value,)])}, create={name: columns}))
    assert [[value]] == rows_of(house.warehouse, "SELECT id FROM shop.texts")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM shop.tracks", "SELECT 1; DROP TABLE shop.tracks", "SHOW TABLES", "CALL p()", "SELECT SYSTEM$WAIT(60)",
        "SELECT 1 ->> DROP TABLE shop.tracks", "BEGIN", "", "-- only\n", "WITH a AS (SELECT 1) SELECT system $ wait(1)", "(DELETE FROM a)",
        "SELECT 'open", "SELECT /* open", 'SELECT "SYSTEM$WAIT"(60)',
    ],
)  # fmt: skip
def test_what_is_no_single_select_is_refused(sql: str) -> None:
    with pytest.raises(QueryError):
        judged(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1", " select 1 ; ", "WITH a AS (SELECT 1) SELECT * FROM a", "(SELECT 1) UNION (SELECT 2)", "-- DROP\nSELECT ';' AS \"a;b\"",
        "SELECT 'it''s; ->> SYSTEM$x' -- ;", "SELECT $$a;b$$", "SELECT 'a\\'; DROP' AS x", "/* DROP; */ SELECT 1",
    ],
)  # fmt: skip
def test_a_single_select_is_let_through(sql: str) -> None:
    assert "SELECT" in judged(sql).upper()


# Errors, settings, check.


@pytest.mark.parametrize(
    ("errno", "state", "expected"),
    [
        (100_038, "22018", ValueError), (1_003, "42000", ValueError), (3_001, "42501", WarehouseUnavailableError),
        (2_003, "42S02", WarehouseUnavailableError), (606, "57P03", WarehouseUnavailableError), (250_001, "08001", WarehouseUnavailableError),
        (390_114, "08001", WarehouseUnavailableError), (625, "57014", WarehouseUnavailableError), (-1, "n/a", WarehouseUnavailableError),
    ],
)  # fmt: skip
def test_only_a_wrong_statement_or_value_is_the_loads_own_fault(errno: int, state: str, expected: type) -> None:
    """A right that was taken away must not look like a wrong load, whose events would be rejected."""
    assert isinstance(errors.translated(RefusedError(errno, state, f"{errno:06} ({state}): said")), expected)


@pytest.mark.parametrize(
    ("errno", "state", "expected"),
    [(250_001, "n/a", True), (14, "HYT00", True), (390_114, "n/a", True), (1, "08003", True), (3_001, "42501", False)],
)
def test_a_lost_connection_is_opened_again(errno: int, state: str, expected: bool) -> None:  # noqa: FBT001
    """As versions 4.8 and 5.2 of the connector tell of a port where nobody listens, and of a session that is gone."""
    assert expected == errors.breaks(RefusedError(errno, state, "said"))


class Refusing:
    """A connection that refuses statements which begin so."""

    def __init__(self, beginning: str, error: Exception) -> None:
        self.beginning, self.error, self.rowcount = beginning, error, 0

    def cursor(self) -> Self:
        return self

    def execute(self, statement: str) -> None:
        if statement.startswith(self.beginning):
            raise self.error

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("beginning", "step", "remedy"),
    [
        ("SELECT", "warehouse", "GRANT USAGE, OPERATE ON WAREHOUSE W TO ROLE R; GRANT USAGE ON DATABASE D TO ROLE R;"),
        ("CREATE SCHEMA", "schema", "GRANT CREATE SCHEMA ON DATABASE D TO ROLE R;"),
        ("INSERT", "write", "GRANT OWNERSHIP ON SCHEMA D.HEADRACE_CHECK TO ROLE R;"),
        ("nothing", "write", ""),
    ],
)
def test_the_check_names_the_step_that_fails_and_the_grant_that_mends_it(
    beginning: str, step: str, remedy: str
) -> None:
    refusing = Refusing(beginning, RefusedError(3_001, "42501", "Insufficient privileges"))
    settings = SnowflakeSettings(account="a", user="U", password="p", database="D", warehouse="W", role="R")
    found = list(checked(SnowflakeSession(DIALECT, lambda: refusing), settings))
    assert (step, remedy) == (found[-1].step, found[-1].remedy)
    assert [True] * (len(found) - 1) + [remedy == ""] == [finding.ok for finding in found]


def test_missing_settings_and_a_missing_driver_are_matters_of_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("cold", tmp_path, WarehouseConfig())
    with pytest.raises(ConfigError, match="account, user"):
        kind("snowflake")(SnowflakeSettings(), place).open()
    with pytest.raises(ConfigError, match="private_key, token or password"):
        kind("snowflake")(SnowflakeSettings(account="a", user="u"), place).open()
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.startswith("snowflake"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    chosen = kind("snowflake")(SnowflakeSettings(account="a", user="u", password="p"), place)
    with pytest.raises(ConfigError, match=r"pip install 'headrace\[snowflake\]'"):
        chosen.open()
    assert [("settings", False)] == [finding[:2] for finding in chosen.check()]
    assert chosen.pace_seconds == 60.0
    assert "not yet tried on a live account" in chosen.tried
