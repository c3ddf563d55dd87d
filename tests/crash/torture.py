"""A whole run of rounds, and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crash.kills import Round, Rounds, seconds
from crash.scene import Scene
from crash.traffic import Mix
from crash.verdict import Verdict


class Report(NamedTuple):
    rounds: Sequence[Round]
    verdict: Verdict
    sent: int
    checked_books: int

    def lines(self) -> list[str]:
        verdict = self.verdict
        manners = sorted({(r.victim, r.manner) for r in self.rounds})
        kinds = [f"{sum((r.victim, r.manner) == kind for r in self.rounds)} {' '.join(kind)}" for kind in manners]
        doors = [r.door_seconds for r in self.rounds]
        tables = [r.tables_seconds for r in self.rounds if r.tables_seconds is not None]
        return [
            f"rounds                     {len(self.rounds)} ({', '.join(kinds)})",
            f"events sent                {self.sent}",
            f"acknowledged               {verdict.acknowledged}",
            f"lost                       {len(verdict.lost)}",
            f"doubled                    {len(verdict.doubled)}",
            f"rejected                   {verdict.rejected}",
            f"unacknowledged, yet stored {verdict.unacknowledged_stored}",
            f"books checked under load   {self.checked_books} times",
            f"seconds to acknowledge     {seconds(doors)}",
            f"seconds until in tables    {seconds(tables)}",
            *(f"FAULT: {fault}" for fault in verdict.faults),
        ]


def torture(
    folder: Path,
    rounds: int,
    seed: int,
    *,
    stand_ins: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    victims: Mapping[str, int] | None = None,
    manners: Mapping[str, int] | None = None,
    mix: Mix | None = None,
    settle_seconds: float = 120.0,
    is_control: bool = False,
    tell: bool = False,
    stage: Callable[..., Scene] = Scene,
) -> Report:
    """Kill and recover `rounds` times under load, then judge. `stage` makes the scene."""
    scene = stage(folder, seed, stand_ins=stand_ins, settings=settings, mix=mix)
    with scene:
        scene.flow()
        done = Rounds(scene, seed, victims, manners, is_control=is_control).run(rounds, tell=tell)
        verdict = scene.verdict(settle_seconds)
        return Report(done, verdict, len(scene.ledger.own_table_by_id), scene.checked_books)
