"""Torn and rotten files of the log: whatever was acknowledged is read or counted as lost, and nothing stands still."""

from __future__ import annotations

import logging
import os
import random
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace import event
from headrace.errors import ConfigError, LogUnavailableError, PositionError
from headrace.log import _segment, _sqlite_reader, chunk
from headrace.log.base import Gap, Tally
from headrace.log.sqlite import LEAP, SqliteLog
from log_faults import SMALL, Reading, append, line, read_all, run

ENTRIES = 60
"""Twelve chunks of five entries, in four segments."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log that was closed in good order."""
    folder = tmp_path_factory.mktemp("sound") / "log"
    with closing(SqliteLog(folder, SMALL).writer(0)) as writer:
        for first_id in range(0, ENTRIES, 5):
            append(writer, first_id, 5, 9_000)
    assert len(segments(folder)) == 4
    return folder


@pytest.fixture
def log(sound: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "log"))


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "0").glob("*.sqlite"))


def reading_of(folder: Path, offset: int = 0, max_entries: int = 1_000) -> Reading:
    with closing(SqliteLog(folder, SMALL).reader(0)) as reader:
        return read_all(reader, offset, max_entries)


def restarted(folder: Path) -> Reading:
    """Everything after another writer has appended ten entries."""
    with closing(SqliteLog(folder, SMALL).writer(0)) as writer:
        append(writer, 900_000, 10)
    return reading_of(folder)


def dishonest(reading: Reading, entries: int = ENTRIES) -> str:
    """Empty when every entry is read once with its own id, or counted as lost, and all reasons are told."""
    if any(offset != number for offset, number in reading.entries if number < 900_000):
        return "an entry is at another offset"
    if len(set(reading.ids)) != len(reading.ids):
        return "an entry is there twice"
    if len(reading.ids) + reading.lost != entries:
        return f"{len(reading.ids)} read and {reading.lost} lost are not {entries}"
    return ""


@contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def flip(path: Path, chosen: random.Random, begin: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[chosen.randrange(begin, len(content))] ^= 1 << chosen.randrange(8)
    path.write_bytes(content)


# Rot.


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_in_a_closed_segment_loses_nothing_in_silence(log: Path, seed: int) -> None:
    chosen = random.Random(seed)
    flip(chosen.choice(segments(log)[:-1]), chosen)
    assert "" == dishonest(reading_of(log))
    assert "" == dishonest(restarted(log), ENTRIES + 10)


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_in_the_last_segment_loses_nothing_in_silence(log: Path, seed: int) -> None:
    flip(segments(log)[-1], random.Random(seed))
    assert "" == dishonest(reading_of(log))
    assert "" == dishonest(restarted(log), ENTRIES + 10)


@pytest.mark.parametrize("seed", range(10))
def test_many_flipped_bits_lose_nothing_in_silence(log: Path, seed: int) -> None:
    chosen = random.Random(seed)
    for _ in range(8):
        flip(chosen.choice(segments(log)), chosen, begin=100)
    assert "" == dishonest(restarted(log), ENTRIES + 10)


def test_a_reader_that_skips_what_it_cannot_read_is_found(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with changed(segments(log)[1]) as connection:
        connection.execute("UPDATE chunk SET content = x'00' WHERE first = (SELECT min(first) FROM chunk)")
    assert "" == dishonest(reading_of(log))
    lost = _sqlite_reader.SqliteReader._lost

    def silent(reader: _sqlite_reader.SqliteReader, *arguments: Any) -> object:
        found = lost(reader, *arguments)
        reader._met = None
        return found.next if isinstance(found, Gap) else found

    monkeypatch.setattr(_sqlite_reader.SqliteReader, "_lost", silent)
    assert "are not 60" in dishonest(reading_of(log))


def test_a_reader_that_checks_no_checksum_is_found(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with changed(segments(log)[1]) as connection:
        first, after, content = connection.execute("SELECT first, next, content FROM chunk").fetchone()
        header = chunk.decode(content).header
        lines = [line(500 + number, 9_000) for number in range(first, after)]
        other = chunk.encode(first, lines, header.tally, header.totals)
        # A well-formed chunk with the checksum of another.
        connection.execute("UPDATE chunk SET content = ? WHERE first = ?", (other[:-4] + content[-4:], first))
    reading = reading_of(log)
    assert ("", after - first) == (dishonest(reading), reading.lost)

    def believing(data: bytes) -> chunk.Chunk:
        header, body = chunk._parted(data)
        return chunk.Chunk(header, event.decode_lines(chunk._decompressed(body, header.body_bytes)))

    monkeypatch.setattr(chunk, "decode", believing)
    assert "an entry is at another offset" == dishonest(reading_of(log))


def test_a_damaged_body_is_counted_by_its_own_header(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = segments(log)[0]
    with changed(path) as connection:
        content = bytearray(connection.execute("SELECT content FROM chunk WHERE first = 5").fetchone()[0])
        content[-20] ^= 1
        connection.execute("UPDATE chunk SET content = ? WHERE first = 5", (bytes(content),))
    with caplog.at_level(logging.ERROR), closing(SqliteLog(log, SMALL).reader(0)) as reader:
        for _ in range(3):
            (gap,) = read_all(reader, 0).gaps
    assert (5, 10, {"shop": Tally(5)}, "log_corrupt") == (gap.first, gap.next, gap.lost, gap.code)
    assert path.name in gap.reason
    assert 1 == len(caplog.records), "told once"


def test_damage_inside_a_chunk_that_was_read_in_part_counts_only_the_rest(log: Path) -> None:
    with changed(segments(log)[0]) as connection:
        connection.execute("UPDATE chunk SET content = x'00' WHERE first = 5")
    reading = reading_of(log, offset=7)
    assert ((7, 10), 3) == ((reading.gaps[0].first, reading.gaps[0].next), reading.lost)


def test_a_damaged_last_chunk_stops_nobody(log: Path) -> None:
    path = segments(log)[-1]
    path.with_name(path.name + ".end").unlink()
    with changed(path) as connection:
        connection.execute("UPDATE chunk SET content = x'00' WHERE first = (SELECT max(first) FROM chunk)")
    assert "" == dishonest(reading_of(log))
    assert "" == dishonest(restarted(log), ENTRIES + 10)
    with closing(SqliteLog(log, SMALL).reader(0)) as reader:
        assert {"shop": Tally(ENTRIES + 5), "": Tally(5)} == reader.totals(), "nobody knows any more whose they were"


@pytest.mark.parametrize("number", [0, -1])
def test_a_chunk_that_claims_to_reach_further_than_its_segment_is_counted_once(log: Path, number: int) -> None:
    with changed(segments(log)[number]) as connection:
        connection.execute("UPDATE chunk SET next = next + 64 WHERE first = (SELECT max(first) FROM chunk)")
    assert "" == dishonest(reading_of(log))
    assert "" == dishonest(restarted(log), ENTRIES + 10)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("remaining", [0, 100, 5_000, 40_000])
def test_a_closed_segment_that_was_cut_loses_nothing_in_silence(log: Path, number: int, remaining: int) -> None:
    os.truncate(segments(log)[number], remaining)
    reading = restarted(log)
    assert "" == dishonest(reading, ENTRIES + 10)
    assert 0 < reading.lost


def test_a_segment_that_was_taken_away_is_counted(log: Path) -> None:
    segments(log)[1].unlink()
    reading = reading_of(log)
    assert {"log_removed"} == {gap.code for gap in reading.gaps}
    assert "" == dishonest(reading)


def test_a_destroyed_last_segment_is_told_and_followed_by_another(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = segments(log)[-1]
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = os.urandom(len(content) // 2)
    path.write_bytes(content)
    reading = restarted(log)
    assert "" == dishonest(reading, ENTRIES + 10), "its mark still counts what it held"
    path.with_name(path.name + ".end").unlink()
    reading = restarted(log)
    assert 20 == sum(number >= 900_000 for number in reading.ids)
    assert path.name in caplog.text


# Torn ends.


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 36 entries whose writer was killed: the end is in the -wal."""
    folder = tmp_path_factory.mktemp("killed") / "log"
    run(folder, 12)
    return folder


@pytest.mark.parametrize("seed", range(16))
def test_offsets_of_a_lost_end_are_never_used_again(killed: Path, tmp_path: Path, seed: int) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "log"))
    chosen = random.Random(seed)
    journal = segments(folder)[-1].with_name(segments(folder)[-1].name + "-wal")
    if seed % 2:
        flip(journal, chosen)
    else:
        os.truncate(journal, chosen.randrange(journal.stat().st_size))
    with closing(SqliteLog(folder, SMALL).reader(0)) as reader:
        end = reader.bounds().next
    with closing(SqliteLog(folder, SMALL).writer(0)) as writer:
        assert end <= 33
        assert 33 < append(writer, 900_000, 3)
    # What had read up to the true end must not go on as if nothing were missing.
    with closing(SqliteLog(folder, SMALL).reader(0)) as reader:
        if end < 33:
            with pytest.raises(PositionError, match=f"ends at offset {end}"):
                reader.read(33, max_entries=1, max_bytes=1)
        assert list(range(900_000, 900_003)) == read_all(reader, end).ids


def test_a_writer_that_goes_on_at_once_uses_offsets_twice(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "log"))
    os.truncate(segments(folder)[-1].with_name(segments(folder)[-1].name + "-wal"), 20_000)
    monkeypatch.setattr("headrace.log.sqlite.LEAP", 0)
    with closing(SqliteLog(folder, SMALL).writer(0)) as writer:
        assert append(writer, 900_000, 3) < 33


# What is no damage.


def test_a_locked_segment_is_no_damage(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "log"))
    monkeypatch.setattr(_segment, "BUSY_SECONDS", 0.01)
    with changed(segments(folder)[-1]) as connection, closing(SqliteLog(folder, SMALL).reader(0)) as reader:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("CREATE TABLE other (a)")
        with pytest.raises(LogUnavailableError, match="locked"):
            reader.read(0, max_entries=1_000, max_bytes=1_000_000)
        connection.close()
        reading = read_all(reader, 0)
        assert (list(range(33)), []) == ([offset for offset, _ in reading.entries], reading.gaps)


def test_exhausted_descriptors_are_no_damage(log: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(SqliteLog(log, SMALL).reader(0)) as reader:
        reader.incarnation  # noqa: B018 - reads its file
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(LogUnavailableError):
                reader.read(0, max_entries=1_000, max_bytes=1_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "" == dishonest(read_all(reader, 0))


# Files that do not belong.


def test_segments_of_another_log_are_refused(log: Path, tmp_path: Path) -> None:
    with closing(SqliteLog(tmp_path / "other", SMALL).writer(0)) as writer:
        append(writer, 0, 1)
    shutil.copy(log / "incarnation", tmp_path / "other" / "incarnation")
    with pytest.raises(ConfigError, match="belongs to another log"):
        SqliteLog(tmp_path / "other", SMALL).writer(0)
    with pytest.raises(PositionError, match="belongs to log"):
        reading_of(tmp_path / "other")


def test_a_log_without_its_incarnation_is_not_given_a_new_one(log: Path) -> None:
    (log / "incarnation").unlink()
    with pytest.raises(ConfigError, match="bring the file back"):
        SqliteLog(log, SMALL).reader(0)


def test_a_segment_of_a_newer_release_is_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segment, "FORMAT", 0)
    with pytest.raises(ConfigError, match="update headrace"):
        reading_of(log)


def test_half_made_segments_do_not_count(log: Path) -> None:
    (log / "0" / "draft").write_bytes(b"half")
    (log / "0" / "draft-journal").write_bytes(b"half")
    assert "" == dishonest(restarted(log), ENTRIES + 10)
    assert LEAP > ENTRIES
