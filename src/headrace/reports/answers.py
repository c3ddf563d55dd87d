"""What a report answers: its rows with what each column means, and how far the model was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from headrace.reports.conditions import Condition, zoned
from headrace.reports.datasets import DATASETS
from headrace.reports.dimensions import LABEL, LABEL_SENTENCE
from headrace.reports.funnel import FILTERS, MAIL_STEPS, ORDERS, Breakdown, FunnelPart, FunnelRequest, Step
from headrace.reports.holdout import HoldoutRequest, HoldoutResult
from headrace.reports.measures import MEASURES, Unit, definition
from headrace.reports.planning import Column, Plan, fields_of, measures_of
from headrace.reports.presets import PRESETS
from headrace.reports.request import ReportRequest, settled, zone_of

NO_MODEL: Final = "the warehouse {slug} has no tables of e-mail yet: they are made once the first e-mail events are loaded; see: headrace status"
NO_ENGINE: Final = "{step}: there is no e-mail model on {kind}; it is made on DuckDB and PostgreSQL"
PROGRESS: Final = """SELECT max(loaded_to) AS as_of, (SELECT count(*) FROM headrace.loads WHERE started >
    (SELECT coalesce(max(loaded_to), TIMESTAMPTZ '1970-01-01 00:00:00+00') FROM email.progress WHERE schema_name <> '')) AS behind,
    (SELECT count(*) > 0 FROM email.progress WHERE schema_name = '' AND role = 'again') AS is_flagging
FROM email.progress WHERE schema_name <> ''"""
"""The last load that the model has read; how many came after it: all of them, when it is about to be made anew; and whether mails are still
being flagged by rules that were changed."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far the model is. `as_of`: the last load that the figures know, null where they know none; `loads_behind`: those that came after it. `is_flagging`:
    rules for machines were changed, and the figures of some mails are still by the former ones."""

    as_of: datetime | None
    loads_behind: int
    is_flagging: bool = False


class ReportAnswer(Standing, frozen=True, kw_only=True):
    """`rows` are as those of a query; money and counts are numbers, shares from 0 to 1, days and times ISO-8601. `since` and `until` are
    what the request's period came to; `goal` is empty where goals are told apart or chosen by conditions. `truncated`: there were more rows than may be shown."""

    dataset: str
    sentence: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    truncated: bool
    since: datetime | None
    until: datetime | None
    zone: str
    goal: str
    model: str
    sql: str
    seconds: float


class ReportSql(msgspec.Struct, frozen=True):
    sql: str


class FunnelOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As a `FunnelRequest`, with the period as a report's, by when the mail was sent. Times without a zone are of `zone`, in filters too."""

    steps: Sequence[Step] = ORDERS
    filters: Sequence[Condition] = ()
    since: str | None = None
    until: str | None = None
    zone: str = "UTC"
    breakdown: Breakdown | None = None
    limit: int = 50
    warehouse: str | None = None

    def request(self, now: datetime) -> FunnelRequest:
        """Raises ConfigError."""
        since, until = _period(self.since, self.until, self.zone, now)
        zone = zone_of(self.zone)
        times = {name for name, field in FILTERS.items() if field.type == "time"}
        return FunnelRequest(
            steps=self.steps,
            filters=[zoned(condition, zone) if condition.field in times else condition for condition in self.filters],
            since=since,
            until=until,
            breakdown=self.breakdown,
            limit=self.limit,
        )


class FunnelAnswer(Standing, frozen=True, kw_only=True):
    breakdown: str | None
    parts: Sequence[FunnelPart]
    parts_in_all: int
    since: datetime | None
    until: datetime | None
    zone: str
    sql: str
    seconds: float


class HoldoutOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As a `HoldoutRequest`, with the period as a report's, by when the conversions happened."""

    goal: str | None = None
    since: str | None = None
    until: str | None = None
    zone: str = "UTC"
    warehouse: str | None = None

    def request(self, now: datetime) -> HoldoutRequest:
        """Raises ConfigError."""
        since, until = _period(self.since, self.until, self.zone, now)
        return HoldoutRequest(goal=self.goal, since=since, until=until)


class HoldoutAnswer(Standing, frozen=True, kw_only=True):
    result: HoldoutResult
    since: datetime | None
    until: datetime | None
    zone: str
    sql: str
    seconds: float


class MeasureShown(msgspec.Struct, frozen=True):
    """`numerator` and `denominator` are names of measures; `definition` is what it is made of where that is no quotient."""

    name: str
    title: str
    sentence: str
    unit: Unit
    numerator: str | None
    denominator: str | None
    definition: str
    datasets: Sequence[str]


class FieldShown(msgspec.Struct, frozen=True):
    name: str
    title: str
    sentence: str
    type: str
    only_filters: bool


class DatasetShown(msgspec.Struct, frozen=True):
    name: str
    sentence: str
    fields: Sequence[FieldShown]
    measures: Sequence[str]


class FieldsShown(msgspec.Struct, frozen=True):
    datasets: Sequence[DatasetShown]
    funnel_steps: dict[str, str]


class PresetShown(msgspec.Struct, frozen=True):
    name: str
    sentence: str
    dataset: str
    dimensions: Sequence[str]
    measures: Sequence[str]
    sort: Sequence[str]
    filters: Sequence[Condition]
    chart: str
    drawn: str


def answer(plan: Plan, columns: Sequence[Column], sql: str, result: Any, standing: Standing) -> ReportAnswer:
    """`result` is the warehouse's QueryResult of `sql`."""
    return ReportAnswer(
        dataset=plan.dataset.name,
        sentence=plan.dataset.sentence,
        columns=columns,
        rows=result.rows,
        truncated=result.truncated,
        since=plan.period.since,
        until=plan.period.until,
        zone=plan.zone,
        goal=plan.goal,
        model=plan.model,
        **msgspec.structs.asdict(standing),
        sql=sql,
        seconds=result.seconds,
    )


def measures_shown() -> list[MeasureShown]:
    datasets = {name: {of.name for of in measures_of(dataset)} for name, dataset in DATASETS.items()}
    return [
        MeasureShown(
            of.name,
            of.title,
            of.sentence,
            of.unit,
            of.numerator,
            of.denominator,
            definition(of),
            [name for name, known in datasets.items() if of.name in known],
        )
        for of in MEASURES.values()
    ]


def fields_shown(label_sets: Sequence[str]) -> FieldsShown:
    """`label_sets`: those of the workspace's rules."""
    datasets = []
    for dataset in DATASETS.values():
        fields = [FieldShown(of.name, of.title, of.sentence, of.type, of.only_filters) for of in fields_of(dataset)]
        if any(field.name == "campaign_id" for field in fields):
            fields += [
                FieldShown(f"{LABEL}{name}", name, LABEL_SENTENCE, "text", only_filters=False) for name in label_sets
            ]
        datasets.append(DatasetShown(dataset.name, dataset.sentence, fields, [of.name for of in measures_of(dataset)]))
    return FieldsShown(datasets, {name: step.sentence for name, step in MAIL_STEPS.items()})


def presets_shown() -> list[PresetShown]:
    return [
        PresetShown(
            of.name,
            of.sentence,
            of.dataset,
            of.dimensions,
            of.measures,
            of.sort,
            of.filters,
            of.chart,
            of.drawn or of.measures[0],
        )
        for of in PRESETS.values()
    ]


def _period(since: str | None, until: str | None, zone: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    found = settled(ReportRequest(since=since, until=until, zone=zone), now)
    moments = [None if text is None else datetime.fromisoformat(text) for text in (found.since, found.until)]
    return moments[0], moments[1]
