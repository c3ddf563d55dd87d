"""The contract of a log, over every driver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.config import LogConfig
from headrace.errors import FolderInUseError, PositionError
from headrace.log.base import Bounds, Hour, LogDriver, Tally, hour_of
from headrace.log.sqlite import SqliteLog
from log_entries import NOW, append, everything, lines, names, refused_line, slices


@dataclass
class House:
    """A driver's place with a clock that the test moves."""

    folder: Path
    driver: Callable[[Path, LogConfig, Callable[[], float]], LogDriver]
    seconds: float = 1_000_000.0

    def log(self, **config: float) -> LogDriver:
        return self.driver(self.folder, LogConfig(**config), lambda: self.seconds)  # type: ignore[arg-type]  # floats and ints as the test gives them


@pytest.fixture(params=[SqliteLog], ids=["sqlite"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    return House(tmp_path / "log", request.param)


def test_what_is_appended_is_read_back_in_order(house: House) -> None:
    log = house.log()
    writer, reader = log.writer(0), log.reader(0)
    assert (0, 2) == (append(writer, "a", "b"), append(writer, "c"))
    assert (["a", "b", "c"], []) == everything(reader)
    assert Bounds(0, 3) == reader.bounds()
    assert [0] == list(log.partitions())


def test_a_reader_may_come_before_its_writer(house: House) -> None:
    reader = house.log().reader(3)
    assert (Bounds(0, 0), {}) == (reader.bounds(), reader.totals())
    assert 0 == reader.read(0, max_entries=10, max_bytes=10).next
    writer = house.log().writer(3)
    append(writer, "a")
    assert (["a"], []) == everything(reader)


def test_reading_goes_on_at_any_offset_that_a_slice_gave(house: House) -> None:
    log = house.log()
    writer, reader = log.writer(0), log.reader(0)
    ids = [f"m{n}" for n in range(25)]
    append(writer, *ids[:20])
    append(writer, *ids[20:])
    found = list(slices(reader, max_entries=7))
    assert [0, 7, 14, 21] == [offset for offset, _, _ in found]
    assert ids == [name for _, entries, _ in found for name in names(entries)]
    assert ids[13:] == everything(log.reader(0), offset=13)[0]


def test_at_least_one_entry_is_read_whatever_the_limit_of_bytes(house: House) -> None:
    log = house.log()
    append(log.writer(0), "a", "b")
    found = log.reader(0).read(0, max_entries=10, max_bytes=1)
    assert ["a", "b"] == names(found.entries)
    assert found.size_bytes > 0


def test_a_restart_goes_on_behind_the_last_chunk(house: House) -> None:
    writer = house.log().writer(0)
    append(writer, "a", "b")
    incarnation = writer.incarnation
    writer.close()
    again = house.log().writer(0)
    assert (incarnation, 2, {"shop": Tally(2, 0)}) == (again.incarnation, again.next, again.totals)
    append(again, "c")
    assert (["a", "b", "c"], []) == everything(house.log().reader(0))


def test_a_second_writer_is_refused(house: House) -> None:
    log = house.log()
    writer = log.writer(0)
    with pytest.raises(FolderInUseError, match="another process writes"):
        house.log().writer(0)
    house.log().writer(1).close()
    writer.close()
    house.log().writer(0).close()


def test_another_log_has_another_incarnation_and_a_position_beyond_the_end_is_refused(
    house: House, tmp_path: Path
) -> None:
    append(house.log().writer(0), "a")
    other = House(tmp_path / "other", house.driver)
    append(other.log().writer(0), "a")
    assert house.log().reader(0).incarnation != other.log().reader(0).incarnation
    with pytest.raises(PositionError, match="ends at offset 1"):
        house.log().reader(0).read(2, max_entries=1, max_bytes=1)
    with pytest.raises(PositionError):
        house.log().reader(7).read(1, max_entries=1, max_bytes=1)


def test_the_books_count_by_source_and_outlive_a_restart(house: House) -> None:
    log = house.log()
    writer, reader = log.writer(0), log.reader(0)
    append(writer, "a", "b")
    writer.append([*lines(["c"], "mail"), refused_line("mail")], {Hour("mail", hour_of(NOW)): Tally(1, 1)})
    expected = {"shop": Tally(2, 0), "mail": Tally(1, 1)}
    assert expected == writer.totals == reader.totals()
    writer.close()
    assert expected == house.log().reader(0).totals()


def test_segments_follow_each_other_by_size_and_by_age_without_a_seam(house: House) -> None:
    log = house.log(segment_bytes=65_536, segment_seconds=3_600)
    writer, reader = log.writer(0), log.reader(0)
    ids = [f"{n}-{n * 7919 % 65537:x}" for n in range(20_000)]
    for start in range(0, len(ids), 1_000):
        append(writer, *ids[start : start + 1_000])
    segments = len(list((house.folder / "0").glob("*.sqlite")))
    assert segments > 1
    house.seconds += 3_600
    append(writer, "late")
    assert segments + 1 == len(list((house.folder / "0").glob("*.sqlite")))
    assert ([*ids, "late"], []) == everything(reader)
    assert Tally(20_001, 0) == reader.totals()["shop"]


def filled(house: House, **config: float) -> LogDriver:
    """Ten segments of one chunk of ten entries each, an hour apart."""
    log = house.log(segment_seconds=3_600, **config)
    writer = log.writer(0)
    for chunk in range(10):
        append(writer, *(f"{chunk}.{n}" for n in range(10)))
        house.seconds += 3_600
    writer.close()
    return log


def test_retention_by_age_never_takes_what_a_reader_needs(house: House) -> None:
    log = filled(house, retention_seconds=0)
    reader = log.reader(0)
    assert 3 == len(reader.retain(needed=35))
    assert Bounds(30, 100) == reader.bounds()
    assert 35 == len(everything(reader, offset=65)[0])
    assert [] == list(reader.retain(needed=35))
    assert 6 == len(reader.retain(needed=100))
    assert Bounds(90, 100) == reader.bounds()
    assert Tally(100, 0) == reader.totals()["shop"]


def test_retention_by_size_takes_the_oldest_and_keeps_what_fits(house: House) -> None:
    assert [] == list(filled(house, retention_seconds=1e9).reader(0).retain(needed=100))
    house.log(retention_seconds=1e9, retention_bytes=200_000)
    reader = house.log(retention_seconds=1e9, retention_bytes=80_000).reader(0)
    removed = reader.retain(needed=100)
    assert 0 < len(removed) < 9
    assert Bounds(10 * len(removed), 100) == reader.bounds()


def test_a_forced_removal_is_loud_and_its_loss_is_counted(house: House, caplog: pytest.LogCaptureFixture) -> None:
    log = filled(house, max_bytes=80_000, retention_seconds=1e9)
    reader = log.reader(0)
    removed = len(reader.retain(needed=5))
    assert removed > 1
    assert "they are lost" in caplog.text
    found = reader.read(5, max_entries=100, max_bytes=1_000_000)
    gap = found.gaps[0]
    assert (5, 10 * removed, "log_removed") == (gap.first, gap.next, gap.code)
    assert {"shop": Tally(10 * removed - 5, 0)} == gap.lost
    assert 100 - 10 * removed == len(everything(reader, offset=found.next)[0])


def test_without_a_limit_by_force_nothing_unread_is_ever_removed(house: House) -> None:
    reader = filled(house, retention_seconds=0, retention_bytes=0).reader(0)
    assert [] == list(reader.retain(needed=0))
    assert 100 == len(everything(reader)[0])


CHILD = """
import sys
from pathlib import Path
from headrace.config import LogConfig
from headrace.log.sqlite import SqliteLog
from log_entries import everything
print(*everything(SqliteLog(Path(sys.argv[1]), LogConfig()).reader(0))[0])
"""


def test_another_process_reads_beside_the_writer_and_after_it(house: House) -> None:
    def read_elsewhere() -> list[str]:
        tests = str(Path(__file__).parents[1])
        child = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{CHILD}", str(house.folder)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return child.stdout.split()

    writer = house.log().writer(0)
    append(writer, "a", "b")
    assert ["a", "b"] == read_elsewhere()
    append(writer, "c")
    writer.close()
    assert ["a", "b", "c"] == read_elsewhere()
