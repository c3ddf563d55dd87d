"""A whole run of rounds against delivery, and its report."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from crash.delivery_kills import DeliveryRounds, Round
from crash.delivery_scene import DESTINATIONS, DeliveryScene
from crash.delivery_verdict import DeliveryVerdict, judge
from crash.kills import seconds


class Report(NamedTuple):
    rounds: Sequence[Round]
    verdict: DeliveryVerdict
    sent: int

    def lines(self) -> list[str]:
        kinds = sorted({(r.victim, r.manner) for r in self.rounds})
        told = [f"{sum((r.victim, r.manner) == kind for r in self.rounds)} {' '.join(kind)}" for kind in kinds]
        recovered = [r.seconds for r in self.rounds if r.seconds is not None]
        lines = [
            f"rounds                     {len(self.rounds)} ({', '.join(told)})",
            f"events sent                {self.sent}",
            f"acknowledged               {self.verdict.acknowledged}",
            f"seconds until they arrive  {seconds(recovered)}",
        ]
        for wanted in DESTINATIONS:
            of = self.verdict.arrived[wanted.slug]
            repeats = f", {of.repeats} repeats" if wanted.receiver == "keeps" else ""
            found = f"{of.received}; {len(of.lost)} lost, {len(of.doubled)} doubled{repeats}"
            books = ", ".join(f"{n} {name}" for name, n in of.books.items() if n)
            lines += [
                f"{wanted.slug:<27}received by one that {wanted.receiver}: {found}",
                f"{'  its books':<27}{books}",
            ]
        return [*lines, *(f"FAULT: {fault}" for fault in self.verdict.faults)]


def torture(
    folder: Path,
    rounds: int,
    seed: int,
    *,
    stand_ins: Sequence[str] = (),
    victims: Mapping[str, int] | None = None,
    manners: Mapping[str, int] | None = None,
    answer_seconds: float = 0.0,
    settle_seconds: float = 120.0,
    is_control: bool = False,
    tamper: Callable[[DeliveryScene], None] = lambda _: None,
    tell: bool = False,
) -> Report:
    """Kill and recover `rounds` times under load, then judge. `tamper` is called right before, for controls of the oracle."""
    scene = DeliveryScene(folder, seed, stand_ins=stand_ins, answer_seconds=answer_seconds)
    with scene:
        scene.flow()
        done = DeliveryRounds(scene, seed, victims, manners, is_control=is_control).run(rounds, tell=tell)
        scene.ebb()
        _settle(scene, settle_seconds)
        code = scene.server.stop()
        tamper(scene)
        verdict = judge(scene)
        if code:
            verdict = verdict._replace(other_faults=[*verdict.other_faults, f"the server's exit code is {code}"])
        return Report(done, verdict, len(scene.ledger.own_table_by_id))


def _settle(scene: DeliveryScene, timeout_seconds: float) -> None:
    """Until every destination has come to the end of the log and nothing is retried, or the time is over: the verdict tells."""
    ends = time.monotonic() + timeout_seconds
    wanted = scene.server.status()["partitions"][0]["next"]
    while time.monotonic() < ends and not all(_is_done(scene.books / f"{d.slug}.db", wanted) for d in DESTINATIONS):
        time.sleep(0.1)


def _is_done(books: Path, end: int) -> bool:
    with closing(sqlite3.connect(f"file:{books}?mode=ro", uri=True)) as connection:
        at = connection.execute("SELECT next FROM positions").fetchone()[0]
        retrying = connection.execute("SELECT count(*) FROM events WHERE outcome = 'retrying'").fetchone()[0]
    return bool(at >= end and not retrying)
