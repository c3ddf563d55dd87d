"""Deliveries to a tool on loopback: what an event costs, how soon it is there, and what two broken tools do to a third.

    python bench/delivery.py [batches,single,soon,broken]

The hour of the last part runs on a scaled clock: the time-outs of the broken tools, the pauses of the circuit and the delays of retries
are divided by SCALE, so that a quarter of a minute holds as many attempts, probes and time-outs as a quarter of an hour. Events come at
their real rate, so of those that wait there are as many fewer. The third tool keeps its own time-outs, and what is timed is not scaled.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from client import Client, Job
from delivery_process import SAMPLE_SECONDS, Result, result, start
from delivery_process import Job as Part
from delivery_receiver import receiving, seconds_of
from figures import Figure, table
from freshness import SOURCES, streams
from machine import Watch
from server import Server

EVENTS = 50_000
BATCH = 100
ROUNDS = 5
SINGLE_EVENTS = 2_000
PER_SECOND = 1_000.0
SOON_SECONDS = 30.0
SCALE = 60.0
QUARTERS = 4
QUARTER_SECONDS = 15.0
WARM_SECONDS = 3.0
BEFORE_EVENTS = 60_000
"""In the log before a quarter begins, so that what is kept of the log in memory is as large as it gets."""
CATCH_UP_SECONDS = 120.0

CPU_LIMIT_US = 100.0
SINGLE_LIMIT = 3.0
SOON_LIMIT_SECONDS = 1.0
CHANGE_LIMIT_PERCENT = 10.0
GROWTH_LIMIT_MB = 20.0


def batches(folder: Path) -> list[Figure]:
    result(start(Part("fill", str(folder), EVENTS)))
    with receiving() as origin:
        tool = {"tool": {"url": f"{origin}/fast", "batch_events": BATCH}}
        found = result(start(Part("drain", str(folder), EVENTS, settings=tool, rounds=ROUNDS)))
    cost = statistics.median(found.cpu_us)
    print(
        f"  {EVENTS} events of Selligent in batches of {BATCH}: {_listed(found.cpu_us)} us CPU an event, all threads of a process that only "
        f"delivers; {1e6 / cost:.0f} events a second and core"
    )
    return [Figure(f"delivery in batches of {BATCH}", "us CPU an event", cost, CPU_LIMIT_US, found.yardstick)]


def single(folder: Path) -> list[Figure]:
    result(start(Part("fill", str(folder), SINGLE_EVENTS)))
    with receiving() as origin:
        tool = {"tool": {"url": f"{origin}/fast"}}
        found = result(start(Part("single", str(folder), SINGLE_EVENTS, settings=tool, rounds=ROUNDS)))
    ratio = statistics.median(own / bare for own, bare in zip(found.cpu_us, found.bare_us, strict=True))
    print(
        f"  single requests: {_listed(found.cpu_us)} us CPU each, log and books included; a bare httpx client, one after the other, {_listed(found.bare_us)}"
    )
    return [Figure("delivery by single requests, of a bare httpx client", "times its CPU", ratio, SINGLE_LIMIT)]


def soon(folder: Path) -> list[Figure]:
    with receiving() as origin, Server(folder / "data", {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8"}) as server:
        sources = {kind: server.add_source(f"Bench {kind}", kind) for kind, _ in SOURCES}
        connected = [option for source in sources.values() for option in ("--source", source.slug)]
        settings = ("--set", f"url={origin}/timed", "--set", f"batch_events={BATCH}")
        server.command("destination", "add", "webhook", "--name", "Tool", *connected, *settings)
        mixture = streams({kind: source.write_key for kind, source in sources.items()})
        turn = sum(s.weight for s in mixture), sum(s.weight * (s.batch or 1) for s in mixture)
        with Client(Job(server.port, mixture, 16, PER_SECOND * turn[0] / turn[1])) as client:
            client.run(WARM_SECONDS)
            seconds_of(origin)
            sent = client.run(SOON_SECONDS)
        waits = _arrived(origin, sent.events)
    print(
        f"  a whole server at {sent.events / sent.seconds:.0f} events a second, {len(waits)} delivered: from received to the tool median "
        f"{statistics.median(waits):.3f} s, p99 {_p99(waits):.3f} s, longest {max(waits):.3f} s"
    )
    return [Figure("received to delivered, 1,000 events a second, p99", "s", _p99(waits), SOON_LIMIT_SECONDS)]


def _arrived(origin: str, count: int, patience_seconds: float = 10.0) -> list[float]:
    """The waits of so many events; those that do not come in time waited for ever."""
    waits: list[float] = []
    ends = time.monotonic() + patience_seconds
    while len(waits) < count and time.monotonic() < ends:
        waits += seconds_of(origin)
        time.sleep(0.2)
    return waits + [float("inf")] * (count - len(waits))


def broken(folder: Path) -> list[Figure]:
    """Quarters of an hour with the two broken tools and without them, in turn."""
    alone, beside, grown = [], [], []
    filled = folder / "filled"
    filled.mkdir()
    result(start(Part("fill", str(filled), BEFORE_EVENTS)))
    with receiving() as origin:
        third = {"third": {"url": f"{origin}/timed", "batch_events": BATCH}}
        others = {name: {"url": f"{origin}/{name}", "batch_events": BATCH} for name in ("hangs", "broken")}
        for _ in range(QUARTERS):
            alone.append(_quarter(filled, origin, third)[0])
            waits, found = _quarter(filled, origin, {**third, **others})
            beside.append(waits)
            settled = found.megabytes[-int(QUARTER_SECONDS / SAMPLE_SECONDS) :]
            grown.append(settled[-1] - settled[0])
            unexpected = {slug: n for slug, n in found.delivered.items() if n and slug != "third"}
            assert not unexpected, f"a broken tool took events: {unexpected}"
    without, with_them = (statistics.median(_p99(waits) for waits in quarters) for quarters in (alone, beside))
    print(
        f"  a third tool beside one that hangs and one that answers 500, {QUARTERS} times {QUARTER_SECONDS * SCALE / 60:.0f} min on a clock "
        f"scaled by {SCALE:.0f} (their time-outs, pauses, delays of retries): p99 {with_them * 1e3:.0f} ms, without them "
        f"{without * 1e3:.0f} ms ({_listed([_p99(w) * 1e3 for w in beside])} and {_listed([_p99(w) * 1e3 for w in alone])}); "
        f"memory grew by {_listed(grown)} MB"
    )
    return [
        Figure("p99 of a third tool, change", "%", max(0.0, (with_them / without - 1) * 100), CHANGE_LIMIT_PERCENT),
        Figure("memory during a quarter", "MB more", max(statistics.median(grown), 0.0), GROWTH_LIMIT_MB),
    ]


def _quarter(filled: Path, origin: str, settings: Mapping[str, dict[str, Any]]) -> tuple[list[float], Result]:
    """The waits of the events that came in the quarter, and what the process says."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        shutil.copytree(filled, name, dirs_exist_ok=True)
        scaled = [slug for slug in settings if slug != "third"]
        delivering = start(Part("follow", name, settings=dict(settings), scale=SCALE, scaled=scaled))
        writing = start(Part("write", name, per_second=PER_SECOND))
        _arrived(origin, BEFORE_EVENTS, CATCH_UP_SECONDS)
        time.sleep(WARM_SECONDS)
        seconds_of(origin)
        time.sleep(QUARTER_SECONDS)
        waits = seconds_of(origin)
        result(writing)
        return waits, result(delivering)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in values)


PARTS: Mapping[str, Callable[[Path], list[Figure]]] = {
    "batches": batches,
    "single": single,
    "soon": soon,
    "broken": broken,
}


def figures(chosen: Sequence[str] = tuple(PARTS)) -> list[Figure]:
    found: list[Figure] = []
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
            found += PARTS[name](Path(folder))
        print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="?", default="", help=f"of {', '.join(PARTS)}; all of them if empty")
    print(table(figures(parser.parse_args().parts.replace(",", " ").split() or list(PARTS))))


if __name__ == "__main__":
    main()
