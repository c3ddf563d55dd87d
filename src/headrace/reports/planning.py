"""A request checked against what there is, and the way chosen by which it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Final, Literal, NamedTuple

import msgspec

from headrace.errors import ConfigError, NotFoundError
from headrace.reports.conditions import Condition, zoned
from headrace.reports.datasets import DATASETS, Dataset, Part, Way
from headrace.reports.dimensions import DIMENSIONS, LABEL, Dimension, dimension
from headrace.reports.measures import MEASURES, Measure, Unit, bases
from headrace.reports.place import Place
from headrace.reports.presets import PRESETS
from headrace.reports.request import MOST_COLUMNS, MOST_ROWS, Period, ReportRequest, period_of, unknown, zone_of

STEP: Final = "report"
_QUARTER_SECONDS: Final = 900


class Column(msgspec.Struct, frozen=True):
    """Of the answer. `unit` is a measure's; `type` is text, number, truth, day (a date) or time."""

    name: str
    title: str
    sentence: str
    kind: Literal["dimension", "measure"]
    type: str
    unit: Unit | None = None


class Plan(NamedTuple):
    """`read` says which base measures each part gives; parts that are not needed are left out. `rows` are the conditions on rows,
    `groups` those on the figures of the report. `goal` is empty where goals are told apart, or chosen by conditions."""

    dataset: Dataset
    way: Way
    dimensions: Sequence[Dimension]
    measures: Sequence[Measure]
    read: Mapping[str, Sequence[str]]
    rows: Sequence[Condition]
    groups: Sequence[Condition]
    period: Period
    zone: str
    sort: Sequence[tuple[str, bool]]
    limit: int | None
    goal: str
    model: str

    @property
    def names(self) -> Sequence[str]:
        """Of the columns."""
        return [*(of.name for of in self.dimensions), *(of.name for of in self.measures)]

    @property
    def parts(self) -> Sequence[Part]:
        return [part for part in self.way.parts if part.name in self.read]


def filled(request: ReportRequest) -> ReportRequest:
    """With what its preset and its dataset say where it says nothing. Raises NotFoundError for a preset or dataset that is none."""
    if request.preset is not None:
        preset = PRESETS.get(request.preset)
        if preset is None:
            raise unknown(STEP, "report", request.preset, PRESETS)
        is_same = request.dataset in (None, preset.dataset)
        sort = (
            preset.sort
            if request.sort is None and request.dimensions is None and request.measures is None
            else request.sort
        )
        return filled(
            msgspec.structs.replace(
                request,
                preset=None,
                dataset=request.dataset or preset.dataset,
                dimensions=preset.dimensions if request.dimensions is None and is_same else request.dimensions,
                measures=preset.measures if request.measures is None and is_same else request.measures,
                filters=[*preset.filters, *request.filters],
                sort=sort,
                limit=preset.limit if request.limit is None else request.limit,
            )
        )
    dataset = request.dataset or "messages"
    if dataset not in DATASETS:
        raise unknown(STEP, "dataset", dataset, DATASETS)
    measures = request.measures
    if measures is None:
        like = next((preset for preset in PRESETS.values() if preset.dataset == dataset), None)
        measures = like.measures if like is not None else ()
    return msgspec.structs.replace(request, dataset=dataset, dimensions=request.dimensions or (), measures=measures)


def planned(request: ReportRequest, place: Place) -> Plan:
    """Of a settled request. Raises ConfigError that names what is wrong and what is possible."""
    request = filled(request)
    dataset = DATASETS[request.dataset or ""]
    dimensions = [dimension_in(name, dataset, place) for name in _once(request.dimensions or ())]
    measures = [measure_in(name, dataset) for name in _once(request.measures or ())]
    if not measures:
        raise ConfigError(f"{STEP}: no measure is asked for; see: headrace report measures")
    if len(dimensions) + len(measures) > MOST_COLUMNS:
        raise ConfigError(f"{STEP}: {len(dimensions) + len(measures)} columns; {MOST_COLUMNS} are allowed")
    for found in dimensions:
        if found.only_filters:
            raise ConfigError(
                f"{STEP}: {found.name} is for filters; choose {found.of}_hour, {found.of}_day or {found.of}_week"
            )
    if request.limit is not None and not 1 <= request.limit <= MOST_ROWS:
        raise ConfigError(f"{STEP}: the limit is {request.limit!r:.100}; it must be from 1 to {MOST_ROWS}")
    rows, groups = _conditions(request, dataset, place)
    names = [measure.name for measure in measures]
    wanted = bases([*names, *(c.field for c in groups if c.field not in names)])
    period = period_of(request)
    filtered = [dimension_in(condition.field, dataset, place) for condition in rows]
    by_goal = any(found.name == "goal" for found in (*dimensions, *filtered))
    goal = "" if by_goal and request.goal is None else _goal(request, place)
    asked = _Asked(dimensions, filtered, wanted, period, goal, request.model, place)
    way, read = _way(dataset, asked)
    return Plan(
        dataset,
        way,
        dimensions,
        measures,
        read,
        rows,
        groups,
        period,
        request.zone,
        _sort(request, [*(found.name for found in dimensions), *names]),
        request.limit,
        asked.goal,
        request.model,
    )


