"""What of a source's events a warehouse stores: which tables, without which properties, under which condition.

Everything by default. docs/selective-loading.md says it for users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import msgspec

from headrace.errors import ConfigError, RejectedEventError
from headrace.event import Event
from headrace.filters import Filter, compile_filter
from headrace.loader.standard import EXTRA, LOADED_AT, standard_columns
from headrace.names import STANDARD_TABLES, event_slug, event_table, snake_case

ANY_TABLE: Final = "*"
TRACKS: Final = "tracks"

TABLE_BY_TYPE: Final = {
    "identify": "identifies",
    "group": "groups",
    "page": "pages",
    "screen": "screens",
    "alias": "aliases",
}
_HISTORY: Final = {"users": "identifies", "accounts": "groups"}
"""A table of latest states has no events of its own: it follows this one."""
_KEYS: Final = ("only", "without", "without_properties", "where")
_NAME: Final = re.compile(r"[a-z0-9_]{1,63}")


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source's selection in one warehouse. `only` names the tables that are on (None: all), `without` those that are off;
    one of the two at the most. `without_properties` holds `table.column`, where `*` is every table. `where` is a filter."""

    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    without_properties: tuple[str, ...] = ()
    where: str | None = None


EVERYTHING: Final = Selection()


def parse(json: Any) -> Selection:
    """A selection from its JSON value, checked. Raises ConfigError that says what to write instead."""
    if not isinstance(json, Mapping):
        raise ConfigError(f"selection: expected a JSON object with {', '.join(_KEYS)}, found {json!r:.60}")
    for key in json:
        if key not in _KEYS:
            meant = get_close_matches(str(key), _KEYS, n=1)
            hint = f"; did you mean {meant[0]!r}?" if meant else ""
            raise ConfigError(f"selection: there is no {key!r}; it has {', '.join(_KEYS)}{hint}")
    if json.get("only") is not None and json.get("without"):
        raise ConfigError("selection: say either `only` or `without`, not both")
    only = None if json.get("only") is None else _tables("only", json["only"])
    if only == ():
        raise ConfigError("selection: `only` names no table, so nothing would be stored; pause the warehouse instead")
    return Selection(
        only,
        _tables("without", json.get("without")),
        _properties(json.get("without_properties")),
        _where(json.get("where")),
    )


def parse_all(selection_by_source: Mapping[str, Any]) -> Mapping[str, Selection]:
    """The selections of a warehouse by source slug, as its configuration keeps them. Raises ConfigError."""
    found = {}
    for slug, json in selection_by_source.items():
        try:
            found[slug] = parse(json)
        except ConfigError as error:
            raise ConfigError(f"{error} (source {slug!r})") from None
    return found


def as_json(selection: Selection) -> dict[str, Any]:
    """What `parse` takes back."""
    json: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(selection))
    return json


def consequences(selection: Selection) -> Sequence[str]:
    """Sentences on what follows from a selection and may not be expected."""
    notes = []
    events = [table for table in selection.only or () if table not in STANDARD_TABLES]
    if TRACKS in selection.without:
        notes.append("`tracks` holds the id of every track event: without it no track event is stored, in no table.")
    elif selection.only is not None and TRACKS not in selection.only and events:
        notes.append(f"`tracks` gets the rows of these events alone: {', '.join(events)}.")
    else:
        off = [table for table in selection.without if table not in STANDARD_TABLES]
        if off:
            notes.append(f"The events of {', '.join(off)} still have their row in `tracks`, without properties.")
    for latest, history in _HISTORY.items():
        if not Selector(selection).keeps_table(history):
            notes.append(f"`{latest}` follows `{history}`, which is off.")
    return notes


