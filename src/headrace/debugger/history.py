"""Backwards through the log: pages of what came before a place or a time, the newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from headrace.debugger.choice import Choice
from headrace.debugger.position import Position
from headrace.debugger.shown import Lost, Shown, lost, shown
from headrace.errors import NotFoundError, PositionError
from headrace.event import LogEntry
from headrace.log.base import Gap, LogReader

WINDOW: Final = 500
MOST_BYTES: Final = 4_000_000
MOST_LOOKED_AT: Final = 20_000
"""So many entries are looked at for a page; a page says where it came to, and the next one goes on there."""


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """`entries`: the newest first. `before` is what the next page is asked with, None at the log's beginning. `looked_at` entries were
    read, back to `looked_back_to`; fewer than `limit` may have fitted. `end` is where the log ended when the first page was made: a stream
    that begins there goes on without a gap."""

    entries: Sequence[Shown]
    before: str | None
    looked_at: int
    looked_back_to: datetime | None
    end: str
    lost: Sequence[Lost] = ()


_Found = tuple[int, LogEntry | Gap]
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def end_of(readers: Sequence[LogReader]) -> Position:
    return Position(readers[0].incarnation, {reader.partition: reader.bounds().next for reader in readers})


def page(
    readers: Sequence[LogReader],
    choice: Choice,
    before: Position | None,
    until: datetime | None,
    limit: int,
    is_late: Callable[[], bool] = lambda: False,
) -> EventPage:
    """What was stored before a position, or received before `until`. `is_late` says when looking on takes too long for one page. Raises
    RequestError for a position of another log."""
    end = end_of(readers)
    at = dict((end if before is None else before.within(end)).offsets)
    if before is None and until is not None:
        at = {reader.partition: offset_at(reader, until) for reader in readers}
    parts = {reader.partition: backwards(reader, at[reader.partition]) for reader in readers}
    heads = {partition: head for partition, part in parts.items() if (head := next(part, None)) is not None}
    chosen: list[Shown] = []
    gaps: list[Lost] = []
    looked_at, looked_back_to = 0, None
    while heads and len(chosen) < limit and looked_at < MOST_LOOKED_AT and not (looked_at % WINDOW == 0 and is_late()):
        partition = _newest(heads)
        at[partition], entry = heads.pop(partition)
        following = next(parts[partition], None)
        if following is not None:
            heads[partition] = following
        if isinstance(entry, Gap):
            gaps.append(lost(partition, entry))
            continue
        looked_at, looked_back_to = looked_at + 1, entry.received_at
        line = shown(partition, at[partition], entry)
        if choice.fits(entry, line):
            chosen.append(line)
    return EventPage(
        entries=chosen,
        before=str(Position(end.incarnation, at)) if heads else None,
        looked_at=looked_at,
        looked_back_to=looked_back_to,
        end=str(end),
        lost=gaps,
    )


def _newest(heads: Mapping[int, _Found]) -> int:
    """Of several partitions the one whose next entry was received last; a gap is told where it is met."""

    def time(partition: int) -> datetime:
        found = heads[partition][1]
        return _LATEST if isinstance(found, Gap) else found.received_at

    return max(heads, key=time)


def backwards(reader: LogReader, end: int) -> Iterator[_Found]:
    """Offset and entry, or gap, from before `end` to the partition's beginning."""
    first = reader.bounds().first
    while end > first:
        start = max(first, end - WINDOW)
        found = list(_forwards(reader, start, end))
        if found:
            yield from reversed(found)
            end = min(start, found[0][0])
        else:
            end = _last_end(reader, first, start)


def _forwards(reader: LogReader, start: int, end: int) -> Iterator[_Found]:
    at = start
    while at < end:
        found = reader.read(at, max_entries=end - at, max_bytes=MOST_BYTES)
        if found.next == at:
            return
        for gap in found.gaps:
            if gap.first < end:
                yield gap.first, gap
        for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
            if offset < end:
                yield offset, entry
        at = found.next


def _last_end(reader: LogReader, first: int, hole: int) -> int:
    """Offsets leap after a crash: where what is stored before the hole ends. Nothing is stored from there to `hole`."""
    nothing, something, step = hole, max(first, hole - WINDOW), WINDOW
    while not _is_anything(reader, something, nothing):
        if something == first:
            return first
        step *= 4
        nothing, something = something, max(first, something - step)
    while nothing - something > 1:
        middle = (something + nothing) // 2
        if _is_anything(reader, middle, nothing):
            something = middle
        else:
            nothing = middle
    return nothing


def _is_anything(reader: LogReader, start: int, end: int) -> bool:
    """Whether anything is stored from `start` on and before `end`."""
    try:
        found = reader.read(start, max_entries=1, max_bytes=1)
    except PositionError:
        return False
    return bool(found.gaps) or (found.next - len(found.entries)) < end


def offset_at(reader: LogReader, moment: datetime) -> int:
    """The first entry that was received then or later; a partition is in the order of receipt but for moments."""
    low, high = reader.bounds()
    while low < high:
        middle = (low + high) // 2
        offset, entry = _first_from(reader, middle, high)
        if entry is None or entry.received_at >= moment:
            high = middle
        else:
            low = offset + 1
    return low


def _first_from(reader: LogReader, at: int, end: int) -> tuple[int, LogEntry | None]:
    while at < end:
        found = reader.read(at, max_entries=1, max_bytes=1)
        if found.entries:
            offset = found.next - len(found.entries)
            return (offset, found.entries[0]) if offset < end else (end, None)
        if found.next == at:
            break
        at = found.next
    return end, None


def entry_at(readers: Sequence[LogReader], partition: int, offset: int) -> LogEntry:
    """Raises NotFoundError."""
    reason = "its place is none of this log"
    for reader in readers:
        if reader.partition == partition and offset < reader.bounds().next:
            found = reader.read(offset, max_entries=1, max_bytes=1)
            if found.entries and found.next - len(found.entries) == offset:
                return found.entries[0]
            reason = found.gaps[0].reason if found.gaps else "nothing was stored there"
    raise NotFoundError(f"debugger: partition {partition} has no entry at offset {offset}: {reason}")
