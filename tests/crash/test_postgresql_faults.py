"""Faults of PostgreSQL under load, DuckDB beside it: collecting and the other warehouse go on, `headrace status` tells in plain words
what is wrong, and afterwards everything is in both once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import pytest

from conftest import missing
from crash import faults
from crash.cutting import Cutting
from crash.faults import wait_until
from crash.postgresql_scene import SLUG, PostgreSQLScene, warehouse_in
from crash.traffic import request_of
from headrace.config import WarehouseConfig
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Place
from headrace.warehouses.postgresql import PostgreSQLKind, PostgreSQLSettings
from postgresql_server import ADMIN, ADMIN_PASSWORD, PASSWORD, ROLE, PostgreSQLServer
from same_rows import OF_THE_LOADS, Side, of_the_events

DOWN_SECONDS = float(os.environ.get("CRASH_DOWN_SECONDS", "2"))
"""How long PostgreSQL stays away; a minute and more by command."""
DISK_MEGABYTES = 64


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def disk(postgresql: PostgreSQLServer) -> Iterator[Path | None]:
    """A small disk for the database; None where it cannot be mounted."""
    folder = postgresql.folder / "disk"
    if os.geteuid():
        yield None
        return
    with faults.small_disk(folder, DISK_MEGABYTES):
        shutil.chown(folder, "postgres", "postgres")
        yield folder
        postgresql.stop()


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQLServer, disk: Path | None
) -> Iterator[PostgreSQLScene]:
    database = postgresql.database()
    if disk is not None:
        postgresql.sql(
            f"CREATE TABLESPACE small LOCATION '{disk}'",
            f"GRANT CREATE ON TABLESPACE small TO {ROLE}",
            f"ALTER DATABASE {database} SET TABLESPACE small",
        )
    folder = tmp_path_factory.mktemp("faults")
    # Without the e-mail model, whose increments give back space on a full disk when they are rolled back.
    settings = {"HEADRACE_LOADER_EMAIL_MODEL": "false"}
    with PostgreSQLScene(folder, 6, postgresql=postgresql, database=database, only=False, settings=settings) as opened:
        yield opened


@contextmanager
def under_load(scene: PostgreSQLScene) -> Iterator[None]:
    """Meanwhile every request is answered 200; afterwards everything is in both warehouses, each event once."""
    before = (scene.ledger.unavailable, scene.ledger.broken)
    scene.flow()
    try:
        yield
    finally:
        scene.ebb()
    assert scene.ledger.unavailable == before[0], "a request was answered 503"
    status = scene.settle(60)
    assert [] == scene.judged(status).faults
    assert [] == [entry["warehouse"]["error"] for entry in status["warehouses"] if entry["warehouse"]["error"]]


def team(scene: PostgreSQLScene) -> dict[str, Any]:
    return warehouse_in(scene.server.status(), SLUG)


def told(scene: PostgreSQLScene, *words: str, patience_seconds: float = 30.0) -> str:
    """Wait until `status` says why PostgreSQL is not loaded, in these words."""
    ends = time.monotonic() + patience_seconds
    while True:
        error = str(team(scene)["warehouse"]["error"])
        if all(word in error for word in words):
            return error
        assert time.monotonic() < ends, f"status does not say {words}, but: {error}\n{scene.server.tail(5)}"
        time.sleep(0.1)


def others_go_on(scene: PostgreSQLScene) -> None:
    """What is acknowledged from now on comes into DuckDB, while PostgreSQL does not move."""
    before = team(scene)["partitions"]
    began = time.monotonic()
    scene.acknowledges(began, 10)
    wanted = [partition["next"] for partition in scene.server.status()["partitions"]]

    def are_loaded() -> bool:
        there = warehouse_in(scene.server.status(), "warehouse")["partitions"]
        return all(partition["position"] >= next_ for partition, next_ in zip(there, wanted, strict=True))

    wait_until("DuckDB has what came meanwhile", are_loaded, 30)
    assert [p["position"] for p in before] == [p["position"] for p in team(scene)["partitions"]]


def drop_sessions(scene: PostgreSQLScene) -> None:
    """New ones feel what was altered."""
    scene.postgresql.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")


@contextmanager
def session(scene: PostgreSQLScene, *statements: str) -> Iterator[None]:
    """Another program's open transaction."""
    dsn = scene.postgresql.dsn(scene.database, ADMIN, ADMIN_PASSWORD) + "?application_name=nightly%20report"
    with adbc_driver_postgresql.dbapi.connect(dsn, autocommit=False) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        yield
        connection.rollback()


def test_a_connection_that_is_cut_between_commit_and_its_answer(scene: PostgreSQLScene) -> None:
    proxy = Cutting(scene.postgresql.port)
    with under_load(scene):
        scene.reach(proxy.port)
        for number in range(6):
            proxy.passes_on = number % 3 != 2
            cuts = proxy.cuts
            proxy.cut_at = b"COMMIT\0"
            wait_until("a COMMIT is cut", lambda cuts=cuts: proxy.cuts > cuts)  # type: ignore[misc]
        scene.reach(scene.postgresql.port)
    proxy.close()
    assert "yet the position shows it is in" in scene.server.tail(400)


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_a_server_that_is_away_for_a_while(scene: PostgreSQLScene, way: str) -> None:
    with under_load(scene):
        if way == "stopped":
            scene.postgresql.stop()
        else:
            scene.postgresql.kill()
        ends = time.monotonic() + DOWN_SECONDS
        try:
            told(scene, "is it running")
            others_go_on(scene)
            time.sleep(max(0.0, ends - time.monotonic()))
        finally:
            scene.postgresql.start()


