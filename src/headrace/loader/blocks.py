"""Rows of one table that become columns together, and what was worked out of them: shared by the loaders of several warehouses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, Final

from headrace.loader import columns, values
from headrace.loader.columns import Typed
from headrace.loader.paths import Path
from headrace.loader.rows import Row
from headrace.warehouses.base import ColumnType

SPARSE: Final = 4
"""Rows that have less than one in so many of their columns are turned into columns value by value."""
KEPT_ROWS: Final = 8_192

Column = tuple[Path | int, Callable[[], Sequence[Any]]]
"""What names it (a path, or a place among the standard columns), and its values, None where a row has none."""


class Block:
    """Typing a column twice gives the same array, as long as the type is known before and everything fits: that is remembered."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._typed: dict[tuple[Path | int, ColumnType | None], Typed] = {}

    @cached_property
    def standard(self) -> Sequence[Column]:
        """In the order of `Row.standard`."""
        count = len(self.rows[0].standard)
        return [(place, partial(_standard, self.rows, place)) for place in range(count)]

    @cached_property
    def leaves(self) -> Sequence[Column]:
        """In the order of first sight."""
        return list(_transposed([row.leaves for row in self.rows]))

    @cached_property
    def has_extra(self) -> bool:
        return any(row.extra for row in self.rows)

    def typed(
        self,
        column: Column,
        known: ColumnType | None,
        may_widen: Callable[[], bool],
        fit: columns.Fit = values.fitted,
    ) -> Typed:
        """See `columns.typed`."""
        name, of_column = column
        remembered = self._typed.get((name, known)) if fit is values.fitted else None
        if remembered is not None:
            return remembered
        result = columns.typed(of_column(), known, may_widen, fit)
        if not result.misfits and known in {None, result.type} and fit is values.fitted:
            self._typed[name, known] = result
        return result


class SharedBlocks:
    """The blocks that other loaders will want: those of exactly the same rows. Safe to use from several threads."""

    def __init__(self, kept_rows: int = KEPT_ROWS) -> None:
        self._kept_rows = kept_rows
        self._turn = threading.Lock()
        self._rows = 0
        self._kept: dict[tuple[int, ...], tuple[Block, int]] = {}
        """By the rows' identities, oldest first: the block, which holds its rows, and how many loaders have it still to come."""

    def of(self, rows: Sequence[Row], loaders: int) -> Block:
        """A block of these rows; `loaders` is how many there are."""
        if loaders <= 1:
            return Block(rows)
        key = tuple(map(id, rows))
        with self._turn:
            block, still_to_come = self._kept.pop(key, (None, loaders))
            if block is None:
                block = Block(rows)
                self._rows += len(rows)
            if still_to_come > 1:
                self._kept[key] = (block, still_to_come - 1)
            else:
                self._rows -= len(rows)
            while self._rows > self._kept_rows and len(self._kept) > 1:
                oldest = next(iter(self._kept))
                self._rows -= len(oldest)
                del self._kept[oldest]
        return block


def _standard(of_rows: Sequence[Row], place: int) -> Sequence[Any]:
    return [row.standard[place] for row in of_rows]


def _transposed(of_rows: Sequence[Mapping[Path, Any]]) -> Iterator[tuple[Path, Callable[[], Sequence[Any]]]]:
    paths: dict[Path, Any] = {}
    for leaves in of_rows:
        paths.update(leaves)
    if len(paths) * len(of_rows) > SPARSE * sum(map(len, of_rows)):
        column_by_path: dict[Path, dict[int, Any]] = {path: {} for path in paths}
        for place, leaves in enumerate(of_rows):
            for path, value in leaves.items():
                column_by_path[path][place] = value
        for path, values_by_place in column_by_path.items():
            yield path, partial(_spread, values_by_place, len(of_rows))
    else:
        for path in paths:
            yield path, partial(_values, of_rows, path)


def _spread(values_by_place: Mapping[int, Any], length: int) -> Sequence[Any]:
    spread: list[Any] = [None] * length
    for place, value in values_by_place.items():
        spread[place] = value
    return spread


def _values(of_rows: Sequence[Mapping[Path, Any]], path: Path) -> Sequence[Any]:
    try:
        return list(map(itemgetter(path), of_rows))
    except KeyError:
        return [leaves.get(path) for leaves in of_rows]
