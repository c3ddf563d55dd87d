"""The books by source and hour: what every driver of the log must do, and what the embedded one does after damage."""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import event
from headrace.config import LogConfig
from headrace.errors import ConfigError, LogUnavailableError
from headrace.event import Event, LogEntry, RejectedEvent
from headrace.log import _segment, hourly
from headrace.log._segment import Row, Segment
from headrace.log.base import UNKNOWN_HOUR, Hour, LogDriver, LogReader, LogWriter, Tally, hour_of, tallied
from headrace.log.sqlite import SqliteLog
from list_log import ListLog
from log_faults import AT as APPENDED_AT
from log_faults import run

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NOON = AT.replace(minute=0)
ONE = timedelta(hours=1)
SMALL = LogConfig(segment_bytes=65_536)
DRIVERS: dict[str, Callable[[Path, LogConfig], LogDriver]] = {"sqlite": SqliteLog}


class Logs:
    def __init__(self, driver: Callable[[Path, LogConfig], LogDriver], folder: Path) -> None:
        self._driver = driver
        self._opened: list[LogReader | LogWriter] = []
        self.folder = folder

    def writer(self, config: LogConfig = SMALL) -> LogWriter:
        self._opened.append(writer := self._driver(self.folder, config).writer(0))
        return writer

    def reader(self, config: LogConfig = SMALL) -> LogReader:
        self._opened.append(reader := self._driver(self.folder, config).reader(0))
        return reader

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


@pytest.fixture(params=sorted(DRIVERS))
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Logs]:
    opened = Logs(DRIVERS[request.param], tmp_path / "log")
    yield opened
    opened.close()


def accepted(source: str = "shop", at: datetime = AT, count: int = 1, padding: int = 0) -> list[LogEntry]:
    noise = msgspec.Raw(msgspec.json.encode({"noise": random.Random(1).randbytes(padding).hex()}))
    return [Event(source, "track", f"{at}-{n}", at, at, "Bought", user_id="u", properties=noise) for n in range(count)]


def refused(source: str = "shop", at: datetime = AT) -> LogEntry:
    return RejectedEvent(source, "collector", "bad_request", "no JSON", "{", at)


def append(writer: LogWriter, *entries: LogEntry) -> None:
    writer.append([event.encode(entry) for entry in entries], tallied(entries))


def summed(tallies: Mapping[Hour, Tally]) -> dict[str, Tally]:
    return hourly.by_source(hourly.numbered(tallies))


def read(reader: LogReader, offset: int = 0) -> dict[Hour, Tally]:
    """What a consumer can know: the entries by hour, and what the gaps say was lost."""
    books: dict[Hour, Tally] = {}

    def add(tallies: Mapping[Hour, Tally]) -> None:
        for hour, tally in tallies.items():
            before = books.get(hour, Tally())
            books[hour] = Tally(before.accepted + tally.accepted, before.refused + tally.refused)

    while (found := reader.read(offset, max_entries=50, max_bytes=100_000)).next != offset:
        add(tallied(found.entries))
        for gap in found.gaps:
            assert gap.lost == summed(gap.lost_by_hour)
            add(gap.lost_by_hour)
        offset = found.next
    return books


# Every driver.


def test_an_empty_log_has_no_hours(logs: Logs) -> None:
    assert {} == logs.reader().hourly().tallies


def test_accepted_and_refused_events_are_counted_by_source_and_hour_of_receipt(logs: Logs) -> None:
    writer, reader = logs.writer(), logs.reader()
    late = Event("shop", "track", "late", AT, AT - timedelta(days=9), "Bought", user_id="u")
    append(writer, *accepted(count=3), refused(), late)
    append(writer, *accepted("mail", AT + ONE, 2))
    append(writer, *accepted(at=AT + ONE))
    expected = {
        Hour("shop", NOON): Tally(4, 1),
        Hour("mail", NOON + ONE): Tally(2, 0),
        Hour("shop", NOON + ONE): Tally(1, 0),
    }
    assert expected == reader.hourly().tallies == read(logs.reader())
    writer.close()
    assert expected == reader.hourly().tallies == logs.reader().hourly().tallies


def test_one_chunk_may_hold_the_end_of_one_hour_and_the_beginning_of_the_next(logs: Logs) -> None:
    append(logs.writer(), *accepted(at=NOON - timedelta(microseconds=1)), *accepted(at=NOON))
    assert {Hour("shop", NOON - ONE): Tally(1), Hour("shop", NOON): Tally(1)} == logs.reader().hourly().tallies


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "restart", "end of a segment"]),
        st.sampled_from(["shop", "mail", "é"]),
        st.integers(0, 6),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_hours_are_those_of_the_entries_whatever_happened(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, steps: list[Any]
) -> None:
    monkeypatch.setattr(hourly, "CHUNKS", 3)
    for driver in DRIVERS.values():
        logs = Logs(driver, tmp_path_factory.mktemp("log"))
        everything: list[LogEntry] = []
        reader, writer = logs.reader(), logs.writer()
        for step, source, hours, count, is_refused in steps:
            if step == "restart":
                writer.close()
                writer = logs.writer()
            entries = accepted(source, AT + hours * ONE, count, 50_000 if step == "end of a segment" else 0)
            entries += [refused(source, AT + hours * ONE)] if is_refused or not entries else []
            append(writer, *entries)
            everything += entries
            assert tallied(everything) == reader.hourly().tallies
            assert reader.totals() == summed(reader.hourly().tallies)
        logs.close()


