"""What reports count: every figure once, as data. SQL, the command line, the API and the documentation are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from headrace.reports.model.derived import OF_MESSAGES
from headrace.reports.model.schema import TABLES

Unit = Literal["count", "share", "money", "seconds", "number", "level"]
AttributionModel = Literal["last", "first", "any"]
MODELS: Final[Sequence[AttributionModel]] = ("last", "first", "any")
SPAM_LEVELS: Final = (0.001, 0.003)
"""Where mailbox providers begin to complain, and where they begin to refuse."""


class Aggregate(NamedTuple):
    """A figure out of the rows of a table. `of` and `when` are columns of it, or an expression of ours; for the kind `seconds` the
    figure is the percentile `at` of the time from `since` to `of`. `when` BY_MODEL means the request's model of attribution."""

    kind: Literal["count", "sum", "distinct", "percentile", "seconds"]
    of: str = ""
    when: str = ""
    since: str = ""
    at: float = 0.0


BY_MODEL: Final = "by model"
ROLLUPS: Final = ("campaigns", "campaign_sends", "domains", "campaigns_daily", "recipients", "list_health", "quality")
"""Tables whose columns of a measure's name are added up."""
_SALES: Final = ("campaigns", "campaign_sends", "domains", "campaigns_daily")
"""Those of them that know the orders of the first goal by last touch."""


class Measure(NamedTuple):
    """One of three: `numerator` by `denominator`, the sum of `plus` less that of `minus`, or `aggregates` by the part that is read.
    With `levels` it says how many of these the quotient reaches."""

    name: str
    title: str
    sentence: str
    unit: Unit
    numerator: str | None = None
    denominator: str | None = None
    plus: Sequence[str] = ()
    minus: Sequence[str] = ()
    aggregates: Mapping[str, Aggregate] = {}
    levels: Sequence[float] = ()

    @property
    def is_base(self) -> bool:
        return self.numerator is None and not self.plus


def _rollups(name: str, tables: Sequence[str] = ROLLUPS) -> dict[str, Aggregate]:
    return {table: Aggregate("sum", name) for table in tables if name in TABLES[table].columns}


def _messages(name: str, title: str, sentence: str, **others: Aggregate) -> Measure:
    """A count of messages, of those that the model itself counts so."""
    read = {"messages": Aggregate("count", when=OF_MESSAGES[name][0])}
    return Measure(name, title, sentence, "count", aggregates={**read, **_rollups(name), **others})


def _events(name: str, title: str, sentence: str, column: str, **others: Aggregate) -> Measure:
    return Measure(name, title, sentence, "count", aggregates={"messages": Aggregate("sum", column), **others})


def _rate(name: str, title: str, sentence: str, numerator: str, denominator: str, unit: Unit = "share") -> Measure:
    return Measure(name, title, sentence, unit, numerator, denominator)


def _both(name: str) -> dict[str, Aggregate]:
    return {part: Aggregate("count", when=f"figure = '{name}'") for part in ("message_hours",)} | {
        "engagement_curve": Aggregate("sum", name)
    }


def _seconds(name: str, title: str, sentence: str, moment: str, at: float) -> Measure:
    aggregate = Aggregate("seconds", moment, "is_delivered", "delivered_at", at)
    return Measure(name, title, sentence, "seconds", aggregates={"messages": aggregate})


def _of_links(name: str, when: str = "", *, messages: bool = False) -> dict[str, Aggregate]:
    events = Aggregate("distinct", "message_id", when) if messages else Aggregate("count", when=when)
    return {"links": Aggregate("sum", name), "link_events": events}


def _by_model(model: AttributionModel) -> Sequence[Measure]:
    word = {"last": "the last touch", "first": "the first touch", "any": "any touch"}[model]
    once = " An order that several messages touched counts once in each row that one of them is in." * (model == "any")
    when = f"model = '{model}'"
    rollups = _SALES if model == "last" else ()
    orders = {"attribution": Aggregate("count", when=when), **{t: Aggregate("sum", "orders") for t in rollups}}
    revenue = {"attribution": Aggregate("sum", "value", when), **{t: Aggregate("sum", "revenue") for t in rollups}}
    return (
        Measure(f"orders_{model}", f"Orders ({model})", f"Orders given by {word}.{once}", "count", aggregates=orders),
        Measure(
            f"revenue_{model}",
            f"Revenue ({model})",
            f"Value of the orders given by {word}.",
            "money",
            aggregates=revenue,
        ),
    )


