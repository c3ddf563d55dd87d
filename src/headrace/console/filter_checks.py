"""Filters as they are written: whether an expression is right, which of the newest events fit it, and which fields there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Protocol

import msgspec
from litestar import get, post
from litestar.params import Body, FromQuery

from headrace.destinations.base import Prepared
from headrace.errors import ConfigError, RejectedEventError
from headrace.event import Event
from headrace.filters import compile_filter
from headrace.filters import fields as of_filters
from headrace.filters.syntax import Path

MOST_EVENTS: Final = 1_000
MOST_FIELDS: Final = 400
EXAMPLES: Final = 5
_DEPTH: Final = 4
_VALUES: Final = 3
_VALUE_CHARACTERS: Final = 60
_REFUSAL: Final = re.compile(r"filter, column (\d+): (.*?)(?:; did you mean (.*)\?)?", re.DOTALL)

Sources = Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)]


class FilterOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An expression, and on how many of the newest events of which sources it is tried; of all sources where none are named."""

    filter: Annotated[str, msgspec.Meta(max_length=20_000)]
    sources: Sources = ()
    events: Annotated[int, msgspec.Meta(ge=0, le=MOST_EVENTS)] = 200


class RecentEvent(msgspec.Struct, frozen=True):
    """`sent` is the event in Segment's form, as it came from its source."""

    source: str
    type: str
    event: str | None
    message_id: str
    received_at: datetime
    fits: bool
    sent: msgspec.Raw


