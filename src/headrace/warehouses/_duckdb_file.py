"""The open DuckDB file: cursors, the translation of DuckDB's errors, and opening again after one that ends the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, FolderInUseError, HeadraceError, WarehouseUnavailableError

logger = logging.getLogger(__name__)

CHECKPOINT_THRESHOLD: Final = "16GB"
"""Out of reach: the loader says when to checkpoint, since one in the middle of loads costs half of their speed."""
SPILL_FACTOR: Final = 8
"""Disk that sorting and joining may use, in memory limits; the default would let a query fill the disk under the log."""
EXPRESSION_DEPTH: Final = 200
CLOSE_SECONDS: Final = 10.0


class DatabaseFile:
    """One DuckDB file held open. Cursors are independent connections; any thread may ask for one.

    Raises FolderInUseError when the file is open elsewhere, ConfigError when it is no DuckDB file or cannot be read."""

    def __init__(self, path: Path, config: WarehouseConfig) -> None:
        self.path = path
        self._config = config
        self._changed = threading.Condition()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._broken = False
        self._closed = False
        self._root = _opened(path, config)

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for one piece of work. DuckDB's errors leave it as WarehouseUnavailableError or ValueError."""
        with self._changed:
            if self._closed:
                raise ConfigError(f"warehouse: {self.path} is closed already")
            if self._broken:
                self._open_again()
            cursor = self._root.cursor()
            self._cursors.add(cursor)
        try:
            yield cursor
        except (duckdb.Error, OSError) as error:  # OSError: DuckDB's, in the middle of reading by Arrow
            raise self.translated(error) from error
        finally:
            with suppress(duckdb.Error):
                cursor.close()
            with self._changed:
                self._cursors.discard(cursor)
                self._changed.notify_all()

    @property
    def is_broken(self) -> bool:
        """Whether the next cursor opens the file again."""
        return self._broken

    def translated(self, error: Exception) -> HeadraceError | ValueError:
        """Remembers when the engine is past use, so that the next cursor opens the file again."""
        text = _first_line(error)
        if isinstance(error, duckdb.FatalException) or "has been invalidated" in text:
            with self._changed:
                self._broken = True
            return WarehouseUnavailableError(f"warehouse: {self.path.name} must be opened again: {text}")
        if isinstance(
            error,
            duckdb.OutOfMemoryException
            | duckdb.IOException
            | duckdb.TransactionException
            | duckdb.InterruptException
            | duckdb.ConnectionException
            | OSError,
        ):
            return WarehouseUnavailableError(f"warehouse: {self.path.name} cannot be used now: {text}")
        return ValueError(f"warehouse: {text}")

    def _open_again(self) -> None:
        """The engine stays as it is while one cursor lives, so all of them end first."""
        if not self._cursors_ended():
            raise WarehouseUnavailableError(
                f"warehouse: {self.path.name} waits for queries to end before it is opened again"
            )
        with suppress(duckdb.Error):
            self._root.close()
        try:
            self._root = _opened(self.path, self._config)
        except ConfigError as error:
            raise WarehouseUnavailableError(str(error)) from error
        self._broken = False
        logger.warning("warehouse: %s was opened again after an error that ended the engine", self.path)

    def _cursors_ended(self) -> bool:
        """Interrupts what runs, more than once: an interrupt between two statements is lost."""
        until = time.monotonic() + CLOSE_SECONDS
        while self._cursors and time.monotonic() < until:
            for cursor in self._cursors:
                with suppress(duckdb.Error):
                    cursor.interrupt()
            self._changed.wait(0.05)
        return not self._cursors

    def close(self) -> None:
        """Folds the journal in. Safe to call twice."""
        with self._changed:
            self._closed = True
            self._cursors_ended()
            with suppress(duckdb.Error):
                self._root.close()

    def journal_bytes(self) -> int:
        # Asked of the folder by path, never opened: closing a second descriptor would drop DuckDB's lock.
        try:
            return self.path.with_name(self.path.name + ".wal").stat().st_size
        except FileNotFoundError:
            return 0


def _opened(path: Path, config: WarehouseConfig) -> duckdb.DuckDBPyConnection:
    root: duckdb.DuckDBPyConnection | None = None
    try:
        if not path.exists():
            _create(path)
        root = duckdb.connect(
            str(path),
            config={
                "memory_limit": f"{config.memory_bytes}B",
                "threads": config.threads,
                "checkpoint_threshold": CHECKPOINT_THRESHOLD,
                "max_temp_directory_size": f"{SPILL_FACTOR * config.memory_bytes}B",
                "max_expression_depth": EXPRESSION_DEPTH,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "python_enable_replacements": False,
            },
        )
        root.execute("SET GLOBAL TimeZone = 'UTC'")
        # In 2.0.0 it counts deleted rows, and ORDER BY with LIMIT leaves rows out (duckdb, pull request 22911).
        root.execute("SET GLOBAL disabled_optimizers = 'row_group_pruner'")
        # From here on the instance opens no other file, spilling beside its own excepted, and nothing can be set.
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
    except (duckdb.Error, OSError) as error:
        if root is not None:
            root.close()
        raise _not_opened(path, error) from error
    return root


def _create(path: Path) -> None:
    """Under another name first: killed on the way, a half written file would never open."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    duckdb.connect(str(new)).close()
    new.replace(path)


def _not_opened(path: Path, error: Exception) -> HeadraceError:
    text = _first_line(error)
    if "lock on file" in text or "different configuration" in text or "configuration has been locked" in text:
        return FolderInUseError(
            f"warehouse: {path} is open in another place; stop the other server or query tool: {text}"
        )
    if "No space left" in text or isinstance(error, duckdb.OutOfMemoryException):
        return WarehouseUnavailableError(f"warehouse: {path} cannot be opened now: {text}")
    return ConfigError(f"warehouse: {path} cannot be opened; move it away or put a copy in its place: {text}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
