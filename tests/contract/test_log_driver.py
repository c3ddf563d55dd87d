"""What every driver of the log must do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import event
from headrace.config import LogConfig
from headrace.errors import FolderInUseError, PositionError
from headrace.event import Event, RejectedEvent
from headrace.log import _segment, _sqlite_reader
from headrace.log.base import (
    Bounds,
    Hour,
    LogDriver,
    LogReader,
    LogWriter,
    Tally,
)
from headrace.log.sqlite import SqliteLog
from log_faults import append, go_on, heard, read_all, run, started

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALL = LogConfig(segment_bytes=65_536)
KEEP_NOTHING = LogConfig(segment_bytes=65_536, retention_bytes=0)
PADDING = 20_000
"""Four entries with this much noise fill a small segment."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_770_000_000.0

    def __call__(self) -> float:
        return self.now


class Logs:
    """Logs of one driver in one folder; what was opened is closed at the end."""

    def __init__(self, driver: Callable[[Path, LogConfig, Clock], LogDriver], folder: Path) -> None:
        self._driver = driver
        self._opened: list[LogReader | LogWriter] = []
        self.folder = folder
        self.clock = Clock()

    def log(self, config: LogConfig = SMALL, name: str = "log") -> LogDriver:
        return self._driver(self.folder / name, config, self.clock)

    def writer(self, config: LogConfig = SMALL, partition: int = 0) -> LogWriter:
        self._opened.append(writer := self.log(config).writer(partition))
        return writer

    def reader(self, config: LogConfig = SMALL, partition: int = 0) -> LogReader:
        self._opened.append(reader := self.log(config).reader(partition))
        return reader

    def filled(self, appends: int = 6) -> int:
        """Fill about as many segments with four entries each; where the log ends. The writer is closed."""
        writer = self.writer()
        for number in range(appends):
            append(writer, 10 * number, 4, PADDING)
        writer.close()
        return writer.next

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


DRIVERS: dict[str, Callable[[Path, LogConfig, Clock], LogDriver]] = {"sqlite": SqliteLog}


@pytest.fixture(params=sorted(DRIVERS))
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Logs]:
    opened = Logs(DRIVERS[request.param], tmp_path)
    yield opened
    opened.close()


# Round trip and offsets.


def test_what_is_appended_is_read_back_in_order(logs: Logs) -> None:
    entries: list[Event | RejectedEvent] = [
        Event("shop", "track", "1", AT, AT, "Bought", user_id="é\n\x00", warnings=("late",)),
        RejectedEvent("shop", "collector", "bad_json", "it is no JSON", '{"a":\n', AT),
        Event("app", "identify", "2", AT, AT, anonymous_id="x"),
    ]
    lines = [event.encode(entry) for entry in entries]
    writer, reader = logs.writer(), logs.reader()
    assert 0 == writer.append(lines[:2], {Hour("shop", AT): Tally(1, 1)})
    assert 2 == writer.append(lines[2:], {Hour("app", AT): Tally(1, 0)})
    found = reader.read(0, max_entries=100, max_bytes=100_000)
    assert (entries, 3, [], 3) == (list(found.entries), found.next, list(found.gaps), writer.next)
    assert abs(found.size_bytes - sum(map(len, lines))) <= len(lines)
    assert Bounds(0, 3) == reader.bounds()


def test_offsets_go_on_over_segments_and_restarts(logs: Logs) -> None:
    expected = []
    for restart in range(3):
        writer = logs.writer()
        for number in range(5):
            first_id = 100 * restart + 10 * number
            first = append(writer, first_id, 3, PADDING)
            expected += [(first + i, first_id + i) for i in range(3)]
        writer.close()
    assert [] == read_all(logs.reader()).gaps
    assert expected == read_all(logs.reader()).entries
    assert list(range(45)) == [offset for offset, _ in expected], "closed in good order, no offset is left out"


def test_a_writer_that_appended_nothing_changes_nothing(logs: Logs) -> None:
    end = logs.filled(2)
    for _ in range(2):
        logs.writer().close()
    assert (end, {"shop": Tally(8)}) == ((writer := logs.writer()).next, writer.totals)
    assert end == append(writer, 900, 1)
    assert 9 == len(read_all(logs.reader()).entries)


