"""Filters evaluated the plain way: over the event as JSON, value by value with its kind beside it; slow and obviously right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from headrace.event import Event
from headrace.filters.syntax import All, Call, Comparison, Condition, Exists, ListOf, Literal, Not, Operand, Path, Some

Kinded = tuple[str, Any]
NULL: Kinded = ("null", None)


def as_sent(event: Event) -> dict[str, Any]:
    body = "traits" if event.type in ("identify", "group") else "properties"
    return {
        "type": event.type,
        "event": event.event,
        "name": event.name,
        "messageId": event.message_id,
        "userId": event.user_id,
        "anonymousId": event.anonymous_id,
        "groupId": event.group_id,
        "previousId": event.previous_id,
        "source": event.source,
        "timestamp": event.timestamp,
        "receivedAt": event.received_at,
        body: json.loads(bytes(event.properties)),
        "context": json.loads(bytes(event.context)),
        "integrations": json.loads(bytes(event.integrations)),
    }


def kinded(value: Any) -> Kinded:
    if isinstance(value, dict):
        return "object", {name: kinded(below) for name, below in value.items()}
    if isinstance(value, list):
        return "array", [kinded(item) for item in value]
    kinds = ((bool, "boolean"), (int, "number"), (float, "number"), (str, "text"), (datetime, "time"))
    return next(((name, value) for kind, name in kinds if isinstance(value, kind)), NULL)


def holds(condition: Condition, sent: dict[str, Any]) -> bool:
    if isinstance(condition, Not):
        return not holds(condition.condition, sent)
    if isinstance(condition, All):
        return False not in [holds(each, sent) for each in condition.conditions]
    if isinstance(condition, Some):
        return True in [holds(each, sent) for each in condition.conditions]
    if isinstance(condition, Exists):
        return value_of(condition.operand, sent) != NULL
    return compared(condition, sent)


def compared(comparison: Comparison, sent: dict[str, Any]) -> bool:
    left, right = value_of(comparison.left, sent), value_of(comparison.right, sent)
    if left[0] == "time" and right[0] == "text":
        right = ("time", datetime.fromisoformat(right[1]).replace(tzinfo=UTC))
    operator = comparison.operator
    if operator in ("=", "!="):
        return (left == right) is (operator == "=")
    if operator in ("<", "<=", ">", ">="):
        if left[0] != right[0] or left[0] not in ("number", "text", "time"):
            return False
        order = (left[1] > right[1]) - (left[1] < right[1])
        return order in {"<": (-1,), "<=": (-1, 0), ">": (1,), ">=": (0, 1)}[operator]
    if operator == "in":
        return right[0] == "array" and left in right[1]
    if operator == "contains" and left[0] == "array":
        return right in left[1]
    return left[0] == right[0] == "text" and texts_compared(operator, left[1], right[1])


def texts_compared(operator: str, left: str, right: str) -> bool:
    if operator == "contains":
        return left.find(right) >= 0
    if operator == "starts with":
        return left[: len(right)] == right
    if operator == "ends with":
        return left[::-1][: len(right)] == right[::-1]
    assert "matches" == operator
    return fits(right, left)


def value_of(operand: Operand, sent: dict[str, Any]) -> Kinded:
    if isinstance(operand, Literal):
        return kinded(operand.value)
    if isinstance(operand, ListOf):
        return "array", [value_of(item, sent) for item in operand.items]
    if isinstance(operand, Path):
        value = kinded(sent.get(operand.root))
        for name in operand.names:
            value = value[1].get(name, NULL) if value[0] == "object" else NULL
        return value
    return called(operand, sent)


def called(call: Call, sent: dict[str, Any]) -> Kinded:
    kind, value = value_of(call.argument, sent)
    if call.function == "lower":
        return ("text", value.lower()) if kind == "text" else NULL
    return ("number", len(value)) if kind in ("text", "array", "object") else NULL


def fits(pattern: str, text: str) -> bool:
    @cache
    def rest(at: int, place: int) -> bool:
        if at == len(pattern):
            return place == len(text)
        if pattern[at] == "*":
            return rest(at + 1, place) or (place < len(text) and rest(at, place + 1))
        escaped = pattern[at] == "\\" and at + 1 < len(pattern)
        character = pattern[at + 1] if escaped else pattern[at]
        if place == len(text) or (text[place] != character and (escaped or character != "?")):
            return False
        return rest(at + (2 if escaped else 1), place + 1)

    return rest(0, 0)
