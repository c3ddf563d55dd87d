"""The account of a destination adds up, in every period and every part of one, whatever happened to its events."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from headrace.delivery import account as accounts
from headrace.delivery import dead_letters, feed
from headrace.delivery.account import Account, Period, Place, account
from headrace.delivery.commits import Commit, Passed, Story, milliseconds, minute_of
from headrace.delivery.store import Store
from headrace.destinations.base import OutcomeName
from headrace.event import Event
from made_events import made

MINUTES = 400
"""Of the made log: more than six hours, so that hours, their edges and minutes are all asked."""
BEGIN = datetime(2026, 3, 1, 9, 37, tzinfo=UTC)
SOURCES = ("shop", "mails", "other")
OWN = ("shop", "mails")
CODES = {"filtered": ("FILTERED_BY_RULES", "UNSUPPORTED_EVENT_TYPE"), "failed": ("BAD_REQUEST", "MESSAGE_REJECTED"),
         "retrying": ("503", "ETIMEDOUT"), "delivered": ("",)}  # fmt: skip


class Scene:
    """A log that is known by heart, and the books of a destination that had a random part of it."""

    def __init__(self, folder: Path, seed: int, *, events: int = 1_500, before: int = 100) -> None:
        self.random = random.Random(seed)
        at = sorted(self.random.uniform(0, MINUTES * 60) for _ in range(events))
        self.events = [
            made(message_id=f"m-{n}", at=seconds, source=self.random.choice(SOURCES)) for n, seconds in enumerate(at)
        ]
        self.events = [_moved(event) for event in self.events]
        self.before = before
        self.position = before
        self.place = Place(folder / "tool.db", "tool", "webhook", "Tool", self.events[before].received_at)
        self.store = Store(self.place.file)
        self.arrivals = folder / feed.FILE
        self._arrive()
        counted = Counter((_minute(event), event.source) for event in self.events[:before] if event.source in OWN)
        self.store.begin("log", {0: before}, counted, OWN)

    def _arrive(self) -> None:
        connection = sqlite3.connect(self.arrivals)
        connection.executescript(feed._STATEMENTS)
        connection.execute("INSERT INTO positions VALUES (0, 'log', ?)", (len(self.events),))
        for offset, event in enumerate(self.events):
            connection.execute(feed._ADD, (_minute(event), event.source, 1, 1))
            connection.execute("INSERT INTO places VALUES (0, ?, ?) ON CONFLICT DO NOTHING", (_minute(event), offset))
        connection.commit()
        connection.close()

    def go_on(self, entries: int) -> None:
        """First attempts of so many entries, with random outcomes."""
        commit = Commit()
        for offset in range(self.position, min(self.position + entries, len(self.events))):
            event = self.events[offset]
            if event.source not in OWN:
                continue
            outcome: OutcomeName = self.random.choice(("delivered", "delivered", "filtered", "retrying", "failed"))
            code = self.random.choice(CODES[outcome])
            if outcome in ("delivered", "filtered"):
                commit.counts[_minute(event), event.source, outcome, code] += 1
                commit.passed.append(Passed(0, offset, offset + 1, outcome, code, 0, 0))
                if outcome == "delivered":
                    commit.latencies[_minute(event), 20] += 1
            else:
                commit.stories.append(_story(offset, event, outcome, code))
        self.position = min(self.position + entries, len(self.events))
        commit.positions[0] = self.position
        self.store.commit(commit)

    def try_again(self) -> None:
        """Some that wait are delivered, fail, are left out, or wait on with another code."""
        stories = self.store.due(1 << 50, 0, 50)
        for story in stories:
            story.outcome = self.random.choice(("delivered", "failed", "filtered", "retrying"))
            if story.outcome != "delivered":
                story.code = self.random.choice(CODES[story.outcome])
            story.due_at = story.due_at + 1 if story.outcome == "retrying" else 0
        self.store.commit(Commit(stories=stories))

    def revive(self) -> None:
        dead_letters.replay(self.place.file, dead_letters.Wanted(code="BAD_REQUEST"))

    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.place.file)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice(
                (lambda: self.go_on(self.random.randrange(200)), self.try_again, self.revive, self.restart)
            )()

    def told(self, since: int = 0, until: int = MINUTES + 2) -> Account:
        """Of minutes after BEGIN."""
        return account(self.place, Period(BEGIN + timedelta(minutes=since), BEGIN + timedelta(minutes=until)))

    def accepted(self, since: int, until: int) -> int:
        """By heart: events of connected sources from the destination's first offset on."""
        first, last = (accounts.minute_at(BEGIN + timedelta(minutes=m)) for m in (since, until))
        own = self.events[self.before :]
        return sum(event.source in OWN and first <= _minute(event) < last for event in own)


def _moved(event: Event) -> Event:
    import msgspec

    return msgspec.structs.replace(
        event, received_at=event.received_at + (BEGIN - datetime(2026, 3, 1, 12, tzinfo=UTC))
    )


def _minute(event: Event) -> int:
    return minute_of(milliseconds(event))


def _story(offset: int, event: Event, outcome: OutcomeName, code: str) -> Story:
    at = milliseconds(event)
    return Story(
        0,
        offset,
        event,
        outcome,
        code,
        f"said {code}",
        1,
        at,
        at,
        at if outcome == "retrying" else 0,
        [[at, 0.1, code]],
    )