_ALL: Final[Sequence[Measure]] = (
    _messages(
        "sent",
        "Sent",
        "Messages delivered or bounced; sent, processed or dropped ones too where the platform says so.",
    ),
    _messages(
        "delivered",
        "Delivered",
        "Messages delivered and not bounced later, or bounced yet opened or clicked afterwards.",
    ),
    _messages("opens", "Opens", "Messages with an open, by a person or a machine.", **_both("opens")),
    _messages(
        "human_opens",
        "Human opens",
        "Messages that a person opened, or clicked without an open.",
        **_both("human_opens"),
    ),
    _messages(
        "clicks",
        "Clicks",
        "Messages with a click, by a person or a machine. Of links: messages in which it was clicked.",
        **_both("clicks"),
        **_of_links("clicks", messages=True),
    ),
    _messages(
        "human_clicks",
        "Human clicks",
        "Messages with a click that no rule takes for a machine's.",
        **_both("human_clicks"),
        **_of_links("human_clicks", "is_machine IS NOT TRUE", messages=True),
    ),
    _messages("bounces", "Bounces", "Messages that bounced, also those delivered in the end."),
    _messages("hard_bounces", "Hard bounces", "Messages with a hard bounce."),
    _messages(
        "soft_bounces",
        "Soft bounces",
        "Messages with a soft bounce and no hard one.",
    ),
    Measure(
        "unknown_bounces",
        "Other bounces",
        "Messages that bounced neither hard nor soft: blocked, or for an unknown reason.",
        "count",
        plus=("bounces",),
        minus=("hard_bounces", "soft_bounces"),
    ),
    _messages("unsubscribes", "Unsubscribes", "Messages whose recipient unsubscribed by them."),
    _messages("spam", "Spam", "Messages marked as spam."),
    Measure(
        "orders",
        "Orders",
        "Orders (conversions of the goal) given to messages by the report's model of attribution.",
        "count",
        aggregates={
            "attribution": Aggregate("count", when=BY_MODEL),
            **{t: Aggregate("sum", "orders") for t in _SALES},
        },
    ),
    Measure(
        "revenue",
        "Revenue",
        "The value of these orders.",
        "money",
        aggregates={
            "attribution": Aggregate("sum", "value", BY_MODEL),
            **{t: Aggregate("sum", "revenue") for t in _SALES},
        },
    ),
    _rate("delivery_rate", "Delivery rate", "Sent messages that were delivered.", "delivered", "sent"),
    _rate("bounce_rate", "Bounce rate", "Sent messages that bounced.", "bounces", "sent"),
    _rate("hard_bounce_rate", "Hard bounce rate", "Sent messages that bounced hard.", "hard_bounces", "sent"),
    _rate("soft_bounce_rate", "Soft bounce rate", "Sent messages that bounced soft.", "soft_bounces", "sent"),
    _rate(
        "unknown_bounce_rate",
        "Other bounce rate",
        "Sent messages that bounced neither hard nor soft.",
        "unknown_bounces",
        "sent",
    ),
    _rate("open_rate", "Open rate", "Delivered messages with an open, machines included.", "opens", "delivered"),
    _rate("human_open_rate", "Human open rate", "Delivered messages that a person opened.", "human_opens", "delivered"),
    _rate("click_rate", "Click rate", "Delivered messages that a person clicked.", "human_clicks", "delivered"),
    _rate(
        "all_click_rate",
        "Click rate with machines",
        "Delivered messages with a click, machines included.",
        "clicks",
        "delivered",
    ),
    _rate(
        "click_to_open_rate",
        "Click-to-open rate",
        "Messages that a person opened in which a person clicked.",
        "human_clicks",
        "human_opens",
    ),
    _rate(
        "unsubscribe_rate",
        "Unsubscribe rate",
        "Delivered messages that were unsubscribed from.",
        "unsubscribes",
        "delivered",
    ),
    _rate("spam_rate", "Spam rate", "Delivered messages marked as spam.", "spam", "delivered"),
    Measure(
        "spam_alarm",
        "Spam alarm",
        "0 while the spam rate is below 0.1 %, 1 from there on, 2 from 0.3 % on.",
        "level",
        "spam",
        "delivered",
        levels=SPAM_LEVELS,
    ),
    _rate("conversion_rate", "Conversion rate", "Orders by delivered message.", "orders", "delivered"),
    _rate(
        "revenue_per_recipient",
        "Revenue per recipient",
        "Revenue by delivered message.",
        "revenue",
        "delivered",
        "money",
    ),
    _rate("average_order_value", "Average order", "Revenue by order.", "revenue", "orders", "money"),
    Measure(
        "machine_only_opens",
        "Machine-only opens",
        "Messages with an open that no person opened.",
        "count",
        aggregates={"messages": Aggregate("count", when="is_opened AND NOT is_human_opened")},
    ),
    _rate(
        "machine_share_of_opens",
        "Machine share of opens",
        "Opened messages that machines alone opened.",
        "machine_only_opens",
        "opens",
    ),
    Measure(
        "machine_only_clicks",
        "Machine-only clicks",
        "Messages with a click that no person clicked.",
        "count",
        plus=("clicks",),
        minus=("human_clicks",),
    ),
    _rate(
        "machine_share_of_clicks",
        "Machine share of clicks",
        "Clicked messages that machines alone clicked.",
        "machine_only_clicks",
        "clicks",
    ),
    _events("open_events", "Open events", "Opens, repeated ones and machines' too.", "open_events"),
    _events("human_open_events", "Human open events", "Opens by a person, repeated ones too.", "human_open_events"),
    _events(
        "click_events",
        "Click events",
        "Clicks, repeated ones and machines' too.",
        "click_events",
        **_of_links("click_events"),
    ),
    _events(
        "human_click_events",
        "Human click events",
        "Clicks by a person, repeated ones too.",
        "human_click_events",
        **_of_links("human_click_events", "is_machine IS NOT TRUE"),
    ),
    Measure(
        "clicked_links",
        "Clicked links",
        "Different links clicked by anyone, of messages that a person clicked.",
        "count",
        aggregates={"messages": Aggregate("sum", "links_clicked", "is_human_clicked")},
    ),
    _rate(
        "links_per_clicker",
        "Links per clicker",
        "Different links by message that a person clicked.",
        "clicked_links",
        "human_clicks",
        "number",
    ),
    _seconds(
        "time_to_open_median",
        "Time to open (median)",
        "Half of the messages that a person opened, or clicked, were first so within this time from delivery.",
        "human_opened_at",
        0.5,
    ),
    _seconds("time_to_open_p90", "Time to open (90 %)", "The same for nine of ten.", "human_opened_at", 0.9),
    _seconds(
        "time_to_click_median",
        "Time to click (median)",
        "Half of the messages that a person clicked were first so within this time from delivery.",
        "human_clicked_at",
        0.5,
    ),
    _seconds("time_to_click_p90", "Time to click (90 %)", "The same for nine of ten.", "human_clicked_at", 0.9),
    Measure(
        "recipients",
        "Recipients",
        "Different people who were sent a message.",
        "count",
        aggregates={"messages": Aggregate("distinct", "person_key", "is_sent"), "recipients": Aggregate("count")},
    ),
    Measure(
        "unmatched_recipients",
        "Unmatched recipients",
        "Recipients for whom no user id is known.",
        "count",
        aggregates={
            "messages": Aggregate("distinct", "person_key", "is_sent AND is_matched IS NOT TRUE"),
            "recipients": Aggregate("count", when="is_matched IS NOT TRUE"),
        },
    ),
    _rate(
        "unmatched_share",
        "Unmatched share",
        "Recipients for whom no user id is known.",
        "unmatched_recipients",
        "recipients",
    ),
    *(measure for model in MODELS for measure in _by_model(model)),
    Measure(
        "time_to_convert_median",
        "Time to convert (median)",
        "Half of the orders came within this time from the touch that counts.",
        "seconds",
        aggregates={"attribution": Aggregate("percentile", "seconds_to_convert", BY_MODEL, at=0.5)},
    ),
    Measure(
        "time_to_convert_p90",
        "Time to convert (90 %)",
        "The same for nine of ten.",
        "seconds",
        aggregates={"attribution": Aggregate("percentile", "seconds_to_convert", BY_MODEL, at=0.9)},
    ),
    Measure(
        "lost_recipients",
        "Lost recipients",
        "Recipients who unsubscribed, complained, or to whom a message bounced hard.",
        "count",
        aggregates={
            "recipients": Aggregate(
                "count",
                when="unsubscribed_at IS NOT NULL OR complained_at IS NOT NULL OR hard_bounced_at IS NOT NULL",
            )
        },
    ),
    Measure("subscribes", "Subscriptions", "Subscriptions (events).", "count", aggregates=_rollups("subscribes")),
    Measure(
        "net_growth",
        "Net growth",
        "Subscriptions less messages unsubscribed from, marked as spam or bounced hard.",
        "count",
        plus=("subscribes",),
        minus=("unsubscribes", "spam", "hard_bounces"),
    ),
    *(
        Measure(name, title, TABLES["quality"].columns[name].sentence, "count", aggregates=_rollups(name))
        for name, title in (
            ("events", "Events"),
            ("late_events", "Late events"),
            ("without_campaign", "Without campaign"),
            ("without_email_id", "Without e-mail id"),
            ("without_address", "Without address"),
            ("unmatched_events", "Unmatched events"),
            ("test_events", "Test events"),
            ("machine_opens", "Machine opens"),
            ("machine_clicks", "Machine clicks"),
        )
    ),
    _rate("late_share", "Late share", "Events received more than a day after they happened.", "late_events", "events"),
    _rate(
        "unmatched_event_share", "Unmatched events' share", "Events of unknown people.", "unmatched_events", "events"
    ),
    Measure(
        "flagged_opens",
        "Flagged opens",
        "Opens (events) that a rule takes for a machine's.",
        "count",
        aggregates={"reasons": Aggregate("distinct", "event_key", "kind = 'opened'")},
    ),
    Measure(
        "flagged_clicks",
        "Flagged clicks",
        "Clicks (events) that a rule takes for a machine's.",
        "count",
        aggregates={"reasons": Aggregate("distinct", "event_key", "kind = 'clicked'")},
    ),
    Measure(
        "flagged_messages",
        "Flagged messages",
        "Messages with such an open or click.",
        "count",
        aggregates={"reasons": Aggregate("distinct", "message_id")},
    ),
    Measure(
        "flagged_by_it_alone",
        "By this rule alone",
        "Opens and clicks (events) that no other rule flags: what switching the rule off would give back to people.",
        "count",
        aggregates={"reasons": Aggregate("count", when="machine_reasons = reason")},
    ),
)

MEASURES: Final[Mapping[str, Measure]] = {measure.name: measure for measure in _ALL}


def bases(names: Sequence[str]) -> Sequence[str]:
    """The measures that are read from tables for these, each once, in the order in which they are needed first."""
    found: dict[str, None] = {}
    for name in names:
        measure = MEASURES[name]
        if measure.is_base:
            found[name] = None
        else:
            parts = [part for part in (measure.numerator, measure.denominator) if part]
            found |= dict.fromkeys(bases([*parts, *measure.plus, *measure.minus]))
    return list(found)


def definition(measure: Measure) -> str:
    """What it is made of, in names of measures; empty for what is read from the tables."""
    if measure.numerator is not None:
        return f"{measure.numerator} / {measure.denominator}"
    return " - ".join([" + ".join(measure.plus), *measure.minus]) if measure.plus else ""
