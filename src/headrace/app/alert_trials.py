"""Test notices: sent from wherever they are asked for, with and without a running server; nothing of them is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headrace.alerts import conditions
from headrace.alerts.alerts import attempt, attempt_with
from headrace.alerts.base import Finding
from headrace.alerts.notices import Notice, Part
from headrace.alerts.outside import outside
from headrace.console.alerts import NoticeTried

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.destinations.base import Result
    from headrace.workspace.alerts import Alert, Channel, WorkspaceAlerts


def of_alert(alert: Alert) -> Part:
    zone = conditions.configured(alert.kind, alert.settings).settings.time_zone
    summary = conditions.condition(alert.kind).summary
    finding = _finding(f"the alert {alert.nickname} reaches you", summary, f"headrace alert show {alert.slug}")
    return Part(alert.slug, alert.nickname, alert.kind, "test", finding, datetime.now(UTC), time_zone=zone)


def of_channel(nickname: str, slug: str) -> Part:
    finding = _finding(
        f"the channel {nickname} works", "No alert is meant by it.", f"headrace alert channel show {slug}"
    )
    return Part("test", "test", "", "test", finding, datetime.now(UTC))


def _finding(title: str, what: str, look: str) -> Finding:
    return Finding("test", "good", title=title, what=f"Nothing is wrong, this is only a test. {what}", look=look)


def tried(config: Config, alerts: WorkspaceAlerts, told: Sequence[Channel], part: Part) -> list[NoticeTried]:
    """Sends the part to each of the channels, one after the other."""
    return [_tried(channel.slug, *attempt(alerts, channel, _notice(part), outside(config))) for channel in told]


def tried_unsaved(
    config: Config, kind: str, slug: str, settings: Mapping[str, Any], secrets: Mapping[str, Any]
) -> NoticeTried:
    """Settings in clear that may not be saved; `secrets` are the secret ones of them."""
    notice = _notice(of_channel("that you try", slug))
    return _tried(slug, *attempt_with(kind, settings, secrets, notice, outside(config)))


def _notice(part: Part) -> Notice:
    return Notice(f"alert_{uuid4().hex}", datetime.now(UTC), (part,))


def _tried(slug: str, result: Result, error: str) -> NoticeTried:
    return NoticeTried(slug, result.outcome == "delivered", result.code, error)
