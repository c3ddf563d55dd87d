"""Sends again what was ordered to be sent again: log and archive -> the lanes of the destination, a part after the other, until it is done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from headrace.delivery import replays, retry
from headrace.delivery.commits import milliseconds
from headrace.delivery.lanes import Item, Lane, lane_of
from headrace.delivery.preparing import Preparation, Stopped, user_key
from headrace.delivery.replays import Ended, Outcomes, Replay, Wanted
from headrace.delivery.store import Store
from headrace.destinations.base import CONFIGURATION_CODES, Prepared, Result
from headrace.errors import ConfigError, HeadraceError, PositionError, RetryableError
from headrace.event import Event
from headrace.log.base import LogReader, Slice

logger = logging.getLogger(__name__)

PART_ENTRIES: Final = 1_000
PART_BYTES: Final = 2_000_000
LOOK_SECONDS: Final = 0.5
TEXT_CHARACTERS: Final = 1_000
MOST_NAMES: Final = 1_000
"""Of events that a dry run tells apart; anybody can invent names."""

InThread = Callable[..., Awaitable[Any]]


class Chosen(NamedTuple):
    """An event that a replay takes, and what would be done with it."""

    offset: int
    event: Event
    step: Prepared | Stopped


def chosen(
    partition: int,
    found: Slice,
    wanted: Wanted,
    sources: Collection[str],
    outcomes: Outcomes,
    preparation: Preparation,
) -> Iterator[Chosen]:
    """Pure. Of a slice of the log those events of connected sources that the replay wants."""
    for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
        if not isinstance(entry, Event) or entry.source not in sources:
            continue
        received_ms = milliseconds(entry)
        if not wanted.takes(entry, received_ms) or wanted.is_coming(partition, offset, received_ms):
            continue
        if replays.matches(wanted.outcome, outcomes.of(offset, entry.source)):
            yield Chosen(offset, entry, preparation.prepare(entry))


def part_of(reader: LogReader, at: int, end: int) -> Slice:
    """What comes next, nothing from `end` on; its `next` is always beyond `at`."""
    found = reader.read(at, max_entries=min(PART_ENTRIES, end - at), max_bytes=PART_BYTES)
    if found.next <= at:
        return Slice((), end)
    if found.next > end:
        return Slice(found.entries[: max(0, len(found.entries) - (found.next - end))], end, found.gaps)
    return found


def passed_by(found: Slice) -> int:
    """Entries, those that are lost included: offsets that were leapt over are none."""
    return len(found.entries) + sum(tally.accepted + tally.refused for gap in found.gaps for tally in gap.lost.values())


def lost_in(found: Slice, wanted: Wanted, sources: Collection[str]) -> int:
    """Events of the wanted sources that were in the log once, and are neither there nor in the archive."""
    named = set(wanted.sources or sources) & set(sources)
    return sum(tally.accepted for gap in found.gaps for source, tally in gap.lost.items() if source in named)


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
        """Whatever a replay runs into, the destination delivers on."""
        while True:
            replay: Replay | None = None
            try:
                replay = await self._in_thread(replays.active, self._store)
                if replay is not None:
                    await self._replay(replay)
            except (RetryableError, OSError) as error:
                logger.warning("replay: cannot go on now, trying again: %s", error)
            except Exception as error:
                text = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
                logger.exception("replay: number %s has failed", replay.id if replay else "?")
                if replay is not None:
                    await self._give_up(replay, text)
            await asyncio.sleep(LOOK_SECONDS)

    async def _give_up(self, replay: Replay, why: str) -> None:
        with contextlib.suppress(RetryableError):
            await self._in_thread(replays.end, self._store, replay.id, "failed", self.told(why))

    async def _replay(self, replay: Replay) -> None:
        if not await self._in_thread(replays.begin, self._store, replay.id):
            return
        ends = await self._in_thread(replays.ends, self._store, replay.id)
        readers = await asyncio.to_thread(self._open_readers)
        try:
            missing = sorted(set(ends) - {reader.partition for reader in readers})
            if missing:
                raise PositionError(f"replay: the log has no partition {missing[0]} any more; order a new replay")
            for reader in readers:
                at, end = replay.positions.get(reader.partition, 0), ends.get(reader.partition, 0)
                while at < end:
                    following = await self._part(replay, reader, at, end)
                    if following is None:
                        return
                    at = following
            await self._in_thread(replays.end, self._store, replay.id, "done")
        finally:
            for reader in readers:
                reader.close()

    async def _part(self, replay: Replay, reader: LogReader, at: int, end: int) -> int | None:
        """The next offset; None when the replay was paused or cancelled."""
        found = await asyncio.to_thread(part_of, reader, at, end)
        lost = lost_in(found, replay.wanted, self._sources)
        if lost:
            text = f"{lost:,} events from offset {at} on are gone: {found.gaps[0].reason}"
            logger.error("replay: number %d: %s", replay.id, text)
            await self._in_thread(replays.note, self._store, replay.id, text[:TEXT_CHARACTERS])
        outcomes = await self._in_thread(
            replays.outcomes, self._store, reader.partition, found.next - len(found.entries), found.next
        )
        part = _Part(self, reader.partition)
        try:
            for each in chosen(reader.partition, found, replay.wanted, self._sources, outcomes, self._preparation):
                part.begin(each)
            if not await self._all_ended(replay, part):
                return None
        finally:
            part.drop()
        await self._in_thread(
            replays.advance, self._store, replay.id, reader.partition, found.next, passed_by(found), part.ended
        )
        return found.next

    async def _all_ended(self, replay: Replay, part: _Part) -> bool:
        """Whether they have, rather than that the replay was paused or cancelled."""
        while True:
            state = (await self._in_thread(replays.one, self._store, replay.id)).state
            if state != "running":
                return False
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await part.is_over.wait()
            except TimeoutError:
                continue
            return True

    def told(self, text: str) -> str:
        return self._mask(text)[:TEXT_CHARACTERS]

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
    """Some events of a replay, on their way together; where order is kept, a user's next event goes once the one before it has ended."""

    def __init__(self, replaying: Replaying, partition: int) -> None:
        self._replaying = replaying
        self._partition = partition
        self._open: set[Item] = set()
        self._behind: dict[str, deque[Item]] = {}
        """By user what waits for an event of theirs that is on its way."""
        self._later: set[asyncio.TimerHandle] = set()
        self.ended: list[Ended] = []
        self.is_over = asyncio.Event()
        self.is_over.set()

    def begin(self, each: Chosen) -> None:
        if isinstance(each.step, Stopped):
            outcome = cast("Literal['filtered', 'failed']", each.step.outcome)
            detail = self._replaying.told(each.step.detail)
            now = self._replaying.now_ms()
            self.ended.append(Ended(self._partition, each.offset, each.event, outcome, each.step.code, detail, now))
            return
        key = self._replaying.key(each.event)
        item = Item(self._partition, each.offset, each.event, each.step, ended=self._end, key=key)
        self._open.add(item)
        self.is_over.clear()
        if key is not None and key in self._behind:
            self._behind[key].append(item)
            return
        if key is not None:
            self._behind[key] = deque()
        self._put(item)

    def _put(self, item: Item) -> None:
        item.attempts, item.first_at = 0, self._replaying.now_ms()
        self._replaying.put(item)

    def _end(self, item: Item, result: Result) -> None:
        if item not in self._open:
            return
        item.attempts += 1
        # With a wrong key or address nothing can go: what failed by it alone is no dead letter of the replay.
        may_pass = result.outcome == "retry" or result.code in CONFIGURATION_CODES
        if may_pass and not self._replaying.is_over(item):
            self._put_later(item, retry.delay_seconds(item.attempts, result.retry_after_seconds))
            return
        outcome: Literal["delivered", "failed"] = "delivered" if result.outcome == "delivered" else "failed"
        detail, now = self._replaying.told(result.detail), self._replaying.now_ms()
        self.ended.append(Ended(item.partition, item.offset, item.event, outcome, result.code, detail, now))
        self._open.discard(item)
        if item.key is not None:
            self._go_on(item.key)
        if not self._open:
            self.is_over.set()

    def _go_on(self, key: str) -> None:
        """With the user's next event."""
        waiting = self._behind[key]
        if waiting:
            self._put(waiting.popleft())
        else:
            del self._behind[key]

    def _put_later(self, item: Item, seconds: float) -> None:
        def put() -> None:
            self._later.discard(handle)
            self._replaying.put(item)

        handle = asyncio.get_running_loop().call_later(seconds, put)
        self._later.add(handle)

    def drop(self) -> None:
        """Nothing more of it is sent; what is on its way is not called back. Safe to call twice, and when all has ended."""
        for handle in self._later:
            handle.cancel()
        self._later.clear()
        if self._open:
            self._replaying.drop(self._open)
        self._open = set()