class FilterChecked(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is empty for one that is right; then `column` (from 1) is where it is wrong and `suggestion` what may have been meant.
    `fits` of `events` newest events fit; `unreadable` ones have properties that cannot be read. `is_all`: there are no older events."""

    ok: bool
    error: str = ""
    column: int | None = None
    suggestion: str = ""
    events: int = 0
    fits: int = 0
    unreadable: int = 0
    is_all: bool = True
    oldest: datetime | None = None
    examples: Sequence[RecentEvent] = ()


class FilterField(msgspec.Struct, frozen=True):
    """`path` as it is written in an expression. `types` and `values` are those that were seen, `events` of how many events."""

    path: str
    text: str = ""
    types: Sequence[str] = ()
    values: Sequence[str] = ()
    events: int = 0


class FilterFields(msgspec.Struct, frozen=True):
    """The words of the language, and the fields that the newest `events` events have."""

    fields: Sequence[FilterField]
    signs: Sequence[str]
    words: Sequence[str]
    functions: Sequence[str]
    event_names: Sequence[str]
    event_types: Sequence[str]
    events: int


class Recent(Protocol):
    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def is_all(self) -> bool: ...


class RecentEvents(Protocol):
    def newest(self, sources: Sequence[str], limit: int) -> Recent:
        """Of these sources, of all where none are named, the newest first."""
        ...


class Worker(Protocol):
    @property
    def recent(self) -> RecentEvents: ...


def routes(worker: Worker) -> list[Any]:
    @post("/filters/check", role="viewer", sync_to_thread=True, status_code=200)
    def check_filter(
        data: Annotated[FilterOrder, Body(description="The expression, and on which events it is tried")],
    ) -> FilterChecked:
        return checked(data, worker.recent)

    @get("/filters/fields", role="viewer", sync_to_thread=True)
    def show_filter_fields(source: FromQuery[list[str] | None] = None) -> FilterFields:
        return fields_of(worker.recent.newest(source or (), MOST_EVENTS).events)

    @get("/filters/events", role="viewer", sync_to_thread=True)
    def show_recent_events(source: FromQuery[list[str] | None] = None) -> Sequence[RecentEvent]:
        return [shown(event, fits=True) for event in worker.recent.newest(source or (), _SHOWN).events]

    return [check_filter, show_filter_fields, show_recent_events]


_SHOWN: Final = 50


def checked(order: FilterOrder, recent: RecentEvents) -> FilterChecked:
    """An empty expression takes everything, as the setting `filter` of a destination does."""
    try:
        filter_ = compile_filter(order.filter) if order.filter.strip() else None
    except ConfigError as error:
        return _refused(str(error))
    if not order.events:
        return FilterChecked(ok=True)
    found = recent.newest(order.sources, order.events)
    fitting: list[Event] = []
    others: list[Event] = []
    unreadable = 0
    for event in found.events:
        try:
            (fitting if filter_ is None or filter_.matches(event) else others).append(event)
        except RejectedEventError:
            unreadable += 1
    examples = [
        *(shown(event, fits=True) for event in _varied(fitting)),
        *(shown(event, fits=False) for event in _varied(others)),
    ]
    return FilterChecked(
        ok=True,
        events=len(found.events),
        fits=len(fitting),
        unreadable=unreadable,
        is_all=found.is_all,
        oldest=found.events[-1].received_at if found.events else None,
        examples=examples,
    )


def _refused(text: str) -> FilterChecked:
    parts = _REFUSAL.fullmatch(text)
    if parts is None:
        return FilterChecked(ok=False, error=text.removeprefix("filter: "))
    return FilterChecked(ok=False, error=parts[2], column=int(parts[1]), suggestion=parts[3] or "")


def _varied(events: Sequence[Event]) -> Sequence[Event]:
    """A few: first one of each name, then the newest."""
    by_name: dict[tuple[str, str | None], Event] = {}
    for event in events:
        by_name.setdefault((event.type, event.event or event.name), event)
    first = list(by_name.values())
    return [*first, *(event for event in events if event not in first)][:EXAMPLES]


def shown(event: Event, *, fits: bool) -> RecentEvent:
    return RecentEvent(
        event.source,
        event.type,
        event.event or event.name,
        event.message_id,
        event.received_at,
        fits,
        msgspec.Raw(Prepared(event).json()),
    )


# Fields.


def fields_of(events: Sequence[Event]) -> FilterFields:
    seen: dict[Path, _Seen] = {}
    for event in events:
        for path, value in _values(event):
            if path in seen or len(seen) < MOST_FIELDS:
                seen.setdefault(path, _Seen()).add(value)
    own = [FilterField(name, text) for name, text in of_filters.FIELDS.items()]
    found = sorted(seen.items(), key=lambda each: (-each[1].events, str(each[0])))
    event_names = Counter(event.event for event in events if event.event)
    return FilterFields(
        [*own, *(of.shown(path) for path, of in found)],
        of_filters.SIGNS,
        of_filters.WORDS,
        of_filters.FUNCTIONS,
        [name for name, _ in event_names.most_common(MOST_FIELDS)],
        of_filters.TYPES,
        len(events),
    )


class _Seen:
    def __init__(self) -> None:
        self.events = 0
        self.types: set[str] = set()
        self.values: dict[str, None] = {}

    def add(self, value: Any) -> None:
        self.events += 1
        self.types.add(_TYPES.get(type(value), "object"))
        if not isinstance(value, dict | list) and len(self.values) < _VALUES:
            text = msgspec.json.encode(value).decode()
            self.values.setdefault(text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…")

    def shown(self, path: Path) -> FilterField:
        return FilterField(str(path), "", sorted(self.types), list(self.values), self.events)


_TYPES: Final[Mapping[type, str]] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    list: "list",
    type(None): "null",
}


def _values(event: Event) -> Iterator[tuple[Path, Any]]:
    below = "traits" if event.type in ("identify", "group") else "properties"
    for root, raw in ((below, event.properties), ("context", event.context)):
        try:
            tree = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            continue
        yield from _below(Path(root), tree)


def _below(path: Path, tree: Any) -> Iterator[tuple[Path, Any]]:
    if not isinstance(tree, dict):
        return
    for name, value in tree.items():
        inner = Path(path.root, (*path.names, name))
        if isinstance(value, dict) and value and len(inner.names) < _DEPTH:
            yield from _below(inner, value)
        else:
            yield inner, value
