"""How a source is told to people and programs: its state, keys, settings, what arrives, and what a person does to make events arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from headrace.catalog import in_force
from headrace.console.snippets import PLACEHOLDER, Snippet, snippets
from headrace.sources import base
from headrace.workspace.records import Source

State = Literal["enabled", "disabled", "removed"]
_THIS_MACHINE: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class KeyShown(msgspec.Struct, frozen=True):
    last_four: str
    created_at: datetime


class SourceShown(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are those in force. `title` is the kind's, empty where it is not installed; `deprecated` is what to use instead."""

    slug: str
    kind: str
    title: str
    deprecated: str | None
    nickname: str
    schema: str
    state: State
    enabled: bool
    settings: Mapping[str, Any]
    keys: Sequence[KeyShown]
    created_at: datetime
    removed_at: datetime | None


class SourceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A source and what arrives. `accepted` and `refused` are of all time, `hours` the events accepted in each of the last 24 hours, the one
    that runs last. `last_event_at` is when the newest accepted event was received, None where there was none."""

    source: SourceShown
    accepted: int
    refused: int
    refused_today: int
    hours: Sequence[int]
    last_event_at: datetime | None
    destinations: int


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """How events get here. With `write_key` unknown WRITE_KEY stands for it. `handover` is the sentence for the people who run the platform,
    None where they need not be asked; `setup` are the steps. `is_local`: `url` is this machine only."""

    url: str
    write_key: str
    is_local: bool
    handover: str | None
    setup: Sequence[str]
    snippets: Sequence[Snippet]


class SourceWithKey(msgspec.Struct, frozen=True):
    """`write_key` is told now and never again."""

    source: SourceShown
    write_key: str
    sending: Sending


class InWarehouse(msgspec.Struct, frozen=True, kw_only=True):
    """What a warehouse has of the source; the sums hold: accepted = loaded + duplicates + filtered + rejected + pending."""

    slug: str
    nickname: str
    kind: str
    state: str
    error: str | None
    loaded: int
    duplicates: int
    filtered: int
    rejected: int
    pending: int
    lag_seconds: float
    has_selection: bool


class AtDestination(msgspec.Struct, frozen=True):
    slug: str
    nickname: str
    kind: str
    title: str
    state: str
    error: str | None


class SourceDetail(msgspec.Struct, frozen=True, kw_only=True):
    entry: SourceEntry
    sending: Sending
    warehouses: Sequence[InWarehouse]
    destinations: Sequence[AtDestination]


class Counted(msgspec.Struct, frozen=True):
    """A warning or a refusal, in words."""

    code: str
    text: str
    events: int
    last_at: datetime


class EventShown(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one type and name. `table` is where their rows are, beside `tracks`. `is_rest`: all names beyond the number that is told one by one."""

    type: str
    event: str
    table: str
    accepted: int
    refused: int
    last_at: datetime
    warnings: Sequence[Counted] = ()
    refusals: Sequence[Counted] = ()
    is_rest: bool = False


class EventsShown(msgspec.Struct, frozen=True):
    """`counted_since`: nothing before was counted by name; None where everything was. Counts are of events as they arrived, repeats included."""

    as_of: datetime
    counted_since: datetime | None
    events: Sequence[EventShown]


class NamesShown(msgspec.Struct, frozen=True):
    """What a new source would be called. A problem says why a name does not go, with another one that does; empty where it goes."""

    nickname: str
    slug: str
    schema: str
    nickname_problem: str = ""
    schema_problem: str = ""


def shown(source: Source) -> SourceShown:
    kind = base.kinds().get(source.kind)
    return SourceShown(
        slug=source.slug,
        kind=source.kind,
        title=kind.title if kind else "",
        deprecated=kind.deprecated if kind else None,
        nickname=source.nickname,
        schema=source.schema,
        state=state(source),
        enabled=source.enabled,
        settings=in_force(kind.Settings if kind else None, source.settings),
        keys=[KeyShown(key.last_four, key.created_at) for key in source.keys],
        created_at=source.created_at,
        removed_at=source.removed_at,
    )


def state(source: Source) -> State:
    if source.removed_at is not None:
        return "removed"
    return "enabled" if source.enabled else "disabled"


def sending(kind_slug: str, url: str, write_key: str = PLACEHOLDER) -> Sending:
    kind = base.kinds().get(kind_slug)
    return Sending(
        url=url,
        write_key=write_key,
        is_local=urlsplit(url).hostname in _THIS_MACHINE,
        handover=base.handover_text(kind, url, write_key) if kind else None,
        setup=kind.setup if kind else (),
        snippets=snippets(kind, url, write_key),
    )
