"""The log when the disk lies, fails or fills, and when its writer is killed: acknowledged = readable, no offset twice.

Torture rows 1 to 4. Faults are injected into system calls by strace.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from headrace.config import LogConfig
from headrace.errors import LogUnavailableError
from headrace.log import _segment
from headrace.log.base import Hour, Tally, hour_of
from headrace.log.sqlite import SqliteLog
from log_entries import NOW, append, everything, lines

TESTS = Path(__file__).parents[1]
COMMAND = [sys.executable, str(Path(__file__).parent / "appending.py")]


class Outcome(NamedTuple):
    """`acknowledged` ids in order; how many appends `failed`."""

    acknowledged: list[str]
    failed: int


def appended(folder: Path, mode: str, inject: str | None = None, count: int = 12) -> Outcome:
    """What a child did that appends while strace injects the fault."""
    traced = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={inject}"] if inject else []
    child = subprocess.run(
        [*traced, *COMMAND, str(folder), str(count), mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"},
    )
    assert "Traceback" not in child.stderr, child.stderr
    printed = child.stdout.splitlines()
    acknowledged = [name for line in printed if line != "failed" for name in line.split()]
    return Outcome(acknowledged, printed.count("failed"))


def stored(folder: Path) -> list[str]:
    """What a new reader finds, which must come without gaps and with books that fit."""
    reader = SqliteLog(folder, LogConfig()).reader(0)
    ids, gaps = everything(reader)
    assert [] == gaps
    assert len(ids) == reader.totals().get("shop", Tally()).accepted
    reader.close()
    return ids


@pytest.fixture(autouse=True)
def strace(need: Callable[[str], str]) -> str:
    return need("strace")


SYNCS = [8, 9, 11, 15]
"""The first seven syncs make the first segment; later ones belong to appends."""


@pytest.mark.parametrize("nth", SYNCS)
def test_after_a_sync_error_and_a_kill_nothing_unacknowledged_appears(tmp_path: Path, nth: int) -> None:
    folder = tmp_path / "log"
    outcome = appended(folder, "stop", f"fdatasync:error=EIO:when={nth}")
    assert 1 == outcome.failed
    assert outcome.acknowledged == stored(folder)
    again = appended(folder, "stop")
    assert (0, 240) == (again.failed, len(again.acknowledged))
    assert [*outcome.acknowledged, *again.acknowledged] == stored(folder)


@pytest.mark.parametrize("nth", SYNCS)
def test_after_a_sync_error_the_next_appends_go_to_a_new_segment(tmp_path: Path, nth: int) -> None:
    folder = tmp_path / "log"
    outcome = appended(folder, "go-on", f"fdatasync:error=EIO:when={nth}")
    assert 1 == outcome.failed
    assert 11 * 20 == len(outcome.acknowledged)
    assert outcome.acknowledged == stored(folder)
    assert 240 == len(appended(folder, "go-on").acknowledged)
    assert 23 * 20 == len(stored(folder))


def test_many_sync_errors_in_a_row_lose_nothing_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    outcome = appended(folder, "go-on", "fdatasync:error=EIO:when=9+14", count=40)
    assert outcome.failed > 3
    assert outcome.acknowledged
    assert outcome.acknowledged == stored(folder)


def test_control_a_writer_that_does_not_mark_the_end_lets_the_failed_chunk_appear(tmp_path: Path) -> None:
    unmarked = []
    for nth in SYNCS:
        folder = tmp_path / str(nth)
        outcome = appended(folder, "unmarked", f"fdatasync:error=EIO:when={nth}")
        unmarked.append(outcome.acknowledged == stored(folder))
    assert False in unmarked


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("nth", [6, 9, 14])
def test_a_kill_at_any_write_or_sync_loses_nothing_acknowledged(tmp_path: Path, call: str, nth: int) -> None:
    folder = tmp_path / "log"
    outcome = appended(folder, "go-on", f"{call}:signal=KILL:when={nth}")
    assert len(outcome.acknowledged) < 240
    found = stored(folder)
    assert outcome.acknowledged == found[: len(outcome.acknowledged)]
    assert len(found) - len(outcome.acknowledged) in (0, 20)  # the chunk that was under way may be there, whole
    again = appended(folder, "go-on")
    assert [*found, *again.acknowledged] == stored(folder)


def power_cut(tmp_path: Path, chunks: int = 10) -> Path:
    """A log whose writer ended without closing: its journal holds what was appended."""
    folder = tmp_path / "log"
    appended(folder, "go-on", count=chunks)
    return folder


def segment_of(folder: Path) -> Path:
    return next((folder / "0").glob("*.sqlite"))


def test_a_torn_journal_yields_whole_chunks_from_the_beginning_and_goes_on(tmp_path: Path) -> None:
    original = power_cut(tmp_path)
    whole = stored_copy(original, tmp_path / "whole")
    journal = segment_of(original).with_name(segment_of(original).name + "-wal")
    for number, share in enumerate((0.0, 0.2, 0.37, 0.5, 0.73, 0.9, 0.999)):
        folder = tmp_path / f"torn{number}"
        shutil.copytree(original, folder)
        torn = folder / "0" / journal.name
        os.truncate(torn, int(journal.stat().st_size * share))
        (folder / "0" / journal.name.replace("-wal", "-shm")).unlink(missing_ok=True)
        again = appended(folder, "go-on", count=2)
        assert (0, 40) == (again.failed, len(again.acknowledged))
        found = stored(folder)
        kept = found[:-40]
        assert whole[: len(kept)] == kept
        assert 0 == len(kept) % 20
        assert again.acknowledged == found[-40:]


def stored_copy(folder: Path, copy: Path) -> list[str]:
    shutil.copytree(folder, copy)
    return stored(copy)


def damaged(tmp_path: Path, generator: random.Random, number: int) -> Path:
    """Two segments; some bytes of the first one's file are other ones than were written."""
    folder = tmp_path / f"damaged{number}"
    log = SqliteLog(folder, LogConfig(segment_seconds=1_000), lambda: 0.0)
    writer = log.writer(0)
    for chunk in range(12):
        append(writer, *(f"{chunk}.{n}" for n in range(20)), source="shop" if chunk % 3 else "mail")
    writer.close()
    later = SqliteLog(folder, LogConfig(segment_seconds=1_000), lambda: 2_000.0).writer(0)
    append(later, "last")
    later.close()
    first = min((folder / "0").glob("*.sqlite"))
    content = bytearray(first.read_bytes())
    for _ in range(generator.choice((1, 1, 3, 40))):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    first.write_bytes(content)
    return folder


