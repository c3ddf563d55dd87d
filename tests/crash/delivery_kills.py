"""Rounds of kill -9 against delivery: of the worker, the supervisor and the receivers, at any moment and at writes of the books."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import psutil

from crash.delivery_scene import DeliveryScene
from crash.kills import STRACE_SECONDS, SYSTEM_CALLS

VICTIMS: Final = {"worker": 10, "supervisor": 3, "keeps": 3, "drops": 3, "worker and drops": 1}
MANNERS: Final = {"at once": 3, "at a write": 5, "at a sync": 1}
IMPATIENT: Final = 0.4
"""The share of rounds in which the next kill does not wait until events arrive again."""
LONGEST_ABSENCE_SECONDS: Final = 2.0
"""A receiver stays away for up to this long: some absences open the circuit, others do not."""


class Round(NamedTuple):
    """`seconds`: from the kill until an event of a request begun after it had arrived from every destination; None where the next
    kill came before."""

    victim: str
    manner: str
    seconds: float | None


class DeliveryRounds:
    """Kills by seed. The traffic must be flowing. `was_traced` says that a kill at a system call found one."""

    def __init__(
        self,
        scene: DeliveryScene,
        seed: int,
        victims: Mapping[str, int] | None = None,
        manners: Mapping[str, int] | None = None,
        *,
        is_control: bool = False,
    ) -> None:
        """A control's events need not arrive: its rounds do not wait for them."""
        self._scene = scene
        self._impatient = 1.0 if is_control else IMPATIENT
        self._random = random.Random(f"delivery rounds {seed}")
        self._victims = dict(victims or VICTIMS)
        self._manners = dict(manners or MANNERS) if shutil.which("strace") else {"at once": 1}
        self.done: list[Round] = []

    def run(self, count: int, *, tell: bool = False) -> Sequence[Round]:
        for number in range(count):
            time.sleep(self._random.uniform(0.0, 0.7))
            self.done.append(self._round())
            if tell and (number + 1) % 10 == 0:
                print(f"{number + 1} rounds, {len(self._scene.ledger.acknowledged)} acknowledged", flush=True)
        return self.done

    def _draw(self, weights: Mapping[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _round(self) -> Round:
        victim = self._draw(self._victims)
        manner = self._draw(self._manners) if victim.startswith("worker") else "at once"
        nth, absence = self._random.randint(1, 12), self._random.uniform(0.0, LONGEST_ABSENCE_SECONDS)
        is_impatient = self._random.random() < self._impatient
        killed = time.monotonic()
        if victim == "supervisor":
            self._scene.server.kill()
            self._scene.server.start()
        elif victim.startswith("worker"):
            manner = self._kill_worker(manner, nth)
            killed = time.monotonic()
        for receiver in (part for part in victim.split(" and ") if part in self._scene.receivers):
            self._scene.receivers[receiver].kill()
            time.sleep(absence)
            self._scene.receivers[receiver].start()
        return Round(victim, manner, None if is_impatient else self._scene.arrives(killed))

    def _kill_worker(self, manner: str, nth: int) -> str:
        """Returns in which manner it died."""
        worker = self._scene.child("worker")
        if manner != "at once" and not self._kill_at(worker, SYSTEM_CALLS[manner], nth):
            manner = "at once"
        if worker.is_running():
            worker.kill()
        psutil.wait_procs([worker], 5)
        return manner

    def _kill_at(self, process: psutil.Process, system_calls: str, nth: int) -> bool:
        """kill -9 by the kernel at the nth of these system calls on a file of the books, counted by thread. Whether one came."""
        files = [file for of in ("*.db", "*.db-wal") for file in self._scene.books.glob(of)]
        paths = [option for file in files for option in ("-P", str(file))]
        command = ["strace", "-qq", "-f", "-o", "/dev/null", *paths, "-p", str(process.pid)]
        command += ["-e", f"trace={system_calls}", "-e", f"inject={system_calls}:signal=KILL:when={nth}"]
        tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(STRACE_SECONDS)
        except psutil.TimeoutExpired:
            return False
        else:
            return True
        finally:
            tracer.kill()
            tracer.wait()
