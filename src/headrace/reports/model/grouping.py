"""E-mail events: told apart, put into groups and sends, and flagged where a machine acted.

A group is one campaign's e-mail to one person. An increment takes the groups that new events touch, whole, and works them out anew.
"""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from typing import Final

from headrace.reports.conditions import Field, condition_sql
from headrace.reports.model.engine import Engine
from headrace.reports.model.reading import MAIL_COLUMNS
from headrace.reports.model.rule_fields import RULE_FIELDS
from headrace.reports.model.schema import TABLES, Type
from headrace.reports.model.settings import ModelSettings, Rule
from headrace.warehouses.base import Derivation

EARLY_SECONDS: Final = 300
"""Scanners act before a delivery is stamped; and a delivery again within this time is the platform's repeat, not another send."""

# What an event keeps of what was read; the rest is worked out.
_READ: Final = [
    "id", "source", "campaign_id", "email_id", "journey_id", "kind", "happened_at", "received_at", "email", "platform_message_id",
    "email_subject", "list_id", "link", "link_url", "bounce_type", "bounce_code", "bounce_reason", "machine_open", "user_agent", "ip",
    "is_test",
]  # fmt: skip
_KNOWN: Final = ["event_key", "recipient", "has_user_id", *_READ]
_COLUMNS: Final = list(TABLES["events"].columns)
_LINK: Final = "coalesce(link, '')"


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """From `raw_mail` and `changed_identities` to email.events, `old_events` and `new_events`."""
    derivation.run(_incoming(engine))
    _touch(derivation, engine)
    derivation.run(_current(engine))
    derivation.run(_numbered(engine))
    derivation.run(_clicks(engine))
    derivation.run(_flagged(engine, settings))
    derivation.run(_written(engine))


def _incoming(engine: Engine) -> list[str]:
    kept = ", ".join(f"r.{column}" for column in _READ)
    recipient = "coalesce(user_id, email, anonymous_id)"
    parts = (
        "source", "kind", recipient, "campaign_id", "email_id", "coalesce(platform_message_id, '')", _LINK,
        engine.micros("happened_at"), "coalesce(bounce_type, '')",
    )  # fmt: skip
    person = "coalesce(i.recipient_key, r.recipient)"
    return [
        *engine.temporary(
            "named_mail",
            f"SELECT *, {recipient} AS recipient, {engine.key(recipient)} AS alias_key, {engine.key(*parts)} AS event_key "
            f"FROM raw_mail WHERE {recipient} IS NOT NULL",
        ),
        *engine.pick("aliases_of_mail", "identities", "alias_key", "named_mail"),
        *engine.temporary(
            "incoming_mail",
            f"SELECT r.event_key, r.recipient, r.user_id IS NOT NULL AS has_user_id, {kept}, {person} AS recipient_key, "
            f"r.user_id IS NOT NULL OR coalesce(i.is_matched, false) AS is_matched, {engine.key(person)} AS person_key, "
            f"{_group_key(engine, person, 'r')} AS group_key, true AS is_new "
            "FROM named_mail AS r LEFT JOIN aliases_of_mail AS i ON i.alias = r.recipient",
        ),
    ]


def _group_key(engine: Engine, person: str, prefix: str) -> str:
    return engine.key(
        f"{prefix}.source",
        f"{prefix}.campaign_id",
        f"{prefix}.email_id",
        person,
        f"coalesce({prefix}.platform_message_id, '')",
        f"CASE WHEN {prefix}.kind = 'subscribed' THEN 'subscribed' ELSE '' END",
    )


