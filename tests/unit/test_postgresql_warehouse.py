"""PostgreSQL's own behaviour: locks, views, lost connections, rights, and what a query may not do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import pytest

from cutting_proxy import Cutting
from headrace.errors import (
    ConfigError,
    PositionError,
    WarehouseUnavailableError,
    WideningRefusedError,
)
from headrace.warehouses import _postgresql, _postgresql_errors
from headrace.warehouses._postgresql_dialect import PostgreSQLDialect
from headrace.warehouses.base import Columns, ColumnType, Load, Position, TableName, Warehouse
from made_loads import CONSUMER, TRACK_COLUMNS, TRACKS, arrow, load, rows_of, tracks
from postgresql_server import ADMIN, ADMIN_PASSWORD, PASSWORD, ROLE, PostgreSQLServer, kind, shared

NUMBERS = TableName("shop", "numbers")
INTEGERS: Columns = {"n": ColumnType.INTEGER}


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


@pytest.fixture
def own_server() -> Iterator[PostgreSQLServer]:
    """One that a test may stop."""
    server = PostgreSQLServer()
    yield server
    server.remove()


@contextmanager
def transaction(server: PostgreSQLServer, database: str, *statements: str) -> Iterator[None]:
    """Another program's, open until the end of the block."""
    dsn = server.dsn(database, ADMIN, ADMIN_PASSWORD) + "?application_name=nightly%20report"
    with adbc_driver_postgresql.dbapi.connect(dsn, autocommit=False) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
                cursor.execute(statement)
                cursor.fetchall()
        yield
        connection.rollback()


def count(warehouse: Warehouse) -> int:
    found: int = rows_of(warehouse, "SELECT count(*) FROM shop.tracks")[0][0]
    return found


# What holds a table.


def test_a_view_that_uses_a_column_is_named_when_the_column_cannot_be_widened(
    server: PostgreSQLServer, database: str, warehouse: Warehouse
) -> None:
    warehouse.commit(load(0, 1, {NUMBERS: arrow(INTEGERS, [(1,)])}, create={NUMBERS: INTEGERS}))
    server.sql("CREATE VIEW shop.doubled AS SELECT n * 2 AS d FROM shop.numbers", database=database)
    widening = load(1, 2, {NUMBERS: arrow({"n": ColumnType.FLOAT}, [(1.5,)])}, widen={NUMBERS: ["n"]})
    with pytest.raises(WideningRefusedError, match=r"view shop\.doubled depends on column \"?n") as refused:
        warehouse.commit(widening)
    assert ("shop", "numbers", "n") == (refused.value.schema, refused.value.table, refused.value.column)
    assert Position("log-1", 1) == warehouse.position(CONSUMER, 0)
    assert INTEGERS == warehouse.tables()[NUMBERS]
    server.sql("DROP VIEW shop.doubled", database=database)
    warehouse.commit(widening)
    assert [[1.0], [1.5]] == rows_of(warehouse, "SELECT n FROM shop.numbers ORDER BY n")


def test_a_lock_that_does_not_go_away_is_named_with_its_owner(
    server: PostgreSQLServer, database: str, warehouse: Warehouse
) -> None:
    warehouse.commit(load(0, 1, {NUMBERS: arrow(INTEGERS, [(1,)])}, create={NUMBERS: INTEGERS}))
    wider = arrow({"n": ColumnType.FLOAT}, [(1.5,)])
    said = r"process \d+ of admin \(nightly report.* holds a lock on shop\.numbers, .*pg_terminate_backend\(\d+\)"
    with transaction(server, database, "SELECT * FROM shop.numbers"):
        with pytest.raises(WideningRefusedError, match=said + ".*GRANT pg_read_all_stats"):
            warehouse.commit(load(1, 2, {NUMBERS: wider}, widen={NUMBERS: ["n"]}))
        added: Columns = {"m": ColumnType.INTEGER}
        server.sql(f"GRANT pg_read_all_stats TO {ROLE}")
        with pytest.raises(WarehouseUnavailableError, match=said) as unavailable:
            warehouse.commit(load(1, 2, {NUMBERS: arrow(added, [(2,)])}, add={NUMBERS: added}))
        server.sql(f"REVOKE pg_read_all_stats FROM {ROLE}")
        assert "idle in transaction for" in str(unavailable.value)
        assert "SELECT * FROM shop.numbers" in str(unavailable.value)
        # Neither is needed for rows alone.
        warehouse.commit(load(1, 2, {NUMBERS: arrow(INTEGERS, [(2,)])}))
    warehouse.commit(load(2, 3, {NUMBERS: wider}, widen={NUMBERS: ["n"]}))
    assert [[1.0], [1.5], [2.0]] == rows_of(warehouse, "SELECT n FROM shop.numbers ORDER BY n")


