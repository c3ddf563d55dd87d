"""The e-mail model: what it costs beside loading, ten million raw events within 256 MB, late events, the campaign report.

    python bench/email_model.py [--recipients 15000] [--raw 10000000] [--engines duckdb,postgresql] [--large-only]

Loads and increments take turns over a simulated list with scanners, prefetching, duplicates and late events (simulator, realism full), so
that their ratio holds on a busy machine. The ten million are copies of such rows: see bench/email_mail.py. CPU counts DuckDB's threads, and
for PostgreSQL the server's processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import email_mail
import mailed
import samples
import warehouse_postgresql
from figures import Figure, table
from headrace.config import WarehouseConfig
from headrace.reports.building import sql as report_sql
from headrace.reports.model import attribution, labels, rollups
from headrace.reports.model.engine import engine
from headrace.reports.model.model import SLICE_EVENTS, EmailModel
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import Place
from headrace.reports.request import ReportRequest
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Deriving, Warehouse
from machine import TICKS, Watch, cpu_seconds, memory, yardstick
from postgresql_server import PostgreSQLServer

SHARE_LIMIT = 0.25
REPORT_LIMIT_MS = 100.0
SMALL_LIMIT_MS = 150.0
LOAD_EVENTS = 50_000
CAMPAIGNS = 6
ONES = 5
"""Loads of one event, of which the median counts."""
LATE = (1, 100, 10_000)
REPORTS = 20
MOST_ROWS = 100_000
_PID = os.getpid()


def own_cpu() -> float:
    return time.process_time()


def server_cpu(server: PostgreSQLServer) -> Callable[[], float]:
    """Of this process, and of the server's main process and all its children, ended ones too."""
    main = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])

    def seconds() -> float:
        used = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            if int(stat.parent.name) == main:
                used += sum(map(int, fields[11:15])) / TICKS
            elif int(fields[1]) == main:
                used += cpu_seconds(int(stat.parent.name))
        return used + own_cpu()

    return seconds


class Turns:
    """Loads and increments, one after the other, over one warehouse."""

    def __init__(self, warehouse: Warehouse, cpu: Callable[[], float], lines: Sequence[bytes]) -> None:
        assert isinstance(warehouse, Deriving)
        self.warehouse, self.cpu = warehouse, cpu
        self.log = email_mail.MailLog(lines)
        self.loader = email_mail.loader_over(self.log, warehouse, LOAD_EVENTS)
        self.model = EmailModel(warehouse, list(mailed.MAIL_SOURCES), ModelSettings())

    def load(self) -> tuple[int, float]:
        """Events and CPU seconds of a load; 0 when there is none."""
        began = self.cpu()
        outcome = self.loader.step()
        return (0 if outcome is None else outcome.entries), self.cpu() - began

    def take_up(self) -> tuple[float, float]:
        """CPU and waiting seconds of the increments until the model has everything."""
        began, clock = self.cpu(), time.monotonic()
        while self.model.advance(self.warehouse.tables()):
            pass
        return self.cpu() - began, time.monotonic() - clock


