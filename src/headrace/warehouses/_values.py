r"""Values of a query's answer, from Arrow to what JSON can say. Nothing is rounded and nothing is lost:

- timestamps are ISO-8601 texts in UTC (`2026-01-31T09:30:00.250000Z`), those without a zone carry none; beyond the year 9999
  they are a text with their count of seconds, infinite ones `infinity`;
- dates and times are ISO-8601 texts, intervals ISO-8601 durations;
- a decimal is an integer or a float where that is exact, else a text; integers may exceed 2^53;
- `NaN`, `Infinity` and `-Infinity` are those texts, since JSON has no number for them;
- bytes are base64; lists and structs are arrays and objects, a map is an array of pairs.

Cells, for readers whose numbers are doubles (every browser), differ from these: integers beyond 2^53 are texts and so are all decimals, with every digit
that they have; bytes are the text `\x` and hexadecimal digits; a nested value is one text of JSON.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec
import pyarrow as pa

from headrace.warehouses._reading import CellKind, kind_of

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_INFINITE: Final = 2**63 - 1
_DAY_SECONDS: Final = 86_400
_EXACT_DIGITS: Final = 15
_EXACT_INTEGER: Final = 2**53 - 1


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
    days, clock = divmod(seconds, _DAY_SECONDS)
    try:
        day = _day(days)
    except OverflowError:
        return f"{seconds} seconds since 1970"
    minutes, second = divmod(clock, 60)
    hour, minute = divmod(minutes, 60)
    fraction = f".{rest:0{len(str(_PER_SECOND[unit])) - 1}d}" if rest else ""
    return f"{day}T{hour:02d}:{minute:02d}:{second:02d}{fraction}{zone}"


@lru_cache(maxsize=4_096)
def _day(days: int) -> str:
    """Answers have few days and many moments."""
    return (EPOCH + timedelta(days=days)).date().isoformat()


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


def kind(type_: str, arrow: pa.DataType) -> CellKind:
    """Of a column whose engine calls its type so."""
    named = kind_of(type_)
    if named is not None:
        return named
    found: CellKind = next((kind for is_one, kind in _KINDS if is_one(arrow)), "text")
    return "text" if found == "bytes" and type_.casefold() == "uuid" else found


def _is_bytes(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow) or pa.types.is_fixed_size_binary(arrow))


_KINDS: Final[Sequence[tuple[Callable[[pa.DataType], bool], CellKind]]] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "float"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (pa.types.is_interval, "interval"),
    (pa.types.is_nested, "nested"),
    (_is_bytes, "bytes"),
)


def cells(batch: pa.RecordBatch, kinds: Sequence[CellKind]) -> list[Sequence[Any]]:
    """Rows of cells. Raises ValueError or OverflowError for a value that Python cannot hold."""
    columns = [_cells(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
    return list(zip(*columns, strict=True))


def _cells(column: pa.Array, kind: CellKind) -> Sequence[Any]:
    if kind == "integer":
        return [None if value is None else _integer(int(value)) for value in column.to_pylist()]
    if kind == "float" and pa.types.is_float32(column.type):
        # The shortest digits that mean it, not those of the double that it becomes.
        return [None if value is None else json_ready(float(value)) for value in column.cast(pa.string()).to_pylist()]
    if kind == "text" and _is_bytes(column.type):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()]
    if kind == "decimal" and pa.types.is_string(column.type):
        return [None if value is None else _NOT_FINITE.get(value.lower(), value) for value in column.to_pylist()]
    if kind in ("float", "date", "timestamp", "boolean") or pa.types.is_string(column.type):
        return _column(column)
    return [None if value is None else cell(value) for value in column.to_pylist()]


_NOT_FINITE: Final = {
    "nan": "NaN",
    "inf": "Infinity",
    "-inf": "-Infinity",
    "infinity": "Infinity",
    "-infinity": "-Infinity",
}


def _integer(value: int) -> int | str:
    return value if -_EXACT_INTEGER <= value <= _EXACT_INTEGER else str(value)


def cell(value: Any) -> Any:
    """A value of Python's as a cell."""
    match value:
        case bool():
            return value
        case int():
            return _integer(value)
        case Decimal():
            return f"{value:f}"
        case bytes():
            return "\\x" + value.hex()
        case dict() | list() | tuple() if not isinstance(value, pa.MonthDayNano):
            return msgspec.json.encode(json_ready(value)).decode()
        case _:
            return json_ready(value)
