"""The campaigns beside each other: their figures, when they were sent, and how the last one did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec

from headrace.errors import NotFoundError, RequestError
from headrace.reports.answers import ReportAnswer, Standing
from headrace.reports.comparing import FigureCompared, compared, confidence_of
from headrace.reports.conditions import Condition
from headrace.reports.measures import MEASURES, AttributionModel, Measure
from headrace.reports.planning import Column
from headrace.reports.presets import CAMPAIGN, CAMPAIGN_MEASURES
from headrace.reports.request import ReportRequest

MOST_COMPARED: Final = 5
MEASURES_SHOWN: Final = (
    *CAMPAIGN_MEASURES,
    "all_click_rate",
    "hard_bounce_rate",
    "soft_bounce_rate",
    "machine_only_clicks",
    "average_order_value",
    "spam_alarm",
)
"""All of them are known to the tables of counts, so that the list is as quick with many events as with few."""
JUDGED: Final = ("human_open_rate", "click_rate", "click_to_open_rate", "conversion_rate", "unsubscribe_rate")
CURVE_MEASURES: Final = ("opens", "human_opens", "clicks", "human_clicks")
CURVE_HOURS: Final = 168
LONGEST_SENDING: Final = timedelta(hours=48)
"""What was sent for longer has no age."""
SMALLEST_PART: Final = 100
"""A campaign with less than this part of the largest one's mails is not told as the last one."""
_QUARTER: Final = timedelta(minutes=15)
SENDS: Final = """SELECT campaign_id, min(sent_quarter) AS first_sent_at, max(sent_quarter) AS last_sent_at,
    count(DISTINCT email_id) AS emails, max(journey_id) AS journey_id
FROM email.campaign_sends WHERE sent > 0 GROUP BY campaign_id"""
LABELS: Final = "SELECT campaign_id, label_set, label FROM email.labels"

CampaignIds = Annotated[Sequence[str], msgspec.Meta(min_length=2, max_length=MOST_COMPARED)]
Report = Callable[[ReportRequest], ReportAnswer]
Rows = Callable[[str], Sequence[Sequence[Any]]]
"""Of a SELECT."""
Curve = Callable[[ReportRequest], Sequence[Sequence[Any]]]
"""Only the rows of a report."""


class CampaignsOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As a report's request over campaigns. The period selects mails by when they were sent."""

    filters: Sequence[Condition] = ()
    since: str | None = None
    until: str | None = None
    zone: str = "UTC"
    source: str | None = None
    goal: str | None = None
    model: AttributionModel = "last"
    warehouse: str | None = None

    def request(self, **others: Any) -> ReportRequest:
        asked = {name: getattr(self, name) for name in self.__struct_fields__}
        return ReportRequest(**{**asked, **others})


