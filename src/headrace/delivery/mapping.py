"""Mappings: how the fields that a tool wants are made of an event; docs/destinations.md describes them. Pure.

A rule is a path of the filter language (`properties.email ?? userId`), `{"constant": JSON}` or `{"template": "text with {path}"}`.
A dot in a field's name makes an object; null instead of a rule takes a field, or a type of event, out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from headrace.destinations._segment_json import moment
from headrace.destinations.base import Mappings
from headrace.errors import ConfigError
from headrace.event import EVENT_TYPES, Event
from headrace.filters import compile_value

ANY: Final = "*"
_HOLE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")

_Trees = dict[str, Any]
_Made = Callable[[Event, _Trees], Any]
_Fields = Sequence[tuple[Sequence[str], _Made]]


class FieldMapping:
    """The kind's own fields with what the user changed about them."""

    def __init__(self, own: Mappings, changes: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Raises ConfigError that names the type, the field and what was expected."""
        self._fields_by_type: dict[str, _Fields | None] = {}
        self._is_whole = not own
        merged = _merged(own, changes)
        for name, rules in merged.items():
            self._fields_by_type[name] = None if rules is None else _compiled(name, rules)

    def is_whole_event(self, event_type: str) -> bool:
        """Whether events of this type are sent as they are: the kind has no fields of its own, and the user changed nothing about the type."""
        return self._is_whole and event_type not in self._fields_by_type and ANY not in self._fields_by_type

    def fields(self, event: Event) -> dict[str, Any] | None:
        """What the rules make of the event; None when they have nothing for its type. Fields without a value are left out.

        Raises RejectedEventError when the event's objects cannot be read."""
        fields = self._fields_by_type.get(event.type, self._fields_by_type.get(ANY))
        if fields is None:
            return None
        made: dict[str, Any] = {}
        trees: _Trees = {}
        for path, value in fields:
            found = value(event, trees)
            if found is not None:
                _put(made, path, moment(found) if isinstance(found, datetime) else found)
        return made


def _merged(own: Mappings, changes: Mapping[str, Mapping[str, Any] | None]) -> Mapping[str, Mapping[str, Any] | None]:
    """What is changed for `*` is changed for every type, an empty object changes nothing; a type that has no fields of its own begins with those of `*`."""
    for name in changes:
        if name != ANY and name not in EVENT_TYPES:
            raise ConfigError(
                f"mapping: there is no type of event {name[:100]!r}; there are {', '.join(sorted(EVENT_TYPES))}, and * for all"
            )
    changes = {name: rules for name, rules in changes.items() if rules is None or rules}
    merged: dict[str, Mapping[str, Any] | None] = {}
    for name in {**own, **changes}:
        base = own.get(name, own.get(ANY, {}))
        everywhere = changes.get(ANY, {}) or {}
        if changes.get(name, {}) is None:
            merged[name] = None
            continue
        rules = {**base, **everywhere, **(changes.get(name) or {})}
        merged[name] = {field: rule for field, rule in rules.items() if rule is not None}
    return merged


def _compiled(name: str, rules: Mapping[str, Any]) -> _Fields:
    return [(field.split("."), _made(f"{name}.{field}", rule)) for field, rule in rules.items()]


def _made(place: str, rule: Any) -> _Made:
    try:
        if isinstance(rule, str):
            return compile_value(rule).of
        if isinstance(rule, Mapping) and rule.keys() == {"constant"}:
            constant = rule["constant"]
            return lambda _event, _trees: constant
        if isinstance(rule, Mapping) and rule.keys() == {"template"} and isinstance(rule["template"], str):
            return _template(rule["template"])
    except ConfigError as error:
        raise ConfigError(f"mapping: {place[:100]}: {error}") from None
    raise ConfigError(
        f'mapping: {place[:100]}: expected a field such as "properties.email", {{"constant": ...}} or {{"template": "..."}}, '
        f"found {json.dumps(rule)[:100]}"
    )


def _template(text: str) -> _Made:
    """Texts and values in turn; `{{` and `}}` are braces. What is missing is empty."""
    parts: list[_Made | str] = []
    end = 0
    for hole in _HOLE.finditer(text):
        parts.append(text[end : hole.start()])
        parts.append(hole[0][0] if hole[1] is None else compile_value(hole[1]).of)
        end = hole.end()
    parts.append(text[end:])
    if any(brace in part for part in parts[::2] if isinstance(part, str) for brace in "{}"):
        raise ConfigError(f"{text[:100]!r} has a brace without its other one; write {{{{ for a brace itself")
    return lambda event, trees: "".join(part if isinstance(part, str) else _text(part(event, trees)) for part in parts)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return moment(value) if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)


def _put(made: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Objects on the way are copied, since they may be the event's own."""
    place = made
    for name in path[:-1]:
        inner = place.get(name)
        place[name] = inner = dict(inner) if isinstance(inner, dict) else {}
        place = inner
    place[path[-1]] = value
