"""A value of one type as a value of another, for columns whose type an operator changes: lossless or not at all.

| from, to    | boolean           | integer              | float                | timestamp        | string        |
|-------------|-------------------|----------------------|----------------------|------------------|---------------|
| boolean     | as it is          | -                    | -                    | -                | true, false   |
| integer     | -                 | as it is             | within 2^53          | -                | its digits    |
| float       | -                 | whole, within 2^53   | as it is             | -                | shortest; 1.0 is 1 |
| timestamp   | -                 | -                    | -                    | as it is         | ISO-8601, Z   |
| string      | true, false       | a whole JSON number  | a JSON number        | ISO-8601         | as it is      |

A text is a number where JSON would say so and a double holds exactly that number: `14.90` is, `007`, `+5`, `14,90` and `1e400` are not,
nor is what has more digits than a double. A timestamp text has date and time, and no digits beyond microseconds.
Going back gives the same value: `14.90` comes back as `14.9`, `2026-03-01T12:00:00+01:00` as `2026-03-01T11:00:00Z`.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from headrace.loader import values
from headrace.loader.values import MISFIT
from headrace.warehouses.base import ColumnType

TYPES: Final = (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.FLOAT, ColumnType.TIMESTAMP, ColumnType.STRING)
"""The types that a column can be given."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,399})(\.[0-9]{1,399})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_FINER: Final = re.compile(r"[.,]\d{6}0*[1-9]", re.ASCII)
_BOOLEANS: Final = {"true": True, "false": False}


def converted(value: Any, kind: ColumnType) -> Any:
    """What a column of this type stores for a value that a column of another type had, or MISFIT."""
    match kind:
        case ColumnType.STRING:
            return _text(value)
        case ColumnType.BOOLEAN:
            return _BOOLEANS.get(value, MISFIT) if type(value) is str else values.fitted(value, kind)
        case ColumnType.TIMESTAMP:
            return MISFIT if type(value) is str and _FINER.search(value) else values.fitted(value, kind)
    number = _number(value) if type(value) is str else value
    if kind is ColumnType.INTEGER and type(number) is float and number.is_integer() and abs(number) <= values.EXACT:
        number = int(number)
    return values.fitted(number, kind)


def refitted(value: Any, kind: ColumnType) -> Any:
    """The same for a value as it was sent: first as a load would take it, then by conversion; or MISFIT."""
    fit = values.fitted(value, kind)
    return converted(value, kind) if fit is MISFIT else fit


def sent(value: Any) -> str:
    """A stored value as JSON text, for headrace.discards: `refitted` gives the value back."""
    if type(value) is datetime or (type(value) is float and not math.isfinite(value)):
        return values.sent(_text(value))
    return values.sent(value)


def reason(value: Any, kind: ColumnType) -> str:
    """A sentence for headrace.discards on a stored value that does not convert."""
    what = _NAMES.get(type(value), "an array")
    return f"{what} that cannot become {kind.value} without loss; it comes back when the column's type allows it"


_NAMES: Final = {
    str: "a text",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    datetime: "a timestamp",
}


def _number(text: str) -> int | float | None:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    if found[1] is None and found[2] is None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) and Decimal(text) == Decimal(repr(number)) else None


def _text(value: Any) -> str:
    if type(value) is datetime:
        return value.isoformat().replace("+00:00", "Z")
    if type(value) is float:
        if not math.isfinite(value):
            return str(value)
        is_plain = value.is_integer() and abs(value) <= values.EXACT and (value != 0 or math.copysign(1, value) > 0)
        return str(int(value)) if is_plain else values.sent(value)
    return values.text_of(value)
