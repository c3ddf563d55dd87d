"""Lines of cases -> events as they are sent, and as rows, for tests of the e-mail model."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from email_oracle import Row
from headrace.event import Event, EventType
from headrace.loader.paths import column_base
from headrace.loader.rows import rows
from headrace.loader.standard import standard_columns
from headrace.reports.place import MailSource
from made_events import START, made

SOURCES: Final = (
    MailSource("mail", "mail", is_email=True),
    MailSource("news", "news", is_email=True),
    MailSource("shop", "shop", is_email=False),
)
HASHED: Final = "sha256:"
_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_ENVELOPE: Final = {"anonymous": "anonymous_id", "previous": "previous_id", "id": "message_id"}
_CONTEXT: Final = {"agent": "userAgent", "ip": "ip"}
_MARKED: Final = ("campaign_id", "order_id", "property.email", *_ENVELOPE, "email", "digest")
_TRAITS: Final = {"email": "email", "digest": "email_sha256"}


def seconds(when: float | str) -> float:
    """300, or `2d 3h -5s`."""
    if not isinstance(when, str):
        return when
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(-?[0-9.]+)([dhms])", when))


def moment(when: float | str) -> datetime:
    return START + timedelta(seconds=seconds(when))


def event_of(number: int, line: Sequence[Any], mark: str = "", source_mark: str = "") -> Event:
    """A line of a case: [name, user id or null, when, {what else it tells}]. What is neither `source`, `received` nor a name of
    the envelope or the context is a property, as is `property.NAME`; e-mail events have a campaign and an e-mail unless they tell others.

    `mark` is put before all that tells people, campaigns, orders and events apart, `source_mark` behind the source, so that lines of several
    cases have nothing to do with each other."""
    name, user_id, when, *more = line
    type_ = cast("EventType", name if name in ("identify", "alias", "page") else "track")
    is_mail = type_ == "track" and not name.startswith(("Order", "order"))
    told = {"campaign_id": "1", "email_id": "11"} if is_mail else {}
    told |= more[0] if more else {}
    slug = told.pop("source", "mail" if is_mail else "shop")
    received = told.pop("received", seconds(when) + 1)
    told = {key: _digested(_marked(value, mark) if key in _MARKED else value) for key, value in told.items()}
    envelope = {_ENVELOPE[key]: told.pop(key) for key in list(told) if key in _ENVELOPE}
    context: dict[str, Any] = {_CONTEXT[key]: told.pop(key) for key in list(told) if key in _CONTEXT}
    traits = {_TRAITS[key]: told.pop(key) for key in list(told) if key in _TRAITS}
    if traits:
        context["traits"] = traits
    return made(
        envelope.pop("message_id", f"{mark}e{number:03}"),
        type_,
        {key.removeprefix("property."): value for key, value in told.items()},
        context,
        at=seconds(received),
        source=slug + source_mark,
        timestamp=moment(when),
        user_id=_marked(user_id, mark),
        **envelope,
        **({"event": name} if type_ == "track" else {}),
    )


def _marked(value: Any, mark: str) -> Any:
    """Blank ones stay as they are, what is hashed is marked before."""
    if not isinstance(value, str) or not value.strip():
        return value
    return HASHED + mark + value.removeprefix(HASHED) if value.startswith(HASHED) else mark + value


def _digested(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(HASHED):
        return hashlib.sha256(value.removeprefix(HASHED).encode()).hexdigest()
    return value


def events_of(lines: Iterable[Sequence[Any]], mark: str = "", source_mark: str = "") -> list[Event]:
    return [event_of(number, line, mark, source_mark) for number, line in enumerate(lines, 1)]


def rows_of(events: Iterable[Event]) -> dict[tuple[str, str], list[Row]]:
    """As they stand in tables of events whose columns take any value; of events with the same id the first."""
    tables: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for event in {(event.source, event.message_id): event for event in reversed(list(events))}.values():
        for row in rows(event):
            standard = zip(standard_columns(row.table), row.standard, strict=True)
            leaves = ((column_base(path), value) for path, value in row.leaves.items())
            tables[event.source, row.table].append({**dict(standard), **dict(leaves)})
    return tables
