"""What is known of an event's fields before any event comes: comparisons that could never hold are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from headrace.event import EVENT_TYPES
from headrace.filters.syntax import ListOf, Literal, Operand, Path
from headrace.filters.tokens import close, refusal

ATTRIBUTE_BY_TEXT_FIELD: Final = {
    "event": "event",
    "type": "type",
    "name": "name",
    "messageId": "message_id",
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "groupId": "group_id",
    "previousId": "previous_id",
    "originalTimestamp": "original_timestamp",
    "sentAt": "sent_at",
    "source": "source",
}
ATTRIBUTE_BY_TIME_FIELD: Final = {"timestamp": "timestamp", "receivedAt": "received_at"}
ATTRIBUTE_BY_OBJECT_FIELD: Final = {
    "properties": "properties",
    "traits": "properties",
    "context": "context",
    "integrations": "integrations",
}
FIELDS: Final = (*ATTRIBUTE_BY_TEXT_FIELD, *ATTRIBUTE_BY_TIME_FIELD, *ATTRIBUTE_BY_OBJECT_FIELD)

_EXAMPLE: Final = '"2026-03-01T12:00:00Z"'
_TIME_SIGNS: Final = ("=", "!=", "<", "<=", ">", ">=")
_BEGINS_AS_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def path(found: Path, column: int) -> Path:
    """The path itself, if there can be such a one."""
    if found.root not in FIELDS:
        problem = f"there is no field `{found.root[:40]}`; fields are {', '.join(FIELDS)}"
        meant = close(found.root, FIELDS)
        raise refusal(column, problem, f"`{meant or f'properties.{found.root[:40]}'}`, or a text in quotes")
    if found.names and found.root not in ATTRIBUTE_BY_OBJECT_FIELD:
        raise refusal(column, f"expected `{found.root}` alone: it is no object and has no parts")
    return found


def argument(function: str, operand: Operand, column: int) -> None:
    if isinstance(operand, Literal | ListOf) or is_time(operand):
        raise refusal(column, f"expected a field that may hold text in {function}()")


def check(operator: str, left: Operand, right: Operand, left_column: int, right_column: int) -> None:
    """Raises ConfigError when the comparison does not make sense for these operands."""
    if operator == "in" and not isinstance(right, ListOf) and not is_object_field(right):
        raise refusal(right_column, "expected a list in [ ] after `in`, or a property that holds one")
    if operator == "matches" and not (isinstance(right, Literal) and isinstance(right.value, str)):
        raise refusal(right_column, 'expected a pattern in quotes after `matches`, such as "Email *"')
    if operator in ("starts with", "ends with") and isinstance(right, Literal) and not isinstance(right.value, str):
        raise refusal(right_column, f"expected a text in quotes after `{operator}`")
    for field, other, column in ((left, right, right_column), (right, left, left_column)):
        if is_time(field):
            _check_time(operator, other, column)
        elif isinstance(field, Path) and field.root in ATTRIBUTE_BY_TEXT_FIELD:
            _check_text(field.root, operator, other, column)


def is_object_field(operand: Operand) -> bool:
    return isinstance(operand, Path) and operand.root in ATTRIBUTE_BY_OBJECT_FIELD


def is_time(operand: Operand) -> bool:
    return isinstance(operand, Path) and operand.root in ATTRIBUTE_BY_TIME_FIELD


def _check_time(operator: str, other: Operand, column: int) -> None:
    if operator not in _TIME_SIGNS:
        raise refusal(column, f"expected a time to be compared by one of {' '.join(_TIME_SIGNS)}, found `{operator}`")
    if is_time(other):
        return
    if not isinstance(other, Literal) or not isinstance(other.value, str) or time(other.value) is None:
        raise refusal(column, f"expected a date or time in quotes, such as {_EXAMPLE}, found `{str(other)[:40]}`")


def _check_text(field: str, operator: str, other: Operand, column: int) -> None:
    for literal in other.items if isinstance(other, ListOf) and operator == "in" else (other,):
        if not isinstance(literal, Literal | ListOf):
            continue
        value = literal.value if isinstance(literal, Literal) else literal
        if value is not None and not isinstance(value, str):
            raise refusal(column, f"expected a text in quotes, since {field} is text, found `{str(literal)[:40]}`")
        if field == "type" and operator in ("=", "!=", "in") and value is not None and value not in EVENT_TYPES:
            types = sorted(EVENT_TYPES)
            meant = close(value, types)
            problem = f"expected one of the types {', '.join(types)}, found `{str(literal)[:40]}`"
            raise refusal(column, problem, f'"{meant}"' if meant else None)


def time(text: str) -> datetime | None:
    """UTC of an ISO-8601 date or date and time; without a zone it is UTC already."""
    if _BEGINS_AS_DATE.match(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
