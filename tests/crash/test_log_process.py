"""Kills, failed syncs and full disks under a process that appends; what it acknowledged must be there, what it refused not."""

from __future__ import annotations

import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from conftest import missing
from headrace.config import LogConfig
from headrace.errors import LogUnavailableError
from headrace.log import _sqlite_reader
from headrace.log._segment import BEYOND
from headrace.log.sqlite import SqliteLog
from log_faults import (
    ACKS_FIRST,
    SMALL,
    Reading,
    Told,
    append,
    calls_before_ack,
    go_on,
    heard,
    read_all,
    run,
    started,
    told,
    traced,
    violations,
)

AFTERWARDS = 900_000
SYNCS = "fdatasync,fsync"


def reading_of(folder: Path, offset: int | None = None) -> Reading:
    reader = SqliteLog(folder, SMALL).reader(0)
    try:
        return read_all(reader, offset)
    finally:
        reader.close()


def restarted(folder: Path, said: Told) -> tuple[Told, Reading]:
    """Start a writer again, append once more, and read everything."""
    with closing(SqliteLog(folder, SMALL).writer(0)) as writer:
        first = append(writer, AFTERWARDS, 3)
    said = Told({**said.tried, AFTERWARDS: 3}, {**said.acknowledged, AFTERWARDS: first}, said.failed)
    return said, reading_of(folder)


@pytest.fixture
def strace(need: Callable[[str], str]) -> str:
    return need("strace")


# Kills.


@pytest.mark.parametrize("syscall", ["fdatasync", "fsync", "pwrite64", "rename"])
@pytest.mark.parametrize("when", [1, 2, 5, 11, 60])
def test_a_kill_at_any_write_or_sync_loses_nothing_acknowledged(
    strace: str, tmp_path: Path, syscall: str, when: int
) -> None:
    said = run(tmp_path / "log", 24, before=traced(strace, f"{syscall}:signal=KILL:when={when}"))
    assert [] == violations(said, reading_of(tmp_path / "log"))
    assert [] == violations(*restarted(tmp_path / "log", said))


def test_a_writer_that_acknowledges_too_early_is_found(strace: str, tmp_path: Path) -> None:
    injection = traced(strace, "pwrite64:signal=KILL:when=60")
    said = run(tmp_path / "log", 24, before=injection, variant=ACKS_FIRST)
    assert 24 > len(said.tried)
    assert "acknowledged id" in " ".join(violations(*restarted(tmp_path / "log", said)))


def test_repeated_kills_lose_nothing_acknowledged(strace: str, tmp_path: Path) -> None:
    tried: dict[int, int] = {}
    acknowledged: dict[int, int] = {}
    for life in range(4):
        injection = traced(strace, f"pwrite64:signal=KILL:when={25 + 7 * life}")
        said = run(tmp_path / "log", 24, before=injection, start=100_000 * life)
        tried.update(said.tried)
        acknowledged.update(said.acknowledged)
    assert 4 < len(acknowledged) < len(tried)
    assert [] == violations(*restarted(tmp_path / "log", Told(tried, acknowledged, [])))


# Sync errors.


@pytest.mark.parametrize("when", ["8", "9", "12", "7+5", "6+1", "10+9"])
def test_after_a_sync_error_nothing_refused_is_there_and_nothing_acknowledged_is_lost(
    strace: str, tmp_path: Path, when: str
) -> None:
    said = run(tmp_path / "log", 30, before=traced(strace, f"{SYNCS}:error=EIO:when={when}"))
    assert 0 < len(said.failed)
    assert [] == violations(said, reading_of(tmp_path / "log"))
    assert [] == violations(*restarted(tmp_path / "log", said))


def test_a_write_error_is_treated_like_a_sync_error(strace: str, tmp_path: Path) -> None:
    said = run(tmp_path / "log", 30, before=traced(strace, "pwrite64:error=ENOSPC:when=40+23"))
    assert 0 < len(said.failed) < 30
    assert [] == violations(said, reading_of(tmp_path / "log"))
    assert [] == violations(*restarted(tmp_path / "log", said))


def failed_and_killed(strace: str, folder: Path) -> Told:
    """A sync fails; the writer goes on; then it and a reader that kept the segments open are killed."""
    when = 1 + calls_before_ack(strace, folder.with_name("trial"), "fdatasync")
    before = traced(strace, f"fdatasync:error=EIO:when={when}")
    with started("append", folder, 6, "wait", before=before) as running:
        output = heard(running, "ack")
        with started("hold", folder) as holder:
            assert "ready 1\n" == heard(holder, "ready")
            go_on(running)
            rest, _ = running.communicate(timeout=60)
    return told(output + rest)


