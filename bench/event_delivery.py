"""What a destination's books cost: the figures of 14 days, and a million events that wait for their retry.

python bench/event_delivery.py [FOLDER]
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import figures
import machine
from headrace.delivery import account
from headrace.delivery.commits import Commit, Story
from headrace.delivery.feed import _STATEMENTS as FEED_STATEMENTS
from headrace.delivery.feed import FILE
from headrace.delivery.store import Store, opened
from headrace.event import Event, encode
from made_events import made

DAYS: Final = 14
SOURCES: Final = 3
A_MINUTE: Final = 20_000
OUTCOMES: Final = (
    ("delivered", ""),
    ("filtered", "FILTERED_BY_RULES"),
    ("filtered", "UNSUPPORTED_EVENT_TYPE"),
    ("failed", "BAD_REQUEST"),
    ("retrying", "503"),
)
RETRIES: Final = 1_000_000
A_COMMIT: Final = 1_000
LIMIT_US: Final = 10.0


def measured(folder: str | None = None) -> list[figures.Figure]:
    with tempfile.TemporaryDirectory(dir=folder) as made_here:
        return [*periods(Path(made_here)), *retries(Path(made_here))]


def main() -> None:
    print(figures.table(measured(sys.argv[1] if len(sys.argv) > 1 else None)))


def periods(folder: Path) -> Iterator[figures.Figure]:
    """Two weeks of 1,000 events a second from three sources."""
    now = datetime.now(UTC)
    end = account.minute_at(now) + 1
    _build(folder, range(end - DAYS * 1_440, end))
    place = account.Place(folder / "long.db", "long", "webhook", "Long", now - timedelta(days=DAYS + 1))
    for since in ("14d", "7d", "24h", "1h", "10m", "13d"):
        period = account.period(since, now=now)
        found = account.account(place, period)
        assert found.is_balanced, found.notes
        expected = (account.minute_at(period.until) - account.minute_at(period.since)) * SOURCES * A_MINUTE
        assert expected == found.accepted == found.filtered + found.delivered + found.not_delivered
        taken = sorted(_seconds(partial(account.account, place, period)) for _ in range(9))
        yield figures.Figure(f"figures of {since}", "ms", taken[4] * 1e3, 200)


def _build(folder: Path, minutes: range) -> None:
    """Every minute has every source, five outcomes and thirty latencies; all is done."""
    store = Store(folder / "long.db")
    sources = [f"source-{n}" for n in range(SOURCES)]
    store.begin("log", {0: 0}, {}, sources)
    for first in range(minutes.start, minutes.stop, 1_440):
        day = [m for m in range(first, first + 1_440) if m < minutes.stop]
        counts = {
            (m, s, *OUTCOMES[n]): A_MINUTE // len(OUTCOMES) for m in day for s in sources for n in range(len(OUTCOMES))
        }
        latencies = {(m, bucket): 2_000 for m in day for bucket in range(30, 60)}
        store.commit(Commit(counts=Counter(counts), latencies=Counter(latencies)))
    store.commit(Commit({0: 10}))
    store.close()
    arrivals = opened(folder / FILE)
    arrivals.executescript(FEED_STATEMENTS)
    arrivals.execute("BEGIN")
    arrivals.execute("INSERT INTO positions VALUES (0, 'log', 10)")
    arrivals.executemany(
        "INSERT INTO arrivals VALUES (?, ?, ?, 3)", [(m, s, A_MINUTE) for m in minutes for s in sources]
    )
    arrivals.execute("COMMIT")
    arrivals.close()


def retries(folder: Path) -> Iterator[figures.Figure]:
    store = Store(folder / "retries.db")
    sample = encode(made(properties={f"property_{n}": "some text of a usual length" for n in range(18)}))
    yardsticks: list[float] = []
    gc.collect()
    memory_began = machine.memory(os.getpid()).rss
    now = int(time.time() * 1_000)
    seconds = 0.0
    for first in range(0, RETRIES, A_COMMIT):
        if first % 50_000 == 0:
            yardsticks.append(machine.yardstick(sample))
        events = [made(message_id=str(uuid.uuid4()), event="Email Opened") for _ in range(A_COMMIT)]
        commit = Commit({0: first + A_COMMIT}, stories=[_story(e, first + n, now) for n, e in enumerate(events)])
        seconds += _cpu(partial(store.commit, commit))
    yield figures.Figure(
        "an event that begins to wait", "us", seconds / RETRIES * 1e6, LIMIT_US, statistics.median(yardsticks)
    )
    due_seconds = change_seconds = 0.0
    tried = 0
    while tried < RETRIES // 5:
        found: list[Story] = []
        due_seconds += _cpu(lambda: found.extend(store.due(now + 3_600_000, 0, A_COMMIT)))  # noqa: B023 - called at once
        for story in found:
            story.attempts, story.last_at = 2, now + 60_000
            story.due_at = now + 4_000_000 + tried
            story.history = [*story.history, [now, 0.1, "503"]]
        change_seconds += _cpu(lambda: store.commit(Commit(stories=found)))  # noqa: B023 - called at once
        tried += len(found)
    yield figures.Figure(
        "one that is looked up when it is due", "us", due_seconds / tried * 1e6, LIMIT_US, machine.yardstick(sample)
    )
    yield figures.Figure(
        "one that goes on waiting", "us", change_seconds / tried * 1e6, LIMIT_US, machine.yardstick(sample)
    )
    memory_more = machine.memory(os.getpid()).rss - memory_began
    yield figures.Figure("memory, a million waiting", "MB more", memory_more, 100)
    counted = sorted(_seconds(store.retrying) for _ in range(5))
    yield figures.Figure("how many wait (asked when delivery begins)", "ms", counted[2] * 1e3)
    store.close()


def _story(event: Event, offset: int, now: int) -> Story:
    return Story(
        0,
        offset,
        event,
        "retrying",
        "503",
        "503 Service Unavailable",
        1,
        now,
        now,
        now + offset % 300_000,
        [[now, 0.1, "503"]],
    )


def _cpu(call: Callable[[], object]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