class Selector:
    """A selection, made ready. `keeps` decides about an event as a whole; of those that it keeps, a track event's row in its own
    table is for `keeps_table` to decide, its row in `tracks` is always stored."""

    def __init__(self, selection: Selection) -> None:
        """Raises ConfigError when the filter is wrong."""
        self._only = None if selection.only is None else frozenset(selection.only)
        self._without = frozenset(selection.without)
        self._properties = frozenset(selection.without_properties)
        self._filter: Filter | None = compile_filter(selection.where) if selection.where else None
        self.keeps_all_columns = not self._properties

    def keeps(self, event: Event) -> bool:
        """Whether anything of the event is stored. One whose filter cannot be evaluated is kept: it is rejected where its
        properties become rows, so that it does not vanish."""
        if not self._has_place(event):
            return False
        try:
            return self._filter is None or self._filter.matches(event)
        except RejectedEventError:
            return True

    def _has_place(self, event: Event) -> bool:
        if event.type != "track":
            return self._is_on(TABLE_BY_TYPE[event.type])
        if self._is_on(TRACKS) or event.event is None:  # an event without a name is rejected later
            return True
        return self._only is not None and event_table(event_slug(event.event)) in self._only

    def _is_on(self, table: str) -> bool:
        return table in self._only if self._only is not None else table not in self._without

    def keeps_table(self, table: str) -> bool:
        """Whether rows of kept events go to this table."""
        table = _HISTORY.get(table, table)
        if table == TRACKS:
            return self._is_on(TRACKS) or (self._only is not None and not self._only <= STANDARD_TABLES)
        if table not in STANDARD_TABLES and TRACKS in self._without:
            return False
        return self._is_on(table)

    def keeps_column(self, table: str, column: str) -> bool:
        """Whether a property's column of this name is filled. Not to be asked about standard columns, which always are."""
        return f"{table}.{column}" not in self._properties and f"{ANY_TABLE}.{column}" not in self._properties


@lru_cache(1024)
def selector(selection: Selection) -> Selector:
    """Asked for at each load, made once. Raises ConfigError when the filter is wrong."""
    return Selector(selection)


def _texts(key: str, value: Any) -> Sequence[str]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"selection: expected a list of texts in `{key}`, found {value!r:.60}")
    return value


def _tables(key: str, value: Any) -> tuple[str, ...]:
    tables = tuple(_texts(key, value))
    for table in tables:
        if _NAME.fullmatch(table) is None:
            meant = event_table(event_slug(table))
            raise ConfigError(f"selection: `{key}` names tables; there is no table {table!r}; did you mean {meant!r}?")
        if table in _HISTORY:
            raise ConfigError(f"selection: {table!r} follows {_HISTORY[table]!r}; name that table in `{key}` instead")
    return tables


def _properties(value: Any) -> tuple[str, ...]:
    properties = tuple(_texts("without_properties", value))
    for name in properties:
        table, _, column = name.partition(".")
        if not column or _NAME.fullmatch(column) is None or (table != ANY_TABLE and _NAME.fullmatch(table) is None):
            raise ConfigError(
                f"selection: `without_properties` names columns as table.column, found {name!r}{_meant(name)}"
            )
        if table in _HISTORY:
            raise ConfigError(
                f"selection: {table!r} follows {_HISTORY[table]!r}; write '{_HISTORY[table]}.{column}' instead"
            )
        # standard_columns of a name that is no standard table's are those of every event's table.
        if column in (*standard_columns(table), LOADED_AT, EXTRA):
            raise ConfigError(f"selection: {name!r} is a standard column, which cannot be switched off; leave it out")
    return properties


def _meant(name: str) -> str:
    table, dot, column = name.partition(".")
    if not dot or not snake_case(column) or not (snake_case(table) or table == ANY_TABLE):
        return f"; for a column of all tables write '*.{snake_case(name) or 'column'}'"
    parts = (table if table == ANY_TABLE else event_table(event_slug(table)), *map(snake_case, column.split(".")))
    return f"; did you mean '{parts[0]}.{'_'.join(filter(None, parts[1:]))}'?"


def _where(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigError(f"selection: expected a filter's text in `where`, found {value!r:.60}")
    try:
        compile_filter(value)
    except ConfigError as error:
        raise ConfigError(f"selection, where: {error}") from None
    return value
