"""What a reading of delivery found: each of these lost, doubled, delayed or showed something."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crash.faults import wait_until
from delivery_house import EVENING_BEFORE, House, Tool
from fault_server import FaultServer
from headrace.app.deliveries import Deliveries
from headrace.config import Config
from headrace.delivery import delivering as module
from headrace.delivery import feed, replays
from headrace.delivery.attempting import attempt
from headrace.delivery.books import Books
from headrace.delivery.commits import Commit, Sample, Story
from headrace.delivery.delivering import Delivering, take_up
from headrace.delivery.feed import KEPT_BYTES, SLICE_BYTES, Feed
from headrace.delivery.preparing import checked
from headrace.delivery.retry import LONGEST_ASKED_SECONDS
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.destinations._answers import of_status, retry_after
from headrace.destinations.base import Answer, Http, Place, Prepared, Request, Result
from headrace.destinations.webhook import WebhookKind
from headrace.errors import RetryableError
from headrace.log.base import Gap, LogReader, Slice, Tally
from headrace.workspace.secret_settings import without_secrets
from headrace.workspace.workspace import Workspace
from segment_events import event_of

NOW = 1_790_000_000_000
DAY = 86_400_000


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "books.db")


def story(offset: int, outcome: Any = "failed", code: str = "BAD_REQUEST", due_at: int = 0) -> Story:
    event = event_of({"type": "track", "event": "Email Opened", "userId": "u", "messageId": f"m-{offset}"})
    return Story(0, offset, event, outcome, code, "", 1, NOW, NOW, due_at, [])


# Counted once.


def test_a_commit_that_failed_in_its_middle_counts_once(store: Store) -> None:
    event = event_of({"type": "track", "event": "Email Opened", "userId": "u"})
    wrong = Sample("BAD_REQUEST", NOW, event, None, 1, 0.0, "", {}, {})  # type: ignore[arg-type]  # it cannot be stored
    commit = Commit(stories=[story(0), story(1)], samples=[wrong])
    with pytest.raises(RetryableError):
        store.commit(commit)
    commit.samples = []
    store.commit(commit)
    assert [("failed", 2)] == store.read("SELECT outcome, sum(events) FROM minutes GROUP BY 1")


class Damaged:
    """The log's reader, whose offsets 5 to 7 cannot be read."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        if offset == 5:
            return Slice((), 8, [Gap(5, 8, {"selligent": Tally(3, 0)}, "log_corrupt", "made up")])
        most = min(max_entries, 5 - offset) if offset < 5 else max_entries
        return self._reader.read(offset, max_entries=most, max_bytes=max_bytes)


