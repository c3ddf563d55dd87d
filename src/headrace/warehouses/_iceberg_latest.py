"""The latest-state tables (`Upsert`) in the lake.

Iceberg's files are never changed, so a changed row means its file anew. The table is kept in files of disjoint ranges of ids,
like the leaves of a tree: only the files in whose ranges the load's keys lie are read and written. What the rows become is
computed in DuckDB by the same statements as in the embedded warehouse.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from headrace.warehouses import _duckdb_latest
from headrace.warehouses._iceberg_catalog import columns_of
from headrace.warehouses._iceberg_engine import Engine
from headrace.warehouses._iceberg_files import DUCKDB_TYPES, bounds, planned, relation
from headrace.warehouses._sql import qualified, quoted
from headrace.warehouses.base import Columns, ColumnType, TableName, Upsert

LEAF_ROWS: Final = 50_000
_BROUGHT: Final = "headrace brought"


class NewRows(NamedTuple):
    """`parts` are rows for a new file each, which take the place of the files `removed`."""

    parts: Sequence[pa.Table]
    removed: Sequence[DataFile]


def merged(engine: Engine, table: Table, history: Table, upsert: Upsert, brought: pa.Table) -> NewRows:
    """The table's files in which a key of `brought` lies, with the state after these rows. They are in the history already."""
    keys = pc.unique(brought.column(upsert.key).drop_null()).to_pylist() if upsert.key in brought.column_names else []
    if not keys:
        return NewRows([], [])
    plan = planned(table)
    leaves = _leaves(plan.schema, plan.files)
    if plan.masked:
        touched = list(range(len(leaves)))
    else:
        starts = [start for start, _ in leaves]
        touched = sorted({max(0, bisect_right(starts, key) - 1) for key in keys}) if leaves else []
    files = [file for place in touched for file in leaves[place][1]]
    ranges = [_range(leaves, place) for place in touched] or [(None, None)]
    with engine.cursor() as cursor:
        _create(cursor, upsert.table, table)
        stored = relation(cursor, plan._replace(files=files))
        cursor.execute(f"INSERT INTO {qualified(upsert.table)} {stored}")
        _see(cursor, upsert.history, relation(cursor, planned(history), _needed(upsert)))
        cursor.register(_BROUGHT, brought)
        _duckdb_latest.upsert(cursor, upsert, _BROUGHT, brought.column_names)
        return NewRows(list(_parts(cursor, upsert.table, ranges)), files)


def computed(engine: Engine, table: Table, history: Table, upsert: Upsert, retyped: Columns) -> NewRows:
    """All rows of the table, computed from all of its history; some columns with another type than the table has yet."""
    with engine.cursor() as cursor:
        _create(cursor, upsert.table, table, retyped)
        cursor.execute(f"CREATE TABLE {quoted(_BROUGHT)} AS {relation(cursor, planned(history), _needed(upsert))}")
        _duckdb_latest.upsert(cursor, upsert, _BROUGHT, [*upsert.columns])
        return NewRows(list(_parts(cursor, upsert.table, [(None, None)])), planned(table).files)


def _needed(upsert: Upsert) -> list[str]:
    return ["id", "received_at", "loaded_at", upsert.key, *upsert.columns]


def _create(cursor: duckdb.DuckDBPyConnection, name: TableName, table: Table, retyped: Columns | None = None) -> None:
    """JSON is text here: what was checked once is not parsed again."""
    cursor.execute(f"CREATE SCHEMA {quoted(name.schema)}")
    types = {
        column: DUCKDB_TYPES[ColumnType.STRING if type_ is ColumnType.JSON else type_]
        for column, type_ in (columns_of(table) | (retyped or {})).items()
    }
    columns = ", ".join(f"{quoted(column)} {type_}" for column, type_ in types.items())
    cursor.execute(f"CREATE TABLE {qualified(name)} ({columns})")


def _see(cursor: duckdb.DuckDBPyConnection, name: TableName, rows: str) -> None:
    cursor.execute(f"CREATE VIEW {qualified(name)} AS {rows}")


Leaf = tuple[str, list[DataFile]]


def _leaves(schema: Any, files: Sequence[DataFile]) -> list[Leaf]:
    """Files by range of ids; those whose ranges overlap, as another program may have written them, are one leaf."""
    ranged = sorted(((*bounds(file, schema, "id"), file) for file in files), key=lambda found: str(found[0] or ""))
    leaves: list[Leaf] = []
    greatest = ""
    for least, most, file in ranged:
        if leaves and (least is None or most is None or least <= greatest):
            leaves[-1][1].append(file)
        else:
            leaves.append((least or "", [file]))
        greatest = max(greatest, most) if most is not None else "\U0010ffff"
    return leaves


def _range(leaves: Sequence[Leaf], place: int) -> tuple[str | None, str | None]:
    """From where to before where the leaf's ids go; the first and the last have no end."""
    least = leaves[place][0] if place else None
    return least, leaves[place + 1][0] if place + 1 < len(leaves) else None


def _parts(
    cursor: duckdb.DuckDBPyConnection, name: TableName, ranges: Sequence[tuple[str | None, str | None]]
) -> Iterator[pa.Table]:
    for least, before in ranges:
        found = cursor.sql(
            f"SELECT * FROM {qualified(name)} WHERE id >= ? AND (? IS NULL OR id < ?) ORDER BY id",  # noqa: S608
            params=[least or "", before, before],
        ).to_arrow_table()
        count = -(-found.num_rows // LEAF_ROWS)
        edges = [found.num_rows * number // count for number in range(count + 1)] if count else []
        for first, end in pairwise(edges):
            yield found.slice(first, end - first)
