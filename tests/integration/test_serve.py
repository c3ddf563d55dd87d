"""`headrace serve` as a whole: its doors, its limits, and what a running server notices."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from server import Server, free_port

EVENT = {"event": "Signed Up", "userId": "u1"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"HEADRACE_COLLECTOR_HEADER_TIMEOUT_SECONDS": "2", "HEADRACE_COLLECTOR_BODY_TIMEOUT_SECONDS": "2"}
    with Server(tmp_path_factory.mktemp("serve") / "data", settings) as running:
        yield running


def post(server: Server, key: str) -> int:
    return httpx.post(f"{server.url}/v1/track", json=EVENT, auth=(key, ""), timeout=30).status_code


def until(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def commanded(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", *arguments, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_running_server_follows_changes_of_its_sources(serving: Server) -> None:
    source = serving.add_source("Follows")
    assert until(lambda: post(serving, source.write_key) == 200)
    assert commanded(serving, "source", "disable", source.slug).returncode == 0
    assert until(lambda: post(serving, source.write_key) == 404)
    assert commanded(serving, "source", "enable", source.slug).returncode == 0
    assert until(lambda: post(serving, source.write_key) == 200)


def test_the_workers_address_tells_who_is_not_logged_in_its_health_and_pages_alone(serving: Server) -> None:
    url = f"http://{serving.host}:{serving.console_port}"
    assert {"status": "ok"} == httpx.get(f"{url}/health", timeout=30).json()
    for path in ("/", "/sources"):
        assert "<!doctype html>" in httpx.get(f"{url}{path}", timeout=30).text
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as client:
        asked = {path: client.get(path).status_code for path in ("status", "sources", "query", "nothing")}
    assert {"status": 401, "sources": 401, "query": 405, "nothing": 404} == asked


def test_the_workers_socket_is_its_owners_alone(serving: Server) -> None:
    assert 0o600 == stat.S_IMODE((serving.data / "worker.sock").stat().st_mode)
    assert 0o700 == stat.S_IMODE(serving.data.stat().st_mode)


def test_a_data_folder_with_a_very_long_path_works(tmp_path: Path) -> None:
    with Server(tmp_path / ("x" * 120)) as server:
        assert commanded(server, "status").returncode == 0


def closed_by_the_server(connection: socket.socket, seconds: float = 10.0) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def connected(server: Server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def test_headers_that_never_end_or_never_come_close_the_connection(serving: Server) -> None:
    with connected(serving) as silent, connected(serving) as slow, connected(serving) as endless:
        slow.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
        endless.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(200):
                endless.sendall(b"X-Filler: " + b"x" * 10_000 + b"\r\n")
            ended = closed_by_the_server(endless)
        except ConnectionError:
            ended = True
        assert ended
        assert closed_by_the_server(slow)
        assert closed_by_the_server(silent)


def test_a_body_that_does_not_come_gets_408(serving: Server) -> None:
    source = serving.add_source("Slow")
    assert until(lambda: post(serving, source.write_key) == 200)
    with connected(serving) as connection:
        head = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nX-Write-Key: {source.write_key}\r\nContent-Length: 100\r\n\r\n{{"
        connection.sendall(head.encode())
        connection.settimeout(30)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")


def test_a_connection_in_use_outlives_the_header_timeout(serving: Server) -> None:
    source = serving.add_source("Kept")
    assert until(lambda: post(serving, source.write_key) == 200)
    with httpx.Client(base_url=serving.url, timeout=30) as client:
        for _ in range(4):
            assert client.post("/v1/track", json=EVENT, auth=(source.write_key, "")).status_code == 200
            time.sleep(0.9)


def test_a_blank_line_after_an_answer_and_endless_trailers_close_the_connection(tmp_path: Path) -> None:
    settings = {"HEADRACE_COLLECTOR_KEEP_ALIVE_SECONDS": "1", "HEADRACE_COLLECTOR_HEADER_TIMEOUT_SECONDS": "1"}
    with Server(tmp_path / "data", settings) as server, connected(server) as blank, connected(server) as trailing:
        blank.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert blank.recv(65_536).startswith(b"HTTP/1.1 200")
        blank.sendall(b"\r\n")
        assert closed_by_the_server(blank)
        head = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        try:
            trailing.sendall(head)
            for number in range(50):
                trailing.sendall(b"X-Trailer-%d: " % number + b"x" * 10_000 + b"\r\n")
            ended = closed_by_the_server(trailing)
        except ConnectionError:
            ended = True
        assert ended


def test_a_second_server_on_the_same_folder_is_refused(serving: Server) -> None:
    ports = ("--collector", f"127.0.0.1:{free_port()}", "--console", f"127.0.0.1:{free_port()}")
    refused = commanded(serving, "serve", *ports)
    assert refused.returncode == 1
    assert "another headrace server" in refused.stderr
    assert httpx.get(f"{serving.url}/v1/health", timeout=30).status_code == 200


def test_a_taken_port_is_named(serving: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headrace", "serve", "--collector", f"127.0.0.1:{serving.port}"]
    other = subprocess.run(
        [*command, "--data", str(tmp_path / "other")], capture_output=True, text=True, check=False, timeout=60
    )
    assert other.returncode == 1
    assert f"127.0.0.1:{serving.port}" in other.stderr


def test_a_query_is_answered_by_the_worker_and_without_one_from_the_file(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        source = server.add_source("Answers")
        assert until(lambda: post(server, source.write_key) == 200)
        assert commanded(server, "status", "--wait").returncode == 0
        running = commanded(server, "query", "select count(*) as n from answers.signed_up", "--json")
        assert [{"n": json.loads(running.stdout)[0]["n"]}] == json.loads(running.stdout)
    stopped = commanded(server, "query", "select count(*) as n from answers.signed_up", "--json")
    assert json.loads(running.stdout) == json.loads(stopped.stdout)
    status = json.loads(commanded(server, "status", "--json").stdout)
    assert (False, 0) == (status["running"], status["totals"]["pending"])


def test_rows_for_spreadsheets_run_nothing(serving: Server) -> None:
    answer = commanded(serving, "query", "select '=1+1' as a, -5 as b, '@x' as c, null as d", "--csv")
    assert answer.stdout == "a,b,c,d\n'=1+1,-5,'@x,\n"


def test_wrong_sql_and_writing_sql_end_with_an_error(serving: Server) -> None:
    for sql in (
        "drop table headrace.books",
        "select * from nowhere.nothing",
        "select 1; select 2",
        "copy (select 1) to 'x'",
    ):
        answer = commanded(serving, "query", sql)
        assert (1, "") == (answer.returncode, answer.stdout), sql
        assert answer.stderr.startswith("error: ")


def test_status_waits_for_nobody_when_no_server_runs(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    command = [sys.executable, "-m", "headrace", "status", "--data", str(tmp_path / "nowhere")]
    missing = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ.copy())
    assert missing.returncode == 1
    assert str(tmp_path / "nowhere") in missing.stderr
    with server:
        pass
    assert commanded(server, "status", "--wait").returncode == 0
