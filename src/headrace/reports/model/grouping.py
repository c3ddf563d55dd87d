"""E-mail events: told apart, put into groups and sends, and flagged where a machine acted.

A group is one campaign's e-mail to one person. An increment takes the groups that new events touch, whole, and works them out anew: on
tables of few columns, since copying texts costs more than all else; they are fetched at the end, by the event's key.
"""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from typing import Final

from headrace.reports.conditions import Field, condition_sql
from headrace.reports.model.engine import Engine
from headrace.reports.model.reading import MAIL_COLUMNS
from headrace.reports.model.rule_fields import RULE_FIELDS
from headrace.reports.model.schema import EARLY_SECONDS, TABLES, Type
from headrace.reports.model.settings import ModelSettings, Rule
from headrace.warehouses.base import Derivation

MOST_LINKS: Final = 200
"""Of an e-mail are counted. Where every recipient has links of their own, each increment would touch all messages that were clicked."""

_COLUMNS: Final = list(TABLES["events"].columns)
_LINK: Final = "coalesce(link, '')"
_WORKED_OUT: Final = (
    "recipient_key",
    "person_key",
    "is_matched",
    "group_key",
    "send_number",
    "message_id",
    "is_machine",
    "machine_reasons",
)
_KEPT: Final = [column for column in _COLUMNS if column not in _WORKED_OUT]
_NARROW: Final = "event_key, kind, happened_at, recipient_key, is_matched, person_key, group_key"
_ACTS: Final = ("source", "campaign_id", "email_id", "email", "link", "machine_open", "user_agent", "ip")


def apply(
    derivation: Derivation, engine: Engine, settings: ModelSettings, again: tuple[int, int] | None = None
) -> None:
    """From `raw_mail` and `changed_identities` to email.events, `old_events`, `new_events` and `touched`."""
    _name(derivation, engine)
    _touch(derivation, engine, again)
    _take(derivation, engine)
    derivation.run(_numbered(engine))
    _flag(derivation, engine, settings)
    derivation.run(_written(engine))


def named(engine: Engine, select: str) -> str:
    """The rows of `raw_mail`: what was read, with its number `n`, its recipient and its keys."""
    recipient = "coalesce(user_id, email, anonymous_id)"
    parts = (
        "source", "kind", recipient, "campaign_id", "email_id", "coalesce(platform_message_id, '')", _LINK,
        engine.micros("happened_at"), "coalesce(bounce_type, '')",
    )  # fmt: skip
    return (
        f"SELECT row_number() OVER () AS n, r.*, {recipient} AS recipient, user_id IS NOT NULL AS has_user_id, "
        f"{engine.key(recipient)} AS alias_key, {engine.key(*parts)} AS event_key FROM ({select}) AS r WHERE {recipient} IS NOT NULL"
    )


def _name(derivation: Derivation, engine: Engine) -> None:
    """`incoming_mail`: the new events, each once, with their people and groups."""
    counts = derivation.fetch("SELECT count(*) AS every, count(DISTINCT event_key) AS different FROM raw_mail")
    once = ""
    if counts.column("every")[0].as_py() != counts.column("different")[0].as_py():
        ranked = 'SELECT n, row_number() OVER (PARTITION BY event_key ORDER BY received_at, id COLLATE "C") AS place FROM raw_mail'
        once = f" JOIN (SELECT n FROM ({ranked}) AS ranked WHERE place = 1) AS o ON o.n = r.n"
    person = "coalesce(i.recipient_key, r.recipient)"
    derivation.run(
        [
            *engine.pick("aliases_of_mail", "identities", "alias_key", "raw_mail"),
            *engine.temporary(
                "incoming_mail",
                f"SELECT r.n, r.event_key, r.kind, r.happened_at, {person} AS recipient_key, "
                "r.has_user_id OR coalesce(i.is_matched, false) AS is_matched, "
                f"CASE WHEN i.alias IS NULL THEN r.alias_key ELSE {engine.key(person)} END AS person_key, "
                f"{_group_key(engine, person, 'r')} AS group_key "
                f"FROM raw_mail AS r{once} LEFT JOIN aliases_of_mail AS i ON i.alias = r.recipient",
            ),
        ]
    )


