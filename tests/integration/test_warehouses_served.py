"""Two warehouses of a running server: added, asked, paused, selected and removed by commands while events come."""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from headrace import cli
from headrace.app.folder import WORKER_SOCKET, short_path
from server import NewSource, Server

PATIENCE_SECONDS = 30.0


@pytest.fixture
def source(server: Server) -> NewSource:
    return server.add_source("Shop")


def run(server: Server, *arguments: str) -> Any:
    return json.loads(server.command("warehouse", *arguments, "--json"))


def send(server: Server, source: NewSource, *names: str) -> None:
    for name in names:
        body = {"type": "track", "event": name, "userId": "u", "properties": {"price": 1.5}}
        assert 200 == server.post("/v1/track", body, source).status


def rows(server: Server, slug: str, table: str) -> int:
    """0 also while there is no such table."""
    counted = f"SELECT count(*) AS n FROM information_schema.tables WHERE table_name = '{table}'"
    if not json.loads(server.command("query", counted, "--warehouse", slug, "--json"))[0]["n"]:
        return 0
    answer = server.command("query", f"SELECT count(*) AS n FROM shop.{table}", "--warehouse", slug, "--json")
    count: int = json.loads(answer)[0]["n"]
    return count


def wait_for(server: Server, slug: str, table: str, expected: int) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while (found := rows(server, slug, table)) != expected and time.monotonic() < ends:
        time.sleep(0.1)
    assert expected == found, server.tail()


def wait_until_opened(server: Server, slug: str) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while "loading" != state(server, slug) and time.monotonic() < ends:
        time.sleep(0.1)
    assert "loading" == state(server, slug), server.tail()


def state(server: Server, slug: str) -> str | None:
    detail = run(server, "show", slug)["detail"]
    return detail["status"]["warehouse"]["state"] if detail else None


def test_a_second_warehouse_gets_everything_and_goes_its_own_way(server: Server, source: NewSource) -> None:
    send(server, source, "Order Done", "Page Seen")
    wait_for(server, "warehouse", "tracks", 2)
    run(server, "add", "duckdb", "--name", "Zwei")
    wait_until_opened(server, "zwei")
    wait_for(server, "zwei", "tracks", 2)

    run(server, "pause", "zwei")
    ends = time.monotonic() + PATIENCE_SECONDS
    while "paused" != state(server, "zwei") and time.monotonic() < ends:
        time.sleep(0.1)
    send(server, source, "Order Done", "Page Seen")
    wait_for(server, "warehouse", "tracks", 4)
    assert 2 == rows(server, "zwei", "tracks")
    assert 2 == sum(p["next"] - p["position"] for p in run(server, "show", "zwei")["detail"]["status"]["partitions"])

    run(server, "select", "zwei", "--source", "shop", "--without", "page_seen")
    run(server, "resume", "zwei")
    wait_for(server, "zwei", "tracks", 4)
    assert (2, 1) == (rows(server, "zwei", "order_done"), rows(server, "zwei", "page_seen"))
    assert (2, 2) == (rows(server, "warehouse", "order_done"), rows(server, "warehouse", "page_seen"))

    run(server, "remove", "zwei", "--yes")
    assert ["warehouse"] == [listed["slug"] for listed in run(server, "list")]
    send(server, source, "Order Done")
    wait_for(server, "warehouse", "tracks", 5)
    assert (server.data / "warehouse-zwei.duckdb").exists()


def test_without_any_warehouse_events_wait_in_the_log(server: Server, source: NewSource) -> None:
    run(server, "remove", "warehouse", "--yes")
    send(server, source, "Order Done", "Order Done")
    run(server, "add", "duckdb", "--name", "Neu")
    wait_until_opened(server, "neu")
    wait_for(server, "neu", "tracks", 2)


def test_the_running_warehouse_is_tested_shown_and_worked_on(server: Server, source: NewSource, tmp_path: Path) -> None:
    send(server, source, "Order Done")
    body = {"type": "track", "event": "Order Done", "userId": "u", "properties": {"price": "free"}}
    assert 200 == server.post("/v1/track", body, source).status
    wait_for(server, "warehouse", "tracks", 2)
    assert [True, True] == [finding["ok"] for finding in run(server, "test", "warehouse")]
    detail = run(server, "show", "warehouse")["detail"]
    assert 2 == sum(load["events"] for load in detail["loads"])
    assert ["price"] == [misfit["column"] for misfit in detail["misfits"]]

    file = tmp_path / "rows.parquet"
    sql = "SELECT price, received_at FROM shop.order_done ORDER BY received_at"
    server.command("query", sql, "--parquet", str(file))
    assert [1.5, None] == pq.read_table(file).column("price").to_pylist()

    assert 1 == run(server, "retype", "shop.order_done.price", "string")["reapplied"]
    assert [] == run(server, "show", "warehouse")["detail"]["misfits"]
    run(server, "export", "--to", str(tmp_path / "out"), "shop.order_done")
    assert ["1.5", "free"] == sorted(
        pq.read_table(tmp_path / "out/shop/order_done.parquet").column("price").to_pylist()
    )


def test_a_job_that_fails_in_the_worker_is_explained(server: Server, source: NewSource) -> None:
    send(server, source, "Order Done")
    wait_for(server, "warehouse", "tracks", 1)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(cli.app, ["warehouse", "retype", "shop.nonesuch.price", "string", "--data", str(server.data)])
    assert (1, "") == (code, out.getvalue())
    assert "error: " in err.getvalue()
    assert "nonesuch" in err.getvalue()


def test_a_download_whose_reader_goes_before_the_first_row_is_ended(tmp_path: Path) -> None:
    with Server(tmp_path / "data", {"HEADRACE_WAREHOUSE_QUERIES_PER_PERSON": "1"}) as server:
        wait_until_opened(server, "warehouse")
        name, descriptor = short_path(server.data / WORKER_SOCKET)
        door = httpx.HTTPTransport(uds=name)
        with httpx.Client(transport=door, base_url="http://headrace/api/v1", timeout=PATIENCE_SECONDS) as client:
            endless = {"sql": "SELECT count(*) FROM range(100000000000) endless (n) WHERE n % 7 = 9"}
            with contextlib.suppress(httpx.ReadTimeout):
                client.post("/queries/csv", json=endless, timeout=3.0)
            ends = time.monotonic() + PATIENCE_SECONDS
            found = None
            while found != 200 and time.monotonic() < ends:  # as long as it runs, nothing else of this person does
                time.sleep(0.05)
                found = client.post("/queries", json={"sql": "SELECT 1"}).status_code
            assert found == 200, server.tail()
        os.close(descriptor)
