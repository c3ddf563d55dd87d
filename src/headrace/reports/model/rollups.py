"""Keeps the derived tables up to date: what an increment took away is subtracted, what it brought is added.

`old_` and `new_` tables hold all that changed, so that a table is exactly what it would be if it were made anew. Sums are added up.
A greatest or least value moves with what is new; only where its former holder is gone is it looked for again, in that row alone.
"""

# ruff: noqa: S608 -- all names are of the model; texts of settings went through Engine.text

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headrace.reports.model.derived import Peak, Rollup, declared, filled, sources
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import SCHEMA, TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation

STEP: Final = "rollup"
SIDES: Final = ("messages", "events", "attribution")


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings) -> None:
    """Within an increment, after attribution. Needs `incoming_names` and all `old_` and `new_` tables."""
    renamed = _keep_names(derivation, engine)
    changed = _changed(derivation)
    active = [
        rollup for rollup in declared(engine, settings) if any(f"{{{side}}}" in rollup.template for side in changed)
    ]
    for rollup in active:
        derivation.run(_made(engine, settings, rollup))
    _write(derivation, engine, settings, active)
    if renamed:
        of_campaigns = (
            f"UPDATE {SCHEMA}.campaigns AS c SET campaign_name = n.campaign_name FROM {STEP}_names AS n"
            " WHERE c.campaign_id = n.campaign_id AND c.campaign_name IS DISTINCT FROM n.campaign_name"
        )
        derivation.run([of_campaigns])


def _keep_names(derivation: Derivation, engine: Engine) -> bool:
    """Whether there is a name that is later than the one that is kept. Events without campaign are no campaign that has one."""
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
        f"SELECT r.campaign_id, r.campaign_name, r.happened_at FROM ({ranked}) AS r"
        f" LEFT JOIN {SCHEMA}.names AS k ON k.campaign_id = r.campaign_id WHERE r.place = 1 AND ({is_later})"
    )
    derivation.run(engine.temporary(f"{STEP}_names", later))
    if not _count(derivation, f"SELECT count(*) AS n FROM {STEP}_names"):
        return False
    columns = "campaign_id, campaign_name, happened_at"
    derivation.run(
        [
            f"DELETE FROM {SCHEMA}.names AS k USING {STEP}_names AS n WHERE k.campaign_id = n.campaign_id",
            f"INSERT INTO {SCHEMA}.names ({columns}) SELECT {columns} FROM {STEP}_names",
        ]
    )
    return True


def _count(derivation: Derivation, query: str) -> int:
    return int(derivation.fetch(query).column("n")[0].as_py())


def _changed(derivation: Derivation) -> Sequence[str]:
    """Of SIDES those of which anything is old or new."""
    counts = ", ".join(
        f"(SELECT count(*) FROM old_{side}) + (SELECT count(*) FROM new_{side}) AS {side}" for side in SIDES
    )
    found = derivation.fetch(f"SELECT {counts}").to_pylist()[0]
    return [side for side in SIDES if found[side]]


def _made(engine: Engine, settings: ModelSettings, rollup: Rollup) -> Sequence[str]:
    """Statements that make `rollup_delta_x`, what changes in a row's sums and its peaks on both sides, and `rollup_x`, the rows as
    they will be, with `was_there`, and `is_lost` where a peak's former holder is gone."""
    delta, stored = f"{STEP}_delta_{rollup.table}", f"{SCHEMA}.{rollup.table}"
    statements = [*engine.temporary(delta, delta_query(engine, settings, rollup))]
    if rollup.by:
        stored = f"{STEP}_stored_{rollup.table}"
        statements += engine.pick(stored, rollup.table, rollup.by, delta)
    types = TABLES[rollup.table].columns
    sums = [engine.cast(f"coalesce(t.{name}, 0) + d.{name}", types[name].type) + f" AS {name}" for name in rollup.sums]
    peaks = [
        f"CASE WHEN {_is_new(rollup, peak)} THEN d.new_{column} ELSE t.{column} END AS {column}"
        for peak in rollup.peaks
        for column in peak.columns
    ]
    lost = " OR ".join(_is_lost(rollup, peak) for peak in rollup.peaks) or "false"
    keys = [f"d.{column}" for column in rollup.key]
    listed = ", ".join([*keys, *sums, *peaks, f"t.{rollup.key[0]} IS NOT NULL AS was_there", f"{lost} AS is_lost"])
    select = f"SELECT {listed} FROM {delta} AS d LEFT JOIN {stored} AS t ON {_same_key(rollup, 'd', 't')}"
    return [*statements, *engine.temporary(f"{STEP}_{rollup.table}", select)]


