"""Keeps the derived tables up to date: what an increment took away is subtracted, what it brought is added.

`old_` and `new_` tables hold all that changed, so that a table is exactly what it would be if it were made anew. Sums are added up.
A greatest or least value moves with what is new; only where its former holder is gone is it looked for again, in that row alone.
"""

# ruff: noqa: S608 -- all names are of the model; texts of settings went through Engine.text

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from headrace.reports.model import derived
from headrace.reports.model.derived import BEFORE, NOW, RATES, Peak, Rollup, Side, listed
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import COUNTS, SCHEMA, TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

STEP: Final = "rollup"
OF_INCREMENT: Final = {
    "facts": f"{STEP}_facts",
    "days": f"{STEP}_days",
    "messages": f"({derived.messages((NOW, BEFORE))})",
    "events": f"({derived.events((NOW, BEFORE))})",
}
"""What a template's names stand for."""


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """Within an increment, after attribution. Needs `incoming_names` and all `old_` and `new_` tables."""
    later_names = _keep_names(derivation, engine)
    tables = _tables(derivation, engine, settings)
    active = [rollup for rollup in derived.declared(engine) if any(f"{{{name}}}" in rollup.template for name in tables)]
    for rollup in active:
        derivation.run(_changes(engine, rollup, OF_INCREMENT))
    tallies = _tallies(derivation, active)
    for rollup in active:
        rows, odd = tallies[rollup.table]
        if rows:
            derivation.run(_exchange(engine, rollup, odd) if rollup.peaks else _add(rollup, odd))
    touched = ["SELECT campaign_id FROM rollup_names"] if later_names else []
    if tallies.get("campaign_sends", (0, 0))[0]:
        touched.append("SELECT campaign_id FROM rollup_campaign_sends")
    if touched:
        derivation.run(_campaigns(engine, " UNION ".join(touched)))


def _keep_names(derivation: Derivation, engine: Engine) -> bool:
    """Whether a campaign is called otherwise now. Events without campaign are no campaign that has a name."""
    of_name = (
        "SELECT campaign_id, campaign_name, max(happened_at) AS happened_at FROM incoming_names"
        " WHERE campaign_id <> '' AND campaign_name IS NOT NULL GROUP BY 1, 2"
    )
    order = 'happened_at DESC, campaign_name COLLATE "C" DESC'
    ranked = (
        f"SELECT *, row_number() OVER (PARTITION BY campaign_id ORDER BY {order}) AS place FROM ({of_name}) AS told"
    )
    is_later = (
        "k.campaign_id IS NULL OR r.happened_at > k.happened_at"
        ' OR (r.happened_at = k.happened_at AND r.campaign_name COLLATE "C" > k.campaign_name COLLATE "C")'
    )
    later = (
        "SELECT r.campaign_id, r.campaign_name, r.happened_at, r.campaign_name IS DISTINCT FROM k.campaign_name AS is_other"
        f" FROM ({ranked}) AS r LEFT JOIN {SCHEMA}.names AS k ON k.campaign_id = r.campaign_id"
        f" WHERE r.place = 1 AND ({is_later})"
    )
    derivation.run(engine.temporary(f"{STEP}_later", later))
    found = derivation.fetch(f"SELECT count(*) AS n, count(*) FILTER (WHERE is_other) AS others FROM {STEP}_later")
    told = found.to_pylist()[0]
    columns = "campaign_id, campaign_name, happened_at"
    if told["n"]:
        derivation.run(
            [
                f"DELETE FROM {SCHEMA}.names AS k USING {STEP}_later AS n WHERE k.campaign_id = n.campaign_id",
                f"INSERT INTO {SCHEMA}.names ({columns}) SELECT {columns} FROM {STEP}_later",
            ]
        )
    if told["others"]:
        derivation.run(engine.temporary(f"{STEP}_names", f"SELECT campaign_id FROM {STEP}_later WHERE is_other"))
    return bool(told["others"])


def _tables(derivation: Derivation, engine: Engine, settings: ModelSettings) -> Collection[str]:
    """Which of a template's tables have rows; those are made."""
    sides = ("messages", "events", "attribution")
    counts = ", ".join(
        f"(SELECT count(*) FROM old_{side}) + (SELECT count(*) FROM new_{side}) AS {side}" for side in sides
    )
    found = derivation.fetch(f"SELECT {counts}").to_pylist()[0]
    tables = [side for side in ("messages", "events") if found[side]]
    if found["messages"] or found["attribution"]:
        derivation.run(engine.temporary(f"{STEP}_facts", derived.facts(engine, settings, (NOW, BEFORE))))
        days = derived.days().replace("{facts}", f"{STEP}_facts")
        derivation.run(engine.temporary(f"{STEP}_days", days))
        tables += ["facts", "days"]
    elif found["events"]:  # list_health reads both
        nothing = "SELECT '' AS source, '' AS list_id, '' AS measure, 0 AS n, " + engine.null(Type.DAY)
        derivation.run(engine.temporary(f"{STEP}_days", f"{nothing} AS day WHERE false"))
    return tables