def test_what_the_log_lost_counts_once_though_something_before_it_is_still_on_its_way(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = house._log.reader
    monkeypatch.setattr(house._log, "reader", lambda partition: Damaged(readers(partition)))

    async def hanging(_: Request) -> Answer:
        await asyncio.sleep(60)
        raise AssertionError

    hangs = Tool(lambda request: hanging(request) if request.headers["webhook-id"] == "m-0" else Answer(200))
    some = {"concurrency": 4}
    house.deliver(
        hangs, lambda: len(hangs.requests) == 7, settings=some, meanwhile=lambda: house.tracks(10), is_killed=True
    )
    house.deliver(hangs, 0.5, settings=some, is_killed=True)
    assert house.position() == 0
    house.deliver(Tool(), lambda: house.position() == 10)
    assert {"delivered": 7, "failed LOST": 3} == house.counts()


def test_a_users_event_that_follows_a_revived_one_is_sent_once(house: House) -> None:
    codes = {"m-0": 401, "m-1": 503}
    house.deliver(
        Tool(lambda request: Answer(codes[request.headers["webhook-id"]])),
        lambda: house.file.exists() and sum(house.counts().values()) == 2,
        settings={"ordered": True},
        meanwhile=lambda: house.tracks(2),
    )
    with closing(Store(house.file)) as books:
        books.revive("outcome = 'failed'", [], 1)
        with books.writing() as cursor:
            cursor.execute("UPDATE events SET due_at = 2 WHERE outcome = 'retrying' AND due_at > 1")
    tool = Tool()
    house.deliver(tool, lambda: house.counts() == {"delivered": 2}, settings={"ordered": True})
    assert Counter(("m-0", "m-1")) == Counter(tool.ids)


@pytest.mark.parametrize(
    "text", ["-5", "9" * 30, "nan", "Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "x" * 70_000]
)
def test_a_pause_that_nobody_can_read_is_none(text: str) -> None:
    answer = Answer(503, {"retry-after": text})
    assert ("retry", None) == (of_status(answer, datetime.now(UTC)).outcome, retry_after(answer, datetime.now(UTC)))


# Nothing stands still.


def test_a_lane_without_events_does_not_keep_the_others_from_asking_again(house: House) -> None:
    """The order per user: one user's event fails and waits in the books, the other's wait in their lane."""
    lanes = 8
    users = {hash(f"u{number}") % lanes: f"u{number}" for number in range(500)}
    assert lanes == len(users)
    events = [{"userId": user} for user in users.values()] + [{"userId": users[0]}] * 10
    failed: list[Request] = []

    def answer(request: Request) -> Answer:
        if len(failed) < lanes:
            failed.append(request)
            return Answer(503)
        return Answer(200)

    house.deliver(
        Tool(answer),
        lambda: house.file.exists() and house.counts() == {"delivered": len(events)},
        settings={"ordered": True, "concurrency": lanes},
        meanwhile=lambda: house.accept(events),
    )


def test_a_filter_that_lets_nothing_through_does_not_end_the_reading(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_ENTRIES", 100)
    monkeypatch.setattr(feed, "SLICE_ENTRIES", 50)

    def accept() -> None:
        for _ in range(3):
            house.tracks(200)

    house.deliver(Tool(), lambda: house.position() == 600, settings={"filter": 'event = "Nothing"'}, meanwhile=accept)
    assert {"filtered FILTERED_BY_RULES": 600} == house.counts()


def test_threads_take_turns_in_the_books(store: Store) -> None:
    failures = []

    def note() -> None:
        try:
            store.note("state", 2)
        except RetryableError as error:
            failures.append(error)

    thread = Thread(target=note)
    with store.writing():
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join()
    assert [] == failures
    assert store.noted("state") == 2


def test_a_kind_within_which_something_is_cancelled_does_not_end_who_sends(tmp_path: Path) -> None:
    class Cancelling(WebhookKind):
        async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
            inner = asyncio.ensure_future(asyncio.sleep(60))
            inner.cancel()
            await inner
            return []

    kind = Cancelling(WebhookKind.Settings(url="https://tool.example"), Place("tool", tmp_path))
    prepared = Prepared(story(0).event)

    async def attempted() -> Sequence[Result]:
        return await asyncio.create_task(attempt(kind, [prepared], Tool()))

    assert [("retry", "INTERNAL")] == [(result.outcome, result.code) for result in asyncio.run(attempted())]

    async def cut_off() -> None:
        hanging = base.configured("webhook", {"url": "https://tool.example"}, Place("tool", tmp_path))
        tool = Tool(lambda _: asyncio.sleep(60, Answer(200)))
        attempting = asyncio.create_task(attempt(hanging, [prepared], tool))
        await asyncio.sleep(0.01)
        attempting.cancel()
        await attempting

    with pytest.raises(asyncio.CancelledError):  # the control: who really is told to end does
        asyncio.run(cut_off())


def test_what_cannot_be_opened_ends_at_once_when_its_settings_change(house: House) -> None:
    async def stopped() -> None:
        follower = Feed(house.readers(), house.file.parent)
        kind = base.configured("python", {"file": str(house.folder / "missing.py")}, Place("tool", house.folder))
        books = Store(house.file)
        delivering = Delivering(
            kind, checked(kind), ["selligent"], EVENING_BEFORE, books, follower, Tool(), open_readers=house.readers
        )
        running = asyncio.create_task(delivering.run())
        async with asyncio.timeout(20):
            while not delivering.error:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.01)
        delivering.stop()
        await asyncio.wait([running], timeout=module.OPEN_AGAIN_SECONDS / 2)
        assert running.done()
        await delivering.close()
        books.close()
        await follower.close()

    asyncio.run(stopped())


def test_books_that_take_long_to_close_hold_up_nobody() -> None:
    async def ticked() -> int:
        books, ticks, let_go = Books({}), 0, Event()
        storing = asyncio.ensure_future(books.in_thread(let_go.wait, 30))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(books.close())
        while not closing.done():
            await asyncio.sleep(0.01)
            ticks += 1
            if ticks == 3:
                let_go.set()
        await storing
        return ticks

    assert asyncio.run(ticked()) > 2


# The log.


class Unreadable(Damaged):
    partition = 1

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        raise RetryableError("made up: the disk has an error")


def test_a_partition_that_cannot_be_read_keeps_no_other_waiting(house: House) -> None:
    async def followed() -> None:
        follower = Feed([*house.readers(), Unreadable(house.readers()[0])], house.file.parent)
        following = asyncio.create_task(follower.follow())
        try:
            async with asyncio.timeout(60), follower.arrived:
                await follower.arrived.wait_for(lambda: follower.positions[0] == 3)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await follower.close()

    house.tracks(3)
    asyncio.run(followed())


def test_slices_that_two_read_at_the_same_time_are_kept_once(house: House) -> None:
    class Large(Damaged):
        def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
            found = self._reader.read(offset, max_entries=1, max_bytes=max_bytes)
            return Slice(found.entries, found.next, found.gaps, SLICE_BYTES)

    async def kept() -> int:
        follower = Feed([Large(house.readers()[0])], house.file.parent)
        for offset in range(20):
            await asyncio.gather(*(follower.read(0, offset) for _ in range(3)))
        count = len(follower._kept)
        await follower.close()
        return count

    house.tracks(20)
    assert KEPT_BYTES // SLICE_BYTES == asyncio.run(kept())


def test_a_partition_that_came_after_the_destination_is_delivered_from_its_beginning(
    house: House, store: Store
) -> None:
    async def taken_up(partitions: Sequence[int]) -> Any:
        readers: list[Any] = []
        for partition in partitions:
            reader = Damaged(house.readers()[0])
            reader.__dict__["partition"] = partition
            readers.append(reader)
        follower = Feed(readers, house.file.parent)
        follower.positions[partitions[-1]] = 7  # it has run ahead
        found = await take_up(store, follower, ["selligent"], EVENING_BEFORE)
        await follower.close()
        return found

    assert {0: 7} == asyncio.run(taken_up([0]))  # the control: a new destination begins where the feed is
    assert {0: 7, 1: 0} == asyncio.run(taken_up([0, 1]))


def test_the_log_is_needed_from_where_the_books_on_disk_are(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: Store, __: Commit) -> None:
        raise RetryableError("made up: the disk has gone")

    monkeypatch.setattr(Store, "commit", failing)
    tool = Tool()
    delivering = house.deliver(tool, lambda: len(tool.ids) == 5, meanwhile=lambda: house.tracks(5))
    assert {0: 0} == delivering.positions()


def test_a_destination_that_was_added_while_nobody_delivered_has_what_came_since(house: House, tmp_path: Path) -> None:
    with FaultServer() as server, closing(Workspace.open(tmp_path)) as workspace:
        source, _ = workspace.add_source("http-api", "Selligent")
        workspace.add_destination("webhook", "Tool", [source.slug], {"url": server.url}, slug="tool")
        house.accept([{}] * 3, source.slug)

        def slowly() -> Any:
            time.sleep(0.5)
            return workspace.destination_snapshot()

        slow = SimpleNamespace(
            revision=workspace.revision,
            destination_snapshot=slowly,
            revealed_destination_settings=workspace.revealed_destination_settings,
        )
        config = Config(data=str(tmp_path), allowed_networks="127.0.0.0/8")
        deliveries = Deliveries(config, cast("Workspace", slow), house.readers)
        deliveries.start()
        try:
            wait_until("all events", lambda: len(server.received("/")) == 3, 60)
        finally:
            deliveries.end()


# The clock.


def test_a_retry_does_not_wait_for_a_clock_that_went_back(store: Store) -> None:
    longest = int(LONGEST_ASKED_SECONDS * 1_000)
    store.commit(Commit(stories=[story(0, "retrying", "503", NOW), story(1, "retrying", "503", NOW - DAY + longest)]))
    assert [0] == [found.offset for found in store.due(NOW - DAY, 0, 10)]


def test_events_that_a_clock_that_went_back_dated_before_the_destination_are_delivered(house: House) -> None:
    def at(seconds: float) -> str:
        return (added_at + timedelta(seconds=seconds)).isoformat()

    added_at = datetime.now(UTC)
    for expected in (["m-1", "m-2"], ["m-3"]):  # and after a restart
        tool = Tool()
        sent = [-3_600, 1, -3_600] if len(expected) == 2 else [-3_600]
        house.deliver(
            tool,
            lambda tool=tool, expected=expected: len(tool.ids) == len(expected),  # type: ignore[misc]
            meanwhile=lambda sent=sent: house.accept([{"receivedAt": at(seconds)} for seconds in sent]),
            added_at=added_at,
            settings={"concurrency": 1},
        )
        assert expected == tool.ids


# What is forgotten, and what is not shown.


def test_the_outcomes_of_replays_are_forgotten_with_all_else(store: Store) -> None:
    number = replays.order(store, replays.Wanted(0, NOW), [replays.Range(0, 0, 5)])
    ended = replays.Ended(0, 0, story(0).event, "failed", "BAD_REQUEST", "", NOW)
    replays.advance(store, number, 0, 5, 5, [ended])
    long_after = int(time.time() * 1_000) + DAY

    def rows() -> int:
        return int(store.read("SELECT count(*) FROM replayed")[0][0])

    store.clear(long_after, None)
    assert rows() == 1  # the control: it is still under way
    replays.cancel(store, number)
    while store.clear(long_after, None):
        pass
    assert rows() == 0


def test_closed_books_say_so_in_words(store: Store) -> None:
    store.close()
    with pytest.raises(RetryableError):
        store.clear(NOW, None)


def test_an_error_within_a_kind_tells_no_secret_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Telling(WebhookKind):
        async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
            raise ValueError(cast("Any", self.settings).url)

    kind = Telling(WebhookKind.Settings(url="https://ada:geheim99@tool.example"), Place("tool", tmp_path))
    found = asyncio.run(attempt(kind, [Prepared(story(0).event)], Tool()))
    assert "geheim99" in found[0].detail  # delivery masks it
    assert "ValueError" in caplog.text
    assert "geheim99" not in caplog.text


def test_secret_objects_are_masked_in_texts_whatever_their_entries_are_called() -> None:
    settings = {
        "headers": {"Authorization": "Bearer tok-1234567", "X-Own": "s3cr3t-0815", "X-Stage": "test"},
        "environment": {"DATABASE_URL": "postgresql://ada:geheim99@db/x"},
    }
    text = "the test said tok-1234567, s3cr3t-0815 and geheim99"
    assert "the test said ***, *** and ***" == without_secrets(text, settings)
