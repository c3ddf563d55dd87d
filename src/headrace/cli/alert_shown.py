"""How alerts and their channels are shown: settings in force with secrets masked, what holds now, and what could not be sent."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.cli.kind_shown import as_text
from headrace.cli.output import plain, print_fields, print_line

if TYPE_CHECKING:
    from headrace.alerts.kept import State
    from headrace.workspace.alerts import Alert, Channel


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else "-"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def alert_described(alert: Alert, state: State | None) -> dict[str, Any]:
    """For programs."""
    from headrace.alerts.shown import alert_shown  # noqa: PLC0415 - --help needs none of it

    shown = alert_shown(alert, state)
    return {
        "slug": shown.slug,
        "nickname": shown.nickname,
        "condition": shown.condition,
        "state": shown.state,
        "paused": shown.paused,
        "channels": list(shown.channels),
        "settings": dict(shown.in_force),
        "created_at": shown.created_at.isoformat(),
        "checked_at": _iso(shown.checked_at),
        "error": shown.error,
        "holds": [
            {
                "subject": one.subject,
                "since": one.since.isoformat(),
                "told_at": _iso(one.told_at),
                "title": one.title,
                "what": one.what,
                "usual": one.usual,
                "look": one.look,
            }
            for one in shown.holds
        ],
    }


def print_alert(alert: Alert, state: State | None) -> None:
    shown = alert_described(alert, state)
    print_fields(
        {
            "slug": alert.slug,
            "nickname": alert.nickname,
            "condition": alert.kind,
            "state": shown["state"],
            "channels": ", ".join(alert.channels),
            "added": _time(alert.created_at),
            "last look": _time(state.checked_at) if state else "no server has looked yet",
            **{name: as_text(value) for name, value in shown["settings"].items()},
        }
    )
    if shown["error"]:
        print_line(f"\nIt cannot be checked: {plain(shown['error'])}")
    for one in shown["holds"]:
        told = f"told at {one['told_at']}" if one["told_at"] else "not told yet"
        print_line(f"\n{plain(one['title'])} (since {one['since']}, {told})")
        for text in (one["what"], one["usual"], one["look"]):
            if text:
                print_line(f"  {plain(text)}")


def channel_described(channel: Channel, state: State | None) -> dict[str, Any]:
    """For programs. Secret settings are masked."""
    from headrace.alerts.shown import channel_shown  # noqa: PLC0415 - --help needs none of it

    shown = channel_shown(channel, state)
    return {
        "slug": shown.slug,
        "nickname": shown.nickname,
        "kind": shown.kind,
        "settings": dict(shown.in_force),
        "created_at": shown.created_at.isoformat(),
        "waiting": shown.waiting,
        "lost": shown.lost,
        "error": shown.error,
        "failing_since": _iso(shown.failing_since),
        "sent_at": _iso(shown.sent_at),
    }


def print_channel(channel: Channel, state: State | None) -> None:
    shown = channel_described(channel, state)
    fields = {name: shown[name] for name in ("slug", "nickname", "kind", "waiting", "lost", "sent_at")}
    print_fields(
        {
            **{name: "-" if value is None else value for name, value in fields.items()},
            **{name: as_text(value) for name, value in shown["settings"].items()},
        }
    )
    if shown["error"]:
        since = f" since {shown['failing_since']}" if shown["failing_since"] else ""
        print_line(f"\nThe last attempt failed{since}: {plain(shown['error'])}")
