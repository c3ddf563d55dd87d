"""The rows of one table in a load: part by part they become typed Arrow arrays, and one Arrow table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import pyarrow as pa

from headrace.loader import columns, values
from headrace.loader.blocks import Block, Column
from headrace.loader.columns import Typed
from headrace.loader.conversions import refitted
from headrace.loader.paths import Path
from headrace.loader.rows import Row
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.loader.tables import Table
from headrace.warehouses.base import Columns, ColumnType, TableName

WAITING: Final = 256
"""A table's rows wait in a load until they are so many: typing a few rows costs as much as typing many."""

IntegersWithin = Callable[[TableName, str, int], bool]
"""`Warehouse.integers_within`."""


class Discard(NamedTuple):
    """A row of headrace.discards, up to `loaded_at`; `value` is JSON text."""

    schema: str
    table: str
    row_id: str
    column: str
    value: str
    reason: str
    received_at: datetime


class Growing:
    """The rows of one table so far. Parts are those of the log, so that few rows are Python values at a time."""

    def __init__(
        self,
        table: Table,
        integers_within: IntegersWithin,
        keeps_column: Callable[[str], bool] | None = None,
        fit: columns.Fit = values.fitted,
        block: Callable[[Sequence[Row]], Block] = Block,
    ) -> None:
        """`block` gives the rows' block, perhaps one that another loader has worked on.
        `keeps_column` says of a property's column whether the warehouse wants it; None: all of them."""
        self.table = table
        self.rows = 0
        self.cells = 0
        """Of the Arrow arrays, nulls included: what a load takes of memory."""
        self.waiting: list[Row] = []
        self.discards: list[Discard] = []
        self._integers_within = integers_within
        self._keeps_column = keeps_column
        self._fit = fit
        self._block = block
        self._standard = standard_columns(table.name.table)
        self._parts: list[tuple[int, dict[str, Any]]] = []

    def add(self, part: Sequence[Row]) -> None:
        """Take the next rows of the table, in order."""
        self.waiting.extend(part)
        self.rows += len(part)
        if len(self.waiting) >= WAITING:
            self.settle()

    def settle(self) -> None:
        """Name and type the columns of the rows that wait. What else is asked of this object is asked afterwards."""
        part, self.waiting = self.waiting, []
        if not part:
            return
        block = self._block(part)
        arrays: dict[str, Any] = {}
        for name, column in zip(self._standard, block.standard, strict=True):
            arrays[name] = self._typed(name, column, block)
        overflowing = set()
        for column in block.leaves:
            path = cast("Path", column[0])
            if self._keeps_column is not None and not self._keeps_column(self.table.asked(path)):
                continue  # before it gets a name, so that no column appears for it
            named = self.table.column(path)
            if named is None:
                overflowing.add(path)
            else:
                arrays[named] = self._typed(named, column, block)
        if overflowing or block.has_extra:
            extra = Block(part)  # what overflows is this table's own matter
            arrays[EXTRA] = self._typed(EXTRA, (-1, lambda: [_extra(row, overflowing) for row in part]), extra)
        self._parts.append((len(part), arrays))
        self.cells += len(part) * len(arrays)

    def _typed(self, name: str, column: Column, block: Block) -> Any:
        types = self.table.types
        known = ColumnType.JSON if name == EXTRA else types.get(name)
        fit = refitted if name in self.table.retyped else self._fit
        result = block.typed(column, known, lambda: self._may_widen(name), fit)
        types[name] = result.type
        if result.misfits:
            self._discard(name, column[1](), result, block.rows)
        return result.array

    def _discard(self, name: str, of_column: Sequence[Any], result: Typed, part: Sequence[Row]) -> None:
        for place in result.misfits:
            value = of_column[place]
            standard = dict(zip(self._standard, part[place].standard, strict=True))
            reason = columns.misfit_reason(value, result.type, self.table.unwidenable.get(name, ""))
            self.discards.append(
                Discard(*self.table.name, standard["id"], name, values.sent(value), reason, standard["received_at"])
            )

    def _may_widen(self, column: str) -> bool:
        """Whether all integers of the column, in the warehouse and in this load, are exact in a double."""
        table = self.table
        if column in table.unwidenable:
            return False
        in_load = all(columns.is_exact(arrays[column]) for _, arrays in self._parts if column in arrays)
        is_stored = column in table.types_stored
        if in_load and (not is_stored or self._integers_within(table.name, column, values.EXACT)):
            return True
        table.unwidenable[column] = ""
        return False

    def columns(self) -> Sequence[str]:
        """The columns of these rows, in the order of the table's."""
        present = {column for _, arrays in self._parts for column in arrays}
        return [column for column in self.table.types if column in present]

    def column(self, name: str) -> Any:
        """All of one column as a chunked array, of the type that the table has by now."""
        arrow_type = columns.ARROW_TYPES[self.table.types[name]]
        chunks = []
        for length, arrays in self._parts:
            array = arrays.get(name)
            if array is None:
                array = pa.nulls(length, arrow_type)
            chunks.append(array if array.type == arrow_type else array.cast(arrow_type))
        return pa.chunked_array(chunks, arrow_type)

    def has_values(self, name: str) -> bool:
        return any(name in arrays and arrays[name].null_count < length for length, arrays in self._parts)

    def arrow(self, loaded_at: datetime) -> Any:
        """The rows as a pyarrow.Table."""
        table = {name: self.column(name) for name in self.columns()}
        table[LOADED_AT] = pa.repeat(pa.scalar(loaded_at, columns.ARROW_TYPES[ColumnType.TIMESTAMP]), self.rows)
        return pa.table(table)


def _extra(row: Row, overflowing: set[Path]) -> str | None:
    """What of the row has no column, as a JSON object."""
    leaves = {path: value for path, value in row.leaves.items() if path in overflowing} if overflowing else {}
    leaves.update(row.extra)
    return values.nested(leaves) if leaves else None


def arrow_table(types: Columns, of_table: Sequence[Sequence[Any]]) -> Any:
    """Rows whose values are in the order of `types` as a pyarrow.Table."""
    transposed = zip(*of_table, strict=True)
    return pa.table(
        {
            name: pa.array(of_column, columns.ARROW_TYPES[types[name]])
            for name, of_column in zip(types, transposed, strict=True)
        }
    )