def _group_key(engine: Engine, person: str, prefix: str) -> str:
    return engine.key(
        f"{prefix}.source",
        f"{prefix}.campaign_id",
        f"{prefix}.email_id",
        person,
        f"coalesce({prefix}.platform_message_id, '')",
        f"CASE WHEN {prefix}.kind = 'subscribed' THEN 'subscribed' ELSE '' END",
    )


def _touch(derivation: Derivation, engine: Engine, again: tuple[int, int] | None) -> None:
    """`touched`: the groups of new events, those that people leave and join, those of e-mails with a link that is new, and `again`."""
    derivation.run(
        engine.temporary(
            "touching", f"SELECT DISTINCT {engine.key('before_key')} AS person_key FROM changed_identities"
        )
    )
    selects = ["SELECT group_key FROM incoming_mail"]
    if again is not None:
        selects.append(f"SELECT group_key FROM email.messages WHERE group_key BETWEEN {again[0]} AND {again[1]}")
    if _count(derivation, "touching"):
        derivation.run(
            [
                *engine.pick("of_changed", "events", "person_key", "touching"),
                *engine.temporary(
                    "rekeyed",
                    f"SELECT e.group_key AS left_key, {_group_key(engine, 'c.recipient_key', 'e')} AS joined_key "
                    "FROM of_changed AS e JOIN changed_identities AS c ON c.alias = e.recipient",
                ),
            ]
        )
        selects += [f"SELECT {side}_key AS group_key FROM rekeyed" for side in ("left", "joined")]
    derivation.run(_new_links(engine))
    if _count(derivation, "new_links"):
        derivation.run(["INSERT INTO email.mail_links SELECT * FROM new_links"])
        selects.append(
            "SELECT m.group_key FROM email.messages AS m JOIN (SELECT n.source, n.campaign_id, n.email_id "
            "FROM (SELECT source, campaign_id, email_id, count(*) AS added FROM new_links GROUP BY source, campaign_id, email_id) AS n "
            "JOIN email.mail_links AS l ON l.source = n.source AND l.campaign_id = n.campaign_id AND l.email_id = n.email_id "
            f"GROUP BY n.source, n.campaign_id, n.email_id, n.added HAVING count(*) - n.added < {MOST_LINKS}) AS n "
            f"ON m.source = n.source AND {engine.same_text('m.campaign_id', 'n.campaign_id')} AND m.email_id = n.email_id WHERE m.links_clicked > 0"
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
        f"SELECT source, campaign_id, email_id, link FROM (SELECT DISTINCT source, campaign_id, email_id, {_LINK} AS link "
        "FROM raw_mail WHERE kind = 'clicked') AS i "
        "WHERE NOT EXISTS (SELECT 1 FROM email.mail_links AS l WHERE l.source = i.source AND l.campaign_id = i.campaign_id "
        "AND l.email_id = i.email_id AND l.link = i.link)",
    )


def _take(derivation: Derivation, engine: Engine) -> None:
    """`current_mail`: the events of the touched groups as they are now known, each once; `n` tells those that are new."""
    person = "coalesce(c.recipient_key, e.recipient_key)"
    known = (
        f"SELECT e.event_key, e.kind, e.happened_at, {person} AS recipient_key, "
        "e.has_user_id OR coalesce(c.is_matched, e.is_matched) AS is_matched, "
        f"CASE WHEN c.alias IS NULL THEN e.person_key ELSE {engine.key(person)} END AS person_key, "
        f"CASE WHEN c.alias IS NULL THEN e.group_key ELSE {_group_key(engine, person, 'e')} END AS group_key, "
        "CAST(NULL AS bigint) AS n FROM picked_events AS e LEFT JOIN changed_identities AS c ON c.alias = e.recipient "
        "WHERE e.event_key NOT IN (SELECT event_key FROM repeats WHERE is_replaced)"
    )
    came = f"SELECT {_NARROW}, n FROM incoming_mail WHERE event_key NOT IN (SELECT event_key FROM repeats WHERE NOT is_replaced)"
    # What was read again has the same id and takes the place of what was known.
    replaced = 'r.id = o.id OR r.received_at < o.received_at OR (r.received_at = o.received_at AND r.id COLLATE "C" < o.id COLLATE "C")'
    derivation.run(
        [
            *engine.temporary(
                "repeats",
                f"SELECT i.event_key, {replaced} AS is_replaced FROM incoming_mail AS i "
                "JOIN picked_events AS o ON o.event_key = i.event_key JOIN raw_mail AS r ON r.n = i.n",
            ),
            *engine.temporary("current_mail", f"{known} UNION ALL {came}"),
        ]
    )


