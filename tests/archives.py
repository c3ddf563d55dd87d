"""Archives of the tests: places to store in, and a log whose clock the test moves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.archive.archiver import Archiver
from headrace.archive.manifest import Manifest, decode, extents, folder, name
from headrace.archive.reader import ArchivedReader
from headrace.archive.storage import Storage, open_storage
from headrace.config import ArchiveConfig, LogConfig
from headrace.event import Event, LogEntry, RejectedEvent, encode
from headrace.log.base import Gap, LogReader, LogWriter, tallied
from headrace.log.sqlite import SqliteLog

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KEY, SECRET = "archive-test-key", "archive-test-secret"

MOTO = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def moto() -> Iterator[str]:
    """The address of an S3 in memory, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", MOTO]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(running.stdout.readline())}"
        finally:
            running.kill()


def made(
    number: int, source: str = "shop", at: datetime = AT, *, is_refused: bool = False, padding: int = 0
) -> LogEntry:
    if is_refused:
        return RejectedEvent(source, "collector", "bad_request", "no JSON", "{" * number, at, str(number))
    return Event(source, "track", str(number), at, at + timedelta(seconds=number % 7), "Bought", user_id="u" * padding)


class House:
    """A log, an archive beside it, and clocks."""

    def __init__(self, place: Path, config: ArchiveConfig, log: LogConfig | None = None) -> None:
        self.place = place
        self.config = config
        self.seconds = 0.0
        self.log = SqliteLog(place / "log", log or LogConfig(segment_bytes=65_536))
        self.storage: Storage = open_storage(config, place)
        self.writer: LogWriter = self.log.writer(0)
        self._opened: list[LogReader] = []

    def append(self, *entries: LogEntry) -> None:
        self.writer.append([encode(entry) for entry in entries], tallied(entries))

    def reader(self) -> LogReader:
        self._opened.append(reader := self.log.reader(0))
        return reader

    def archiver(self, **changes: float) -> Archiver:
        config = ArchiveConfig(
            **{  # as the test gives them
                **{field: getattr(self.config, field) for field in self.config.__struct_fields__},
                **changes,
            }
        )
        return Archiver(
            [self.reader()], self.storage, config, lambda: AT + timedelta(seconds=self.seconds), lambda: self.seconds
        )

    def archived(self, sources: Sequence[str] | None = None, *, is_alone: bool = False) -> ArchivedReader:
        log = None if is_alone else self.log.reader(0)
        reader = ArchivedReader(self.storage, 0, self.log.incarnation(), log, sources)
        self._opened.append(reader)
        return reader

    def manifests(self) -> list[Manifest]:
        place = folder(self.log.incarnation(), 0)
        return [decode(self.storage.read(f"{place}/{name(one)}")) for one in extents(self.storage.names(place))]

    def close(self) -> None:
        self.writer.close()
        for reader in self._opened:
            reader.close()


def read_through(
    reader: LogReader, offset: int = 0, max_entries: int = 7, max_bytes: int = 3_000
) -> tuple[list[LogEntry], list[Gap]]:
    """All entries and gaps from an offset on; what a slice has of either comes back in their order."""
    entries: list[LogEntry] = []
    gaps: list[Gap] = []
    while (found := reader.read(offset, max_entries=max_entries, max_bytes=max_bytes)).next != offset:
        assert found.next > offset
        entries += found.entries
        gaps += found.gaps
        offset = found.next
    return entries, gaps
