"""What is done and not stored yet: outcomes of first attempts in the order of the log, stories, samples -> one transaction after the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from headrace.delivery.commits import Commit, Passed, Sample, Story, milliseconds, minute_of
from headrace.delivery.latency import bucket_of
from headrace.delivery.store import Store
from headrace.delivery.window import Slot, Window
from headrace.event import Event
from headrace.log.base import Gap

_T = TypeVar("_T")

EAGER_SLOTS: Final = 2_000
_MINUTE_MS: Final = 60_000


class Books:
    """For one event loop; storing blocks a thread of its own."""

    def __init__(self, windows: Mapping[int, Window]) -> None:
        self._windows = windows
        self._commit = Commit()
        self._pending: Commit | None = None
        """What could not be stored at the first try."""
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "delivery-books")
        self._positions: dict[int, int] = {}
        self._state: Mapping[str, Any] | None = None
        self.waiting_users: Counter[str] = Counter()
        """Users with a story that is told and not stored yet."""
        self._done_slots = 0

    def wake(self) -> None:
        self._done_slots += 1
        if self._done_slots >= EAGER_SLOTS:
            self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until much is done, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()
        self._done_slots = 0

    def bucket(self, now_ms: int, event: Event) -> int:
        """Of the latency from received to now."""
        return bucket_of(max(0, now_ms - milliseconds(event)) / 1_000)

    def tell(self, story: Story) -> None:
        """A story that has a row went on."""
        self._commit.stories.append(story)
        if story.outcome == "delivered":
            minute = minute_of(milliseconds(story.event))
            self._commit.latencies[minute, self.bucket(story.last_at, story.event)] += 1

    def count_before(self, minute: int, source: str) -> None:
        """An event that was accepted before the destination was there."""
        self._commit.before[minute, source] += 1

    def keep_sample(self, sample: Sample) -> None:
        self._commit.samples.append(sample)

    @staticmethod
    def lost(gap: Gap, sources: Collection[str]) -> Mapping[tuple[int, str], int]:
        """By minute and source, the events of a gap in the log."""
        return {
            (minute_of(int(hour.timestamp() * 1_000)), source): tally.accepted
            for (source, hour), tally in gap.lost_by_hour.items()
            if source in sources and tally.accepted
        }

    def committed(self) -> Mapping[int, int]:
        """Positions that are stored, of those partitions that have moved."""
        return dict(self._positions)

    async def store(self, store: Store, state: Mapping[str, Any]) -> Sequence[Story]:
        """The stories that are stored now. Raises RetryableError; nothing is lost by that, the next call stores it."""
        if self._pending is None:
            self._pending = self._collected(state)
        commit = self._pending
        if not commit.is_empty():
            await self.in_thread(store.commit, commit)
            self._positions.update(commit.positions)
            self._state = commit.state or self._state
            for story in commit.stories:
                if story.row is None and story.user_key is not None:
                    self.waiting_users[story.user_key] -= 1
                    if not self.waiting_users[story.user_key]:
                        del self.waiting_users[story.user_key]
        self._pending = None
        return commit.stories

    def _collected(self, state: Mapping[str, Any]) -> Commit:
        commit, self._commit = self._commit, Commit()
        for partition, window in self._windows.items():
            self._fold(commit, partition, window)
            if self._positions.get(partition) != window.position:
                commit.positions[partition] = window.position
        commit.state = state if state != self._state else None
        return commit

    def _fold(self, commit: Commit, partition: int, window: Window) -> None:
        run: list[Any] | None = None
        for slot in window.done():
            if slot.story is not None:
                run = None
                commit.stories.append(slot.story)
                window.run_from = slot.next
            elif slot.outcome:
                if run is None or not _continues(run, slot):
                    run = [partition, window.run_from, slot.next, slot.outcome, slot.code, slot.at, slot.at]
                    commit.passed.append(run)  # type: ignore[arg-type]  # made a Passed below
                run[2], run[6] = slot.next, max(run[6], slot.at)
                window.run_from = slot.next
                if slot.code == "LOST":
                    commit.counts.update({(*key, slot.outcome, slot.code): n for key, n in slot.lost.items()})
                    continue
                commit.counts[slot.minute, slot.source, slot.outcome, slot.code] += 1
                if slot.bucket >= 0:
                    commit.latencies[slot.minute, slot.bucket] += 1
            elif slot.code:
                run = None
                window.run_from = slot.next
        commit.passed = [Passed(*passed) for passed in commit.passed]

    async def in_thread(self, call: Callable[..., _T], *arguments: Any) -> _T:
        """One call after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def close(self) -> None:
        """Waits for what is being stored, beside the loop: the books may be locked."""
        await asyncio.to_thread(self._thread.shutdown, wait=True)


def _continues(run: list[Any], slot: Slot) -> bool:
    return bool(run[3] == slot.outcome and run[4] == slot.code and run[5] // _MINUTE_MS == slot.at // _MINUTE_MS)