def _numbered(engine: Engine) -> list[str]:
    """`numbered_mail`: of groups with more than one event, the number of the send and the last delivery before each."""
    early = engine.interval(EARLY_SECONDS)
    # Deliveries of one moment, to two addresses of a person, are the same send: a frame of ROWS would part them by chance.
    order = "PARTITION BY group_key ORDER BY order_at, turn RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    return [
        *engine.temporary(
            "ordered_mail",
            "SELECT event_key, c.group_key, kind = 'delivered' AS is_delivered, happened_at, "
            f"CASE WHEN kind = 'delivered' THEN happened_at - {early} ELSE happened_at END AS order_at, "
            "CASE WHEN kind = 'delivered' THEN 0 ELSE 1 END AS turn FROM current_mail AS c "
            "JOIN (SELECT group_key FROM current_mail GROUP BY group_key HAVING count(*) > 1) AS g ON g.group_key = c.group_key",
        ),
        *engine.temporary(
            "numbered_mail",
            "WITH begun AS (SELECT event_key, lag(happened_at) OVER (PARTITION BY group_key ORDER BY happened_at) AS before "
            "FROM ordered_mail WHERE is_delivered) "
            "SELECT o.event_key, greatest(1, sum(CASE WHEN o.is_delivered AND (b.before IS NULL OR o.happened_at - b.before >= "
            f"{early}) THEN 1 ELSE 0 END) OVER ({order})) AS send_number, "
            f"max(CASE WHEN o.is_delivered THEN o.happened_at END) OVER ({order}) AS last_delivered_at "
            "FROM ordered_mail AS o LEFT JOIN begun AS b ON b.event_key = o.event_key",
        ),
    ]


