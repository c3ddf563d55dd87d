"""What quiet times are for: small files become one, old snapshots go, and files that no snapshot names are deleted.

pyiceberg rewrites no files and deletes none when it expires snapshots, so both are done here with its parts. Readers see a
table before or after a rewriting, never between; a query that began on a snapshot older than `snapshot_hours` may miss a file.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from headrace.warehouses._iceberg_catalog import LATEST, Tables, border
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import FILE_ROWS, Planned, exchange, planned, relation, written
from headrace.warehouses._iceberg_io import LakeFiles
from headrace.warehouses.base import TableName

logger = logging.getLogger(__name__)

TARGET_BYTES: Final = 16_000_000
"""What a rewritten file has at the most: ten times as much is in memory while it is written."""
SMALL_BYTES: Final = TARGET_BYTES // 2
OPEN_FILES: Final = 16
"""So many files of about one size make one, while their day goes on: a row is written anew a few times, not with every load."""
BUDGET_SECONDS: Final = 5.0
"""Of one call: a load must not wait for long."""
EXPIRE_AT_ONCE: Final = 16
SWEEP_EVERY_SECONDS: Final = 86_400.0
ORPHAN_AGE: Final = timedelta(days=3)
"""A file that no snapshot names may be one that is being written, until it is this old."""
_SUMMARY: Final = {"headrace.upkeep": "small files became one"}


class Upkeep:
    def __init__(self, tables: Tables, engine: Engine, kept_hours: float) -> None:
        self._tables, self._engine, self._kept = tables, engine, timedelta(hours=kept_hours)
        self._last: TableName | None = None
        self._swept_at: dict[TableName, float] = {}

    def run(self, now: datetime, *, force: bool) -> bool:
        """Table after table, where the last call ended, for BUDGET_SECONDS or with `force` until all is done; whether there was anything to do."""
        until = math.inf if force else time.monotonic() + BUDGET_SECONDS
        names = sorted(self._tables.all())
        first = 0 if self._last is None else sum(name <= self._last for name in names)
        did = False
        for name in names[first:] + names[:first]:
            if time.monotonic() >= until:
                break
            self._last = name
            with border(f"keep up {name.schema}.{name.table}"):
                did = self._keep_up(name, now, until) or did
        return did

    def _keep_up(self, name: TableName, now: datetime, until: float) -> bool:
        did = False
        for group in self._groups(name, now):
            if time.monotonic() >= until:
                return did
            did = _rewritten(self._engine, self._tables.one(name), group) or did
        table = self._tables.get(name)
        if table is None:
            return did
        did = expire(table, now - self._kept) or did
        if time.monotonic() - self._swept_at.get(name, -math.inf) >= SWEEP_EVERY_SECONDS:
            self._swept_at[name] = time.monotonic()
            did = sweep(table, now - ORPHAN_AGE) or did
        return did

    def _groups(self, name: TableName, now: datetime) -> list[list[DataFile]]:
        table = self._tables.get(name)
        if table is None or name.table in LATEST:
            return []  # the latest state keeps its files in order itself
        plan = planned(table)
        if plan.masked:
            return []  # another program's deletes are that program's to fold in
        today = (now - datetime(1970, 1, 1, tzinfo=UTC)).days
        by_day: dict[Any, list[DataFile]] = defaultdict(list)
        for file in plan.files:
            if file.file_size_in_bytes < SMALL_BYTES and file.spec_id == table.spec().spec_id:
                by_day[file.partition[0] if len(file.partition) else None].append(file)
        return [
            group for day, files in by_day.items() for group in groups(files, is_closed=day is not None and day < today)
        ]


def groups(files: Sequence[DataFile], *, is_closed: bool) -> list[list[DataFile]]:
    """Which small files of a day become one. While the day goes on only files of about one size do, many at once."""
    if is_closed:
        found = list(_bins(sorted(files, key=lambda file: file.file_path)))
    else:
        by_size: dict[int, list[DataFile]] = defaultdict(list)
        for file in files:
            by_size[int(math.log(max(file.file_size_in_bytes, 1), 8))].append(file)
        found = [group for alike in by_size.values() if len(alike) >= OPEN_FILES for group in _bins(alike)]
    return [group for group in found if len(group) > 1]


def _bins(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    filled: list[DataFile] = []
    size = rows = 0
    for file in files:
        if filled and (size + file.file_size_in_bytes > TARGET_BYTES or rows + file.record_count > FILE_ROWS):
            yield filled
            filled, size, rows = [], 0, 0
        filled.append(file)
        size += file.file_size_in_bytes
        rows += file.record_count
    yield filled


def _rewritten(engine: Engine, table: Table, group: Sequence[DataFile]) -> bool:
    with engine.cursor() as cursor:
        rows = cursor.sql(
            _as_text(relation(cursor, Planned(table, table.schema(), group, masked=False)))
        ).to_arrow_table()
    if rows.num_rows != sum(file.record_count for file in group):
        raise OSError(
            f"{len(group)} files of {table.name()} hold other rows than the catalogue says; they stay as they are"
        )
    exchange(table, lambda transaction: written(transaction, table.io, rows), removed=group, summary=_SUMMARY)
    return True


def _as_text(sql: str) -> str:
    """JSON is not parsed to be written as it was."""
    return sql.replace("::JSON AS", "::VARCHAR AS")


def expire(table: Table, before: datetime) -> bool:
    """Snapshots from before a moment go, and with them the files that they alone name. The current one and those with a
    name of their own (tags, branches) stay."""
    named = {reference.snapshot_id for reference in table.metadata.refs.values()}
    limit = int(before.timestamp() * 1000)
    old = [found for found in table.metadata.snapshots if found.timestamp_ms < limit and found.snapshot_id not in named]
    if len(old) < EXPIRE_AT_ONCE:
        return False
    gone = {found.snapshot_id for found in old}
    kept = [found for found in table.metadata.snapshots if found.snapshot_id not in gone]
    unneeded = _named_alone(table, old, kept)
    table.maintenance.expire_snapshots().by_ids(sorted(gone)).commit()
    _delete(table, unneeded)
    return True


def _delete(table: Table, paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):  # another program keeps the lake up, too
            table.io.delete(path)


def _named_alone(table: Table, old: Sequence[Snapshot], kept: Sequence[Snapshot]) -> set[str]:
    needed_manifests = {manifest.manifest_path: manifest for found in kept for manifest in found.manifests(table.io)}
    manifests = {manifest.manifest_path: manifest for found in old for manifest in found.manifests(table.io)}
    unneeded = {found.manifest_list for found in old} - {found.manifest_list for found in kept}
    unneeded |= manifests.keys() - needed_manifests.keys()
    files = {
        entry.data_file.file_path
        for path in manifests.keys() - needed_manifests.keys()
        for entry in manifests[path].fetch_manifest_entry(table.io, discard_deleted=False)
    }
    if files:
        files -= {
            entry.data_file.file_path
            for manifest in needed_manifests.values()
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        }
    return unneeded | files


def sweep(table: Table, before: datetime) -> bool:
    """Files in the table's folder that no snapshot names and that are old: what a killed load or a broken-off upkeep left."""
    if not isinstance(table.io, LakeFiles):
        return False
    listed = {path for path, changed in table.io.listed(table.location()).items() if changed < before.timestamp()}
    if not listed:
        return False
    needed = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for found in table.metadata.snapshots:
        needed.add(found.manifest_list)
        for manifest in found.manifests(table.io):
            needed.add(manifest.manifest_path)
            needed |= {
                entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            }
    orphans = listed - needed
    _delete(table, sorted(orphans))
    if orphans:
        logger.info("lake: %d files of %s that no snapshot names were deleted", len(orphans), ".".join(table.name()))
    return bool(orphans)
