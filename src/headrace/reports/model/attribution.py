"""Which message a conversion is given to: what a person did with their mails before it decides.

A touch is an open or a click by a person; it counts within the goal's window for it, both ends included. Only conversions that an increment
touches are looked at again: new ones, those with another person, those after a touch that is new or gone, and those of people whose
messages look different now.
"""

# ruff: noqa: S608 -- all names are of the model; names of goals go through `text`

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from headrace.reports.model import conversions
from headrace.reports.model.engine import Engine
from headrace.reports.model.rewriting import nothing_rewritten, rewrite
from headrace.reports.model.schema import TABLES
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

DAY_SECONDS: Final = 86_400
_TOUCHES: Final = (
    "kind IN ('opened', 'clicked') AND is_machine IS NOT TRUE AND is_test IS NOT TRUE AND message_id IS NOT NULL"
)
_OF_MESSAGE: Final = ("source", "campaign_id", "email_id", "journey_id", "domain", "sent_at")
_IS_CLICK: Final = "CASE WHEN touch = 'click' THEN 0 ELSE 1 END"
_MOMENT: Final = (
    *("touched_at", "sent_at", 'campaign_id COLLATE "C"', 'email_id COLLATE "C"', 'source COLLATE "C"'),
    *('recipient_key COLLATE "C"', "send_number", "coalesce(journey_id, '') COLLATE \"C\"", "message_id"),
)
"""What orders touches. The key comes last, where nothing else parts them: it differs from engine to engine."""


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """Within an increment, after its messages. Leaves `old_attribution` and `new_attribution`, and what `conversions` leaves."""
    conversions.apply(derivation, engine)
    if not settings.goals or not _any_row(derivation, "email.conversions", "old_conversions"):
        derivation.run(nothing_rewritten(engine, "attribution"))
        return
    derivation.run(_changes(engine))
    if _any_row(derivation, "touched_persons"):
        derivation.run(engine.pick("reached_conversions", "conversions", "person_key", "touched_persons"))
    else:
        derivation.run(engine.temporary("reached_conversions", "SELECT * FROM new_conversions WHERE false"))
    derivation.run(_stale(engine, settings))
    if not _any_row(derivation, "stale_conversions"):
        derivation.run(nothing_rewritten(engine, "attribution"))
        return
    derivation.run(_touches(engine, settings, _span(derivation)))
    derivation.run(
        [
            *engine.temporary("made_attribution", _made(engine)),
            *engine.pick("had_attribution", "attribution", "conversion_key", "stale_conversions"),
            *rewrite(engine, "attribution", "had_attribution", "made_attribution"),
        ]
    )


def _any_row(derivation: Derivation, *tables: str) -> bool:
    found = " OR ".join(f"EXISTS (SELECT 1 FROM {table})" for table in tables)
    return bool(derivation.fetch(f"SELECT {found} AS found").column("found")[0].as_py())


def _changes(engine: Engine) -> list[str]:
    """`changed_touches`: touches that are new or gone, a moved one is both. `changed_persons`: whose touched messages look different now.
    `touched_persons`: the persons of either."""
    touch = "event_key, person_key, message_id, kind, happened_at"
    changed_touches = (
        f"SELECT DISTINCT person_key, happened_at FROM (SELECT {touch} FROM ("
        f"SELECT {touch} FROM old_events WHERE {_TOUCHES} UNION ALL SELECT {touch} FROM new_events WHERE {_TOUCHES}"
        f") AS e GROUP BY {touch} HAVING count(*) = 1) AS c"
    )
    differs = " OR ".join(
        f"o.{column} IS DISTINCT FROM n.{column}"
        for column in (*_OF_MESSAGE, "recipient_key", "send_number", "is_test")
    )
    changed_persons = (
        "SELECT DISTINCT n.person_key FROM new_messages AS n JOIN old_messages AS o ON o.message_id = n.message_id "
        f"WHERE n.human_opened_at IS NOT NULL AND ({differs})"
    )
    return [
        *engine.temporary("changed_touches", changed_touches),
        *engine.temporary("changed_persons", changed_persons),
        *engine.temporary(
            "touched_persons", "SELECT person_key FROM changed_touches UNION SELECT person_key FROM changed_persons"
        ),
    ]


