"""The lake: a kill at any step, loaders that compete, and the controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from depth import depth
from headrace.config import WarehouseConfig
from headrace.errors import (
    PositionError,
    WarehouseUnavailableError,
)
from headrace.warehouses import (
    _iceberg_load,
)
from headrace.warehouses._iceberg import Lake
from headrace.warehouses._iceberg_books import Housekeeping
from headrace.warehouses._iceberg_catalog import FencedCatalog
from headrace.warehouses.base import (
    Place,
    Position,
    Unfinished,
)
from headrace.warehouses.iceberg import IcebergKind, IcebergSettings
from lake_house import Clock, KilledError, expected_state, state, wide
from made_loads import CONSUMER, START, at, rows_of, tracks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Lake]]:
    """Opens the lake once more; those opened before stay as they are, as a killed or paused process would."""
    lakes: list[Lake] = []

    def one_more(**settings: Any) -> Lake:
        place = Place("lake", tmp_path, WarehouseConfig(memory_bytes=128_000_000))
        lakes.append(Lake(IcebergKind(IcebergSettings(**settings), place), clock))
        return lakes[-1]

    yield one_more
    for lake in lakes:
        lake.close()


@pytest.fixture
def lake(opened: Callable[[], Lake]) -> Lake:
    return opened()


class Killing:
    """Counts the steps of a load that change something durable, and kills before one of them: when all that it needs is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> None:
        self.steps = 0
        self._kill_at = kill_at
        for owner, name in (
            (FencedCatalog, "commit_table"),
            (FencedCatalog, "create_table"),
            (Housekeeping, "begin"),
            (Housekeeping, "finish"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.steps += 1
            if self.steps == self._kill_at:
                raise KilledError
            return step(*arguments, **named)

        return counted


def killed_and_repeated(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch, kill_at: int, *, first: bool
) -> tuple[Lake, int]:
    """Two loads, one of them killed at a step and made again by the next process. Returns the lake and the steps made."""
    lake = opened()
    loads = [wide(0, 4), wide(4, 9)]
    if not first:
        lake.commit(loads[0])
    with monkeypatch.context() as patched:
        killing = Killing(patched, kill_at)
        with suppress(KilledError):
            lake.commit(loads[0] if first else loads[1])
    clock.now += 60  # the killed loader's lease runs out
    again = opened()
    position = again.position(CONSUMER, 0)
    unfinished = again.unfinished(CONSUMER, 0)
    for one in loads:
        if position is None or position.next <= one.start:
            if unfinished is not None and unfinished.start == one.start:
                assert unfinished == Unfinished("log-1", one.start, one.end, one.started or START)
            again.commit(one)
    return again, killing.steps


@pytest.mark.parametrize("first", [True, False], ids=["first load", "later load"])
def test_a_load_killed_at_any_step_is_there_once_when_it_is_made_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, first: bool
) -> None:
    expected = expected_state(tmp_path)

    def killed(kill_at: int) -> int:
        lakes: list[Lake] = []

        def one_more() -> Lake:
            place = Place(f"killed-{kill_at}", tmp_path, WarehouseConfig(memory_bytes=128_000_000))
            lakes.append(Lake(IcebergKind(IcebergSettings(), place), clock))
            return lakes[-1]

        lake, steps = killed_and_repeated(one_more, clock, monkeypatch, kill_at, first=first)
        assert expected == state(lake), f"killed at step {kill_at}"
        assert lake.unfinished(CONSUMER, 0) is None
        for one in lakes:
            one.close()
        return steps

    steps = killed(0)  # nothing is
    assert steps == (11 if first else 7)  # begin and finish, five commits, and four tables are made
    # In the suite every other step of the first load, begin and finish among them, and every step of the later one.
    for kill_at in range(1, steps + 1, depth(2, 1) if first else 1):
        assert killed(kill_at) == kill_at


def test_a_load_killed_between_tables_is_there_twice_without_the_look_at_the_range(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_iceberg_load, "has_range", lambda *_: False)
    lake, _ = killed_and_repeated(opened, clock, monkeypatch, 5, first=False)
    stored = [len(state(lake)[table]) for table in ("shop.tracks", "shop.order_completed", "shop.identifies")]
    assert stored != [9, 9, 9]
    assert max(stored) == 14


def test_an_unfinished_loads_rows_are_left_out_of_look_ups(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = opened()
    lake.commit(wide(0, 4))
    with monkeypatch.context() as patched:
        patched.setattr(Housekeeping, "finish", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            lake.commit(wide(4, 9))
    clock.now += 60
    again = opened()
    assert Position("log-1", 4) == again.position(CONSUMER, 0)
    assert Unfinished("log-1", 4, 9, at(100_009)) == again.unfinished(CONSUMER, 0)
    spans = [(at(0), at(100))]
    assert {"e3"} == again.existing_ids("shop", ["e3", "e4", "e8"], spans)
    assert {"e0", "e1", "e2", "e3"} == {id_ for _, _, ids in again.ids_since("shop", at(0)) for id_ in ids}
    assert {"r4"} == again.rejected_ids("shop", ["r4", "r9"])
    again.commit(wide(4, 9))
    assert {"e3", "e4", "e8"} == again.existing_ids("shop", ["e3", "e4", "e8"], spans)
    assert {"r4", "r9"} == again.rejected_ids("shop", ["r4", "r9"])


def test_while_a_load_is_unfinished_another_range_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Housekeeping, "finish", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            lake.commit(tracks(0, 3, new=True))
    with pytest.raises(PositionError, match="unfinished"):
        lake.commit(tracks(0, 2, new=True))
    lake.commit(tracks(0, 3, new=True))
    assert [[3]] == rows_of(lake, "SELECT count(*) FROM shop.tracks")


# Two loaders.


def test_a_second_loader_waits_for_the_lease(opened: Callable[[], Lake], clock: Clock) -> None:
    first, second = opened(), opened()
    assert first.position(CONSUMER, 0) is None
    with pytest.raises(WarehouseUnavailableError, match="lease"):
        second.position(CONSUMER, 0)
    clock.now += 20
    first.commit(tracks(0, 3, new=True))  # renews it
    clock.now += 20
    with pytest.raises(WarehouseUnavailableError, match="lease"):
        second.position(CONSUMER, 0)
    first.close()
    assert Position("log-1", 3) == second.position(CONSUMER, 0)


def test_a_loader_that_lost_its_lease_must_not_go_on(opened: Callable[[], Lake], clock: Clock) -> None:
    paused, other = opened(), opened()
    paused.position(CONSUMER, 0)
    paused.commit(tracks(0, 3, new=True))
    clock.now += 60
    other.position(CONSUMER, 0)
    with pytest.raises(PositionError, match="lease"):
        paused.commit(tracks(3, 6))
    with pytest.raises(PositionError, match="lease"):
        paused.checkpoint()
    other.commit(tracks(3, 6))
    assert [[6]] == rows_of(other, "SELECT count(*) FROM shop.tracks")


def paused_at(lake: Lake, monkeypatch: pytest.MonkeyPatch, step: int, meanwhile: Callable[[], None]) -> None:
    """The load 4 to 9 stops just before its commit of a table, for longer than its lease; something happens; it goes on,
    whatever its lease says."""
    commits = 0
    commit_table = FencedCatalog.commit_table

    def pausing(catalog: Any, *arguments: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == step:
            monkeypatch.undo()
            meanwhile()
            monkeypatch.setattr(lake._books, "renew", lambda: None)
        return commit_table(catalog, *arguments)

    monkeypatch.setattr(FencedCatalog, "commit_table", pausing)
    lake.commit(wide(4, 9))


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_loader_paused_before_any_commit_doubles_nothing(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int
) -> None:
    paused, other = opened(), opened()
    paused.commit(wide(0, 4))

    def meanwhile() -> None:
        clock.now += 60
        other.position(CONSUMER, 0)
        other.commit(wide(4, 9))

    with pytest.raises((PositionError, WarehouseUnavailableError)):
        paused_at(paused, monkeypatch, step, meanwhile)
    assert expected_state(tmp_path) == state(other)


def test_a_paused_loader_doubles_rows_when_a_lost_race_is_repeated(
    opened: Callable[[], Lake], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: pyiceberg's own way."""
    monkeypatch.setattr(FencedCatalog, "commit_table", SqlCatalog.commit_table)
    paused, other = opened(), opened()
    paused.commit(wide(0, 4))
    commit_table, commits = SqlCatalog.commit_table, 0

    def pausing(catalog: Any, *arguments: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 1:
            clock.now += 60
            other.position(CONSUMER, 0)
            other.commit(wide(4, 9))
        return commit_table(catalog, *arguments)

    monkeypatch.setattr(FencedCatalog, "commit_table", pausing)
    with pytest.raises(PositionError):
        paused.commit(wide(4, 9))
    assert [["r4"], ["r9"], ["r9"]] == state(other)["rejected"]