def lost_and_found(folder: Path) -> tuple[list[str], dict[str, int]]:
    reader = SqliteLog(folder, LogConfig()).reader(0)
    ids, gaps = everything(reader)
    lost: dict[str, int] = {}
    for gap in gaps:
        for source, tally in gap.lost.items():
            lost[source] = lost.get(source, 0) + tally.accepted
    reader.close()
    return ids, lost


VALID = {f"{chunk}.{n}" for chunk in range(12) for n in range(20)} | {"last"}


def is_accounted_for(ids: list[str], lost: dict[str, int]) -> bool:
    """Every event is there as it was written, or counted as lost; reading came through to the end."""
    return (
        ids[-1:] == ["last"]
        and len(ids) == len(set(ids))
        and set(ids) <= VALID
        and len(ids) + sum(lost.values()) == len(VALID)
    )


def test_flipped_bits_are_found_and_what_they_took_is_counted(tmp_path: Path) -> None:
    generator = random.Random(7)
    harmed = 0
    for number in range(60):
        ids, lost = lost_and_found(damaged(tmp_path, generator, number))
        assert is_accounted_for(ids, lost), (number, len(ids), lost)
        harmed += bool(lost)
    assert harmed > 5


def test_control_without_checksums_flipped_bits_come_out_as_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlib.crc32", lambda *_: 0)
    generator = random.Random(7)
    outcomes = set()
    for number in range(60):
        try:
            outcomes.add(is_accounted_for(*lost_and_found(damaged(tmp_path, generator, number))))
        except Exception:  # noqa: BLE001 - the control may fail in any way
            outcomes.add(False)
    assert False in outcomes


def test_a_read_error_that_may_pass_is_tried_again_and_nothing_counts_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SqliteLog(tmp_path / "log", LogConfig())
    writer = log.writer(0)
    append(writer, "a", "b")
    reader = log.reader(0)
    real = _segment.Segment.open

    def refused(path: Path, *, is_closed: bool) -> _segment.Segment:
        with _segment._translated(path):
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error

    monkeypatch.setattr(_segment.Segment, "open", refused)
    with pytest.raises(LogUnavailableError, match="unable to open"):
        reader.read(0, max_entries=10, max_bytes=1_000)
    monkeypatch.setattr(_segment.Segment, "open", real)
    assert (["a", "b"], []) == everything(reader)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("the disk-full test mounts a tmpfs, which needs root")
        pytest.skip("the disk-full test mounts a tmpfs, which needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 600_000)
    log = SqliteLog(small_disk / "log", LogConfig())
    writer, reader = log.writer(0), log.reader(0)
    generator = random.Random(3)
    acknowledged: list[str] = []
    refused = 0
    for number in range(400):
        ids = [f"{number}.{generator.getrandbits(2000):x}"[:600] for _ in range(20)]
        try:
            writer.append(lines(ids), {Hour("shop", hour_of(NOW)): Tally(20, 0)})
        except LogUnavailableError:
            refused += 1
            if refused == 5:
                assert acknowledged == everything(reader)[0]  # reading goes on while the disk is full
                filler.unlink()
            if refused > 5 and number > 300:
                break
        else:
            acknowledged += ids
            if refused >= 5:
                break
    assert refused >= 5
    assert acknowledged == everything(reader)[0]
    writer.close()
    reader.close()
    log.writer(0).close()
    assert acknowledged == everything(log.reader(0))[0]