def test_a_query_that_runs_does_not_hold_a_load_up(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 5, new=True))
    asked, answers = threading.Event(), []

    def ask() -> None:
        asked.set()
        sql = "SELECT count(*) FROM shop.tracks, generate_series(1, 3000000)"
        answers.append(rows_of(warehouse, sql))

    asking = threading.Thread(target=ask)
    asking.start()
    asked.wait()
    for start in range(5, 15):
        warehouse.commit(tracks(start, start + 1))
    asking.join()
    assert count(warehouse) == 15
    assert len(answers) == 1


# Lost connections. A proxy between the loader and the server cuts them.


@pytest.fixture
def proxy(server: PostgreSQLServer) -> Iterator[Cutting]:
    cutting = Cutting(server.port)
    yield cutting
    cutting.close()


@pytest.fixture
def behind(server: PostgreSQLServer, database: str, proxy: Cutting) -> Iterator[Warehouse]:
    """The warehouse through the proxy."""
    opened = kind(server.dsn(database).replace(f":{server.port}/", f":{proxy.port}/")).open()
    opened.commit(tracks(0, 3, new=True))
    yield opened
    opened.close()


def retried(warehouse: Warehouse, again: Load) -> int:
    """What a loader does: the same load until it is in. Returns how often it was told to try again."""
    for tries in range(10):
        try:
            warehouse.commit(again)
        except WarehouseUnavailableError:
            continue
        return tries
    raise AssertionError(again)


@pytest.mark.parametrize("passes_on", [True, False], ids=["the server committed", "the server never heard of it"])
def test_a_load_whose_commit_was_cut_off_is_in_exactly_once(
    behind: Warehouse, proxy: Cutting, *, passes_on: bool
) -> None:
    proxy.cut_at, proxy.passes_on = b"COMMIT", passes_on
    assert retried(behind, tracks(3, 8)) <= 1
    assert proxy.has_cut
    retried(behind, tracks(8, 9))
    assert count(behind) == 9
    assert Position("log-1", 9) == behind.position(CONSUMER, 0)


def test_a_load_whose_commit_was_cut_off_is_doubled_or_stuck_when_the_position_is_not_asked(
    behind: Warehouse, proxy: Cutting
) -> None:
    """The control: taken as failed, the load is given again from a position that has moved."""
    proxy.cut_at = b"COMMIT"
    inside: Any = behind
    with (
        pytest.raises(WarehouseUnavailableError),
        inside._sessions.loading() as loading,
        inside._transaction(loading),
    ):
        inside._write(loading, tracks(3, 8), {TRACKS: TRACK_COLUMNS})
    with pytest.raises(PositionError):
        behind.commit(tracks(3, 8))


@pytest.mark.parametrize("cut_at", [b"UPDATE", b"INSERT", b"BEGIN"])
def test_a_connection_cut_before_the_commit_stores_nothing_and_the_next_try_works(
    behind: Warehouse, proxy: Cutting, cut_at: bytes
) -> None:
    proxy.cut_at = cut_at
    assert retried(behind, tracks(3, 8)) == 1
    assert count(behind) == 8


