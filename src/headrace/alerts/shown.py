"""How alerts and their channels are told: settings with secrets masked, what holds now, and what could not be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from headrace.alerts.channels import CHANNELS
from headrace.alerts.conditions import CONDITIONS
from headrace.alerts.kept import State
from headrace.catalog import in_force
from headrace.workspace.alerts import Alert, Channel

AlertState = Literal["paused", "unknown", "error", "holds", "waits", "well"]
"""unknown: no server has looked lately. error: it cannot be checked. waits: it holds, but not long enough to be told."""


class Holding(msgspec.Struct, frozen=True):
    """A subject that is not well. `told_at` is None while nobody has been told."""

    subject: str
    since: datetime
    told_at: datetime | None
    title: str
    what: str
    usual: str
    remedy: str
    look: str


class AlertShown(msgspec.Struct, frozen=True, kw_only=True):
    """`settings` are those that were given, `in_force` the same with the defaults."""

    slug: str
    nickname: str
    condition: str
    state: AlertState
    paused: bool
    channels: Sequence[str]
    settings: Mapping[str, Any]
    in_force: Mapping[str, Any]
    created_at: datetime
    checked_at: datetime | None
    error: str | None
    holds: Sequence[Holding]


class ChannelShown(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets are masked in `settings` and `in_force`. `waiting` notices have not been taken yet, `lost` ones were given up; `error` is why the
    last attempt failed."""

    slug: str
    nickname: str
    kind: str
    settings: Mapping[str, Any]
    in_force: Mapping[str, Any]
    created_at: datetime
    waiting: int
    lost: int
    error: str | None
    failing_since: datetime | None
    sent_at: datetime | None


def alert_shown(alert: Alert, state: State | None) -> AlertShown:
    """`state` is what the server wrote down at its last look; None where none has looked."""
    return AlertShown(
        slug=alert.slug,
        nickname=alert.nickname,
        condition=alert.kind,
        state=state_of(alert, state),
        paused=alert.paused,
        channels=alert.channels,
        settings=alert.settings,
        in_force=in_force(_declared(CONDITIONS, alert.kind), alert.settings),
        created_at=alert.created_at,
        checked_at=state.checked_at if state else None,
        error=state.errors.get(alert.slug) if state else None,
        holds=[
            Holding(
                subject,
                one.since,
                one.told_at,
                one.finding.title,
                one.finding.what,
                one.finding.usual,
                one.finding.remedy,
                one.finding.look,
            )
            for subject, one in (state.lasting.get(alert.slug, {}) if state else {}).items()
        ],
    )


def state_of(alert: Alert, state: State | None) -> AlertState:
    if alert.paused:
        return "paused"
    if state is None or state.checked_at is None or state.checked_at < alert.created_at or _is_old(state.checked_at):
        return "unknown"
    if alert.slug in state.errors:
        return "error"
    lasting = state.lasting.get(alert.slug, {}).values()
    if any(one.told_at for one in lasting):
        return "holds"
    return "waits" if lasting else "well"


def _is_old(checked_at: datetime) -> bool:
    """A server that runs writes down every five minutes that it has looked."""
    return datetime.now(UTC) - checked_at > timedelta(minutes=15)


def channel_shown(channel: Channel, state: State | None) -> ChannelShown:
    trouble = state.troubles.get(channel.slug) if state else None
    return ChannelShown(
        slug=channel.slug,
        nickname=channel.nickname,
        kind=channel.kind,
        settings=channel.settings,
        in_force=in_force(_declared(CHANNELS, channel.kind), channel.settings),
        created_at=channel.created_at,
        waiting=sum(1 for waiting in state.waiting if waiting.channel == channel.slug) if state else 0,
        lost=trouble.lost if trouble else 0,
        error=(trouble.error or None) if trouble else None,
        failing_since=trouble.since if trouble else None,
        sent_at=trouble.sent_at if trouble else None,
    )


def _declared(kinds: Mapping[str, Any], kind: str) -> type[msgspec.Struct] | None:
    return kinds[kind].Settings if kind in kinds else None
