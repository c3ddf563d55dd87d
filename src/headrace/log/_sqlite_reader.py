"""Reads a partition of the embedded log, beside its writer or without one."""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from headrace.config import LogConfig
from headrace.errors import LogCorruptError, LogUnavailableError, PositionError
from headrace.event import LogEntry
from headrace.log import _retention, _segment, chunk, hourly
from headrace.log._segment import BEYOND, Mark, Row, Segment, SegmentHeader
from headrace.log.base import UNKNOWN_SOURCE, Bounds, Gap, Hourly, Slice, Tally
from headrace.log.hourly import UNKNOWN, Carried, Numbered

logger = logging.getLogger(__name__)

OPEN_SEGMENTS: Final = 4
SETTLED_SECONDS: Final = 0.5
"""A folder that was changed longer ago than this when it was listed is listed again only after its time has changed."""

_Found = chunk.Chunk | Gap | int | None
"""The chunk that holds an offset, what was lost there, the offset to go on at, or None at the log's end."""


class _Opened(NamedTuple):
    """`mark` is as it was after opening: until the segment is opened anew nothing beyond it can appear."""

    segment: Segment
    header: SegmentHeader | None
    mark: Mark | None

    @property
    def start(self) -> int:
        return self.segment.start


class _Place(NamedTuple):
    """An open segment, the one after it, and the offset from which on its content is void."""

    opened: _Opened
    following: _Opened | None
    limit: int