def test_a_lost_session_that_the_server_still_keeps_is_ended(
    server: PostgreSQLServer, database: str, behind: Warehouse, proxy: Cutting
) -> None:
    """Its client is gone, the server does not know: until keep-alives tell it, it would hold the position's row."""
    mark = "headrace left behind"
    statements = (f"SET application_name = '{mark}'", "UPDATE headrace.offsets SET next = next RETURNING next")
    dsn = server.dsn(database)
    with adbc_driver_postgresql.dbapi.connect(dsn, autocommit=False) as left:
        for statement in statements:
            with left.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
                cursor.execute(statement)
                cursor.fetchall()
        with pytest.raises(WarehouseUnavailableError, match="lock"):
            behind.commit(tracks(3, 4))  # the control: while it lives nobody can load
        inside: Any = behind
        with inside._sessions.loading() as session:
            session.mark, session.is_broken = mark, True
        behind.commit(tracks(3, 4))
        with pytest.raises(adbc_driver_manager.Error, match=r"terminat|connection"):
            left.commit()
    assert count(behind) == 4


def test_loading_and_asking_go_on_after_the_server_was_restarted_or_killed(own_server: PostgreSQLServer) -> None:
    warehouse = kind(own_server.dsn(own_server.database())).open()
    warehouse.commit(tracks(0, 3, new=True))
    assert count(warehouse) == 3
    for number, end in enumerate((own_server.stop, own_server.kill)):
        end()
        with pytest.raises(WarehouseUnavailableError, match=r"is it running|is the server up"):
            warehouse.commit(tracks(3 + number, 4 + number))
        with pytest.raises(WarehouseUnavailableError, match="is it running"):
            count(warehouse)
        own_server.start()
        assert count(warehouse) == 3 + number
        assert retried(warehouse, tracks(3 + number, 4 + number)) == 0
    assert count(warehouse) == 5
    warehouse.close()


def test_a_server_that_takes_no_writes_is_said_to_be_so(server: PostgreSQLServer, database: str) -> None:
    warehouse = kind(server.dsn(database)).open()
    warehouse.commit(tracks(0, 3, new=True))
    server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    warehouse.close()
    read_only = kind(server.dsn(database)).open()
    with pytest.raises(WarehouseUnavailableError, match=r"takes no writes now.*default_transaction_read_only"):
        read_only.commit(tracks(3, 4))
    read_only.close()
    found = kind(server.dsn(database)).check()[-1]
    assert ("writable", False) == (found.step, found.ok)
    assert found.remedy == f'ALTER ROLE "{ROLE}" IN DATABASE "{database}" SET default_transaction_read_only = off'
    server.sql(found.remedy)
    again = kind(server.dsn(database)).open()
    again.commit(tracks(3, 4))
    again.close()


def test_a_changed_password_is_said_to_be_so_and_stands_in_no_text(own_server: PostgreSQLServer) -> None:
    dsn = own_server.dsn(own_server.database())
    warehouse = kind(dsn).open()
    own_server.sql(f"ALTER ROLE {ROLE} PASSWORD 'another'")
    own_server.stop()
    own_server.start()
    with pytest.raises(WarehouseUnavailableError):
        warehouse.commit(tracks(0, 1, new=True))
    with pytest.raises(WarehouseUnavailableError, match="password of the dsn is refused") as refused:
        warehouse.commit(tracks(0, 1, new=True))
    finding = kind(dsn).check()[-1]
    assert ("login", False) == (finding.step, finding.ok)
    assert "ALTER ROLE" in finding.remedy
    for text in (str(refused.value), finding.text, finding.remedy):
        assert PASSWORD not in text
    own_server.sql(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    warehouse.commit(tracks(0, 1, new=True))
    warehouse.close()


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        f"mysql://{ROLE}:{PASSWORD}@h/x",
        f"{ROLE}:{PASSWORD}@localhost/x",
        f"postgresql://{ROLE}:{PASSWORD} @h/x",
        f"postgresql://{ROLE}:{PASSWORD}/x@h/x",
        f"postgresql://{ROLE}:12/{PASSWORD}@h/x",
        f"postgresql://{ROLE}:%{PASSWORD}@h/x",
    ],
)
def test_a_dsn_that_is_none_is_the_operators_matter_and_is_not_shown(dsn: str) -> None:
    with pytest.raises(ConfigError, match="its dsn") as refused:
        kind(dsn).open()
    assert PASSWORD not in str(refused.value)
    (finding,) = kind(dsn).check()
    assert not finding.ok
    assert PASSWORD not in finding.text + finding.remedy


