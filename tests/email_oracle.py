"""The e-mail model worked out from its definitions alone, from the rows of event tables: slow and obviously right.

Rows are those of the tables of the schema `email` without the numbers that are keys, since these differ from engine to engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import email_oracle_figures as figures
from email_oracle_messages import Definitions, Mail, People, mails, messages
from email_oracle_reading import Rows, digests, evidence, mail_events, successes
from headrace.reports.model.schema import TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource

Row = dict[str, Any]

COMPARED: Final = (
    "identities",
    "events",
    "messages",
    "conversions",
    "attribution",
    "campaigns",
    "campaign_sends",
    "campaigns_daily",
    "links",
    "domains",
    "recipients",
    "engagement_curve",
    "list_health",
    "quality",
)
COUNTING: Final = frozenset(COMPARED[COMPARED.index("campaigns") :]) - {"recipients"}
"""Tables of figures: a row whose figures are all 0 is none."""
DEFINITIONS: Final = Definitions()


def tables(
    rows: Rows, sources: Sequence[MailSource], settings: ModelSettings, definitions: Definitions = DEFINITIONS
) -> dict[str, list[Row]]:
    """Rows by table, for the tables of COMPARED."""
    told = mail_events(rows, sources, settings.email_sources)
    known = evidence(rows, sources, settings.email_sources) + digests(rows, sources, settings)
    people = People(known, definitions.steps_to_a_person)
    all_mails = mails(told, people, settings.active_rules(), definitions)
    all_messages = messages(all_mails, definitions)
    converted = figures.conversions(successes(rows, sources, settings.goals), people)
    attributed = figures.attribution(converted, all_messages, settings.goals, definitions)
    counting = [m for m in all_messages if not (m["is_test"] and definitions.test_sends_are_left_out)]
    first_goal = settings.goals[0].name if settings.goals else None
    orders = [row for row in attributed if row["model"] == "last" and row["goal"] == first_goal]
    found = {
        "identities": people.rows(),
        "events": [event_row(mail) for mail in all_mails],
        "messages": [dict(message.row) for message in all_messages],
        "conversions": converted,
        "attribution": attributed,
        "campaigns": list(figures.campaigns(counting, orders, figures.names(told))),
        "campaign_sends": list(figures.campaign_sends(counting, orders)),
        "campaigns_daily": list(figures.campaigns_daily(counting, orders)),
        "links": list(figures.links(counting)),
        "domains": list(
            figures.by({name: figures.column(name) for name in ("campaign_id", "domain")}, counting, orders)
        ),
        "recipients": list(figures.recipients(counting)),
        "engagement_curve": list(figures.engagement_curve(counting)),
        "list_health": list(figures.list_health(counting, all_mails)),
        "quality": list(figures.quality(all_mails)),
    }
    return {table: [row for row in rows if is_told(table, row)] for table, rows in found.items()}


def is_told(table: str, row: Row) -> bool:
    counts = [
        name for name, of in TABLES[table].columns.items() if of.type is Type.COUNT and name not in TABLES[table].key
    ]
    return table not in COUNTING or any(row[name] for name in counts)


def event_row(mail: Mail) -> Row:
    told = mail.told
    columns = {name: value for name, value in vars(told).items() if name in TABLES["events"].columns}
    return {
        **columns,
        "recipient_key": mail.person,
        "is_matched": mail.is_matched,
        "has_user_id": told.who.user_id is not None,
        "platform_message_id": told.platform_id,
        "email": told.who.address,
        "link": told.link or None,
        "send_number": mail.send_number,
        "is_machine": bool(mail.machine_reasons),
        "machine_reasons": ",".join(mail.machine_reasons) or None,
    }


def comparable(table: str) -> list[str]:
    """The columns of a table that are no numbers of keys."""
    return [name for name, of in TABLES[table].columns.items() if of.type is not Type.KEY]


def differences(expected: Mapping[str, Iterable[Row]], found: Mapping[str, Iterable[Row]]) -> list[str]:
    """In sentences; empty when all tables of `expected` have equal rows, in whatever order."""
    lines = []
    for table, rows in expected.items():
        columns = comparable(table)
        mine, theirs = (Counter(plain(row, columns) for row in side) for side in (rows, found[table]))
        lines += [f"{table}: missing {shown(row, columns)}" for row in (mine - theirs).elements()]
        lines += [f"{table}: too much {shown(row, columns)}" for row in (theirs - mine).elements()]
    return lines


def plain(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(plain_value(row[column]) for column in columns)


def plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, Decimal):
        return round(float(value), 4)
    return value


def shown(row: tuple[Any, ...], columns: Sequence[str]) -> str:
    def text(value: Any) -> str:
        return f"{value:%d %H:%M:%S.%f}" if isinstance(value, datetime) else repr(value)

    return ", ".join(f"{column}={text(value)}" for column, value in zip(columns, row, strict=True) if value is not None)