def test_every_partition_has_offsets_of_its_own(logs: Logs) -> None:
    writers = [logs.writer(partition=partition) for partition in (0, 11)]
    assert [0, 0] == [append(writer, 0, 2) for writer in writers]
    assert [0, 11] == logs.log().partitions()
    assert [0, 11] == [logs.reader(partition=partition).partition for partition in (0, 11)]


def test_a_segment_is_closed_at_its_age(logs: Logs) -> None:
    config = LogConfig(segment_seconds=3_600.0, retention_seconds=0.0)
    writer, reader = logs.writer(config), logs.reader(config)
    append(writer, 0, 3)
    logs.clock.now += 3_599
    append(writer, 10, 3)
    logs.clock.now += 3_600
    append(writer, 20, 3)
    logs.clock.now += 10
    assert 1 == len(reader.retain(9))
    assert Bounds(6, 9) == reader.bounds()


# Cutting.


@pytest.mark.parametrize("max_entries", [1, 3, 7, 1_000])
def test_chunks_are_cut_to_what_was_asked_for(logs: Logs, max_entries: int) -> None:
    writer, reader = logs.writer(), logs.reader()
    for number in range(4):
        append(writer, 100 * number, 5, PADDING)
    found = reader.read(0, max_entries=max_entries, max_bytes=10_000_000)
    assert min(max_entries, 20) >= len(found.entries) > 0
    reading = read_all(reader, max_entries=max_entries)
    assert [100 * number + i for number in range(4) for i in range(5)] == reading.ids


def test_every_offset_may_be_read_from(logs: Logs) -> None:
    writer = logs.writer()
    for number in range(4):
        append(writer, 5 * number, 5, PADDING)
    for offset in range(20):
        assert list(range(offset, 20)) == read_all(logs.reader(), offset).ids


def test_one_entry_comes_even_if_it_is_larger_than_asked_for(logs: Logs) -> None:
    append(logs.writer(), 0, 5, PADDING)
    found = logs.reader().read(0, max_entries=1, max_bytes=1)
    assert (["0"], 1) == ([entry.message_id for entry in found.entries], found.next)


def test_bytes_bound_what_is_read(logs: Logs) -> None:
    writer, reader = logs.writer(), logs.reader()
    for number in range(10):
        append(writer, number, 1, PADDING)
    assert 2 == len(reader.read(0, max_entries=100, max_bytes=2 * PADDING + 1_000).entries)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=8), st.integers(1, 50), st.integers(1, 9_000))
def test_any_way_of_reading_yields_the_same(
    tmp_path_factory: pytest.TempPathFactory, appends: list[tuple[int, bool]], max_entries: int, max_bytes: int
) -> None:
    for driver in DRIVERS.values():
        logs = Logs(driver, tmp_path_factory.mktemp("log"))
        writer = logs.writer()
        expected: list[tuple[int, int]] = []
        for count, is_restart in appends:
            if is_restart:
                writer.close()
                writer = logs.writer()
            first = append(writer, len(expected), count, 100)
            expected += [(first + i, len(expected) + i) for i in range(count)]
        reader, at, found = logs.reader(), 0, []
        while (part := reader.read(at, max_entries=max_entries, max_bytes=max_bytes)).next != at:
            assert len(part.entries) <= max_entries
            found += [str(entry.message_id) for entry in part.entries]
            at = part.next
        logs.close()
        assert [str(number) for _, number in expected] == found


# The ends.


def test_a_reader_may_come_before_the_writer(logs: Logs) -> None:
    reader = logs.reader()
    assert (Bounds(0, 0), {}) == (reader.bounds(), reader.totals())
    assert 0 == reader.read(0, max_entries=10, max_bytes=1_000).next
    append(logs.writer(), 7, 2)
    assert [7, 8] == read_all(reader).ids


