"""The archiver under kill -9: every entry of the log is in exactly one range that counts, and no file is left over."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import archiving
from headrace.archive import manifest, stream
from headrace.archive.reader import ArchivedReader
from headrace.archive.storage import FolderStorage
from headrace.config import LogConfig
from headrace.event import Event, encode
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def filled(folder: Path, count: int, first: int = 0) -> list[str]:
    """Append entries of five sources over three hours."""
    writer = SqliteLog(folder / "log", LogConfig(segment_bytes=65_536)).writer(0)
    ids = []
    for start in range(first, first + count, 20):
        entries = [
            Event(f"s{n % 5}", "track", str(n), AT + timedelta(hours=n // (count // 3)), AT, "E", user_id="u" * 400)
            for n in range(start, start + 20)
        ]
        writer.append([encode(entry) for entry in entries], tallied(entries))
        ids += [entry.message_id for entry in entries]
    writer.close()
    return ids


def archive(folder: Path, when: int, variant: str = "plain", kill_after: float | None = None) -> bool:
    """Archive in a process of its own; whether it came to the end."""
    command = [sys.executable, archiving.__file__, str(folder), str(when), variant]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        if kill_after is not None:
            time.sleep(kill_after)
            running.kill()
        said += running.stdout.read()
        assert running.wait(120) in (0, -signal.SIGKILL)
    return "done" in said


def wrongs(folder: Path, ids: list[str]) -> list[str]:
    """What is not as promised."""
    storage = FolderStorage(folder / "archive")
    log = SqliteLog(folder / "log", LogConfig())
    reader = ArchivedReader(storage, 0, log.incarnation(), None)
    found: list[str] = []
    wrong: list[str] = []
    at = 0
    while (part := reader.read(at, max_entries=1_000, max_bytes=10_000_000)).next != at:
        found += [entry.message_id or "" for entry in part.entries]
        wrong += [f"gap: {gap.reason}" for gap in part.gaps]
        at = part.next
    if found != ids[: len(found)]:
        wrong.append("not the entries of the log in their order, each once")
    place = manifest.folder(log.incarnation(), 0)
    named: set[str] = set()
    extents = manifest.extents(storage.names(place))
    for extent in extents:
        named |= {file.path for file in manifest.decode(storage.read(f"{place}/{manifest.name(extent)}")).files}
    wrong += [
        f"{one.next} is followed by {two.first}" for one, two in itertools.pairwise(extents) if one.next != two.first
    ]
    if len(found) == len(ids):
        files = {str(file.relative_to(folder / "archive")) for file in (folder / "archive").rglob("*.zst")}
        wrong += [f"left over: {path}" for path in files - named]
        seen = [one for file in files for one in stream._entries((folder / "archive" / file).read_bytes())]
        if sorted(ids) != sorted(str(one.entry.message_id) for one in seen):
            wrong.append("a tool that reads all files does not see each entry once")
    return wrong


def test_killed_at_every_change_of_the_storage_the_archive_has_each_entry_once(tmp_path: Path) -> None:
    ids = filled(tmp_path, 600)
    chosen = random.Random(7)
    deaths = 0
    for when in (0, 1, 2, 5, 8, 11, 12, 13, 3, 9):
        deaths += not archive(tmp_path, when)
        assert [] == wrongs(tmp_path, ids)
        ids += filled(tmp_path, 60, len(ids)) if chosen.random() < 0.5 else []
    assert deaths >= 8
    assert archive(tmp_path, -1)
    assert [] == wrongs(tmp_path, ids)
    log = SqliteLog(tmp_path / "log", LogConfig())
    archived = ArchivedReader(FolderStorage(tmp_path / "archive"), 0, log.incarnation(), None)
    assert len(ids) == sum(tally.accepted for tally in archived.totals().values())


def test_killed_at_any_moment_the_archive_has_each_entry_once(tmp_path: Path) -> None:
    ids = filled(tmp_path, 3_000)
    chosen = random.Random(11)
    deaths = 0
    for _ in range(8):
        deaths += not archive(tmp_path, -1, kill_after=chosen.uniform(0.0, 0.15))
        assert [] == wrongs(tmp_path, ids)
        ids += filled(tmp_path, 300, len(ids))
    assert deaths >= 2
    assert archive(tmp_path, -1)
    assert [] == wrongs(tmp_path, ids)


def test_a_manifest_that_comes_before_its_files_is_found_out(tmp_path: Path) -> None:
    """The control."""
    ids = filled(tmp_path, 300)
    # Begun and manifest are two changes, the third is a file.
    assert not archive(tmp_path, 4, archiving.MANIFEST_FIRST)
    assert archive(tmp_path, -1)
    assert [one for one in wrongs(tmp_path, ids) if one.startswith("gap: archive:")]
