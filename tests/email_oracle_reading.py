"""Rows of event tables -> what they say about e-mail and people: the first step of the oracle of the e-mail model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from headrace.reports.model.kinds import KINDS, Kind
from headrace.reports.model.settings import Goal, ModelSettings
from headrace.reports.place import MailSource
from oracle import identifier

Row = Mapping[str, Any]
Rows = Mapping[tuple[str, str], Sequence[Row]]
"""By schema and table, as the warehouse holds them."""

ADDRESS: Final = re.compile(r"[^@ ]+@[^@ ]+")
DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
BOUNCE_TYPES: Final = {
    "hard": "hard",
    "permanent": "hard",
    "soft": "soft",
    "transient": "soft",
    "temporary": "soft",
    "block": "block",
    "blocked": "block",
}
WORDS_FOR_TRUE: Final = ("true", "t", "yes", "y", "1")
LINKS: Final = ("link_id", "link_url", "link_name")
TEST_FLAGS: Final = ("test_send", "is_test")


@dataclass(frozen=True)
class Who:
    """Whom a row names. All but the user id in small letters."""

    user_id: str | None
    address: str | None
    anonymous_id: str | None
    digest: str | None

    @property
    def recipient(self) -> str | None:
        return self.user_id or self.address or self.anonymous_id


@dataclass(frozen=True)
class Told:
    """An e-mail event as its row tells it; `platform_id` is the property message_id."""

    id: str
    source: str
    campaign_id: str
    email_id: str
    journey_id: str | None
    platform_id: str | None
    kind: str
    happened_at: datetime
    received_at: datetime
    who: Who
    recipient: str
    campaign_name: str | None
    email_subject: str | None
    list_id: str | None
    link: str | None
    link_url: str | None
    bounce_type: str | None
    bounce_code: str | None
    bounce_reason: str | None
    machine_open: bool | None
    user_agent: str | None
    ip: str | None
    is_test: bool


@dataclass(frozen=True)
class Evidence:
    """That an alias and a target are one person."""

    alias: str
    target: str
    happened_at: datetime
    is_user: bool
    """The target is a user id."""


@dataclass(frozen=True)
class Success:
    """A row of a goal's event."""

    goal: str
    id: str
    source: str
    order_id: str | None
    happened_at: datetime
    received_at: datetime
    recipient: str
    value: Decimal | None


def text(row: Row, column: str) -> str | None:
    """What is empty is not there."""
    value = row.get(column)
    if value is None:
        return None
    words = str(value).lower() if isinstance(value, bool) else str(value)
    return words or None


def truth(row: Row, column: str) -> bool | None:
    value = row.get(column)
    if value is None or isinstance(value, bool):
        return value
    return value.lower() in WORDS_FOR_TRUE if isinstance(value, str) else value != 0


def money(row: Row, column: str) -> Decimal | None:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,13}([.][0-9]+)?", value):
        return None
    amount = Decimal(str(value))
    if not amount.is_finite() or abs(amount) >= 10**14:
        return None
    return amount.quantize(Decimal("0.0001"), rounding="ROUND_HALF_UP")


def small(value: str | None) -> str | None:
    return None if value is None else value.lower()


def stripped(address: str | None) -> str | None:
    """A blank address is none."""
    return None if address is None else address.strip(" ") or None


def who(row: Row) -> Who:
    user_id, anonymous_id = text(row, "user_id"), text(row, "anonymous_id")
    told = stripped(text(row, "context_traits_email")) or stripped(text(row, "email"))
    like_one = [name for name in (anonymous_id, user_id) if name and ADDRESS.fullmatch(name)]
    address = told or (like_one[0] if like_one else None)
    digest = text(row, "context_traits_email_sha256") or text(row, "email_sha256")
    return Who(user_id, small(address), small(anonymous_id), small(digest))


def moment(row: Row) -> datetime:
    found: datetime = row.get("timestamp") or row["received_at"]
    return found


def mail_tables(
    rows: Rows, sources: Sequence[MailSource], email_sources: Sequence[str]
) -> Iterator[tuple[str, Kind, Sequence[Row]]]:
    """(schema, kind, rows) of each table of e-mail events."""
    for source in sources:
        for table, kind in KINDS.items():
            if kind.everywhere or source.is_email or source.slug in email_sources:
                yield source.schema, kind, rows.get((source.schema, table), ())


def mail_events(rows: Rows, sources: Sequence[MailSource], email_sources: Sequence[str]) -> list[Told]:
    """Repeats among them."""
    tables = mail_tables(rows, sources, email_sources)
    told = (event(schema, kind, row) for schema, kind, found in tables for row in found)
    return [one for one in told if one is not None]