def delta_query(engine: Engine, settings: ModelSettings, rollup: Rollup) -> str:
    """The keys whose sums or peaks are not the same on both sides."""
    types = TABLES[rollup.table].columns
    sides = " UNION ALL ".join(
        f"SELECT {weight} AS weight, side.* FROM ({filled(rollup.template, sources(engine, settings, prefix))}) AS side"
        for weight, prefix in ((1, "new_"), (-1, "old_"))
    )
    sums = {name: f"sum(weight * {name})" for name in rollup.sums}
    listed = [*rollup.key, *(engine.cast(sql, types[name].type) + f" AS {name}" for name, sql in sums.items())]
    differs = [f"{sql} <> 0" for sql in sums.values()]
    for column in (column for peak in rollup.peaks for column in peak.columns):
        # There is one row a side, whatever aggregate takes it; booleans have no max on PostgreSQL.
        one = "bool_or" if types[column].type is Type.TRUTH else "max"
        new, old = (f"{one}({column}) FILTER (WHERE weight = {weight})" for weight in (1, -1))
        listed += [f"{new} AS new_{column}", f"{old} AS old_{column}"]
        differs.append(f"{new} IS DISTINCT FROM {old}")
    return (
        f"SELECT {', '.join(listed)} FROM ({sides}) AS sides GROUP BY {', '.join(rollup.key)}"
        f" HAVING {' OR '.join(differs)}"
    )


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
    return f"(d.new_{first} IS NOT NULL AND (t.{first} IS NULL OR NOT {_beats(rollup, peak, 't.', 'd.new_')}))"


def _is_lost(rollup: Rollup, peak: Peak) -> str:
    """The stored peak was the old side's, which now has less to show."""
    same = " AND ".join(f"d.old_{column} IS NOT DISTINCT FROM t.{column}" for column in peak.columns)
    return f"(d.old_{peak.columns[0]} IS NOT NULL AND {same} AND NOT {_is_new(rollup, peak)})"


def _beats(rollup: Rollup, peak: Peak, one: str, other: str) -> str:
    """Column after column, the first of which is not null on both sides."""
    sign = "<" if peak.is_least else ">"
    sql = ""
    for column in reversed(peak.columns):
        order = ' COLLATE "C"' if TABLES[rollup.table].columns[column].type is Type.TEXT else ""
        more = f"{one}{column}{order} {sign} {other}{column}{order}"
        sql = f"({more} OR ({one}{column} = {other}{column} AND {sql}))" if sql else f"({more})"
    return sql


def _write(derivation: Derivation, engine: Engine, settings: ModelSettings, rollups: Sequence[Rollup]) -> None:
    if not rollups:
        return
    found = _tallies(derivation, rollups)
    lost = [rollup for rollup in rollups if found[rollup.table]["lost"]]
    for rollup in lost:
        derivation.run(_found_again(engine, settings, rollup))
    if lost:
        found |= _tallies(derivation, lost)
    for rollup in rollups:
        tally = found[rollup.table]
        if rollup.by:
            derivation.run(_exchange(engine, rollup))
        else:
            derivation.run([sql for what, sql in _changes(rollup).items() if tally[what]])


def _tallies(derivation: Derivation, rollups: Iterable[Rollup]) -> dict[str, dict[str, int]]:
    """By table, how many rows are changed, added, emptied and lost."""
    queries = [
        f"SELECT '{rollup.table}' AS of_table, count(*) FILTER (WHERE was_there AND NOT {empty}) AS changed,"
        f" count(*) FILTER (WHERE NOT was_there AND NOT {empty}) AS added,"
        f" count(*) FILTER (WHERE was_there AND {empty}) AS emptied,"
        f" count(*) FILTER (WHERE is_lost) AS lost FROM {STEP}_{rollup.table} AS m"
        for rollup in rollups
        for empty in [_is_empty(rollup)]
    ]
    return {row.pop("of_table"): row for row in derivation.fetch(" UNION ALL ".join(queries)).to_pylist()}


