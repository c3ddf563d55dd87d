"""The archive in the worker: a thread that archives, and readers that reach back to what it holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from headrace.archive.archiver import Archiver, Progress
from headrace.archive.reader import ArchivedReader
from headrace.archive.storage import open_storage
from headrace.config import Config
from headrace.console.status import ArchiveStatus
from headrace.errors import HeadraceError
from headrace.log.base import LogDriver, LogReader

logger = logging.getLogger(__name__)

JOIN_SECONDS: Final = 5.0


class Archive:
    """Does nothing but give the log's own readers where the settings have it off."""

    def __init__(self, config: Config, log: LogDriver, partitions: Sequence[int]) -> None:
        """Raises ConfigError when the archive cannot be where the settings say."""
        self._log = log
        self._partitions = partitions
        self._storage = open_storage(config.archive, config.folder) if config.archive.enabled else None
        self._config = config.archive
        self._archiver: Archiver | None = None
        self._stopped: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def readers(self, sources: Collection[str] | None = None) -> list[LogReader]:
        """A reader of each partition, for one thread, which closes them. With `sources` only their files are read of the archive."""
        return [self._reader(partition, sources) for partition in self._partitions]

    def _reader(self, partition: int, sources: Collection[str] | None) -> LogReader:
        reader = self._log.reader(partition)
        if self._storage is None:
            return reader
        return ArchivedReader(self._storage, partition, reader.incarnation, reader, sources)

    def start(self) -> None:
        if self._storage is not None:
            self._thread.start()

    def stored(self) -> Mapping[int, int] | None:
        """By partition, up to where everything is archived; None where there is no archive."""
        if self._storage is None:
            return None
        return {partition: self._archiver.stored(partition) if self._archiver else 0 for partition in self._partitions}

    def status(self) -> ArchiveStatus | None:
        """None where there is no archive."""
        if self._storage is None:
            return None
        progress: Sequence[Progress] = self._archiver.progress() if self._archiver else ()
        error = self._stopped or next((one.error for one in progress if one.error), None)
        return ArchiveStatus(self._config.path or "archive", error, [msgspec.to_builtins(one) for one in progress])

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        readers = [self._log.reader(partition) for partition in self._partitions]
        try:
            if self._storage is not None:
                self._archiver = Archiver(readers, self._storage, self._config)
                self._archiver.run(self._stop)
        except HeadraceError as error:
            self._stopped = str(error)
            logger.critical("archive: it has stopped: %s", error)
        except Exception as error:
            self._stopped = f"{type(error).__name__}: {error}"
            logger.exception("archive: it has stopped")
        finally:
            for reader in readers:
                reader.close()
