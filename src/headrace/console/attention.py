"""What needs a person: everything that stands still, fails, is refused, is silent or ends soon, the worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

import msgspec

from headrace.alerts.shown import AlertShown, ChannelShown
from headrace.console.source_shown import SourceEntry
from headrace.console.status import ArchiveStatus, DestinationStatus, WarehouseStatus
from headrace.console.warehouse_shown import notes
from headrace.delivery.arrived import HourOfSource

Severity = Literal["bad", "warning", "information"]
_ORDER: Final[Mapping[Severity, int]] = {"bad": 0, "warning": 1, "information": 2}
DAY: Final = timedelta(days=1)
LEAST_SILENCE: Final = timedelta(hours=6)
LEAST_HOURS: Final = 3
"""A source with events in fewer hours than this has no rhythm that could be broken."""
TWO_KEYS_FOR: Final = timedelta(days=7)
LATE_SECONDS: Final = 300.0
SHARE_OF_REFUSED: Final = 0.01


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """`step: subject; remedy` as errors have it. `href` is the page where it is mended; `since` is None where nobody knows."""

    severity: Severity
    step: str
    subject: str
    remedy: str
    href: str
    since: datetime | None = None


def ordered(found: Iterable[Concern]) -> list[Concern]:
    """The worst first, within that in their order."""
    return sorted(found, key=lambda one: _ORDER[one.severity])


def of_source(entry: SourceEntry, hours: Sequence[HourOfSource], now: datetime) -> Iterator[Concern]:
    """`hours` are those of the last two weeks or so, oldest first."""
    source = entry.source
    href = f"/sources/{source.slug}"
    today = sum(entry.hours)
    if entry.refused_today and entry.refused_today > SHARE_OF_REFUSED * today:
        yield Concern(
            severity="warning",
            step="source",
            subject=f"{source.nickname}: {_events(entry.refused_today)} refused in the last 24 hours, {today:,} accepted",
            remedy="See the reasons, and correct what is sent.",
            href=f"{href}/rejected",
        )
    silence = silent_for(hours, entry.last_event_at, now) if source.enabled else None
    if silence is not None:
        yield Concern(
            severity="warning",
            step="source",
            subject=f"{source.nickname}: no event for {_long(silence)}, longer than usual",
            remedy="See whether the platform still sends, with a key that is alive.",
            href=href,
            since=entry.last_event_at,
        )
    if source.enabled and entry.last_event_at is None and now - source.created_at > DAY:
        yield Concern(
            severity="information",
            step="source",
            subject=f"{source.nickname}: no event has arrived yet",
            remedy="Send the write key to the people who run the platform, or a test event of your own.",
            href=href,
            since=source.created_at,
        )
    if not source.enabled:
        yield Concern(
            severity="information",
            step="source",
            subject=f"{source.nickname}: it is disabled, its events are refused",
            remedy="Enable it, or remove it where nothing sends any more.",
            href=f"{href}/settings",
        )
    if len(source.keys) > 1 and now - max(key.created_at for key in source.keys) > TWO_KEYS_FOR:
        yield Concern(
            severity="information",
            step="write key",
            subject=f"{source.nickname}: two keys have been alive for {_long(now - max(key.created_at for key in source.keys))}",
            remedy=f"Retire the older one (…{source.keys[0].last_four}) when nothing uses it any more.",
            href=f"{href}/settings",
        )


def silent_for(hours: Sequence[HourOfSource], last: datetime | None, now: datetime) -> timedelta | None:
    """How long nothing has come, where that is more than twice the longest pause of the time before; None otherwise."""
    active = [hour.at for hour in hours if hour.accepted]
    if last is None or len(active) < LEAST_HOURS:
        return None
    longest = max(later - earlier for earlier, later in pairwise(active))
    silence = now - last
    return silence if silence > max(LEAST_SILENCE, 2 * longest) else None


def of_warehouse(status: WarehouseStatus) -> Iterator[Concern]:
    """`status` has the hours of the last day."""
    state = status.warehouse
    if state is None:
        return
    href = f"/warehouses/{state.slug}"
    for note in notes(status):
        if note.place in ("rejected", "misfits") or (note.severity == "information" and not note.remedy):
            continue
        yield Concern(
            severity=note.severity,
            step="warehouse",
            subject=f"{state.nickname}: {note.text}",
            remedy=note.remedy,
            href=href,
        )
    if state.known and state.state == "loading" and status.lag_seconds > LATE_SECONDS:
        yield Concern(
            severity="warning",
            step="warehouse",
            subject=f"{state.nickname}: it is {_long(timedelta(seconds=status.lag_seconds))} behind, {status.totals.get('pending', 0):,} events wait",
            remedy="It catches up by itself where it takes events faster than they come; see its load history.",
            href=href,
        )
    rejected = sum(hour.rejected for hour in status.hours if hour.hour is not None)
    if rejected:
        yield Concern(
            severity="warning",
            step="warehouse",
            subject=f"{state.nickname}: {_events(rejected)} of the last 24 hours could not become rows",
            remedy="See why, and correct the events where they are sent.",
            href=f"{href}/loads?show=rejected",
        )
    if state.discards:
        yield Concern(
            severity="information",
            step="warehouse",
            subject=f"{state.nickname}: {state.discards:,} values did not fit their columns; they are kept beside",
            remedy="Give the columns types that fit.",
            href=f"{href}/misfits",
        )


def of_destination(status: DestinationStatus, warnings: Sequence[str]) -> Iterator[Concern]:
    """`warnings` are the kind's about its settings, for example a key that ends soon."""
    href = f"/destinations/{status.slug}"
    why = f": {status.error}" if status.error else ""
    if status.state in ("disabled", "failing"):
        text = "headrace switched it off" if status.state == "disabled" else "nothing gets through"
        yield Concern(
            severity="bad",
            step="destination",
            subject=f"{status.nickname}: {text}{why}",
            remedy="Mend what the tool says, test it, and resume it. Events wait meanwhile.",
            href=href,
        )
    elif status.state in ("waiting", "paused"):
        text = "the tool does not answer" if status.state == "waiting" else "it is paused"
        yield Concern(
            severity="warning",
            step="destination",
            subject=f"{status.nickname}: {text}, {_events(status.waiting)} wait{why}",
            remedy="It is tried again by itself." if status.state == "waiting" else "Resume it.",
            href=href,
        )
    if status.failed:
        yield Concern(
            severity="warning",
            step="delivery",
            subject=f"{status.nickname}: {_events(status.failed)} of the last 24 hours failed for good",
            remedy="See the reasons, mend them, and send these events again.",
            href=f"{href}/dead-letters",
        )
    for warning in warnings:
        subject, _, remedy = warning.removeprefix(f"destination {status.slug}: ").partition("; ")
        yield Concern(
            severity="warning",
            step="destination",
            subject=f"{status.nickname}: {subject}",
            remedy=remedy,
            href=f"{href}/settings",
        )


