"""The lake with its catalogue in PostgreSQL, as it is where readers or loaders are on several machines."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import missing
from headrace.config import WarehouseConfig
from headrace.errors import PositionError, WarehouseUnavailableError
from headrace.warehouses.base import Place, Position
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from made_loads import CONSUMER, HOUR, doubled, rows_of, tracks
from postgresql_server import ADMIN, ADMIN_PASSWORD, shared


@pytest.fixture
def url() -> str:
    if find_spec("pg8000") is None:
        missing("pg8000 is not installed; `make setup` installs it")
    server = shared()
    return server.dsn(server.database(), ADMIN, ADMIN_PASSWORD).replace("postgresql://", "postgresql+pg8000://")


def kind(folder: Path, tables: Path, url: str) -> IcebergKind:
    settings = IcebergSettings(catalogue=url, location=str(tables))
    folder.mkdir()
    return IcebergKind(settings, Place("lake", folder, WarehouseConfig(memory_bytes=128_000_000)))


def test_two_machines_share_a_catalogue_and_one_of_them_loads(tmp_path: Path, url: str) -> None:
    first = kind(tmp_path / "first", tmp_path / "tables", url).open()
    second = kind(tmp_path / "second", tmp_path / "tables", url).open()
    assert first.position(CONSUMER, 0) is None
    first.commit(tracks(0, 3, new=True))
    with pytest.raises(WarehouseUnavailableError, match="lease"):
        second.position(CONSUMER, 0)
    with pytest.raises(PositionError):
        first.commit(tracks(0, 3))
    assert [[3]] == rows_of(second, "SELECT count(*) FROM shop.tracks")
    assert 3 == second.account(["shop"]).books[HOUR].loaded
    first.close()
    assert Position("log-1", 3) == second.position(CONSUMER, 0)
    second.commit(tracks(3, 6))
    assert [[6]] == rows_of(second, "SELECT count(*) FROM shop.tracks")
    second.close()


def test_loads_double_nothing_there_either(tmp_path: Path, url: str) -> None:
    lake = kind(tmp_path / "data", tmp_path / "tables", url).open()
    assert doubled(lake) == 0
    lake.close()


def test_a_catalogue_that_does_not_answer_is_told_with_a_remedy(tmp_path: Path, url: str) -> None:
    away = url.rsplit("@", 1)[0] + "@127.0.0.1:9/lake"
    found = kind(tmp_path / "data", tmp_path / "tables", away).check()
    assert [("network", False)] == [(step.step, step.ok) for step in found]
    assert ADMIN_PASSWORD not in found[0].text
    with pytest.raises(WarehouseUnavailableError):
        kind(tmp_path / "again", tmp_path / "tables", away).open()
