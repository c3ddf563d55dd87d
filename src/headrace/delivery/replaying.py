"""Sends again what was ordered to be sent again: log and archive -> the lanes of the destination, a part after the other, until it is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

from headrace.delivery import replays, retry
from headrace.delivery.lanes import Item, Lane, lane_of
from headrace.delivery.preparing import Preparation, Stopped, user_key
from headrace.delivery.replays import Ended, Outcomes, Replay, Wanted
from headrace.delivery.store import Store, milliseconds
from headrace.destinations.base import Prepared, Result
from headrace.errors import ConfigError, HeadraceError
from headrace.event import Event
from headrace.log.base import LogReader, Slice

logger = logging.getLogger(__name__)

PART_ENTRIES: Final = 1_000
PART_BYTES: Final = 2_000_000
LOOK_SECONDS: Final = 0.5

InThread = Callable[..., Awaitable[Any]]


class Chosen(NamedTuple):
    """An event that a replay takes, and what would be done with it."""

    offset: int
    event: Event
    step: Prepared | Stopped


def chosen(
    found: Slice, wanted: Wanted, sources: Collection[str], outcomes: Outcomes, preparation: Preparation
) -> Iterator[Chosen]:
    """Pure. Of a slice of the log those events of connected sources that the replay wants."""
    for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
        if not isinstance(entry, Event) or entry.source not in sources or not wanted.takes(entry, milliseconds(entry)):
            continue
        if replays.matches(wanted.outcome, outcomes.of(offset, entry.source)):
            yield Chosen(offset, entry, preparation.prepare(entry))


class Replaying:
    """`run` looks for orders until it is cancelled. One replay at a time; a part that was cut off is sent again."""

    def __init__(
        self,
        store: Store,
        preparation: Preparation,
        lanes: Sequence[Lane],
        open_readers: Callable[[], Sequence[LogReader]],
        in_thread: InThread,
        *,
        is_ordered: bool,
        sources: Collection[str],
        horizon_ms: int,
        mask: Callable[[str], str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._preparation = preparation
        self._lanes = lanes
        self._open_readers = open_readers
        self._in_thread = in_thread
        self._is_ordered = is_ordered
        self._sources = sources
        self._horizon_ms = horizon_ms
        self._mask = mask
        self._now = now

    async def run(self) -> None:
        while True:
            try:
                replay = await self._in_thread(replays.active, self._store)
                if replay is not None:
                    await self._replay(replay)
            except (HeadraceError, OSError) as error:
                logger.warning("replay: cannot go on now, trying again: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _replay(self, replay: Replay) -> None:
        await self._in_thread(replays.change, self._store, replay.id, "running")
        ends = await self._in_thread(replays.ends, self._store, replay.id)
        readers = await asyncio.to_thread(self._open_readers)
        try:
            for reader in readers:
                at, end = replay.positions.get(reader.partition, 0), ends.get(reader.partition, 0)
                while at < end:
                    following = await self._part(replay, reader, at, end)
                    if following is None:
                        return
                    at = following
            await self._in_thread(replays.change, self._store, replay.id, "done")
        finally:
            for reader in readers:
                reader.close()

    async def _part(self, replay: Replay, reader: LogReader, at: int, end: int) -> int | None:
        """The next offset; None when the replay was paused or cancelled."""
        entries = min(PART_ENTRIES, end - at)
        found = await asyncio.to_thread(reader.read, at, max_entries=entries, max_bytes=PART_BYTES)
        if found.next <= at:
            found = Slice((), end)
        outcomes = await self._in_thread(
            replays.outcomes, self._store, reader.partition, found.next - len(found.entries), found.next
        )
        part = _Part(self, reader.partition)
        for each in chosen(found, replay.wanted, self._sources, outcomes, self._preparation):
            part.begin(each)
        if not await self._all_ended(replay, part):
            return None
        await self._in_thread(
            replays.advance, self._store, replay.id, reader.partition, found.next, min(found.next, end) - at, part.ended
        )
        return found.next

    async def _all_ended(self, replay: Replay, part: _Part) -> bool:
        """Whether they have, rather than that the replay was paused or cancelled."""
        while True:
            state = (await self._in_thread(replays.one, self._store, replay.id)).state
            if state != "running":
                part.drop()
                return False
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await part.is_over.wait()
            except TimeoutError:
                continue
            return True

    def told(self, text: str) -> str:
        return self._mask(text)[:1_000]

    def put(self, item: Item) -> None:
        lane_of(self._lanes, item).put(item)

    def key(self, event: Event) -> str | None:
        return user_key(event) if self._is_ordered else None

    def now_ms(self) -> int:
        return int(self._now() * 1_000)

    def is_over(self, item: Item) -> bool:
        return self.now_ms() - item.first_at >= self._horizon_ms

    def drop(self, items: Collection[Item]) -> None:
        for lane in self._lanes:
            lane.drop(items)


class _Part:
    """Some events of a replay, on their way together."""

    def __init__(self, replaying: Replaying, partition: int) -> None:
        self._replaying = replaying
        self._partition = partition
        self._open: set[Item] = set()
        self._later: list[asyncio.TimerHandle] = []
        self.ended: list[Ended] = []
        self.is_over = asyncio.Event()
        self.is_over.set()

    def begin(self, each: Chosen) -> None:
        now = self._replaying.now_ms()
        if isinstance(each.step, Stopped):
            outcome = cast("Literal['filtered', 'failed']", each.step.outcome)
            self.ended.append(
                Ended(self._partition, each.offset, each.event, outcome, each.step.code, each.step.detail, now)
            )
            return
        key = self._replaying.key(each.event)
        item = Item(self._partition, each.offset, each.event, each.step, ended=self._end, key=key)
        item.attempts, item.first_at = 0, now
        self._open.add(item)
        self.is_over.clear()
        self._replaying.put(item)

    def _end(self, item: Item, result: Result) -> None:
        if item not in self._open:
            return
        item.attempts += 1
        if result.outcome == "retry" and not self._replaying.is_over(item):
            seconds = retry.delay_seconds(item.attempts, result.retry_after_seconds)
            self._later.append(asyncio.get_running_loop().call_later(seconds, self._replaying.put, item))
            return
        outcome: Literal["delivered", "failed"] = "delivered" if result.outcome == "delivered" else "failed"
        detail = self._replaying.told(result.detail)
        self.ended.append(
            Ended(item.partition, item.offset, item.event, outcome, result.code, detail, self._replaying.now_ms())
        )
        self._open.discard(item)
        if not self._open:
            self.is_over.set()

    def drop(self) -> None:
        for handle in self._later:
            handle.cancel()
        self._replaying.drop(self._open)
        self._open = set()


def estimate(
    readers: Sequence[LogReader],
    ranges: Sequence[replays.Range],
    wanted: Wanted,
    sources: Collection[str],
    store: Store | None,
    preparation: Preparation,
    on_passed: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """A dry run: how many events would be sent (`sent`), and how many would not, by code. `store` is None where the destination has no books
    yet. `on_passed` is told how many entries have been looked at."""
    counts: dict[str, int] = {"sent": 0}
    reader_by_partition = {reader.partition: reader for reader in readers}
    for partition, first, end in ranges:
        at = first
        while at < end:
            found = reader_by_partition[partition].read(
                at, max_entries=min(PART_ENTRIES, end - at), max_bytes=PART_BYTES
            )
            if found.next <= at:
                break
            outcomes = (
                replays.outcomes(store, partition, found.next - len(found.entries), found.next)
                if store is not None
                else Outcomes((), {}, ())
            )
            for each in chosen(found, wanted, sources, outcomes, preparation):
                name = each.step.code if isinstance(each.step, Stopped) else "sent"
                counts[name] = counts.get(name, 0) + 1
            on_passed(found.next - at)
            at = found.next
    return counts


def check_sources(wanted: Wanted, connected: Collection[str]) -> None:
    """Raises ConfigError for a source whose events do not go to the destination."""
    for source in wanted.sources:
        if source not in connected:
            raise ConfigError(
                f"replay: the source {source[:100]!r} is not connected; connected are {', '.join(sorted(connected)) or 'none'}"
            )
