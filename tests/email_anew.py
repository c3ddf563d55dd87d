"""The derived tables of the e-mail model made anew from messages, events and attribution, to check those that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.reports.model import derived
from headrace.reports.model.derived import OF_MESSAGES, Rollup, Side, listed
from headrace.reports.model.engine import Engine
from headrace.reports.model.rollups import campaigns_query, filled
from headrace.reports.model.schema import COUNTS, SCHEMA, TABLES
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

ADDING_UP: Final = ("campaign_sends", "domains", "campaigns_daily", "campaigns")
ALL: Final = (Side(f"{SCHEMA}.", 1),)


def make_anew(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """All that `rollups.apply` keeps except `names`."""
    for table, query in _queries(engine, settings).items():
        columns = ", ".join(TABLES[table].columns)
        insert = f"INSERT INTO {SCHEMA}.{table} ({columns}) SELECT {columns} FROM ({query}) AS anew"
        derivation.run([f"DELETE FROM {SCHEMA}.{table}", insert])


def checks(engine: Engine, settings: ModelSettings) -> Mapping[str, str]:
    """By what is checked. `x is complete` compares a table row by row with one that is made anew, `x adds up` its sums with counts of
    another making. They read all of the model."""
    complete = {f"{table} is complete": _differing(table, query) for table, query in _queries(engine, settings).items()}
    return complete | {f"{table} adds up": _not_adding_up(engine, settings, table) for table in ADDING_UP}


def _queries(engine: Engine, settings: ModelSettings) -> Mapping[str, str]:
    """By table, its rows; campaigns come from campaign_sends, thus last."""
    rollups = {rollup.table: _anew(engine, settings, rollup) for rollup in derived.declared(engine)}
    return rollups | {"campaigns": campaigns_query(engine, "true")}


def _differing(table: str, query: str) -> str:
    """The rows that only one of both tables has."""
    columns = ", ".join(TABLES[table].columns)
    kept, anew = f"SELECT {columns} FROM {SCHEMA}.{table}", f"SELECT {columns} FROM anew"
    return f"WITH anew AS ({query}) ({kept} EXCEPT ALL {anew}) UNION ALL ({anew} EXCEPT ALL {kept})"


def _anew(engine: Engine, settings: ModelSettings, rollup: Rollup) -> str:
    types = TABLES[rollup.table].columns
    columns = {column: column for column in rollup.key}
    columns |= {name: engine.cast(f"sum({name})", types[name].type) for name in rollup.sums}
    some = [f"sum({name}) <> 0" for name in rollup.sums]
    for peak in rollup.peaks:
        columns |= {name: peak.aggregate(name, types[name].type) for name in peak.columns}
        some.append(f"count({peak.columns[0]}) > 0")
    facts = f"({derived.facts(engine, settings, ALL)})"
    tables = {
        "days": f"({derived.days()})",
        "facts": facts,
        "messages": f"({derived.messages(ALL)})",
        "events": f"({derived.events(ALL)})",
    }
    rows = (
        f"SELECT {listed(columns)} FROM ({filled(rollup.template, tables)}) AS parts"
        f" GROUP BY {', '.join(rollup.key)} HAVING {' OR '.join(some)}"
    )
    final = {column: f"m.{column}" for column in columns} | dict(rollup.computed)
    return f"SELECT {listed(final)} FROM ({rows}) AS m"


def _not_adding_up(engine: Engine, settings: ModelSettings, table: str) -> str:
    """By campaign."""
    money = TABLES[table].columns["revenue"].type
    of_messages = ", ".join(
        f"sum(CASE WHEN {which} THEN 1 ELSE 0 END) AS {name}" for name, (which, _) in OF_MESSAGES.items()
    )
    goal = f"goal = {engine.text(settings.goals[0].name)}" if settings.goals else "false"
    attribution = f"{SCHEMA}.attribution WHERE model = 'last' AND {goal}"
    direct = (
        f"SELECT coalesce(c.campaign_id, o.campaign_id) AS campaign_id, {', '.join(OF_MESSAGES)}, orders, revenue"
        f" FROM (SELECT campaign_id, {of_messages} FROM {SCHEMA}.messages WHERE is_test IS NOT TRUE GROUP BY 1) AS c"
        f" FULL JOIN (SELECT campaign_id, count(*) AS orders, sum(value) AS revenue FROM {attribution} GROUP BY 1) AS o"
        " ON o.campaign_id = c.campaign_id"
    )
    sums = ", ".join(f"sum({name}) AS {name}" for name in COUNTS)
    kept = f"SELECT campaign_id, {sums} FROM {SCHEMA}.{table} GROUP BY 1"
    same = " AND ".join(
        f"coalesce(k.{name}, 0) = coalesce({engine.cast(f'd.{name}', money) if name == 'revenue' else f'd.{name}'}, 0)"
        for name in COUNTS
    )
    return (
        f"SELECT coalesce(k.campaign_id, d.campaign_id) AS campaign_id FROM ({kept}) AS k"
        f" FULL JOIN ({direct}) AS d ON d.campaign_id = k.campaign_id WHERE NOT ({same})"
    )
