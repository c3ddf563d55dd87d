"""What a selection would make of the newest events of the log, without changing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from headrace.console.warehouse_orders import SelectionTrial, TriedTable
from headrace.event import Event, LogEntry
from headrace.loader import selection
from headrace.loader.selection import EVERYTHING, Selection, Selector
from headrace.log.base import LogReader
from headrace.names import event_slug, event_table

READ_BYTES: Final = 4_000_000


def tried(chosen: Selection | None, source: str, readers: Sequence[LogReader], entries: int) -> SelectionTrial:
    """Raises ConfigError when the filter is wrong."""
    selector = Selector(chosen or EVERYTHING)
    stored: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    read = kept = 0
    moments = []
    for entry in _newest(readers, entries):
        read += 1
        if not isinstance(entry, Event) or entry.source != source:
            continue
        moments.append(entry.received_at)
        is_kept = selector.keeps(entry)
        kept += is_kept
        for table in _tables(entry):
            # `keeps` decides about an event as a whole; a track event that is kept always has its row in `tracks`.
            is_stored = is_kept and (table == selection.TRACKS or selector.keeps_table(table))
            (stored if is_stored else left_out)[table] += 1
    tables = [TriedTable(table, stored[table], left_out[table]) for table in sorted(stored.keys() | left_out.keys())]
    return SelectionTrial(
        entries=read,
        events=len(moments),
        stored=kept,
        left_out=len(moments) - kept,
        since=min(moments, default=None),
        until=max(moments, default=None),
        tables=tables,
        notes=selection.consequences(chosen) if chosen else (),
    )


def _newest(readers: Sequence[LogReader], entries: int) -> Iterator[LogEntry]:
    share = max(1, entries // max(1, len(readers)))
    for reader in readers:
        bounds = reader.bounds()
        offset = max(bounds.first, bounds.next - share)
        while offset < bounds.next:
            part = reader.read(offset, max_entries=bounds.next - offset, max_bytes=READ_BYTES)
            yield from part.entries
            if part.next <= offset:
                break
            offset = part.next


def _tables(event: Event) -> Sequence[str]:
    if event.type != "track":
        return (selection.TABLE_BY_TYPE[event.type],)
    return (selection.TRACKS,) if event.event is None else (selection.TRACKS, event_table(event_slug(event.event)))
