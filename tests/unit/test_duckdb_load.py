"""DuckDB's own part of a load: its journal, and the controls of the contract's guarantees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import duckdb
from headrace.warehouses import _duckdb_latest, _duckdb_load
from headrace.warehouses.base import Load, Warehouse
from latest_state import late_parts, oracle, users_after
from made_loads import doubled, rows_of, tracks


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = duckdb.fresh(tmp_path)()
    yield opened
    opened.close()


def test_a_checkpoint_folds_the_journal_in(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 5_000, new=True))
    assert warehouse.journal_bytes() > 0
    assert warehouse.checkpoint(force=True)
    assert warehouse.journal_bytes() == 0
    assert not warehouse.checkpoint(force=True)
    assert [[5_000]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")


def test_two_loaders_double_rows_without_the_compare_and_set(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blindly(cursor: Any, load: Load) -> None:
        if _duckdb_load.position(cursor, load.consumer, load.partition) is None:
            cursor.execute("INSERT INTO headrace.offsets VALUES (?, ?, ?, ?)", [*load_key(load), load.end])
        cursor.execute('UPDATE headrace.offsets SET "next" = ?', [load.end])

    monkeypatch.setattr(_duckdb_load, "move", blindly)
    assert doubled(warehouse) > 0


def load_key(load: Load) -> tuple[str, int, str]:
    return load.consumer, load.partition, load.incarnation


def test_late_rows_overwrite_newer_values_without_recomputation(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb_latest, "late_keys", lambda *_: [])
    parts = late_parts()
    assert oracle(parts) != users_after(warehouse, parts)