def test_a_reader_follows_a_writer_through_its_segments(logs: Logs) -> None:
    writer, reader = logs.writer(), logs.reader()
    at, ids = 0, []
    for number in range(12):
        append(writer, 10 * number, 3, PADDING)
        while (found := reader.read(at, max_entries=2, max_bytes=1_000_000)).next != at:
            ids += [int(str(entry.message_id)) for entry in found.entries]
            assert [] == list(found.gaps)
            at = found.next
        assert writer.next == at == reader.bounds().next
    assert [10 * number + i for number in range(12) for i in range(3)] == ids


def test_a_position_beyond_the_end_is_refused(logs: Logs) -> None:
    reader = logs.reader()
    with pytest.raises(PositionError, match="ends at offset 0"):
        reader.read(1, max_entries=1, max_bytes=1)
    end = logs.filled(3)
    assert end == reader.read(end, max_entries=1, max_bytes=1).next
    with pytest.raises(PositionError, match=f"ends at offset {end}"):
        reader.read(end + 1, max_entries=1, max_bytes=1)


def test_another_log_has_another_incarnation(logs: Logs) -> None:
    reader, writer = logs.reader(), logs.writer()
    assert reader.incarnation == writer.incarnation == logs.log().reader(5).incarnation
    assert "" != reader.incarnation != logs.log(name="restored").reader(0).incarnation


def test_the_incarnation_survives_a_restart(logs: Logs) -> None:
    before = logs.writer()
    append(before, 0, 1)
    before.close()
    assert before.incarnation == logs.writer().incarnation


def test_a_second_writer_is_refused_until_the_first_is_closed(logs: Logs) -> None:
    first = logs.writer()
    with pytest.raises(FolderInUseError, match="another process writes partition 0"):
        logs.writer()
    append(first, 0, 1)
    first.close()
    assert 1 == append(logs.writer(), 1, 1)


def test_a_writer_in_another_process_is_found(logs: Logs) -> None:
    with started("append", logs.folder / "log", 1, "wait") as running:
        heard(running, "ack")
        with pytest.raises(FolderInUseError):
            logs.writer()


# The books.


def test_the_books_add_up_over_restarts_and_removed_segments(logs: Logs) -> None:
    total = 0
    for restart in range(3):
        writer = logs.writer(KEEP_NOTHING)
        for number in range(4):
            writer.append(
                [event.encode(Event("app", "page", f"{restart}-{number}", AT, AT))], {Hour("app", AT): Tally(1, 2)}
            )
            append(writer, 0, 3, PADDING)
            total += 1
        reader = logs.reader(KEEP_NOTHING)
        assert {"app": Tally(total, 2 * total), "shop": Tally(3 * total)} == writer.totals == reader.totals()
        assert len(reader.retain(writer.next)) > 0
        assert writer.totals == reader.totals()
        writer.close()


# Retention.


def test_no_segment_is_removed_that_is_still_needed(logs: Logs) -> None:
    end = logs.filled()
    reader = logs.reader(KEEP_NOTHING)
    for needed in range(end + 1):
        reader.retain(needed)
        reading = read_all(reader, needed)
        assert [] == reading.gaps
        assert list(range(needed, end)) == [offset for offset, _ in reading.entries]
    assert 0 < reader.bounds().first < end, "the last segment stays"


def test_segments_within_the_retention_stay(logs: Logs) -> None:
    end = logs.filled()
    assert [] == list(logs.reader().retain(end))
    keep_some = LogConfig(segment_bytes=65_536, retention_bytes=250_000)
    reader = logs.reader(keep_some)
    assert 0 < len(reader.retain(end))
    assert [] == list(reader.retain(end))
    assert 0 < reader.bounds().first < end


def test_segments_past_their_age_go(logs: Logs) -> None:
    end = logs.filled()
    config = LogConfig(segment_bytes=65_536, retention_seconds=60.0)
    assert [] == list(logs.reader(config).retain(end))
    logs.clock.now += 61
    assert 0 < len(logs.reader(config).retain(end))


def test_removed_segments_leave_no_file(logs: Logs) -> None:
    end = logs.filled()
    reader = logs.reader(KEEP_NOTHING)
    removed = reader.retain(end)
    assert 0 < len(removed)
    for path in removed:
        assert [] == list(path.parent.glob(f"{path.name}*"))


