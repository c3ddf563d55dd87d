"""The data files of a table: which there are, their rows as SQL, writing new ones, and the commit that exchanges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import pyarrow_to_schema, write_file
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction, WriteTask
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import PrimitiveType

from headrace.warehouses._iceberg_catalog import column_type
from headrace.warehouses._iceberg_io import duckdb_path
from headrace.warehouses._sql import quoted
from headrace.warehouses.base import ColumnType

DUCKDB_TYPES: Final = {
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
    ColumnType.TIMESTAMP: "TIMESTAMPTZ",
    ColumnType.STRING: "VARCHAR",
    ColumnType.JSON: "JSON",
}
FILE_ROWS: Final = 500_000
"""Of a data file, at the most."""
_DAY: Final = 86_400_000_000


class Planned(NamedTuple):
    """A table's files, or those of them that may hold rows of a filter, at one moment. `masked`: another program has deleted
    rows in files beside them, which pyiceberg must apply."""

    table: Table
    schema: Schema
    files: Sequence[DataFile]
    masked: bool


def planned(table: Table, rows: BooleanExpression | None = None) -> Planned:
    """Files are pruned by their partition and statistics."""
    scan = table.scan(row_filter=rows or AlwaysTrue())
    tasks: list[Any] = list(scan.plan_files())
    masked = any(task.delete_files for task in tasks)
    return Planned(table, table.schema(), [task.file for task in tasks], masked)


def relation(cursor: duckdb.DuckDBPyConnection, plan: Planned, columns: Sequence[str] | None = None) -> str:
    """A SELECT of these columns (all without) from the files. Columns are found by Iceberg's field ids, as every engine
    does, whatever they were called when a file was written."""
    fields = [field for field in plan.schema.fields if columns is None or field.name in columns]
    if plan.masked:
        # pyiceberg reads it into memory: only after a merge-on-read DELETE by another program.
        name = f"headrace masked {uuid4().hex}"
        cursor.register(name, plan.table.scan(selected_fields=tuple(field.name for field in fields)).to_arrow())
        return f"SELECT {', '.join(_shown(field) for field in fields)} FROM {quoted(name)}"  # noqa: S608 -- quoted
    if not plan.files or not fields:
        empty = ", ".join(f"NULL::{DUCKDB_TYPES[column_type(field)]} AS {quoted(field.name)}" for field in fields)
        return f"SELECT {empty or '1'} WHERE false"
    paths = ", ".join(_literal(duckdb_path(file.file_path)) for file in plan.files)
    by_id = ", ".join(
        f"{field.field_id}: {{name: {_literal(field.name)}, type: '{_file_type(field)}', default_value: NULL}}"
        for field in fields
    )
    shown = ", ".join(_shown(field) for field in fields)
    return f"SELECT {shown} FROM read_parquet([{paths}], schema=MAP {{{by_id}}})"  # noqa: S608 -- quoted


def _file_type(field: Any) -> str:
    type_ = column_type(field)
    return "VARCHAR" if type_ is ColumnType.JSON else DUCKDB_TYPES[type_]


def _shown(field: Any) -> str:
    name = quoted(field.name)
    return f"{name}::JSON AS {name}" if column_type(field) is ColumnType.JSON else name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def bounds(file: DataFile, schema: Schema, column: str) -> tuple[Any, Any]:
    """The least and greatest value that a file may hold; None where it is not known or there is none."""
    field = schema.find_field(column)
    type_ = cast("PrimitiveType", field.field_type)
    least, greatest = (
        None if (raw := (of_file or {}).get(field.field_id)) is None else from_bytes(type_, raw)
        for of_file in (file.lower_bounds, file.upper_bounds)
    )
    return least, greatest


def written(transaction: Transaction, files: Any, rows: pa.Table) -> list[DataFile]:
    """New data files, by day where the table is, of at most FILE_ROWS rows. They belong to the table once committed."""
    metadata = transaction.table_metadata
    schema = pyarrow_to_schema(rows.schema, name_mapping=metadata.schema().name_mapping)
    uuid = uuid4()
    tasks = [
        WriteTask(
            write_uuid=uuid,
            task_id=number,
            schema=schema,
            record_batches=part.combine_chunks().to_batches(),
            partition_key=key,
        )
        for number, (key, part) in enumerate(_parts(metadata, rows))
    ]
    return list(write_file(files, metadata, iter(tasks)))


def _parts(metadata: Any, rows: pa.Table) -> Iterator[tuple[PartitionKey | None, pa.Table]]:
    spec = metadata.spec()
    if "received_at" in rows.column_names and not spec.is_unpartitioned():
        rows = rows.sort_by("received_at")
    for day, part in _days(rows) if not spec.is_unpartitioned() else [(None, rows)]:
        value = [PartitionFieldValue(field=field, value=day) for field in spec.fields]
        key = PartitionKey(value, spec, metadata.schema()) if value else None
        for first in range(0, part.num_rows, FILE_ROWS):
            yield key, part.slice(first, FILE_ROWS)


def _days(rows: pa.Table) -> Iterator[tuple[int | None, pa.Table]]:
    """Rows in the order of received_at, by its day since 1970."""
    if "received_at" not in rows.column_names:
        yield None, rows
        return
    moments = rows.column("received_at").cast(pa.int64())
    first, count = 0, rows.num_rows - moments.null_count  # nulls are last
    while first < count:
        day = moments[first].as_py() // _DAY
        length = pc.sum(pc.less(moments.slice(first, count - first), (day + 1) * _DAY)).as_py()
        yield day, rows.slice(first, length)
        first += length
    if count < rows.num_rows:
        yield None, rows.slice(count)


class _OneCommit(Transaction):
    """pyiceberg copies the whole metadata, every snapshot with it, each time that one of its steps looks at it: some twenty
    times a commit. Nothing changes what it looked at, so it is copied once for each change."""

    _seen: tuple[Any, Any, Any] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        base = self._table.metadata
        if self._seen is None or self._seen[0] is not base or self._seen[1] is not self._updates:
            self._seen = (base, self._updates, super().table_metadata)
        return cast("TableMetadata", self._seen[2])


def exchange(
    table: Table,
    write: Callable[[Transaction], Sequence[DataFile]],
    *,
    removed: Sequence[DataFile] = (),
    change: Callable[[Transaction], None] | None = None,
    properties: Mapping[str, str] | None = None,
    summary: Mapping[str, str] | None = None,
) -> None:
    """One commit of a table: its schema may change, files go, new ones come, properties are set. All of it or nothing.

    Raises LostRaceError when the table is not any more what `table` says."""
    transaction = _OneCommit(table)
    if change is not None:
        change(transaction)
    if properties:
        transaction.set_properties(dict(properties))
    added = write(transaction)
    if added or removed:
        update = transaction.update_snapshot(snapshot_properties=dict(summary or {}))
        with update.overwrite() if removed else update.merge_append() as snapshot:
            for file in removed:
                snapshot.delete_data_file(file)
            for file in added:
                snapshot.append_data_file(file)
    transaction.commit_transaction()
