"""The DuckDB that reads the lake's files: in memory, it opens nothing but the lake and holds nothing between two pieces of work."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, WarehouseUnavailableError
from headrace.warehouses._iceberg_io import PROTOCOL, LakeFiles, StorageForDuckDB, duckdb_path
from headrace.warehouses._sql import quoted


class Engine:
    """Cursors that see the lake's Parquet files; each has an empty database of its own, gone at its end. Any thread may ask for one."""

    def __init__(self, location: str, files: LakeFiles, spill: Path, config: WarehouseConfig) -> None:
        self._location, self._files, self._spill, self._config = location, files, spill, config
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False
        self._root: duckdb.DuckDBPyConnection | None = None

    def _opened(self) -> duckdb.DuckDBPyConnection:
        root = duckdb.connect(
            config={
                "memory_limit": f"{self._config.memory_bytes}B",
                "threads": self._config.threads,
                "temp_directory": str(self._spill),
                "max_temp_directory_size": f"{8 * self._config.memory_bytes}B",
                "max_expression_depth": 200,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "python_enable_replacements": False,
            }
        )
        root.execute("SET GLOBAL TimeZone = 'UTC'")
        path = duckdb_path(self._location)
        if path.startswith(PROTOCOL):
            scheme, netloc, _ = self._files.parse_location(self._location)
            root.register_filesystem(StorageForDuckDB(self._files.fs_by_scheme(scheme, netloc)))
        folder = path.replace("'", "''")
        root.execute(f"SET allowed_directories = ['{folder}/']")
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
        return root

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB's errors leave it as WarehouseUnavailableError or ValueError."""
        with self._lock:
            if self._closed:
                raise ConfigError("lake: the warehouse is closed already")
            if self._root is None:
                self._root = self._opened()
            cursor = self._root.cursor()
            self._cursors.add(cursor)
            own = quoted(f"lake{next(self._numbers)}")
        try:
            cursor.execute(f"ATTACH ':memory:' AS {own}")
            cursor.execute(f"USE {own}")
            yield cursor
        except (duckdb.Error, OSError) as error:
            raise self._translated(error) from error
        finally:
            with self._lock:
                self._cursors.discard(cursor)
            with suppress(duckdb.Error):
                cursor.execute("USE memory")
                cursor.execute(f"DETACH {own}")
            with suppress(duckdb.Error):
                cursor.close()

    def _translated(self, error: Exception) -> Exception:
        text = str(error).strip().split("\n", 1)[0]
        if isinstance(error, duckdb.FatalException) or "has been invalidated" in text:
            with self._lock:
                self._root = None
            return WarehouseUnavailableError(f"lake: the reading engine must be opened again: {text}")
        lasting = (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ParserException,
            duckdb.ConversionException,
            duckdb.ConstraintException,
        )
        if isinstance(error, lasting):
            return ValueError(f"lake: {text}")
        return WarehouseUnavailableError(f"lake: the files cannot be read now: {text}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for cursor in self._cursors:
                with suppress(duckdb.Error):
                    cursor.interrupt()
            root: Any = self._root
            self._root = None
        if root is not None:
            with suppress(duckdb.Error):
                root.close()
