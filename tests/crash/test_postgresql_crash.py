"""kill -9 at random under load with PostgreSQL as warehouse, and two loaders of it at once. The controls must be found out.

A few rounds each; more by DEPTH=full, and as many as one likes by `python tests/crash/run.py --warehouse postgresql --rounds N`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from crash.contest import contest
from crash.postgresql_scene import PostgreSQLScene
from crash.torture import torture
from crash.traffic import Mix
from depth import depth
from postgresql_server import PostgreSQLServer


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    yield server
    server.remove()


def test_acknowledged_events_are_in_postgresql_exactly_once_after_kill_9_of_every_process(
    tmp_path: Path, postgresql: PostgreSQLServer, need: Callable[[str], str]
) -> None:
    """A seed whose first four rounds kill every process, at a write, at a sync and at once."""
    need("strace")
    report = torture(tmp_path, depth(4, 7), seed=332, stage=partial(PostgreSQLScene, postgresql=postgresql))
    print("\n".join(report.lines()))
    assert [] == report.verdict.faults
    assert report.verdict.acknowledged > 500


def test_the_oracle_finds_a_loader_of_postgresql_without_compare_and_set(
    tmp_path: Path, postgresql: PostgreSQLServer
) -> None:
    report = torture(
        tmp_path,
        2,
        seed=2,
        stand_ins=["late_positions"],
        victims={"worker": 1},
        manners={"at once": 1},
        mix=Mix(repeats=0.0),
        settle_seconds=1.0,
        is_control=True,
        stage=partial(PostgreSQLScene, postgresql=postgresql),
    )
    assert report.verdict.doubled
    assert [] == list(report.verdict.lost)


def test_of_two_loaders_that_are_killed_and_paused_one_is_fenced_and_nothing_is_lost_or_doubled(
    tmp_path: Path, postgresql: PostgreSQLServer
) -> None:
    """A seed whose first four rounds kill and pause either and both."""
    outcome = contest(PostgreSQLScene(tmp_path, 3, postgresql=postgresql), depth(4, 8), seed=8)
    print("\n".join(outcome.lines()))
    assert [] == outcome.verdict.faults
    assert outcome.verdict.acknowledged > 500
    assert sum(outcome.fenced) > 0


def test_two_loaders_without_compare_and_set_double(tmp_path: Path, postgresql: PostgreSQLServer) -> None:
    without = ["blind_positions"]
    scene = PostgreSQLScene(tmp_path, 4, postgresql=postgresql, stand_ins=without, mix=Mix(repeats=0.0))
    outcome = contest(scene, 2, seed=4, stand_ins=without, settle_seconds=2.0, is_control=True)
    assert outcome.verdict.doubled
    assert 0 == sum(outcome.fenced)
