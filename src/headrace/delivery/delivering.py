"""The loop of one destination: log -> first attempts -> retries -> books. Whatever happens here, other destinations do not notice."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from headrace.delivery import samples
from headrace.delivery._schema import NEVER
from headrace.delivery.attempting import attempt
from headrace.delivery.books import Books
from headrace.delivery.commits import Story, milliseconds, minute_of
from headrace.delivery.feed import Feed
from headrace.delivery.gate import Gate
from headrace.delivery.lanes import Chain, Item, Lane, lane_of
from headrace.delivery.preparing import Preparation, Stopped, user_key
from headrace.delivery.replaying import Replaying
from headrace.delivery.retry import Chance
from headrace.delivery.store import Store
from headrace.delivery.stories import Stories
from headrace.delivery.window import Window
from headrace.destinations.base import CONFIGURATION_CODES, DestinationKind, Http, Prepared, Result
from headrace.errors import ConfigError, RetryableError
from headrace.event import Event
from headrace.log.base import LogReader

logger = logging.getLogger(__name__)

WINDOW_ENTRIES: Final = 50_000
AHEAD_EVENTS: Final = 2_000
AHEAD_BYTES: Final = 16_000_000
"""So much is read ahead of what is being sent, at the most: a destination that hangs takes no more memory than this."""
DUE_EVENTS: Final = 1_000
DUE_SECONDS: Final = 0.25
FOLLOWERS: Final = 100
IN_A_ROW: Final = 100
COMMIT_SECONDS: Final = 0.1
LONG_OUTAGE_SECONDS: Final = 5.0
OPEN_AGAIN_SECONDS: Final = 5.0
TEXT_CHARACTERS: Final = 1_000


class Delivering:
    """Runs from `run` until it is cancelled or `stop` was called."""

    def __init__(
        self,
        kind: DestinationKind,
        preparation: Preparation,
        sources: Sequence[str],
        added_at: datetime,
        store: Store,
        feed: Feed,
        http: Http,
        *,
        mask: Callable[[str], str] = lambda text: text,
        on_gone: Callable[[str], Awaitable[None]] | None = None,
        open_readers: Callable[[], Sequence[LogReader]] | None = None,
        now: Callable[[], float] = time.time,
        chance: Chance = random.random,
    ) -> None:
        """`mask` takes secrets out of a text. `on_gone` is told why when the tool says that its address is gone for good.
        `open_readers` opens readers for a replay, which closes them. `now` is in seconds since 1970; `chance` decides how long a retry waits."""
        self.slug = kind.place.slug
        self._kind = kind
        self._preparation = preparation
        self._sources = frozenset(sources)
        self._added_at = added_at
        self._store = store
        self._feed = feed
        self._http = http
        self._mask = mask
        self._on_gone = on_gone
        self._open_readers = open_readers
        self._now = now
        self._settings = kind.settings
        self._horizon_ms = int(kind.settings.horizon_hours * 3_600_000)
        lanes = kind.settings.concurrency if kind.settings.ordered else 1
        self._lanes = [Lane(kind.limits, is_ordered=kind.settings.ordered) for _ in range(lanes)]
        self._gate = Gate(kind.settings.requests_per_second, chance)
        self.breaker = self._gate.breaker
        self._stories = Stories(self._horizon_ms, self._now_ms, chance)
        self._opened_at = 0.0
        self._released_before = 0
        self._ahead_events = 0
        self._ahead_bytes = 0
        self._room = asyncio.Condition()
        self._windows: dict[int, Window] = {}
        self._taken_up: Mapping[int, int] = {}
        self._books = Books(self._windows)
        self._samples = samples.Choice()
        self._begun: set[int] = set()
        """Partitions in which the first event since the destination was added has come by: what follows is newer, whatever the clock
        said when it was received."""
        self._trying: set[int] = set()
        """Rows of stories that are on their way, or whose end is not stored yet."""
        self._feeding: list[asyncio.Task[None]] = []
        self._sending: list[asyncio.Task[None]] = []
        self._busy: set[asyncio.Task[None] | None] = set()
        """Those of `_sending` that have a request on its way."""
        self._stopping = False
        self._stop_told = asyncio.Event()
        self._is_gone = False
        self.error = ""
        self._error_since: float | None = None
        self._pause: tuple[float | None, float | None] = (None, None)
        """Until when nobody sends: of the circuit, and as seconds since 1970."""
        self._has_waiting = False

    # The loop.

    async def run(self) -> None:
        """Until cancelled or stopped. Raises PositionError when the books are of another log."""
        await self._begin()
        if self._stopping:
            return
        async with asyncio.TaskGroup() as tasks:
            self._feeding = [
                *(tasks.create_task(self._read(partition)) for partition in self._windows),
                tasks.create_task(self._try_again()),
                *([tasks.create_task(self._replaying().run())] if self._open_readers else []),
            ]
            self._sending = [
                tasks.create_task(self._send(self._lanes[number % len(self._lanes)]))
                for number in range(self._settings.concurrency)
            ]
            tasks.create_task(self._keep_books())

    def stop(self) -> None:
        """Begin nothing new; `run` ends once what is on its way has ended and is in the books."""
        self._stopping = True
        self._stop_told.set()
        for task in (*self._feeding, *(task for task in self._sending if task not in self._busy)):
            task.cancel()

    async def close(self) -> None:
        """Once `run` has ended."""
        try:
            await self._kind.close()
        finally:
            await self._books.close()

    def positions(self) -> Mapping[int, int]:
        """By partition, from where on the log is needed: as the books on disk have it."""
        return {**self._taken_up, **self._books.committed()}

    async def _begin(self) -> None:
        self._taken_up = known = await take_up(self._store, self._feed, self._sources, self._added_at)
        self._windows.update({partition: Window(at) for partition, at in known.items()})
        self._begun = await self._books.in_thread(self._store.begun)
        while await self._books.in_thread(self._store.requeue, self._now_ms()):
            pass
        self._has_waiting = await self._books.in_thread(self._store.retrying) > 0
        await self._open()

    async def _open(self) -> None:
        while not self._stopping:
            try:
                await self._kind.open()
            except (ConfigError, RetryableError) as error:
                self._note_error(self._mask(str(error)))
                await self._books.in_thread(self._store.note, "state", self.state())
                with suppress(TimeoutError):
                    async with asyncio.timeout(OPEN_AGAIN_SECONDS):
                        await self._stop_told.wait()
            else:
                self._note_error("")
                return

    def _now_ms(self) -> int:
        return int(self._now() * 1_000)

    # Log -> lanes.

    async def _read(self, partition: int) -> None:
        window = self._windows[partition]
        while True:
            async with self._room:
                await self._room.wait_for(lambda: self._has_room(window))
            async with self._feed.arrived:
                await self._feed.arrived.wait_for(lambda: self._feed.positions.get(partition, 0) > window.read)
            try:
                found = await self._feed.read(partition, window.read)
            except RetryableError as error:
                logger.warning("destination %s: cannot read the log, trying again: %s", self.slug, error)
                await asyncio.sleep(1.0)
                continue
            for gap in found.gaps:
                window.lose(gap.next, self._books.lost(gap, self._sources), self._now_ms())
            for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
                if not offset % IN_A_ROW:
                    await asyncio.sleep(0)  # other destinations have their turn
                if isinstance(entry, Event) and entry.source in self._sources:
                    self._take_up(window, partition, offset, entry)
                else:
                    window.skip(offset + 1)
            if found.next > window.read:
                window.skip(found.next)
            self._books.wake()

    def _has_room(self, window: Window) -> bool:
        ahead = max(AHEAD_EVENTS, 2 * self._settings.concurrency * self._kind.limits.events)
        return len(window) < WINDOW_ENTRIES and self._ahead_events < ahead and self._ahead_bytes < AHEAD_BYTES

    def _take_up(self, window: Window, partition: int, offset: int, event: Event) -> None:
        received_ms = milliseconds(event)
        if event.received_at >= self._added_at:
            self._begun.add(partition)
        elif partition not in self._begun:
            self._books.count_before(minute_of(received_ms), event.source)
            window.skip(offset + 1, is_break=True)
            return
        slot = window.add(offset, minute_of(received_ms), event.source)
        prepared = self._preparation.prepare(event)
        if isinstance(prepared, Stopped):
            now = self._now_ms()
            if prepared.outcome == "filtered":
                slot.finish("filtered", prepared.code, now)
            else:
                slot.tell(
                    self._stories.begun(Item(partition, offset, event, Prepared(event)), prepared.code, prepared.detail)
                )
            return
        key = user_key(event) if self._settings.ordered else None
        item = Item(partition, offset, event, prepared, slot=slot, key=key)
        self._ahead_events += 1
        self._ahead_bytes += item.size
        self._lane_of(item).put(item)

    def _lane_of(self, item: Item) -> Lane:
        return lane_of(self._lanes, item)

    async def _leave(self, items: Sequence[Item]) -> None:
        """They are no longer ahead: there is room to read on."""
        self._ahead_events -= len(items)
        self._ahead_bytes -= sum(item.size for item in items)
        async with self._room:
            self._room.notify_all()

    # Retries -> lanes.

    async def _try_again(self) -> None:
        while True:
            if sum(len(lane.again) for lane in self._lanes) < DUE_EVENTS // 2 and not self.breaker.is_open:
                await self._fetch_due(DUE_EVENTS)
            elif self.breaker.is_open and not any(map(len, self._lanes)):
                await self._fetch_due(1)  # for the probe
            await asyncio.sleep(DUE_SECONDS)

    async def _fetch_due(self, limit: int) -> None:
        try:
            stories = await self._books.in_thread(
                self._store.due, self._now_ms(), self._released_before, limit + len(self._trying)
            )
            stories = [story for story in stories if story.row not in self._trying]
            if not stories and self.breaker.is_open and self.breaker.wait_seconds(time.monotonic()) == 0.0:
                # Nothing else can tell whether a key works again.
                await self._books.in_thread(self._store.requeue, self._now_ms(), 1)
        except RetryableError as error:
            logger.warning("destination %s: cannot look for retries: %s", self.slug, error)
            return
        if self._released_before and not stories:
            self._released_before = 0
        for story in stories:
            if story.row in self._trying:
                continue  # it came as one that follows an earlier one
            chain = Chain() if self._settings.ordered else None
            self._take_up_again(story, chain)
            if chain is not None:
                for follower in await self._books.in_thread(self._store.followers, story, FOLLOWERS):
                    if follower.row in self._trying:
                        break
                    self._take_up_again(follower, chain)

    def _take_up_again(self, story: Story, chain: Chain | None) -> None:
        if story.row is not None:
            self._trying.add(story.row)
        prepared = self._preparation.prepare(story.event)
        if isinstance(prepared, Stopped):
            self._books.tell(self._stories.ended(story, prepared.outcome, prepared.code, prepared.detail))
            return
        item = Item(story.partition, story.offset, story.event, prepared, story=story, key=story.user_key)
        item.chain = chain
        self._lane_of(item).put(item)

    def _replaying(self) -> Replaying:
        assert self._open_readers is not None  # noqa: S101 - asked before
        return Replaying(
            self._store,
            self._preparation,
            self._lanes,
            self._open_readers,
            self._books.in_thread,
            is_ordered=self._settings.ordered,
            sources=self._sources,
            horizon_ms=self._horizon_ms,
            mask=self._mask,
            now=self._now,
        )

    # Lanes -> requests.

    async def _send(self, lane: Lane) -> None:
        task = asyncio.current_task()
        while not self._stopping:
            async with lane.turn:
                await lane.filled()  # else it might have the probe, and nothing to send
                was_probe = await self._gate.turn()
                try:
                    batch = await lane.batch() if len(lane) else []
                    batch = await self._in_order(batch) if self._settings.ordered else batch
                    await self._gate.pace()
                except BaseException:
                    if was_probe:
                        self.breaker.abandoned()
                    raise
                self._busy.add(task)
            try:
                if batch:
                    await self._attempt(lane, batch, was_probe=was_probe)
                elif was_probe:
                    await self._gate.tell(self.breaker.abandoned)
            finally:
                self._busy.discard(task)

    async def _in_order(self, batch: list[Item]) -> list[Item]:
        """Without those whose user has an earlier event that is tried again: they wait behind it."""
        broken = [item for item in batch if item.chain is not None and item.chain.is_broken]
        if broken:
            self._trying.difference_update(
                item.story.row for item in broken if item.story and item.story.row is not None
            )
            batch = [item for item in batch if item not in broken]
        fresh = [item for item in batch if item.slot is not None]
        if not fresh or not self._has_waiting:
            return batch
        known = await self._books.in_thread(self._store.waiting_users, [item.key or "" for item in fresh])
        behind = [item for item in fresh if item.key in known or item.key in self._books.waiting_users]
        for item in behind:
            story = self._stories.begun(item, "WAITING_FOR_EARLIER", "")
            story.outcome, story.due_at = "retrying", NEVER
            self._book(item, story)
        await self._leave(behind)
        return [item for item in batch if item not in behind]

    async def _attempt(self, lane: Lane, batch: list[Item], *, was_probe: bool) -> None:
        began = time.monotonic()
        results = await attempt(self._kind, [item.prepared for item in batch], self._http)
        seconds = time.monotonic() - began
        alone = []
        for item, result in zip(batch, results, strict=True):
            if result.is_whole_request and len(batch) > 1:
                item.alone = True
                alone.append(item)
            else:
                self._finish(item, result, seconds)
        self._sample(batch, results, seconds)
        for item in alone:
            lane.put(item)
        await self._judge(results, was_probe=was_probe)
        await self._leave([item for item in batch if item.slot is not None and item not in alone])

    async def _judge(self, results: Sequence[Result], *, was_probe: bool) -> None:
        """What the circuit makes of a request: it came to nothing when no event got an answer that is about the event."""
        nothing = [result for result in results if result.outcome == "retry" or result.code in CONFIGURATION_CODES]
        now = time.monotonic()
        if len(nothing) < len(results):
            if self.breaker.succeeded() or self.error:
                await self._closed(now)
            elif was_probe:
                await self._gate.tell()
            return
        worst = nothing[0]
        # A function that asks for a wait means this event, a tool means everything.
        asked = max((r.retry_after_seconds or 0.0 for r in nothing if r.code != "FUNCTION_RETRY"), default=0.0)
        has_opened = self.breaker.failed(now, asked or None, was_probe=was_probe)
        if has_opened or (worst.code in CONFIGURATION_CODES and not self.error):
            self._note_error(self._mask(f"{worst.code}: {worst.detail}")[:TEXT_CHARACTERS])
        if has_opened:
            self._opened_at = now
            logger.warning("destination %s: nothing gets through, events wait in the log: %s", self.slug, self.error)
        await self._gate.tell()
        if worst.code == "410" and self._on_gone is not None and not self._is_gone:
            self._is_gone = True
            logger.critical(
                "destination %s: its address answered 410 Gone; it is disabled, events wait in the log", self.slug
            )
            await self._on_gone(f"its address answered 410 Gone: {self._mask(worst.detail)}"[:TEXT_CHARACTERS])

    async def _closed(self, now: float) -> None:
        logger.info("destination %s: it works again", self.slug)
        self._note_error("")
        if now - self._opened_at >= LONG_OUTAGE_SECONDS:
            self._released_before = self._now_ms()
        try:
            while await self._books.in_thread(self._store.requeue, self._now_ms()):
                pass
        except RetryableError as error:
            logger.warning("destination %s: %s", self.slug, error)
        await self._gate.tell()

    # Results -> books.

    def _finish(self, item: Item, result: Result, seconds: float) -> None:
        if item.ended is not None:
            item.ended(item, result)
            return
        now = self._now_ms()
        if item.slot is not None and result.outcome == "delivered":
            item.slot.finish("delivered", "", now, self._books.bucket(now, item.event))
            self._books.wake()
            return
        detail = self._mask(result.detail)[:TEXT_CHARACTERS]
        if item.story is None:
            self._book(item, self._stories.begun(item, result.code, detail, seconds, result))
            return
        if item.chain is not None and result.outcome == "retry":
            item.chain.is_broken = True
        self._books.tell(self._stories.after(item.story, result, detail, seconds))

    def _book(self, item: Item, story: Story) -> None:
        if item.slot is not None:
            item.slot.tell(story)
            self._has_waiting = True
            if story.user_key is not None:
                self._books.waiting_users[story.user_key] += 1
            self._books.wake()

    def _sample(self, batch: Sequence[Item], results: Sequence[Result], seconds: float) -> None:
        now = time.monotonic()
        for item, result in zip(batch, results, strict=True):
            if self._samples.wants(result.code, now):
                self._books.keep_sample(
                    samples.sample(item.event, item.prepared, result, len(batch), seconds, self._now_ms(), self._mask)
                )

    async def _keep_books(self) -> None:
        """Store what is done, several times a second. Goes on after `stop` until nothing is on its way."""
        while True:
            await self._books.wait(COMMIT_SECONDS)
            is_last = self._stopping and all(task.done() for task in self._sending)
            try:
                stored = await self._books.store(self._store, self.state())
            except RetryableError as error:
                logger.warning("destination %s: its books cannot be written, trying again: %s", self.slug, error)
                await asyncio.sleep(0.0 if is_last else 1.0)
            else:
                self._trying.difference_update(story.row for story in stored if story.row is not None)
                await self._leave(())  # what is stored has left its window
            if is_last:
                return

    def state(self) -> Mapping[str, Any]:
        """For those who ask how it goes: what it does, since when, and why."""
        return {
            "state": "waiting" if self.breaker.is_open else "failing" if self.error else "delivering",
            "error": self.error,
            "since": self._error_since,
            "next_at": self._next_at(),
        }

    def _next_at(self) -> float | None:
        """When a request is tried again while nothing gets through; the same as long as that moment stays."""
        until = self.breaker.open_until
        if until is None:
            self._pause = (None, None)
        elif until != self._pause[0]:
            self._pause = (until, round(self._now() + until - time.monotonic(), 3))
        return self._pause[1]

    def _note_error(self, text: str) -> None:
        if bool(text) != bool(self.error):
            self._error_since = self._now() if text else None
        self.error = text


async def take_up(store: Store, feed: Feed, sources: Collection[str], added_at: datetime) -> Mapping[int, int]:
    """Where the destination is, by partition: a new one begins where the feed is now. Called as soon as it is there, also while it is
    paused. Safe to call twice. Raises PositionError when its books are of another log, and RetryableError."""
    first_minute = minute_of(int(added_at.timestamp() * 1_000)) - 24 * 60
    positions, before = await feed.counted(first_minute)
    known = await asyncio.to_thread(store.positions, feed.incarnation)
    # A partition that its books do not know came after the destination did: it has all of it.
    fresh = {partition: 0 if known else at for partition, at in positions.items() if partition not in known}
    if fresh:
        own = {} if known else {key: events for key, events in before.items() if key[1] in sources}
        await asyncio.to_thread(store.begin, feed.incarnation, fresh, own, sorted(sources))
    await asyncio.to_thread(store.connect, known, sorted(sources))
    return await asyncio.to_thread(store.positions, feed.incarnation)
