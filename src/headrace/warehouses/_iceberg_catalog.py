"""The lake's catalogue: which tables there are, their columns, and the border at which foreign errors are translated."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import sqlalchemy as sa
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from headrace.errors import WarehouseUnavailableError
from headrace.warehouses._iceberg_io import LakeFiles
from headrace.warehouses.base import Columns, ColumnType, TableName

JSON_DOC: Final = "json"
"""Iceberg has no JSON: the column is a string with this comment."""
TYPES: Final[Mapping[ColumnType, IcebergType]] = {
    ColumnType.BOOLEAN: BooleanType(),
    ColumnType.INTEGER: LongType(),
    ColumnType.FLOAT: DoubleType(),
    ColumnType.TIMESTAMP: TimestamptzType(),
    ColumnType.STRING: StringType(),
    ColumnType.JSON: StringType(),
}
_COLUMN_TYPES: Final[Mapping[type[IcebergType], ColumnType]] = {
    BooleanType: ColumnType.BOOLEAN,
    IntegerType: ColumnType.INTEGER,
    LongType: ColumnType.INTEGER,
    FloatType: ColumnType.FLOAT,
    DoubleType: ColumnType.FLOAT,
    TimestamptzType: ColumnType.TIMESTAMP,
}
"""Types that only another program's hand can have made count as text."""
LATEST: Final = frozenset(("users", "accounts"))
"""Tables of latest state: not by day, but in files of disjoint ranges of ids (_iceberg_latest)."""
_PROPERTIES: Final = {
    "write.parquet.compression-codec": "zstd",
    "write.parquet.row-group-limit": "122880",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "50",
}
_ID_BOUNDS: Final = {"write.metadata.metrics.column.id": "full"}
"""Bounds of whole ids, so that a key finds its file."""


class LostRaceError(Exception):
    """The table was changed by somebody else since it was read. Nothing was stored."""


class FencedCatalog(SqlCatalog):
    """pyiceberg repeats a commit that lost a race upon the newer state. That would add the rows of a loader whose place
    another has taken, so here a lost race is an error of another class, which pyiceberg does not repeat."""

    def __init__(self, name: str, **properties: str) -> None:
        try:
            super().__init__(name, **properties)
        except BaseException:
            self.close()
            raise

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        try:
            return super().commit_table(table, requirements, updates)
        except CommitFailedException as error:
            raise LostRaceError(f"the table {'.'.join(table.name())} was changed meanwhile: {error}") from error


def opened(name: str, url: str, location: str, storage: Mapping[str, str]) -> FencedCatalog:
    with border("open the catalogue"):
        return FencedCatalog(
            name,
            uri=url,
            warehouse=location,
            pool_pre_ping="true",
            **{"py-io-impl": f"{LakeFiles.__module__}.{LakeFiles.__name__}"},
            **storage,
        )


@contextmanager
def border(step: str) -> Iterator[None]:
    """Errors of pyiceberg, SQLAlchemy and the storage as headrace's."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise WarehouseUnavailableError(f"lake: {step}: the catalogue's database: {_first_line(error)}") from error
    except LostRaceError as error:
        raise WarehouseUnavailableError(f"lake: {step}: {error}; it is tried again") from error
    except (OSError, NoSuchTableError, TableAlreadyExistsError, ValidationException) as error:
        raise WarehouseUnavailableError(f"lake: {step}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


class Tables:
    """What one thread, or the readers behind a lock, know of the tables. A table is read again when the catalogue names another state of it."""

    def __init__(self, catalog: FencedCatalog) -> None:
        self.catalog = catalog
        self._known: dict[TableName, Table] = {}
        self._lock = threading.Lock()

    def all(self) -> dict[TableName, Table]:
        return self._current(sa.true())

    def get(self, name: TableName) -> Table | None:
        where = (IcebergTables.table_namespace == name.schema) & (IcebergTables.table_name == name.table)
        return self._current(where).get(name)

    def of_schema(self, schema: str) -> dict[TableName, Table]:
        return self._current(IcebergTables.table_namespace == schema)

    def one(self, name: TableName) -> Table:
        """Raises ValueError when there is none."""
        table = self.get(name)
        if table is None:
            raise ValueError(f"lake: there is no table {name.schema}.{name.table}")
        return table

    def _current(self, where: Any) -> dict[TableName, Table]:
        columns = (IcebergTables.table_namespace, IcebergTables.table_name, IcebergTables.metadata_location)
        chosen = sa.select(*columns).where(IcebergTables.catalog_name == self.catalog.name, where)
        with self.catalog.engine.connect() as connection:
            rows = connection.execute(chosen).fetchall()
        return {name: self._table(name, place) for *parts, place in rows for name in (TableName(*parts),)}

    def _table(self, name: TableName, place: str | None) -> Table:
        with self._lock:
            known = self._known.get(name)
            if known is None or known.metadata_location != place:
                known = self._known[name] = self.catalog.load_table(tuple(name))
            return known


def columns_of(table: Table) -> Columns:
    return {field.name: column_type(field) for field in table.schema().fields}


def column_type(field: NestedField) -> ColumnType:
    if isinstance(field.field_type, StringType) and field.doc == JSON_DOC:
        return ColumnType.JSON
    return _COLUMN_TYPES.get(type(field.field_type), ColumnType.STRING)


def doc(type_: ColumnType) -> str | None:
    return JSON_DOC if type_ is ColumnType.JSON else None


def create_schema(catalog: FencedCatalog, schema: str) -> None:
    try:
        catalog.create_namespace_if_not_exists((schema,))
    except NamespaceAlreadyExistsError:
        return


def create_table(catalog: FencedCatalog, name: TableName, columns: Columns, *, by_id: bool) -> None:
    """Each table has a folder of its own for ever, whatever it is renamed to; the schema is there."""
    fields = [
        NestedField(number, column, TYPES[type_], required=False, doc=doc(type_))
        for number, (column, type_) in enumerate(columns.items(), 1)
    ]
    schema = Schema(*fields)
    by_day = not by_id and columns.get("received_at") is ColumnType.TIMESTAMP
    spec, order = UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER
    if by_day:
        source = schema.find_field("received_at").field_id
        spec = PartitionSpec(PartitionField(source, 1000, DayTransform(), "received_at_day"))
        order = SortOrder(SortField(source_id=source, transform=IdentityTransform()))
    folder = f"{name.schema}/{quote(name.table, safe='')}-{uuid4().hex[:8]}"
    catalog.create_table(
        tuple(name),
        schema,
        location=f"{catalog.properties['warehouse']}/{folder}",
        partition_spec=spec,
        sort_order=order,
        properties=_PROPERTIES | (_ID_BOUNDS if by_id else {}),
    )


def take_place(catalog: FencedCatalog, old: TableName, new: TableName) -> None:
    """`new` is called `old` from now on, and what was called so is no table any more: in one transaction."""

    def named(name: TableName) -> Any:
        return (
            (IcebergTables.catalog_name == catalog.name)
            & (IcebergTables.table_namespace == name.schema)
            & (IcebergTables.table_name == name.table)
        )

    with catalog.engine.begin() as connection:
        connection.execute(sa.delete(IcebergTables).where(named(old)))
        values = {"table_namespace": old.schema, "table_name": old.table}
        connection.execute(sa.update(IcebergTables).where(named(new)).values(**values))
