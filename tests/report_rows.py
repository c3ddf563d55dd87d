"""Rows of the schema `email` that fit each other, and what reports must say of them: counted in Python, from messages and events alone."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Rows = dict[str, list[Row]]

BEGIN: Final = datetime(2026, 10, 20, 6, 0, tzinfo=UTC)
"""Five days before clocks are set back in Europe."""
FLAGS: Final = {
    "sent": "is_sent",
    "delivered": "is_delivered",
    "opens": "is_opened",
    "human_opens": "is_human_opened",
    "clicks": "is_clicked",
    "human_clicks": "is_human_clicked",
    "bounces": "is_bounced",
    "unsubscribes": "is_unsubscribed",
    "spam": "is_complained",
}
COUNTS: Final = (*FLAGS, "hard_bounces", "soft_bounces", "orders", "revenue")
LABELS: Final = {"spring": "promo", "welcome": "lifecycle"}
NAMES: Final = {"spring": "Spring, 2026 'n' more", "welcome": "Welcome", "autumn": "Herbst"}
AGENTS: Final = ("mobile", "desktop", None)
LINKS: Final = ("top", "shop", "")


def made(count: int = 160, seed: int = 7) -> Rows:
    """All tables that reports read."""
    chance = random.Random(seed)
    messages = [_message(chance, number) for number in range(count)]
    events = [event for message in messages for event in _clicks(chance, message)]
    for message in messages:
        mine = [event for event in events if event["message_id"] == message["message_id"]]
        message["links_clicked"] = len({event["link"] for event in mine})
        message["click_events"] = len(mine)
        message["human_click_events"] = sum(not event["is_machine"] for event in mine)
    attribution = _attribution(chance, [message for message in messages if not message["is_test"]])
    rows: Rows = {"messages": messages, "events": events, "attribution": attribution}
    rows["names"] = [
        {"campaign_id": key, "campaign_name": name, "happened_at": BEGIN}
        for key, name in NAMES.items()
        if key != "autumn"
    ]
    rows["labels"] = [{"campaign_id": key, "label_set": "type", "label": label} for key, label in LABELS.items()]
    rows["labels"] += [{"campaign_id": key, "label_set": "brand", "label": "ours"} for key in LABELS]
    mail = ("source", "campaign_id", "email_id", "journey_id")
    rows["campaign_sends"] = _counted(rows, (*mail, "sent_quarter"))
    rows["campaigns"] = _counted(rows, ("campaign_id",))
    rows["domains"] = _counted(rows, ("campaign_id", "domain"))
    rows["links"] = _links(rows)
    rows["engagement_curve"] = _curve(rows)
    return rows


def _message(chance: random.Random, number: int) -> Row:
    campaign = chance.choice(("spring", "spring", "welcome", "autumn", ""))
    sent = BEGIN + timedelta(minutes=chance.randrange(0, 8 * 24 * 60, 7))
    delivered = chance.random() < 0.9
    bounced = not delivered or chance.random() < 0.05
    opened = delivered and chance.random() < 0.6
    human_clicked = delivered and chance.random() < 0.3
    clicked = human_clicked or (delivered and chance.random() < 0.1)
    human_opened = human_clicked or (opened and chance.random() < 0.6)
    delivered_at = sent + timedelta(seconds=chance.randrange(1, 400)) if delivered else None

    def later(happens: bool, least: int = 11) -> datetime | None:  # noqa: FBT001 -- read at the call
        if not happens or delivered_at is None:
            return None
        return delivered_at + timedelta(seconds=chance.randrange(least, 9 * 86_400, 61))

    person = chance.randrange(60)
    return {
        "message_id": number + 1,
        "group_key": number + 1,
        "source": chance.choice(("mail", "mail_two")),
        "campaign_id": campaign,
        "email_id": chance.choice(("a", "b")),
        "journey_id": "onboarding" if campaign == "welcome" else None,
        "recipient_key": f"person {person}",
        "person_key": person,
        "is_matched": person % 5 != 0,
        "domain": chance.choice(("gmail.com", "gmx.de", "")),
        "send_number": chance.choice((1, 1, 2)),
        "list_id": chance.choice(("news", None)),
        "sent_at": sent,
        "delivered_at": delivered_at,
        "opened_at": later(opened, -200),
        "human_opened_at": later(human_opened),
        "clicked_at": later(clicked),
        "human_clicked_at": later(human_clicked),
        "is_test": chance.random() < 0.05,
        "is_sent": True,
        "is_delivered": delivered,
        "is_opened": opened,
        "is_human_opened": human_opened,
        "is_clicked": clicked,
        "is_human_clicked": human_clicked,
        "is_bounced": bounced,
        "bounce_type": chance.choice(("hard", "soft", "block", "unknown")) if bounced else None,
        "is_unsubscribed": delivered and chance.random() < 0.1,
        "is_complained": delivered and chance.random() < 0.05,
        "open_events": 2 * opened,
        "human_open_events": 1 * (opened and human_opened),
        "device": chance.choice(AGENTS) if human_opened else None,
        "sent_quarter": quarter(sent),
    }


def _clicks(chance: random.Random, message: Row) -> Iterable[Row]:
    for number in range(chance.choice((1, 2, 3)) if message["is_clicked"] else 0):
        is_machine = not message["is_human_clicked"] or (number > 0 and chance.random() < 0.3)
        yield {
            **{
                name: message[name]
                for name in ("source", "campaign_id", "email_id", "journey_id", "is_test", "message_id")
            },
            "event_key": message["message_id"] * 10 + number,
            "kind": "clicked",
            "happened_at": message["clicked_at"],
            "link": chance.choice(LINKS) or None,
            "link_url": "https://shop.example/",
            "is_machine": is_machine,
            "machine_reasons": chance.choice(("fast_click", "every_link,fast_click")) if is_machine else None,
        }


def _attribution(chance: random.Random, messages: Sequence[Row]) -> list[Row]:
    rows: list[Row] = []
    for number in range(40):
        goal = "order_completed" if number % 4 else "signed_up"
        happened = BEGIN + timedelta(days=4, minutes=chance.randrange(9_000))
        touched = chance.sample(messages, chance.choice((1, 2, 3)))
        for model, of in (("last", touched[:1]), ("first", touched[-1:]), ("any", touched)):
            rows += [
                {
                    **{
                        name: message[name]
                        for name in ("message_id", "source", "campaign_id", "email_id", "journey_id")
                    },
                    **{name: message[name] for name in ("recipient_key", "person_key", "domain", "sent_at")},
                    "conversion_key": number,
                    "goal": goal,
                    "model": model,
                    "touch": "click",
                    "touched_at": happened - timedelta(seconds=100 + number),
                    "happened_at": happened,
                    "value": round(10.25 * (number - 30), 4) if number % 7 else None,
                }
                for message in of
            ]
    return rows


def quarter(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def counts(messages: Iterable[Row], sold: Iterable[Row]) -> Row:
    """The additive figures. `sold` are rows of attribution; a conversion counts once."""
    messages = [message for message in messages if not message["is_test"]]
    figures: Row = {name: sum(bool(message[flag]) for message in messages) for name, flag in FLAGS.items()}
    figures["hard_bounces"] = sum(message["bounce_type"] == "hard" for message in messages)
    figures["soft_bounces"] = sum(message["bounce_type"] == "soft" for message in messages)
    values = {row["conversion_key"]: row["value"] or 0.0 for row in sold}
    return figures | {"orders": len(values), "revenue": round(sum(values.values()), 4)}


def grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> Mapping[Any, list[Row]]:
    found: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def sales(rows: Rows, goal: str = "order_completed", model: str = "last") -> list[Row]:
    return [row for row in rows["attribution"] if (row["goal"], row["model"]) == (goal, model)]


def _counted(rows: Rows, key: Sequence[str]) -> list[Row]:
    def of(row: Row) -> Hashable:
        return tuple(quarter(row["sent_at"]) if name == "sent_quarter" else row[name] for name in key)

    sold = grouped(sales(rows), of)
    messages = grouped((message for message in rows["messages"] if not message["is_test"]), of)
    return [dict(zip(key, group, strict=True)) | counts(messages[group], sold.get(group, ())) for group in messages]


def _links(rows: Rows) -> list[Row]:
    clicks = [event for event in rows["events"] if not event["is_test"]]
    found = grouped(clicks, lambda event: (event["campaign_id"], event["email_id"], event["link"] or ""))
    return [
        {
            **dict(zip(("campaign_id", "email_id", "link"), key, strict=True)),
            "link_url": "https://shop.example/",
            "clicks": len({event["message_id"] for event in of}),
            "human_clicks": len({event["message_id"] for event in of if not event["is_machine"]}),
            "click_events": len(of),
            "human_click_events": sum(not event["is_machine"] for event in of),
        }
        for key, of in found.items()
    ]


def _curve(rows: Rows) -> list[Row]:
    figures = {
        "opens": "opened_at",
        "human_opens": "human_opened_at",
        "clicks": "clicked_at",
        "human_clicks": "human_clicked_at",
    }
    found: dict[tuple[str, int], Row] = {}
    for message in rows["messages"]:
        for figure, column in figures.items():
            if message["is_test"] or message[column] is None:
                continue
            hour = max(int((message[column] - message["delivered_at"]).total_seconds() // 3600), 0)
            if hour < 168:
                row = found.setdefault((message["campaign_id"], hour), dict.fromkeys(figures, 0))
                row[figure] += 1
    return [{"campaign_id": campaign, "hour": hour, **row} for (campaign, hour), row in found.items()]


def local(moment: datetime, zone: str) -> datetime:
    return moment.astimezone(ZoneInfo(zone))


def ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None
