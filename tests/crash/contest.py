"""Two loaders of one warehouse: a server's worker and a process beside it, killed and paused at random under load."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

import psutil

from crash.kills import Round, Rounds, seconds
from crash.postgresql_scene import SLUG, PostgreSQLScene
from crash.verdict import Verdict

ROLES: Final = {"worker": 4, "rival": 4, "both": 2, "collector": 1}
WAYS: Final = {"killed": 3, "paused": 2}
PAUSE_SECONDS: Final = (0.2, 1.2)
ENDED: Final = "warehouse team: loading has stopped: load: consumer team"


class Rival:
    """The process of competing.py, started again after each kill."""

    def __init__(self, scene: PostgreSQLScene, stand_ins: Sequence[str]) -> None:
        self._arguments = [str(scene.server.data), SLUG, *stand_ins]
        self.output = scene.server.data.parent / "rival.txt"
        self._process: psutil.Popen | None = None
        self._written: IO[bytes] = self.output.open("ab")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._written.close()

    def start(self) -> None:
        program = Path(__file__).parent / "competing.py"
        self._process = psutil.Popen(
            [sys.executable, str(program), *self._arguments], stdout=self._written, stderr=subprocess.STDOUT
        )

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None, "the rival was not started"
        return psutil.Process(self._process.pid)

    def revive(self) -> None:
        """After a kill. Nobody else might load: a worker that was fenced has stopped for good."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def lines(self, word: str) -> list[str]:
        return [line for line in self.output.read_text(errors="replace").splitlines() if line.startswith(word)]


class Contest(Rounds):
    """Every round ends with all that was acknowledged in the tables, one of the two having loaded it."""

    def __init__(self, scene: PostgreSQLScene, rival: Rival, seed: int, *, is_control: bool = False) -> None:
        super().__init__(scene, seed, ROLES, WAYS, is_control=is_control)
        self._manners = dict(WAYS)
        self._rival = rival

    def _round(self) -> Round:
        role, way = self._draw(self._victims), self._draw(self._manners)
        way = "killed" if role == "collector" else way
        impatient = self._random.random() < self._impatient
        processes = self._processes(role)
        began = time.monotonic()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill() if way == "killed" else process.suspend()
        if way == "paused":
            time.sleep(self._random.uniform(*PAUSE_SECONDS))
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
        else:
            psutil.wait_procs(processes, 5)
        self._rival.revive()
        door = self._scene.acknowledges(began)
        tables = None if impatient else self._tables(began)
        return Round(role, way, door, tables)

    def _processes(self, role: str) -> list[psutil.Process]:
        if role == "both":
            return [self._scene.child("worker"), self._rival.process]
        return [self._rival.process if role == "rival" else self._scene.child(role)]


class Outcome(NamedTuple):
    """`fenced` counts refusals of the compare-and-set: at the worker, at the rival."""

    rounds: Sequence[Round]
    verdict: Verdict
    fenced: tuple[int, int]
    rival_loads: int

    def lines(self) -> list[str]:
        kinds = dict.fromkeys(sorted({f"{r.victim} {r.manner}" for r in self.rounds}), 0)
        for round_ in self.rounds:
            kinds[f"{round_.victim} {round_.manner}"] += 1
        tables = [r.tables_seconds for r in self.rounds if r.tables_seconds is not None]
        return [
            f"rounds of two loaders      {len(self.rounds)} ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})",
            f"acknowledged               {self.verdict.acknowledged}",
            f"lost                       {len(self.verdict.lost)}",
            f"doubled                    {len(self.verdict.doubled)}",
            f"fenced                     {self.fenced[0]} worker, {self.fenced[1]} rival",
            f"loads of the rival         {self.rival_loads}",
            f"seconds to acknowledge     {seconds([r.door_seconds for r in self.rounds])}",
            f"seconds until in tables    {seconds(tables)}",
            *(f"FAULT: {fault}" for fault in self.verdict.faults),
        ]


def contest(
    scene: PostgreSQLScene,
    rounds: int,
    seed: int,
    *,
    stand_ins: Sequence[str] = (),
    settle_seconds: float = 120.0,
    is_control: bool = False,
    tell: bool = False,
) -> Outcome:
    """`stand_ins` are the rival's; the scene has its own."""
    with scene, Rival(scene, stand_ins) as rival:
        scene.flow()
        done = Contest(scene, rival, seed, is_control=is_control).run(rounds, tell=tell)
        verdict = scene.verdict(settle_seconds)
        fenced = (scene.server.output.read_text(errors="replace").count(ENDED), len(rival.lines("fenced")))
        return Outcome(done, verdict, fenced, len(rival.lines("load")))
