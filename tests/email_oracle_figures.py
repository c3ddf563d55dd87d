"""Messages, conversions and attribution -> figures: the end of the oracle of the e-mail model. All counted anew, one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from email_oracle_messages import Definitions, Mail, Message, People
from email_oracle_reading import Success, Told
from headrace.reports.model.settings import Goal

Row = dict[str, Any]

FIRST: Final[Mapping[str, tuple[str, str]]] = {
    "sent": ("is_sent", "sent_at"),
    "delivered": ("is_delivered", "delivered_at"),
    "opens": ("is_opened", "opened_at"),
    "human_opens": ("is_human_opened", "human_opened_at"),
    "clicks": ("is_clicked", "clicked_at"),
    "human_clicks": ("is_human_clicked", "human_clicked_at"),
    "bounces": ("is_bounced", "bounced_at"),
    "hard_bounces": ("is_bounced", "bounced_at"),
    "soft_bounces": ("is_bounced", "bounced_at"),
    "unsubscribes": ("is_unsubscribed", "unsubscribed_at"),
    "spam": ("is_complained", "complained_at"),
}
"""Of each measure that counts messages: what is true of them, and when that was so first."""

RATES: Final = {
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounces", "sent"),
    "open_rate": ("opens", "delivered"),
    "human_open_rate": ("human_opens", "delivered"),
    "click_rate": ("human_clicks", "delivered"),
    "click_to_open_rate": ("human_clicks", "human_opens"),
    "unsubscribe_rate": ("unsubscribes", "delivered"),
    "spam_rate": ("spam", "delivered"),
    "conversion_rate": ("orders", "delivered"),
    "revenue_per_recipient": ("revenue", "delivered"),
}


def has(message: Message, measure: str) -> bool:
    of_type = {"hard_bounces": "hard", "soft_bounces": "soft"}.get(measure)
    return bool(message[FIRST[measure][0]]) and of_type in (None, message["bounce_type"])


def moment_of(message: Message, measure: str) -> datetime:
    moment: datetime | None = message[FIRST[measure][1]]
    sent_at: datetime = message["sent_at"]
    return moment or sent_at


def counts(messages: Iterable[Message], orders: Iterable[Row]) -> Row:
    messages, orders = list(messages), list(orders)
    counted: Row = {measure: sum(has(message, measure) for message in messages) for measure in FIRST}
    counted["orders"] = len(orders)
    counted["revenue"] = sum((order["value"] or Decimal(0) for order in orders), Decimal(0))
    return counted


def conversions(successes: Iterable[Success], people: People) -> list[Row]:
    found: dict[tuple[str, bool, str], Row] = {}
    for one in sorted(successes, key=lambda one: (one.received_at, one.id)):
        key = (one.goal, one.order_id is None, one.order_id or one.id)
        found.setdefault(key, {**vars(one), "recipient_key": people.person(one.recipient)})
    return list(found.values())


def attribution(
    rows: Iterable[Row], messages: Sequence[Message], goals: Sequence[Goal], definitions: Definitions
) -> list[Row]:
    goals_by_name = {goal.name: goal for goal in goals}
    counting = [m for m in messages if not (m["is_test"] and definitions.test_sends_are_left_out)]
    found = []
    for row in rows:
        touches = list(touches_before(row, counting, goals_by_name[row["goal"]], definitions))
        found += [attributed(row, "any", *touch) for touch in of_each_message(touches, definitions)]
        for model, pick in (("last", max), ("first", min)):
            if touches:
                weight = most_weighty(touches, definitions)
                of_weight = [touch for touch in touches if definitions.clicks_beat_opens is False or touch[0] == weight]
                chosen = pick(of_weight, key=lambda touch: (touch[1], order_of(touch[2])))
                found.append(attributed(row, model, *chosen))
    return found


Touch = tuple[str, datetime, Message]


def touches_before(row: Row, messages: Iterable[Message], goal: Goal, definitions: Definitions) -> Iterator[Touch]:
    windows = {"clicked": ("click", goal.click_days), "opened": ("open", goal.open_days)}
    for message in messages:
        for mail in message.events:
            if mail.person == row["recipient_key"] and mail.is_human:
                touch, days = windows[mail.told.kind]
                age = row["happened_at"] - mail.told.happened_at
                if timedelta() <= age <= timedelta(days=days):
                    yield touch, mail.told.happened_at, message


def most_weighty(touches: Iterable[Touch], definitions: Definitions) -> str:
    return "click" if any(touch == "click" for touch, _, _ in touches) else "open"


def of_each_message(touches: Sequence[Touch], definitions: Definitions) -> Iterator[Touch]:
    """Of each message its last click, else its last open."""
    by_message = defaultdict(list)
    for touch in touches:
        by_message[id(touch[2])].append(touch)
    for of_one in by_message.values():
        weight = most_weighty(of_one, definitions)
        yield max((touch for touch in of_one if touch[0] == weight), key=lambda touch: touch[1])


def order_of(message: Message) -> tuple[Any, ...]:
    """Of touches at one moment: no number of a key decides."""
    columns = ("sent_at", "campaign_id", "email_id", "source", "recipient_key", "send_number")
    return (*(message[column] for column in columns), message["journey_id"] or "")


def attributed(row: Row, model: str, touch: str, touched_at: datetime, message: Message) -> Row:
    of_message = ("source", "campaign_id", "email_id", "journey_id", "domain", "sent_at")
    return {
        "goal": row["goal"],
        "model": model,
        **{column: message[column] for column in of_message},
        "recipient_key": row["recipient_key"],
        "touch": touch,
        "touched_at": touched_at,
        "happened_at": row["happened_at"],
        "value": row["value"],
    }


def by(
    columns: Mapping[str, Callable[[Any], Any]], messages: Iterable[Message], orders: Iterable[Row]
) -> Iterator[Row]:
    """The counts of messages and orders for each combination of these values."""
    parts: dict[tuple[Any, ...], tuple[list[Message], list[Row]]] = defaultdict(lambda: ([], []))
    for message in messages:
        parts[tuple(value(message) for value in columns.values())][0].append(message)
    for order in orders:
        parts[tuple(value(order) for value in columns.values())][1].append(order)
    for values, part in parts.items():
        yield {**dict(zip(columns, values, strict=True)), **counts(*part)}


def column(name: str) -> Callable[[Any], Any]:
    return lambda row: row[name]


def quarter(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def campaigns(messages: Sequence[Message], orders: Sequence[Row], names: Mapping[str, str]) -> Iterator[Row]:
    for row in by({"campaign_id": column("campaign_id")}, messages, orders):
        rates = {
            rate: float(row[numerator]) / row[denominator] if row[denominator] else None
            for rate, (numerator, denominator) in RATES.items()
        }
        yield {**row, "campaign_name": names.get(row["campaign_id"]), **rates}


def names(told: Iterable[Told]) -> Mapping[str, str]:
    named = [one for one in told if one.campaign_name is not None and one.campaign_id]
    return {
        one.campaign_id: one.campaign_name or ""
        for one in sorted(named, key=lambda one: (one.happened_at, one.campaign_name or ""))
    }


def campaign_sends(messages: Sequence[Message], orders: Sequence[Row]) -> Iterator[Row]:
    columns = ("source", "campaign_id", "email_id", "journey_id")
    keys = {**{name: column(name) for name in columns}, "sent_quarter": lambda row: quarter(row["sent_at"])}
    return by(keys, messages, orders)


def campaigns_daily(messages: Sequence[Message], orders: Sequence[Row]) -> Iterator[Row]:
    parts: dict[tuple[str, date], Row] = defaultdict(lambda: counts((), ()))
    for message in messages:
        for measure in FIRST:
            if has(message, measure):
                parts[message["campaign_id"], day(moment_of(message, measure))][measure] += 1
    for order in orders:
        part = parts[order["campaign_id"], day(order["happened_at"])]
        part["orders"] += 1
        part["revenue"] += order["value"] or Decimal(0)
    for (campaign_id, on), part in parts.items():
        yield {"campaign_id": campaign_id, "day": on, **part}


def links(messages: Iterable[Message]) -> Iterator[Row]:
    parts: dict[tuple[str, str, str], list[tuple[Message, Mail]]] = defaultdict(list)
    for message in messages:
        for mail in message.events:
            if mail.told.kind == "clicked":
                parts[message["campaign_id"], message["email_id"], mail.told.link or ""].append((message, mail))
    for (campaign_id, email_id, link), clicks in parts.items():
        yield {
            "campaign_id": campaign_id,
            "email_id": email_id,
            "link": link,
            "link_url": max((mail.told.link_url for _, mail in clicks if mail.told.link_url), default=None),
            "clicks": len({id(message) for message, _ in clicks}),
            "human_clicks": len({id(message) for message, mail in clicks if mail.is_human}),
            "click_events": len(clicks),
            "human_click_events": sum(mail.is_human for _, mail in clicks),
        }


def recipients(messages: Iterable[Message]) -> Iterator[Row]:
    parts = defaultdict(list)
    for message in messages:
        parts[message["recipient_key"]].append(message)
    for person, of_person in parts.items():
        mails = sorted(of_person, key=lambda message: (message["sent_at"], message["email"] or ""))
        with_address = [message for message in mails if message["email"] is not None]

        def last(name: str, of: Sequence[Message] = mails) -> datetime | None:
            return max((message[name] for message in of if message[name] is not None), default=None)

        yield {
            "recipient_key": person,
            "is_matched": any(message["is_matched"] for message in mails),
            "email": with_address[-1]["email"] if with_address else None,
            "email_sent_at": with_address[-1]["sent_at"] if with_address else None,
            "domain": with_address[-1]["domain"] if with_address else "",
            "first_sent_at": mails[0]["sent_at"],
            "last_sent_at": mails[-1]["sent_at"],
            "last_delivered_at": last("delivered_at"),
            "last_human_opened_at": last("human_opened_at"),
            "last_human_clicked_at": last("human_clicked_at"),
            "unsubscribed_at": last("unsubscribed_at"),
            "complained_at": last("complained_at"),
            "hard_bounced_at": last("bounced_at", [m for m in mails if m["bounce_type"] == "hard"]),
            **{name: value for name, value in counts(mails, ()).items() if name not in ("orders", "revenue")},
        }


def engagement_curve(messages: Iterable[Message]) -> Iterator[Row]:
    measures = ("opens", "human_opens", "clicks", "human_clicks")
    parts: dict[tuple[str, int], Row] = defaultdict(lambda: dict.fromkeys(measures, 0))
    for message in messages:
        for measure in measures:
            if message["is_delivered"] and message["delivered_at"] is not None and has(message, measure):
                after = moment_of(message, measure) - message["delivered_at"]
                if timedelta(minutes=-5) <= after < timedelta(hours=168):
                    parts[message["campaign_id"], max(0, after // timedelta(hours=1))][measure] += 1
    for (campaign_id, hour), part in parts.items():
        yield {"campaign_id": campaign_id, "hour": hour, **part}


def list_health(messages: Iterable[Message], mails: Iterable[Mail]) -> Iterator[Row]:
    measures = {
        "delivered": "delivered",
        "unsubscribes": "unsubscribes",
        "spam": "spam",
        "hard_bounces": "hard_bounces",
    }
    nothing = dict.fromkeys(("delivered", "subscribes", "unsubscribes", "spam", "hard_bounces"), 0)
    parts: dict[tuple[date, str, str], Row] = defaultdict(nothing.copy)
    for message in messages:
        for name, measure in measures.items():
            if has(message, measure):
                parts[day(moment_of(message, measure)), message["source"], message["list_id"] or ""][name] += 1
    for mail in mails:
        told = mail.told
        if told.kind == "subscribed" and not told.is_test:
            parts[day(told.happened_at), told.source, told.list_id or ""]["subscribes"] += 1
    for (on, source, list_id), part in parts.items():
        yield {"day": on, "source": source, "list_id": list_id, **part}


def quality(mails: Iterable[Mail]) -> Iterator[Row]:
    parts = defaultdict(list)
    for mail in mails:
        parts[day(mail.told.received_at), mail.told.source].append(mail)
    for (on, source), part in parts.items():
        told = [mail.told for mail in part]
        yield {
            "day": on,
            "source": source,
            "events": len(told),
            "late_events": sum(one.received_at - one.happened_at > timedelta(days=1) for one in told),
            "without_campaign": sum(one.campaign_id == "" for one in told),
            "without_email_id": sum(one.email_id == "" for one in told),
            "without_address": sum(one.who.address is None for one in told),
            "unmatched_events": sum(not mail.is_matched for mail in part),
            "test_events": sum(one.is_test for one in told),
            "machine_opens": sum(mail.told.kind == "opened" and not mail.is_human for mail in part),
            "machine_clicks": sum(mail.told.kind == "clicked" and not mail.is_human for mail in part),
        }