def test_hours_outlive_retention_and_a_killed_writer(logs: Logs) -> None:
    config = LogConfig(segment_bytes=65_536, retention_bytes=0)
    writer = logs.writer(config)
    entries = [entry for hour in range(5) for entry in accepted(at=AT + hour * ONE, count=2, padding=50_000)]
    for entry in entries:
        append(writer, entry)
    writer.close()
    reader = logs.reader(config)
    assert [] != list(reader.retain(writer.next))
    assert tallied(entries) == reader.hourly().tallies
    said = run(logs.folder, 30)
    expected = {**tallied(entries), Hour("shop", hour_of(APPENDED_AT)): Tally(2 + sum(said.tried.values()))}
    assert expected == logs.reader().hourly().tallies, "the hour of the killed writer's events is one of those before"
    append(logs.writer(), *accepted("mail"))
    assert {**expected, Hour("mail", NOON): Tally(1)} == logs.reader().hourly().tallies


def test_hours_beyond_the_bound_become_one_and_the_sum_stays(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "KEPT_HOURS", 3)
    for hour in range(6):
        writer = logs.writer()
        append(writer, *accepted(at=AT + hour * ONE, count=hour + 1))
        writer.close()
    found = logs.reader().hourly()
    assert NOON + 3 * ONE == found.since
    expected = {Hour("shop", NOON + n * ONE): Tally(n + 1) for n in (3, 4, 5)} | {Hour("shop", UNKNOWN_HOUR): Tally(6)}
    assert expected == found.tallies


def test_a_clock_that_was_wrong_for_a_moment_costs_no_hours(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "KEPT_HOURS", 3)
    moments = [AT, AT + timedelta(days=3650), AT + ONE]
    for at in moments:
        writer = logs.writer()
        append(writer, *accepted(at=at))
        writer.close()
    assert {Hour("shop", hour_of(at)): Tally(1) for at in moments} == logs.reader().hourly().tallies


def test_the_log_in_memory_counts_alike() -> None:
    log = ListLog()
    log.append([*accepted(count=3), refused(at=AT + ONE)])
    log.lose({"shop": Tally(2)})
    log.lose({"mail": Tally(0, 1)}, hours={Hour("mail", NOON): Tally(0, 1)})
    expected = {
        Hour("shop", NOON): Tally(3),
        Hour("shop", NOON + ONE): Tally(0, 1),
        Hour("shop", UNKNOWN_HOUR): Tally(2),
        Hour("mail", NOON): Tally(0, 1),
    }
    assert expected == log.hourly().tallies == read(log)
    assert log.totals() == summed(log.hourly().tallies)


# The embedded log: commits that failed, and damage.


def failing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next append writes its chunk and fails then, like a sync whose error comes late: the worst case."""
    insert = Segment.insert

    def stored_but_failed(segment: Segment, row: Row) -> None:
        monkeypatch.setattr(Segment, "insert", insert)
        insert(segment, row)
        raise LogUnavailableError("the sync failed")

    monkeypatch.setattr(Segment, "insert", stored_but_failed)


def after_a_failed_append(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> LogWriter:
    writer = logs.writer()
    append(writer, *accepted(count=2))
    failing_once(monkeypatch)
    with pytest.raises(LogUnavailableError):
        append(writer, *accepted(at=AT + ONE, count=5))
    return writer


def test_a_chunk_that_was_never_acknowledged_counts_in_no_hour(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = after_a_failed_append(logs, monkeypatch)
    assert {Hour("shop", NOON): Tally(2)} == logs.reader().hourly().tallies
    append(writer, *accepted(at=AT + ONE))
    expected = {Hour("shop", NOON): Tally(2), Hour("shop", NOON + ONE): Tally(1)}
    assert expected == logs.reader().hourly().tallies == read(logs.reader())
    writer.close()
    assert expected == logs.reader().hourly().tallies
    assert expected == Logs(SqliteLog, logs.folder).reader().hourly().tallies


def test_without_the_mark_the_failed_chunk_would_be_seen(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test before."""
    monkeypatch.setattr(_segment, "write_mark", lambda *_: None)
    after_a_failed_append(logs, monkeypatch)
    assert Tally(5) == logs.reader().hourly().tallies[Hour("shop", NOON + ONE)]


