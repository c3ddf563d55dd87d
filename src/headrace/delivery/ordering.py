"""Ordering a replay: a period and a choice of events -> offsets of the log; and how a replay is told to people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.delivery.account_tallies import reading
from headrace.delivery.commits import minute_of
from headrace.delivery.feed import FILE
from headrace.delivery.replaying import Estimate, check_sources
from headrace.delivery.replays import ENDED, OUTCOMES, Outcome, Range, Replay, State, Wanted
from headrace.errors import ConfigError
from headrace.event import EVENT_TYPES
from headrace.log.base import LogReader

SLACK_MINUTES: Final = 5
"""Entries stand in the log nearly in the order in which they were received: nearer than this."""
_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CONFIGURED: Final = "headrace destination"


class ReplayOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are sent again: those received from `since` on, before `until` (so long ago, 10m, 24h, 7d, or a time in ISO 8601; now where it is
    empty). Empty lists are all. `dry_run` only counts."""

    since: str
    until: str = ""
    sources: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    outcome: Outcome = "any"
    dry_run: bool = False


class ReplayShown(msgspec.Struct, frozen=True):
    """`passed` of about `total` entries of the log have been looked at; the other figures are events. `text` says in plain words how it goes,
    and what to do where it does not."""

    number: int
    state: State
    text: str
    total: int
    passed: int
    delivered: int
    filtered: int
    failed: int
    ordered_at: datetime
    changed_at: datetime
    since: datetime
    until: datetime
    sources: Sequence[str]
    events: Sequence[str]
    types: Sequence[str]
    outcome: Outcome
    detail: str = ""
    failures: Mapping[str, int] = {}
    """Failed events by code."""


class ReplayAnswer(msgspec.Struct, frozen=True):
    """Of an order: the replay, or of a dry run what it would do. `notes` are what should be known before."""

    replay: ReplayShown | None = None
    estimate: Estimate | None = None
    notes: Sequence[str] = ()


def wanted_of(order: ReplayOrder, connected: Collection[str], now: datetime) -> Wanted:
    """Raises ConfigError that names what is wrong."""
    since = _moment(order.since, "since", now)
    until = _moment(order.until, "until", now) if order.until else now
    if since >= until:
        raise ConfigError(
            f"replay: the period {order.since} to {order.until or 'now'} is none; give a beginning before its end"
        )
    if not connected:
        raise ConfigError(
            f"replay: no source is connected, so nothing would be sent; connect one: {_CONFIGURED} connect SLUG --source SLUG"
        )
    for kind in order.types:
        if kind not in EVENT_TYPES:
            raise ConfigError(
                f"replay: there is no type of event {kind[:100]!r}; there are {', '.join(sorted(EVENT_TYPES))}"
            )
    if order.outcome not in OUTCOMES:
        raise ConfigError(
            f"replay: there is no outcome {str(order.outcome)[:100]!r}; there are {', '.join(map(str, OUTCOMES))}"
        )
    wanted = Wanted(_ms(since), _ms(until), order.sources, order.events, order.types, order.outcome)
    check_sources(wanted, connected)
    return wanted


def _moment(text: str, what: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ConfigError(
            f"replay: {what} is {text[:100]!r}, which is no time; give 10m, 24h, 7d, or a date like 2026-03-01 or 2026-03-01T12:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


def ranges(readers: Iterable[LogReader], folder: Path, wanted: Wanted) -> Sequence[Range]:
    """Where the period's events are. `folder` holds the counts of arrivals."""
    found = []
    for reader in readers:
        bounds = reader.bounds()
        first, end = _places(folder, reader.partition, minute_of(wanted.since), minute_of(wanted.until))
        end = min(bounds.next if end is None else end, bounds.next)
        first = max(bounds.first, bounds.first if first is None else first)
        if first < end:
            found.append(Range(reader.partition, first, end))
    return found


def _places(folder: Path, partition: int, since: int, until: int) -> tuple[int | None, int | None]:
    """Offsets before and behind the minutes, as far as they are known."""
    file = folder / FILE
    if not file.exists():
        return None, None
    with reading(file) as arrivals:
        first = arrivals.execute(
            "SELECT first FROM places WHERE partition = ? AND minute <= ? ORDER BY minute DESC LIMIT 1",
            (partition, since - SLACK_MINUTES),
        ).fetchone()
        end = arrivals.execute(
            "SELECT min(first) FROM places WHERE partition = ? AND minute > ?", (partition, until + SLACK_MINUTES)
        ).fetchone()
    return (first[0] if first else None), end[0]


def notes(wanted: Wanted, added_at: datetime, retention_days: float, now: datetime) -> Sequence[str]:
    """Outcomes are forgotten after a while, and what was delivered then looks as if it never had been."""
    known_from = now - timedelta(days=retention_days)
    if wanted.outcome == "any" or wanted.since >= _ms(known_from) or known_from <= added_at:
        return ()
    return (
        f"outcomes are known from {known_from:%Y-%m-%d %H:%M}Z on (delivery.retention_days); of events received before, the outcome is taken to be never",
    )


class Surroundings(msgspec.Struct, frozen=True):
    """What decides whether a replay gets on. `state` and `error` are what delivery last said of the destination."""

    slug: str
    is_served: bool
    paused: bool
    disabled: str | None
    state: Mapping[str, Any] | None = None
    before: int | None = None
    """The number of a replay that comes first."""


def shown(replay: Replay, place: Surroundings, failures: Mapping[str, int]) -> ReplayShown:
    wanted = replay.wanted
    return ReplayShown(
        replay.id,
        replay.state,
        _in_words(replay, place),
        replay.total,
        replay.passed,
        replay.delivered,
        replay.filtered,
        replay.failed,
        _time(replay.created_at),
        _time(replay.changed_at),
        _time(wanted.since),
        _time(wanted.until),
        wanted.sources,
        wanted.events,
        wanted.types,
        wanted.outcome,
        replay.detail,
        failures,
    )


def _in_words(replay: Replay, place: Surroundings) -> str:
    if replay.state in ENDED:
        return f"{replay.state}: {replay.detail}" if replay.detail else replay.state
    order = f"headrace replay {{}} {place.slug} {replay.id}"
    if replay.state == "paused":
        return f"paused; it goes on with: {order.format('resume')}"
    waits = _why_it_waits(place)
    if waits:
        return f"waits: {waits}"
    if replay.state == "ordered":
        return "begins in a moment"
    return f"running; {replay.detail}" if replay.detail else "running"


def _why_it_waits(place: Surroundings) -> str:
    if place.disabled is not None:
        return f"the destination was switched off ({place.disabled}); {_CONFIGURED} resume {place.slug}"
    if place.paused:
        return f"the destination is paused; {_CONFIGURED} resume {place.slug}"
    if not place.is_served:
        return "no server runs; it goes on once one does: headrace serve"
    if place.before is not None:
        return f"replay {place.before} comes first"
    state = place.state or {}
    if state.get("state") in ("waiting", "failing"):
        return f"nothing gets through to the tool now ({state.get('error') or 'see headrace delivery show'})"
    return ""


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)
