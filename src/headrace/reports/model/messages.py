"""Messages: what became of one mail to one recipient, out of all events of its group."""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

_COLUMNS: Final = list(TABLES["messages"].columns)
_MADE_OF: Final = {
    "group_key": ("message_id",),
    **dict.fromkeys(("source", "campaign_id", "email_id", "recipient_key", "person_key"), ("group_key",)),
    "domain": ("email",),
    "is_opened": ("opened_at",),
    "is_human_opened": ("human_opened_at",),
    "is_clicked": ("clicked_at",),
    "is_human_clicked": ("human_clicked_at",),
    "is_bounced": ("bounced_at",),
    "is_unsubscribed": ("unsubscribed_at",),
    "is_complained": ("complained_at",),
}
"""Columns that cannot differ where these are the same."""
_BOUNCE_TYPES: Final = ("hard", "soft", "block", "unknown")
_TOLD: Final = [column for column in _COLUMNS if column not in (*_MADE_OF, "message_id")]


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """From `new_events` and `touched` to email.messages, `old_messages` and `new_messages`."""
    columns = ", ".join(_COLUMNS)
    others = "message_id NOT IN (SELECT message_id FROM same_messages)"
    derivation.run(
        [
            *engine.temporary("every_message", _select(engine, settings)),
            *engine.pick("picked_messages", "messages", "group_key", "touched"),
            *engine.temporary(
                "same_messages",
                "SELECT e.message_id FROM picked_messages AS p JOIN every_message AS e ON e.message_id = p.message_id "
                f"WHERE {' AND '.join(f'e.{column} IS NOT DISTINCT FROM p.{column}' for column in _TOLD)}",
            ),
            *engine.temporary("gone_messages", f"SELECT * FROM picked_messages WHERE {others}"),
            *engine.temporary("old_messages", f"SELECT {columns} FROM gone_messages"),
            *engine.temporary("new_messages", f"SELECT * FROM every_message WHERE {others}"),
            *engine.remove("messages", "gone_messages"),
            f"INSERT INTO email.messages ({columns}) SELECT * FROM new_messages",
        ]
    )


def _select(engine: Engine, settings: ModelSettings) -> str:
    """One row for each message of `new_events`. What only opens and clicks tell is gathered from those alone."""

    def first(kind: str) -> str:
        return f"min(happened_at) FILTER (WHERE kind = '{kind}')"

    sent = "kind IN ('sent', 'delivered', 'bounced', 'dropped')"
    told = " ".join(f"WHEN '{type_}' THEN {place}" for place, type_ in enumerate(_BOUNCE_TYPES))
    bounce_types = " ".join(f"WHEN {place} THEN '{type_}'" for place, type_ in enumerate(_BOUNCE_TYPES))
    of_all = {
        **{column: f"min({column})" for column in ("group_key", "send_number", "person_key")},
        "journey_id": 'min(journey_id COLLATE "C")',
        **{column: engine.any(column) for column in ("source", "campaign_id", "email_id", "recipient_key")},
        "is_matched": "bool_or(is_matched)",
        "email": 'max(email COLLATE "C")',
        "list_id": 'max(list_id COLLATE "C")',
        "sent_at": f"coalesce(min(happened_at) FILTER (WHERE {sent}), min(happened_at))",
        "is_sent": f"bool_or({sent})",
        "delivered_at": first("delivered"),
        "last_delivered_at": "max(happened_at) FILTER (WHERE kind = 'delivered')",
        "bounced_at": "max(happened_at) FILTER (WHERE kind = 'bounced')",
        "unsubscribed_at": first("unsubscribed"),
        "complained_at": first("complained"),
        "bounce_type": f"CASE min(CASE bounce_type {told} END) {bounce_types} END",
        "is_test": "bool_or(is_test)",
    }
    of_acts = _of_acts(engine, settings)
    worked_out = {
        "domain": "split_part(coalesce(email, ''), '@', 2)",
        "is_delivered": "coalesce(last_delivered_at IS NOT NULL AND (bounced_at IS NULL OR bounced_at <= last_delivered_at) "
        "OR last_acted_at > bounced_at, false)",
        "is_opened": "opened_at IS NOT NULL",
        "is_human_opened": "human_opened_at IS NOT NULL",
        "is_clicked": "clicked_at IS NOT NULL",
        "is_human_clicked": "human_clicked_at IS NOT NULL",
        "is_bounced": "bounced_at IS NOT NULL",
        "is_unsubscribed": "unsubscribed_at IS NOT NULL",
        "is_complained": "complained_at IS NOT NULL",
        "message_id": "g.message_id",
        **{
            column: f"coalesce({column}, 0)"
            for column in ("links_clicked", *of_acts)
            if column.endswith("_events") or column == "links_clicked"
        },
    }
    chosen = ", ".join(f"{worked_out[name]} AS {name}" if name in worked_out else name for name in _COLUMNS)
    links = "SELECT DISTINCT message_id, coalesce(link, '') AS link FROM new_events WHERE kind = 'clicked'"
    return (
        f"WITH gathered AS (SELECT message_id, {_named(of_all)} FROM new_events WHERE message_id IS NOT NULL GROUP BY message_id), "
        f"acted AS (SELECT message_id, {_named(of_acts)} FROM new_events WHERE kind IN ('opened', 'clicked') GROUP BY message_id), "
        f"linked AS (SELECT message_id, count(*) AS links_clicked FROM ({links}) AS d GROUP BY message_id) "
        f"SELECT {chosen} FROM gathered AS g LEFT JOIN acted AS a ON a.message_id = g.message_id "
        "LEFT JOIN linked AS l ON l.message_id = g.message_id"
    )