def of_alert(alert: AlertShown) -> Iterator[Concern]:
    """What somebody wanted to be told, and what cannot be looked at."""
    for one in alert.holds if alert.state == "holds" else ():
        if one.told_at is not None:
            yield Concern(
                severity="warning",
                step="alert",
                subject=f"{alert.nickname}: {one.title}",
                remedy=one.remedy,
                href="/alerts",
                since=one.since,
            )
    if alert.state == "error":
        yield Concern(
            severity="warning",
            step="alert",
            subject=f"{alert.nickname}: it cannot be checked: {alert.error}",
            remedy="Mend what is said; it is looked at again by itself.",
            href="/alerts",
        )


def of_channel(channel: ChannelShown) -> Iterator[Concern]:
    if channel.error:
        yield Concern(
            severity="bad",
            step="alerts",
            subject=f"{channel.nickname}: nobody is told, notices do not get through: {channel.error}",
            remedy="Mend its settings, and test it.",
            href="/alerts",
            since=channel.failing_since,
        )


def of_archive(archive: ArchiveStatus | None) -> Iterator[Concern]:
    if archive is not None and archive.error:
        yield Concern(
            severity="bad",
            step="archive",
            subject=f"it stands still: {archive.error}",
            remedy="The log keeps everything until it goes on; mend what is said, it is tried again.",
            href="/settings",
        )


def _events(number: int) -> str:
    return "1 event" if number == 1 else f"{number:,} events"


def _long(time: timedelta) -> str:
    """As people say it.

    >>> _long(timedelta(minutes=90)), _long(timedelta(hours=30)), _long(timedelta(days=3))
    ('90 minutes', '30 hours', '3 days')
    """
    minutes = round(time / timedelta(minutes=1))
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"
