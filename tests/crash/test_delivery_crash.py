"""kill -9 at random while events are delivered: each arrives at least once, once where the receiver drops repeats, and the books say
exactly that. The controls must be found out.

More rounds by DEPTH=full, and as many as one likes by `make crash DELIVERY=1 ROUNDS=N`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crash.delivering import torture
from crash.delivery_scene import DeliveryScene
from depth import depth


def test_acknowledged_events_are_delivered_after_kill_9_of_worker_supervisor_and_receiver(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    need("strace")
    report = torture(
        tmp_path, depth(4, 15), seed=37202
    )  # its first four rounds kill all there is, at once and at a write
    print("\n".join(report.lines()))
    assert [] == report.verdict.faults
    assert report.verdict.acknowledged > 300


def test_the_oracle_finds_a_delivery_that_moves_on_before_the_outcome_and_a_receiver_that_takes_one_twice(
    tmp_path: Path,
) -> None:
    doubled = []

    def take_one_twice(scene: DeliveryScene) -> None:
        file = scene.receivers["drops"].file
        last = file.read_text().splitlines()[-1]
        file.write_text(f"{file.read_text()}{last}\n")
        doubled.append(last)

    report = torture(
        tmp_path,
        2,
        seed=2,
        stand_ins=["early_positions"],
        victims={"worker": 1},
        manners={"at once": 1},
        answer_seconds=0.3,
        settle_seconds=1.0,
        is_control=True,
        tamper=take_one_twice,
    )
    print("\n".join(report.lines()))
    # One kill may find nothing on its way to one of them.
    assert any(of.lost for of in report.verdict.arrived.values())
    assert 1 == sum(len(of.doubled) for slug, of in report.verdict.arrived.items() if slug != "batches")
    assert any("doubled" in fault for fault in report.verdict.faults)
    assert len(doubled) == 1
