"""The machine during a measurement: CPU and memory of processes, what others used meanwhile, a yardstick."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

TICKS = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2  # linux/posix-timers.h: the clock of a whole process
CORES = os.cpu_count() or 1
QUIET_YARDSTICK = 8.7
"""CPU us of one json.loads of an event of 1.1 KB on the quiet machine for which the limits were set."""
QUIET_BYTES = 1_100
VERSIONS = ("duckdb", "httptools", "msgspec", "pyarrow", "rbloom", "uvicorn", "uvloop", "zstandard")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, ended ones too, in nanoseconds' resolution."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


class Memory(NamedTuple):
    """In MB. `pss` counts pages that processes share once, divided among them."""

    rss: float
    pss: float

    def __add__(self, other: object) -> Memory:  # sums, where a plain tuple would be joined
        return Memory(self.rss + other.rss, self.pss + other.pss) if isinstance(other, Memory) else NotImplemented


def memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(kilobytes["Rss"] * 1024 / 1e6, kilobytes["Pss"] * 1024 / 1e6)


def yardstick(event: bytes, seconds: float = 0.05) -> float:
    """CPU us of json.loads now, for 1.1 KB of an event like this one."""
    text = event.decode()
    rounds = 200
    samples: list[float] = []
    ends = time.thread_time() + seconds
    while not samples or time.thread_time() < ends:
        began = time.thread_time_ns()
        for _ in range(rounds):
            json.loads(text)
        samples.append((time.thread_time_ns() - began) / rounds / 1e3)
    return statistics.median(samples) * QUIET_BYTES / len(event)


def _all_cores() -> tuple[float, float]:
    """Seconds of CPU used on all cores since the start of the machine, and seconds that its host took away."""
    user, nice, system, _, _, irq, softirq, steal, *_ = (
        int(field) / TICKS for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return user + nice + system + irq + softirq, steal


def _own() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Watch:
    """What others did on the machine while a part was measured. Every process of the part must have ended with it."""

    def __enter__(self) -> Self:
        self._began, self._own, (self._used, self._steal) = time.monotonic(), _own(), _all_cores()
        self._load_before = os.getloadavg()[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.monotonic() - self._began
        used, steal = _all_cores()
        whole = self.seconds * CORES
        self.others = max(0.0, used - self._used - (_own() - self._own)) / whole
        self.stolen = (steal - self._steal) / whole
        self.load = (self._load_before, os.getloadavg()[0])

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s; load average {self.load[0]:.2f} before, {self.load[1]:.2f} after (own processes "
            f"included); other processes used {self.others:.0%} of the cores, the host took {self.stolen:.0%}"
        )


def description() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return f"{CORES} cores ({model}), {total:.0f} GB, Linux {platform.release()}, Python {platform.python_version()}, {versions}"