@pytest.fixture
def scenes(tmp_path: Path) -> Iterator[list[Scene]]:
    """Three lives."""
    found = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        found.append(Scene(folder, seed))
    yield found
    for scene in found:
        scene.store.close()


def _adds_up(told: Account) -> None:
    assert told.accepted == told.filtered + told.retrying + told.failed + told.delivered + told.waiting
    assert told.accepted == told.filtered + told.delivered + told.not_delivered
    for name in ("accepted", "rejected", "waiting", "filtered", "retrying", "failed", "delivered"):
        assert getattr(told, name) == sum(getattr(point, name) for point in told.trend)
        assert getattr(told, name) >= 0
    by_outcome = Counter[str]()
    for error in told.errors:
        by_outcome[error.outcome] += error.events
    assert {"filtered": told.filtered, "retrying": told.retrying, "failed": told.failed} == {
        outcome: by_outcome[outcome] for outcome in ("filtered", "retrying", "failed")
    }
    assert told.is_balanced, told.notes


def test_every_period_adds_up_to_what_was_accepted_at_every_moment(scenes: list[Scene]) -> None:
    for scene in scenes:
        for _ in range(6):
            scene.live(4)
            for since, until in ((0, MINUTES + 2), *((scene.random.randrange(MINUTES), 0) for _ in range(4))):
                end = until or scene.random.randrange(since + 1, MINUTES + 2)
                told = scene.told(since, end)
                _adds_up(told)
                assert scene.accepted(since, end) == told.accepted


def test_the_parts_of_a_period_are_the_period(scenes: list[Scene]) -> None:
    names = ("accepted", "rejected", "waiting", "filtered", "retrying", "failed", "delivered")
    for scene in scenes:
        scene.live(20)
        whole = scene.told()
        cuts = [0, *sorted(scene.random.sample(range(1, MINUTES), 5)), MINUTES + 2]
        parts = [scene.told(since, until) for since, until in pairwise(cuts)]
        assert {name: getattr(whole, name) for name in names} == {
            name: sum(getattr(part, name) for part in parts) for name in names
        }


def test_what_was_all_tried_leaves_nothing_waiting(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.accepted(0, MINUTES + 2) == scene.told().waiting
        assert scene.told().waiting_since is not None
        scene.go_on(len(scene.events))
        told = scene.told()
        assert (0, 0, None) == (told.waiting, told.entries_behind, told.waiting_since)
        _adds_up(told)


def test_books_that_count_a_retry_twice_do_not_add_up(scenes: list[Scene]) -> None:
    for scene in scenes:
        scene.go_on(len(scene.events))
        stories = scene.store.due(1 << 50, 0, 5)
        for story in stories:
            story.outcome, story.was = "delivered", None  # as if it had not been counted yet
        scene.store.commit(Commit(stories=stories))
        told = scene.told()
        assert not told.is_balanced
        assert len(stories) == told.accepted - scene.accepted(0, MINUTES + 2)
        assert f"{len(stories)} outcomes too many" in told.notes[0]


def test_books_that_lose_an_outcome_do_not_add_up(scenes: list[Scene]) -> None:
    for scene in scenes:
        scene.go_on(len(scene.events))
        event = (
            scene.events[-1]
            if scene.events[-1].source in OWN
            else next(e for e in reversed(scene.events) if e.source in OWN)
        )
        told = scene.told()
        with scene.store.writing() as cursor:
            cursor.execute(
                "UPDATE minutes SET events = 0 WHERE minute = ? AND source = ?", (_minute(event), event.source)
            )
        assert not scene.told().is_balanced
        assert told.is_balanced


def test_hours_are_the_sums_of_their_minutes_also_after_old_ones_went(scenes: list[Scene]) -> None:
    for scene in scenes:
        scene.live(20)
        scene.go_on(1_000)
        while scene.store.clear(int((BEGIN + timedelta(minutes=200)).timestamp() * 1_000), None):
            pass
        for fine, coarse, keys in (
            ("minutes", "hours", "source, outcome, code"),
            ("latencies", "latency_hours", "bucket"),
        ):
            summed = f"SELECT minute / 60, {keys}, sum(events) FROM {fine} GROUP BY minute / 60, {keys} HAVING sum(events) != 0"
            assert sorted(scene.store.read(summed)) == sorted(
                scene.store.read(f"SELECT hour, {keys}, events FROM {coarse} WHERE events != 0")
            )
        assert scene.store.read("SELECT count(*) FROM hours")[0][0] > 0


def test_arrivals_by_the_hour_are_those_of_its_minutes(scenes: list[Scene]) -> None:
    for scene in scenes:
        with closing(sqlite3.connect(scene.arrivals)) as arrivals:
            arrivals.execute("DELETE FROM arrivals WHERE minute < ?", (_minute(scene.events[300]),))
            arrivals.execute(feed._ADD, (_minute(scene.events[400]), "shop", 7, 2))
            summed = "SELECT minute / 60, source, sum(accepted), sum(refused) FROM arrivals GROUP BY 1, 2 ORDER BY 1, 2"
            by_hour = arrivals.execute("SELECT * FROM arrival_hours ORDER BY 1, 2").fetchall()
            assert by_hour == arrivals.execute(summed).fetchall()
            assert by_hour
