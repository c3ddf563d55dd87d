"""A plan as one SELECT for DuckDB or PostgreSQL.

Every word of it is ours but for literals, which `Engine.text` writes, and names of columns, which stand in quotes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from headrace.reports.conditions import Field, FieldType, condition_sql
from headrace.reports.datasets import Part
from headrace.reports.dimensions import LABEL, Dimension, dimension
from headrace.reports.measures import BY_MODEL, MEASURES, MODELS, Aggregate, Measure
from headrace.reports.model.schema import Type
from headrace.reports.place import Place
from headrace.reports.planning import STEP, Plan, planned
from headrace.reports.request import ReportRequest, days_of, zone_of

_FIELD_TYPES: Final[Mapping[str, FieldType]] = {
    "text": "text",
    "number": "number",
    "truth": "truth",
    "day": "time",
    "time": "time",
}
_TYPES: Final = {
    "count": Type.COUNT,
    "level": Type.COUNT,
    "money": Type.MONEY,
    "share": Type.RATE,
    "seconds": Type.RATE,
    "number": Type.RATE,
}
_TRUNCATED: Final = {"day": "day", "week": "week", "month": "month"}
_EXTRACTED: Final = {"weekday": "isodow", "hour of day": "hour"}
RECENCY_DAYS: Final = (30, 90, 180)


def sql(request: ReportRequest, place: Place) -> str:
    """One SELECT for a settled request. Raises ConfigError that names what is wrong and what is possible."""
    return built(planned(request, place), place)


def built(plan: Plan, place: Place) -> str:
    builder = _Builder(plan, place)
    return builder.whole()


class _Builder:
    def __init__(self, plan: Plan, place: Place) -> None:
        self._plan = plan
        self._place = place
        self._engine = place.engine
        self._keys = [f"d{number}" for number in range(len(plan.dimensions))]

    def whole(self) -> str:
        plan, quoted = self._plan, self._engine.quoted
        bases = [name for part in plan.parts for name in plan.read[part.name]]
        dimensions = [f"p.{key} AS {quoted(of.name)}" for key, of in zip(self._keys, plan.dimensions, strict=True)]
        measures = [f"{self._figure(measure)} AS {quoted(measure.name)}" for measure in plan.measures]
        parts = [self._part(part, bases) for part in plan.parts]
        merged = parts[0] if len(parts) == 1 else self._merged(parts, bases)
        limit = "" if plan.limit is None else f"\nLIMIT {int(plan.limit)}"
        return f"SELECT {', '.join((*dimensions, *measures))}\nFROM ({merged}\n) AS p{self._having()}{self._order()}{limit}"

    def _part(self, part: Part, bases: Sequence[str]) -> str:
        """A row for each group, with all of `bases`: those of other parts are null."""
        rows = self._rows(part)
        if part.once:
            keys = "".join(f"{key}, " for key in self._keys)
            by = ", ".join((*self._keys, "model", "conversion_key"))
            late = self._engine.seconds("happened_at", "touched_at")
            rows = f"SELECT {keys}model, max(value) AS value, min({late}) AS seconds_to_convert\nFROM ({rows}) AS i GROUP BY {by}"
        mine = self._plan.read[part.name]
        none = {name: self._engine.null(_TYPES[MEASURES[name].unit]) for name in bases}
        figures = [f"{self._base(MEASURES[name], part) if name in mine else none[name]} AS b_{name}" for name in bases]
        selected = ", ".join((*self._keys, *figures))
        grouped = f" GROUP BY {', '.join(self._keys)}" if self._keys else ""
        return f"SELECT {selected}\nFROM ({rows}) AS o{grouped}"

    def _merged(self, parts: Sequence[str], bases: Sequence[str]) -> str:
        """Each group has one row at the most in each part, and null where a figure is of another part."""
        figures = [
            f"{f'max(b_{name})' if MEASURES[name].unit == 'seconds' else f'coalesce(max(b_{name}), 0)'} AS b_{name}"
            for name in bases
        ]
        union = "\nUNION ALL\n".join(parts)
        grouped = f" GROUP BY {', '.join(self._keys)}" if self._keys else ""
        return f"SELECT {', '.join((*self._keys, *figures))}\nFROM (\n{union}\n) AS u{grouped}"

    def _rows(self, part: Part) -> str:
        plan = self._plan
        filtered = {c.field: found for c in plan.rows if (found := dimension(c.field)) is not None}
        asked = {of.name: of for of in (*plan.dimensions, *filtered.values())}
        joins = [part.rows(self._place)]
        used = {of.of for of in asked.values()} | {part.clock for moment in plan.period if moment is not None}
        joins += dict.fromkeys(part.joins[field] for field in sorted(used) if field in part.joins)
        campaign = part.fields.get("campaign_id", "")
        if any(of.made == "name" for of in asked.values()):
            joins.append(f"LEFT JOIN email.names AS n ON n.campaign_id = {campaign}")
        labels = sorted(of.name for of in asked.values() if of.made == "label")
        aliases = {name: f"l{number}" for number, name in enumerate(labels)}
        for name, alias in aliases.items():
            label_set = self._engine.text(name.removeprefix(LABEL))
            joins.append(
                f"LEFT JOIN email.labels AS {alias} ON {alias}.campaign_id = {campaign} AND {alias}.label_set = {label_set}"
            )
        made = {name: self._made(of, part, aliases) for name, of in asked.items()}
        fields = {name: Field(made[name], _FIELD_TYPES[of.type]) for name, of in filtered.items()}
        conditions = [part.where] if part.where else []
        conditions += self._goal_conditions(part)
        conditions += self._period_conditions(part)
        conditions += [condition_sql(condition, fields, self._engine, STEP) for condition in plan.rows]
        keys = [f"{made[of.name]} AS {key}" for key, of in zip(self._keys, plan.dimensions, strict=True)]
        selected = ", ".join(("t.*", *((part.more,) if part.more else ()), *keys))
        where = f"\nWHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {selected}\nFROM {' '.join(joins)}{where}"

    def _goal_conditions(self, part: Part) -> list[str]:
        """Only the conversions that are counted are read."""
        if part.name != "attribution":
            return []
        models = {
            model
            for name in self._plan.read[part.name]
            for model in MODELS
            if name.endswith(f"_{model}")
            or (not name.endswith(tuple(f"_{m}" for m in MODELS)) and model == self._plan.model)
        }
        conditions = [f"t.model IN ({', '.join(self._engine.text(model) for model in sorted(models))})"]
        if self._plan.goal:
            conditions.append(f"t.goal = {self._engine.text(self._plan.goal)}")
        return conditions

    def _period_conditions(self, part: Part) -> list[str]:
        clock = part.fields.get(part.clock, "")
        bounds = zip(self._bounds(part), (">=", "<"), strict=True)
        return [f"{clock} {sign} {bound}" for bound, sign in bounds if bound is not None]

    def _bounds(self, part: Part) -> Sequence[str | None]:
        period, engine = self._plan.period, self._engine
        if part.exact != "day":
            return [None if at is None else engine.cast(engine.text(at.isoformat()), Type.TIME) for at in period]
        # Days of UTC are taken for the days of the zone that the period names.
        days = days_of(period, zone_of(self._plan.zone))
        return [None if day is None else engine.cast(engine.text(day.isoformat()), Type.DAY) for day in days]

    def _made(self, of: Dimension, part: Part, aliases: Mapping[str, str]) -> str:
        field = part.fields[of.of]
        match of.made:
            case "name":
                return "n.campaign_name"
            case "label":
                return f"{aliases[of.name]}.label"
            case "as it is":
                return field
            case "recency":
                return self._recency(field)
        local = self._local(field, part)
        match of.made:
            case "hour":
                # Not the local hour: when clocks are set back two of them have the same name.
                return f"({field} - ({local} - date_trunc('hour', {local})))"
            case "weekday" | "hour of day":
                return self._engine.cast(f"extract({_EXTRACTED[of.made]} FROM {local})", Type.COUNT)
            case _:
                return self._engine.cast(f"date_trunc('{_TRUNCATED[of.made]}', {local})", Type.DAY)

    def _local(self, field: str, part: Part) -> str:
        if part.exact == "day":
            return f"CAST({field} AS timestamp)"
        return f"({field} AT TIME ZONE {self._engine.text(self._plan.zone)})"

    def _recency(self, field: str) -> str:
        until = self._plan.period.until
        end = "now()" if until is None else self._engine.cast(self._engine.text(until.isoformat()), Type.TIME)
        age = self._engine.seconds(end, field)
        first, second, third = RECENCY_DAYS
        whens = "".join(
            f" WHEN {age} <= {days * 86_400} THEN '{start}-{days} days'"
            for start, days in ((0, first), (first + 1, second), (second + 1, third))
        )
        return f"CASE WHEN {field} IS NULL THEN 'never'{whens} ELSE 'more than {third} days' END"

    def _base(self, measure: Measure, part: Part) -> str:
        """Counts and amounts of nothing are 0, times are null."""
        figure = self._aggregate(measure.aggregates[part.name], measure)
        return f"coalesce({figure}, 0)" if measure.aggregates[part.name].kind == "sum" else figure

    def _aggregate(self, aggregate: Aggregate, measure: Measure) -> str:
        when = f"model = {self._engine.text(self._plan.model)}" if aggregate.when == BY_MODEL else aggregate.when
        only = f" FILTER (WHERE {when})" if when else ""
        match aggregate.kind:
            case "count":
                return f"count(*){only}"
            case "distinct":
                return f"count(DISTINCT {aggregate.of}){only}"
            case "sum":
                return self._engine.cast(f"sum({aggregate.of}){only}", _TYPES[measure.unit])
        value = aggregate.of
        if aggregate.kind == "seconds":
            value = f"greatest({self._engine.seconds(aggregate.of, aggregate.since)}, 0)"
            when = " AND ".join(
                [f"{aggregate.of} IS NOT NULL", f"{aggregate.since} IS NOT NULL", *([when] if when else [])]
            )
        return f"percentile_cont({aggregate.at:g}) WITHIN GROUP (ORDER BY CASE WHEN {when} THEN {value} END)"

    def _figure(self, measure: Measure) -> str:
        """Over the row of a group."""
        if measure.is_base:
            return f"p.b_{measure.name}"
        if measure.numerator is None:
            plus = " + ".join(self._figure(MEASURES[name]) for name in measure.plus)
            return "".join((f"({plus}", *(f" - {self._figure(MEASURES[name])}" for name in measure.minus), ")"))
        numerator = self._engine.cast(self._figure(MEASURES[measure.numerator]), Type.RATE)
        rate = f"({numerator} / nullif({self._figure(MEASURES[measure.denominator or ''])}, 0))"
        if not measure.levels:
            return rate
        whens = " ".join(
            f"WHEN {rate} >= {level:g} THEN {number}"
            for number, level in reversed(list(enumerate(measure.levels, start=1)))
        )
        return f"(CASE {whens} WHEN {rate} IS NOT NULL THEN 0 END)"

    def _having(self) -> str:
        if not self._plan.groups:
            return ""
        fields = {
            c.field: Field(self._engine.cast(self._figure(MEASURES[c.field]), Type.RATE), "number")
            for c in self._plan.groups
        }
        return "\nWHERE " + " AND ".join(condition_sql(c, fields, self._engine, STEP) for c in self._plan.groups)

    def _order(self) -> str:
        """As asked, then by what tells the rows apart, so that the same report always has the same order. Nulls come last."""
        plan = self._plan
        if not plan.dimensions:
            return ""
        asked = dict(plan.sort)
        if not asked and not any(of.is_time for of in plan.dimensions):
            asked = {plan.measures[0].name: True}
        wanted = {**asked, **{of.name: False for of in plan.dimensions if of.name not in asked}}
        # A text is named by its key, as PostgreSQL takes no expression over a column of the answer.
        texts = {of.name: key for key, of in zip(self._keys, plan.dimensions, strict=True) if of.type == "text"}
        names = {
            name: f'p.{texts[name]} COLLATE "C"' if name in texts else self._engine.quoted(name) for name in wanted
        }
        keys = [f"{names[name]}{' DESC' if down else ''} NULLS LAST" for name, down in wanted.items()]
        return f"\nORDER BY {', '.join(keys)}"
