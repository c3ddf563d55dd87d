"""CPU of the collector: a durable event a request beside nginx returning a static 200, and batches of 100.

    python bench/collector.py [--rounds 21] [--seconds 0.7]

The collector runs alone, without the worker. CPU is user and system time of the process with all its threads, and medians over rounds
that alternate. Every answer is checked to be 200, and at the end the log's own count to be what was sent.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import samples
import servers
from client import Client, Job, Stream
from figures import Figure, table
from machine import Watch, cpu_seconds, yardstick

TIMES_NGINX = 8.0
BATCH_LIMIT_US = 8.0
REQUESTS = {"collector": 8_000, "nginx": 16_000}
"""In a second's round, roughly."""
BATCHES = 400


class Batches(NamedTuple):
    what: str
    source: str
    kind: samples.Kind
    compressed: bool


KINDS: Sequence[tuple[str, str, samples.Kind]] = (
    ("http-api, events of SDKs", "http-api", "sdk"),
    ("http-api, 1 KB events", "http-api", "single"),
    ("selligent-marketing-cloud", "selligent-marketing-cloud", "selligent"),
)
VARIANTS = [Batches(what, source, kind, compressed) for what, source, kind in KINDS for compressed in (False, True)]


class Samples:
    """CPU us of what a server did for one request or event, round by round."""

    def __init__(self, pid: int, client: Client) -> None:
        self.pid = pid
        self.client = client
        self.per_event: list[float] = []
        self.per_second: list[float] = []

    def round(self, requests: int) -> None:
        before = cpu_seconds(self.pid)
        result = self.client.run(requests)
        self.per_event.append((cpu_seconds(self.pid) - before) * 1e6 / result.events)
        self.per_second.append(result.events / result.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.per_event)

    def __str__(self) -> str:
        low, *_, high = sorted(self.per_event)
        return f"{self.median:6.2f} us ({low:.2f} to {high:.2f}), {statistics.median(self.per_second):7.0f} a second"


def single(folder: Path, rounds: int, seconds: float) -> list[Figure]:
    event = next(samples.events("single"))
    yardsticks: list[float] = []
    with ExitStack() as stack:
        key = servers.add_sources(folder, ["http-api"])["http-api"]
        by_name: dict[str, Samples] = {}
        for running in (stack.enter_context(servers.collector(folder)), stack.enter_context(servers.nginx(folder))):
            ((name, pid),) = running.pids.items()
            client = stack.enter_context(Client(Job(running.port, [Stream(key, "single")])))
            by_name[name] = Samples(pid, client)
            client.run(2_000)
        for _ in range(rounds):
            yardsticks.append(yardstick(event))
            for name, sample in by_name.items():
                sample.round(round(REQUESTS[name] * seconds))
    sent = 2_000 + rounds * round(REQUESTS["collector"] * seconds)
    _check(folder, sent)
    ours, theirs, stick = by_name["collector"], by_name["nginx"], statistics.median(yardsticks)
    ratios = sorted(one / other for one, other in zip(ours.per_event, theirs.per_event, strict=True))
    print(f"single events of {len(event)} bytes, {rounds} rounds, 64 connections; json.loads of 1.1 KB: {stick:.2f} us")
    print(
        f"  collector {ours}\n  nginx     {theirs}\n  ratio of a round {ratios[0]:.2f} to {ratios[-1]:.2f}", flush=True
    )
    return [
        Figure("collector, an event a request, as nginx", "times nginx", ours.median / theirs.median, TIMES_NGINX),
        Figure("collector, an event a request", "us CPU an event", ours.median, None, stick),
        Figure("nginx, static 200", "us CPU a request", theirs.median, None, stick),
    ]


def batches(folder: Path, rounds: int, seconds: float) -> list[Figure]:
    event = next(samples.events("single"))
    yardsticks: list[float] = []
    with ExitStack() as stack:
        keys = servers.add_sources(folder, sorted({variant.source for variant in VARIANTS}))
        running = stack.enter_context(servers.collector(folder))
        measured = []
        for variant in VARIANTS:
            stream = Stream(keys[variant.source], variant.kind, samples.BATCH, variant.compressed)
            client = stack.enter_context(Client(Job(running.port, [stream], 8)))
            measured.append(Samples(running.pids["collector"], client))
            client.run(20)
        count = max(1, round(BATCHES * seconds))
        for _ in range(rounds):
            yardsticks.append(yardstick(event))
            for sample in measured:
                sample.round(count)
    _check(folder, samples.BATCH * len(VARIANTS) * (20 + rounds * count))
    stick = statistics.median(yardsticks)
    print(f"batches of {samples.BATCH}, {rounds} rounds, 8 connections; json.loads of 1.1 KB: {stick:.2f} us")
    found: list[Figure] = []
    for variant, sample in zip(VARIANTS, measured, strict=True):
        what = f"{variant.what}, {'gzip' if variant.compressed else 'plain'}"
        print(f"  {what + f' ({samples.mean_bytes(variant.kind):.0f} bytes an event)':<55} {sample}", flush=True)
        limit = BATCH_LIMIT_US if variant.source == "http-api" else None
        found.append(Figure(f"collector, batches: {what}", "us CPU an event", sample.median, limit, stick))
    return found


def _check(folder: Path, sent: int) -> None:
    counted = servers.tallies(folder)
    if counted != (sent, 0):
        raise SystemExit(f"{sent} events were sent, the log counts {counted}")


def figures(rounds: int = 21, seconds: float = 0.7) -> list[Figure]:
    found: list[Figure] = []
    for part in (single, batches):
        with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, Watch() as watch:
            found += part(Path(folder), rounds, seconds)
        print(f"  {watch}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.7, help="of a round, roughly")
    options = parser.parse_args()
    print(table(figures(options.rounds, options.seconds)))


if __name__ == "__main__":
    main()