def filled(template: str, tables: Mapping[str, str]) -> str:
    for name, table in tables.items():
        template = template.replace(f"{{{name}}}", table)
    return template


def _changes(engine: Engine, rollup: Rollup, tables: Mapping[str, str]) -> Sequence[str]:
    """Statements that make `rollup_x`: the differences of sums, or with peaks the rows as they will be, unless they are lost."""
    types = TABLES[rollup.table].columns
    sums = {name: engine.cast(f"sum({name})", types[name].type) for name in rollup.sums}
    rows, keys = filled(rollup.template, tables), ", ".join(rollup.key)
    if not rollup.peaks:
        differ = " OR ".join(f"{name} <> 0" for name in rollup.sums)
        select = f"SELECT {keys}, {listed(sums)} FROM ({rows}) AS parts GROUP BY {keys}"
        return engine.temporary(f"{STEP}_{rollup.table}", f"SELECT * FROM ({select}) AS d WHERE {differ}")
    for peak in rollup.peaks:
        for column in peak.columns:
            type_ = types[column].type
            sums[f"new_{column}"] = peak.aggregate(column, type_, "weight > 0")
            sums[f"old_{column}"] = peak.aggregate(column, type_, "weight < 0")
    delta, stored = f"{STEP}_delta_{rollup.table}", f"{SCHEMA}.{rollup.table}"
    statements = [*engine.temporary(delta, f"SELECT {keys}, {listed(sums)} FROM ({rows}) AS parts GROUP BY {keys}")]
    if rollup.by:
        stored = f"{STEP}_stored_{rollup.table}"
        statements += engine.pick(stored, rollup.table, rollup.by, delta)
    return [*statements, *engine.temporary(f"{STEP}_{rollup.table}", _merged(rollup, delta, stored))]


def _merged(rollup: Rollup, delta: str, stored: str) -> str:
    columns = {key: f"d.{key}" for key in rollup.key}
    columns |= {name: f"coalesce(t.{name}, 0) + d.{name}" for name in rollup.sums}
    for peak in rollup.peaks:
        for column in peak.columns:
            columns[column] = f"CASE WHEN {_is_new(rollup, peak)} THEN d.new_{column} ELSE t.{column} END"
    columns["is_lost"] = " OR ".join(_is_lost(rollup, peak) for peak in rollup.peaks)
    return f"SELECT {listed(columns)} FROM {delta} AS d LEFT JOIN {stored} AS t ON {_same_key(rollup, 'd', 't')}"


def _same_key(rollup: Rollup, one: str, other: str) -> str:
    # IS NOT DISTINCT FROM would keep the engines from hashing.
    return " AND ".join(
        f"coalesce({one}.journey_id, '') = coalesce({other}.journey_id, '')"
        if column == "journey_id"
        else f"{one}.{column} = {other}.{column}"
        for column in rollup.key
    )


def _is_new(rollup: Rollup, peak: Peak) -> str:
    """The peak is that of the new side, or the stored one is the same."""
    first = peak.columns[0]
    return f"(d.new_{first} IS NOT NULL AND (t.{first} IS NULL OR NOT {_beats(rollup, peak)}))"


def _beats(rollup: Rollup, peak: Peak) -> str:
    """The stored one, column after column, the first of which is not null on both sides."""
    sign, sql = "<" if peak.is_least else ">", ""
    for column in reversed(peak.columns):
        order = ' COLLATE "C"' if TABLES[rollup.table].columns[column].type is Type.TEXT else ""
        more = f"t.{column}{order} {sign} d.new_{column}{order}"
        sql = f"({more} OR (t.{column} = d.new_{column} AND {sql}))" if sql else f"({more})"
    return sql


def _is_lost(rollup: Rollup, peak: Peak) -> str:
    """The stored peak was the old side's, which now has less to show."""
    same = " AND ".join(f"d.old_{column} = t.{column}" for column in peak.columns)
    return f"coalesce({same} AND NOT {_is_new(rollup, peak)}, false)"


def _tallies(derivation: Derivation, rollups: Sequence[Rollup]) -> Mapping[str, tuple[int, int]]:
    """By table, how many rows change, and in how many of them sums fall or peaks are lost."""
    queries = [
        f"SELECT '{rollup.table}' AS of_table, count(*) AS changed, count(*) FILTER (WHERE {odd}) AS odd FROM {STEP}_{rollup.table}"
        for rollup in rollups
        for odd in ["is_lost" if rollup.peaks else f"least({', '.join(rollup.sums)}) < 0"]
    ]
    rows = derivation.fetch(" UNION ALL ".join(queries)).to_pylist() if queries else []
    return {row["of_table"]: (row["changed"], row["odd"]) for row in rows}


