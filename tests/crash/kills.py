"""Rounds of kill -9 under load on one data folder."""

from __future__ import annotations

import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import psutil

from crash.scene import Scene

VICTIMS: Final = {"collector": 9, "worker": 7, "supervisor": 3, "both": 1}
MANNERS: Final = {"at once": 6, "at a write": 1, "at a sync": 1}
IMPATIENT: Final = 0.5
"""The share of rounds in which the next kill does not wait until the tables are filled again."""
SYSTEM_CALLS: Final = {
    "at a write": "write,writev,pwrite64,pwritev,ftruncate",
    "at a sync": "fsync,fdatasync,msync,sync_file_range",
}
STRACE_SECONDS: Final = 2.0


class Round(NamedTuple):
    """`door_seconds`: from the kill to the first acknowledgement of a request begun after it; `tables_seconds`: until
    such events were in the tables, None where the next kill came before."""

    victim: str
    manner: str
    door_seconds: float
    tables_seconds: float | None


class Rounds:
    """Kills by seed. The traffic must be flowing."""

    def __init__(
        self,
        scene: Scene,
        seed: int,
        victims: Mapping[str, int] | None = None,
        manners: Mapping[str, int] | None = None,
        *,
        is_control: bool = False,
    ) -> None:
        """A control's books need not add up, and every round of it waits until the tables are filled again."""
        self._scene = scene
        self._status = scene.server.status if is_control else scene.status
        self._impatient = 0.0 if is_control else IMPATIENT
        self._random = random.Random(f"rounds {seed}")
        self._victims = dict(victims or VICTIMS)
        self._manners = dict(manners or MANNERS) if shutil.which("strace") else {"at once": 1}
        self.done: list[Round] = []

    def run(self, count: int, *, tell: bool = False) -> Sequence[Round]:
        for number in range(count):
            time.sleep(self._random.uniform(0.0, 0.5))
            self.done.append(self._round())
            if tell and (number + 1) % 20 == 0:
                print(f"{number + 1} rounds, {len(self._scene.ledger.acknowledged)} acknowledged", flush=True)
        return self.done

    def _draw(self, weights: Mapping[str, int]) -> str:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _round(self) -> Round:
        victim = self._draw(self._victims)
        manner = self._draw(self._manners) if victim in ("collector", "worker") else "at once"
        nth = self._random.randint(1, 8)
        impatient = self._random.random() < self._impatient
        if victim == "supervisor":
            killed = time.monotonic()
            self._kill_supervisor()
        else:
            roles = ("collector", "worker") if victim == "both" else (victim,)
            killed = self._kill([self._scene.child(role) for role in roles], manner, nth)
        door = self._scene.acknowledges(killed)
        return Round(victim, manner, door, None if impatient else self._tables(killed))

    def _kill(self, processes: Sequence[psutil.Process], manner: str, nth: int) -> float:
        """Returns when they are dead; the time of it."""
        for process in processes:
            if manner != "at once":
                _kill_at(process, SYSTEM_CALLS[manner], nth)
            if process.is_running():
                process.kill()
        killed = time.monotonic()
        psutil.wait_procs(processes, 30)
        return killed

    def _kill_supervisor(self) -> None:
        children = self._scene.children()
        self._scene.server.kill()
        _, alive = psutil.wait_procs(children, 30)
        assert alive == [], "children outlive the supervisor's kill -9"
        self._scene.server.start()

    def _tables(self, killed: float) -> float:
        """Wait until what was acknowledged after the kill is in the tables."""
        ends = time.monotonic() + 60
        wanted = [partition["next"] for partition in self._status()["partitions"]]
        while True:
            reached = [partition["position"] for partition in self._status()["partitions"]]
            if all(there >= want for there, want in zip(reached, wanted, strict=True)):
                return time.monotonic() - killed
            assert time.monotonic() < ends, f"loading does not go on:\n{self._scene.server.tail()}"
            time.sleep(0.1)


def _kill_at(process: psutil.Process, system_calls: str, nth: int) -> None:
    """kill -9 by the kernel at the nth of these system calls. Gives up when none comes."""
    command = ["strace", "-qq", "-f", "-o", "/dev/null", "-p", str(process.pid), "-e", f"trace={system_calls}"]
    inject = ["-e", f"inject={system_calls}:signal=KILL:when={nth}"]
    tracer = subprocess.Popen([*command, *inject], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(STRACE_SECONDS)
    except psutil.TimeoutExpired:
        pass
    finally:
        tracer.kill()
        tracer.wait()


def seconds(values: Sequence[float]) -> str:
    """Median and maximum, as text."""
    return f"median {statistics.median(values):.2f}, max {max(values):.2f}" if values else "none"
