"""The lake in S3-compatible storage: moto's server on the loopback, reached by pyarrow alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow.fs
import pytest

from conftest import missing
from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, WarehouseUnavailableError
from headrace.warehouses import _iceberg_upkeep
from headrace.warehouses.base import Place, Position
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from made_loads import CONSUMER, TRACKS, rows_of, tracks


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    if find_spec("moto") is None:
        missing("moto[server] is not installed; `make setup` installs it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and server.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture
def kind(endpoint: str, tmp_path: Path) -> IcebergKind:
    storage = pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint, access_key="a", secret_key="b", region="us-east-1", allow_bucket_creation=True
    )
    storage.create_dir("lake")
    settings = IcebergSettings(
        location="s3://lake/events", endpoint=endpoint, access_key="a", secret_key="b", region="us-east-1"
    )
    return IcebergKind(settings, Place("lake", tmp_path, WarehouseConfig(memory_bytes=128_000_000)))


def test_a_lake_in_s3_takes_loads_answers_queries_and_is_kept_up(
    kind: IcebergKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lake = kind.open()
    for number in range(4):
        lake.commit(tracks(number * 3, number * 3 + 3, new=number == 0))
    assert [[12, "e0"]] == rows_of(lake, "SELECT count(*), min(id) FROM shop.tracks")
    monkeypatch.setattr(_iceberg_upkeep, "EXPIRE_AT_ONCE", 1)
    assert lake.checkpoint(force=True)
    lake.close()
    again = kind.open()
    assert Position("log-1", 12) == again.position(CONSUMER, 0)
    assert [[f"e{number}"] for number in range(12)] == rows_of(again, "SELECT id FROM shop.tracks ORDER BY received_at")
    assert 12 == len(
        [
            id_
            for _, _, ids in again.ids_since("shop", tracks(0, 1).rows[TRACKS]["received_at"][0].as_py())
            for id_ in ids
        ]
    )
    again.drop(TRACKS)
    assert TRACKS not in again.tables()
    again.close()
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_check_writes_and_deletes_a_file_in_the_bucket(kind: IcebergKind) -> None:
    assert [("network", True), ("write", True)] == [(found.step, found.ok) for found in kind.check()]


def test_a_bucket_that_is_not_there_is_told_with_a_remedy(kind: IcebergKind, endpoint: str, tmp_path: Path) -> None:
    settings = IcebergSettings(
        location="s3://nowhere/events", endpoint=endpoint, access_key="a", secret_key="b", region="us-east-1"
    )
    other = IcebergKind(settings, Place("other", tmp_path, WarehouseConfig()))
    found = other.check()
    assert [("network", True), ("write", False)] == [(step.step, step.ok) for step in found]
    assert "location" in found[-1].remedy
    with pytest.raises((ConfigError, WarehouseUnavailableError)):
        other.open()


def test_no_boto_is_needed_at_run_time(kind: IcebergKind, tmp_path: Path) -> None:
    script = f"""
import sys, msgspec
from pathlib import Path
sys.modules.update(dict.fromkeys(("boto3", "botocore", "s3fs", "moto")))
from headrace.config import WarehouseConfig
from headrace.warehouses.base import Place
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
settings = msgspec.json.decode({kind_settings(kind)!r}, type=IcebergSettings)
lake = IcebergKind(settings, Place("alone", Path({str(tmp_path)!r}), WarehouseConfig())).open()
print(lake.query("SELECT count(*) FROM headrace.rejected", max_rows=1, timeout_seconds=10).rows)
lake.close()
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ("[[0]]\n", 0) == (answer.stdout, answer.returncode), answer.stderr


def kind_settings(kind: IcebergKind) -> bytes:
    import msgspec

    return msgspec.json.encode(kind.settings)