@pytest.mark.parametrize("hosts", ["h", "h:5432", "[::1]:5432", "a:1,b:2", "", "%2Frun%2Fpostgresql"])
def test_every_form_of_a_host_is_taken(hosts: str) -> None:
    dsn = f"postgresql://{ROLE}:a%40b@{hosts}/warehouse?sslmode=require"
    assert dsn == kind(f" {dsn}\n").dsn


def test_no_text_of_an_error_has_a_password() -> None:
    said = f"could not parse postgresql://{ROLE}:{PASSWORD}@host/x?password={PASSWORD}&a=b"
    assert PASSWORD in said
    assert PASSWORD not in _postgresql_errors.without_password(said)


def test_too_many_connections_are_said_to_be_so(server: PostgreSQLServer, database: str, warehouse: Warehouse) -> None:
    server.sql(f"ALTER DATABASE {database} CONNECTION LIMIT 1")
    with pytest.raises(WarehouseUnavailableError, match="no free connection"):
        kind(server.dsn(database)).open()
    server.sql(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    kind(server.dsn(database)).open().close()


def test_a_full_disk_is_said_to_be_so() -> None:
    class FullError(Exception):
        sqlstate = "53100"
        details = ((b"PG_DIAG_MESSAGE_PRIMARY", b"could not extend file: No space left on device"),)

    told = _postgresql_errors.translated(FullError())
    assert isinstance(told, WarehouseUnavailableError)
    assert "the server's disk is full" in str(told)


# Rights.


def test_the_check_takes_every_step_and_leaves_nothing(server: PostgreSQLServer, database: str) -> None:
    found = kind(server.dsn(database)).check()
    assert ["network", "login", "version", "writable", "privilege", "schema", "write"] == [each.step for each in found]
    assert all(each.ok for each in found)
    left = server.sql("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'headrace'", database=database)
    assert [(0,)] == left


def test_a_missing_privilege_is_mended_by_the_statement_that_is_named(server: PostgreSQLServer, database: str) -> None:
    server.sql(f"REVOKE CREATE ON DATABASE {database} FROM {ROLE}")
    finding = kind(server.dsn(database)).check()[-1]
    assert ("privilege", False) == (finding.step, finding.ok)
    with pytest.raises(WarehouseUnavailableError, match=r"privilege.*headrace warehouse test"):
        kind(server.dsn(database)).open()
    server.sql(finding.remedy.partition(": ")[2])
    assert all(each.ok for each in kind(server.dsn(database)).check())
    kind(server.dsn(database)).open().close()


def test_a_network_without_a_server_is_said_to_be_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = kind(f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{port}/x").check()
    assert [("network", False)] == [(each.step, each.ok) for each in found]


def test_tables_of_others_are_left_alone(server: PostgreSQLServer, database: str, warehouse: Warehouse) -> None:
    server.sql("CREATE SCHEMA app", "CREATE TABLE app.pages (number int)", database=database)
    assert TableName("app", "pages") not in warehouse.tables()
    assert {} == dict(warehouse.account(["app"]).last_received)


def test_the_documented_statements_are_enough_and_readers_see_later_tables(own_server: PostgreSQLServer) -> None:
    text = (Path(__file__).parents[2] / "docs" / "warehouses" / "postgresql.md").read_text()
    set_up, readers, stats = (
        [statement.strip() for statement in block.split(";") if statement.strip()]
        for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    )
    own_server.sql(f"DROP ROLE {ROLE}")
    own_server.sql(*set_up)
    own_server.sql(*readers, *stats, database="warehouse")
    dsn = own_server.dsn("warehouse", "headrace", "a long random password")
    assert all(finding.ok for finding in kind(dsn).check())
    warehouse = kind(dsn).open()
    warehouse.commit(tracks(0, 3, new=True))
    own_server.sql("CREATE ROLE reader LOGIN PASSWORD 'r' IN ROLE analysts")
    reader = kind(own_server.dsn("warehouse", "reader", "r"))
    session = _postgresql.PostgreSQLSession(reader.dsn, PostgreSQLDialect(), _postgresql.Limits(5, 10.0))
    assert session.fetch("SELECT count(*) FROM shop.tracks").column(0).to_pylist() == [3]
    with pytest.raises(WarehouseUnavailableError, match="privilege"):
        session.run(["DELETE FROM shop.tracks"])
    session.close()
    warehouse.close()