def _of_acts(engine: Engine, settings: ModelSettings) -> dict[str, str]:
    human = "NOT is_machine"
    reasons = ", ".join(
        f"CASE WHEN bool_or(strpos(',' || machine_reasons || ',', {engine.text(f',{rule.name},')}) > 0) THEN {engine.text(rule.name)} END"
        for rule in settings.active_rules()
    )
    # By time, clicks before opens, by id. Aggregates that sort rows cost many times as much as the least of a text.
    turn = "CASE WHEN kind = 'clicked' THEN '0' ELSE '1' END"
    device = f"{engine.rank('happened_at')} || {turn} || id || rpad({_device(engine)}, {_DEVICE_LETTERS}, ' ')"
    return {
        "last_acted_at": "max(happened_at)",
        "opened_at": "min(happened_at) FILTER (WHERE kind = 'opened')",
        "human_opened_at": f"min(happened_at) FILTER (WHERE {human})",
        "clicked_at": "min(happened_at) FILTER (WHERE kind = 'clicked')",
        "human_clicked_at": f"min(happened_at) FILTER (WHERE kind = 'clicked' AND {human})",
        "open_events": "count(*) FILTER (WHERE kind = 'opened')",
        "human_open_events": f"count(*) FILTER (WHERE kind = 'opened' AND {human})",
        "click_events": "count(*) FILTER (WHERE kind = 'clicked')",
        "human_click_events": f"count(*) FILTER (WHERE kind = 'clicked' AND {human})",
        "machine_reasons": f"nullif(concat_ws(',', {reasons}), '')" if reasons else engine.null(Type.TEXT),
        "device": f'rtrim(right(min(({device}) COLLATE "C") FILTER (WHERE {human} AND user_agent IS NOT NULL), {_DEVICE_LETTERS}))',
    }


def _named(expressions: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())


DEVICES: Final = (
    ("webmail", ("googleimageproxy", "yahoomailproxy")),
    ("tablet", ("ipad", "tablet")),
    ("mobile", ("iphone", "mobile")),
    ("tablet", ("android",)),
    ("desktop", ("windows", "macintosh", "x11", "linux")),
)
"""By words of the user agent, in this order: Android without `mobile` is a tablet's (Google's own advice on user agents)."""
_DEVICE_LETTERS: Final = max(len(device) for device, _ in (*DEVICES, ("unknown", ())))


def _device(engine: Engine) -> str:
    agent = "lower(user_agent)"
    cases = " ".join(
        "WHEN " + " OR ".join(f"strpos({agent}, {engine.text(word)}) > 0" for word in words) + f" THEN '{device}'"
        for device, words in DEVICES
    )
    return f"CASE {cases} ELSE 'unknown' END"
