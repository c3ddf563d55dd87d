"""Entries and helpers of the log's tests: lines that are cheap to make and to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from headrace.event import Event, LogEntry, RejectedEvent, encode
from headrace.log.base import Gap, Hour, LogReader, LogWriter, Tally, hour_of

NOW = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)


def lines(ids: Sequence[str], source: str = "shop") -> list[bytes]:
    return [encode(Event(source, "track", name, NOW, NOW, event="E", user_id="u")) for name in ids]


def refused_line(source: str = "shop") -> bytes:
    return encode(RejectedEvent(source, "collector", "bad_request", "no JSON", "{", NOW))


def append(writer: LogWriter, *ids: str, source: str = "shop") -> int:
    return writer.append(lines(ids, source), {Hour(source, hour_of(NOW)): Tally(len(ids), 0)})


def names(entries: Sequence[LogEntry]) -> list[str]:
    return [entry.message_id or "" for entry in entries]


def slices(
    reader: LogReader, offset: int = 0, max_entries: int = 1_000
) -> Iterator[tuple[int, Sequence[LogEntry], Sequence[Gap]]]:
    """All there is from `offset` on, as (offset of the slice, entries, gaps)."""
    while True:
        found = reader.read(offset, max_entries=max_entries, max_bytes=10_000_000)
        if found.next == offset:
            return
        yield offset, found.entries, found.gaps
        offset = found.next


def everything(reader: LogReader, offset: int = 0, max_entries: int = 1_000) -> tuple[list[str], list[Gap]]:
    """The ids of all entries and all gaps from `offset` on."""
    ids: list[str] = []
    gaps: list[Gap] = []
    for _, entries, lost in slices(reader, offset, max_entries):
        ids += names(entries)
        gaps += lost
    return ids, gaps
