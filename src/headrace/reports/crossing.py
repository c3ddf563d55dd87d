"""A report as a table of rows by columns: its cells, totals, what is left over, and the same of the period before.

Nothing is added up here: totals, and what rows beyond the shown ones come to, are reports of their own, so that rates are rates of sums and people count once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from headrace.errors import ConfigError
from headrace.reports.answers import Standing
from headrace.reports.conditions import MOST_VALUES, Condition
from headrace.reports.dimensions import dimension
from headrace.reports.measures import MEASURES
from headrace.reports.planning import Column, Plan, columns, filled
from headrace.reports.request import MOST_ROWS, Period, ReportRequest, days_of, midnight, settled, zone_of

Row = Sequence[Any]
_QUARTER: Final = timedelta(minutes=15)
_DAY: Final = timedelta(days=1)
NO_TOTALS: Final = "Rows are selected by their figures, so there are no totals: those would be over other rows too."
NO_GOAL: Final = "Orders of several goals are told apart, so there are no totals: those would add up what is not alike."
NO_REST: Final = "What is beyond the shown rows is not added up, as rows are told apart by several fields."
NO_PERIOD: Final = "There is no period before: this one has no beginning."


class TableOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`series` are those of the request's dimensions that are columns instead of rows. `shown` and `series_shown`: how many of each are told one by one,
    the greatest first or as the request sorts; never those of times. `compare`: also of the period before, as long as this one."""

    request: ReportRequest
    series: Annotated[Sequence[str], msgspec.Meta(max_length=8)] = ()
    shown: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] | None = None
    series_shown: Annotated[int, msgspec.Meta(ge=1, le=MOST_VALUES)] | None = None
    totals: bool = True
    compare: bool = False


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """Each row holds values of the dimensions named, then the measures. `cells`: rows and series; `by_row`: rows; `by_series`: series; `whole`: all.
    Of series beyond the shown ones: `rest_by_row` by rows, `rest_series` all. Of rows beyond the shown ones: `rest_by_series` by series, `rest_rows` all.
    `rest_both`: beyond both. Empty where it was not asked or has no meaning."""

    since: datetime | None
    until: datetime | None
    cells: Sequence[Row]
    by_row: Sequence[Row] = ()
    by_series: Sequence[Row] = ()
    whole: Sequence[Row] = ()
    rest_by_row: Sequence[Row] = ()
    rest_by_series: Sequence[Row] = ()
    rest_rows: Sequence[Row] = ()
    rest_series: Sequence[Row] = ()
    rest_both: Sequence[Row] = ()


class TableAnswer(Standing, frozen=True, kw_only=True):
    """`columns` describes dimensions and measures, `rows` and `series` name the dimensions that are which. `shown` rows of `rows_in_all`, `series_shown` series of
    `series_in_all` are told one by one. `notes`: sentences on what is not there, and why. `sql` is of the cells."""

    dataset: str
    sentence: str
    columns: Sequence[Column]
    rows: Sequence[str]
    series: Sequence[str]
    table: Crossing
    before: Crossing | None
    shown: int
    rows_in_all: int
    series_shown: int
    series_in_all: int
    truncated: bool
    notes: Sequence[str]
    zone: str
    goal: str
    model: str
    sql: str
    seconds: float


class Asked(NamedTuple):
    """What a request was answered with."""

    rows: Sequence[Row]
    plan: Plan
    sql: str
    truncated: bool


Ask = Callable[[ReportRequest], Asked]


class Crossed(NamedTuple):
    """As `TableAnswer`, without what only the warehouse knows."""

    main: Asked
    rows: Sequence[str]
    series: Sequence[str]
    table: Crossing
    before: Crossing | None
    shown: int
    rows_in_all: int
    series_shown: int
    series_in_all: int
    truncated: bool
    notes: Sequence[str]


def crossed(order: TableOrder, ask: Ask, now: datetime) -> Crossed:
    """Raises ConfigError for what cannot be asked, and what `ask` raises."""
    return _Crossing(order, ask, now).crossed()


class _Side(NamedTuple):
    """Rows, or series: the dimensions, their values in order, how many of them are shown, and by which field others are left out, None for no way."""

    names: Sequence[str]
    keys: Sequence[Row]
    shown: int
    by: str | None
    asked: Asked | None = None

    @property
    def is_cut(self) -> bool:
        return self.shown < len(self.keys)

    @property
    def inside(self) -> set[Row]:
        return {tuple(key) for key in self.keys[: self.shown]}

    def _values(self) -> list[Any]:
        at = list(self.names).index(self.by or "")
        return [key[at] for key in self.keys[: self.shown]]

    def only(self) -> list[Condition]:
        """Conditions that leave the shown ones; none where values cannot be listed so, and rows are to be picked out of the answer."""
        if not self.is_cut or self.by is None or None in self._values():
            return []
        return [Condition(self.by, "in", list(dict.fromkeys(self._values())))]

    def others(self) -> list[Condition]:
        """Conditions that leave what is beyond the shown ones. Only when `by` tells them apart."""
        values = self._values()
        known = list(dict.fromkeys(value for value in values if value is not None))
        conditions = [Condition(self.by or "", "not_in", known)] if known else []
        return [*conditions, *([Condition(self.by or "", "known")] if None in values else [])]


