"""The tables of the schema `email`, in words: columns, types and what they hold. Documentation and tests read this, too.

`COUNTS` are the additive figures of every table that counts messages: distinct messages (one mail to one recipient), test sends left out;
`orders` and `revenue` are those that the last touch gives them (goal `order_completed` unless the settings name another first goal).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SCHEMA: Final = "email"
EARLY_SECONDS: Final = 300
"""Scanners act before a delivery is stamped; and a delivery again within this time is the platform's repeat, not another send."""


class Type(enum.Enum):
    """`KEY` is a 62-bit number made from texts, `MONEY` exact with four places after the point, `DAY` a date."""

    TEXT = "text"
    KEY = "key"
    COUNT = "count"
    TIME = "time"
    DAY = "day"
    TRUTH = "truth"
    MONEY = "money"
    RATE = "rate"


class Column(NamedTuple):
    type: Type
    sentence: str


class Table(NamedTuple):
    """`key`: the columns that make a row unique. `indexed`: by what the model itself looks rows up, for engines that need an index.
    `is_inner`: what the model needs for itself; not part of what is promised to SQL."""

    sentence: str
    key: Sequence[str]
    columns: Mapping[str, Column]
    indexed: Sequence[str] = ()
    is_inner: bool = False


def _text(sentence: str) -> Column:
    return Column(Type.TEXT, sentence)


def _time(sentence: str) -> Column:
    return Column(Type.TIME, sentence)


def _truth(sentence: str) -> Column:
    return Column(Type.TRUTH, sentence)


def _count(sentence: str) -> Column:
    return Column(Type.COUNT, sentence)


def _key(sentence: str) -> Column:
    return Column(Type.KEY, sentence)


COUNTS: Final[Mapping[str, Column]] = {
    "sent": _count("Messages delivered or bounced; where the platform says so, sent, processed or dropped ones too."),
    "delivered": _count("Messages delivered and not bounced later, or bounced yet opened or clicked afterwards."),
    "opens": _count("Messages with an open, by a person or a machine."),
    "human_opens": _count("Messages that a person opened, or clicked without an open."),
    "clicks": _count("Messages with a click, by a person or a machine."),
    "human_clicks": _count("Messages with a click that no rule takes for a machine's."),
    "bounces": _count("Messages that bounced, also those delivered in the end."),
    "hard_bounces": _count("Of these, with a bounce of the type hard."),
    "soft_bounces": _count("Of these, with a bounce of the type soft and none of the type hard."),
    "unsubscribes": _count("Messages whose recipient unsubscribed by them."),
    "spam": _count("Messages marked as spam."),
    "orders": _count("Orders that the last touch gives them."),
    "revenue": Column(Type.MONEY, "The value of these orders."),
}

_MAIL: Final[Mapping[str, Column]] = {
    "source": _text("The schema of the source that sent the event."),
    "campaign_id": _text("The campaign; empty where the platform named none."),
    "email_id": _text("The e-mail of the campaign; empty where the platform named none."),
    "journey_id": _text("The journey, or null."),
}
_PERSON: Final[Mapping[str, Column]] = {
    "recipient_key": _text(
        "The person: user id, else address in small letters, else anonymous id in small letters; known identities are followed."
    ),
    "person_key": _key("`recipient_key` as a number, for joins."),
}

