"""Values of properties, traits and context: parsed, flattened, typed, and fitted to a column's type."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from headrace.errors import RejectedEventError
from headrace.loader.paths import PROPERTIES, Path, Paths, names_of
from headrace.warehouses.base import ColumnType

INTEGER_MINIMUM: Final = -(2**63)
INTEGER_MAXIMUM: Final = 2**63 - 1
EXACT: Final = 2**53
"""Integers up to here are exact in a double."""

MISFIT: Final = object()
"""What `fitted` gives for a value that must not go into its column."""

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
_EXTENDED: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


def parsed(raw: msgspec.Raw) -> dict[str, Any]:
    """A JSON object as sent, without NUL characters. A number that neither int nor float holds is a msgspec.Raw.

    Raises RejectedEventError when it is no object."""
    text = bytes(raw)
    if len(text) <= 2:
        return {}
    try:
        tree = _decode(text)
    except msgspec.ValidationError:  # a number beyond double, or of thousands of digits
        tree = json.loads(text, parse_int=_whole, parse_float=_fraction)
    if type(tree) is not dict:
        raise RejectedEventError("properties_not_object", "properties, traits and context must be JSON objects")
    # A literal NUL is no JSON, so it can only come as this escape.
    return _without_nul(tree) if b"\\" in text and b"\\u0000" in text else tree


def _whole(digits: str) -> int | msgspec.Raw:
    return int(digits) if len(digits) < 40 else msgspec.Raw(digits.encode())


def _fraction(digits: str) -> float | msgspec.Raw:
    number = float(digits)
    return number if math.isfinite(number) else msgspec.Raw(digits.encode())


def _without_nul(value: Any) -> Any:
    """Strings without NUL, names in objects as they are: names lose theirs where they become columns."""
    if type(value) is str:
        return value.replace("\0", "")
    if type(value) is list:
        return [_without_nul(item) for item in value]
    if type(value) is dict:
        return {name: _without_nul(item) for name, item in value.items()}
    return value


def flatten(tree: Mapping[str, Any], place: Path, leaves: dict[Path, Any], known: Paths) -> None:
    """Put the values of nested objects into `leaves` by path. Null and empty objects leave nothing; arrays stay whole."""
    by_name = known.by_name_by_place.get(place, {})
    for name, value in tree.items():
        try:
            path = by_name[name]
        except KeyError:
            path = known.add(place, name)
        if type(value) is dict:
            flatten(value, path, leaves, known)
        elif value is not None:
            leaves[path] = value


def nested(leaves: Mapping[Path, Any]) -> str:
    """Leaves as the JSON object they came from: properties at the top, others below the name of their root."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        names = names_of(path)
        if names[0] == PROPERTIES and not path.startswith(f"{PROPERTIES}."):
            names = names[1:]
        object_ = tree
        for name in names[:-1]:
            object_ = object_.setdefault(name, {})
        object_[names[-1]] = value
    return _encode(tree).decode()


@lru_cache(32_768)
def timestamp(text: str) -> datetime | None:
    """UTC of an ISO-8601 text with date and time, to the microsecond; without a zone it is UTC already. None for any other
    text and for times outside the years 1 to 9999."""
    if _EXTENDED.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def type_of(value: Any) -> ColumnType:
    """The type of a column that begins with this value."""
    kind = type(value)
    if kind is str:
        # A blank between date and time is common in texts that only look like timestamps: it fits, but does not decide.
        is_timestamp = value[10:11] == "T" and timestamp(value) is not None
        return ColumnType.TIMESTAMP if is_timestamp else ColumnType.STRING
    if kind is bool:
        return ColumnType.BOOLEAN
    if kind is int:
        return ColumnType.INTEGER if INTEGER_MINIMUM <= value <= INTEGER_MAXIMUM else ColumnType.STRING
    if kind is float:
        return ColumnType.FLOAT
    return ColumnType.TIMESTAMP if kind is datetime else ColumnType.STRING


def fitted(value: Any, column: ColumnType) -> Any:
    """What a column of this type stores for the value, or MISFIT."""
    kind = type(value)
    if column is ColumnType.TIMESTAMP:
        moment = timestamp(value) if kind is str else value if kind is datetime else None
        return MISFIT if moment is None else moment
    if column is ColumnType.FLOAT:
        if kind is int and -EXACT <= value <= EXACT:
            return float(value)
        return value if kind is float else MISFIT
    if column is ColumnType.INTEGER:
        return value if kind is int and INTEGER_MINIMUM <= value <= INTEGER_MAXIMUM else MISFIT
    if column is ColumnType.BOOLEAN:
        return value if kind is bool else MISFIT
    return text_of(value)


def sent(value: Any) -> str:
    """The value as JSON text, as it was sent."""
    return _encode(value).decode()


def text_of(value: Any) -> str:
    """The value as a string column holds it: text as it is, anything else as JSON text, timestamps in ISO-8601."""
    if type(value) is str:
        return value
    return value.isoformat() if type(value) is datetime else sent(value)
