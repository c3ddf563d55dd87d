"""How a destination is told to people and programs: its state in plain words, and its settings in force with secrets masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from headrace.catalog import declared_settings
from headrace.destinations import base
from headrace.destinations.base import DestinationKind, DestinationSettings
from headrace.workspace.records import Destination

State = Literal["active", "paused", "disabled", "removed"]


class DestinationShown(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are those that were given, `in_force` the same with the kind's defaults; secrets are masked in both. `title` is the kind's
    name, empty where the kind is not installed. `text` says the state and what can be done about it; `disabled` is why headrace itself
    switched it off."""

    slug: str
    nickname: str
    kind: str
    title: str
    state: State
    text: str
    sources: Sequence[str]
    settings: Mapping[str, Any]
    in_force: Mapping[str, Any]
    paused: bool
    disabled: str | None
    created_at: datetime
    removed_at: datetime | None


class DestinationAnswer(msgspec.Struct, frozen=True):
    """`warnings` are what should be known about the settings, `problem` is why nothing can be sent with them."""

    destination: DestinationShown
    warnings: Sequence[str] = ()
    problem: str | None = None


def shown(destination: Destination) -> DestinationShown:
    kind = kind_of(destination)
    return DestinationShown(
        slug=destination.slug,
        nickname=destination.nickname,
        kind=destination.kind,
        title=kind.title if kind else "",
        state=state(destination),
        text=in_words(destination),
        sources=destination.sources,
        settings=destination.settings,
        in_force=settings_in_force(destination),
        paused=destination.paused,
        disabled=destination.disabled,
        created_at=destination.created_at,
        removed_at=destination.removed_at,
    )


def state(destination: Destination) -> State:
    if destination.removed_at is not None:
        return "removed"
    if destination.disabled is not None:
        return "disabled"
    return "paused" if destination.paused else "active"


def in_words(destination: Destination) -> str:
    """The state, what it means, and what a person can do about it."""
    resume = f"until: headrace destination resume {destination.slug}"
    match state(destination):
        case "removed":
            return "removed: nothing is sent to it any more"
        case "disabled":
            return f"switched off by headrace: {destination.disabled}; its events wait in the log {resume}"
        case "paused":
            return f"paused: its events wait in the log {resume}"
    if not destination.sources:
        connect = f"headrace destination connect {destination.slug} --source SLUG"
        return f"active, but no source is connected, so nothing is sent; connect one: {connect}"
    return "active"


def settings_in_force(destination: Destination) -> dict[str, Any]:
    """The kind's own first, then those that every destination has; defaults included where the kind is installed."""
    kind = kind_of(destination)
    defaults = {setting.name: setting.default for setting in declared_settings(kind.Settings)} if kind else {}
    every = {**defaults, **destination.settings}
    common = DestinationSettings.__struct_fields__
    return {name: every[name] for name in sorted(every, key=lambda name: name in common)}


def kind_of(destination: Destination) -> type[DestinationKind] | None:
    """None where it is not installed here."""
    return base.kinds().get(destination.kind)
