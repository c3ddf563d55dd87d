"""Copies of the embedded warehouse for other programs: DuckDB lets one process open a file, and that is the worker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
from pyarrow import parquet

from headrace.errors import ConfigError, WarehouseUnavailableError
from headrace.warehouses._sql import qualified
from headrace.warehouses.base import TableName

BLOCK_ROWS: Final = 50_000
COPY_SECONDS: Final = 3_600.0


def copy(database: Path, to: Path) -> int:
    """Copy the file, which must be checkpointed and stay so meanwhile, and put the copy in its place as a whole. Returns its bytes.

    A child process copies: closing a second descriptor of the file in this one would drop DuckDB's lock on it.
    Raises ConfigError and WarehouseUnavailableError."""
    if to.resolve() == database.resolve():
        raise ConfigError(f"snapshot: {to} is the warehouse itself; give another file")
    if not to.parent.is_dir():
        raise ConfigError(f"snapshot: there is no folder {to.parent}; make it first")
    draft = to.with_name(f".{to.name}.draft")
    script = ["cp", "--reflink=auto", "--", str(database), str(draft)]
    try:
        done = subprocess.run(script, check=False, capture_output=True, text=True, timeout=COPY_SECONDS)  # noqa: S603 - no shell, our own paths
        if done.returncode:
            raise WarehouseUnavailableError(f"snapshot: {to} could not be written: {done.stderr.strip()}")
        descriptor = os.open(draft, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            size_bytes = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        draft.replace(to)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WarehouseUnavailableError(f"snapshot: {to} could not be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return size_bytes


def blocks(cursor: duckdb.DuckDBPyConnection, name: TableName) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """All rows of a table."""
    reader = cursor.sql(f"SELECT * FROM {qualified(name)}").to_arrow_reader(BLOCK_ROWS)  # noqa: S608 - quoted
    return reader.schema, reader


def write_parquet(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], to: Path, on_rows: Callable[[int], Any] = lambda _: None
) -> int:
    """One Parquet file, there as a whole or not at all. Returns its rows; `on_rows` is told of each block's.

    Raises ConfigError when it cannot be written."""
    draft = to.with_name(f".{to.name}.draft")
    rows = 0
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with parquet.ParquetWriter(draft, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
                on_rows(batch.num_rows)
        draft.replace(to)
    except OSError as error:
        raise ConfigError(f"export: {to} could not be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return rows
