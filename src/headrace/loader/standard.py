"""The tables and columns that Segment's schema has from the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.warehouses.base import Columns, ColumnType

LOADED_AT: Final = "loaded_at"
EXTRA: Final = "_extra"
"""The JSON column for what does not get a column; no property can have this name, since names lose a leading underscore."""

_TEXT, _TIME = ColumnType.STRING, ColumnType.TIMESTAMP
_IDS: Final[Columns] = {"id": _TEXT, "anonymous_id": _TEXT, "user_id": _TEXT}
_TIMES: Final[Columns] = {"original_timestamp": _TIME, "sent_at": _TIME, "received_at": _TIME, "timestamp": _TIME}
_EVENT: Final[Columns] = {**_IDS, "event": _TEXT, "event_text": _TEXT, **_TIMES}
_COLUMNS: Final[Mapping[str, Columns]] = {
    "identifies": {**_IDS, **_TIMES},
    "groups": {**_IDS, "group_id": _TEXT, **_TIMES},
    "pages": {**_IDS, "name": _TEXT, **_TIMES},
    "screens": {**_IDS, "name": _TEXT, **_TIMES},
    "aliases": {"id": _TEXT, "previous_id": _TEXT, "user_id": _TEXT, **_TIMES},
    "users": {"id": _TEXT, "received_at": _TIME},
    "accounts": {"id": _TEXT, "received_at": _TIME},
}

STANDARD_COLUMNS: Final = frozenset(name for columns in (*_COLUMNS.values(), _EVENT, (LOADED_AT,)) for name in columns)
"""Of any table."""


def standard_columns(table: str) -> Columns:
    """The columns that a table has from the beginning, in the order of `Row.standard`; `loaded_at` comes after them."""
    return _COLUMNS.get(table, _EVENT)
