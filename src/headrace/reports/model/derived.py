"""The tables that count: each a declaration of what its rows add up from messages, events and attribution. `rollups` keeps them.

Templates read rows with a `weight`: 1 for what is there, -1 for what is gone. Sums over both are what changed; sums over all that is there
are the whole. DuckDB spends more on planning a statement than on 1,000 rows, so that they share `facts` and `days`.
"""

# ruff: noqa: S608 -- all names are of the model; the goal goes through `text`

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import COUNTS, EARLY_SECONDS, Type
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

IN_CURVE: Final = ("opens", "human_opens", "clicks", "human_clicks")
CURVE_HOURS: Final = 168
LATE_SECONDS: Final = 86_400
RANK_DIGITS: Final = 18


class Side(NamedTuple):
    """Tables `messages`, `events` and `attribution` by their prefix, and what their rows weigh."""

    prefix: str
    weight: int


NOW: Final = Side("new_", 1)
BEFORE: Final = Side("old_", -1)


class Peak(NamedTuple):
    """The greatest value over a row's messages or events, or the least. Of two columns the second goes with the first, a time, and
    decides between equals; the template has both as one text, too (`_rank`). Texts are compared by their bytes. Null means that there
    is none, and only the first column tells."""

    columns: Sequence[str]
    is_least: bool = False

    def aggregate(self, column: str, type_: Type, side: str = "true") -> str:
        """Of the template's rows for which `side` holds."""
        first = self.columns[0]
        if column != first:
            return f'substr(max({column}_rank COLLATE "C") FILTER (WHERE {side}), {RANK_DIGITS + 1})'
        if type_ is Type.TRUTH:  # PostgreSQL's booleans have no max
            return f"bool_or({column}) FILTER (WHERE {side})"
        collation = ' COLLATE "C"' if type_ is Type.TEXT else ""
        return f"{'min' if self.is_least else 'max'}({column}{collation}) FILTER (WHERE {side})"


class Again(NamedTuple):
    """Where a row's peak is looked for when its former holder is gone: the rows of `table` whose `column` is in the query `keys`,
    in which `{lost}` stands for a table of the derived rows' keys. They must be complete for the template."""

    table: str
    column: str
    keys: str


class Rollup(NamedTuple):
    """A derived table. `template` is a query over `{facts}`, `{days}`, `{messages}` (test sends left out) or `{events}` that gives rows
    of `key`, `sums` and the columns of `peaks`, to be aggregated; sums have their weight, and beside peaks it is a column, too.

    `computed`: columns made of the others, as expressions over a row `m`. `by`: the BIGINT column by which a large table's rows are found."""

    table: str
    key: Sequence[str]
    sums: Sequence[str]
    template: str
    peaks: Sequence[Peak] = ()
    again: Again | None = None
    computed: Mapping[str, str] = MappingProxyType({})
    by: str | None = None


def declared(engine: Engine) -> Sequence[Rollup]:
    """All that are sums and peaks; `names` is merged, and `campaigns` added up from `campaign_sends`."""
    return [
        _counted("campaign_sends", ("source", "campaign_id", "email_id", "journey_id", "sent_quarter")),
        _counted("domains", ("campaign_id", "domain")),
        _daily(),
        _curve(),
        _list_health(engine),
        _quality(engine),
        _links(),
        _recipients(engine),
    ]


def messages(sides: Sequence[Side]) -> str:
    return " UNION ALL ".join(
        f"SELECT {weight} AS weight, * FROM {prefix}messages WHERE is_test IS NOT TRUE" for prefix, weight in sides
    )


def events(sides: Sequence[Side]) -> str:
    return " UNION ALL ".join(f"SELECT {weight} AS weight, * FROM {prefix}events" for prefix, weight in sides)