def test_a_failed_chunk_that_comes_back_is_not_seen(strace: str, tmp_path: Path) -> None:
    said = failed_and_killed(strace, tmp_path / "log")
    assert 1 == len(said.failed)
    assert [] == violations(*restarted(tmp_path / "log", said))


def without_marks(folder: Path) -> None:
    for mark in folder.glob("0/*.end"):
        mark.unlink()


def test_the_next_segment_alone_hides_it_too(strace: str, tmp_path: Path) -> None:
    said = failed_and_killed(strace, tmp_path / "log")
    without_marks(tmp_path / "log")
    assert [] == violations(*restarted(tmp_path / "log", said))


def test_a_reader_that_ignores_where_a_dead_segment_ends_is_found(
    strace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = failed_and_killed(strace, tmp_path / "log")
    without_marks(tmp_path / "log")
    monkeypatch.setattr(_sqlite_reader.SqliteReader, "_limit", lambda *_: BEYOND)
    assert "was refused and is there" in " ".join(violations(*restarted(tmp_path / "log", said)))


def test_the_mark_hides_it_when_no_other_segment_could_be_opened(strace: str, tmp_path: Path) -> None:
    # Syncs of SQLite fail, and names cannot be given: the disk takes the mark, but no segment.
    when = 1 + calls_before_ack(strace, tmp_path / "trial", "fdatasync")
    faults = (f"fdatasync:error=EIO:when={when}+1", "rename:error=EIO:when=2+1")
    said = run(tmp_path / "log", 5, before=traced(strace, *faults))
    assert (1, 4) == (len(said.acknowledged), len(said.failed))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "log", copy)
    assert [] == violations(said, reading_of(tmp_path / "log"))
    assert [] == violations(*restarted(tmp_path / "log", said))
    # Control: without the mark it is there.
    without_marks(copy)
    assert "was refused and is there" in " ".join(violations(said, reading_of(copy)))


def test_a_slow_sync_shows_readers_nothing_before_its_end(strace: str, tmp_path: Path) -> None:
    when = 1 + calls_before_ack(strace, tmp_path / "trial", "fdatasync")
    stop = traced(strace, f"fdatasync:signal=STOP:when={when}")
    with started("append", tmp_path / "log", 2, "wait", before=stop) as running:
        heard(running, "ack")
        reader = SqliteLog(tmp_path / "log", SMALL).reader(0)
        (journal,) = (tmp_path / "log" / "0").glob("*-wal")
        before = journal.stat().st_size
        go_on(running)
        while journal.stat().st_size <= before + 2 * 3_000:
            time.sleep(0.01)
        # All of the chunk is written, and the process does not hear of its sync before it is let go on.
        seen = [reader.bounds().next, reader.read(1, max_entries=9, max_bytes=9_999).next]
        assert [1, 1] == seen
        heard(running, "try")
        assert running.stdout is not None
        (appending,) = psutil.Process(running.pid).children()
        while not select.select([running.stdout], [], [], 0.1)[0]:
            appending.resume()
        heard(running, "ack")
        assert 3 == reader.bounds().next
        reader.close()


# A full disk.


@pytest.fixture
def small_disk(tmp_path: Path, need: Callable[[str], str]) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        [need("mount"), "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        missing(f"a small disk cannot be mounted ({mounted.stderr.strip()}); it takes root")
    yield place
    subprocess.run([need("umount"), "--lazy", str(place)], check=True)


def test_a_full_disk_refuses_and_recovers_by_itself(small_disk: Path) -> None:
    log, ballast = small_disk / "log", small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    output = ""
    with started("fill", log) as running:
        output += heard(running, "full")
        assert 5 == len(told(output).failed)
        assert [] == violations(told(output), reading_of(log)), "reading goes on"
        ballast.unlink()
        go_on(running)
        output += heard(running, "full")
        said, loaded = told(output), reading_of(log)
        assert len(told(output).failed) == 10
        assert [] == violations(said, loaded)
        assert loaded.entries[-1][1] > said.failed[0], "it went on by itself when there was room"
    # Killed on the full disk: retention makes room for the next writer.
    with pytest.raises(LogUnavailableError):
        restarted(log, said)
    half = sum(file.stat().st_size for file in log.rglob("*")) // 2
    reader = SqliteLog(log, LogConfig(segment_bytes=65_536, retention_bytes=half)).reader(0)
    end = loaded.entries[-1][0] + 1
    assert 0 < len(reader.retain(end))
    reader.close()
    with closing(SqliteLog(log, SMALL).writer(0)) as writer:
        first = append(writer, AFTERWARDS, 3)
    assert [AFTERWARDS + i for i in range(3)] == reading_of(log, end).ids
    assert end <= first
