"""The newest events of some sources, read from the log's end backwards: for what is tried on real events before it is saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from headrace.errors import PositionError
from headrace.event import Event
from headrace.log.base import LogReader

MOST_LOOKED_AT: Final = 20_000
SECONDS: Final = 2.0
_STEP_ENTRIES: Final = 1_000
_STEP_BYTES: Final = 8_000_000


class Recent(NamedTuple):
    """The newest first. `looked_at` entries of the log were read for them; `is_all`: there are no older ones in the log and the archive."""

    events: Sequence[Event]
    looked_at: int
    is_all: bool


class RecentEvents:
    """May be called from any thread; each call opens readers of its own."""

    def __init__(
        self, open_readers: Callable[[], Sequence[LogReader]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_readers = open_readers
        self._clock = clock

    def newest(self, sources: Collection[str], limit: int) -> Recent:
        """Of these sources, of all where none are named. Stops after some time and some entries: what it has then is told."""
        ends = self._clock() + SECONDS
        found: list[Event] = []
        looked_at, is_all = 0, True
        with self._readers() as readers:
            for number, reader in enumerate(readers, 1):
                wanted = len(found) + limit
                for events, looked in _backwards(reader):
                    looked_at += looked
                    found += [event for event in events if not sources or event.source in sources]
                    is_over = looked_at >= MOST_LOOKED_AT * number / len(readers) or self._clock() > ends
                    if len(found) >= wanted or is_over:
                        is_all = False
                        break
        found.sort(key=lambda event: event.received_at, reverse=True)
        return Recent(found[:limit], looked_at, is_all and len(found) <= limit)

    @contextmanager
    def _readers(self) -> Iterator[Sequence[LogReader]]:
        readers = self._open_readers()
        try:
            yield readers
        finally:
            for reader in readers:
                reader.close()


def _backwards(reader: LogReader) -> Iterator[tuple[Sequence[Event], int]]:
    """Part by part, the newest first, with how many entries each had; each in the order of the log."""
    bounds = reader.bounds()
    end = bounds.next
    while end > bounds.first:
        start = max(bounds.first, end - _STEP_ENTRIES)
        entries = list(_between(reader, start, end))
        yield [entry for entry in entries if isinstance(entry, Event)], max(1, len(entries))
        end = start


def _between(reader: LogReader, start: int, end: int) -> Iterator[object]:
    at = start
    while at < end:
        try:
            found = reader.read(at, max_entries=end - at, max_bytes=_STEP_BYTES)
        except PositionError:
            return
        for offset, entry in enumerate(found.entries, found.next - len(found.entries)):
            if offset < end:
                yield entry
        if found.next == at:
            return
        at = found.next
