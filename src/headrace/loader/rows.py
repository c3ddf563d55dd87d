"""An event -> its rows, warehouse-neutral: values as they were sent, by path; names, types and limits come after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from headrace.errors import RejectedEventError
from headrace.event import Event
from headrace.loader import names, values
from headrace.loader.names import CONTEXT, ENVELOPE, PROPERTIES, Path
from headrace.warehouses.base import Columns, ColumnType

LOADED_AT: Final = "loaded_at"

_TEXT, _TIME = ColumnType.STRING, ColumnType.TIMESTAMP
_IDS: Final[Columns] = {"id": _TEXT, "anonymous_id": _TEXT, "user_id": _TEXT}
_TIMES: Final[Columns] = {"original_timestamp": _TIME, "sent_at": _TIME, "received_at": _TIME, "timestamp": _TIME}

EVENT_COLUMNS: Final[Columns] = {**_IDS, "event": _TEXT, "event_text": _TEXT, **_TIMES}
_COLUMNS: Final[Mapping[str, Columns]] = {
    "identifies": {**_IDS, **_TIMES},
    "groups": {**_IDS, "group_id": _TEXT, **_TIMES},
    "pages": {**_IDS, "name": _TEXT, **_TIMES},
    "screens": {**_IDS, "name": _TEXT, **_TIMES},
    "aliases": {"id": _TEXT, "previous_id": _TEXT, "user_id": _TEXT, **_TIMES},
    "users": {"id": _TEXT, "received_at": _TIME},
    "accounts": {"id": _TEXT, "received_at": _TIME},
}

_PROMOTED: Final = frozenset(("user_id", "anonymous_id", "group_id", "previous_id", "name"))
_PROMOTED_TIMES: Final = frozenset(("original_timestamp", "sent_at"))

# Envelope fields that a type has no column for; SDKs send some of them all the same, and they are kept like properties.
_SPARE: Final = (
    ("event", "event"),
    ("name", "name"),
    ("group_id", "groupId"),
    ("previous_id", "previousId"),
    ("anonymous_id", "anonymousId"),
)


def standard_columns(table: str) -> Columns:
    """The columns that a table has from the beginning, in the order of `Row.standard`; `loaded_at` comes after them."""
    return _COLUMNS.get(table, EVENT_COLUMNS)


class Row(NamedTuple):
    """`standard` holds the values of `standard_columns(table)` in order, `leaves` all others by path, as sent, never None.
    `extra` is what goes to the table's `_extra` whatever columns there are."""

    table: str
    standard: Sequence[Any]
    leaves: Mapping[Path, Any]
    extra: Mapping[Path, Any] = {}


def event_id(event: Event) -> str:
    """The id of the event's rows: two messageIds that differ only in NUL characters are one."""
    return event.message_id.replace("\0", "")


def rows(event: Event) -> Sequence[Row]:
    """One row; for a track event two, in `tracks` and in the event's table.

    Raises RejectedEventError when the event cannot become a row."""
    return _ROWS[event.type](event)


def _track(event: Event) -> Sequence[Row]:
    if event.event is None:
        raise RejectedEventError("event_not_defined", "a track event needs its name in `event`")
    slug = names.event_slug(event.event)
    fields = {**_ids(event), "event": slug, "event_text": _clean(event.event), **_times(event)}
    context, properties = _leaves(event, fields)
    standard = tuple(fields.values())
    return Row("tracks", standard, context), Row(names.event_table(slug), standard, context | properties)


def tracks_only(tracks: Row, own: Row) -> Row:
    """The `tracks` row of an event whose own table cannot be made: the properties go along in `_extra`."""
    return tracks._replace(extra={path: value for path, value in own.leaves.items() if path[0] != CONTEXT})


def _identify(event: Event) -> Sequence[Row]:
    return _single("identifies", event, {**_ids(event), **_times(event)})


def _group(event: Event) -> Sequence[Row]:
    return _single("groups", event, {**_ids(event), "group_id": _clean(event.group_id), **_times(event)})


def _page(event: Event) -> Sequence[Row]:
    return _single("pages", event, {**_ids(event), "name": _clean(event.name), **_times(event)})


def _screen(event: Event) -> Sequence[Row]:
    return _single("screens", event, {**_ids(event), "name": _clean(event.name), **_times(event)})


def _alias(event: Event) -> Sequence[Row]:
    ids = _ids(event)
    fields = {"id": ids["id"], "previous_id": _clean(event.previous_id), "user_id": ids["user_id"], **_times(event)}
    return _single("aliases", event, fields)


_ROWS: Final[Mapping[str, Callable[[Event], Sequence[Row]]]] = {
    "track": _track,
    "identify": _identify,
    "group": _group,
    "page": _page,
    "screen": _screen,
    "alias": _alias,
}


def _single(table: str, event: Event, fields: dict[str, Any]) -> Sequence[Row]:
    context, properties = _leaves(event, fields)
    return (Row(table, tuple(fields.values()), context | properties),)


def _ids(event: Event) -> dict[str, Any]:
    return {"id": event_id(event), "anonymous_id": _clean(event.anonymous_id), "user_id": _clean(event.user_id)}


def _times(event: Event) -> dict[str, Any]:
    return {
        "original_timestamp": _clean(event.original_timestamp),
        "sent_at": _clean(event.sent_at),
        "received_at": event.received_at,
        "timestamp": event.timestamp,
    }


def _clean(text: str | None) -> str | None:
    return text.replace("\0", "") if text and "\0" in text else text


def _leaves(event: Event, fields: dict[str, Any]) -> tuple[dict[Path, Any], dict[Path, Any]]:
    """The leaves of context, and those of properties after the envelope took its own from them."""
    context: dict[Path, Any] = {}
    properties: dict[Path, Any] = {}
    values.flatten(values.parsed(event.context), (CONTEXT,), context)
    values.flatten(values.parsed(event.properties), (PROPERTIES,), properties)
    for path in [path for path in properties if names.column_base(path) in fields]:
        if _taken(path, properties[path], fields, event):
            del properties[path]
    for attribute, name in _SPARE:
        value = getattr(event, attribute)
        if value is not None and attribute not in fields:
            properties[ENVELOPE, name] = _clean(value)
    return context, properties


def _taken(path: Path, value: Any, fields: dict[str, Any], event: Event) -> bool:
    """Whether a property named like a standard column says what the envelope says, or fills a place that it left empty."""
    column = names.column_base(path)
    text = values.text_of(value)
    if fields[column] is None:
        if len(path) > 2 or not _fills(column, value):
            return False
        fields[column] = text
        return True
    if column == "event":
        return text in (event.event, fields["event"], fields["event_text"])
    envelope: str | datetime = fields[column]
    if isinstance(envelope, datetime):
        is_original = column == "timestamp" and text == fields["original_timestamp"]
        return is_original or values.timestamp(text) == envelope
    return text == envelope


def _fills(column: str, value: Any) -> bool:
    if column in _PROMOTED_TIMES:
        return type(value) is str and values.timestamp(value) is not None
    return column in _PROMOTED and (
        (type(value) is str and not value.isspace() and value != "") or type(value) in (int, float)
    )
