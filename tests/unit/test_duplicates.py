"""Which ids are in the warehouse already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbloom import Bloom

from headrace.loader.duplicates import Duplicates, Window
from headrace.warehouses.base import Books, Hour
from made_events import START

DAY = timedelta(days=1)


class Ids:
    """What `Duplicates` needs of a warehouse: ids with their received_at."""

    def __init__(self) -> None:
        self.received_at: dict[str, dict[str, datetime]] = {}
        self.rejected: set[str] = set()
        self.looked_up: list[str] = []

    def books(self) -> Mapping[Hour, Books]:
        return {Hour("shop", START): Books(rejected=len(self.rejected))}

    def ids_since(self, schema: str, since: datetime) -> Iterator[tuple[datetime, datetime, Sequence[str]]]:
        found = sorted((at, i) for i, at in self.received_at.get(schema, {}).items() if at >= since)
        for start in range(0, len(found), 100):
            block = found[start : start + 100]
            yield block[0][0], block[-1][0], [i for _, i in block]

    def existing_ids(self, schema: str, ids: Sequence[str], spans: Sequence[tuple[datetime, datetime]]) -> set[str]:
        self.looked_up += ids
        received = self.received_at.get(schema, {})
        return {i for i in ids if i in received and any(first <= received[i] <= last for first, last in spans)}

    def rejected_ids(self, source: str, ids: Sequence[str]) -> set[str]:
        return self.rejected & set(ids)


def opened(ids: Ids, now: datetime = START, days: float = 30, memory_bytes: int = 100_000_000) -> Duplicates:
    return Duplicates(ids, timedelta(days=days), memory_bytes, lambda: now)  # type: ignore[arg-type]  # a part of the port


def load(ids: Ids, known: Duplicates, batch: Sequence[str], at: datetime, schema: str = "shop") -> set[str]:
    """One load as the loader does it; returns what was found to be there already."""
    found = known.among("shop", schema, list(dict.fromkeys(batch)))
    new = {i: at for i in batch if i not in found}
    ids.received_at.setdefault(schema, {}).update(new)
    known.add(schema, new)
    return found


@given(
    batches=st.lists(st.lists(st.integers(0, 30).map(str), max_size=12), max_size=12),
    restarts=st.sets(st.integers(0, 12)),
    remember=st.booleans(),
)
def test_every_repetition_within_the_window_is_found(
    batches: list[list[str]], restarts: set[int], *, remember: bool
) -> None:
    ids = Ids()
    known = opened(ids)
    seen: set[str] = set()
    for number, batch in enumerate(batches):
        if number in restarts:
            known = opened(ids)
        if not remember:
            for window in known._window_by_schema.values():
                window._recent.clear()
        assert seen & set(batch) == load(ids, known, batch, START + number * timedelta(seconds=1))
        seen |= set(batch)


def test_without_the_warehouse_confirming_a_new_id_would_be_lost() -> None:
    """The control: filters alone call new ids possible."""
    window = Window(START)
    window.add([f"old-{number}" for number in range(4_000)], START, START)
    window.generations[0].bloom = Bloom(10, 0.5)
    window.generations[0].bloom.update(f"old-{number}" for number in range(4_000))
    new = [f"new-{number}" for number in range(100)]
    assert set() != window.among(new, lambda possible, _: set(possible))
    assert set() == window.among(new, lambda possible, _: set(possible) & {"old-1"})


def test_schemas_know_nothing_of_each_other() -> None:
    ids = Ids()
    known = opened(ids)
    load(ids, known, ["a"], START)
    assert set() == load(ids, known, ["a"], START, schema="other")


def test_rejected_events_count_as_there() -> None:
    ids = Ids()
    ids.rejected.add("bad")
    assert {"bad"} == opened(ids).among("shop", "shop", ["bad", "good"])
    assert {"bad"} == opened(ids).among("shop", None, ["bad", "good"])


def test_new_ids_hardly_ever_cost_a_look() -> None:
    ids = Ids()
    known = opened(ids)
    for number in range(50):
        load(ids, known, [f"{number}-{i}" for i in range(1_000)], START + number * DAY / 100)
    assert len(ids.looked_up) <= 5


def test_the_latest_ids_are_found_without_a_look() -> None:
    ids = Ids()
    known = opened(ids)
    load(ids, known, ["a", "b"], START)
    assert {"a", "b"} == load(ids, known, ["a", "b"], START)
    assert [] == ids.looked_up


def test_what_left_the_window_is_forgotten_and_the_window_says_so() -> None:
    ids = Ids()
    known = opened(ids, START, days=1)
    assert known.window_start("shop") is None
    load(ids, known, ["a"], START - 2 * DAY)
    assert START - DAY == known.window_start("shop")
    assert set() == set(known._window_by_schema["shop"].generations)


def test_the_oldest_generations_leave_when_memory_is_short() -> None:
    ids = Ids()
    known = opened(ids, START + DAY, memory_bytes=1_000_000)
    for number in range(100):
        load(ids, known, [f"{number}-{i}" for i in range(5_000)], START + number * timedelta(minutes=1))
        known._window_by_schema["shop"]._recent.clear()
        known._window_by_schema["shop"]._recent_before.clear()
    assert known.size_bytes() <= 1_000_000
    start = known.window_start("shop")
    assert start is not None
    assert START < start < START + timedelta(hours=100)
    inside = [i for i, at in ids.received_at["shop"].items() if at >= start]
    assert 0 < len(inside) < 500_000
    assert set(inside) == known.among("shop", "shop", inside)


def test_a_small_source_costs_kilobytes() -> None:
    ids = Ids()
    known = opened(ids)
    load(ids, known, ["a"], START)
    assert known.size_bytes() < 20_000


def test_a_restart_keeps_spans_of_time_apart() -> None:
    """The tables of a schema follow one another, each from its first time to its last."""
    window = Window(START)
    window.add(["a"], START, START + DAY)
    window.add(["b"], START + DAY, START + 2 * DAY)
    window.add(["c"], START, START + DAY, apart=True)
    assert [(START, START + 2 * DAY), (START, START + DAY)] == [(g.first, g.last) for g in window.generations]


@pytest.mark.parametrize("days", [30, 4_000_000])
def test_any_window_can_be_asked_for(days: float) -> None:
    assert set() == opened(Ids(), days=days).among("shop", "shop", ["a"])