def facts(engine: Engine, settings: ModelSettings, sides: Sequence[Side]) -> str:
    """A row for each message and each order that the last touch of the first goal gives to one, with its weight: what it counts as, on
    which days, and in which hours after delivery."""
    goal = f"goal = {engine.text(settings.goals[0].name)}" if settings.goals else "false"
    orders = " UNION ALL ".join(
        f"SELECT {weight} AS weight, * FROM {prefix}attribution WHERE model = 'last' AND {goal}"
        for prefix, weight in sides
    )
    nothing, no_day, no_hour = "0", engine.null(Type.DAY), engine.null(Type.COUNT)
    same = _same("weight", "source", "campaign_id", "email_id", "journey_id")
    same |= {"sent_quarter": engine.quarter("sent_at"), "domain": "coalesce(domain, '')"}
    money = engine.cast("0", Type.MONEY)
    of_messages = {
        **same,
        "list_id": "coalesce(list_id, '')",
        **{name: f"CASE WHEN {which} THEN weight ELSE 0 END" for name, (which, _) in OF_MESSAGES.items()},
        "orders": nothing,
        "revenue": money,
        **{f"{name}_day": _day(engine, name) for name in OF_MESSAGES},
        "orders_day": no_day,
        **{f"{name}_hour": _hour(engine, name) for name in IN_CURVE},
    }
    of_orders = {
        **same,
        "list_id": "''",
        **dict.fromkeys(OF_MESSAGES, nothing),
        "orders": "weight",
        "revenue": f"weight * coalesce(value, {money})",
        **{f"{name}_day": no_day for name in OF_MESSAGES},
        "orders_day": engine.day("happened_at"),
        **{f"{name}_hour": no_hour for name in IN_CURVE},
    }
    return (
        f"SELECT {listed(of_messages)} FROM ({messages(sides)}) AS m"
        f" UNION ALL SELECT {listed(of_orders)} FROM ({orders}) AS a"
    )


def days() -> str:
    """Over `{facts}`: a row for each day and measure, with `n` and `revenue`. What has all days in common goes together first."""
    keys, columns = "campaign_id, source, list_id", [f"{name}_day" for name in (*OF_MESSAGES, "orders")]
    grouped = (
        f"SELECT {keys}, {', '.join(columns)}, sum(weight) AS n, sum(revenue) AS revenue FROM {{facts}} AS f"
        f" GROUP BY {keys}, {', '.join(columns)} HAVING sum(weight) <> 0 OR sum(revenue) <> 0"
    )
    measures = ", ".join(f"'{name}'" for name in (*OF_MESSAGES, "orders"))
    apart = (
        f"SELECT {keys}, n, revenue, unnest(ARRAY[{measures}]) AS measure, unnest(ARRAY[{', '.join(columns)}]) AS day"
        f" FROM ({grouped}) AS grouped"
    )
    return f"SELECT * FROM ({apart}) AS apart WHERE day IS NOT NULL"


def _day(engine: Engine, name: str) -> str:
    which, moment = OF_MESSAGES[name]
    return f"CASE WHEN {which} THEN {engine.day(f'coalesce({moment}, sent_at)')} END"


def _hour(engine: Engine, name: str) -> str:
    which, moment = OF_MESSAGES[name]
    seconds = engine.seconds(moment, "delivered_at")
    within = f"{seconds} >= -{EARLY_SECONDS} AND {seconds} < {CURVE_HOURS * 3600}"
    hour = engine.cast(f"greatest(floor(({seconds}) / 3600), 0)", Type.COUNT)
    return f"CASE WHEN is_delivered AND {which} AND {within} THEN {hour} END"


def _same(*columns: str) -> dict[str, str]:
    return {column: column for column in columns}


def listed(expressions: Mapping[str, str]) -> str:
    return ", ".join(sql if sql == column else f"{sql} AS {column}" for column, sql in expressions.items())


def _counted(table: str, key: Sequence[str]) -> Rollup:
    return Rollup(table, key, tuple(COUNTS), f"SELECT {', '.join([*key, *COUNTS])} FROM {{facts}} AS f")


def _measured(measures: Iterable[str]) -> dict[str, str]:
    return {name: f"CASE WHEN measure = '{name}' THEN n ELSE 0 END" for name in measures}


def _daily() -> Rollup:
    key = ("campaign_id", "day")
    columns = {**_same(*key), **_measured((*OF_MESSAGES, "orders")), "revenue": "revenue"}
    return Rollup("campaigns_daily", key, tuple(COUNTS), f"SELECT {listed(columns)} FROM {{days}} AS d")


def _curve() -> Rollup:
    hours = ", ".join(f"{name}_hour" for name in IN_CURVE)
    grouped = f"SELECT campaign_id, {hours}, sum(weight) AS n FROM {{facts}} AS f GROUP BY campaign_id, {hours} HAVING sum(weight) <> 0"
    measures = ", ".join(f"'{name}'" for name in IN_CURVE)
    apart = f"SELECT campaign_id, n, unnest(ARRAY[{measures}]) AS measure, unnest(ARRAY[{hours}]) AS hour FROM ({grouped}) AS g"
    columns = {**_same("campaign_id", "hour"), **_measured(IN_CURVE)}
    template = f"SELECT {listed(columns)} FROM ({apart}) AS apart WHERE hour IS NOT NULL"
    return Rollup("engagement_curve", ("campaign_id", "hour"), IN_CURVE, template)


