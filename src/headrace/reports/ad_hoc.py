"""Any event of any source for a report: who did it, and when, from the sources' own tables."""

# ruff: noqa: S608 -- the query within is `model.reading`'s

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from headrace.errors import ConfigError
from headrace.names import event_slug, event_table
from headrace.reports.model.reading import Reading, ReadTable, Slice
from headrace.reports.model.settings import Goal
from headrace.reports.place import Place
from headrace.warehouses.base import TableName

_NEEDED: Final = frozenset(("id", "received_at", "loaded_at", "timestamp"))
_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


def event_rows(event: str, source: str | None, place: Place, step: str) -> str:
    """A query of `recipient_key` and `happened_at`, a row an event, the person named as for a goal and by today's identities.

    `event` is the event's name as it is sent, or the name of its table. Raises ConfigError when no source has such a table."""
    # A goal that nobody keeps: its conversions are counted as they stand in the tables.
    goal = Goal(name="event", event=event, value=(), key=())
    slices = [
        Slice(ReadTable(table, "goal event", place.tables[table], goal=goal), None, _EVER)
        for table in _tables(event, source, place, step)
    ]
    return (
        "SELECT coalesce(i.recipient_key, e.recipient) AS recipient_key, e.happened_at "
        f"FROM ({Reading(place.engine).goals(slices)}) AS e LEFT JOIN email.identities AS i ON i.alias = e.recipient "
        "WHERE e.recipient IS NOT NULL"
    )


def _tables(event: str, source: str | None, place: Place, step: str) -> Sequence[TableName]:
    schemas = {found.slug: found.schema for found in place.sources}
    if source is not None and source not in schemas:
        raise ConfigError(f"{step}: there is no source {source!r}; there are {', '.join(sorted(schemas)) or 'none'}")
    within = set(schemas.values()) if source is None else {schemas[source]}
    there = sorted(
        name for name, columns in place.tables.items() if name.schema in within and columns.keys() >= _NEEDED
    )
    wanted = (event, event_table(event_slug(event)))
    found = [name for name in there if name.table in wanted]
    if found:
        return found
    names = sorted({name.table for name in there})
    close = difflib.get_close_matches(event_slug(event), names, n=3) or names[:5]
    where = "no source has" if source is None else f"the source {source} does not have"
    raise ConfigError(f"{step}: {where} an event {event!r:.100}; there are for example {', '.join(close) or 'none'}")
