"""Messages: what became of one mail to one recipient, out of all events of its group."""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

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
    """One row for each message of `new_events`."""

    def first(kind: str, more: str = "true") -> str:
        return f"min(happened_at) FILTER (WHERE kind = '{kind}' AND {more})"

    def any_of(condition: str) -> str:
        return f"coalesce(bool_or({condition}), false)"

    def number(condition: str) -> str:
        return f"count(*) FILTER (WHERE {condition})"

    human = "NOT is_machine"
    acted = "kind IN ('opened', 'clicked')"
    reasons = ", ".join(
        f"CASE WHEN bool_or(strpos(',' || machine_reasons || ',', {engine.text(f',{rule.name},')}) > 0) THEN {engine.text(rule.name)} END"
        for rule in settings.active_rules()
    )
    device_order = ("happened_at", "CASE WHEN kind = 'clicked' THEN 0 ELSE 1 END", 'id COLLATE "C"')
    aggregates = {
        **{column: f"min({column})" for column in ("group_key", "send_number", "person_key")},
        **{column: f"min({column})" for column in ("source", "campaign_id", "email_id", "journey_id", "recipient_key")},
        "is_matched": "bool_or(is_matched)",
        "email": 'max(email COLLATE "C")',
        "list_id": 'max(list_id COLLATE "C")',
        "sent_at": "coalesce(min(happened_at) FILTER (WHERE kind IN ('sent', 'delivered', 'bounced', 'dropped')), min(happened_at))",
        "delivered_at": first("delivered"),
        "last_delivered_at": "max(happened_at) FILTER (WHERE kind = 'delivered')",
        "last_acted_at": f"max(happened_at) FILTER (WHERE {acted})",
        "opened_at": first("opened"),
        "human_opened_at": f"min(happened_at) FILTER (WHERE {acted} AND {human})",
        "clicked_at": first("clicked"),
        "human_clicked_at": first("clicked", human),
        "bounced_at": "max(happened_at) FILTER (WHERE kind = 'bounced')",
        "unsubscribed_at": first("unsubscribed"),
        "complained_at": first("complained"),
        "is_test": "bool_or(is_test)",
        "is_sent": any_of("kind IN ('sent', 'delivered', 'bounced', 'dropped')"),
        "bounce_type": "CASE " + " ".join(
            f"WHEN bool_or(bounce_type = '{type_}') THEN '{type_}'" for type_ in ("hard", "soft", "block", "unknown")
        ) + " END",
        "open_events": number("kind = 'opened'"),
        "human_open_events": number(f"kind = 'opened' AND {human}"),
        "click_events": number("kind = 'clicked'"),
        "human_click_events": number(f"kind = 'clicked' AND {human}"),
        "links_clicked": "count(DISTINCT CASE WHEN kind = 'clicked' THEN coalesce(link, '') END)",
        "machine_reasons": f"nullif(concat_ws(',', {reasons}), '')" if reasons else engine.null(Type.TEXT),
        "device": engine.first(_device(engine), device_order, f"{acted} AND {human} AND user_agent IS NOT NULL"),
    }  # fmt: skip
    gathered = ", ".join(f"{expression} AS {name}" for name, expression in aggregates.items())
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
    }
    chosen = ", ".join(
        f"{engine.cast(worked_out.get(name, name), column.type)} AS {name}"
        for name, column in TABLES["messages"].columns.items()
    )
    return (
        f"WITH gathered AS (SELECT message_id, {gathered} FROM new_events WHERE message_id IS NOT NULL GROUP BY message_id) "
        f"SELECT {chosen} FROM gathered"
    )


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
