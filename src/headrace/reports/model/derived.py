"""The tables that count: each a declaration of what its rows add up from messages, events and attribution. `rollups` keeps them."""

# ruff: noqa: S608 -- all names are of the model; the goal goes through `text`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import COUNTS, Type
from headrace.reports.model.settings import ModelSettings

OF_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "sent": ("is_sent", "sent_at"),
    "delivered": ("is_delivered", "delivered_at"),
    "opens": ("is_opened", "opened_at"),
    "human_opens": ("is_human_opened", "human_opened_at"),
    "clicks": ("is_clicked", "clicked_at"),
    "human_clicks": ("is_human_clicked", "human_clicked_at"),
    "bounces": ("is_bounced", "bounced_at"),
    "hard_bounces": ("is_bounced AND bounce_type = 'hard'", "bounced_at"),
    "soft_bounces": ("is_bounced AND bounce_type = 'soft'", "bounced_at"),
    "unsubscribes": ("is_unsubscribed", "unsubscribed_at"),
    "spam": ("is_complained", "complained_at"),
}
"""Which messages count, and the column of the day on which they do."""

RATES: Final[Mapping[str, tuple[str, str]]] = {
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
"""Numerator and denominator."""

CURVE_HOURS: Final = 168
EARLY_SECONDS: Final = 300
"""Opens and clicks are stamped up to so long before the delivery that they follow."""
LATE_SECONDS: Final = 86_400


class Peak(NamedTuple):
    """The greatest value over a row's messages or events, or the least. Of several columns the later ones go with the first and
    decide between equals; texts are compared by their bytes. Null means that there is none, and only the first column tells."""

    columns: Sequence[str]
    is_least: bool = False


class Again(NamedTuple):
    """Where a row's peak is looked for when its former holder is gone: the rows of `table` whose `column` is in the query `keys`,
    in which `{lost}` stands for a table of the derived rows' keys. They must be complete for the template."""

    table: str
    column: str
    keys: str


class Rollup(NamedTuple):
    """A derived table. `template` is a query over `{messages}` (test sends left out), `{events}` and `{attribution}` (the last touch
    of the first goal) that gives `key` and `sums`, several rows of one key being added; with peaks one row a key.

    `computed`: columns made of the others, as expressions over a row `m`. `by`: the BIGINT column by which a large table's rows are found."""

    table: str
    key: Sequence[str]
    sums: Sequence[str]
    template: str
    peaks: Sequence[Peak] = ()
    again: Again | None = None
    computed: Mapping[str, str] = {}
    by: str | None = None

    @property
    def columns(self) -> Sequence[str]:
        return [*self.key, *self.sums, *(column for peak in self.peaks for column in peak.columns)]


def declared(engine: Engine, settings: ModelSettings) -> Sequence[Rollup]:  # noqa: ARG001 - a goal is chosen by `sources`
    """In the order in which they are kept."""
    return [
        _counted(
            engine,
            "campaign_sends",
            {**_same("source", "campaign_id", "email_id", "journey_id"), "sent_quarter": engine.quarter("sent_at")},
        ),
        _counted(engine, "domains", {"campaign_id": "campaign_id", "domain": "coalesce(domain, '')"}),
        _counted(engine, "campaigns", _same("campaign_id"))._replace(computed=_of_campaign(engine)),
        _daily(engine),
        _links(),
        _curve(engine),
        _list_health(engine),
        _quality(engine),
        _recipients(),
    ]


def sources(engine: Engine, settings: ModelSettings, prefix: str) -> Mapping[str, str]:
    """What stands for a template's names: the tables `messages`, `events` and `attribution` with a prefix, such as `new_`."""
    goal = f"goal = {engine.text(settings.goals[0].name)}" if settings.goals else "false"
    return {
        "messages": f"(SELECT * FROM {prefix}messages WHERE is_test IS NOT TRUE)",
        "events": f"{prefix}events",
        "attribution": f"(SELECT * FROM {prefix}attribution WHERE model = 'last' AND {goal})",
    }


def filled(template: str, tables: Mapping[str, str]) -> str:
    for name, table in tables.items():
        template = template.replace(f"{{{name}}}", table)
    return template


def _same(*columns: str) -> Mapping[str, str]:
    return {column: column for column in columns}


def _listed(expressions: Mapping[str, str]) -> str:
    return ", ".join(sql if sql == column else f"{sql} AS {column}" for column, sql in expressions.items())


def _numbers(count: int) -> str:
    return ", ".join(str(number) for number in range(1, count + 1))


def _counted(engine: Engine, table: str, key: Mapping[str, str]) -> Rollup:
    """All COUNTS by columns that messages and attribution share."""
    counts = {name: f"count(*) FILTER (WHERE {which})" for name, (which, _) in OF_MESSAGES.items()}
    nothing = dict.fromkeys(OF_MESSAGES, "0")
    grouped = _numbers(len(key))
    no_money = engine.cast("0", Type.MONEY)
    template = (
        f"SELECT {_listed({**key, **counts, 'orders': '0', 'revenue': no_money})} FROM {{messages}} AS m GROUP BY {grouped}"
        f" UNION ALL SELECT {_listed({**key, **nothing, 'orders': 'count(*)', 'revenue': f'coalesce(sum(value), {no_money})'})}"
        f" FROM {{attribution}} AS a GROUP BY {grouped}"
    )
    return Rollup(table, tuple(key), tuple(COUNTS), template)


def _of_campaign(engine: Engine) -> Mapping[str, str]:
    name = "(SELECT n.campaign_name FROM email.names AS n WHERE n.campaign_id = m.campaign_id)"
    return {
        "campaign_name": name,
        **{
            rate: f"{engine.cast(f'm.{above}', Type.RATE)} / nullif({engine.cast(f'm.{below}', Type.RATE)}, 0)"
            for rate, (above, below) in RATES.items()
        },
    }


def _days(engine: Engine, keys: str, measures: Sequence[str]) -> str:
    """A row for each message and measure, with the day on which it counts."""
    return " UNION ALL ".join(
        f"SELECT {keys}, {engine.day(f'coalesce({OF_MESSAGES[name][1]}, sent_at)')} AS day, '{name}' AS measure"
        f" FROM {{messages}} AS m WHERE {OF_MESSAGES[name][0]}"
        for name in measures
    )


def _measured(measures: Sequence[str]) -> Mapping[str, str]:
    return {name: f"count(*) FILTER (WHERE measure = '{name}')" for name in measures}


def _daily(engine: Engine) -> Rollup:
    no_money = engine.cast("0", Type.MONEY)
    key = _same("campaign_id", "day")
    ordered = {"campaign_id": "campaign_id", "day": engine.day("happened_at"), **dict.fromkeys(OF_MESSAGES, "0")}
    template = (
        f"SELECT {_listed({**key, **_measured(tuple(OF_MESSAGES)), 'orders': '0', 'revenue': no_money})}"
        f" FROM ({_days(engine, 'campaign_id', tuple(OF_MESSAGES))}) AS days GROUP BY 1, 2"
        f" UNION ALL SELECT {_listed({**ordered, 'orders': 'count(*)', 'revenue': f'coalesce(sum(value), {no_money})'})}"
        " FROM {attribution} AS a GROUP BY 1, 2"
    )
    return Rollup("campaigns_daily", tuple(key), tuple(COUNTS), template)


def _links() -> Rollup:
    """Clicks of a message that is a test count nowhere, even if the click itself does not say so."""
    by_message = (
        "SELECT message_id, campaign_id, email_id, coalesce(link, '') AS link, max(link_url COLLATE \"C\") AS link_url,"
        " count(*) AS click_events, count(*) FILTER (WHERE is_machine IS NOT TRUE) AS human_click_events"
        " FROM {events} AS e WHERE kind = 'clicked' AND NOT EXISTS"
        " (SELECT 1 FROM {events} AS test WHERE test.is_test AND test.message_id = e.message_id) GROUP BY 1, 2, 3, 4"
    )
    template = (
        'SELECT campaign_id, email_id, link, max(link_url COLLATE "C") AS link_url, count(*) AS clicks,'
        " count(*) FILTER (WHERE human_click_events > 0) AS human_clicks,"
        " sum(click_events) AS click_events, sum(human_click_events) AS human_click_events"
        f" FROM ({by_message}) AS clicked GROUP BY 1, 2, 3"
    )
    keys = (
        "SELECT DISTINCT e.group_key FROM email.events AS e JOIN {lost} AS l ON l.campaign_id = e.campaign_id"
        " AND l.email_id = e.email_id AND l.link = coalesce(e.link, '') WHERE e.kind = 'clicked'"
    )
    return Rollup(
        "links",
        ("campaign_id", "email_id", "link"),
        ("clicks", "human_clicks", "click_events", "human_click_events"),
        template,
        peaks=[Peak(["link_url"])],
        again=Again("events", "group_key", keys),
    )


def _curve(engine: Engine) -> Rollup:
    measures = ("opens", "human_opens", "clicks", "human_clicks")
    rows = " UNION ALL ".join(
        f"SELECT campaign_id, {engine.seconds(OF_MESSAGES[name][1], 'delivered_at')} AS seconds, '{name}' AS measure"
        f" FROM {{messages}} AS m WHERE is_delivered AND {OF_MESSAGES[name][0]}"
        for name in measures
    )
    hour = engine.cast("greatest(floor(seconds / 3600), 0)", Type.COUNT)
    template = (
        f"SELECT {_listed({'campaign_id': 'campaign_id', 'hour': hour, **_measured(measures)})} FROM ({rows}) AS delays"
        f" WHERE seconds >= -{EARLY_SECONDS} AND seconds < {CURVE_HOURS * 3600} GROUP BY 1, 2"
    )
    return Rollup("engagement_curve", ("campaign_id", "hour"), measures, template)


def _list_health(engine: Engine) -> Rollup:
    of_messages = ("delivered", "unsubscribes", "spam", "hard_bounces")
    days = _days(engine, "source, coalesce(list_id, '') AS list_id", of_messages)
    subscribed = (
        f"SELECT source, coalesce(list_id, '') AS list_id, {engine.day('happened_at')} AS day, 'subscribes' AS measure"
        " FROM {events} AS e WHERE kind = 'subscribed' AND is_test IS NOT TRUE"
    )
    measures = ("delivered", "subscribes", "unsubscribes", "spam", "hard_bounces")
    key = ("day", "source", "list_id")
    template = f"SELECT {_listed({**_same(*key), **_measured(measures)})} FROM ({days} UNION ALL {subscribed}) AS days GROUP BY 1, 2, 3"
    return Rollup("list_health", key, measures, template)


def _quality(engine: Engine) -> Rollup:
    measures = {
        "late_events": f"{engine.seconds('received_at', 'happened_at')} > {LATE_SECONDS}",
        "without_campaign": "campaign_id = ''",
        "without_email_id": "email_id = ''",
        "without_address": "email IS NULL",
        "unmatched_events": "is_matched IS NOT TRUE",
        "test_events": "is_test",
        "machine_opens": "kind = 'opened' AND is_machine",
        "machine_clicks": "kind = 'clicked' AND is_machine",
    }
    counts = {"events": "count(*)", **{name: f"count(*) FILTER (WHERE {sql})" for name, sql in measures.items()}}
    key = {"day": engine.day("received_at"), "source": "source"}
    template = f"SELECT {_listed({**key, **counts})} FROM {{events}} AS e GROUP BY 1, 2"
    return Rollup("quality", tuple(key), tuple(counts), template)


def _recipients() -> Rollup:
    counts = {name: f"count(*) FILTER (WHERE {which})" for name, (which, _) in OF_MESSAGES.items()}
    last = '(array_agg({} ORDER BY sent_at DESC, email COLLATE "C" DESC) FILTER (WHERE email IS NOT NULL))[1]'
    peaks = {
        "is_matched": "bool_or(is_matched)",
        "email_sent_at": "max(sent_at) FILTER (WHERE email IS NOT NULL)",
        "email": last.format("email"),
        "domain": last.format("domain"),
        "first_sent_at": "min(sent_at)",
        "last_sent_at": "max(sent_at)",
        "last_delivered_at": "max(delivered_at)",
        "last_human_opened_at": "max(human_opened_at)",
        "last_human_clicked_at": "max(human_clicked_at)",
        "unsubscribed_at": "max(unsubscribed_at)",
        "complained_at": "max(complained_at)",
        "hard_bounced_at": "max(bounced_at) FILTER (WHERE is_bounced AND bounce_type = 'hard')",
    }
    together = ("email_sent_at", "email", "domain")
    key = ("recipient_key", "person_key")
    return Rollup(
        "recipients",
        key,
        tuple(counts),
        f"SELECT {_listed({**_same(*key), **counts, **peaks})} FROM {{messages}} AS m GROUP BY 1, 2",
        peaks=[
            Peak(together),
            *(Peak([name], is_least=name == "first_sent_at") for name in peaks if name not in together),
        ],
        again=Again("messages", "person_key", "SELECT DISTINCT person_key FROM {lost}"),
        computed={"domain": "coalesce(m.domain, '')"},
        by="person_key",
    )
