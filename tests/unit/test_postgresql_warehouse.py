"""PostgreSQL's own behaviour: locks, views, lost connections, rights, and what a query may not do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import pyarrow as pa
import pytest

from headrace.config import WarehouseConfig
from headrace.errors import (
    ConfigError,
    HeadraceError,
    PositionError,
    QueryError,
    WarehouseUnavailableError,
    WideningRefusedError,
)
from headrace.warehouses import _postgresql, _postgresql_errors
from headrace.warehouses._postgresql_dialect import PostgreSQLDialect
from headrace.warehouses.base import Columns, ColumnType, Load, Place, Position, TableName, Warehouse
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from made_loads import CONSUMER, TRACK_COLUMNS, TRACKS, arrow, load, rows_of, tracks
from postgresql_server import ADMIN, ADMIN_PASSWORD, PASSWORD, ROLE, PostgreSQLServer, shared

NUMBERS = TableName("shop", "numbers")
INTEGERS: Columns = {"n": ColumnType.INTEGER}


def kind(dsn: str, **settings: Any) -> PostgreSQLKind:
    chosen = PostgreSQLSettings(dsn=dsn, connect_seconds=5, **settings)
    return PostgreSQLKind(chosen, Place("team", Path("/nowhere"), WarehouseConfig()))


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


class Cutting:
    """A TCP proxy that closes both ends once the client sends `cut_at`: before it is passed on, or after."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_at: bytes | None = None
        self.passes_on = True
        self.has_cut = False
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._ends += [client, server]
            self._start(self._answers, server, client)
            self._start(self._requests, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            if self.cut_at is not None and self.cut_at in data:
                self.cut_at, self.has_cut = None, True
                _end(client)
                if self.passes_on:
                    _sent(server, data)
                    # The server commits, and finds nobody to tell.
                    while _received(server):
                        pass
                _end(server)
                return
            if not _sent(server, data):
                break
        _end(server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        while data := _received(server):
            if not _sent(client, data):
                return
        _end(client)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            _end(end)
        for thread in self._threads:
            thread.join(10)
        for end in (self._listener, *self._ends):
            end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65_536)
    except OSError:
        return b""


def _sent(end: socket.socket, data: bytes) -> bool:
    try:
        end.sendall(data)
    except OSError:
        return False
    return True


def _end(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


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


@pytest.mark.parametrize("dsn", ["", "mysql://x", f"{ROLE}:{PASSWORD}@localhost/x", "postgresql://a b"])
def test_a_dsn_that_is_none_is_the_operators_matter(dsn: str) -> None:
    with pytest.raises(ConfigError, match="dsn") as refused:
        kind(dsn).open()
    assert PASSWORD not in str(refused.value)
    assert not kind(dsn).check()[0].ok


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


def test_a_type_that_cannot_be_shown_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match=r"column p has the type point.*cast it to text"):
        warehouse.query("SELECT point(1, 2) AS p", max_rows=1, timeout_seconds=5)


def test_a_query_that_takes_too_long_is_cancelled_and_the_next_one_works(warehouse: Warehouse) -> None:
    with pytest.raises(QueryError, match=r"cancelled after 0\.2 seconds") as late:
        warehouse.query("SELECT count(*) FROM generate_series(1, 1000000000)", max_rows=1, timeout_seconds=0.2)
    assert late.value.code == "query_timeout"
    assert [[1]] == rows_of(warehouse, "SELECT 1")


def test_rows_are_bounded_by_fetching_and_a_huge_answer_is_cut_early(warehouse: Warehouse) -> None:
    answer = warehouse.query("SELECT n FROM generate_series(1, 100000000) n", max_rows=3, timeout_seconds=30)
    assert ([[1], [2], [3]], True) == (answer.rows, answer.truncated)
    assert [[1]] == rows_of(warehouse, "SELECT 1")
    with pytest.raises(QueryError, match="larger than"):
        warehouse.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)", max_rows=1000, timeout_seconds=30)


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
