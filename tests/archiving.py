"""A process that archives a log until it is killed, by itself at the n-th change of the storage or from outside."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from headrace.archive import writer as archive_writer
from headrace.archive.archiver import Archiver
from headrace.archive.manifest import Manifest
from headrace.archive.storage import FolderStorage
from headrace.archive.writer import RangeWriter
from headrace.config import ArchiveConfig, LogConfig
from headrace.log.sqlite import SqliteLog

CONFIG: Final = ArchiveConfig(enabled=True, range_bytes=65_536)
MANIFEST_FIRST: Final = "manifest-first"


class Deadly(FolderStorage):
    """Ends the process at the n-th change: an even n before it is made, an odd one after."""

    def __init__(self, root: Path, when: int) -> None:
        super().__init__(root)
        self._left = when // 2 + 1 if when >= 0 else -1
        self._is_after = when % 2 == 1

    def put(self, name: str, draft: Path) -> None:
        self._change(lambda: super(Deadly, self).put(name, draft))

    def remove(self, name: str) -> None:
        self._change(lambda: super(Deadly, self).remove(name))

    def _change(self, change: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        change()
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def manifest_first(self: RangeWriter, now: datetime) -> Manifest:
    """The control: a range that counts before its files are there."""
    storage = self._storage
    puts: list[tuple[str, Path]] = []
    storage_put = storage.put

    class Later:
        drafts = storage.drafts
        write = staticmethod(storage.write)

        @staticmethod
        def put(name: str, draft: Path) -> None:
            puts.append((name, draft))

    self._storage = Later()  # type: ignore[assignment]  # only what commit uses
    made = whole_commit(self, now)
    for name, draft in puts:
        storage_put(name, draft)
    return made


whole_commit = RangeWriter.commit


def main(folder: Path, when: int, variant: str) -> None:
    if variant == MANIFEST_FIRST:
        archive_writer.RangeWriter.commit = manifest_first  # type: ignore[method-assign]
    reader = SqliteLog(folder / "log", LogConfig(segment_bytes=65_536)).reader(0)
    archiver = Archiver([reader], Deadly(folder / "archive", when), CONFIG)
    print("ready", flush=True)
    while archiver.step(force=True) is not None:
        pass
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
