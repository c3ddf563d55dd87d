"""Where a stream is in the log, as one text that a browser can keep and give back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from headrace.errors import RequestError

LEAP: Final = 1_000_000_000
"""After a crash offsets leap by so many, and what was leapt over are no entries."""
_MOST: Final = 1 << 62
_TEXT: Final = re.compile(r"([0-9a-zA-Z]{1,64})((?:\.[0-9]{1,6}-[0-9]{1,19}){0,1000})", re.ASCII)


class Position(NamedTuple):
    """In every partition the offset of the entry that comes next. `incarnation` is that of the log to which the offsets belong."""

    incarnation: str
    offsets: Mapping[int, int]

    def __str__(self) -> str:
        return ".".join((self.incarnation, *(f"{partition}-{at}" for partition, at in sorted(self.offsets.items()))))

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises RequestError.

        >>> str(Position.read("5f0c.0-17.1-4"))
        '5f0c.0-17.1-4'
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise RequestError(
                "position_unreadable", f"debugger: {text[:80]!r} is no position; give one that a frame or a page had"
            )
        parts = [part.split("-") for part in found[2].split(".")[1:]]
        return cls(found[1], {int(partition): min(int(at), _MOST) for partition, at in parts})

    def within(self, ends: Position) -> Position:
        """The same for all partitions that there are; one that was not there yet begins at 0. `ends` is where the log ends.
        Raises RequestError where the position cannot be of this log."""
        if self.incarnation != ends.incarnation:
            raise RequestError(
                "position_of_another_log",
                "debugger: the position belongs to another log (the data folder was made anew); begin without a position",
                409,
            )
        if any(self.offsets.get(partition, 0) > end for partition, end in ends.offsets.items()):
            raise RequestError(
                "position_beyond", "debugger: the position is beyond the log's end; begin without one", 409
            )
        return Position(self.incarnation, {partition: self.offsets.get(partition, 0) for partition in ends.offsets})

    def entries_to(self, end: Position) -> int:
        """About how many entries are from here to there."""
        return sum(entries_between(self.offsets.get(partition, 0), at) for partition, at in end.offsets.items())


def entries_between(first: int, following: int) -> int:
    """As many as there can be, at the most.

    >>> entries_between(10, 15), entries_between(15, 15), entries_between(10, LEAP + 12)
    (5, 0, 2)
    """
    return (following - first) % LEAP if following > first else 0