def _touch(derivation: Derivation, engine: Engine) -> None:
    """`touched`: the groups of new events, those that people leave and join, and those of e-mails with a link that is new."""
    derivation.run(
        engine.temporary(
            "touching", f"SELECT DISTINCT {engine.key('before_key')} AS person_key FROM changed_identities"
        )
    )
    selects = ["SELECT group_key FROM incoming_mail"]
    if _count(derivation, "touching"):
        person = "c.recipient_key"
        derivation.run(
            [
                *engine.pick("of_changed", "events", "person_key", "touching"),
                *engine.temporary(
                    "rekeyed",
                    f"SELECT e.group_key AS left_key, {_group_key(engine, person, 'e')} AS joined_key "
                    "FROM of_changed AS e JOIN changed_identities AS c ON c.alias = e.recipient",
                ),
            ]
        )
        selects += [f"SELECT {side}_key AS group_key FROM rekeyed" for side in ("left", "joined")]
    derivation.run(_new_links(engine))
    if _count(derivation, "new_links"):
        derivation.run(["INSERT INTO email.mail_links SELECT * FROM new_links"])
        selects.append(
            "SELECT m.group_key FROM email.messages AS m JOIN (SELECT DISTINCT source, campaign_id, email_id FROM new_links) AS n "
            "ON m.source = n.source AND m.campaign_id = n.campaign_id AND m.email_id = n.email_id WHERE m.links_clicked > 0"
        )
    derivation.run(
        [
            *engine.temporary("touched", f"SELECT DISTINCT group_key FROM ({' UNION ALL '.join(selects)}) AS every"),
            *engine.pick("picked_events", "events", "group_key", "touched"),
            *engine.temporary("old_events", f"SELECT {', '.join(_COLUMNS)} FROM picked_events"),
        ]
    )


def _new_links(engine: Engine) -> list[str]:
    return engine.temporary(
        "new_links",
        f"SELECT DISTINCT source, campaign_id, email_id, {_LINK} AS link FROM incoming_mail AS i WHERE kind = 'clicked' "
        "AND NOT EXISTS (SELECT 1 FROM email.mail_links AS l WHERE l.source = i.source AND l.campaign_id = i.campaign_id "
        "AND l.email_id = i.email_id AND l.link = coalesce(i.link, ''))",
    )


def _current(engine: Engine) -> list[str]:
    """`current_mail`: the events of the touched groups as they are now known, each once."""
    known = ", ".join(f"e.{column}" for column in _KNOWN)
    person = "coalesce(c.recipient_key, e.recipient_key)"
    columns = f"{', '.join(_KNOWN)}, recipient_key, is_matched, person_key, group_key, is_new"
    return engine.temporary(
        "current_mail",
        f"WITH every AS (SELECT {known}, {person} AS recipient_key, e.has_user_id OR coalesce(c.is_matched, e.is_matched) AS is_matched, "
        f"CASE WHEN c.alias IS NULL THEN e.person_key ELSE {engine.key(person)} END AS person_key, "
        f"CASE WHEN c.alias IS NULL THEN e.group_key ELSE {_group_key(engine, person, 'e')} END AS group_key, false AS is_new "
        "FROM picked_events AS e LEFT JOIN changed_identities AS c ON c.alias = e.recipient "
        f"UNION ALL SELECT {columns} FROM incoming_mail), "
        # What was read again has the same id and takes the place of what was known.
        'ranked AS (SELECT *, row_number() OVER (PARTITION BY event_key ORDER BY received_at, id COLLATE "C", '
        "CASE WHEN is_new THEN 0 ELSE 1 END) AS repetition FROM every) "
        f"SELECT {columns} FROM ranked WHERE repetition = 1",
    )