TABLES: Final[Mapping[str, Table]] = {
    "events": Table(
        "E-mail events of all sources, one row each however often they came, with aliases folded into kinds and machines flagged.",
        ("event_key",),
        {
            "event_key": _key(
                "Source, kind, recipient as sent, campaign, e-mail, link and moment as a number: repeats have the same."
            ),
            "id": _text("The messageId: the row of the source's own table."),
            **_MAIL,
            "kind": _text(
                "sent, delivered, opened, clicked, bounced, deferred, dropped, complained, unsubscribed or subscribed."
            ),
            "happened_at": _time("When it happened (`timestamp` of the event)."),
            "received_at": _time("When headrace received it."),
            "recipient": _text("Whom the event itself names: user id, else address, else anonymous id."),
            **_PERSON,
            "has_user_id": _truth("The event itself names a user id."),
            "is_matched": _truth("A user id is known for the recipient."),
            "email": _text("The address in small letters, where the event tells it."),
            "group_key": _key("All events of one campaign's e-mail to one person."),
            "send_number": _count("Which mail to this person: a journey may send the same e-mail again."),
            "message_id": _key("The row of `email.messages`; null for subscriptions."),
            "platform_message_id": _text("The property message_id: the platform's own number of the mail, where told."),
            "email_subject": _text("The subject, where told."),
            "list_id": _text("The list, where told."),
            "link": _text("Of clicks: link_id, else link_url, else link_name."),
            "link_url": _text("Of clicks, where told."),
            "bounce_type": _text("Of bounces: hard, soft, block or unknown."),
            "bounce_code": _text("Of bounces: the code of RFC 3463, where told."),
            "bounce_reason": _text("Of bounces, where told."),
            "machine_open": _truth("The platform's own flag; null where it sent none."),
            "user_agent": _text("Of opens and clicks, where told."),
            "ip": _text("Of opens and clicks, where told."),
            "is_test": _truth("A test send: it counts nowhere."),
            "is_machine": _truth("A rule takes this open or click for a machine's."),
            "machine_reasons": _text("The names of these rules, with commas between."),
        },
        indexed=("group_key", "person_key"),
    ),
    "messages": Table(
        "One mail to one recipient: what happened to it, and when first.",
        ("message_id",),
        {
            "message_id": _key("The message."),
            "group_key": _key("All messages of one campaign's e-mail to one person."),
            **_MAIL,
            **_PERSON,
            "is_matched": _truth("A user id is known for the recipient."),
            "email": _text("The address, where an event told it."),
            "domain": _text("The address's domain, or empty."),
            "send_number": _count("1 for the first mail of this kind to this person, 2 for a journey's next, ..."),
            "list_id": _text("The list, where an event told it."),
            "sent_at": _time("The first of processed, delivered, bounced and dropped; for want of them, of any event."),
            "delivered_at": _time("First delivery."),
            "opened_at": _time("First open."),
            "human_opened_at": _time("First open or click by a person."),
            "clicked_at": _time("First click."),
            "human_clicked_at": _time("First click by a person."),
            "bounced_at": _time("Last bounce."),
            "unsubscribed_at": _time("First unsubscription by this mail."),
            "complained_at": _time("First mark as spam."),
            "is_test": _truth("A test send: it counts nowhere."),
            "is_sent": _truth("Counts as sent; the words of `sent` say when."),
            "is_delivered": _truth("Counts as delivered."),
            "is_opened": _truth("Has an open."),
            "is_human_opened": _truth("A person opened, or clicked without an open."),
            "is_clicked": _truth("Has a click."),
            "is_human_clicked": _truth("Has a click by a person."),
            "is_bounced": _truth("Has a bounce."),
            "is_unsubscribed": _truth("Has an unsubscription."),
            "is_complained": _truth("Was marked as spam."),
            "bounce_type": _text("hard if any bounce was, else soft, else block, else unknown; null without a bounce."),
            "open_events": _count("Opens, repeated ones too."),
            "human_open_events": _count("Of these, by a person."),
            "click_events": _count("Clicks, repeated ones too."),
            "human_click_events": _count("Of these, by a person."),
            "links_clicked": _count("Different links clicked, by anyone."),
            "machine_reasons": _text(
                "The rules that flagged an open or click of it, with commas between; null without."
            ),
            "device": _text(
                "Where a person opened or clicked first: mobile, tablet, desktop, webmail or unknown; null where nobody did."
            ),
        },
        indexed=("group_key", "person_key", "campaign_id"),
    ),
    "conversions": Table(
        "What people did that a goal counts, once each (an order sent twice is one).",
        ("conversion_key",),
        {
            "conversion_key": _key("Goal and order id (else messageId) as a number."),
            "goal": _text("The goal's name."),
            "id": _text("The messageId: the row of the source's own table."),
            "source": _text("The schema of the source that sent it."),
            "order_id": _text("What makes it one and the same: the goal's key property; null where it is missing."),
            "happened_at": _time("When it happened."),
            "received_at": _time("When headrace received it."),
            "recipient": _text("Whom the event itself names."),
            **_PERSON,
            "value": Column(Type.MONEY, "The goal's value property; null where missing."),
        },
        indexed=("person_key",),
    ),
    "attribution": Table(
        "Which message a conversion is given to: a row for each conversion and model, for `any` one for each message touched.",
        ("conversion_key", "model", "message_id"),
        {
            "conversion_key": _key("The row of `email.conversions`."),
            "goal": _text("The goal's name."),
            "model": _text(
                "last (click within 5 days, else open within 1 day), first (the same, the earliest) or any."
            ),
            "message_id": _key("The message it is given to."),
            **_MAIL,
            **_PERSON,
            "domain": _text("The message's domain."),
            "sent_at": _time("When the message was sent."),
            "touch": _text("click or open, by a person."),
            "touched_at": _time("The touch that counts."),
            "happened_at": _time("When the conversion happened."),
            "value": Column(Type.MONEY, "The conversion's value."),
        },
        indexed=("person_key", "campaign_id"),
    ),
    "campaigns": Table(
        "One row for each campaign: the figures of the report.",
        ("campaign_id",),
        {
            "campaign_id": _text("The campaign."),
            "campaign_name": _text("Its latest name."),
            **COUNTS,
            "delivery_rate": Column(Type.RATE, "delivered / sent"),
            "bounce_rate": Column(Type.RATE, "bounces / sent"),
            "open_rate": Column(Type.RATE, "opens / delivered"),
            "human_open_rate": Column(Type.RATE, "human_opens / delivered"),
            "click_rate": Column(Type.RATE, "human_clicks / delivered"),
            "click_to_open_rate": Column(Type.RATE, "human_clicks / human_opens"),
            "unsubscribe_rate": Column(Type.RATE, "unsubscribes / delivered"),
            "spam_rate": Column(Type.RATE, "spam / delivered"),
            "conversion_rate": Column(Type.RATE, "orders / delivered"),
            "revenue_per_recipient": Column(Type.RATE, "revenue / delivered"),
        },
    ),
    "campaign_sends": Table(
        "The counts of a campaign's e-mails by the quarter of an hour in which they were sent: what reports of any period and time zone add up.",
        ("source", "campaign_id", "email_id", "journey_id", "sent_quarter"),
        {
            **_MAIL,
            "sent_quarter": _time("The beginning of the quarter of an hour of `sent_at`, UTC."),
            **COUNTS,
        },
        indexed=("campaign_id",),
    ),
    "campaigns_daily": Table(
        "What happened on each day (UTC): each message counts on the day of its own first such event, so the days add up to the campaign.",
        ("campaign_id", "day"),
        {"campaign_id": _text("The campaign."), "day": Column(Type.DAY, "The day, UTC."), **COUNTS},
    ),
    "links": Table(
        "Clicks of each link. `clicks` and `human_clicks` count messages.",
        ("campaign_id", "email_id", "link"),
        {
            "campaign_id": _text("The campaign."),
            "email_id": _text("The e-mail."),
            "link": _text("link_id, else link_url, else link_name; empty where none was told."),
            "link_url": _text("Its address, the greatest one in the order of bytes where there were several."),
            "clicks": _count("Messages in which it was clicked."),
            "human_clicks": _count("Messages in which a person clicked it."),
            "click_events": _count("Clicks, repeated ones too."),
            "human_click_events": _count("Of these, by a person."),
        },
    ),
    "domains": Table(
        "The counts of a campaign by the domain of the address.",
        ("campaign_id", "domain"),
        {
            "campaign_id": _text("The campaign."),
            "domain": _text("The domain; empty where no address is known."),
            **COUNTS,
        },
    ),
    "recipients": Table(
        "One row for each person who was sent e-mail.",
        ("recipient_key",),
        {
            **_PERSON,
            "is_matched": _truth("A user id is known."),
            "email": _text("The address of the last message that tells one."),
            "domain": _text("Its domain, or empty."),
            "email_sent_at": _time("When that message was sent."),
            "first_sent_at": _time("First message."),
            "last_sent_at": _time("Last message."),
            "last_delivered_at": _time("Last delivery."),
            "last_human_opened_at": _time("The latest first open by a person, over messages."),
            "last_human_clicked_at": _time("The latest first click by a person, over messages."),
            "unsubscribed_at": _time("The last unsubscription."),
            "complained_at": _time("The last mark as spam."),
            "hard_bounced_at": _time("The last hard bounce."),
            **{name: column for name, column in COUNTS.items() if name not in ("orders", "revenue")},
        },
    ),
    "engagement_curve": Table(
        "How fast a campaign is read: messages by the hour, counted from delivery, of their first open and click. 168 hours.",
        ("campaign_id", "hour"),
        {
            "campaign_id": _text("The campaign."),
            "hour": _count(
                "0 is the first hour after delivery; what is stamped up to 5 minutes before it belongs to it, too."
            ),
            "opens": _count("First opens."),
            "human_opens": _count("First opens or clicks by a person."),
            "clicks": _count("First clicks."),
            "human_clicks": _count("First clicks by a person."),
        },
    ),
    "list_health": Table(
        "What makes a list grow and shrink, by day (UTC), source and list.",
        ("day", "source", "list_id"),
        {
            "day": Column(Type.DAY, "The day, UTC."),
            "source": _text("The source's schema."),
            "list_id": _text("The list; empty where the events name none."),
            "delivered": _count("Messages delivered."),
            "subscribes": _count("Subscriptions (events)."),
            "unsubscribes": _count("Messages unsubscribed from."),
            "spam": _count("Messages marked as spam."),
            "hard_bounces": _count("Messages that bounced hard."),
        },
    ),
    "quality": Table(
        "What is odd about the events of a day (UTC, of receipt) and source: what no figure can be better than.",
        ("day", "source"),
        {
            "day": Column(Type.DAY, "The day of receipt, UTC."),
            "source": _text("The source's schema."),
            "events": _count("Events in `email.events`."),
            "late_events": _count("Received more than a day after they happened."),
            "without_campaign": _count("Without a campaign_id."),
            "without_email_id": _count("Without an email_id."),
            "without_address": _count("Without the recipient's address."),
            "unmatched_events": _count("Of recipients for whom no user id is known."),
            "test_events": _count("Of test sends."),
            "machine_opens": _count("Opens flagged as a machine's."),
            "machine_clicks": _count("Clicks flagged as a machine's."),
        },
    ),
    "labels": Table(
        "Which categories a campaign belongs to, by the rules that people keep.",
        ("campaign_id", "label_set"),
        {
            "campaign_id": _text("The campaign."),
            "label_set": _text("What the label is about, for example type or brand."),
            "label": _text("The category."),
        },
    ),
    "names": Table(
        "The latest name of each campaign.",
        ("campaign_id",),
        {
            "campaign_id": _text("The campaign."),
            "campaign_name": _text("Its name."),
            "happened_at": _time("When it was last called so."),
        },
        is_inner=True,
    ),
    "identities": Table(
        "Which person an address, its SHA-256, an anonymous id or a former user id belongs to. The first evidence counts.",
        ("alias",),
        {
            "alias": _text("Address, digest or anonymous id in small letters, or a former user id."),
            "alias_key": _key("`alias` as a number, for joins."),
            "target": _text("What the evidence says it belongs to, which may be an alias itself."),
            "target_key": _key("`target` as a number, for joins."),
            "is_user": _truth("The target is a user id."),
            "happened_at": _time("When the evidence came about."),
            "recipient_key": _text("The person at the end, identities followed up to four times."),
            "is_matched": _truth("That person is known by a user id."),
        },
        indexed=("alias_key", "target_key"),
    ),
    "controls": Table(
        "Who belongs to a holdout group, by the trait `holdout` of the last identify.",
        ("recipient",),
        {
            "recipient": _text("Whom the event itself names."),
            **_PERSON,
            "is_holdout": _truth("The trait."),
            "happened_at": _time("When it was told."),
            "id": _text("The messageId."),
        },
        indexed=("person_key",),
    ),
    "mail_links": Table(
        "The links of each e-mail, as far as anyone clicked them.",
        ("source", "campaign_id", "email_id", "link"),
        {
            "source": _text("The source's schema."),
            "campaign_id": _text("The campaign."),
            "email_id": _text("The e-mail."),
            "link": _text("The link."),
        },
        is_inner=True,
    ),
    "progress": Table(
        "Up to which load each table was read, and with which columns.",
        ("schema_name", "table_name", "role"),
        {
            "schema_name": _text("The source's schema; empty for the model's own state."),
            "table_name": _text("The table."),
            "role": _text(
                "What it is read as: a kind, identifies, aliases, or goal and its name; or what the state says."
            ),
            "loaded_to": _time("All its rows with a loaded_at up to this are in the model."),
            "state": _text("The types of the columns that are read, as JSON."),
        },
        is_inner=True,
    ),
}