def columns(plan: Plan) -> Sequence[Column]:
    return [
        *(Column(d.name, d.title, d.sentence, "dimension", d.type) for d in plan.dimensions),
        *(Column(m.name, m.title, m.sentence, "measure", "number", m.unit) for m in plan.measures),
    ]


def fields_of(dataset: Dataset) -> Sequence[Dimension]:
    """The dimensions that the dataset knows, without labels."""
    return _fields_of(dataset.name)


@cache
def _fields_of(name: str) -> Sequence[Dimension]:
    dataset = DATASETS[name]
    fields = {field for way in dataset.ways for field in way.parts[0].fields}
    whole = {part.fields[part.clock] for way in dataset.ways for part in way.parts if part.exact == "day"}
    return [d for d in DIMENSIONS.values() if d.of in fields and not (whole and d.made in ("hour", "hour of day"))]


def measures_of(dataset: Dataset) -> Sequence[Measure]:
    """The measures that the dataset knows."""
    return _measures_of(dataset.name)


@cache
def _measures_of(name: str) -> Sequence[Measure]:
    dataset = DATASETS[name]
    return [m for m in MEASURES.values() if any(_reads(way, bases([m.name])) for way in dataset.ways)]


def _reads(way: Way, wanted: Sequence[str]) -> bool:
    parts = {part.name for part in way.parts}
    return all(parts & MEASURES[name].aggregates.keys() for name in wanted)


def _once(names: Sequence[str]) -> Sequence[str]:
    return list(dict.fromkeys(names))


def dimension_in(name: str, dataset: Dataset, place: Place) -> Dimension:
    """Raises NotFoundError that says which datasets have it."""
    known = fields_of(dataset)
    found = dimension(name)
    if found is None or (name in DIMENSIONS and found not in known):
        sets = sorted({rule.set for rule in place.settings.labels})
        has_campaigns = any(of.name == "campaign_id" for of in known)
        labels = [f"{LABEL}{label_set}" for label_set in sets] if has_campaigns else []
        what = f"field in the dataset {dataset.name}" if found is not None else "field"
        elsewhere = [of.name for of in DATASETS.values() if found is not None and found in fields_of(of)]
        raise unknown(STEP, what, name, [*(of.name for of in known), *labels], elsewhere)
    if found.made == "label":
        sets = sorted({rule.set for rule in place.settings.labels})
        if not sets:
            raise NotFoundError(
                f"{STEP}: there is no set of labels {name[:100]!r}, as there are no rules for labels; add one: headrace email labels add --help"
            )
        if name.removeprefix(LABEL) not in sets:
            raise unknown(STEP, "set of labels", name, [f"{LABEL}{label_set}" for label_set in sets])
        if not any(of.name == "campaign_id" for of in known):
            raise ConfigError(f"{STEP}: the dataset {dataset.name} knows no campaigns, so it has no {name}")
    return found


def measure_in(name: str, dataset: Dataset) -> Measure:
    """Raises NotFoundError that says which datasets have it."""
    found = MEASURES.get(name)
    known = measures_of(dataset)
    if found is None or found not in known:
        what = f"measure in the dataset {dataset.name}" if found is not None else "measure"
        elsewhere = [of.name for of in DATASETS.values() if found is not None and found in measures_of(of)]
        raise unknown(STEP, what, name, [measure.name for measure in known], elsewhere)
    return found