def _numbered(engine: Engine) -> list[str]:
    """`numbered_mail`: with the number of the send, and the last delivery before it."""
    early = engine.interval(EARLY_SECONDS)
    begins = "kind = 'delivered' AND (delivered_before IS NULL OR happened_at - delivered_before >= " + early + ")"
    order = (
        'PARTITION BY group_key ORDER BY order_at, CASE WHEN kind = \'delivered\' THEN 0 ELSE 1 END, kind COLLATE "C", id COLLATE "C" '
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    )
    return engine.temporary(
        "numbered_mail",
        f"WITH ordered AS (SELECT *, CASE WHEN kind = 'delivered' THEN happened_at - {early} ELSE happened_at END AS order_at, "
        "CASE WHEN kind = 'delivered' THEN lag(happened_at) OVER (PARTITION BY group_key, kind ORDER BY happened_at, id COLLATE \"C\") "
        "END AS delivered_before FROM current_mail) "
        f"SELECT *, greatest(1, sum(CASE WHEN {begins} THEN 1 ELSE 0 END) OVER ({order})) AS send_number, "
        f"max(CASE WHEN kind = 'delivered' THEN happened_at END) OVER ({order}) AS last_delivered_at FROM ordered",
    )


def _clicks(engine: Engine) -> list[str]:
    """`click_features`: how many links were clicked about the same time, by a sweep over the clicks of each message.

    A link is there for a while around each of its clicks; what is asked is how many are there at a moment."""
    within_minute = _links_around(engine, before=60, after=60)
    at_end = _links_around(engine, before=0, after=2)
    ahead = f"RANGE BETWEEN CURRENT ROW AND {engine.interval(2)} FOLLOWING"
    return [
        *engine.temporary(
            "mail_clicks",
            f"SELECT event_key, group_key, send_number, source, campaign_id, email_id, happened_at, {_LINK} AS link "
            "FROM numbered_mail WHERE kind = 'clicked'",
        ),
        *engine.temporary("links_within_2_seconds", at_end),
        *engine.temporary("links_within_a_minute", within_minute),
        *engine.temporary(
            "links_by_email",
            "SELECT l.source, l.campaign_id, l.email_id, count(*) AS links FROM email.mail_links AS l "
            "JOIN (SELECT DISTINCT source, campaign_id, email_id FROM mail_clicks) AS c ON l.source = c.source "
            "AND l.campaign_id = c.campaign_id AND l.email_id = c.email_id GROUP BY l.source, l.campaign_id, l.email_id",
        ),
        *engine.temporary(
            "click_features",
            "SELECT c.event_key, max(a.links) OVER (PARTITION BY c.group_key, c.send_number "
            f"ORDER BY c.happened_at {ahead}) AS links_at_once, m.links AS links_near, e.links AS links_of_email "
            "FROM mail_clicks AS c JOIN links_within_2_seconds AS a ON a.event_key = c.event_key "
            "JOIN links_within_a_minute AS m ON m.event_key = c.event_key JOIN links_by_email AS e "
            "ON e.source = c.source AND e.campaign_id = c.campaign_id AND e.email_id = c.email_id",
        ),
    ]


def _links_around(engine: Engine, *, before: int, after: int) -> str:
    """For each click, the different links with a click from `after` seconds before it to `before` seconds after it."""
    gap = engine.interval(before + after)
    window = "PARTITION BY group_key, send_number, link ORDER BY happened_at, event_key"
    return (
        f"WITH chained AS (SELECT *, lag(happened_at) OVER ({window}) AS former, lead(happened_at) OVER ({window}) AS latter "
        "FROM mail_clicks), steps AS ("
        f"SELECT event_key, group_key, send_number, happened_at - {engine.interval(before)} AS moment, 0 AS turn, 1 AS step FROM chained "
        f"WHERE former IS NULL OR happened_at - former > {gap} UNION ALL "
        "SELECT event_key, group_key, send_number, happened_at, 1, 0 FROM chained UNION ALL "
        f"SELECT event_key, group_key, send_number, happened_at + {engine.interval(after)}, 2, -1 FROM chained "
        f"WHERE latter IS NULL OR latter - happened_at > {gap}), summed AS ("
        "SELECT event_key, turn, sum(step) OVER (PARTITION BY group_key, send_number ORDER BY moment, turn "
        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS links FROM steps) "
        "SELECT event_key, links FROM summed WHERE turn = 1"
    )


