"""The words of alerts: the figures that conditions are asked over, what a condition finds, and what every alert can be set to.

A condition is pure: figures and a moment in, a `Finding` for each subject out (a destination, a source or a warehouse, by slug). When a
finding is told to anybody is decided by `lasting`, what is written by `notices`, how it is sent by `channels`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol

import msgspec

from headrace.alerts import quiet
from headrace.catalog import described
from headrace.event import Hour
from headrace.log.base import Hourly

Verdict = Literal["bad", "good", "unknown"]
"""unknown: too few events or too little history to say; whatever was said last stays."""


class DestinationFigures(msgspec.Struct, frozen=True):
    """A destination and its outcomes within a period, in events. `retrying` are those whose last attempt within the period failed and
    that are tried again. `state` is None while it delivers; `disabled` and `stopped` wait for a person, `paused` was a person's wish.
    `error` is the most frequent code or the reason of its state, secrets masked."""

    slug: str
    nickname: str
    delivered: int = 0
    failed: int = 0
    retrying: int = 0
    state: Literal["disabled", "stopped", "paused"] | None = None
    error: str = ""


class SourceFigures(msgspec.Struct, frozen=True):
    slug: str
    nickname: str
    enabled: bool = True


class WarehouseFigures(msgspec.Struct, frozen=True):
    """`lag_seconds` is the age of the oldest event that is not in the warehouse, 0 when nothing is pending. The states are those of
    `headrace status`. `error` has its secrets masked."""

    slug: str
    nickname: str
    state: Literal["loading", "failing", "opening", "paused", "stopped", "closed"]
    lag_seconds: float = 0.0
    pending: int = 0
    error: str = ""


class Received(NamedTuple):
    """The log's books by hour, and beside them the events that the warehouse rejected (the one that has rejected most, where there are
    several), by the hour of their receipt. Both of about the same moment."""

    hourly: Hourly
    rejected: Mapping[Hour, int] = {}


class Figures(Protocol):
    """What is asked every few seconds, so cheap answers are wanted. Any error is the trouble of the alert that asked, and is shown with it."""

    def destinations(self, since: datetime, until: datetime) -> Sequence[DestinationFigures]:
        """Every destination that is not removed, with what became of its events from `since` to before `until`."""
        ...

    def sources(self) -> Sequence[SourceFigures]:
        """Every source that is not removed."""
        ...

    def received(self) -> Received: ...

    def warehouses(self) -> Sequence[WarehouseFigures]:
        """Every warehouse that is not removed."""
        ...


class Finding(msgspec.Struct, frozen=True):
    """What a condition says of one subject. `what` says how much of what, `usual` against what (empty where nothing is known), `remedy` what
    to do, `look` the command to look; `title` is all of it in a few words. `since` is where the figures say more than the first check.
    `figures` are for programs."""

    subject: str
    verdict: Verdict
    title: str = ""
    what: str = ""
    usual: str = ""
    remedy: str = ""
    look: str = ""
    since: datetime | None = None
    figures: Mapping[str, float] = {}


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every alert can be set to; a condition adds its own by a subclass."""

    hold_minutes: Annotated[
        float, msgspec.Meta(description="It must hold so long before it is told; 0 is at once.", ge=0, le=10_080)
    ] = 5.0
    recover_minutes: Annotated[
        float, msgspec.Meta(description="It must be well for so long before that is told.", ge=0, le=10_080)
    ] = 5.0
    remind_hours: Annotated[
        float, msgspec.Meta(description="While it lasts it is told again after so long; 0 is never.", ge=0, le=8_760)
    ] = 24.0
    quiet: Annotated[
        str,
        described(
            "Hours without notices, HH:MM-HH:MM, over midnight too; what still holds at their end is told then. Empty: none."
        ),
    ] = ""
    time_zone: Annotated[
        str, described("Of the quiet hours and of the times in notices, for example Europe/Brussels.")
    ] = "UTC"
    urgent: Annotated[bool, described("Tell it in quiet hours too.")] = False

    def __post_init__(self) -> None:
        """Raises ValueError for quiet hours or a time zone that are none."""
        quiet.zone(self.time_zone)
        if self.quiet:
            quiet.hours(self.quiet)

    @property
    def zone(self) -> tzinfo:
        return quiet.zone(self.time_zone)


class Condition:
    """A subclass in its own file; it stands in conditions.py. An instance is what an alert was set to."""

    slug: ClassVar[str]
    summary: ClassVar[str]
    Settings: ClassVar[type[AlertSettings]]

    def __init__(self, settings: AlertSettings) -> None:
        self.settings = settings

    def findings(self, figures: Figures, now: datetime, lasting: Collection[str]) -> Sequence[Finding]:
        """One for each subject that is there; a subject that is missing has been removed. `lasting` are those that are bad until it is
        said otherwise, of which fewer events are enough to say that they are well again. Never keeps anything."""
        raise NotImplementedError


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def percent(ratio: float) -> str:
    """Never 100 % for what is not all.

    >>> percent(0.99999), percent(1.0), percent(0.5)
    ('99.9 %', '100 %', '50 %')
    """
    text = f"{min(ratio * 100, 99.9) if ratio < 1 else ratio * 100:.1f}".removesuffix(".0")
    return f"{text} %"


def named(nickname: str, slug: str) -> str:
    return slug if nickname == slug or not nickname else f"{nickname} ({slug})"