def test_what_the_hard_limit_removes_is_loud_and_counted(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    end = logs.filled()
    reader = logs.reader(LogConfig(segment_bytes=65_536, max_bytes=200_000))
    with caplog.at_level(logging.ERROR):
        removed = reader.retain(2)
    first = reader.bounds().first
    assert 0 < first < end
    assert [str(path) in caplog.text for path in removed] == [True] * len(removed)
    assert "offsets 2 to" in caplog.text
    for anew in (reader, logs.reader()):
        found = anew.read(2, max_entries=100, max_bytes=100)
        (gap,) = found.gaps
        assert (2, first, {"shop": Tally(first - 2)}, "log_removed") == (gap.first, gap.next, gap.lost, gap.code)
        assert list(range(first, end)) == [offset for offset, _ in read_all(anew, 2).entries]


def test_repeated_forced_removals_add_up(logs: Logs) -> None:
    end = logs.filled(10)
    for max_bytes in (600_000, 400_000, 200_000):
        logs.reader(LogConfig(segment_bytes=65_536, max_bytes=max_bytes)).retain(3)
    reading = read_all(logs.reader(), 3)
    assert end - 3 == reading.lost + len(reading.entries)
    assert 0 < reading.lost


def test_readers_at_several_positions_are_told_what_each_of_them_lost(logs: Logs) -> None:
    end = logs.filled(10)
    config = LogConfig(segment_bytes=65_536, max_bytes=200_000)
    positions = (2, 3, 5, end - 1)
    logs.reader(config).retain(2, positions)
    for position in positions:
        reading = read_all(logs.reader(), position)
        assert end - position == reading.lost + len(reading.entries)
        assert {"shop"} >= {source for gap in reading.gaps for source in gap.lost}
    assert 0 < read_all(logs.reader(), 5).lost


def test_the_hard_limit_spares_the_segment_that_is_written(logs: Logs) -> None:
    logs.filled()
    writer, reader = logs.writer(), logs.reader(LogConfig(segment_bytes=65_536, max_bytes=1))
    append(writer, 900, 1)
    reader.retain(0)
    assert [900] == read_all(reader).ids


def test_a_reader_behind_is_not_stopped_by_another_readers_retention(logs: Logs) -> None:
    end = logs.filled()
    behind, other = logs.reader(), logs.reader(KEEP_NOTHING)
    at = behind.read(0, max_entries=2, max_bytes=1_000_000).next
    other.retain(end)
    reading = read_all(behind, at)
    assert end - at == len(reading.entries) + reading.lost
    assert {"log_removed"} >= {gap.code for gap in reading.gaps}


# Other processes.


def test_a_reader_in_another_process_sees_what_is_acknowledged(logs: Logs) -> None:
    with started("append", logs.folder / "log", 30, "wait") as running:
        heard(running, "ack")
        reader = logs.reader()
        assert [0] == read_all(reader).ids
        go_on(running)
        assert running.stdout is not None
        for told in running.stdout:
            if told.startswith("ack"):
                _, first_id, first = told.split()
                assert int(first_id) in read_all(reader, int(first)).ids


def test_what_a_killed_writer_left_is_read_before_it_starts_again(logs: Logs) -> None:
    said = run(logs.folder / "log", 30)
    reader = logs.reader()
    assert [i + n for i, count in said.tried.items() for n in range(count)] == read_all(reader).ids
    assert {"shop": Tally(90)} == reader.totals()


def test_a_poll_that_finds_nothing_lists_no_folder_and_opens_no_file(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loader asks some twenty times a second.
    end = logs.filled()
    reader = logs.reader()
    read_all(reader)
    monkeypatch.setattr(_sqlite_reader, "SETTLED_SECONDS", -10.0)
    read_all(reader, end)

    def never(*_: object) -> None:
        raise AssertionError("a poll looked further than it must")

    monkeypatch.setattr(_segment, "starts_in", never)
    monkeypatch.setattr(_sqlite_reader, "Segment", never)
    assert (end, end) == (reader.read(end, max_entries=9, max_bytes=9).next, reader.bounds().next)