@contextmanager
def derived_timed(cpu: Callable[[], float]) -> Iterator[list[float]]:
    """CPU seconds of each step after the messages: attribution, rollups and labels. What is left is reading, identities, events and messages."""
    seconds: list[float] = []

    def timed(apply: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began = cpu()
            try:
                return apply(*given)
            finally:
                seconds.append(cpu() - began)

        return run

    steps: tuple[Any, ...] = (attribution, rollups, labels)
    originals = [step.apply for step in steps]
    for step in steps:
        step.apply = timed(step.apply)
    try:
        yield seconds
    finally:
        for step, original in zip(steps, originals, strict=True):
            step.apply = original


def beside_loading(
    name: str, warehouse: Warehouse, cpu: Callable[[], float], lines: Sequence[bytes], loads_each: int
) -> list[Figure]:
    """`loads_each`: how many loads an increment takes up."""
    turns = Turns(warehouse, cpu, lines[:-ONES])
    events, loading, modelling, longest = 0, 0.0, 0.0, 0.0
    is_more = True
    with derived_timed(cpu) as derived:
        while is_more:
            for _ in range(loads_each):
                count, seconds = turns.load()
                is_more = count > 0
                events, loading = events + count, loading + seconds
            seconds, waited = turns.take_up()
            modelling, longest = modelling + seconds, max(longest, waited)
    ones = []
    for line in lines[-ONES:]:
        turns.log.add([line])
        turns.load()
        ones.append(turns.take_up()[0])
    about = f"{name}, {events:,} events, increments of {loads_each * LOAD_EVENTS:,}"
    return [
        Figure(
            f"{about}: events and messages, CPU as loading's",
            "share",
            (modelling - sum(derived)) / loading,
            SHARE_LIMIT,
        ),
        Figure(f"{about}: the whole model, CPU as loading's", "share", modelling / loading, SHARE_LIMIT),
        Figure(f"{about}: loading", "us CPU an event", loading / events * 1e6),
        Figure(f"{about}: model", "us CPU an event", modelling / events * 1e6),
        Figure(f"{about}: an increment at most, in which loads wait", "s", longest),
        Figure(f"{name}: an increment of one event", "ms CPU", statistics.median(ones) * 1e3, SMALL_LIMIT_MS),
    ]


def large(raw: int, lines: Sequence[bytes]) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        path = Path(folder) / "warehouse.duckdb"
        config = WarehouseConfig()
        warehouse = DuckDB(path, config)
        loader = email_mail.loader_over(email_mail.MailLog(lines), warehouse, 20_000)
        while loader.step() is not None:
            pass
        began = time.monotonic()
        rows = email_mail.multiply(warehouse, raw)
        raw_bytes = path.stat().st_size
        print(f"  {rows:,} raw events made in {time.monotonic() - began:.0f} s, {raw_bytes / 1e6:.0f} MB", flush=True)
        model = EmailModel(warehouse, list(mailed.MAIL_SOURCES), ModelSettings())
        found = _built(warehouse, model, rows)
        warehouse.checkpoint(force=True)
        growth = (path.stat().st_size - raw_bytes) / raw_bytes
        found.append(Figure("DuckDB: the model's part of the file, as the event tables' (no tracks)", "times", growth))
        found += _reports(warehouse, rows)
        found += _late(warehouse, model, rows)
        warehouse.close()
    return found


def _built(warehouse: DuckDB, model: EmailModel, rows: int) -> list[Figure]:
    began, clock, done, most, increments = own_cpu(), time.monotonic(), 0, 0.0, 0
    longest, is_more = 0.0, True
    while is_more:
        each = time.monotonic()
        step = model.step(warehouse.tables())
        is_more, done, increments = step.is_more, done + step.rows, increments + 1
        longest, most = max(longest, time.monotonic() - each), max(most, memory(_PID).rss)
        if increments % 20 == 1:
            print(
                f"  increment {increments}: {done:,} rows, {time.monotonic() - each:.1f} s, {most:.0f} MB RSS at most",
                flush=True,
            )
        warehouse.checkpoint()
    seconds, waited = own_cpu() - began, time.monotonic() - clock
    about = f"DuckDB, {rows:,} raw events"
    return [
        Figure(
            f"{about}: model built from scratch in {increments} increments, memory_bytes 256 MB", "min", waited / 60
        ),
        Figure(f"{about}: that, by CPU", "us CPU an event", seconds / rows * 1e6),
        Figure(f"{about}: RSS at most (this process, all of it)", "MB", most),
        Figure(f"{about}: the longest increment of {SLICE_EVENTS:,}", "s", longest),
    ]


def _reports(warehouse: DuckDB, rows: int) -> list[Figure]:
    place = Place(engine("duckdb"), warehouse.tables(), mailed.MAIL_SOURCES, ModelSettings())
    found = []
    for what, request in (
        ("campaign report", ReportRequest(preset="campaigns")),
        (
            "campaign report of 30 days, Berlin's days",
            ReportRequest(preset="campaigns", since="2026-10-09", zone="Europe/Berlin"),
        ),
    ):
        samples_ms = []
        for _ in range(REPORTS):
            began = time.monotonic()
            result = warehouse.arrow(report_sql(request, place), max_rows=MOST_ROWS, timeout_seconds=60)
            samples_ms.append((time.monotonic() - began) * 1e3)
        print(
            f"  {what}: {_rows(result)} rows; {' '.join(f'{each:.0f}' for each in sorted(samples_ms))} ms", flush=True
        )
        found.append(
            Figure(f"DuckDB, {rows:,} raw events: {what}, median", "ms", statistics.median(samples_ms), REPORT_LIMIT_MS)
        )
    return found


def _rows(result: object) -> object:
    return getattr(getattr(result, "table", result), "num_rows", "?")


def _late(warehouse: DuckDB, model: EmailModel, rows: int) -> list[Figure]:
    found = []
    for count in LATE:
        seconds = []
        for turn in range(3):
            email_mail.come_late(warehouse, count, f"late-{count}-{turn}")
            began = own_cpu()
            while model.advance(warehouse.tables()):
                pass
            seconds.append(own_cpu() - began)
        found.append(
            Figure(
                f"DuckDB, {rows:,} raw events: {count:,} late ones, the increment",
                "ms CPU",
                statistics.median(seconds) * 1e3,
            )
        )
    return found


def figures(
    recipients: int = 15_000,
    raw: int = 10_000_000,
    engines: Sequence[str] = ("duckdb", "postgresql"),
    *,
    large_only: bool = False,
) -> list[Figure]:
    event = next(samples.events("single"))
    began = time.monotonic()
    lines = email_mail.simulated(recipients, CAMPAIGNS)
    print(f"  {len(lines):,} events simulated in {time.monotonic() - began:.0f} s", flush=True)
    found: list[Figure] = []
    with Watch() as watch:
        if "duckdb" in engines and not large_only:
            for loads_each in (1, 2):
                with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
                    warehouse = DuckDB(Path(folder) / "warehouse.duckdb", WarehouseConfig())
                    found += beside_loading("DuckDB", warehouse, own_cpu, lines, loads_each)
                    warehouse.close()
        if "postgresql" in engines and not large_only:
            server = PostgreSQLServer()
            try:
                opened = warehouse_postgresql.opened(server, server.database())
                found += beside_loading("PostgreSQL", opened, server_cpu(server), lines[: len(lines) // 2], 1)
                opened.close()
            finally:
                server.remove()
        if raw:
            found += large(raw, lines)
    print(f"  {watch}; json.loads of 1.1 KB takes {yardstick(event):.1f} us", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=15_000)
    parser.add_argument("--raw", type=int, default=10_000_000)
    parser.add_argument("--engines", default="duckdb,postgresql")
    parser.add_argument("--large-only", action="store_true")
    options = parser.parse_args()
    print(table(figures(options.recipients, options.raw, options.engines.split(","), large_only=options.large_only)))


if __name__ == "__main__":
    main()