def _flag(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """`flagged_mail`, with as few steps as what there is needs: in DuckDB a step costs more than some thousand rows."""
    kinds = set(derivation.fetch("SELECT DISTINCT kind FROM current_mail").column("kind").to_pylist())
    if not kinds & {"opened", "clicked"}:
        nothing = f"SELECT event_key, {engine.null(Type.TEXT)} AS machine_reasons FROM current_mail WHERE false"
        derivation.run(engine.temporary("flagged_mail", nothing))
        return
    derivation.run(_acts(engine))
    if "clicked" in kinds:
        derivation.run(_clicks(engine))
    else:
        features = ", ".join(
            f"{engine.null(Type.COUNT)} AS {name}" for name in ("links_at_once", "links_near", "links_of_email")
        )
        nothing = f"SELECT event_key, {features} FROM current_mail WHERE false"
        derivation.run(engine.temporary("click_features", nothing))
    derivation.run(_flagged(engine, settings))


def _acts(engine: Engine) -> list[str]:
    """`mail_acts`: opens and clicks with what the rules ask of them."""
    own = "c.event_key, c.group_key, c.kind, c.happened_at, coalesce(m.send_number, 1) AS send_number, m.last_delivered_at"
    told = ", ".join(f"w.{column}" for column in _ACTS)
    where = "LEFT JOIN numbered_mail AS m ON m.event_key = c.event_key WHERE c.kind IN ('opened', 'clicked')"
    return engine.temporary(
        "mail_acts",
        f"SELECT {own}, {told} FROM current_mail AS c JOIN raw_mail AS w ON w.n = c.n {where} UNION ALL "
        f"SELECT {own}, {told} FROM current_mail AS c JOIN picked_events AS w ON w.event_key = c.event_key {where} AND c.n IS NULL",
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
            "FROM mail_acts WHERE kind = 'clicked'",
        ),
        *engine.temporary("links_within_2_seconds", at_end),
        *engine.temporary("links_within_a_minute", within_minute),
        *engine.temporary(
            "links_by_email",
            f"SELECT l.source, l.campaign_id, l.email_id, least(count(*), {MOST_LINKS}) AS links FROM email.mail_links AS l "
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
    """`flagged_mail`: the opens and clicks that a rule takes for a machine's, and the names of the rules."""
    rules = settings.active_rules()
    reasons = ", ".join(f"CASE WHEN {_condition(engine, rule)} THEN {engine.text(rule.name)} END" for rule in rules)
    told = f"nullif(concat_ws(',', {reasons}), '')" if rules else engine.null(Type.TEXT)
    return engine.temporary(
        "flagged_mail",
        "SELECT * FROM (SELECT a.event_key, " + told + " AS machine_reasons FROM ("
        "SELECT a.*, split_part(coalesce(a.email, ''), '@', 2) AS domain, "
        f"{engine.seconds('a.happened_at', 'a.last_delivered_at')} AS since_delivery, f.links_at_once, f.links_near, f.links_of_email "
        "FROM mail_acts AS a LEFT JOIN click_features AS f ON f.event_key = a.event_key) AS a) AS every WHERE machine_reasons IS NOT NULL",
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
    """`new_events`, all columns; what differs goes to email.events."""
    columns = ", ".join(_COLUMNS)
    send_number = "coalesce(m.send_number, 1)"
    worked_out = {
        **{column: f"c.{column}" for column in ("recipient_key", "person_key", "is_matched", "group_key")},
        "send_number": engine.cast(send_number, Type.COUNT),
        "message_id": f"CASE WHEN c.kind <> 'subscribed' THEN c.group_key + {engine.cast(send_number, Type.KEY)} END",
        "is_machine": "f.event_key IS NOT NULL",
        "machine_reasons": "f.machine_reasons",
    }
    chosen = ", ".join(f"{worked_out.get(column, f'w.{column}')} AS {column}" for column in _COLUMNS)
    joined = "LEFT JOIN numbered_mail AS m ON m.event_key = c.event_key LEFT JOIN flagged_mail AS f ON f.event_key = c.event_key"
    mutable = ("group_key", "send_number", "recipient_key", "is_matched", "machine_reasons")
    differs = " OR ".join(f"o.{column} IS DISTINCT FROM n.{column}" for column in mutable)
    return [
        *engine.temporary(
            "new_events",
            f"SELECT {chosen} FROM current_mail AS c JOIN raw_mail AS w ON w.n = c.n {joined} UNION ALL "
            f"SELECT {chosen} FROM current_mail AS c JOIN picked_events AS w ON w.event_key = c.event_key {joined} WHERE c.n IS NULL",
        ),
        *engine.temporary(
            "gone_events",
            "SELECT o.place, o.event_key FROM picked_events AS o JOIN new_events AS n ON n.event_key = o.event_key "
            f"WHERE {differs} OR o.event_key IN (SELECT event_key FROM repeats WHERE is_replaced)",
        ),
        *engine.remove("events", "gone_events"),
        (
            f"INSERT INTO email.events ({columns}) SELECT {columns} FROM new_events "
            "WHERE event_key NOT IN (SELECT event_key FROM picked_events) OR event_key IN (SELECT event_key FROM gone_events)"
        ),
    ]


def _count(derivation: Derivation, table: str) -> int:
    return int(derivation.fetch(f"SELECT count(*) AS n FROM {table}").column("n")[0].as_py())


assert set(_EXPRESSIONS) == set(RULE_FIELDS)  # noqa: S101 -- a field without an expression would be found at the first rule only
assert set(_KEPT) - {"event_key", "recipient", "has_user_id"} <= set(MAIL_COLUMNS)  # noqa: S101 -- as above