def _list_health(engine: Engine) -> Rollup:
    of_messages = ("delivered", "unsubscribes", "spam", "hard_bounces")
    measured = ", ".join(f"'{name}'" for name in of_messages)
    key, sums = ("day", "source", "list_id"), ("delivered", "subscribes", "unsubscribes", "spam", "hard_bounces")
    rows = (
        f"SELECT day, source, list_id, measure, n FROM {{days}} AS d WHERE measure IN ({measured}) UNION ALL"
        f" SELECT {engine.day('happened_at')} AS day, source, coalesce(list_id, ''), 'subscribes', weight"
        " FROM {events} AS e WHERE kind = 'subscribed' AND is_test IS NOT TRUE"
    )
    template = f"SELECT {listed({**_same(*key), **_measured(sums)})} FROM ({rows}) AS rows_of_days"
    return Rollup("list_health", key, sums, template)


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
    counts = {"events": "weight", **{name: f"CASE WHEN {sql} THEN weight ELSE 0 END" for name, sql in measures.items()}}
    key = {"day": engine.day("received_at"), "source": "source"}
    return Rollup("quality", tuple(key), tuple(counts), f"SELECT {listed({**key, **counts})} FROM {{events}} AS e")


def _links() -> Rollup:
    """Clicks of a message that is a test count nowhere, even if the click itself does not say so."""
    key, human = ("campaign_id", "email_id", "link"), "count(*) FILTER (WHERE is_machine IS NOT TRUE)"
    columns = {
        "weight": "weight",
        "message_id": "message_id",
        "campaign_id": "campaign_id",
        "email_id": "email_id",
        "link": "coalesce(link, '')",
        "link_url": 'max(link_url COLLATE "C")',
        "clicks": "weight",
        "human_clicks": f"CASE WHEN {human} > 0 THEN weight ELSE 0 END",
        "click_events": "weight * count(*)",
        "human_click_events": f"weight * {human}",
    }
    template = (
        f"SELECT {listed(columns)} FROM {{events}} AS e WHERE kind = 'clicked' AND NOT EXISTS (SELECT 1 FROM {{events}} AS test"
        " WHERE test.is_test AND test.message_id = e.message_id AND test.weight = e.weight) GROUP BY 1, 2, 3, 4, 5"
    )
    keys = (
        "SELECT DISTINCT e.group_key FROM email.events AS e JOIN {lost} AS l ON l.campaign_id = e.campaign_id"
        " AND l.email_id = e.email_id AND l.link = coalesce(e.link, '') WHERE e.kind = 'clicked'"
    )
    sums = ("clicks", "human_clicks", "click_events", "human_click_events")
    return Rollup("links", key, sums, template, [Peak(["link_url"])], Again("events", "group_key", keys))


def _rank(engine: Engine, time: str, text: str) -> str:
    """Ordered by time, then by text. Aggregates that sort rows cost ten times as much. From the year -1199 to 27,000."""
    moved = f"CAST({engine.micros(time)} AS bigint) + {10 ** (RANK_DIGITS - 1)}"
    return f"lpad({engine.cast(moved, Type.TEXT)}, {RANK_DIGITS}, '0') || {text}"


def _recipients(engine: Engine) -> Rollup:
    peaks = {
        "is_matched": "is_matched",
        "email_sent_at": "CASE WHEN email IS NOT NULL THEN sent_at END",
        "email": "email",
        "first_sent_at": "sent_at",
        "last_sent_at": "sent_at",
        "last_delivered_at": "delivered_at",
        "last_human_opened_at": "human_opened_at",
        "last_human_clicked_at": "human_clicked_at",
        "unsubscribed_at": "unsubscribed_at",
        "complained_at": "complained_at",
        "hard_bounced_at": "CASE WHEN is_bounced AND bounce_type = 'hard' THEN bounced_at END",
    }
    rank = {"email_rank": _rank(engine, "sent_at", "email")}
    together, key = ("email_sent_at", "email"), ("recipient_key", "person_key")
    counts = {name: f"CASE WHEN {which} THEN weight ELSE 0 END" for name, (which, _) in OF_MESSAGES.items()}
    return Rollup(
        "recipients",
        key,
        tuple(counts),
        f"SELECT {listed({'weight': 'weight', **_same(*key), **counts, **peaks, **rank})} FROM {{messages}} AS m",
        [Peak(together), *(Peak([name], is_least=name == "first_sent_at") for name in peaks if name not in together)],
        Again("messages", "person_key", "SELECT DISTINCT person_key FROM {lost}"),
        computed={"domain": "split_part(coalesce(m.email, ''), '@', 2)"},
        by="person_key",
    )
