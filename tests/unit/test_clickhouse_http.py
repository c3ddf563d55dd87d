"""The driver over HTTP: clickhouse-connect's own HTTP client, and on the other side a stand-in that hands each request to the embedded engine.

It shows that the requests are whole and that lost answers are survived. It is no ClickHouse server: users, grants and the server's own
reading of a request are not tried."""

from __future__ import annotations

import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import pytest

from headrace.config import WarehouseConfig
from headrace.errors import QueryError, WarehouseUnavailableError
from headrace.warehouses.base import Place, TableName
from headrace.warehouses.clickhouse import ClickHouseKind, ClickHouseSettings
from made_clickhouse import again, everything, wide_load
from made_loads import CONSUMER, TRACKS, rows_of

NO_SETTINGS = {"database", "query", "session_id", "query_id", "client_protocol_version", "wait_end_of_query"}


class StandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.folder = str(folder)
        self.keeps = chdb.connect(self.folder)  # type: ignore[no-untyped-call]
        self.engine = threading.Lock()
        self.lose: str | None = None
        """The answer to the first request that holds this text is lost after the request was carried out."""
        self.inputs = 0
        self.gone = False

    def has_lost(self) -> bool:
        return self.lose is None

    def answer(self, sql: bytes, settings: dict[str, str]) -> bytes:
        head, _, rows = sql.partition(b"\n") if b"FROM input(" in sql else (sql, b"", b"")
        text = head.decode()
        connection = chdb.connect(self.folder)  # type: ignore[no-untyped-call]
        try:
            for name, value in settings.items():
                connection.query(f"SET {name} = '{value}'", "TabSeparated")
            with tempfile.NamedTemporaryFile() as file:
                file.write(rows)
                file.flush()
                if rows:
                    self.inputs += 1
                    assert text.endswith("FORMAT ArrowStream")
                    source = f"FROM file('{file.name}', 'ArrowStream', "
                    text = text.removesuffix("FORMAT ArrowStream").replace("FROM input(", source, 1)
                return bytes(connection.query(text, "TabSeparated").bytes() or b"")
        finally:
            connection.close()


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        if self.server.gone:
            self.close_connection = True
            return
        query = dict(parse_qsl(urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sql = query.get("query", "").encode() + body
        settings = {name: value for name, value in query.items() if name not in NO_SETTINGS}
        try:
            with self.server.engine:
                answer, status, code = self.server.answer(sql, settings), 200, ""
        except Exception as error:  # noqa: BLE001 - the engine's errors are RuntimeErrors
            found = re.search(r"Code: (\d+)", str(error))
            answer, status, code = str(error).encode(), 500, found[1] if found else "0"
        if self.server.lose is not None and self.server.lose.encode() in sql:
            self.server.lose = None
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "clickhouse") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.keeps.close()


def kind(server: StandIn, tmp_path: Path, **more: Any) -> ClickHouseKind:
    settings = ClickHouseSettings(host="127.0.0.1", port=server.server_address[1], user="default", **more)
    return ClickHouseKind(settings, Place("clickhouse", tmp_path, WarehouseConfig()))


def test_loads_queries_and_the_check_work_over_http(stand_in: StandIn, tmp_path: Path) -> None:
    configured = kind(stand_in, tmp_path)
    assert [("network", True), ("login", True), ("privilege", True), ("schema", True), ("write", True)] == [
        (finding.step, finding.ok) for finding in configured.check()
    ]
    warehouse = configured.open()
    before = stand_in.inputs
    warehouse.commit(wide_load(0, 10))
    assert stand_in.inputs > before
    assert [["u0", "p9"], ["u1", "p7"], ["u2", "p8"]] == rows_of(
        warehouse, "SELECT id, plan FROM shop.users ORDER BY id"
    )
    assert 10 == warehouse.arrow("SELECT * FROM shop.tracks", max_rows=10, timeout_seconds=5).num_rows
    assert {"e3"} == warehouse.existing_ids(
        "shop", ["e3", "x"], [(wide_load(3, 4).rows[TRACKS]["received_at"][0].as_py(),) * 2]
    )
    assert 10 == sum(block.num_rows for block in warehouse.column_values(TableName("shop", "identifies"), "plan"))
    for sql in ("DELETE FROM shop.tracks WHERE 1", "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')"):
        with pytest.raises(QueryError):
            warehouse.query(sql, max_rows=1, timeout_seconds=5)
    warehouse.close()


@pytest.mark.parametrize("lost", ["`tracks`", "`order_completed`", "`_state`", "`_begun`", "`shop.users`"])
def test_an_answer_lost_on_the_way_doubles_nothing(stand_in: StandIn, tmp_path: Path, lost: str) -> None:
    warehouse = kind(stand_in, tmp_path).open()
    warehouse.commit(wide_load(0, 10))
    stand_in.lose = (
        f"INSERT INTO `headrace`.{lost}" if lost.startswith(("`_", "`shop")) else f"INSERT INTO `shop`.{lost}"
    )
    try:
        warehouse.commit(wide_load(10, 20))
    except WarehouseUnavailableError:
        again(warehouse, 10, 20)
    assert stand_in.has_lost()
    expected = dict.fromkeys(("tracks", "order_completed", "identifies"), 20)
    assert expected == {table: rows_of(warehouse, f"SELECT count() FROM shop.{table}")[0][0] for table in expected}
    assert [[2]] == rows_of(warehouse, "SELECT count() FROM headrace.loads")
    assert [20] == [books.loaded for books in warehouse.books().values()]
    assert everything(warehouse)
    assert warehouse.unfinished(CONSUMER, 0) is None
    warehouse.close()


def test_a_server_that_is_gone_is_a_matter_of_trying_again(stand_in: StandIn, tmp_path: Path) -> None:
    configured = kind(stand_in, tmp_path)
    warehouse = configured.open()
    stand_in.gone = True
    with pytest.raises(WarehouseUnavailableError, match="cannot be reached"):
        warehouse.commit(wide_load(0, 10))
    with pytest.raises(WarehouseUnavailableError):
        configured.open()
    assert [("network", True), ("login", False)] == [(finding.step, finding.ok) for finding in configured.check()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = ClickHouseSettings(host="127.0.0.1", port=free.getsockname()[1])
    nowhere = ClickHouseKind(settings, configured.place)
    assert [("network", False)] == [(finding.step, finding.ok) for finding in nowhere.check()]
    stand_in.gone = False
    warehouse.commit(wide_load(0, 10))
    warehouse.close()