def event(source: str, kind: Kind, row: Row) -> Told | None:
    """None where nobody is named."""
    named = who(row)
    if named.recipient is None:
        return None
    name = kind.kind
    if kind.may_be_temporary and (text(row, "severity") or "").lower() == "temporary":
        name = "deferred"
    links = [link for link in (text(row, column) for column in LINKS) if link is not None]
    is_click, is_bounce, is_seen = name == "clicked", name == "bounced", name in ("opened", "clicked")
    return Told(
        id=row["id"],
        source=source,
        campaign_id=text(row, "campaign_id") or "",
        email_id=text(row, "email_id") or "",
        journey_id=text(row, "journey_id"),
        platform_id=text(row, "message_id"),
        kind=name,
        happened_at=moment(row),
        received_at=row["received_at"],
        who=named,
        recipient=named.recipient,
        campaign_name=text(row, "campaign_name"),
        email_subject=text(row, "email_subject"),
        list_id=text(row, "list_id"),
        link=(links[0] if links else "") if is_click else None,
        link_url=text(row, "link_url") if is_click else None,
        bounce_type=bounce_type(kind, row) if is_bounce else None,
        bounce_code=text(row, "bounce_code") if is_bounce else None,
        bounce_reason=text(row, "bounce_reason") if is_bounce else None,
        machine_open=machine_open(kind, row),
        user_agent=text(row, "context_user_agent") if is_seen else None,
        ip=text(row, "context_ip") if is_seen else None,
        is_test=any(truth(row, flag) for flag in TEST_FLAGS) or row.get("test") is True,
    )


def bounce_type(kind: Kind, row: Row) -> str:
    return BOUNCE_TYPES.get((text(row, "bounce_type") or "").lower(), kind.bounce_type or "unknown")


def machine_open(kind: Kind, row: Row) -> bool | None:
    if kind.kind != "opened":
        return None
    return True if kind.machine else truth(row, "machine_open")


def evidence(rows: Rows, sources: Sequence[MailSource], email_sources: Sequence[str]) -> list[Evidence]:
    """All of it, repeated and contradicting pieces too."""
    telling = telling_rows(rows, sources, email_sources)
    found = [one for row in telling for one in evidence_of(row)]
    for source in sources:
        found += [one for row in rows.get((source.schema, "aliases"), ()) for one in evidence_of_alias(row)]
    return [one for one in found if one.alias != one.target]


def telling_rows(rows: Rows, sources: Sequence[MailSource], email_sources: Sequence[str]) -> list[Row]:
    """E-mail events and identifies."""
    tables = [told for _, _, told in mail_tables(rows, sources, email_sources)]
    tables += [rows.get((source.schema, "identifies"), ()) for source in sources]
    return [row for table in tables for row in table]


def digests(rows: Rows, sources: Sequence[MailSource], settings: ModelSettings) -> list[Evidence]:
    """That addresses are known by their digests, too; where nobody is named by a digest nobody looks for them."""
    telling = telling_rows(rows, sources, settings.email_sources)
    named = [name for row in telling for name in (who(row).user_id, who(row).anonymous_id) if name]
    named += [one.recipient for one in successes(rows, sources, settings.goals)]
    is_told = any(who(row).digest for row in telling) or any(DIGEST.fullmatch(name) for name in named)
    addresses = [(who(row).address, moment(row)) for row in telling] if is_told else []
    return [Evidence(sha256(name), name, when, is_user=False) for name, when in addresses if name is not None]


def evidence_of(row: Row) -> Iterator[Evidence]:
    named, when = who(row), moment(row)
    user_id, address = named.user_id, named.address
    other_id = named.anonymous_id if named.anonymous_id != address else None
    if user_id is not None:
        for alias in (address, other_id, named.digest):
            if alias is not None:
                yield Evidence(alias, user_id, when, is_user=True)
    elif address is not None and other_id is not None:
        yield Evidence(other_id, address, when, is_user=False)


def evidence_of_alias(row: Row) -> Iterator[Evidence]:
    previous_id, user_id = text(row, "previous_id"), text(row, "user_id")
    if previous_id is not None and user_id is not None:
        for alias in {previous_id, previous_id.lower()}:
            yield Evidence(alias, user_id, moment(row), is_user=True)


def sha256(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()


def successes(rows: Rows, sources: Sequence[MailSource], goals: Sequence[Goal]) -> list[Success]:
    """Repeats among them."""
    found = []
    for goal in goals:
        for source in sources:
            if goal.source in (None, source.slug):
                told = rows.get((source.schema, identifier(goal.event)), ())
                found += [success for row in told if (success := success_of(goal, source.schema, row))]
    return found


def success_of(goal: Goal, schema: str, row: Row) -> Success | None:
    recipient = who(row).recipient
    if recipient is None:
        return None
    order_ids = [told for told in (text(row, name) for name in goal.key) if told is not None]
    values = [amount for amount in (money(row, name) for name in goal.value) if amount is not None]
    return Success(
        goal=goal.name,
        id=row["id"],
        source=schema,
        order_id=order_ids[0] if order_ids else None,
        happened_at=moment(row),
        received_at=row["received_at"],
        recipient=recipient,
        value=values[0] if values else None,
    )