class SqliteReader:
    """For one thread at a time. Keeps the few segments open that it reads."""

    def __init__(
        self, folder: Path, partition: int, incarnation: str, config: LogConfig, now: Callable[[], float]
    ) -> None:
        self.partition = partition
        self.incarnation = incarnation
        self._folder = folder
        self._config = config
        self._now = now
        self._starts: list[int] = []
        self._listed: float | None = None
        self._opened: dict[int, _Opened] = {}
        self._cut: chunk.Chunk | None = None
        """The chunk that the last read ended in, so that it is decoded once."""
        self._books: tuple[int, Mapping[str, Tally]] = (0, {})
        """The books before an offset: where the last read ended."""
        self._met: Gap | None = None
        """The gap that was met last: the read that meets it behind entries leaves it to the next one."""
        self._reported: set[int] = set()
        self._hidden: tuple[int, Numbered] = (-1, {})
        """What damage hides in the segment that starts there."""

    def bounds(self) -> Bounds:
        self._list()
        return Bounds(self._starts[0], self._end(self._open(self._starts[-1]))) if self._starts else Bounds(0, 0)

    def totals(self) -> Mapping[str, Tally]:
        self._list()
        if not self._starts:
            return {}
        last = self._open(self._starts[-1])
        return last.mark.totals if last.mark else last.segment.tail().totals

    def hourly(self) -> Hourly:
        self._list()
        if not self._starts:
            return hourly.complete(Carried({}, 0), {})
        last = self._open(self._starts[-1])
        if last.mark is not None:
            return hourly.complete(Carried(last.mark.hourly, last.mark.since), last.mark.totals)
        tail = last.segment.tail()
        # What is appended meanwhile is in neither.
        before = self._hours_before(last, BEYOND if tail.end is None else tail.end)
        return hourly.complete(before, tail.totals)

    def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
        entries: list[LogEntry] = []
        size_bytes, at = 0, offset
        while len(entries) < max_entries:
            found = self._find(at)
            if found is None:
                break
            if isinstance(found, int):
                # A slice's entries are contiguous, so it ends where offsets are missing.
                if entries:
                    break
                at = found
            elif isinstance(found, Gap):
                return Slice(entries, at, (), size_bytes) if entries else Slice((), found.next, (found,))
            else:
                skipped, count = at - found.header.first, found.header.entries
                taken = min(count - skipped, max_entries - len(entries))
                taken_bytes = found.header.body_bytes * taken // count
                self._cut = found
                if entries and size_bytes + taken_bytes > max_bytes:
                    break
                entries.extend(found.entries[skipped : skipped + taken])
                size_bytes += taken_bytes
                at += taken
        if self._cut is not None and at >= self._cut.header.next:
            self._cut = None
        return Slice(entries, at, (), size_bytes)

    def retain(self, needed: int, others: Collection[int] = ()) -> Sequence[Path]:
        self._list()
        closed = []
        for start, following in zip(self._starts, self._starts[1:], strict=False):
            try:
                header = self._open(following).header
            except LogUnavailableError:
                break  # on a full disk it may be the removal of others that makes room to open it
            if header is None:
                break
            size = _segment.size_bytes(_segment.path_of(self._folder, start))
            end = following if header.previous_end is None else header.previous_end
            closed.append(_retention.Closed(start, following, end, size, header.created_at))
        if not closed:
            return ()
        active_bytes = _segment.size_bytes(_segment.path_of(self._folder, self._starts[-1]))
        removable = _retention.removable(closed, active_bytes, needed, self._config, self._now())
        for segment in removable:
            for first in sorted({max(needed, segment.start), *others}):
                if max(needed, segment.start) <= first < segment.end:
                    self._note_loss(segment, first, needed)
        for segment in removable:
            opened = self._opened.pop(segment.start, None)
            if opened is not None:
                opened.segment.close()
        removed = _retention.remove(self._folder, [segment.start for segment in removable])
        self._list()
        return removed

    def close(self) -> None:
        for opened in self._opened.values():
            opened.segment.close()
        self._opened.clear()

    # What is at an offset.

    def _find(self, at: int) -> _Found:
        known = self._known(at)
        if known is not None:
            return known
        place = self._place(at)
        if place is None:
            return self._before_first(at)
        if at >= place.limit:
            return self._after_last(place, at, place.limit)
        segment, span = place.opened.segment, None
        try:
            row = segment.from_offset(at)
            if row is None or row.first != at:
                span = segment.span_before(at)
                if span is not None and span[1] > at:
                    row = segment.from_offset(span[0])
        except LogCorruptError as error:
            return self._lost(place, at, str(error))
        if row is None or row.first >= place.limit:
            return self._after_last(place, at, span[1] if span else segment.start)
        return self._decoded(place, at, row)

    def _decoded(self, place: _Place, at: int, row: Row) -> _Found:
        path = place.opened.segment.path
        if row.first > at:
            return self._lost(place, at, f"{path}: offsets {at} to {row.first - 1} are missing")
        try:
            found = chunk.decode(row.content)
            if (found.header.first, found.header.next) != (row.first, row.next):
                raise LogCorruptError("chunk: it belongs to another place")  # noqa: TRY301 - as damaged as one that cannot be decoded
        except LogCorruptError as error:
            return self._lost(place, at, f"{path}: {error}", row)
        self._books = (row.next, found.header.totals)
        return found

    def _known(self, at: int) -> _Found:
        if self._cut is not None and self._cut.header.first <= at < self._cut.header.next:
            return self._cut
        return self._met if self._met is not None and self._met.first == at else None

    def _after_last(self, place: _Place, at: int, end: int) -> _Found:
        """No chunk of this segment is at the offset or after it; `end` is where the last one before it ends."""
        opened, following, limit = place
        if following is None and self._is_followed(opened.start):
            return self._find(at)
        if following is None:
            end = max(end, limit if opened.mark else 0)
            if at > end:
                raise self._beyond(at, end)
            return (
                None if at == end else self._lost(place, at, f"{opened.segment.path}: its end from {at} on is missing")
            )
        if limit != BEYOND:
            if at < limit:
                return self._lost(place, at, f"{opened.segment.path}: offsets {at} to {limit - 1} are missing")
            if at > limit:
                raise self._beyond(at, limit)
            return following.start if self._is_inhabited(following) else None
        if following.header is not None and following.header.previous_start == opened.start:
            return self._lost(place, at, f"{opened.segment.path}: what it held from {at} on is not known")
        before, after = self._books_before(place, at), self._books_at_start(following)
        if before is not None and after is not None and not chunk.subtracted(after, before):
            return following.start
        if following.header is None:
            return self._lost(place, at, f"{opened.segment.path}: what it held from {at} on is not known")
        lost = self._difference(before, after, None)
        hours = hourly.shared_out(lost, self._hours_between(place, at, following))
        return self._gap(
            at, following.start, lost, hours, "log_removed", f"segments between {at} and {following.start} are gone"
        )

    def _before_first(self, at: int) -> _Found:
        if not self._starts:
            if at > 0:
                raise self._beyond(at, 0)
            return None
        first = self._open(self._starts[0])
        end = first.header.previous_end if first.header else None
        if end is not None and at >= end:
            if at > end:
                raise self._beyond(at, end)
            return first.start
        after = self._books_at_start(first)
        noted = _retention.noted_loss(self._folder, at, first.start)
        if self._books[0] == at:
            lost = self._difference(self._books[1], after, None)
        elif noted is not None:
            lost = noted.lost
        else:
            most = min(first.start - at, sum(sum(tally) for tally in (after or {}).values()))
            lost = {UNKNOWN_SOURCE: Tally(most)}
        hours = hourly.shared_out(lost, noted.hours if noted else {})
        reason = f"offsets {at} to {first.start - 1} were removed unread"
        return self._gap(at, first.start, lost, hours, "log_removed", reason)

    # What was lost.

    def _lost(self, place: _Place, at: int, reason: str, row: Row | None = None) -> _Found:
        """The damage at the offset: to the next chunk that can be read, counted by the books on both sides."""
        header = _segment.header_in(row) if row else None
        if header is not None:
            # Only its body is damaged.
            self._books = (header.next, header.totals)
            lost = _at_most(hourly.by_source(header.tally), header.next - at)
            hours = hourly.shared_out(lost, header.tally, hourly.first_hour(header.tally))
            return self._gap(at, header.next, lost, hours, "log_corrupt", reason)
        if place.following is None and self._is_followed(place.opened.start):
            return at
        before = self._books_before(place, at)
        after = place.opened.segment.header_after(at + 1, place.limit)
        mark = place.opened.mark
        totals: Mapping[str, Tally] | None
        if after is not None:
            end, resume, totals = after.first, after.first, after.totals_before
        elif place.following is not None:
            resume, totals = self._books_after(place.following)
            end = place.limit if resume == place.following.start else BEYOND
            resume = resume if end == BEYOND else end
        elif mark is not None and mark.end > at:
            end, resume, totals = mark.end, mark.end, mark.totals
        elif row is not None:
            end, resume, totals = row.next, row.next, None
        else:
            # The end of the last segment: its writer will open another, which says where this one ended.
            self._report(at, reason)
            return None
        lost = self._difference(before, totals, None if end == BEYOND else end - at)
        if totals is not None:
            self._books = (resume, totals)
        likely = self._hours_hidden(place) if after else self._hours_between(place, at, place.following)
        hours = hourly.shared_out(lost, likely, hourly.first_hour(after.tally) if after else UNKNOWN)
        return self._gap(at, resume, lost, hours, "log_corrupt", reason)

    def _gap(self, at: int, resume: int, lost: dict[str, Tally], hours: Numbered, code: str, reason: str) -> Gap:
        self._report(at, f"{reason}; lost: {sum(sum(tally) for tally in lost.values())} events")
        self._met = Gap(at, resume, lost, code, reason, hourly.by_hour(hours))
        return self._met

    def _report(self, at: int, reason: str) -> None:
        if at not in self._reported:
            self._reported.add(at)
            logger.error("log: partition %d at offset %d: %s", self.partition, at, reason)

    def _difference(
        self, before: Mapping[str, Tally] | None, after: Mapping[str, Tally] | None, most: int | None
    ) -> dict[str, Tally]:
        """`most` is the number of entries there can have been, if that is known."""
        if before is None or after is None:
            return {UNKNOWN_SOURCE: Tally(most)} if most else {}
        lost = chunk.subtracted(after, before)
        return lost if most is None else _at_most(lost, most)

    def _books_before(self, place: _Place, at: int) -> Mapping[str, Tally] | None:
        """The books before the offset, or before the chunk that it lies in. None when they cannot be read."""
        if self._books[0] == at:
            return self._books[1]
        with suppress(LogCorruptError):
            row = place.opened.segment.before(at)
            if row is None:
                return self._books_at_start(place.opened)
            header = _segment.header_in(row)
            if header is not None and header.next >= at:
                return header.totals if header.next == at else header.totals_before
        return None

    def _hours_before(self, opened: _Opened, at: int) -> Carried:
        """The books by hour before an offset of the segment."""
        books = opened.segment.hourly(at)
        if opened.header is None:
            return Carried(books, 0)
        return Carried(hourly.added(opened.header.hourly, books), opened.header.since)

    def _hours_between(self, place: _Place, at: int, following: _Opened | None) -> Numbered:
        """What came between an offset and the end of its segment (or the start of the following one), by hour."""
        after = following.header if following else place.opened.mark
        before = self._hours_before(place.opened, at)
        return hourly.subtracted(after.hourly, before.books) if after else {}

    def _hours_hidden(self, place: _Place) -> Numbered:
        """What damage hides in a segment that ended, by hour: the difference between its end and all that can be read."""
        opened = place.opened
        end = place.following.header if place.following else opened.mark
        if opened.header is None or end is None:
            return {}
        if self._hidden[0] != opened.start:
            told = hourly.added(opened.header.hourly, opened.segment.readable_hours(place.limit))
            self._hidden = (opened.start, hourly.subtracted(end.hourly, told))
        return self._hidden[1]

    def _books_at_start(self, opened: _Opened) -> Mapping[str, Tally] | None:
        if opened.header is not None:
            return opened.header.totals
        first = opened.segment.header_after(opened.start)
        return first.totals_before if first is not None and first.first == opened.start else None

    def _books_after(self, following: _Opened) -> tuple[int, Mapping[str, Tally] | None]:
        """The first offset in the following segments before which the books are known."""
        opened = following
        for start in [start for start in self._starts if start >= following.start]:
            opened = self._open(start)
            totals = self._books_at_start(opened)
            if totals is not None:
                return start, totals
            header = opened.segment.header_after(start)
            if header is not None:
                return header.first, header.totals_before
        return (opened.mark.end, opened.mark.totals) if opened.mark else (following.start, None)

    def _note_loss(self, segment: _retention.Closed, first: int, needed: int) -> None:
        logger.error(
            "log: max_bytes removes segment %s although offsets %d to %d are not loaded yet; they are lost",
            _segment.path_of(self._folder, segment.start), first, segment.end - 1,
        )  # fmt: skip
        place = self._place(first)
        after = self._books_at_start(self._open(segment.following))
        if place is not None:
            lost = self._difference(self._books_before(place, first), after, segment.end - first)
            hours = hourly.shared_out(lost, self._hours_between(place, first, place.following))
            _retention.note_loss(self._folder, _retention.Loss(first, segment.following, lost, hours), needed)

    def _beyond(self, at: int, end: int) -> PositionError:
        return PositionError(
            f"log: partition {self.partition} in {self._folder} ends at offset {end}, but the stored position is {at}; "
            "the warehouse was loaded from another log, or the log lost its end: bring back the files that belong together"
        )

    # Segments.

    def _place(self, at: int) -> _Place | None:
        """The last segment that starts at the offset or before it. None when there is none."""
        while True:
            index = bisect_right(self._starts, at) - 1
            if index < 0:
                self._list()
                index = bisect_right(self._starts, at) - 1
            if index < 0:
                return None
            starts = self._starts
            try:
                opened = self._open(starts[index])
                following = self._open(starts[index + 1]) if index + 1 < len(starts) else None
            except FileNotFoundError:
                self._list()
                if self._starts == starts:
                    raise LogUnavailableError(f"log: a segment of {self._folder} cannot be opened") from None
                continue
            if self._starts == starts:
                return _Place(opened, following, self._limit(opened, following))

    def _is_followed(self, start: int) -> bool:
        """Whether a segment came after it since the last look."""
        self._list()
        return bool(self._starts) and self._starts[-1] > start

    def _limit(self, opened: _Opened, following: _Opened | None) -> int:
        header = following.header if following else None
        if header is not None and header.previous_start == opened.start and header.previous_end is not None:
            return header.previous_end
        return opened.mark.end if opened.mark else BEYOND

    def _end(self, opened: _Opened) -> int:
        """Where the last segment ends."""
        if opened.mark is not None:
            return opened.mark.end
        try:
            span = opened.segment.span_before(BEYOND)
        except LogCorruptError as error:
            self._report(opened.start, str(error))
            return opened.start
        if span is not None:
            return span[1]
        end = opened.header.previous_end if opened.header else None
        return opened.start if end is None else end

    def _is_inhabited(self, opened: _Opened) -> bool:
        """Whether a position in the segment will hold: its writer takes an empty one away when it cannot write to it."""
        try:
            return opened.start != self._starts[-1] or opened.segment.span_before(BEYOND) is not None
        except LogCorruptError:
            return True

    def _list(self) -> None:
        try:
            changed = self._folder.stat().st_mtime
        except OSError:
            changed = None
        if changed is None or changed != self._listed:
            # File times are coarse: a folder that has just changed may change again within the same time.
            is_settled = changed is not None and 0 < changed < time.time() - SETTLED_SECONDS
            self._starts = _segment.starts_in(self._folder)
            self._listed = changed if is_settled else None

    def _open(self, start: int) -> _Opened:
        """Raises FileNotFoundError. Lists the segments anew after opening one: what recovery made visible must be
        judged by what was known by then."""
        found = self._opened.get(start)
        if found is not None:
            return found
        path = _segment.path_of(self._folder, start)
        is_closed = start != self._starts[-1] or _segment.mark_of(path) is not None
        segment = Segment.open(path, is_closed=is_closed)
        try:
            found = _Opened(segment, segment.header(), _segment.mark_of(path))
            if found.header is not None and found.header.incarnation != self.incarnation:
                raise PositionError(  # noqa: TRY301 - closes the segment like every other error
                    f"log: {path} belongs to log {found.header.incarnation}, not to {self.incarnation}; "
                    "take it out of the folder"
                )
            self._list()
        except BaseException:
            segment.close()
            raise
        if found.header is None:
            self._report(start, f"{path}: the segment's header is damaged")
        if len(self._opened) >= OPEN_SEGMENTS:
            self._opened.pop(next(iter(self._opened))).segment.close()
        self._opened[start] = found
        return found


def _at_most(lost: Mapping[str, Tally], most: int) -> dict[str, Tally]:
    """No more entries than there were: the rest of a chunk had been read before. Which source's is a guess then."""
    rest = {}
    for source, tally in lost.items():
        kept = Tally(min(tally.accepted, most), min(tally.refused, max(0, most - tally.accepted)))
        most -= sum(kept)
        if sum(kept):
            rest[source] = kept
    return rest
