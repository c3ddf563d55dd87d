"""What stands in the body of a tool's answer, however odd the answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def object_in(body: bytes) -> Mapping[str, Any]:
    """The JSON object of an answer; empty where it is something else.

    >>> object_in(b'{"code": 200}'), object_in(b"<html>")
    ({'code': 200}, {})
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def objects_in(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects of a list; empty where it is none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def indexes_in(value: Any) -> Sequence[int]:
    """The whole numbers of a list."""
    return [item for item in value if type(item) is int] if isinstance(value, list) else []
