"""Which ids of a load are in the warehouse already: exact within a window, at a cost that does not grow with it.

Bloom filters say for most new ids that they are new. What they call possible is looked up in the warehouse, only
among the rows received in the spans of time that those filters cover. They are rebuilt from the warehouse at the start;
docs/decisions/0002-duplicates-filter.md has the figures behind the constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from rbloom import Bloom

from headrace.warehouses.base import Warehouse

FALSE_POSITIVES: Final = 1e-6
"""For one filter: 29 bits an id. A new id that is called possible costs a look at all rows of that filter's span."""
BYTES_PER_ID: Final = 4
CAPACITY_MINIMUM: Final = 4_096
CAPACITY_MAXIMUM: Final = 4_000_000
GROWTH: Final = 2
"""A generation is this many times as large as all before it: each id is looked for in all of them, so they should be few."""
RECENT: Final = 32_768
RECENT_BYTES: Final = 160
"""Of an id in the sets of recent ones: text, hash and slot."""


class Generation:
    """A filter over the ids received between `first` and `last`, inclusive."""

    def __init__(self, capacity: int, first: datetime, last: datetime) -> None:
        self.capacity = capacity
        self.bloom = Bloom(capacity, FALSE_POSITIVES)
        self.size_bytes = int(self.bloom.size_in_bits) // 8
        self.ids = 0
        self.first = first
        self.last = last

    def add(self, ids: Iterable[str], count: int, first: datetime, last: datetime) -> None:
        self.bloom.update(ids)
        self.ids += count
        self.first = min(self.first, first)
        self.last = max(self.last, last)


class Window:
    """The ids of one schema: generations, oldest first, each larger than all before it, so that a small source costs
    kilobytes; and the latest ids themselves, since a client's repetition mostly follows at once."""

    def __init__(self, exact_since: datetime, capacity_maximum: int = CAPACITY_MAXIMUM) -> None:
        self.capacity_maximum = capacity_maximum
        self.generations: list[Generation] = []
        self.exact_since = exact_since
        self._recent: set[str] = set()
        self._recent_before: set[str] = set()

    @property
    def size_bytes(self) -> int:
        recent = len(self._recent) + len(self._recent_before)
        return sum(generation.size_bytes for generation in self.generations) + recent * RECENT_BYTES

    @property
    def oldest(self) -> Generation:
        return min(self.generations, key=lambda generation: generation.last)

    def add(self, ids: Sequence[str], first: datetime, last: datetime, *, apart: bool = False) -> None:
        """`apart` begins a generation."""
        if apart or not self.generations or self.generations[-1].ids + len(ids) > self.generations[-1].capacity:
            total = sum(generation.ids for generation in self.generations)
            capacity = max(len(ids), min(max(GROWTH * total, CAPACITY_MINIMUM), self.capacity_maximum))
            self.generations.append(Generation(capacity, first, last))
        self.generations[-1].add(ids, len(ids), first, last)

    def remember(self, ids: Iterable[str]) -> None:
        self._recent.update(ids)
        if len(self._recent) >= RECENT:
            self._recent_before, self._recent = self._recent, set()

    def among(
        self, ids: Sequence[str], look_up: Callable[[Sequence[str], Sequence[tuple[datetime, datetime]]], set[str]]
    ) -> set[str]:
        """Those of the ids that are in the window. `look_up` decides about the possible ones."""
        known = {message_id for message_id in ids if message_id in self._recent or message_id in self._recent_before}
        unknown = [message_id for message_id in ids if message_id not in known] if known else ids
        possible: set[str] = set()
        spans = []
        for generation in self.generations:
            bloom = generation.bloom
            found = [message_id for message_id in unknown if message_id in bloom]
            if found:
                possible.update(found)
                spans.append((generation.first, generation.last))
        return known | look_up(sorted(possible), spans) if possible else known


class Duplicates:
    """The windows of all schemas, within one memory limit. Used by the loader's thread alone, but for `window_start`."""

    def __init__(self, warehouse: Warehouse, window: timedelta, memory_bytes: int, now: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._window = window
        self._memory_bytes = memory_bytes
        self._now = now
        self._window_by_schema: dict[str, Window] = {}
        self.sources_with_rejected = {key.source for key, books in warehouse.books().items() if books.rejected}
        """Sources some event of which the loader rejected at some time: a repetition of it is a duplicate, too."""

    def among(self, slug: str, schema: str | None, ids: Sequence[str]) -> set[str]:
        """Those of the ids (each given once) that the source's events in the warehouse have already, or its rejected ones."""
        known = self._warehouse.rejected_ids(slug, ids) if slug in self.sources_with_rejected else set()
        if schema is None:
            return known
        return known | self._of(schema).among(
            ids, lambda possible, spans: self._warehouse.existing_ids(schema, possible, spans)
        )

    def add(self, schema: str, received_at_by_id: Mapping[str, datetime]) -> None:
        """The ids of a committed load."""
        if not received_at_by_id:
            return
        window = self._of(schema)
        moments = received_at_by_id.values()
        window.add(list(received_at_by_id), min(moments), max(moments))
        window.remember(received_at_by_id)
        self._expire()

    def window_start(self, schema: str) -> datetime | None:
        """Since when the schema's duplicates are found without exception; None for a schema not used since the start."""
        window = self._window_by_schema.get(schema)
        return None if window is None else max(window.exact_since, self._since())

    def size_bytes(self) -> int:
        return sum(window.size_bytes for window in self._window_by_schema.values())

    def rebuild(self, schemas: Iterable[str]) -> None:
        """Fill the filters from the warehouse: once at the start, before the first load."""
        for schema in schemas:
            self._of(schema)

    def _since(self) -> datetime:
        try:
            return self._now() - self._window
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)

    def _of(self, schema: str) -> Window:
        window = self._window_by_schema.get(schema)
        if window is None:
            since = self._since()
            # One generation must not take much of the memory: it leaves as a whole.
            window = Window(since, min(CAPACITY_MAXIMUM, self._memory_bytes // 8 // BYTES_PER_ID))
            before = since
            for first, last, ids in self._warehouse.ids_since(schema, since):
                # The next table begins at an earlier time; one generation over both would cover a long span.
                window.add(ids, first, last, apart=first < before)
                before = first
            self._window_by_schema[schema] = window
            self._expire()
        return window

    def _expire(self) -> None:
        """Drop generations that left the window, then the oldest ones until the rest is within the memory limit."""
        since = self._since()
        for window in self._window_by_schema.values():
            window.generations = [generation for generation in window.generations if generation.last >= since]
        size_bytes = self.size_bytes()
        while size_bytes > self._memory_bytes:
            windows = [window for window in self._window_by_schema.values() if window.generations]
            if not windows:
                return
            window = min(windows, key=lambda window: window.oldest.last)
            oldest = window.oldest
            window.generations.remove(oldest)
            window.exact_since = max(window.exact_since, oldest.last + timedelta.resolution)
            size_bytes -= oldest.size_bytes