def _is_empty(rollup: Rollup) -> str:
    nothing = [f"m.{name} = 0" for name in rollup.sums]
    return "(" + " AND ".join([*nothing, *(f"m.{peak.columns[0]} IS NULL" for peak in rollup.peaks)]) + ")"


def _found_again(engine: Engine, settings: ModelSettings, rollup: Rollup) -> Sequence[str]:
    """Statements that give lost rows the peaks of what there is now."""
    assert rollup.again  # noqa: S101 - what has peaks has this
    made, lost, source = f"{STEP}_{rollup.table}", f"{STEP}_lost_{rollup.table}", f"{STEP}_again_{rollup.table}"
    columns = [column for peak in rollup.peaks for column in peak.columns]
    tables = dict(sources(engine, settings, f"{SCHEMA}."))
    tables |= {name: of.replace(f"{SCHEMA}.{rollup.again.table}", source) for name, of in tables.items()}
    listed = ", ".join([*(f"l.{column}" for column in rollup.key), *(f"w.{column}" for column in columns)])
    whole = (
        f"SELECT {listed} FROM {lost} AS l LEFT JOIN ({filled(rollup.template, tables)}) AS w"
        f" ON {_same_key(rollup, 'l', 'w')}"
    )
    sets = ", ".join(f"{column} = w.{column}" for column in columns)
    return [
        *engine.temporary(lost, f"SELECT {', '.join(rollup.key)} FROM {made} AS m WHERE is_lost"),
        *engine.temporary(f"{source}_keys", rollup.again.keys.replace("{lost}", lost)),
        *engine.pick(source, rollup.again.table, rollup.again.column, f"{source}_keys"),
        f"UPDATE {made} AS m SET {sets} FROM ({whole}) AS w WHERE {_same_key(rollup, 'm', 'w')}",
    ]


def _final(rollup: Rollup, which: str) -> str:
    """The rows as they are written."""
    columns = {column: f"m.{column}" for column in rollup.columns} | dict(rollup.computed)
    listed = ", ".join(f"{sql} AS {column}" for column, sql in columns.items())
    return f"SELECT {listed} FROM {STEP}_{rollup.table} AS m WHERE {which}"


def _insert(rollup: Rollup, which: str) -> str:
    columns = ", ".join(dict.fromkeys([*rollup.columns, *rollup.computed]))
    return f"INSERT INTO {SCHEMA}.{rollup.table} ({columns}) {_final(rollup, which)}"


def _changes(rollup: Rollup) -> dict[str, str]:
    empty = _is_empty(rollup)
    names = dict.fromkeys([*rollup.columns, *rollup.computed])
    sets = ", ".join(f"{column} = f.{column}" for column in names if column not in rollup.key)
    return {
        "emptied": f"DELETE FROM {SCHEMA}.{rollup.table} AS t USING {STEP}_{rollup.table} AS m"
        f" WHERE {_same_key(rollup, 't', 'm')} AND {empty}",
        "changed": f"UPDATE {SCHEMA}.{rollup.table} AS t SET {sets}"
        f" FROM ({_final(rollup, f'm.was_there AND NOT {empty}')}) AS f WHERE {_same_key(rollup, 't', 'f')}",
        "added": _insert(rollup, f"NOT m.was_there AND NOT {empty}"),
    }


def _exchange(engine: Engine, rollup: Rollup) -> Sequence[str]:
    """For tables whose rows were picked: away with the former ones, in with the others."""
    former = (
        f"SELECT s.place FROM {STEP}_stored_{rollup.table} AS s"
        f" JOIN {STEP}_{rollup.table} AS m ON {_same_key(rollup, 's', 'm')}"
    )
    return [
        *engine.remove(rollup.table, f"({former}) AS former"),
        _insert(rollup, f"NOT {_is_empty(rollup)}"),
    ]