def _add(rollup: Rollup, falling: int) -> Sequence[str]:
    """Where a sum falls, the row may have nothing left."""
    table, delta, same = f"{SCHEMA}.{rollup.table}", f"{STEP}_{rollup.table}", _same_key(rollup, "t", "d")
    sets = ", ".join(f"{name} = t.{name} + d.{name}" for name in rollup.sums)
    columns = ", ".join([*rollup.key, *rollup.sums])
    empty = " AND ".join(f"t.{name} = 0" for name in rollup.sums)
    statements = [
        f"UPDATE {table} AS t SET {sets} FROM {delta} AS d WHERE {same}",
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {delta} AS d WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})",
    ]
    return [*statements, f"DELETE FROM {table} AS t USING {delta} AS d WHERE {same} AND {empty}"][: 3 if falling else 2]


def _exchange(engine: Engine, rollup: Rollup, lost: int) -> Sequence[str]:
    """Away with the former rows, in with those that have anything."""
    made = f"{STEP}_{rollup.table}"
    columns = {name: f"m.{name}" for name in TABLES[rollup.table].columns} | dict(rollup.computed)
    some = " OR ".join(
        [*(f"m.{name} <> 0" for name in rollup.sums), *(f"m.{peak.columns[0]} IS NOT NULL" for peak in rollup.peaks)]
    )
    former = f"DELETE FROM {SCHEMA}.{rollup.table} AS t USING {made} AS m WHERE {_same_key(rollup, 't', 'm')}"
    if rollup.by:
        places = (
            f"SELECT s.place FROM {STEP}_stored_{rollup.table} AS s JOIN {made} AS m ON {_same_key(rollup, 's', 'm')}"
        )
        [former] = engine.remove(rollup.table, f"({places}) AS former")
    return [
        *(_found_again(engine, rollup) if lost else ()),
        former,
        f"INSERT INTO {SCHEMA}.{rollup.table} ({', '.join(columns)}) SELECT {listed(columns)} FROM {made} AS m WHERE {some}",
    ]


def _found_again(engine: Engine, rollup: Rollup) -> Sequence[str]:
    """Statements that give lost rows the peaks of what there is now."""
    assert rollup.again  # noqa: S101 - what has peaks has this
    made, lost, source = f"{STEP}_{rollup.table}", f"{STEP}_lost_{rollup.table}", f"{STEP}_again_{rollup.again.table}"
    types = TABLES[rollup.table].columns
    peaks = {name: peak.aggregate(name, types[name].type) for peak in rollup.peaks for name in peak.columns}
    side, keys = [Side(f"{STEP}_again_", 1)], ", ".join(rollup.key)
    tables = {"messages": f"({derived.messages(side)})", "events": f"({derived.events(side)})"}
    whole = f"SELECT {keys}, {listed(peaks)} FROM ({filled(rollup.template, tables)}) AS parts GROUP BY {keys}"
    columns = {key: f"l.{key}" for key in rollup.key} | {name: f"w.{name}" for name in peaks}
    again = f"SELECT {listed(columns)} FROM {lost} AS l LEFT JOIN ({whole}) AS w ON {_same_key(rollup, 'l', 'w')}"
    sets = ", ".join(f"{name} = w.{name}" for name in peaks)
    return [
        *engine.temporary(lost, f"SELECT {keys} FROM {made} AS m WHERE is_lost"),
        *engine.temporary(f"{source}_keys", rollup.again.keys.replace("{lost}", lost)),
        *engine.pick(source, rollup.again.table, rollup.again.column, f"{source}_keys"),
        f"UPDATE {made} AS m SET {sets} FROM ({again}) AS w WHERE {_same_key(rollup, 'm', 'w')}",
    ]


def campaigns_query(engine: Engine, which: str) -> str:
    """The rows of `email.campaigns` as `campaign_sends` and `names` have them."""
    sums = {name: engine.cast(f"sum({name})", of.type) for name, of in COUNTS.items()}
    rates = {
        rate: f"{engine.cast(f's.{above}', Type.RATE)} / nullif({engine.cast(f's.{below}', Type.RATE)}, 0)"
        for rate, (above, below) in RATES.items()
    }
    columns = {
        "campaign_id": "s.campaign_id",
        "campaign_name": "n.campaign_name",
        **{n: f"s.{n}" for n in COUNTS},
        **rates,
    }
    sends = f"SELECT campaign_id, {listed(sums)} FROM {SCHEMA}.campaign_sends WHERE {which} GROUP BY campaign_id"
    return (
        f"SELECT {listed(columns)} FROM ({sends}) AS s LEFT JOIN {SCHEMA}.names AS n ON n.campaign_id = s.campaign_id"
    )


def _campaigns(engine: Engine, touched: str) -> Sequence[str]:
    columns, which = ", ".join(TABLES["campaigns"].columns), f"campaign_id IN ({touched})"
    return [
        f"DELETE FROM {SCHEMA}.campaigns WHERE {which}",
        f"INSERT INTO {SCHEMA}.campaigns ({columns}) SELECT {columns} FROM ({campaigns_query(engine, which)}) AS made",
    ]
