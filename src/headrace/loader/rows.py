"""An event -> its rows, warehouse-neutral: values as they were sent, by path; names, types and limits come after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from headrace import names
from headrace.errors import RejectedEventError
from headrace.event import Event
from headrace.loader import values
from headrace.loader.paths import CONTEXT, ENVELOPE, PROPERTIES, Path, Paths, column_base, is_context, joined, names_of
from headrace.loader.standard import standard_columns

_PROMOTED: Final = frozenset(("user_id", "anonymous_id", "group_id", "previous_id", "name"))
_PROMOTED_TIMES: Final = frozenset(("original_timestamp", "sent_at"))

_known: Final = Paths()


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


def tracks_only(tracks: Row, own: Row) -> Row:
    """The `tracks` row of an event whose own table cannot be made: the properties go along in `_extra`."""
    return tracks._replace(extra={path: value for path, value in own.leaves.items() if not is_context(path)})


def _track(event: Event) -> Sequence[Row]:
    if event.event is None:
        raise RejectedEventError("event_not_defined", "a track event needs its name in `event`")
    slug = names.event_slug(event.event)
    table = names.event_table(slug)
    fields = (*_ids(event), slug, _clean(event.event), *_times(event))
    context = _context(event)
    leaves = context.copy()
    standard = _complete(event, table, fields, leaves)
    return Row("tracks", standard, context), Row(table, standard, leaves)


def _identify(event: Event) -> Sequence[Row]:
    return _single(event, "identifies", (*_ids(event), *_times(event)))


def _group(event: Event) -> Sequence[Row]:
    return _single(event, "groups", (*_ids(event), _clean(event.group_id), *_times(event)))


def _page(event: Event) -> Sequence[Row]:
    return _single(event, f"{event.type}s", (*_ids(event), _clean(event.name), *_times(event)))


def _alias(event: Event) -> Sequence[Row]:
    ids = event_id(event), _clean(event.previous_id), _clean(event.user_id)
    return _single(event, "aliases", (*ids, *_times(event)))


_ROWS: Final[Mapping[str, Callable[[Event], Sequence[Row]]]] = {
    "track": _track,
    "identify": _identify,
    "group": _group,
    "page": _page,
    "screen": _page,
    "alias": _alias,
}

_SPARE: Final[Mapping[str, Sequence[tuple[str, Path]]]] = {
    type_: [(attribute, joined(ENVELOPE, name)) for attribute, name in spare.items()]
    for type_, spare in {
        "track": {"name": "name", "group_id": "groupId", "previous_id": "previousId"},
        "identify": {"event": "event", "name": "name", "group_id": "groupId", "previous_id": "previousId"},
        "group": {"event": "event", "name": "name", "previous_id": "previousId"},
        "page": {"event": "event", "group_id": "groupId", "previous_id": "previousId"},
        "screen": {"event": "event", "group_id": "groupId", "previous_id": "previousId"},
        "alias": {"event": "event", "name": "name", "group_id": "groupId", "anonymous_id": "anonymousId"},
    }.items()
}
"""Fields of the envelope that a type has no column for. SDKs send some of them all the same; they are kept like properties."""


def _single(event: Event, table: str, fields: Sequence[Any]) -> Sequence[Row]:
    leaves = _context(event)
    return (Row(table, _complete(event, table, fields, leaves), leaves),)


def _ids(event: Event) -> tuple[str, str | None, str | None]:
    return event_id(event), _clean(event.anonymous_id), _clean(event.user_id)


def _times(event: Event) -> tuple[str | None, str | None, datetime, datetime]:
    return _clean(event.original_timestamp), _clean(event.sent_at), event.received_at, event.timestamp


def _clean(text: str | None) -> str | None:
    return text.replace("\0", "") if text and "\0" in text else text


def _context(event: Event) -> dict[Path, Any]:
    _known.trim()
    context: dict[Path, Any] = {}
    values.flatten(values.parsed(event.context), CONTEXT, context, _known)
    return context


def _complete(event: Event, table: str, fields: Sequence[Any], leaves: dict[Path, Any]) -> Sequence[Any]:
    """Put the properties into `leaves`. Returns the standard columns' values, after those took their own from them."""
    values.flatten(values.parsed(event.properties), PROPERTIES, leaves, _known)
    alike = leaves.keys() & _known.like_standard
    if alike:
        fields = _settled(event, dict(zip(standard_columns(table), fields, strict=True)), leaves, alike)
    for attribute, path in _SPARE[event.type]:
        value = getattr(event, attribute)
        if value is not None:
            leaves[path] = _clean(value)
    return fields


def _settled(event: Event, fields: dict[str, Any], leaves: dict[Path, Any], alike: set[Path]) -> Sequence[Any]:
    """Properties named like a standard column: one that says what the envelope says goes, one that fills a place which the
    envelope left empty is promoted to it; any other stays, and its column will get a leading `_`."""
    for path in [path for path in leaves if path in alike]:
        column = column_base(path)
        if column not in fields:
            continue
        if fields[column] is None and len(names_of(path)) == 2 and _fills(column, leaves[path]):
            fields[column] = values.text_of(leaves.pop(path))
        elif _says(event, fields, column, leaves[path]):
            del leaves[path]
    return tuple(fields.values())


def _says(event: Event, fields: Mapping[str, Any], column: str, value: Any) -> bool:
    text = values.text_of(value)
    if column == "event":
        return text in (event.event, fields["event"], fields["event_text"])
    envelope: str | datetime | None = fields[column]
    if isinstance(envelope, datetime):
        is_original = column == "timestamp" and text == fields["original_timestamp"]
        return is_original or values.timestamp(text) == envelope
    return text == envelope


def _fills(column: str, value: Any) -> bool:
    if column in _PROMOTED_TIMES:
        return type(value) is str and values.timestamp(value) is not None
    return column in _PROMOTED and (type(value) in (int, float) or (type(value) is str and value.strip() != ""))
