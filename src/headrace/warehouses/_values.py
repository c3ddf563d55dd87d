"""Values of a query's answer, from Arrow to what JSON can say. Nothing is rounded and nothing is lost:

- timestamps are ISO-8601 texts in UTC (`2026-01-31T09:30:00.250000Z`), those without a zone carry none; beyond the year 9999
  they are a text with their count of seconds, infinite ones `infinity`;
- dates and times are ISO-8601 texts, intervals ISO-8601 durations;
- a decimal is an integer or a float where that is exact, else a text; integers may exceed 2^53;
- `NaN`, `Infinity` and `-Infinity` are those texts, since JSON has no number for them;
- bytes are base64; lists and structs are arrays and objects, a map is an array of pairs.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_INFINITE: Final = 2**63 - 1
_EXACT_DIGITS: Final = 15


def moment(microseconds: int) -> datetime:
    """A count since 1970 as UTC; no time zone data of the machine is needed."""
    return EPOCH + timedelta(microseconds=microseconds)


def microseconds(when: datetime) -> int:
    return (when - EPOCH) // timedelta(microseconds=1)


def rows(batch: pa.RecordBatch) -> list[list[Any]]:
    """JSON-ready rows. Raises ValueError or OverflowError for a value that Python cannot hold."""
    return [list(row) for row in zip(*(_column(column) for column in batch.columns), strict=True)]


def _column(column: pa.Array) -> Sequence[Any]:
    if pa.types.is_timestamp(column.type):
        unit, zone = column.type.unit, "Z" if column.type.tz else ""
        return [
            None if count is None else _timestamp(count, unit, zone) for count in column.cast(pa.int64()).to_pylist()
        ]
    if pa.types.is_date32(column.type):
        return [None if days is None else _date(days) for days in column.cast(pa.int32()).to_pylist()]
    if pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_string(column.type):
        return list(column.to_pylist())
    return [json_ready(value) for value in column.to_pylist()]


def _timestamp(count: int, unit: str, zone: str) -> str:
    if abs(count) == _INFINITE:
        return "infinity" if count > 0 else "-infinity"
    seconds, rest = divmod(count, _PER_SECOND[unit])
    try:
        text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return f"{seconds} seconds since 1970"
    # strftime does not pad years below 1000 on every platform.
    fraction = f".{rest:0{len(str(_PER_SECOND[unit])) - 1}d}" if rest else ""
    return text.rjust(19, "0") + fraction + zone


def _date(days: int) -> str:
    try:
        return (EPOCH + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return "infinity" if days == 2**31 - 1 else "-infinity" if days == -(2**31) + 1 else f"{days} days since 1970"


def json_ready(value: Any) -> Any:
    """A single value of Python's, nested ones included."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else _not_finite(value)
        case datetime():
            return _datetime(value)
        case date() | time():
            return value.isoformat()
        case Decimal():
            return _decimal(value)
        case bytes():
            return base64.b64encode(value).decode()
        case pa.MonthDayNano():
            return _duration(value)
        case dict():
            return {str(name): json_ready(inner) for name, inner in value.items()}
        case list() | tuple():
            return [json_ready(inner) for inner in value]
        case _:
            return str(value)


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _datetime(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _decimal(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if len(value.as_tuple().digits) <= _EXACT_DIGITS else str(value)


def _duration(value: Any) -> str:
    """`P1M2DT10800S`: months, days and seconds are separate counts."""
    seconds = Decimal(value.nanoseconds) / _PER_SECOND["ns"]
    return f"P{value.months}M{value.days}DT{seconds.normalize():f}S"