class _Crossing:
    def __init__(self, order: TableOrder, ask: Ask, now: datetime) -> None:
        whole = settled(filled(order.request), now)
        dimensions = list(dict.fromkeys(whole.dimensions or ()))
        unknown = [name for name in order.series if name not in dimensions]
        if unknown:
            raise ConfigError(
                f"report: {unknown[0][:100]!r} stands for series and is none of the dimensions; add it to them, or take it out of the series"
            )
        self._order, self._ask = order, ask
        self._request = msgspec.structs.replace(whole, limit=None, sort=())
        self._sort, self._limit = whole.sort or (), whole.limit
        self._series = list(dict.fromkeys(order.series))
        self._rows = [name for name in dimensions if name not in self._series]
        self._by_figures = [condition for condition in whole.filters if condition.field in MEASURES]
        self._by_values = [condition for condition in whole.filters if condition.field not in MEASURES]
        self._truncated = False
        self._answers: dict[str, Asked] = {}
        self._now = now

    def crossed(self) -> Crossed:
        rows = self._side(self._rows, self._shown_rows())
        # Conditions on figures select rows of the report; where there are none but series, they select those.
        series = self._side(self._series, self._order.series_shown)
        main, table = self._table(self._request, rows, series)
        notes = self._notes(main.plan, rows)
        before = None
        if self._order.compare and self._request.since is not None:
            of_days = any(part.exact == "day" for part in main.plan.parts)
            _, before = self._table(_before(self._request, self._now, of_days=of_days), rows, series)
        return Crossed(
            main,
            rows.names,
            series.names,
            table,
            before,
            rows.shown,
            len(rows.keys),
            series.shown,
            len(series.keys),
            self._truncated,
            notes,
        )

    def _shown_rows(self) -> int | None:
        limits = [limit for limit in (self._limit, self._order.shown) if limit is not None]
        return min(limits, default=None)

    def _side(self, names: Sequence[str], most: int | None) -> _Side:
        if not names:
            return _Side(names, [()], 1, None)
        known = {*names, *(self._request.measures or ())}
        sort = [name for name in self._sort if name.removeprefix("-") in known]
        figures = self._by_figures if names is self._rows or not self._rows else []
        found = self._asked(names, [*self._by_values, *figures], sort=sort)
        keys = [tuple(row[: len(names)]) for row in found.rows]
        is_time = any((of := dimension(name)) is not None and of.is_time for name in names)
        shown = len(keys) if is_time or most is None else min(most, len(keys))
        by = names[0] if len(names) == 1 or set(names) == {"campaign_id", "campaign_name"} else None
        if by is not None and len(names) > 1:
            by = "campaign_id"
        return _Side(names, keys, shown, by if shown <= MOST_VALUES else None, found)

    def _asked(
        self,
        dimensions: Sequence[str],
        filters: Sequence[Condition],
        *,
        sort: Sequence[str] = (),
        of: ReportRequest | None = None,
    ) -> Asked:
        """Each question once: what rows or series are told apart by is their total, too. Of a question that was asked before, the order of its
        rows is that of the first time."""
        request = msgspec.structs.replace(
            of or self._request, dimensions=list(dimensions), filters=list(filters), sort=list(sort)
        )
        question = repr((request.dimensions, request.filters, request.since, request.until))
        found = self._answers.get(question)
        if found is None:
            found = self._answers[question] = self._ask(request)
        self._truncated = self._truncated or found.truncated
        return found

    def _table(self, request: ReportRequest, rows: _Side, series: _Side) -> tuple[Asked, Crossing]:
        is_asked = request is self._request and not series.names  # the rows are all that there is to tell
        main = (rows.asked if is_asked else None) or self._asked(
            [*rows.names, *series.names], [*self._by_values, *rows.only(), *series.only()], of=request
        )
        width = len(rows.names)
        inside_rows, inside_series = rows.inside, series.inside
        size = width + len(series.names)
        cells = [
            row for row in main.rows if tuple(row[:width]) in inside_rows and tuple(row[width:size]) in inside_series
        ]
        if not series.names:
            place = {tuple(key): number for number, key in enumerate(rows.keys)}
            cells.sort(key=lambda row: place[tuple(row[:width])])
        period = _Bounds(
            *(None if text is None else datetime.fromisoformat(text) for text in (request.since, request.until))
        )
        if not self._order.totals or self._has_no_totals(main.plan):
            return main, Crossing(since=period.since, until=period.until, cells=cells)
        return main, Crossing(
            since=period.since, until=period.until, cells=cells, **self._totals(request, rows, series)
        )

    def _totals(self, request: ReportRequest, rows: _Side, series: _Side) -> Mapping[str, Sequence[Row]]:
        def rows_of(names: Sequence[str], *more: Condition) -> Sequence[Row]:
            return self._asked(names, [*self._by_values, *more], of=request).rows

        def picked(found: Sequence[Row], side: _Side) -> Sequence[Row]:
            inside = side.inside
            place = {tuple(key): number for number, key in enumerate(side.keys)}
            kept = [row for row in found if tuple(row[: len(side.names)]) in inside]
            return sorted(kept, key=lambda row: place[tuple(row[: len(side.names)])])

        found: dict[str, Sequence[Row]] = {"whole": rows_of(())}
        cut_rows = rows.is_cut and rows.by is not None
        cut_series = series.is_cut and series.by is not None
        if series.names:
            found["by_series"] = picked(rows_of(series.names), series)
        if series.names and rows.names:
            found["by_row"] = picked(rows_of(rows.names), rows)
        if cut_rows:
            found["rest_rows"] = rows_of((), *rows.others())
        if cut_rows and series.names:
            found["rest_by_series"] = picked(rows_of(series.names, *rows.others()), series)
        if cut_series:
            found["rest_series"] = rows_of((), *series.others())
        if cut_series and rows.names:
            found["rest_by_row"] = picked(rows_of(rows.names, *series.others()), rows)
        if cut_rows and cut_series:
            found["rest_both"] = rows_of((), *rows.others(), *series.others())
        return found

    def _has_no_totals(self, plan: Plan) -> bool:
        return bool(self._by_figures) or _mixes_goals(plan)

    def _notes(self, plan: Plan, rows: _Side) -> list[str]:
        notes = []
        if self._order.totals and self._by_figures:
            notes.append(NO_TOTALS)
        elif self._order.totals and _mixes_goals(plan):
            notes.append(NO_GOAL)
        elif rows.is_cut and rows.by is None:
            notes.append(NO_REST)
        if self._order.compare and self._request.since is None:
            notes.append(NO_PERIOD)
        return notes