def damaged(folder: Path, first: int, *, is_header: bool) -> None:
    """Flip a bit in the chunk that starts at this offset."""
    for file in sorted((folder / "0").glob("*.sqlite")):
        with closing(sqlite3.connect(file)) as connection, connection:
            row = connection.execute("SELECT content FROM chunk WHERE first = ?", (first,)).fetchone()
            if row is not None:
                content = bytearray(row[0])
                content[20 if is_header else -10] ^= 1
                connection.execute("UPDATE chunk SET content = ? WHERE first = ?", (bytes(content), first))
                return
    raise AssertionError(f"no chunk starts at {first}")


def eight_chunks(logs: Logs, padding: int = 0) -> list[LogEntry]:
    """Of two entries each, an hour apart after every second one."""
    writer = logs.writer()
    entries = []
    for number in range(8):
        entries += (part := [*accepted(at=AT + number // 2 * ONE, padding=padding), refused(at=AT + number // 2 * ONE)])
        append(writer, *part)
    writer.close()
    return entries


@pytest.mark.parametrize("first", [0, 2, 6, 14])
@pytest.mark.parametrize("padding", [0, 50_000])
@pytest.mark.parametrize("is_header", [False, True])
def test_what_is_lost_in_a_damaged_chunk_is_told_by_hour(
    logs: Logs, first: int, padding: int, *, is_header: bool
) -> None:
    entries = eight_chunks(logs, padding)
    damaged(logs.folder, first, is_header=is_header)
    reader = logs.reader()
    assert tallied(entries) == reader.hourly().tallies
    assert tallied(entries) == read(reader)


def test_what_two_damaged_chunks_lost_adds_up_under_the_hours_of_the_chunks_after_them(logs: Logs) -> None:
    entries = eight_chunks(logs)
    for first in (2, 8):
        damaged(logs.folder, first, is_header=True)
    found = read(logs.reader())
    assert summed(tallied(entries)) == summed(found)
    assert (Tally(1, 1), Tally(3, 3)) == (found[Hour("shop", NOON)], found[Hour("shop", NOON + ONE)])


def test_a_writer_that_was_killed_over_a_damaged_header_still_adds_up(logs: Logs) -> None:
    said = run(logs.folder, 12)
    damaged(logs.folder, min(said.acknowledged.values()), is_header=True)
    append(logs.writer(), *accepted(at=AT + ONE))
    found = logs.reader().hourly()
    assert {"shop": Tally(1 + sum(said.tried.values()))} == summed(found.tallies) == logs.reader().totals()
    assert found.tallies == read(logs.reader())


@pytest.mark.parametrize("needed", [3, 4, 7])
def test_what_is_removed_by_force_is_told_by_hour(logs: Logs, needed: int) -> None:
    entries = eight_chunks(logs, 50_000)
    reader = logs.reader(LogConfig(segment_bytes=65_536, max_bytes=300_000))
    assert [] != list(reader.retain(needed))
    for anew in (reader, logs.reader()):
        found = read(anew, needed)
        assert len(entries) - needed == sum(map(sum, found.values()))
        if needed % 2 == 0:  # within a chunk nobody can say any more which of its entries had been read
            assert tallied(entries[needed:]) == found
        assert tallied(entries) == anew.hourly().tallies


def test_a_log_of_the_unreleased_format_is_refused_by_name(logs: Logs) -> None:
    append(writer := logs.writer(), *accepted())
    writer.close()
    file = next(iter(sorted((logs.folder / "0").glob("*.sqlite"))))
    with closing(sqlite3.connect(file)) as connection, connection:
        header = msgspec.json.decode(connection.execute("SELECT header FROM segment").fetchone()[0])
        old = msgspec.json.encode({k: v for k, v in header.items() if k not in ("hourly", "since")} | {"format": 1})
        connection.execute("UPDATE segment SET header = ?, checksum = ?", (old, zlib.crc32(old)))
    with pytest.raises(ConfigError, match="has format 1, of a headrace that was never released"):
        logs.reader().hourly()
    with pytest.raises(ConfigError, match="begin with another data folder"):
        logs.writer()


@given(st.integers(0, 5), st.integers(0, 12))
def test_what_is_carried_is_bounded_and_the_newest(kept_hours: int, kept_entries: int) -> None:
    books = {source: {100 + n: Tally(n + 1) for n in range(10)} for source in ("shop", "mail")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hourly, "KEPT_HOURS", kept_hours)
        patch.setattr(hourly, "KEPT_ENTRIES", kept_entries)
        kept, since = hourly.carried(books, 0)
    hours = min(kept_hours, kept_entries // 2)
    assert {100 + n for n in range(10 - hours, 10)} == {hour for own in kept.values() for hour in own}
    assert 110 - hours == since
    assert books == {s: {h: t for h, t in _all(books, s) if h < since} | kept.get(s, {}) for s in books}


def _all(books: hourly.Numbered, source: str) -> Iterable[tuple[int, Tally]]:
    return books[source].items()