class Estimate(msgspec.Struct):
    """A dry run: `sent` events would be sent, by source and by name, and `stopped` would not, by code (LOST: they are gone)."""

    sent: int = 0
    by_source: dict[str, int] = {}
    by_name: dict[str, int] = {}
    stopped: dict[str, int] = {}

    def count(self, each: Chosen) -> None:
        if isinstance(each.step, Stopped):
            _add(self.stopped, each.step.code)
            return
        self.sent += 1
        _add(self.by_source, each.event.source)
        _add(self.by_name, each.event.event or each.event.name or each.event.type)


def _add(counts: dict[str, int], name: str, events: int = 1) -> None:
    if name not in counts and len(counts) >= MOST_NAMES:
        name = "..."
    counts[name] = counts.get(name, 0) + events


def estimate(
    readers: Sequence[LogReader],
    ranges: Sequence[replays.Range],
    wanted: Wanted,
    sources: Collection[str],
    store: Store | None,
    preparation: Preparation,
    on_passed: Callable[[int], None] = lambda _: None,
) -> Estimate:
    """What a replay of these ranges would do now. `store` is None where the destination has no books yet. `on_passed` is told how many more
    entries have been looked at."""
    found = Estimate()
    reader_by_partition = {reader.partition: reader for reader in readers}
    for partition, first, end in ranges:
        at = first
        while at < end:
            part = part_of(reader_by_partition[partition], at, end)
            outcomes = (
                replays.outcomes(store, partition, part.next - len(part.entries), part.next)
                if store is not None
                else Outcomes((), {}, ())
            )
            for each in chosen(partition, part, wanted, sources, outcomes, preparation):
                found.count(each)
            lost = lost_in(part, wanted, sources)
            if lost:
                _add(found.stopped, "LOST", lost)
            on_passed(passed_by(part))
            at = part.next
    return found


def check_sources(wanted: Wanted, connected: Collection[str]) -> None:
    """Raises ConfigError for a source whose events do not go to the destination."""
    for source in wanted.sources:
        if source not in connected:
            raise ConfigError(
                f"replay: the source {source[:100]!r} is not connected; connected are {', '.join(sorted(connected)) or 'none'}"
            )
