"""Loaders of several warehouses share what they read and work out, and each warehouse ends up as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from headrace.config import LoaderConfig, WarehouseConfig
from headrace.loader.loader import Loader
from headrace.loader.parts import SharedParts, read_up_to
from headrace.loader.rows import Row, rows
from headrace.warehouses._duckdb import DuckDB
from list_log import ListLog
from loader_house import NOW
from made_events import made, source


class Pair:
    """Two warehouses on one log."""

    def __init__(self, folder: Path, shared: SharedParts | None) -> None:
        self.log = ListLog()
        self.warehouses = [
            DuckDB(folder / f"{name}.duckdb", WarehouseConfig(memory_bytes=128_000_000)) for name in "ab"
        ]
        sources = {"shop": source()}
        self.loaders = [
            Loader("warehouse", [self.log], warehouse, lambda: sources, LoaderConfig(), now=lambda: NOW, shared=shared)
            for warehouse in self.warehouses
        ]
        if shared is not None:
            shared.join()
            shared.join()

    def follow(self, log: ListLog) -> None:
        """Another log, from its beginning."""
        shared = SharedParts()
        shared.join()
        shared.join()
        self.loaders = [
            Loader(
                "second", [log], warehouse, lambda: {"shop": source()}, LoaderConfig(), now=lambda: NOW, shared=shared
            )
            for warehouse in self.warehouses
        ]

    def load(self, turns: Sequence[int] = (0, 1)) -> None:
        for turn in turns:
            while self.loaders[turn].step() is not None:
                pass

    def rows(self, number: int, table: str) -> list[Any]:
        sql = f"SELECT * EXCLUDE loaded_at FROM {table} ORDER BY received_at, id"
        return list(self.warehouses[number].query(sql, max_rows=10_000, timeout_seconds=30).rows)

    def close(self) -> None:
        for warehouse in self.warehouses:
            warehouse.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made_pair = Pair(tmp_path, SharedParts())
    yield made_pair
    made_pair.close()


def events(first: int, count: int, **properties: Any) -> list[Any]:
    return [
        made(
            f"m{number}", event=f"Event {number % 3}", properties={"n": number, "text": f"t{number % 7}", **properties}
        )
        for number in range(first, first + count)
    ]


@pytest.fixture
def worked_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the events whose rows were worked out."""
    ids: list[str] = []
    real = rows

    def noting(event: Any) -> Sequence[Row]:
        ids.append(event.message_id)
        return real(event)

    monkeypatch.setattr("headrace.loader.parts.rows", noting)
    return ids


def test_each_event_becomes_rows_once_and_both_warehouses_get_them(pair: Pair, worked_out: list[str]) -> None:
    for round_ in range(3):
        pair.log.append(events(1_000 * round_, 1_000))
        pair.load()
    assert 3_000 == len(worked_out) == len(set(worked_out))
    for table in ("shop.tracks", "shop.event_0", "shop.event_2"):
        assert pair.rows(0, table) == pair.rows(1, table)
    assert 3_000 == len(pair.rows(1, "shop.tracks"))


def test_a_loader_that_lags_behind_reads_for_itself(pair: Pair, worked_out: list[str]) -> None:
    shared = pair.loaders[0]._shared
    shared._kept_bytes = 1
    for round_ in range(3):
        pair.log.append(events(3_000 * round_, 3_000))
        pair.load((0,))
    pair.load((1,))
    assert pair.rows(0, "shop.tracks") == pair.rows(1, "shop.tracks")
    assert 9_000 < len(worked_out)
    assert 1 >= len(shared._kept)


def test_one_that_knows_duplicates_shares_with_one_that_does_not(pair: Pair) -> None:
    pair.log.append(events(0, 500))
    pair.load((0,))
    again = ListLog()
    again.append(events(250, 500, extra="x"))
    pair.follow(again)
    pair.load((0, 1))
    assert [750, 500] == [len(pair.rows(number, "shop.tracks")) for number in (0, 1)]
    ids = [row[0] for row in pair.rows(1, "shop.tracks")]
    assert {f"m{number}" for number in range(250, 750)} == set(ids)


def test_types_are_each_warehouses_own(pair: Pair) -> None:
    pair.log.append([made("m0", properties={"v": "text"})])
    pair.load((0,))
    other = ListLog()
    other.append(made(f"n{number}", properties={"v": 1.5 if number else 1}) for number in range(300))
    pair.follow(other)
    pair.load((0, 1))
    first, second = (
        warehouse.query("SELECT v FROM shop.order_placed WHERE id = 'n1'", max_rows=2, timeout_seconds=9).rows[0][0]
        for warehouse in pair.warehouses
    )
    assert ("1.5", 1.5) == (first, second)


@pytest.mark.parametrize("end", [1, 2, 5, 700, 2_999])
def test_reading_up_to_an_offset_never_goes_beyond_it(end: int) -> None:
    log = ListLog()
    log.append(events(0, 3_000))
    at, ids = 0, []
    while at < end:
        part = read_up_to(log, at, end)
        ids += [entry.message_id for entry in part.entries]
        at = part.next
    assert ([f"m{number}" for number in range(end)], end) == (ids, at)