class CompareOrder(CampaignsOrder, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`campaigns` are 2 to 5 ids; all others are compared with the first."""

    campaigns: CampaignIds


class CampaignShown(msgspec.Struct, frozen=True, kw_only=True):
    """`first_sent_at` and `last_sent_at` are over all time, to the quarter of an hour; null where nothing of it counts as sent. `journey_id`: null of
    what was sent to everybody at once. `figures` are by the answer's `measures`."""

    campaign_id: str
    name: str | None
    first_sent_at: datetime | None
    last_sent_at: datetime | None
    emails: int
    journey_id: str | None
    labels: Mapping[str, str]
    figures: Sequence[float | None]


class SameAge(msgspec.Struct, frozen=True):
    """The same people's opens and clicks, of each campaign only those within the first `hours` since each mail's delivery: as old as the youngest is."""

    hours: int
    figures: Sequence[FigureCompared]


class Comparison(Standing, frozen=True, kw_only=True):
    """Of `campaigns` with the first of them. `confidence` is that of each interval. `same_age` is null where all are older than a week, or
    where one of them is sent little by little. `curves`: by campaign id for each hour since delivery the first opens by anyone and by people,
    the first clicks by anyone and by people."""

    measures: Sequence[Column]
    campaigns: Sequence[CampaignShown]
    figures: Sequence[FigureCompared]
    confidence: float
    same_age: SameAge | None
    curves: Mapping[str, Sequence[tuple[int, int, int, int, int]]]
    zone: str


class CampaignsAnswer(Standing, frozen=True, kw_only=True):
    """`total` is of the campaigns that are listed: rates of the sums, never averages of rates. `latest`: the last campaign that was sent at once, compared with the one
    before, which stands first; null where there are not two. `label_sets`: those that any campaign has."""

    measures: Sequence[Column]
    campaigns: Sequence[CampaignShown]
    total: Sequence[float | None]
    truncated: bool
    label_sets: Sequence[str]
    latest: Comparison | None
    since: datetime | None
    until: datetime | None
    zone: str
    goal: str
    model: str
    sql: str
    seconds: float


def campaigns(order: CampaignsOrder, report: Report, rows: Rows, curve: Curve) -> CampaignsAnswer:
    """Raises what `report` raises."""
    listed = report(order.request(dimensions=CAMPAIGN, measures=MEASURES_SHOWN, sort=("-sent",)))
    shown = _shown(listed, rows)
    latest = _latest(shown)
    return CampaignsAnswer(
        measures=listed.columns[len(CAMPAIGN) :],
        campaigns=shown,
        total=_total(order, listed, report),
        truncated=listed.truncated,
        label_sets=sorted({label_set for of in shown for label_set in of.labels}),
        latest=_comparison(order, latest, listed, curve) if latest else None,
        since=listed.since,
        until=listed.until,
        zone=listed.zone,
        goal=listed.goal,
        model=listed.model,
        sql=listed.sql,
        seconds=listed.seconds,
        **_standing(listed),
    )


def comparison(order: CompareOrder, report: Report, rows: Rows, curve: Curve) -> Comparison:
    """Raises NotFoundError for a campaign that is not there in the period, and RequestError for one that is named twice."""
    ids = list(order.campaigns)
    twice = [one for one in ids if ids.count(one) > 1]
    if twice:
        raise RequestError(
            "request_refused", f"campaigns: {twice[0][:100]!r} is named twice; name 2 to 5 different ones"
        )
    wanted = Condition("campaign_id", "in", ids)
    asked = CampaignsOrder(
        **{name: getattr(order, name) for name in CampaignsOrder.__struct_fields__ if name != "filters"},
        filters=[*order.filters, wanted],
    )
    listed = report(asked.request(dimensions=CAMPAIGN, measures=MEASURES_SHOWN))
    by_id = {of.campaign_id: of for of in _shown(listed, rows)}
    missing = [one for one in ids if one not in by_id]
    if missing:
        raise NotFoundError(
            f"campaigns: there is no {missing[0][:100]!r} in this period; see: headrace report campaigns, or choose another period"
        )
    return _comparison(asked, [by_id[one] for one in ids], listed, curve)


def _shown(listed: ReportAnswer, rows: Rows) -> list[CampaignShown]:
    sends = {row[0]: row for row in rows(SENDS)}
    labels: dict[str, dict[str, str]] = {}
    for campaign_id, label_set, label in rows(LABELS):
        labels.setdefault(campaign_id, {})[label_set] = label
    found = []
    for campaign_id, name, *figures in listed.rows:
        _, first, last, emails, journey_id = sends.get(campaign_id, (campaign_id, None, None, 0, None))
        found.append(
            CampaignShown(
                campaign_id=campaign_id,
                name=name,
                first_sent_at=_moment(first),
                last_sent_at=_moment(last),
                emails=emails,
                journey_id=journey_id or None,
                labels=labels.get(campaign_id, {}),
                figures=figures,
            )
        )
    return found


def _total(order: CampaignsOrder, listed: ReportAnswer, report: Report) -> Sequence[float | None]:
    """Messages are of one campaign each, so that counts add up; orders do not where each touch counts, and are asked for then."""
    if order.model == "any" or listed.truncated:
        filters = [condition for condition in order.filters if condition.field not in MEASURES]
        total: Sequence[float | None] = report(
            order.request(dimensions=(), measures=MEASURES_SHOWN, filters=filters)
        ).rows[0]
        return total
    bases = [number for number, name in enumerate(MEASURES_SHOWN, len(CAMPAIGN)) if MEASURES[name].is_base]
    sums = {MEASURES_SHOWN[number - len(CAMPAIGN)]: sum(row[number] for row in listed.rows) for number in bases}
    return [_of_sums(MEASURES[name], sums) for name in MEASURES_SHOWN]


def _of_sums(measure: Measure, sums: Mapping[str, float]) -> float | None:
    if measure.is_base:
        return sums[measure.name]
    if measure.numerator is None:
        return sum(sums[name] for name in measure.plus) - sum(sums[name] for name in measure.minus)
    above, below = sums[measure.numerator], sums[measure.denominator or ""]
    if not below:
        return None
    share = above / below
    return sum(share >= level for level in measure.levels) if measure.levels else share


def _moment(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _latest(shown: Sequence[CampaignShown]) -> list[CampaignShown]:
    """The one before the last, and the last; empty where there are not two. What went to hardly anybody, as a trial does, is none of them."""
    delivered = {of.campaign_id: _figure(of, "delivered") or 0 for of in shown}
    least = max(delivered.values(), default=0) / SMALLEST_PART
    at_once = [
        of for of in shown if of.journey_id is None and _sent_at_once(of) and delivered[of.campaign_id] >= max(least, 1)
    ]
    dated = sorted(at_once, key=lambda of: (str(of.first_sent_at), of.campaign_id))
    return dated[-2:] if len(dated) > 1 else []


def _sent_at_once(of: CampaignShown) -> bool:
    first, last = of.first_sent_at, of.last_sent_at
    return first is not None and last is not None and last - first <= LONGEST_SENDING


def _figure(of: CampaignShown, name: str) -> float | None:
    return of.figures[MEASURES_SHOWN.index(name)]


def _comparison(
    order: CampaignsOrder, chosen: Sequence[CampaignShown], listed: ReportAnswer, curve: Curve
) -> Comparison:
    ids = [of.campaign_id for of in chosen]
    since, until = _period_that_cuts(chosen, listed)
    hours = curve(
        ReportRequest(
            dataset="engagement_curve",
            dimensions=("campaign_id", "hour_since_delivery"),
            measures=CURVE_MEASURES,
            filters=[
                *(condition for condition in order.filters if condition.field not in MEASURES),
                Condition("campaign_id", "in", ids),
            ],
            since=since,
            until=until,
            zone=order.zone,
            source=order.source,
            sort=("hour_since_delivery",),
            warehouse=order.warehouse,
        )
    )
    curves: dict[str, list[tuple[int, int, int, int, int]]] = {one: [] for one in ids}
    for campaign_id, hour, opens, human_opens, clicks, human_clicks in hours:
        curves[campaign_id].append((hour, opens, human_opens, clicks, human_clicks))
    figures = [dict(zip(MEASURES_SHOWN, of.figures, strict=True)) for of in chosen]
    return Comparison(
        measures=listed.columns[len(CAMPAIGN) :],
        campaigns=chosen,
        figures=compared(figures, MEASURES_SHOWN),
        confidence=confidence_of(len(chosen)),
        same_age=_same_age(chosen, figures, curves, listed.as_of),
        curves=curves,
        zone=listed.zone,
        **_standing(listed),
    )


def _period_that_cuts(chosen: Sequence[CampaignShown], listed: ReportAnswer) -> tuple[str | None, str | None]:
    """The period of the list, without an end beyond which none of them was sent: then the table of counts is read, not the messages."""
    firsts = [of.first_sent_at for of in chosen]
    lasts = [of.last_sent_at for of in chosen]
    since, until = listed.since, listed.until
    if since is not None and all(first is not None and first >= since for first in firsts):
        since = None
    if until is not None and all(last is not None and last + _QUARTER <= until for last in lasts):
        until = None
    return None if since is None else since.isoformat(), None if until is None else until.isoformat()


def _same_age(
    chosen: Sequence[CampaignShown],
    figures: Sequence[Mapping[str, float | None]],
    curves: Mapping[str, Sequence[tuple[int, int, int, int, int]]],
    as_of: datetime | None,
) -> SameAge | None:
    if as_of is None or not all(_sent_at_once(of) for of in chosen):
        return None
    hours = min(_age_hours(of, as_of) for of in chosen)
    if not 1 <= hours < CURVE_HOURS:
        return None
    counts = []
    for of, figure in zip(chosen, figures, strict=True):
        within = [row for row in curves[of.campaign_id] if row[0] < hours]
        opens, clicks = sum(row[2] for row in within), sum(row[4] for row in within)
        delivered = figure["delivered"] or 0
        counts.append(
            {
                "delivered": delivered,
                "human_opens": opens,
                "human_clicks": clicks,
                "human_open_rate": opens / delivered if delivered else None,
                "click_rate": clicks / delivered if delivered else None,
                "click_to_open_rate": clicks / opens if opens else None,
            }
        )
    return SameAge(hours, compared(counts, ("human_open_rate", "click_rate", "click_to_open_rate")))


def _age_hours(of: CampaignShown, as_of: datetime) -> int:
    """Whole hours since its last mail was sent."""
    last = of.last_sent_at
    return 0 if last is None else int((as_of - last - _QUARTER) / timedelta(hours=1))


def _standing(answer: ReportAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in Standing.__struct_fields__}
