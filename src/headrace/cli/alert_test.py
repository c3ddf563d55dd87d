"""A test notice, sent from the command line itself: no server is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import typer

from headrace.cli.output import plain, print_json, print_line

if TYPE_CHECKING:
    from headrace.alerts.base import Finding
    from headrace.alerts.notices import Part
    from headrace.config import Config
    from headrace.workspace.alerts import Alert, Channel, WorkspaceAlerts


class Tried(NamedTuple):
    channel: str
    ok: bool
    code: str
    text: str


def of_alert(alert: Alert) -> Part:
    from headrace.alerts import conditions  # noqa: PLC0415 - --help needs none of it
    from headrace.alerts.notices import Part  # noqa: PLC0415 - as above

    zone = conditions.configured(alert.kind, alert.settings).settings.time_zone
    summary = conditions.condition(alert.kind).summary
    finding = _finding(f"the alert {alert.nickname} reaches you", summary, f"headrace alert show {alert.slug}")
    return Part(alert.slug, alert.nickname, alert.kind, "test", finding, datetime.now(UTC), time_zone=zone)


def of_channel(channel: Channel) -> Part:
    from headrace.alerts.notices import Part  # noqa: PLC0415 - --help needs none of it

    look = f"headrace alert channel show {channel.slug}"
    finding = _finding(f"the channel {channel.nickname} works", "No alert is meant by it.", look)
    return Part("test", "test", "", "test", finding, datetime.now(UTC))


def _finding(title: str, what: str, look: str) -> Finding:
    from headrace.alerts.base import Finding  # noqa: PLC0415 - --help needs none of it

    return Finding("test", "good", title=title, what=f"Nothing is wrong, this is only a test. {what}", look=look)


def tried(chosen: Config, alerts: WorkspaceAlerts, told: Sequence[Channel], part: Part) -> list[Tried]:
    """Sends the part to each of the channels, one after the other."""
    from headrace.alerts.alerts import attempt  # noqa: PLC0415 - --help needs none of it
    from headrace.alerts.notices import Notice  # noqa: PLC0415 - as above
    from headrace.alerts.outside import outside  # noqa: PLC0415 - as above

    found = []
    for channel in told:
        notice = Notice(f"alert_{uuid4().hex}", datetime.now(UTC), (part,))
        result, error = attempt(alerts, channel, notice, outside(chosen))
        found.append(Tried(channel.slug, result.outcome == "delivered", result.code, error))
    return found


def answer(found: Sequence[Tried], *, as_json: bool) -> None:
    """Raises typer.Exit where one failed."""
    if as_json:
        print_json([one._asdict() for one in found])
    else:
        for one in found:
            print_line(f"{'ok' if one.ok else 'failed':<6}  {one.channel}  {plain(one.text)}".rstrip())
    if not all(one.ok for one in found):
        raise typer.Exit(1)
