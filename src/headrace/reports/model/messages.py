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


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """From `new_events` and `touched` to email.messages, `old_messages` and `new_messages`."""
    columns = ", ".join(_COLUMNS)
    derivation.run(
        [
            *engine.temporary("every_message", _select(engine, settings)),
            *engine.pick("picked_messages", "messages", "group_key", "touched"),
            *engine.temporary(
                "gone_messages",
                f"SELECT p.place, {', '.join(f'p.{column}' for column in _COLUMNS)} FROM picked_messages AS p "
                f"LEFT JOIN every_message AS e ON e.message_id = p.message_id WHERE e.message_id IS NULL OR {_differs('p', 'e')}",
            ),
            *engine.temporary("old_messages", f"SELECT {columns} FROM gone_messages"),
            *engine.temporary(
                "new_messages",
                f"SELECT {', '.join(f'e.{column}' for column in _COLUMNS)} FROM every_message AS e "
                f"LEFT JOIN picked_messages AS p ON p.message_id = e.message_id WHERE p.message_id IS NULL OR {_differs('p', 'e')}",
            ),
            *engine.remove("messages", "gone_messages"),
            f"INSERT INTO email.messages ({columns}) SELECT {columns} FROM new_messages",
        ]
    )


def _differs(one: str, other: str) -> str:
    return " OR ".join(
        f"{one}.{column} IS DISTINCT FROM {other}.{column}" for column in _COLUMNS if column != "message_id"
    )


def _select(engine: Engine, settings: ModelSettings) -> str:
    """One row for each message of `new_events`. What only opens and clicks tell is gathered from those alone."""

    def first(kind: str) -> str:
        return f"min(happened_at) FILTER (WHERE kind = '{kind}')"

    sent = "kind IN ('sent', 'delivered', 'bounced', 'dropped')"
    bounce_types = " ".join(
        f"WHEN bool_or(bounce_type = '{type_}') THEN '{type_}'" for type_ in ("hard", "soft", "block", "unknown")
    )
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
        "bounce_type": f"CASE {bounce_types} END",
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
            for column in of_acts
            if column.endswith("_events") or column == "links_clicked"
        },
    }
    chosen = ", ".join(
        f"{engine.cast(worked_out.get(name, name), column.type)} AS {name}"
        for name, column in TABLES["messages"].columns.items()
    )
    return (
        f"WITH gathered AS (SELECT message_id, {_named(of_all)} FROM new_events WHERE message_id IS NOT NULL GROUP BY message_id), "
        f"acted AS (SELECT message_id, {_named(of_acts)} FROM new_events WHERE kind IN ('opened', 'clicked') GROUP BY message_id) "
        f"SELECT {chosen} FROM gathered AS g LEFT JOIN acted AS a ON a.message_id = g.message_id"
    )


def _of_acts(engine: Engine, settings: ModelSettings) -> dict[str, str]:
    human = "NOT is_machine"
    reasons = ", ".join(
        f"CASE WHEN bool_or(strpos(',' || machine_reasons || ',', {engine.text(f',{rule.name},')}) > 0) THEN {engine.text(rule.name)} END"
        for rule in settings.active_rules()
    )
    device_order = ("happened_at", "CASE WHEN kind = 'clicked' THEN 0 ELSE 1 END", 'id COLLATE "C"')
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
        "links_clicked": "count(DISTINCT CASE WHEN kind = 'clicked' THEN coalesce(link, '') END)",
        "machine_reasons": f"nullif(concat_ws(',', {reasons}), '')" if reasons else engine.null(Type.TEXT),
        "device": engine.first(_device(engine), device_order, f"{human} AND user_agent IS NOT NULL"),
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


def _device(engine: Engine) -> str:
    agent = "lower(user_agent)"
    cases = " ".join(
        "WHEN " + " OR ".join(f"strpos({agent}, {engine.text(word)}) > 0" for word in words) + f" THEN '{device}'"
        for device, words in DEVICES
    )
    return f"CASE {cases} ELSE 'unknown' END"