class _Bounds(NamedTuple):
    since: datetime | None
    until: datetime | None


def _mixes_goals(plan: Plan) -> bool:
    return not plan.goal and any(name.startswith(("orders", "revenue")) for part in plan.read.values() for name in part)


def _before(request: ReportRequest, now: datetime, *, of_days: bool) -> ReportRequest:
    try:
        return _days_before(request, now) if of_days else _earlier(request, now)
    except OverflowError:
        raise ConfigError(
            "report: there is no period as long before this one; choose a later since, or do not compare"
        ) from None


def _earlier(request: ReportRequest, now: datetime) -> ReportRequest:
    """The same of the period before: as many whole days back, in the zone, as this one has begun; periods of hours by their own length."""
    zone = zone_of(request.zone)
    since = datetime.fromisoformat(request.since or "").astimezone(zone)
    until = now if request.until is None else datetime.fromisoformat(request.until)
    until = until.astimezone(zone)
    length = until.astimezone(UTC) - since.astimezone(UTC)
    if since.time() != datetime.min.time() or length < _DAY - 2 * timedelta(hours=1):
        back = -(-length // _QUARTER) * _QUARTER
        moments = [(moment.astimezone(UTC) - back) for moment in (since, until)]
    else:
        days = timedelta(days=(until.date() - since.date()).days + (until.time() != datetime.min.time()))
        moments = [_walled(moment, days, zone) for moment in (since, until)]
    moments = [moments[0], datetime.fromtimestamp(moments[1].timestamp() // 900 * 900, UTC)]
    return msgspec.structs.replace(request, since=moments[0].isoformat(), until=moments[1].isoformat())


def _days_before(request: ReportRequest, now: datetime) -> ReportRequest:
    """The same of the period before for datasets of days: as many of them, all whole."""
    zone = zone_of(request.zone)
    moments = (request.since or "", request.until or now.isoformat())
    first, end = days_of(Period(*map(datetime.fromisoformat, moments)), zone)
    if first is None or end is None:
        return request
    since = midnight(first - (end - first), zone)
    return msgspec.structs.replace(request, since=since.isoformat(), until=midnight(first, zone).isoformat())


def _walled(moment: datetime, back: timedelta, zone: ZoneInfo) -> datetime:
    """So many days before, at the same time of the clock on the wall."""
    return (moment.replace(tzinfo=None) - back).replace(tzinfo=zone).astimezone(UTC)


def table_answer(found: Crossed, standing: Standing, seconds: float, zone: str) -> TableAnswer:
    plan = found.main.plan
    return TableAnswer(
        dataset=plan.dataset.name,
        sentence=plan.dataset.sentence,
        columns=columns(plan),
        rows=found.rows,
        series=found.series,
        table=found.table,
        before=found.before,
        shown=found.shown,
        rows_in_all=len(found.rows) and found.rows_in_all,
        series_shown=found.series_shown,
        series_in_all=len(found.series) and found.series_in_all,
        truncated=found.truncated,
        notes=found.notes,
        zone=zone,
        goal=plan.goal,
        model=plan.model,
        **msgspec.structs.asdict(standing),
        sql=found.main.sql,
        seconds=seconds,
    )
