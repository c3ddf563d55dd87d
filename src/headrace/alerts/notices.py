"""What is told, in words for people and in JSON for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from headrace.alerts import quiet
from headrace.alerts.base import Finding
from headrace.alerts.lasting import Told
from headrace.alerts.spans import moment, span

SHOWN_PARTS: Final = 20
"""A text tells so many at the most, and how many more there are; JSON has all of them."""
_CHARACTERS: Final = 1_000
_PREFIX: Final[Mapping[Told, str]] = {"lasts": "Still: ", "test": "Test: "}


class Part(msgspec.Struct, frozen=True):
    """One subject of one alert. `until` is when it was well again, None while it lasts."""

    alert: str
    nickname: str
    condition: str
    told: Told
    finding: Finding
    since: datetime
    until: datetime | None = None
    time_zone: str = "UTC"


class Notice(msgspec.Struct, frozen=True):
    """What one channel is told at once. `id` stays the same when it is sent again."""

    id: str
    created_at: datetime
    parts: Sequence[Part]


def subject(notice: Notice) -> str:
    """One line."""
    first = headline(notice.parts[0])
    more = len(notice.parts) - 1
    return f"headrace: {first}{f' (and {more} more)' if more else ''}"


def headline(part: Part) -> str:
    return _PREFIX.get(part.told, "") + one_line(part.finding.title, 200)


def text(notice: Notice) -> str:
    """Plain text: a block of lines for each part."""
    blocks = ["\n".join([headline(part), *lines(part, notice.created_at)]) for part in notice.parts[:SHOWN_PARTS]]
    return "\n\n".join([*blocks, *_rest(notice)]) + "\n"


def slack_text(notice: Notice) -> str:
    """The same in Slack's own form of text (https://docs.slack.dev/messaging/formatting-message-text)."""
    blocks = [
        "\n".join([f"*{_escaped(headline(part)).replace('*', '∗')}*", *map(_escaped, lines(part, notice.created_at))])
        for part in notice.parts[:SHOWN_PARTS]
    ]
    return "\n\n".join([*blocks, *_rest(notice)])


def _rest(notice: Notice) -> list[str]:
    more = len(notice.parts) - SHOWN_PARTS
    return [f"And {more} more; see: headrace alert list"] if more > 0 else []


def _escaped(line: str) -> str:
    """Nothing that stands in a name or an error can call anybody or make a link."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def lines(part: Part, now: datetime) -> list[str]:
    """What, since when, against what is usual, what to do, where to look."""
    finding = part.finding
    told = [one_line(finding.what), _when(part, now), one_line(finding.usual)]
    if finding.remedy:
        told.append(f"What to do: {one_line(finding.remedy)}")
    if finding.look:
        told.append(f"Look: {one_line(finding.look)}")
    name = part.alert if part.alert == part.nickname else f"{one_line(part.nickname, 100)}, {part.alert}"
    return [line for line in [*told, f"Alert: {name}"] if line]


def _when(part: Part, now: datetime) -> str:
    zone = quiet.zone(part.time_zone)
    if part.told == "test":
        return ""
    if part.until is None:
        return f"Since {moment(part.since, zone)} ({span((now - part.since).total_seconds())})."
    lasted = span((part.until - part.since).total_seconds())
    return f"It lasted {lasted}: from {moment(part.since, zone)} to {moment(part.until, zone)}."


def one_line(foreign: str, characters: int = _CHARACTERS) -> str:
    """Foreign text without line breaks and unprintable characters, and not endless."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in foreign).split())
    return plain if len(plain) <= characters else f"{plain[: characters - 1]}…"


def as_json(notice: Notice) -> dict[str, Any]:
    """What a webhook gets; docs/alerts.md describes it."""
    return {
        "type": "headrace.alert",
        "id": notice.id,
        "created_at": notice.created_at.isoformat(),
        "text": text(notice),
        "alerts": [_part_json(part) for part in notice.parts],
    }


def _part_json(part: Part) -> dict[str, Any]:
    finding = part.finding
    return {
        "alert": part.alert,
        "nickname": part.nickname,
        "condition": part.condition,
        "state": part.told,
        "subject": finding.subject,
        "title": one_line(finding.title, 200),
        "what": one_line(finding.what),
        "usual": one_line(finding.usual),
        "what_to_do": one_line(finding.remedy),
        "look": one_line(finding.look),
        "since": part.since.isoformat(),
        "until": part.until.isoformat() if part.until else None,
        "lasted_seconds": (part.until - part.since).total_seconds() if part.until else None,
        "figures": dict(finding.figures),
    }
