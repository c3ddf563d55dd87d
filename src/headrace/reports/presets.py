"""Reports by name: what most people ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from headrace.reports.conditions import Condition
from headrace.reports.model.schema import TABLES

Chart = Literal["bars", "line"]


class Preset(NamedTuple):
    """`chart`: what its figures are drawn as, over the first measure unless `drawn` names another."""

    name: str
    sentence: str
    dataset: str
    dimensions: Sequence[str]
    measures: Sequence[str]
    sort: Sequence[str]
    chart: Chart = "bars"
    drawn: str = ""
    filters: Sequence[Condition] = ()
    limit: int | None = None


CAMPAIGN: Final = ("campaign_id", "campaign_name")
CAMPAIGN_MEASURES: Final = tuple(name for name in TABLES["campaigns"].columns if name not in CAMPAIGN)
_SHORT: Final = (
    "sent",
    "delivered",
    "opens",
    "human_opens",
    "open_rate",
    "human_open_rate",
    "clicks",
    "human_clicks",
    "click_rate",
    "unsubscribes",
    "spam",
    "orders",
    "revenue",
)
_BOTH: Final = ("opens", "human_opens", "clicks", "human_clicks")

_ALL: Final[Sequence[Preset]] = (
    Preset(
        "campaigns",
        "One row for each campaign, with every figure of email.campaigns.",
        "messages",
        CAMPAIGN,
        CAMPAIGN_MEASURES,
        ("-sent",),
        drawn="human_open_rate",
    ),
    Preset(
        "daily",
        "What was sent on each day, and what came of it.",
        "messages",
        ("sent_day",),
        _SHORT,
        ("sent_day",),
        "line",
    ),
    Preset(
        "activity",
        "What happened on each day (UTC), whenever the mail was sent; without rates, which would divide opens of older mails by the day's deliveries.",
        "activity",
        ("day",),
        tuple(name for name in _SHORT if not name.endswith("_rate")),
        ("day",),
        "line",
        drawn="human_opens",
    ),
    Preset(
        "hours",
        "At which hour of the day mails were sent, and what came of them.",
        "messages",
        ("sent_hour_of_day",),
        ("delivered", "human_open_rate", "click_rate", "conversion_rate", "revenue_per_recipient"),
        ("sent_hour_of_day",),
        drawn="human_open_rate",
    ),
    Preset(
        "links",
        "Which links were clicked, by people and by machines.",
        "links",
        (*CAMPAIGN, "email_id", "link", "link_url"),
        ("clicks", "human_clicks", "machine_share_of_clicks", "click_events", "human_click_events"),
        ("-human_clicks",),
        drawn="human_clicks",
    ),
    Preset(
        "domains",
        "Where mail is delivered, read and refused, by the domain of the address.",
        "messages",
        ("domain",),
        (
            "sent",
            "delivered",
            "delivery_rate",
            "hard_bounce_rate",
            "soft_bounce_rate",
            "open_rate",
            "human_open_rate",
            "click_rate",
            "unsubscribe_rate",
            "spam_rate",
            "spam_alarm",
        ),
        ("-sent",),
    ),
    Preset(
        "devices",
        "On what people read.",
        "messages",
        ("device",),
        ("human_opens", "human_clicks", "click_to_open_rate", "orders", "revenue"),
        ("-human_opens",),
        filters=(Condition("device", "known"),),
    ),
    Preset(
        "engagement",
        "How fast mails are read: first opens and clicks by the hour since delivery.",
        "engagement_curve",
        ("hour_since_delivery",),
        _BOTH,
        ("hour_since_delivery",),
        "line",
        drawn="human_opens",
    ),
    Preset(
        "times",
        "How long people take from delivery to open and click, by campaign.",
        "messages",
        CAMPAIGN,
        (
            "human_opens",
            "time_to_open_median",
            "time_to_open_p90",
            "human_clicks",
            "time_to_click_median",
            "time_to_click_p90",
            "links_per_clicker",
        ),
        ("-human_opens",),
        drawn="time_to_open_median",
    ),
    Preset(
        "recipients",
        "How many people there are, by when they last opened or clicked.",
        "recipients",
        ("recency",),
        ("recipients", "unmatched_recipients", "lost_recipients", "delivered", "human_opens", "human_clicks"),
        ("recency",),
    ),
    Preset(
        "list-health",
        "What made the lists grow and shrink, by week (UTC).",
        "list_health",
        ("week",),
        ("delivered", "subscribes", "unsubscribes", "spam", "hard_bounces", "net_growth"),
        ("week",),
        "line",
        drawn="net_growth",
    ),
    Preset(
        "quality",
        "What is odd about the events of each day (UTC, of receipt).",
        "quality",
        ("day", "source"),
        (
            "events",
            "late_events",
            "late_share",
            "without_campaign",
            "without_email_id",
            "without_address",
            "unmatched_events",
            "unmatched_event_share",
            "test_events",
            "machine_opens",
            "machine_clicks",
        ),
        ("day", "source"),
    ),
    Preset(
        "attribution",
        "Orders of each campaign by last, first and any touch, side by side, by when they were placed.",
        "attribution",
        CAMPAIGN,
        (
            "orders_last",
            "revenue_last",
            "orders_first",
            "revenue_first",
            "orders_any",
            "revenue_any",
            "time_to_convert_median",
        ),
        ("-revenue_last",),
    ),
    Preset(
        "journeys",
        "Journeys, mail by mail and send by send.",
        "messages",
        ("journey_id", *CAMPAIGN, "send_number"),
        _SHORT,
        ("journey_id", "campaign_id", "send_number"),
        filters=(Condition("journey_id", "known"),),
        drawn="human_open_rate",
    ),
    Preset("sources", "Each source's mails.", "messages", ("source",), _SHORT, ("-sent",)),
    Preset(
        "unmatched",
        "How many recipients of each campaign no user id is known for.",
        "messages",
        CAMPAIGN,
        ("recipients", "unmatched_recipients", "unmatched_share"),
        ("-unmatched_recipients",),
        drawn="unmatched_share",
    ),
    Preset(
        "machines",
        "Both rates of each campaign, and what machines have of them.",
        "messages",
        CAMPAIGN,
        (
            "delivered",
            "open_rate",
            "human_open_rate",
            "machine_share_of_opens",
            "all_click_rate",
            "click_rate",
            "machine_share_of_clicks",
        ),
        ("-delivered",),
        drawn="machine_share_of_opens",
    ),
    Preset(
        "reasons",
        "Which rules take opens and clicks for a machine's.",
        "reasons",
        ("reason",),
        ("flagged_opens", "flagged_clicks", "flagged_messages", "flagged_by_it_alone"),
        ("-flagged_messages",),
        drawn="flagged_messages",
    ),
)
PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _ALL}
"""By the name of the command that prints it."""
