"""The derived tables of a world, counted one by one in Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from headrace.reports.model.schema import COUNTS, TABLES
from rollup_world import Row, World

Tables = dict[str, list[tuple[Any, ...]]]
CURVE: Final = {
    "opens": "opened_at",
    "human_opens": "human_opened_at",
    "clicks": "clicked_at",
    "human_clicks": "human_clicked_at",
}


def measures(message: Row) -> dict[str, datetime | None]:
    """What a message counts as, and when."""
    is_hard = message["is_bounced"] and message["bounce_type"] == "hard"
    is_soft = message["is_bounced"] and message["bounce_type"] == "soft"
    found = {
        "sent": (message["is_sent"], "sent_at"),
        "delivered": (message["is_delivered"], "delivered_at"),
        "opens": (message["is_opened"], "opened_at"),
        "human_opens": (message["is_human_opened"], "human_opened_at"),
        "clicks": (message["is_clicked"], "clicked_at"),
        "human_clicks": (message["is_human_clicked"], "human_clicked_at"),
        "bounces": (message["is_bounced"], "bounced_at"),
        "hard_bounces": (is_hard, "bounced_at"),
        "soft_bounces": (is_soft, "bounced_at"),
        "unsubscribes": (message["is_unsubscribed"], "unsubscribed_at"),
        "spam": (message["is_complained"], "complained_at"),
    }
    return {name: message[column] for name, (counts, column) in found.items() if counts}


def tables(world: World) -> Tables:
    messages = [row for row in world.messages.values() if not row["is_test"]]
    orders = [row for row in world.attribution.values() if row["model"] == "last" and row["goal"] == "order_completed"]
    counted: dict[str, dict[Any, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in messages:
        for name, moment in measures(row).items():
            for table, key in _keys(row, moment or row["sent_at"]).items():
                counted[table][key][name] += 1
        _add_health(counted["list_health"], row)
        _add_curve(counted["engagement_curve"], row)
    for row in orders:
        for table, key in _keys(row, row["happened_at"]).items():
            counted[table][key]["orders"] += 1
            counted[table][key]["revenue"] += Fraction(str(row["value"] or 0))  # type: ignore[assignment]
    for row in world.events.values():
        _add_event(counted, row)
    latest: dict[str, tuple[datetime, bytes]] = {}
    for campaign, name, at in world.names:
        if campaign:
            latest[campaign] = max(latest.get(campaign, (at, b"")), (at, name.encode()))
    names = {campaign: (name.decode(), at) for campaign, (at, name) in latest.items()}
    found = {
        table: _rows(table, counted[table])
        for table in ("campaign_sends", "domains", "campaigns_daily", "engagement_curve", "list_health", "quality")
    }
    found["names"] = [(campaign, *told) for campaign, told in names.items()]
    found["campaigns"] = [_campaign(key, counts, names) for (key,), counts in counted["campaigns"].items()]
    found["links"] = _links(world.events.values())
    found["recipients"] = _recipients(messages)
    return {table: sorted(rows, key=repr) for table, rows in found.items()}


def _keys(row: Row, moment: datetime) -> Mapping[str, tuple[Any, ...]]:
    sent_at = row["sent_at"]
    quarter = sent_at.replace(minute=sent_at.minute // 15 * 15, second=0, microsecond=0)
    return {
        "campaign_sends": (row["source"], row["campaign_id"], row["email_id"], row["journey_id"], quarter),
        "domains": (row["campaign_id"], row["domain"]),
        "campaigns_daily": (row["campaign_id"], moment.date()),
        "campaigns": (row["campaign_id"],),
    }


def _rows(table: str, counts_by_key: Mapping[Any, Counter[str]]) -> list[tuple[Any, ...]]:
    names = [name for name in TABLES[table].columns if name not in TABLES[table].key]
    return [(*key, *(_number(name, counts[name]) for name in names)) for key, counts in counts_by_key.items()]


def _number(name: str, value: Any) -> Any:
    return float(value) if name == "revenue" else value


def _campaign(campaign: str, counts: Counter[str], names: Mapping[str, tuple[str, datetime]]) -> tuple[Any, ...]:
    rates = [
        ("delivered", "sent"),
        ("bounces", "sent"),
        ("opens", "delivered"),
        ("human_opens", "delivered"),
        ("human_clicks", "delivered"),
        ("human_clicks", "human_opens"),
        ("unsubscribes", "delivered"),
        ("spam", "delivered"),
        ("orders", "delivered"),
        ("revenue", "delivered"),
    ]
    name = names.get(campaign, (None, None))[0]
    shares = [float(counts[above]) / counts[below] if counts[below] else None for above, below in rates]
    return (campaign, name, *(_number(count, counts[count]) for count in COUNTS), *shares)


def _add_health(counted: dict[Any, Counter[str]], row: Row) -> None:
    for name, moment in measures(row).items():
        if name in ("delivered", "unsubscribes", "spam", "hard_bounces"):
            counted[(moment or row["sent_at"]).date(), row["source"], row["list_id"] or ""][name] += 1


def _add_curve(counted: dict[Any, Counter[str]], row: Row) -> None:
    delivered_at = row["delivered_at"]
    for name, column in CURVE.items():
        if row["is_delivered"] and delivered_at and name in measures(row):
            after = row[column] - delivered_at
            if timedelta(minutes=-5) <= after < timedelta(days=7):
                counted[row["campaign_id"], max(after // timedelta(hours=1), 0)][name] += 1


def _add_event(counted: dict[str, dict[Any, Counter[str]]], row: Row) -> None:
    if row["kind"] == "subscribed" and not row["is_test"]:
        counted["list_health"][row["happened_at"].date(), row["source"], row["list_id"] or ""]["subscribes"] += 1
    odd = {
        "events": True,
        "late_events": row["received_at"] - row["happened_at"] > timedelta(days=1),
        "without_campaign": not row["campaign_id"],
        "without_email_id": not row["email_id"],
        "without_address": row["email"] is None,
        "unmatched_events": not row["is_matched"],
        "test_events": row["is_test"],
        "machine_opens": row["kind"] == "opened" and row["is_machine"],
        "machine_clicks": row["kind"] == "clicked" and row["is_machine"],
    }
    counted["quality"][row["received_at"].date(), row["source"]].update(name for name, is_so in odd.items() if is_so)


def _links(events: Iterable[Row]) -> list[tuple[Any, ...]]:
    events = list(events)
    tests = {row["message_id"] for row in events if row["is_test"]}
    clicks = defaultdict(list)
    for row in events:
        if row["kind"] == "clicked" and row["message_id"] not in tests:
            clicks[row["campaign_id"], row["email_id"], row["link"] or ""].append(row)
    found = []
    for key, rows in clicks.items():
        human = [row for row in rows if not row["is_machine"]]
        urls = [row["link_url"].encode() for row in rows if row["link_url"]]
        messages = [len({row["message_id"] for row in some}) for some in (rows, human)]
        found.append((*key, max(urls).decode() if urls else None, *messages, len(rows), len(human)))
    return found


def _recipients(messages: Iterable[Row]) -> list[tuple[Any, ...]]:
    by_person = defaultdict(list)
    for row in messages:
        by_person[row["recipient_key"], row["person_key"]].append(row)
    return [_recipient(key, rows) for key, rows in by_person.items()]


def _recipient(key: tuple[str, int], rows: list[Row]) -> tuple[Any, ...]:
    def last(column: str) -> datetime | None:
        return max((row[column] for row in rows if row[column]), default=None)

    told = max(((row["sent_at"], row["email"].encode(), row["domain"]) for row in rows if row["email"]), default=None)
    hard = max((row["bounced_at"] for row in rows if "hard_bounces" in measures(row)), default=None)
    counts = Counter(name for row in rows for name in measures(row))
    values = {
        "is_matched": any(row["is_matched"] for row in rows),
        "email": told[1].decode() if told else None,
        "domain": told[2] if told else "",
        "email_sent_at": told[0] if told else None,
        "first_sent_at": min(row["sent_at"] for row in rows),
        "last_sent_at": last("sent_at"),
        "last_delivered_at": last("delivered_at"),
        "last_human_opened_at": last("human_opened_at"),
        "last_human_clicked_at": last("human_clicked_at"),
        "unsubscribed_at": last("unsubscribed_at"),
        "complained_at": last("complained_at"),
        "hard_bounced_at": hard,
        **{name: counts[name] for name in COUNTS if name not in ("orders", "revenue")},
    }
    return (*key, *(values[name] for name in list(TABLES["recipients"].columns)[2:]))