def _flagged(engine: Engine, settings: ModelSettings) -> list[str]:
    rules = settings.active_rules()
    reasons = ", ".join(f"CASE WHEN {_condition(engine, rule)} THEN {engine.text(rule.name)} END" for rule in rules)
    told = (
        f"CASE WHEN kind IN ('opened', 'clicked') THEN nullif(concat_ws(',', {reasons}), '') END" if rules else "NULL"
    )
    kept = ", ".join(
        f"n.{column}" for column in (*_KNOWN, "recipient_key", "is_matched", "person_key", "group_key", "is_new")
    )
    worked_out = {
        "send_number": engine.cast("send_number", Type.COUNT),
        "message_id": "CASE WHEN kind <> 'subscribed' THEN group_key + "
        + engine.cast("send_number", Type.KEY)
        + " END",
        "is_machine": f"({told}) IS NOT NULL",
        "machine_reasons": engine.cast(told, Type.TEXT),
    }
    chosen = ", ".join(f"{worked_out.get(column, column)} AS {column}" for column in (*_COLUMNS, "is_new"))
    return engine.temporary(
        "flagged_mail",
        f"WITH featured AS (SELECT {kept}, n.send_number, split_part(coalesce(n.email, ''), '@', 2) AS domain, "
        f"CASE WHEN n.kind IN ('opened', 'clicked') THEN {engine.seconds('n.happened_at', 'n.last_delivered_at')} END AS since_delivery, "
        "f.links_at_once, f.links_near, f.links_of_email FROM numbered_mail AS n LEFT JOIN click_features AS f ON f.event_key = n.event_key) "
        f"SELECT {chosen} FROM featured",
    )


_EXPRESSIONS: Final = {
    "machine_flag": "machine_open",
    "seconds_after_delivery": "since_delivery",
    "links_within_2_seconds": "links_at_once",
    "links_of_email": "links_of_email",
    "clicked_every_link_within_a_minute": "(links_near >= links_of_email)",
    "user_agent": "user_agent",
    "ip": "ip",
    "domain": "domain",
    "kind": "kind",
    "source": "source",
    "campaign_id": "campaign_id",
}


def _condition(engine: Engine, rule: Rule) -> str:
    fields = {name: Field(_EXPRESSIONS[name], type_) for name, type_ in RULE_FIELDS.items()}
    parts = [condition_sql(condition, fields, engine, f"rule {rule.name}") for condition in rule.when]
    if rule.kind != "both":
        parts.append(f"kind = {engine.text(rule.kind)}")
    return " AND ".join(parts)


def _written(engine: Engine) -> list[str]:
    columns = ", ".join(_COLUMNS)
    mutable = ("group_key", "send_number", "recipient_key", "is_matched", "machine_reasons")
    differs = " OR ".join(("n.is_new", *(f"o.{column} IS DISTINCT FROM n.{column}" for column in mutable)))
    return [
        *engine.temporary("new_events", f"SELECT {columns} FROM flagged_mail"),
        *engine.temporary(
            "gone_events",
            f"SELECT o.place, o.event_key FROM picked_events AS o JOIN flagged_mail AS n ON n.event_key = o.event_key WHERE {differs}",
        ),
        *engine.remove("events", "gone_events"),
        f"INSERT INTO email.events ({columns}) SELECT {columns} FROM flagged_mail "
        "WHERE is_new OR event_key IN (SELECT event_key FROM gone_events)",
    ]


def _count(derivation: Derivation, table: str) -> int:
    return int(derivation.fetch(f"SELECT count(*) AS n FROM {table}").column("n")[0].as_py())


assert set(_EXPRESSIONS) == set(RULE_FIELDS)  # noqa: S101 -- a field without an expression would be found at the first rule only
assert set(_READ) <= set(MAIL_COLUMNS)  # noqa: S101 -- as above