def _conditions(request: ReportRequest, dataset: Dataset, place: Place) -> tuple[list[Condition], list[Condition]]:
    """Those on rows, with the source's, and those on figures. Times without a zone are of the request's."""
    zone = zone_of(request.zone)
    rows: list[Condition] = []
    groups: list[Condition] = []
    for condition in request.filters:
        if condition.field in MEASURES:
            measure_in(condition.field, dataset)
            groups.append(condition)
        else:
            found = dimension_in(condition.field, dataset, place)
            if found.is_time and not found.only_filters:
                raise ConfigError(
                    f"{STEP}: {found.name} cannot be filtered by; give since and until, or filter by sent_at"
                )
            rows.append(zoned(condition, zone) if found.is_time else condition)
    if request.source is not None:
        schemas = {source.slug: source.schema for source in place.sources}
        if request.source not in schemas:
            raise unknown(STEP, "source", request.source, schemas)
        dimension_in("source", dataset, place)
        rows.append(Condition("source", "is", schemas[request.source]))
    return rows, groups


def _goal(request: ReportRequest, place: Place) -> str:
    goals = [goal.name for goal in place.settings.goals]
    if request.goal is None:
        return goals[0] if goals else ""
    if request.goal not in goals:
        raise unknown(STEP, "goal", request.goal, goals)
    return request.goal


def _sort(request: ReportRequest, names: Sequence[str]) -> Sequence[tuple[str, bool]]:
    """Column and whether the greatest comes first."""
    found = [(text.removeprefix("-"), text.startswith("-")) for text in request.sort or ()]
    for name, _ in found:
        if name not in names:
            raise unknown(STEP, "column to sort by", name, names)
    return found


class _Asked(NamedTuple):
    dimensions: Sequence[Dimension]
    filtered: Sequence[Dimension]
    wanted: Sequence[str]
    period: Period
    goal: str
    model: str
    place: Place


def _way(dataset: Dataset, asked: _Asked) -> tuple[Way, Mapping[str, Sequence[str]]]:
    """The first that knows everything. Raises ConfigError when none does."""
    for way in dataset.ways:
        read = _read(way, asked)
        if read is not None:
            return way, read
    names = ", ".join(dict.fromkeys(d.name for d in (*asked.dimensions, *asked.filtered)))
    measures = ", ".join(asked.wanted)
    period = "" if asked.period == (None, None) else " in a period"
    raise ConfigError(
        f"{STEP}: {measures} by {names or 'nothing'}{period} is not known to the dataset {dataset.name}; "
        "leave one of them out, or see: headrace report fields"
    )


def _read(way: Way, asked: _Asked) -> Mapping[str, Sequence[str]] | None:
    """The measures by the part that gives them, or None where the way does not know all."""
    if not set(way.needs) <= {of.name for of in asked.dimensions}:
        return None
    read: dict[str, list[str]] = {}
    for name in asked.wanted:
        part = next((part for part in way.parts if part.name in MEASURES[name].aggregates), None)
        if part is None or not _counts_orders(part, name, asked):
            return None
        read.setdefault(part.name, []).append(name)
    parts = [part for part in way.parts if part.name in read]
    return read if all(_knows(part, asked) for part in parts) else None


def _counts_orders(part: Part, name: str, asked: _Asked) -> bool:
    """Tables of counts hold the orders of the first goal by last touch."""
    if name.split("_", maxsplit=1)[0] not in ("orders", "revenue") or part.name == "attribution":
        return True
    goals = asked.place.settings.goals
    return (
        bool(goals)
        and asked.goal == goals[0].name
        and (asked.model == "last" or name in ("orders_last", "revenue_last"))
    )


def _knows(part: Part, asked: _Asked) -> bool:
    if any(found.of not in part.fields for found in (*asked.dimensions, *asked.filtered)):
        return False
    moments = [moment for moment in asked.period if moment is not None]
    if moments and not part.clock:
        return False
    if part.exact != "quarter":
        return True
    is_exact_filter = any(found.of == part.clock and found.made == "as it is" for found in asked.filtered)
    return not is_exact_filter and all(_is_quarter(moment) for moment in moments)


def _is_quarter(moment: datetime) -> bool:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() % _QUARTER_SECONDS == 0
