"""How alerts and their channels are shown: settings in force with secrets masked, what holds now, and what could not be sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.cli.kind_shown import as_text, in_force
from headrace.cli.output import plain, print_fields, print_line

if TYPE_CHECKING:
    import msgspec

    from headrace.alerts.kept import State
    from headrace.workspace.alerts import Alert, Channel


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else "-"


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _is_old(checked_at: datetime) -> bool:
    """A server that runs writes down every five minutes that it has looked."""
    return datetime.now(UTC) - checked_at > timedelta(minutes=15)


def _declared(kinds: Mapping[str, Any], kind: str) -> type[msgspec.Struct] | None:
    return kinds[kind].Settings if kind in kinds else None


def condition_of(alert: Alert, state: State | None) -> str:
    """In a word: paused, unknown (no server has looked lately), error, holds, waits (holds, but not long enough to be told) or well."""
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


def alert_described(alert: Alert, state: State | None) -> dict[str, Any]:
    """For programs."""
    from headrace.alerts.conditions import CONDITIONS  # noqa: PLC0415 - --help needs none of it

    return {
        "slug": alert.slug,
        "nickname": alert.nickname,
        "condition": alert.kind,
        "state": condition_of(alert, state),
        "paused": alert.paused,
        "channels": list(alert.channels),
        "settings": in_force(_declared(CONDITIONS, alert.kind), alert.settings),
        "created_at": alert.created_at.isoformat(),
        "checked_at": _iso(state.checked_at) if state else None,
        "error": state.errors.get(alert.slug) if state else None,
        "holds": [
            {
                "subject": subject,
                "since": one.since.isoformat(),
                "told_at": _iso(one.told_at),
                "title": one.finding.title,
                "what": one.finding.what,
                "usual": one.finding.usual,
                "look": one.finding.look,
            }
            for subject, one in (state.lasting.get(alert.slug, {}) if state else {}).items()
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
    from headrace.alerts.channels import CHANNELS  # noqa: PLC0415 - --help needs none of it

    trouble = state.troubles.get(channel.slug) if state else None
    return {
        "slug": channel.slug,
        "nickname": channel.nickname,
        "kind": channel.kind,
        "settings": in_force(_declared(CHANNELS, channel.kind), channel.settings),
        "created_at": channel.created_at.isoformat(),
        "waiting": sum(1 for waiting in state.waiting if waiting.channel == channel.slug) if state else 0,
        "lost": trouble.lost if trouble else 0,
        "error": (trouble.error or None) if trouble else None,
        "failing_since": _iso(trouble.since) if trouble else None,
        "sent_at": _iso(trouble.sent_at) if trouble else None,
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
