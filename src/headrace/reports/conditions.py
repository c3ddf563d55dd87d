"""Conditions over named fields, as data: what rules for machines and filters of reports are made of. Values become literals, never SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, Final, Literal, NamedTuple, Protocol, get_args
from zoneinfo import ZoneInfo

import msgspec

from headrace.errors import ConfigError

Operator = Literal[
    "is",
    "is_not",
    "in",
    "not_in",
    "contains",
    "contains_any",
    "starts_with",
    "ends_with",
    "less",
    "at_most",
    "more",
    "at_least",
    "known",
    "unknown",
]
OPERATORS: Final = get_args(Operator)
FieldType = Literal["text", "number", "truth", "time"]
MOST_VALUES: Final = 1_000
_DAY: Final = len("2026-01-31")


class Condition(msgspec.Struct, frozen=True, array_like=True):
    """`[field, operator, value]`. Texts are compared without case by contains, contains_any, starts_with and ends_with. `known` and `unknown` take no value."""

    field: str
    operator: Operator
    value: Any = None


class Field(NamedTuple):
    """`sql` is an expression of ours."""

    sql: str
    type: FieldType


class Literals(Protocol):
    """Of `model.engine.Engine`."""

    def text(self, value: str) -> str: ...


def zoned(condition: Condition, zone: ZoneInfo) -> Condition:
    """Of a time field: dates and times that say no zone are of this one. What is none stays, to be refused with the others."""
    values = condition.value
    if isinstance(values, Sequence) and not isinstance(values, str):
        return msgspec.structs.replace(condition, value=[_zoned(value, zone) for value in values])
    return msgspec.structs.replace(condition, value=_zoned(values, zone))


def _zoned(value: Any, zone: ZoneInfo) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = _read(value)
        return value if found.tzinfo is not None else found.replace(tzinfo=zone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return value


def condition_sql(condition: Condition, fields: Mapping[str, Field], literals: Literals, step: str) -> str:
    """A boolean expression that is never null. Raises ConfigError that names the step, the field and what is possible."""
    found = fields.get(condition.field)
    if found is None:
        raise ConfigError(f"{step}: there is no field {condition.field!r}; there are {', '.join(sorted(fields))}")
    sql, operator = found.sql, condition.operator
    if operator == "known":
        return f"({sql} IS NOT NULL)"
    if operator == "unknown":
        return f"({sql} IS NULL)"
    if operator in ("in", "not_in", "contains_any"):
        return _of_list(condition, found, literals, step)
    if operator in ("contains", "starts_with", "ends_with"):
        return f"coalesce({_part(condition, found, condition.value, literals, step)}, false)"
    value = literal(condition, found.type, condition.value, literals, step)
    match operator:
        case "is":
            return f"({sql} IS NOT DISTINCT FROM {value})"
        case "is_not":
            return f"({sql} IS DISTINCT FROM {value})"
        case _:
            if found.type not in ("number", "time"):
                raise ConfigError(f"{step}: {condition.field} is a {found.type}; {operator} is for numbers and times")
            sign = {"less": "<", "at_most": "<=", "more": ">", "at_least": ">="}[operator]
            return f"coalesce({sql} {sign} {value}, false)"


def _of_list(condition: Condition, field: Field, literals: Literals, step: str) -> str:
    values = condition.value
    if not isinstance(values, Sequence) or isinstance(values, str) or not values or len(values) > MOST_VALUES:
        raise ConfigError(
            f"{step}: {condition.field} {condition.operator} wants a list of 1 to {MOST_VALUES} values, found {values!r:.100}"
        )
    if condition.operator == "contains_any":
        parts = [_part(condition, field, value, literals, step) for value in values]
        return f"coalesce({' OR '.join(parts)}, false)"
    listed = ", ".join(literal(condition, field.type, value, literals, step) for value in values)
    within = f"coalesce({field.sql} IN ({listed}), false)"
    return within if condition.operator == "in" else f"NOT {within}"


def _part(condition: Condition, field: Field, value: Any, literals: Literals, step: str) -> str:
    if field.type != "text" or not isinstance(value, str) or not value:
        raise ConfigError(
            f"{step}: {condition.field} {condition.operator} wants a text field and a text that is not empty"
        )
    whole, part = f"lower({field.sql})", f"lower({literals.text(value)})"
    match condition.operator:
        case "starts_with":
            return f"left({whole}, length({part})) = {part}"
        case "ends_with":
            return f"right({whole}, length({part})) = {part}"
        case _:
            return f"strpos({whole}, {part}) > 0"


def literal(condition: Condition, type_: FieldType, value: Any, literals: Literals, step: str) -> str:
    """The value as a literal of the field's type. Raises ConfigError for one of another type."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if type_ == "text" and isinstance(value, str):
        return literals.text(value)
    if type_ == "truth" and isinstance(value, bool):
        return "true" if value else "false"
    if type_ == "number" and is_number and abs(value) < 1e15:  # no NaN passes this
        return (
            f"CAST({literals.text(repr(value))} AS double precision)" if isinstance(value, float) else str(int(value))
        )
    if type_ == "time" and isinstance(value, str):
        return f"CAST({literals.text(_moment(condition, value, step).isoformat())} AS timestamptz)"
    raise ConfigError(f"{step}: {condition.field} is a {type_}, and {value!r:.100} is none")


def _moment(condition: Condition, value: str, step: str) -> datetime:
    try:
        found = _read(value)
    except ValueError:
        raise ConfigError(
            f"{step}: {condition.field} is compared with a date or a time in ISO-8601, found {value!r:.100}"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _read(text: str) -> datetime:
    """Raises ValueError. Without a zone where the text says none."""
    return datetime.combine(date.fromisoformat(text), time()) if len(text) == _DAY else datetime.fromisoformat(text)
