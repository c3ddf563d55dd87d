"""Values of one column -> a typed Arrow array, the column's type, and what did not fit.

Whatever the loads' boundaries are, the outcome is that of taking the values one by one in the order of offsets: the first
decides the type, a float among integers widens the column while every integer up to there is exact in a double, and from
then on the column is a float column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from headrace.loader import values
from headrace.warehouses.base import ColumnType

ARROW_TYPES: Final[Mapping[ColumnType, Any]] = {
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ColumnType.STRING: pa.string(),
    ColumnType.JSON: pa.string(),
}
_PYTHON_TYPES: Final[Mapping[ColumnType, type]] = {
    ColumnType.BOOLEAN: bool,
    ColumnType.INTEGER: int,
    ColumnType.FLOAT: float,
    ColumnType.TIMESTAMP: datetime,
    ColumnType.STRING: str,
    ColumnType.JSON: str,
}
_PLAIN_TIMESTAMP: Final = r"^(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$"
"""What nearly all clients send; Arrow reads it as `values.timestamp` does, at a tenth of the cost."""


class Typed(NamedTuple):
    """`misfits` are the places of values that did not fit; the array is null there."""

    array: Any  # pyarrow.Array
    type: ColumnType
    misfits: Sequence[int] = ()


Fit = Callable[[Any, ColumnType], Any]
"""`values.fitted`, or what takes more than it."""


def typed(
    column: Sequence[Any], known: ColumnType | None, may_widen: Callable[[], bool], fit: Fit = values.fitted
) -> Typed:
    """The column's values (None where a row has none; not all are None when the type is not known yet).

    `may_widen` tells whether all integers that the column holds already are exact in a double; it is asked at most once,
    and only when a float arrives in an integer column."""
    kinds = set(map(type, column))
    kinds.discard(NoneType)
    kind = values.type_of(next(value for value in column if value is not None)) if known is None else known
    try:
        if kinds <= {_PYTHON_TYPES.get(kind)}:
            return Typed(pa.array(column, ARROW_TYPES[kind]), kind)
        if kind is ColumnType.TIMESTAMP and kinds == {str}:
            texts = pa.array(column, pa.string())
            if pc.all(pc.match_substring_regex(texts, _PLAIN_TIMESTAMP)).as_py():
                return Typed(texts.cast(ARROW_TYPES[kind]), kind)
    except (OverflowError, pa.ArrowInvalid):  # an integer beyond 64 bits is among them, or a 30th of February
        pass
    return _one_by_one(column, kind, may_widen, fit)


def _one_by_one(column: Sequence[Any], kind: ColumnType, may_widen: Callable[[], bool], fitted: Fit) -> Typed:
    stored: list[Any] = []
    misfits: list[int] = []
    widenable = kind is ColumnType.INTEGER
    for place, value in enumerate(column):
        fit = None if value is None else fitted(value, kind)
        if fit is values.MISFIT and widenable and type(value) is float:
            widenable = False
            if all(-values.EXACT <= number <= values.EXACT for number in stored if number is not None) and may_widen():
                kind = ColumnType.FLOAT
                stored = [None if number is None else float(number) for number in stored]
                fit = value
        if fit is values.MISFIT:
            misfits.append(place)
            fit = None
        stored.append(fit)
    return Typed(pa.array(stored, ARROW_TYPES[kind]), kind, misfits)


def is_exact(array: Any) -> bool:
    """Whether all integers of an Arrow array (or chunked array) are exact in a double."""
    bounds = pc.min_max(array)
    least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
    return least is None or (least >= -values.EXACT and greatest <= values.EXACT)


_NAMES: Final[Mapping[type, str]] = {
    str: "text",
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
    list: "an array",
}


def misfit_reason(value: Any, kind: ColumnType, unwidenable: str = "") -> str:
    """A sentence for headrace.discards. `unwidenable` is why the warehouse does not let the column become float."""
    what = _NAMES.get(type(value), "a number beyond double")
    if kind is ColumnType.FLOAT and type(value) is int:
        what = "an integer that a double cannot hold exactly"
    elif kind is ColumnType.INTEGER and type(value) is int:
        what = "an integer beyond 64 bits"
    elif kind is ColumnType.INTEGER and type(value) is float and unwidenable:
        return f"a number with a fraction does not fit the column's type integer, and it cannot become float: {unwidenable}"
    elif kind is ColumnType.INTEGER and type(value) is float:
        what = "a number with a fraction, while the column holds integers that a double cannot hold exactly,"
    return f"{what} does not fit the column's type {kind.value}"