def test_a_table_that_another_session_locks(scene: PostgreSQLScene) -> None:
    with under_load(scene):
        table = f"{scene.source.schema}.tracks"
        with session(scene, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
            told(scene, "nightly report", f"holds a lock on {table}", "pg_terminate_backend")
            others_go_on(scene)


@pytest.mark.parametrize("whose", [f"ROLE {ROLE}", "DATABASE {database}"])
def test_a_database_that_is_read_only(scene: PostgreSQLScene, whose: str) -> None:
    altered = f"ALTER {whose.format(database=scene.database)}"
    with under_load(scene):
        scene.postgresql.sql(f"{altered} SET default_transaction_read_only = on")
        try:
            drop_sessions(scene)
            told(scene, "takes no writes", "default_transaction_read_only")
            others_go_on(scene)
        finally:
            scene.postgresql.sql(f"{altered} RESET default_transaction_read_only")


def test_a_password_that_is_changed_and_changed_back(scene: PostgreSQLScene) -> None:
    with under_load(scene):
        scene.postgresql.sql(f"ALTER ROLE {ROLE} PASSWORD 'another'")
        try:
            drop_sessions(scene)
            error = told(scene, "password", "refused")
            others_go_on(scene)
        finally:
            scene.postgresql.sql(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
    assert PASSWORD not in error + scene.server.tail(400)


def test_a_disk_that_is_full(scene: PostgreSQLScene, disk: Path | None) -> None:
    if disk is None:
        missing("a small disk cannot be mounted; run the tests as root")
    assert disk is not None
    ballast = disk / "ballast"
    with under_load(scene):
        faults.fill(ballast)
        try:
            told(scene, "disk is full", "free space")
            others_go_on(scene)
        finally:
            ballast.unlink()


def test_a_view_that_holds_a_column_to_integer(scene: PostgreSQLScene) -> None:
    schema = scene.source.schema
    sender = scene.sender()

    def count(name: str, values: Sequence[float]) -> None:
        events: list[dict[str, Any]] = [
            {"type": "track", "event": "Counted", "userId": "u", "messageId": f"{name}-{i}", "properties": {"n": n}}
            for i, n in enumerate(values)
        ]
        sender.post(request_of("/v1/batch", events))
        scene.settle()

    count("whole", [1, 2])
    view = f"CREATE VIEW {schema}.doubled AS SELECT n * 2 AS d FROM {schema}.counted"
    scene.postgresql.sql(view, database=scene.database)
    count("broken", [2.5, 4])
    status = team(scene)
    assert [(schema, "counted", "n")] == [(h["schema"], h["table"], h["column"]) for h in status["warehouse"]["held"]]
    assert f"view {schema}.doubled" in status["warehouse"]["held"][0]["reason"]
    assert (None, 0) == (status["warehouse"]["error"], status["totals"]["pending"])
    found = 'SELECT "column", value, reason FROM headrace.discards WHERE "table" = \'counted\''
    (discard,) = scene.postgresql.sql(found, database=scene.database)
    assert ("n", "2.5") == discard[:2]
    assert "integer" in discard[2]

    scene.postgresql.sql(f"DROP VIEW {schema}.doubled", database=scene.database)
    scene.server.command("warehouse", "retype", f"{schema}.counted.n", "float", "--warehouse", SLUG, "--json")
    numbers = f"SELECT n FROM {schema}.counted ORDER BY n"
    assert [(1.0,), (2.0,), (2.5,), (4.0,)] == scene.postgresql.sql(numbers, database=scene.database)
    assert [] == team(scene)["warehouse"]["held"]
    count("after", [7.5])
    assert (7.5,) in scene.postgresql.sql(numbers, database=scene.database)
    sender.close()


def test_a_warehouse_that_was_away_holds_the_rows_of_the_other_afterwards(scene: PostgreSQLScene) -> None:
    with under_load(scene):
        scene.postgresql.stop()
        try:
            told(scene, "is it running")
            others_go_on(scene)
        finally:
            scene.postgresql.start()
    assert 0 == scene.server.stop()
    place = Place(SLUG, scene.server.data, WarehouseConfig())
    embedded = DuckDB(scene.warehouse, WarehouseConfig())
    server = PostgreSQLKind(PostgreSQLSettings(dsn=scene.dsn), place).open()
    try:
        sides = (Side("DuckDB", embedded), Side("PostgreSQL", server))
        # headrace.columns keeps the type of the beginning, but for what `retype` was asked for.
        ignored = OF_THE_LOADS | {"type"}
        found = of_the_events(*sides, [scene.source.schema], ignored=ignored)
        assert not found, "\n".join(found)
        forgotten = (
            f"DELETE FROM {scene.source.schema}.tracks WHERE id = (SELECT min(id) FROM {scene.source.schema}.tracks)"
        )
        scene.postgresql.sql(forgotten, database=scene.database)
        assert of_the_events(*sides, [scene.source.schema], ignored=ignored)
    finally:
        embedded.close()
        server.close()
        scene.server.start()
