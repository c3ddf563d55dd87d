"""What was read of a partition and is not all done yet: entries finish in any order, the position moves in theirs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from headrace.delivery.commits import Story

BREAK: Final = "break"
"""The code of a slot over which no run reaches."""


class Slot:
    """One entry, or (with an empty outcome that is done) a range of entries that are none of this destination's."""

    __slots__ = ("at", "bucket", "code", "first", "is_done", "lost", "minute", "next", "outcome", "source", "story")

    def __init__(self, first: int, following: int, minute: int = 0, source: str = "") -> None:
        self.first = first
        self.next = following
        self.minute = minute
        self.source = source
        self.is_done = False
        self.outcome = ""
        self.code = ""
        self.at = 0
        self.bucket = -1
        self.story: Story | None = None
        self.lost: Mapping[tuple[int, str], int] = {}
        """Events by minute and source that stood here and that the log does not have any more."""

    def finish(self, outcome: str, code: str, at: int, bucket: int = -1) -> None:
        self.outcome, self.code, self.at, self.bucket, self.is_done = outcome, code, at, bucket, True

    def tell(self, story: Story) -> None:
        """The entry gets a row of its own."""
        self.outcome, self.code, self.at, self.story, self.is_done = (
            story.outcome,
            story.code,
            story.last_at,
            story,
            True,
        )


class Window:
    """`read` is where the next entry will be read, `position` where everything before is done."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.read = position
        self.run_from = position
        """Where the next run may begin: entries that are nobody's belong to the run after them."""
        self._slots: deque[Slot] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def skip(self, following: int, *, is_break: bool = False) -> None:
        """Entries up to there are none of this destination's, or there are none. No run reaches over them where `is_break`: they are
        of connected sources, and have not been delivered."""
        code = BREAK if is_break else ""
        last = self._slots[-1] if self._slots else None
        if last is not None and last.is_done and not last.outcome and last.code == code:
            last.next = following
        else:
            slot = Slot(self.read, following)
            slot.is_done, slot.code = True, code
            self._slots.append(slot)
        self.read = following

    def lose(self, following: int, lost: Mapping[tuple[int, str], int], at: int) -> None:
        """The log does not have the entries up to there any more: they are counted when their turn comes, like all others."""
        slot = Slot(self.read, following)
        slot.finish("failed", "LOST", at)
        slot.lost = lost
        self._slots.append(slot)
        self.read = following

    def add(self, offset: int, minute: int, source: str) -> Slot:
        slot = Slot(offset, offset + 1, minute, source)
        self._slots.append(slot)
        self.read = offset + 1
        return slot

    def done(self) -> Iterator[Slot]:
        """Take what is done from the front; the position moves along."""
        while self._slots and self._slots[0].is_done:
            slot = self._slots.popleft()
            self.position = slot.next
            yield slot
