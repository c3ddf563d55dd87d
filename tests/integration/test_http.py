"""HTTP as the collector speaks it on the wire: requests in pieces, in a row and half, kept and closed connections."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from headrace.collector.protocol import WHOLE_SECONDS, BoundedProtocol
from server import NewSource, Server

OK = b'{"success": true}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("http") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def source(server: Server) -> NewSource:
    return server.add_source("Wire")


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), timeout=10) as connected:
        yield connected


def request(source: NewSource, message_id: str, *headers: str, version: str = "1.1", **event: str) -> bytes:
    body = json.dumps({"event": "Wired", "userId": "u", "messageId": message_id, **event}).encode()
    lines = [f"POST /v1/track HTTP/{version}", "Host: x", f"X-Write-Key: {source.write_key}", *headers]
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next answer; empty when the connection is closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return head, b""
        head += byte
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
    return head, connection.recv(length, socket.MSG_WAITALL) if length else b""


def loaded(server: Server, source: NewSource, *ids: str) -> list[str]:
    server.wait_until_loaded()
    listed = ", ".join(f"'{message_id}'" for message_id in ids)
    found = server.query(f"SELECT id FROM {source.schema}.tracks WHERE id IN ({listed}) ORDER BY id")
    return [row["id"] for row in found]


@pytest.mark.parametrize("size", [1, 7, 150])
def test_a_request_in_pieces_is_answered_like_a_whole_one(
    server: Server, source: NewSource, connection: socket.socket, size: int
) -> None:
    whole = request(source, f"pieces-{size}")
    for start in range(0, len(whole), size):
        connection.sendall(whole[start : start + size])
        time.sleep(0.001)
    assert OK == answer(connection)[1]
    connection.sendall(whole)
    assert OK == answer(connection)[1]
    assert [f"pieces-{size}"] == loaded(server, source, f"pieces-{size}")


@pytest.mark.parametrize("pause", [WHOLE_SECONDS / 4, WHOLE_SECONDS + 0.4])
def test_a_body_that_pauses_is_waited_for(
    server: Server, source: NewSource, connection: socket.socket, pause: float
) -> None:
    whole = request(source, f"paused-{pause}")
    connection.sendall(whole[:-20])
    time.sleep(pause)
    connection.sendall(whole[-20:-10])
    time.sleep(0.05)
    connection.sendall(whole[-10:])
    assert OK == answer(connection)[1]
    connection.sendall(request(source, f"after-{pause}"))
    assert OK == answer(connection)[1]
    assert [f"after-{pause}", f"paused-{pause}"] == loaded(server, source, f"after-{pause}", f"paused-{pause}")


def test_requests_in_a_row_are_answered_in_their_order(
    server: Server, source: NewSource, connection: socket.socket
) -> None:
    unknown = NewSource("", "", "hr_nobodys")
    health = b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
    bare = request(source, "row-bare", event="")
    connection.sendall(
        request(source, "row-1") + health + request(unknown, "no") + bare + request(source, "row-2")[:-30]
    )
    time.sleep(0.2)
    connection.sendall(request(source, "row-2")[-30:] + request(source, "row-3"))
    heads, bodies = zip(*(answer(connection) for _ in range(6)), strict=True)
    assert [b"200", b"200", b"401", b"400", b"200", b"200"] == [head.split(b" ", 2)[1] for head in heads]
    assert (OK, b'{"status": "ok"}') == bodies[:2]
    assert b"event_not_defined" in bodies[3]
    assert ["row-1", "row-2", "row-3"] == loaded(server, source, "row-1", "row-2", "row-3", "row-bare", "no")


def test_a_client_that_asks_before_its_body_is_told_to_go_on(source: NewSource, connection: socket.socket) -> None:
    head, _, body = request(source, "asked", "Expect: 100-continue").partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == answer(connection)[0]
    connection.sendall(body)
    assert OK == answer(connection)[1]


@pytest.mark.parametrize(("version", "header"), [("1.1", "Connection: close"), ("1.0", "X: y")])
def test_a_connection_is_closed_for_those_who_want_it(
    source: NewSource, connection: socket.socket, version: str, header: str
) -> None:
    connection.sendall(request(source, f"closed-{version}", header, version=version))
    head, body = answer(connection)
    assert OK == body
    assert b"\r\nconnection: close\r\n" in head
    assert b"" == connection.recv(1)


def test_a_request_whose_sender_left_counts_once_and_harms_nobody(
    server: Server, source: NewSource, connection: socket.socket
) -> None:
    with socket.create_connection((server.host, server.port), timeout=10) as leaving:
        leaving.sendall(request(source, "left"))
    with socket.create_connection((server.host, server.port), timeout=10) as leaving:
        leaving.sendall(request(source, "half")[:-5])
    connection.sendall(request(source, "stayed"))
    assert OK == answer(connection)[1]
    assert "stayed" in loaded(server, source, "left", "stayed", "half")
    assert [] == loaded(server, source, "half")


def test_what_is_no_http_gets_400_and_is_closed(connection: socket.socket) -> None:
    connection.sendall(b"GET\r\n\r\n")
    assert answer(connection)[0].startswith(b"HTTP/1.1 400 ")
    assert b"" == connection.recv(1)


def test_connections_are_overdue_in_their_headers_and_when_unused() -> None:
    protocol = BoundedProtocol.__new__(BoundedProtocol)
    protocol.timeout_keep_alive = 75
    assert not protocol.is_overdue(1_000.0, 30.0)  # a request is being answered
    protocol.idle_since = 100.0
    assert not protocol.is_overdue(175.0, 30.0)
    assert protocol.is_overdue(175.1, 30.0)
    protocol.idle_since, protocol.headers_since = None, 100.0
    assert not protocol.is_overdue(130.0, 30.0)
    assert protocol.is_overdue(130.1, 30.0)
