"""What waits to be sent: one lane for all, or, where the order per user is kept, a lane for each of the requests at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from headrace.delivery.commits import Story
from headrace.delivery.window import Slot
from headrace.destinations.base import Batching, Prepared
from headrace.event import Event

OVERHEAD_BYTES: Final = 400
LOOK_BEYOND: Final = 1_000
"""So many events of users who have one in the batch already are passed over."""


class Item:
    """An event on its way: a fresh one has a slot, one that is tried again a story, one that is replayed `ended`, and counts its attempts here."""

    __slots__ = (
        "alone",
        "attempts",
        "chain",
        "ended",
        "event",
        "first_at",
        "key",
        "offset",
        "partition",
        "prepared",
        "size",
        "slot",
        "story",
    )

    def __init__(
        self,
        partition: int,
        offset: int,
        event: Event,
        prepared: Prepared,
        *,
        slot: Slot | None = None,
        story: Story | None = None,
        ended: Callable[[Item, Any], None] | None = None,
        key: str | None = None,
    ) -> None:
        """`key` is the user's, where order is kept."""
        self.partition = partition
        self.offset = offset
        self.event = event
        self.prepared = prepared
        self.slot = slot
        self.story = story
        self.ended = ended
        self.key = key
        self.alone = False
        self.chain: Chain | None = None
        self.attempts = 0
        self.first_at = 0
        self.size = len(event.properties) + len(event.context) + len(event.integrations) + OVERHEAD_BYTES


class Chain:
    """A user's events that were taken up together: once one of them fails, those after it are not sent."""

    __slots__ = ("is_broken",)

    def __init__(self) -> None:
        self.is_broken = False


class Lane:
    """Fresh events and those that are tried again take turns, so that neither kind keeps the other from going."""

    def __init__(self, limits: Batching, *, is_ordered: bool) -> None:
        self._limits = limits
        self._is_ordered = is_ordered
        self.fresh: deque[Item] = deque()
        self.again: deque[Item] = deque()
        self._alone: deque[Item] = deque()
        self._was_fresh = False
        self.turn: Final = asyncio.Lock()
        self._news: Final = asyncio.Event()

    def __len__(self) -> int:
        return len(self.fresh) + len(self.again) + len(self._alone)

    def put(self, item: Item) -> None:
        (self._alone if item.alone else self.fresh if item.slot is not None else self.again).append(item)
        self._news.set()

    def drop(self, items: Collection[Item]) -> None:
        """They are not to be sent any more; those that are on their way are not called back."""
        self.again = deque(item for item in self.again if item not in items)
        self._alone = deque(item for item in self._alone if item not in items)

    async def filled(self) -> None:
        """Wait until there is something to send."""
        while not len(self):
            self._news.clear()
            await self._news.wait()

    async def batch(self) -> list[Item]:
        """The next events to be sent together, at least one. Waits for them, and a moment for more."""
        await self.filled()
        if self._alone:
            return [self._alone.popleft()]
        await self._company()
        first, second = (self.again, self.fresh) if self._was_fresh else (self.fresh, self.again)
        chosen = first or second
        self._was_fresh = chosen is self.fresh
        return self._take(chosen)

    async def _company(self) -> None:
        wanted = self._limits.events
        if wanted <= 1 or not self._limits.wait_seconds:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.wait_seconds
        while len(self) < wanted and (left := until - loop.time()) > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return

    def _take(self, waiting: deque[Item]) -> list[Item]:
        """Where order is kept a user has one event in a batch: the next one goes with the next batch."""
        taken: list[Item] = []
        left: list[Item] = []
        size, keys = 0, set()
        while waiting and len(taken) < self._limits.events and len(left) < LOOK_BEYOND:
            if taken and size + waiting[0].size > self._limits.bytes:
                break
            item = waiting.popleft()
            if self._is_ordered and item.key in keys:
                left.append(item)
                continue
            taken.append(item)
            size += item.size
            keys.add(item.key)
        waiting.extendleft(reversed(left))
        return taken


def lane_of(lanes: Sequence[Lane], item: Item) -> Lane:
    """All events of a user have one lane."""
    return lanes[hash(item.key) % len(lanes)]
