"""kill -9 at random under load: what was acknowledged is in the warehouse once. The controls must be found out.

More rounds by DEPTH=full, and as many as one likes by `make crash ROUNDS=N`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crash.torture import torture
from crash.traffic import Mix
from depth import depth

AT_ONCE = {"at once": 1}


def test_acknowledged_events_survive_kill_9_of_every_process_exactly_once(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    need("strace")
    report = torture(tmp_path, depth(8, 15), seed=2939)  # its first eight rounds are of eight kinds, all there are
    print("\n".join(report.lines()))
    assert [] == report.verdict.faults
    assert report.verdict.acknowledged > 1_000


def test_the_oracle_finds_a_loader_without_compare_and_set(tmp_path: Path) -> None:
    report = torture(
        tmp_path,
        2,
        seed=2,
        stand_ins=["late_offsets"],
        victims={"worker": 1},
        manners=AT_ONCE,
        mix=Mix(repeats=0.0),
        settle_seconds=1.0,
        is_control=True,
    )
    assert report.verdict.doubled
    assert [] == list(report.verdict.lost)


def test_the_oracle_finds_a_collector_that_answers_too_early(tmp_path: Path) -> None:
    report = torture(
        tmp_path,
        2,
        seed=3,
        stand_ins=["early_answers"],
        settings={"HEADRACE_LOG_LINGER_SECONDS": "0.5"},
        victims={"collector": 1},
        manners=AT_ONCE,
        settle_seconds=1.0,
        is_control=True,
    )
    assert report.verdict.lost
    assert [] == list(report.verdict.doubled)
