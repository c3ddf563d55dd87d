"""How a warehouse is told to people and programs: its state in plain words, what is wrong and what mends it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from headrace.catalog import declared_settings
from headrace.console.status import WarehouseState, WarehouseStatus
from headrace.event import hour_of
from headrace.warehouses import base
from headrace.workspace.records import Warehouse

Severity = Literal["bad", "warning", "information"]
Place = Literal["settings", "misfits", "rejected", "loads", "selection", "email", "jobs", ""]
"""Where in the console it is mended."""

SHOWN_HOURS: Final = 24
IN_WORDS: Final[Mapping[str, str]] = {
    "loading": "It loads.",
    "failing": "It takes no load now, and is tried again by itself.",
    "opening": "It is being opened, again and again until it answers.",
    "paused": "It is paused: its events wait in the log.",
    "stopped": "Something is wrong that needs a person; it is tried again all the same.",
    "closed": "No server runs.",
}


class WarehouseShown(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are those that were given, `in_force` the same with the kind's defaults; secrets are masked in both. `title`, `guarantee`
    and `tried` are the kind's, empty where it is not installed. `selected` are the sources of which not everything is loaded."""

    slug: str
    nickname: str
    kind: str
    title: str
    guarantee: str
    tried: str
    settings: Mapping[str, Any]
    in_force: Mapping[str, Any]
    paused: bool
    selected: Sequence[str]
    created_at: datetime
    removed_at: datetime | None = None


class Note(msgspec.Struct, frozen=True):
    """Something that a person should know. `remedy` says what can be done, `place` where."""

    severity: Severity
    text: str
    remedy: str = ""
    place: Place = ""


class LoadedHour(msgspec.Struct, frozen=True):
    """Events of an hour of receipt: those that have their rows, and those that wait."""

    hour: datetime
    loaded: int
    pending: int


class WarehouseEntry(msgspec.Struct, frozen=True):
    """`status` is None until the worker has taken the warehouse up. `text` says the state in words. `hours`: the last 24, oldest first."""

    warehouse: WarehouseShown
    text: str
    notes: Sequence[Note] = ()
    status: WarehouseStatus | None = None
    hours: Sequence[LoadedHour] = ()


def shown(record: Warehouse) -> WarehouseShown:
    kind = base.kinds().get(record.kind)
    defaults = {setting.name: setting.default for setting in declared_settings(kind.Settings)} if kind else {}
    return WarehouseShown(
        slug=record.slug,
        nickname=record.nickname,
        kind=record.kind,
        title=kind.title if kind else "",
        guarantee=kind.guarantee if kind else "",
        tried=kind.tried if kind else "",
        settings=record.settings,
        in_force={**defaults, **record.settings},
        paused=record.paused,
        selected=list(record.selection),
        created_at=record.created_at,
        removed_at=record.removed_at,
    )


def entry(record: Warehouse, status: WarehouseStatus | None, now: datetime) -> WarehouseEntry:
    """`status` has the hours of the last day."""
    told = shown(record)
    if status is None or status.warehouse is None:
        text = "It is being taken up." if told.title else "Its kind is not installed here; nothing is loaded."
        return WarehouseEntry(told, text)
    text = IN_WORDS[status.warehouse.state]
    bare = msgspec.structs.replace(status, hours=())
    return WarehouseEntry(told, text, list(notes(status)), bare, _hours(status, now))


def _hours(status: WarehouseStatus, now: datetime) -> list[LoadedHour]:
    loaded: Counter[datetime] = Counter()
    pending: Counter[datetime] = Counter()
    for hour in status.hours:
        if hour.hour is not None:
            loaded[hour.hour] += hour.loaded
            pending[hour.hour] += hour.pending
    last = hour_of(now)
    hours = (last - timedelta(hours=number) for number in reversed(range(SHOWN_HOURS)))
    return [LoadedHour(hour, loaded[hour], pending[hour]) for hour in hours]


def notes(status: WarehouseStatus) -> Iterator[Note]:
    """The worst first."""
    state = status.warehouse
    if state is None:
        return
    yield from _standing_still(state)
    if not status.totals.get("pending", 0) >= 0 or any(not hour.is_balanced for hour in status.hours):
        yield Note(
            "bad",
            "The books do not add up: the warehouse has other numbers than the log.",
            "Look which hours differ: headrace status --hours 24. A rebuild of the tables puts them right.",
            "jobs",
        )
    if state.email_model is not None and state.email_model.error:
        yield Note("bad", f"The e-mail model stands still: {state.email_model.error}", "It is tried again.", "email")
    yield from _values(status, state)


def _standing_still(state: WarehouseState) -> Iterator[Note]:
    if state.state == "paused":
        yield Note("warning", "Loading is paused; events wait in the log, which grows.", "Resume it.", "settings")
    elif state.error:
        yield Note("bad", state.error, "Test the connection: it says which step fails and what mends it.", "settings")
    if not state.known:
        yield Note(
            "information",
            "It has not been reached since the server started: nobody knows what it holds.",
            "",
            "settings",
        )
    elif state.as_of is not None:
        yield Note(
            "information", f"It cannot be asked now; its figures are those of {state.as_of:%Y-%m-%d %H:%M:%S} UTC."
        )


def _values(status: WarehouseStatus, state: WarehouseState) -> Iterator[Note]:
    if rejected := status.totals.get("rejected", 0):
        yield Note(
            "warning",
            f"{rejected:,} events could not become rows. They are kept with their reasons.",
            "See why, and correct the events where they are sent.",
            "rejected",
        )
    if state.discards:
        yield Note(
            "warning",
            f"{state.discards:,} values did not fit their columns. They are kept as they were sent.",
            "Give the columns types that fit.",
            "misfits",
        )
    for held in state.held:
        yield Note(
            "warning", f"{held.schema}.{held.table}.{held.column} cannot take fractions: {held.reason}", "", "misfits"
        )
