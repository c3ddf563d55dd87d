"""What reports read: for each dataset the ways to its figures, the cheapest first. A way is taken when it knows all that is asked for.

A way of several parts reads each for itself and adds the rows up, so that no join multiplies anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from headrace.reports.model.derived import CURVE_HOURS, OF_MESSAGES
from headrace.reports.model.schema import EARLY_SECONDS
from headrace.reports.model.settings import RULES
from headrace.reports.place import Place

Clock = Literal["moment", "quarter", "day", "none"]
"""How exactly the rows know their time. `day` is a date in UTC."""


class Part(NamedTuple):
    """`rows` gives what stands in FROM; the rows are called `t`. `fields` are expressions for what dimensions and filters ask for;
    those of `joins` need more in FROM, which never multiplies rows. `clock` is the field by which the period selects.
    `once`: rows of the same conversion and model count once in each row of the report."""

    name: str
    rows: Callable[[Place], str]
    fields: Mapping[str, str]
    clock: str = ""
    exact: Clock = "none"
    where: str = ""
    more: str = ""
    joins: Mapping[str, str] = {}
    once: bool = False


class Way(NamedTuple):
    """`needs`: dimensions without which adding up would count something twice."""

    parts: Sequence[Part]
    needs: Sequence[str] = ()


class Dataset(NamedTuple):
    name: str
    sentence: str
    ways: Sequence[Way]


def _table(name: str) -> Callable[[Place], str]:
    return lambda _: f"email.{name} AS t"


def _fields(*names: str, **others: str) -> dict[str, str]:
    return {name: f"t.{name}" for name in names} | others


_MAIL: Final = ("source", "campaign_id", "email_id", "journey_id")
_OF_MESSAGE: Final = ("device", "send_number", "list_id", "is_matched", "bounce_type")
_MESSAGE: Final = "JOIN email.messages AS m ON m.message_id = t.message_id"
_OF_JOINED: Final = {name: f"m.{name}" for name in _OF_MESSAGE}
_JOINS: Final = dict.fromkeys(_OF_JOINED, _MESSAGE)

_CAMPAIGNS: Final = Part("campaigns", _table("campaigns"), _fields("campaign_id"))
_SENDS: Final = Part(
    "campaign_sends", _table("campaign_sends"), _fields(*_MAIL, sent="t.sent_quarter"), "sent", "quarter"
)
_DOMAINS: Final = Part("domains", _table("domains"), _fields("campaign_id", "domain"))
_MESSAGES: Final = Part(
    "messages",
    _table("messages"),
    _fields(*_MAIL, *_OF_MESSAGE, domain="coalesce(t.domain, '')", sent="t.sent_at"),
    "sent",
    "moment",
    where="t.is_test IS NOT TRUE",
)
_SOLD: Final = Part(
    "attribution",
    _table("attribution"),
    _fields(
        *_MAIL,
        "goal",
        "touch",
        domain="coalesce(t.domain, '')",
        sent="t.sent_at",
        happened="t.happened_at",
        **_OF_JOINED,
    ),
    "sent",
    "moment",
    joins=_JOINS,
    once=True,
)
_LINKS: Final = Part("links", _table("links"), _fields("campaign_id", "email_id", "link", "link_url"))
_LINK_URL: Final = "LEFT JOIN email.links AS l ON l.campaign_id = t.campaign_id AND l.email_id = t.email_id AND l.link = coalesce(t.link, '')"
_LINK_EVENTS: Final = Part(
    "link_events",
    lambda _: f"email.events AS t {_MESSAGE}",
    _fields(
        *_MAIL,
        domain="coalesce(m.domain, '')",
        **_OF_JOINED,
        sent="m.sent_at",
        link="coalesce(t.link, '')",
        link_url="l.link_url",
    ),
    "sent",
    "moment",
    where="t.kind = 'clicked' AND m.is_test IS NOT TRUE",
    joins={"link_url": _LINK_URL},
)
_CURVE: Final = Part(
    "engagement_curve", _table("engagement_curve"), _fields("campaign_id", hour_since_delivery="t.hour")
)


def _message_hours(place: Place) -> str:
    """First opens and clicks, a row each, with the hour since delivery."""
    columns = ", ".join((*_MAIL, "domain", *_OF_MESSAGE, "sent_at"))
    selects = [
        f"SELECT {columns}, '{figure}' AS figure, {place.engine.seconds(moment, 'delivered_at')} AS late "  # noqa: S608 -- our own words
        f"FROM email.messages WHERE is_test IS NOT TRUE AND is_delivered AND {which}"
        for figure in ("opens", "human_opens", "clicks", "human_clicks")
        for which, moment in [OF_MESSAGES[figure]]
    ]
    return f"({' UNION ALL '.join(selects)}) AS t"


_HOURS: Final = Part(
    "message_hours",
    _message_hours,
    _fields(
        *_MAIL,
        "domain",
        *_OF_MESSAGE,
        sent="t.sent_at",
        hour_since_delivery="CAST(greatest(floor(t.late / 3600), 0) AS bigint)",
    ),
    "sent",
    "moment",
    where=f"t.late >= -{EARLY_SECONDS} AND t.late < {CURVE_HOURS * 3600}",
)


def _reasons(place: Place) -> str:
    """Flagged opens and clicks, once for each rule that flags them; also by rules that are switched off by now."""
    names = sorted({rule.name for rule in (*RULES, *place.settings.rules)})
    values = ", ".join(f"({place.engine.text(name)})" for name in names)
    return (
        f"email.events AS t JOIN (VALUES {values}) AS r (reason) "
        "ON strpos(',' || t.machine_reasons || ',', ',' || r.reason || ',') > 0"
    )


_REASONS: Final = Part(
    "reasons",
    _reasons,
    _fields(*_MAIL, happened="t.happened_at", reason="r.reason", is_matched="t.is_matched"),
    "happened",
    "moment",
    where="t.is_machine AND t.is_test IS NOT TRUE",
    more="r.reason",
)


def _days(name: str, *fields: str) -> Part:
    return Part(name, _table(name), _fields(*fields, "day"), "day", "day")


_ALL: Final[Sequence[Dataset]] = (
    Dataset(
        "messages",
        "Mails to people, by when they were sent, with what came of them whenever it came.",
        (Way((_CAMPAIGNS,)), Way((_SENDS,)), Way((_DOMAINS,)), Way((_MESSAGES, _SOLD))),
    ),
    Dataset(
        "activity",
        "What happened on each day (UTC), whenever the mail was sent; a message counts on the day of its first open, click, ...",
        (Way((_days("campaigns_daily", "campaign_id"),)),),
    ),
    Dataset(
        "links",
        "Clicks of links, by when the mail was sent.",
        (Way((_LINKS,), needs=("link",)), Way((_LINK_EVENTS,))),
    ),
    Dataset(
        "engagement_curve",
        "First opens and clicks by the hour since delivery, for a week, by when the mail was sent.",
        (Way((_CURVE,)), Way((_HOURS,))),
    ),
    Dataset(
        "recipients",
        "People, by when they were last sent a mail. Their counts are over all time.",
        (
            Way(
                (
                    Part(
                        "recipients",
                        _table("recipients"),
                        _fields(
                            "recipient_key",
                            "email",
                            "domain",
                            "is_matched",
                            sent="t.last_sent_at",
                            first_sent="t.first_sent_at",
                            last_human="greatest(t.last_human_opened_at, t.last_human_clicked_at)",
                        ),
                        "sent",
                        "moment",
                    ),
                )
            ),
        ),
    ),
    Dataset(
        "attribution",
        "Orders that mails led to, by when the orders were placed.",
        (Way((_SOLD._replace(clock="happened"),)),),
    ),
    Dataset(
        "list_health",
        "What makes lists grow and shrink, by day (UTC).",
        (Way((_days("list_health", "source", "list_id"),)),),
    ),
    Dataset(
        "quality", "What is odd about the events of a day (UTC, of receipt).", (Way((_days("quality", "source"),)),)
    ),
    Dataset("reasons", "Opens and clicks that rules take for a machine's, by when they came.", (Way((_REASONS,)),)),
)
DATASETS: Final[Mapping[str, Dataset]] = {dataset.name: dataset for dataset in _ALL}
