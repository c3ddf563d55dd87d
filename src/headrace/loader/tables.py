"""What is known of a warehouse's tables: their columns and types, and which column a path has, for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headrace import names
from headrace.loader.paths import Path, column_base
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.names import STANDARD_TABLES
from headrace.reports.model.schema import SCHEMA as DERIVED
from headrace.warehouses.base import HOUSEKEEPING, Columns, ColumnType, NamedColumn, TableName


class Table:
    """One table. `types` grows as columns are named; `types_stored` is what the warehouse has, empty for a new table."""

    def __init__(self, name: TableName, max_columns: int, stored: Columns, named: Iterable[NamedColumn] = ()) -> None:
        self.name = name
        self.max_columns = max_columns
        self.standard: Columns = {**standard_columns(name.table), LOADED_AT: ColumnType.TIMESTAMP}
        self.types_stored = stored
        self.types: Columns = {**self.standard, **stored}
        self.column_by_path: dict[Path, str] = {}
        self.path_by_column: dict[str, Path] = {}
        self._occupied = self.types.keys() - {EXTRA}
        self.last_seen_by_column: dict[str, datetime] = {}
        self.retyped: set[str] = set()
        """The columns whose type a person chose."""
        self.unwidenable: dict[str, str] = {}
        """Integer columns that stay so, and why where it is not for what they hold: the empty text then."""
        for column in named:
            self._claim(column.original, column.column)
            self.last_seen_by_column[column.column] = column.last_seen

    def column(self, path: Path) -> str | None:
        """The column of a path, named now if it has none yet; None when the table is full: its value goes to `_extra`."""
        column = self.column_by_path.get(path)
        if column is None and not self.is_full:
            column = self._free(column_base(path))
            self._claim(path, column)
        return column

    def asked(self, path: Path) -> str:
        """The column that the path has, or would be named now."""
        return self.column_by_path.get(path) or self._free(column_base(path))

    @property
    def is_full(self) -> bool:
        # One place is kept for `_extra`.
        return len(self._occupied) >= self.max_columns - 1

    def _free(self, base: str) -> str:
        if base in self.standard:
            base = f"_{base}"
        column = base
        number = 2
        while column in self.path_by_column or column in self.standard:
            column = names.numbered(base, number)
            number += 1
        return column

    def _claim(self, path: Path, column: str) -> None:
        self.column_by_path[path] = column
        self.path_by_column[column] = path
        self._occupied.add(column)

    def added(self) -> Columns:
        """The columns that the warehouse does not have yet."""
        return {column: kind for column, kind in self.types.items() if column not in self.types_stored}

    def widened(self) -> Sequence[str]:
        """The columns that are integers in the warehouse still."""
        stored = self.types_stored
        integer, floating = ColumnType.INTEGER, ColumnType.FLOAT
        return [name for name, kind in self.types.items() if kind is floating and stored.get(name) is integer]

    def stored_as_known(self) -> None:
        """Called when a load with everything known was committed."""
        self.types_stored = dict(self.types)


class Tables:
    """Every table of the sources' schemas, as the warehouse has them and as the load under way will leave them."""

    def __init__(
        self,
        stored: Mapping[TableName, Columns],
        named: Iterable[NamedColumn],
        *,
        max_columns: int,
        max_tables: int,
        unwidenable: Mapping[tuple[TableName, str], str] | None = None,
        retyped: Iterable[tuple[TableName, str]] = (),
    ) -> None:
        """`unwidenable` says why the warehouse does not let these integer columns become float, `retyped` names the columns
        whose type a person chose."""
        self.max_columns = max_columns
        self.max_tables = max_tables
        named_by_table: dict[TableName, list[NamedColumn]] = {}
        for column in named:
            named_by_table.setdefault(TableName(column.schema, column.table), []).append(column)
        self.table_by_name = {
            name: Table(name, max_columns, dict(columns), named_by_table.get(name, ()))
            for name, columns in stored.items()
            if name.schema not in (HOUSEKEEPING, DERIVED)
        }
        for (name, held), reason in (unwidenable or {}).items():
            if name in self.table_by_name:
                self.table_by_name[name].unwidenable[held] = reason
        for name, chosen in retyped:
            if name in self.table_by_name:
                self.table_by_name[name].retyped.add(chosen)
        self._event_tables: dict[str, int] = {}
        for name in self.table_by_name:
            self._count(name)

    def schemas(self) -> set[str]:
        return {name.schema for name in self.table_by_name}

    def table(self, name: TableName) -> Table | None:
        """The table, made known now if it is new; None when the schema has as many event tables as it may have."""
        table = self.table_by_name.get(name)
        if table is None and self._has_place(name):
            table = self.table_by_name[name] = Table(name, self.max_columns, {})
            self._count(name)
        return table

    def existing(self, name: TableName) -> Table:
        """A table that there is, or a standard one."""
        table = self.table(name)
        if table is None:
            raise AssertionError(f"table {name.schema}.{name.table} was to be placed before")
        return table

    def _has_place(self, name: TableName) -> bool:
        # The standard tables have their places kept, so that they can always be made.
        is_standard = name.table in STANDARD_TABLES
        return is_standard or self._event_tables.get(name.schema, 0) < self.max_tables - len(STANDARD_TABLES)

    def _count(self, name: TableName) -> None:
        if name.table not in STANDARD_TABLES:
            self._event_tables[name.schema] = self._event_tables.get(name.schema, 0) + 1
