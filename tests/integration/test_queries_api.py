"""Queries over the API: answers, cancellation, limits, whose they are, CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from litestar.testing import TestClient

from console_worker import Asking, asked
from headrace.app import queries
from headrace.config import WarehouseConfig
from headrace.console.access import Requester
from headrace.workspace.workspace import Workspace
from postgresql_server import PostgreSQLServer, shared

ENDLESS = {
    "warehouse": "SELECT count(*) FROM range(100000000000) endless (n) WHERE n % 7 = 9",
    "team": "SELECT count(*) FROM generate_series(1, 100000000000) endless (n)",
}
SERIES = {"warehouse": "range(1, 1 + {})", "team": "generate_series(1, {})"}
ADA = Requester("Ada", "viewer", "session", 1)
BOB = Requester("Bob", "editor", "session", 2)
CARA = Requester("Cara", "admin", "session", 3)


@pytest.fixture(scope="module")
def server() -> PostgreSQLServer:
    return shared()


@pytest.fixture(scope="module")
def asking() -> Asking:
    return Asking()


@pytest.fixture(scope="module")
def client(
    server: PostgreSQLServer, asking: Asking, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient[Any]]:
    folder: Path = tmp_path_factory.mktemp("queries")
    with Workspace.open(folder) as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
        workspace.add_warehouse("postgresql", "Team", {"dsn": server.dsn(server.database())})
    limits = WarehouseConfig(query_rows=2_000, queries_per_person=2, queries_at_once=3, query_timeout_seconds=30)
    with asked(folder, asking, warehouse=limits) as client:
        client.post("/notice")
        yield client


@pytest.fixture(autouse=True)
def as_ada(asking: Asking) -> None:
    asking.requester = ADA


WAREHOUSES = ["warehouse", "team"]


def ordered(client: TestClient[Any], sql: str, warehouse: str = "warehouse", **more: Any) -> Any:
    order = {"sql": sql, "warehouse": warehouse, "wait_seconds": 20, **more}
    answer = client.post("/queries", json=order)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_an_answer_comes_with_its_types_and_says_what_was_left_out(client: TestClient[Any], warehouse: str) -> None:
    found = ordered(client, f"SELECT n, 'x' AS t FROM {SERIES[warehouse].format(5)} a (n)", warehouse, max_rows=3)
    answer = found["answer"]
    assert ("done", [[1, "x"], [2, "x"], [3, "x"]], 3, True, 3) == (
        found["state"],
        *(answer[name] for name in ("rows", "row_count", "truncated", "max_rows")),
    )
    assert [("n", "integer"), ("t", "text")] == [(column["name"], column["kind"]) for column in answer["columns"]]
    whole = ordered(client, f"SELECT n FROM {SERIES[warehouse].format(2000)} a (n)", warehouse)["answer"]
    assert (2000, False, [2000]) == (whole["row_count"], whole["truncated"], whole["rows"][-1])
    cut = ordered(client, f"SELECT n FROM {SERIES[warehouse].format(2001)} a (n)", warehouse, max_rows=9_000)["answer"]
    assert (2000, True, 2000) == (cut["row_count"], cut["truncated"], cut["max_rows"])
    assert [] == ordered(client, "SELECT 1 AS n WHERE false", warehouse)["answer"]["rows"]


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_an_error_is_told_with_its_place(client: TestClient[Any], warehouse: str) -> None:
    found = ordered(client, "SELECT 1,\n  nowhere", warehouse)
    assert ("failed", 400, "query_wrong", 12) == (
        found["state"],
        *(found["problem"][name] for name in ("status", "code", "position")),
    )
    refused = ordered(client, "DROP TABLE headrace.loads", warehouse)
    assert ("failed", "query_refused") == (refused["state"], refused["problem"]["code"])


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_a_cancelled_query_ends_in_the_engine(
    client: TestClient[Any], server: PostgreSQLServer, warehouse: str
) -> None:
    started = ordered(client, ENDLESS[warehouse], warehouse, wait_seconds=0.2)
    assert started["state"] == "running"
    while warehouse == "team" and not active(server):
        pass
    # The control: asking for it does not end it.
    assert "running" == client.get(f"/queries/{started['id']}", params={"wait_seconds": 0.2}).json()["state"]
    ended = client.delete(f"/queries/{started['id']}").json()
    assert ("cancelled", "query_cancelled") == (ended["state"], ended["problem"]["code"])
    assert 0 == active(server)
    assert "cancelled" == client.delete(f"/queries/{started['id']}").json()["state"]
    assert [[1]] == ordered(client, "SELECT 1", warehouse)["answer"]["rows"]


def active(server: PostgreSQLServer) -> int:
    counted = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%endless%' AND pid <> pg_backend_pid()"
    found: int = server.sql(counted)[0][0]
    return found


def test_a_query_for_which_nobody_comes_back_is_cancelled(
    client: TestClient[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr(queries, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(queries, "WATCH_SECONDS", 0.05)
    kept = ordered(client, ENDLESS["warehouse"], wait_seconds=0)
    left = ordered(client, ENDLESS["warehouse"], wait_seconds=0)
    clock[0] += 0.9 * queries.LEASE_SECONDS
    assert "running" == client.get(f"/queries/{kept['id']}").json()["state"]
    clock[0] += 0.2 * queries.LEASE_SECONDS
    states = {left["id"]: "running"}
    while states[left["id"]] == "running":  # the list asks for nothing
        states = {query["id"]: query["state"] for query in client.get("/queries").json()}
    assert "cancelled" == states[left["id"]]
    # The control: somebody came back for this one.
    assert "running" == client.get(f"/queries/{kept['id']}", params={"wait_seconds": 0.2}).json()["state"]
    client.delete(f"/queries/{kept['id']}")


def test_queries_at_the_same_time_are_bounded_by_person_and_in_all(client: TestClient[Any], asking: Asking) -> None:
    mine = [ordered(client, ENDLESS["warehouse"], wait_seconds=0)["id"] for _ in range(2)]
    third = client.post("/queries", json={"sql": "SELECT 1", "warehouse": "warehouse"})
    assert (429, "too_many_queries") == (third.status_code, third.json()["code"])
    assert "of yours" in third.json()["detail"]
    assert third.headers["retry-after"]
    assert 429 == client.post("/queries/csv", json={"sql": "SELECT 1", "warehouse": "warehouse"}).status_code
    asking.requester = BOB
    theirs = ordered(client, ENDLESS["warehouse"], wait_seconds=0)["id"]
    asking.requester = CARA
    full = client.post("/queries", json={"sql": "SELECT 1", "warehouse": "warehouse"})
    assert (429, True) == (full.status_code, "everybody" in full.json()["detail"])
    for id_ in (*mine, theirs):  # an admin may end all of them
        assert "cancelled" == client.delete(f"/queries/{id_}").json()["state"]
    asking.requester = ADA
    assert "done" == ordered(client, "SELECT 1")["state"]


def test_somebody_sees_and_ends_their_own_queries_alone(client: TestClient[Any], asking: Asking) -> None:
    id_ = ordered(client, "SELECT 'of Ada'")["id"]
    asking.requester = BOB
    for answer in (client.get(f"/queries/{id_}"), client.delete(f"/queries/{id_}"), client.get(f"/queries/{id_}/csv")):
        assert (404, "not_found") == (answer.status_code, answer.json()["code"])
    assert id_ not in {query["id"] for query in client.get("/queries").json()}
    asking.requester = CARA
    assert [["of Ada"]] == client.get(f"/queries/{id_}").json()["answer"]["rows"]
    assert ("Ada", None) == next(
        (query["asked_by"], query["answer"]) for query in client.get("/queries").json() if query["id"] == id_
    )


def test_explain_is_the_plan_and_runs_nothing(client: TestClient[Any]) -> None:
    for warehouse in WAREHOUSES:
        found = ordered(client, ENDLESS[warehouse], warehouse, explain=True)
        assert ("done", "plan") == (found["state"], found["answer"]["columns"][0]["name"])
        assert found["answer"]["row_count"] > 1


AWKWARD = "SELECT 9007199254740993 AS big, CAST('1.50' AS numeric(9, 2)) AS \"a,b\", '=1+1' AS formula, '' AS empty, CAST(NULL AS text) AS nothing, 'say \"hi\"\n' AS quoted, CAST(-5 AS bigint) AS minus, true AS yes"


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_csv_is_the_whole_answer_and_can_be_read_back(client: TestClient[Any], warehouse: str) -> None:
    sql = f"SELECT n, 'x' AS t FROM {SERIES[warehouse].format(5000)} a (n)"
    cut = ordered(client, sql, warehouse)
    assert (2000, True) == (cut["answer"]["row_count"], cut["answer"]["truncated"])
    download = client.get(f"/queries/{cut['id']}/csv")
    assert (200, True) == (download.status_code, download.headers["content-type"].startswith("text/csv"))
    assert f'attachment; filename="{warehouse}-' in download.headers["content-disposition"]
    assert [["n", "t"], *([str(n), "x"] for n in range(1, 5001))] == list(csv.reader(io.StringIO(download.text)))
    awkward = client.post("/queries/csv", json={"sql": AWKWARD, "warehouse": warehouse})
    assert (
        'big,"a,b",formula,empty,nothing,quoted,minus,yes\r\n9007199254740993,1.50,=1+1,"",,"say ""hi""\n",-5,true\r\n'
    ) == awkward.text
    safe = client.post("/queries/csv", json={"sql": AWKWARD, "warehouse": warehouse, "spreadsheet": True})
    assert safe.content.startswith(b"\xef\xbb\xbfbig")
    assert '1.50,\'=1+1,"",,' in safe.text
    assert ",-5," in safe.text
    assert (
        "n\r\n" == client.post("/queries/csv", json={"sql": "SELECT 1 AS n WHERE false", "warehouse": warehouse}).text
    )


def test_a_csv_that_cannot_begin_is_a_problem(client: TestClient[Any]) -> None:
    for sql in ("SELECT nowhere", "COPY (SELECT 1) TO '/tmp/x'", "SELECT 1; SELECT 2"):
        answer = client.post("/queries/csv", json={"sql": sql, "warehouse": "warehouse"})
        assert (400, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert [] == [query for query in client.get("/queries").json() if query["state"] == "running"]


def test_of_many_queries_the_oldest_are_forgotten_first(
    client: TestClient[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "REMEMBERED", 3)
    ids = [ordered(client, f"SELECT {n}")["id"] for n in range(5)]
    known = [query["id"] for query in client.get("/queries").json()]
    assert (ids[4], True) == (known[0], ids[0] not in known)
    assert [[4]] == client.get(f"/queries/{ids[4]}").json()["answer"]["rows"]
    monkeypatch.setattr(queries, "REMEMBERED_CHARACTERS", 10)
    last = ordered(client, "SELECT 5")["id"]
    assert [last] == [query["id"] for query in client.get("/queries").json() if query["id"] in {*ids[:4], last}]


def test_the_tree_of_tables_has_columns_with_types(client: TestClient[Any]) -> None:
    for warehouse, engine in (("warehouse", "duckdb"), ("team", "postgresql")):
        found = client.get(f"/warehouses/{warehouse}/columns").json()
        tables = {(table["schema"], table["table"]): dict(table["columns"]) for table in found["tables"]}
        assert (warehouse, engine) == (found["warehouse"], found["kind"])
        assert ("timestamp", "string") == (
            tables["headrace", "rejected"]["received_at"],
            tables["headrace", "rejected"]["source"],
        )
    assert 404 == client.get("/warehouses/nowhere/columns").status_code


def test_orders_that_make_no_sense_are_refused(client: TestClient[Any]) -> None:
    for order in (
        {},
        {"sql": ""},
        {"sql": "SELECT 1", "max_rows": 0},
        {"sql": "SELECT 1", "timeout_seconds": -1},
        {"sql": "SELECT 1", "wait_seconds": 1000},
        {"sql": "SELECT 1", "role": "owner"},
        {"sql": "x" * 100_001},
    ):
        assert 400 == client.post("/queries", json=order).status_code, order
    assert 404 == client.post("/queries", json={"sql": "SELECT 1", "warehouse": "nowhere"}).status_code
    assert 404 == client.get("/queries/nothing").status_code