def _stale(engine: Engine, settings: ModelSettings) -> list[str]:
    """`stale_conversions`: keys of those whose attribution may differ now. `to_attribute`: their rows, as far as they are still there."""
    longest = max(max(goal.click_days, goal.open_days) for goal in settings.goals)
    columns = ", ".join(TABLES["conversions"].columns)
    of_reached = f"SELECT {columns} FROM reached_conversions WHERE conversion_key"
    return [
        *engine.temporary(
            "stale_conversions",
            "SELECT conversion_key FROM old_conversions UNION SELECT conversion_key FROM new_conversions "
            "UNION SELECT conversion_key FROM reached_conversions WHERE person_key IN (SELECT person_key FROM changed_persons) "
            "UNION SELECT c.conversion_key FROM reached_conversions AS c JOIN changed_touches AS t ON t.person_key = c.person_key "
            f"AND t.happened_at <= c.happened_at AND t.happened_at >= c.happened_at - {engine.interval(longest * DAY_SECONDS)}",
        ),
        *engine.temporary(
            "to_attribute",
            f"SELECT {columns} FROM new_conversions UNION ALL {of_reached} IN (SELECT conversion_key FROM stale_conversions) "
            "AND conversion_key NOT IN (SELECT conversion_key FROM new_conversions)",
        ),
    ]


def _span(derivation: Derivation) -> tuple[datetime, datetime]:
    """From the first to the last conversion that is to be attributed."""
    found = derivation.fetch(
        "SELECT min(happened_at) AS earliest, max(happened_at) AS latest FROM to_attribute"
    ).to_pylist()
    nobody = datetime(1970, 1, 1, tzinfo=UTC)
    return found[0]["earliest"] or nobody, found[0]["latest"] or nobody


def _touches(engine: Engine, settings: ModelSettings, span: tuple[datetime, datetime]) -> list[str]:
    """`attribution_touches`: of these people, around these conversions. `attribution_messages`: theirs. `attribution_ranked`: each touch with each conversion that it may be
    given, places in the order of each model: 1 is the one."""
    longest = engine.interval(max(max(goal.click_days, goal.open_days) for goal in settings.goals) * DAY_SECONDS)
    first, last = (f"TIMESTAMPTZ {engine.text(moment.astimezone(UTC).isoformat())}" for moment in span)
    windows = ", ".join(
        f"({engine.text(goal.name)}, {engine.interval(goal.click_days * DAY_SECONDS)}, {engine.interval(goal.open_days * DAY_SECONDS)})"
        for goal in settings.goals
    )
    of_message = ", ".join(f"m.{column}" for column in _OF_MESSAGE)
    candidates = (
        "SELECT c.conversion_key, c.goal, t.message_id, t.touch, t.touched_at, c.recipient_key, c.person_key, "
        f"m.send_number, {of_message}, c.happened_at, c.value FROM to_attribute AS c "
        f"JOIN (VALUES {windows}) AS g(goal, click_window, open_window) ON g.goal = c.goal "
        "JOIN attribution_touches AS t ON t.person_key = c.person_key AND t.touched_at <= c.happened_at "
        "AND t.touched_at >= c.happened_at - CASE WHEN t.touch = 'click' THEN g.click_window ELSE g.open_window END "
        "JOIN attribution_messages AS m ON m.message_id = t.message_id WHERE m.is_test IS NOT TRUE"
    )
    return [
        *engine.temporary(
            "attribution_touches",
            "SELECT message_id, person_key, CASE WHEN kind = 'clicked' THEN 'click' ELSE 'open' END AS touch, "
            "happened_at AS touched_at FROM email.events WHERE person_key IN (SELECT person_key FROM to_attribute) "
            # The bounds are literals, by which DuckDB passes over what is older without reading it.
            f"AND {_TOUCHES} AND happened_at <= {last} AND happened_at >= {first} - {longest}",
        ),
        *engine.pick("attribution_messages", "messages", "message_id", "attribution_touches"),
        *engine.temporary(
            "attribution_ranked",
            f"SELECT *, {_place(['conversion_key'], _MOMENT, 'DESC')} AS last_place, "
            f"{_place(['conversion_key'], _MOMENT, 'ASC')} AS first_place, "
            f"{_place(['conversion_key', 'message_id'], ['touched_at'], 'DESC')} AS any_place FROM ({candidates}) AS t",
        ),
    ]


def _place(within: Sequence[str], order: Sequence[str], direction: str) -> str:
    ordered = ", ".join((_IS_CLICK, *(f"{one} {direction}" for one in order)))
    return f"row_number() OVER (PARTITION BY {', '.join(within)} ORDER BY {ordered})"


def _made(engine: Engine) -> str:
    columns = {column: column for column in TABLES["attribution"].columns}
    return " UNION ALL ".join(
        f"SELECT {', '.join({**columns, 'model': f'{engine.text(model)} AS model'}.values())} FROM attribution_ranked WHERE {model}_place = 1"
        for model in ("last", "first", "any")
    )
