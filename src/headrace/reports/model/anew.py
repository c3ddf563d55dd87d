"""The derived tables made anew from messages, events and attribution: for settings that changed, and to check those that are kept."""

# ruff: noqa: S608 -- all names are of the model; texts of settings went through Engine.text

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from headrace.reports.model.derived import OF_MESSAGES, Rollup, declared, filled, sources
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import COUNTS, SCHEMA, TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

ADDING_UP: Final = ("campaign_sends", "domains", "campaigns_daily", "campaigns")


def make_anew(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """All that `rollups.apply` keeps except `names`: needed where the first goal is another one now, which no difference of attribution
    tells. Safe to call at any time, within a transaction."""
    for rollup in declared(engine, settings):
        columns = ", ".join(TABLES[rollup.table].columns)
        insert = f"INSERT INTO {SCHEMA}.{rollup.table} ({columns}) SELECT {columns}"
        anew = _anew(engine, settings, rollup)
        derivation.run([f"DELETE FROM {SCHEMA}.{rollup.table}", f"{insert} FROM ({anew}) AS anew"])


def checks(engine: Engine, settings: ModelSettings) -> Mapping[str, str]:
    """By what is checked. `x is complete` compares a table row by row with one that is made anew, `x adds up` its sums with counts of
    another making. They read all of the model."""
    complete = {
        f"{rollup.table} is complete": _differing(engine, settings, rollup) for rollup in declared(engine, settings)
    }
    return complete | {f"{table} adds up": _not_adding_up(engine, settings, table) for table in ADDING_UP}


def _differing(engine: Engine, settings: ModelSettings, rollup: Rollup) -> str:
    """The rows that only one of both tables has."""
    columns = ", ".join(TABLES[rollup.table].columns)
    kept = f"SELECT {columns} FROM {SCHEMA}.{rollup.table}"
    anew = f"SELECT {columns} FROM ({_anew(engine, settings, rollup)}) AS anew"
    return f"({kept} EXCEPT ALL {anew}) UNION ALL ({anew} EXCEPT ALL {kept})"


def _anew(engine: Engine, settings: ModelSettings, rollup: Rollup) -> str:
    types = TABLES[rollup.table].columns
    columns = {column: column for column in rollup.key}
    columns |= {name: engine.cast(f"sum({name})", types[name].type) for name in rollup.sums}
    some = [f"sum({name}) <> 0" for name in rollup.sums]
    for peak in rollup.peaks:
        columns |= {name: f"{'bool_or' if types[name].type is Type.TRUTH else 'max'}({name})" for name in peak.columns}
        some.append(f"count({peak.columns[0]}) > 0")
    template = filled(rollup.template, sources(engine, settings, f"{SCHEMA}."))
    listed = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    rows = f"SELECT {listed} FROM ({template}) AS parts GROUP BY {', '.join(rollup.key)} HAVING {' OR '.join(some)}"
    final = {column: f"m.{column}" for column in columns} | dict(rollup.computed)
    return f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in final.items())} FROM ({rows}) AS m"


def _not_adding_up(engine: Engine, settings: ModelSettings, table: str) -> str:
    """By campaign."""
    money = TABLES[table].columns["revenue"].type
    of_messages = ", ".join(
        f"sum(CASE WHEN {which} THEN 1 ELSE 0 END) AS {name}" for name, (which, _) in OF_MESSAGES.items()
    )
    attribution = sources(engine, settings, f"{SCHEMA}.")["attribution"]
    direct = (
        f"SELECT coalesce(c.campaign_id, o.campaign_id) AS campaign_id, {', '.join(OF_MESSAGES)}, orders, revenue"
        f" FROM (SELECT campaign_id, {of_messages} FROM {SCHEMA}.messages WHERE is_test IS NOT TRUE GROUP BY 1) AS c"
        f" FULL JOIN (SELECT campaign_id, count(*) AS orders, sum(value) AS revenue FROM {attribution} AS a GROUP BY 1) AS o"
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
