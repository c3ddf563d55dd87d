"""The API's campaigns, and several reports asked for at once: a page needs one answer, not ten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from litestar import post
from litestar.params import Body

from headrace.console.problems import Problem, problem_of
from headrace.errors import HeadraceError, RequestError
from headrace.reports import campaigns
from headrace.reports.answers import FunnelAnswer, FunnelOrder, ReportAnswer
from headrace.reports.campaigns import CampaignsAnswer, CampaignsOrder, CompareOrder, Comparison, Rows
from headrace.reports.request import ReportRequest
from headrace.warehouses.base import QueryResult

MOST_AT_ONCE: Final = 24

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Ask = Callable[[str, str | None], QueryResult]
"""One SELECT to the named warehouse, or to the one that is meant."""


class ReportsBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under names of your own, up to 24 together."""

    reports: Mapping[str, ReportRequest] = {}
    funnels: Mapping[str, FunnelOrder] = {}


class ReportsBatchAnswer(msgspec.Struct, frozen=True):
    """Each name is in one of the three: what cannot be answered does not keep the others from being so."""

    reports: Mapping[str, ReportAnswer]
    funnels: Mapping[str, FunnelAnswer]
    problems: Mapping[str, Problem]


class Reports(Protocol):
    def report(self, request: ReportRequest) -> ReportAnswer: ...

    def rows(self, request: ReportRequest) -> Sequence[Sequence[Any]]: ...

    def funnel(self, order: FunnelOrder) -> FunnelAnswer: ...


class CampaignReports:
    """What the worker answers about campaigns. Safe to use from several threads."""

    def __init__(self, reports: Reports, ask: Ask) -> None:
        self._reports = reports
        self._ask = ask

    def campaigns(self, order: CampaignsOrder) -> CampaignsAnswer:
        return campaigns.campaigns(order, self._reports.report, self._rows(order), self._reports.rows)

    def comparison(self, order: CompareOrder) -> Comparison:
        return campaigns.comparison(order, self._reports.report, self._rows(order), self._reports.rows)

    def _rows(self, order: CampaignsOrder) -> Rows:
        return lambda sql: self._ask(sql, order.warehouse).rows

    def batch(self, order: ReportsBatch) -> ReportsBatchAnswer:
        """Raises RequestError when there are too many."""
        if len(order.reports) + len(order.funnels) > MOST_AT_ONCE:
            raise RequestError(
                "request_refused",
                f"reports: {MOST_AT_ONCE} at once are the most; ask for the others in a second request",
            )
        problems: dict[str, Problem] = {}
        reports = _answered(order.reports, self._reports.report, problems)
        funnels = _answered(order.funnels, self._reports.funnel, problems)
        return ReportsBatchAnswer(reports, funnels, problems)


def _answered(
    asked: Mapping[str, Asked], answer: Callable[[Asked], Answer], problems: dict[str, Problem]
) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for name, one in asked.items():
        try:
            found[name] = answer(one)
        except HeadraceError as error:
            problems[name] = problem_of(error)
    return found


class Worker(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    @property
    def campaigns(self) -> CampaignReports: ...


def routes(worker: Worker) -> list[Any]:
    @post("/campaigns", role="viewer", sync_to_thread=True, status_code=200)
    def list_campaigns(
        data: Annotated[CampaignsOrder, Body(description='The period and the source; {"since": "30d"} for 30 days')],
    ) -> CampaignsAnswer:
        return worker.campaigns.campaigns(data)

    @post("/campaigns/compare", role="viewer", sync_to_thread=True, status_code=200)
    def compare_campaigns(
        data: Annotated[CompareOrder, Body(description="Which campaigns; all are compared with the first")],
    ) -> Comparison:
        return worker.campaigns.comparison(data)

    @post("/reports/batch", role="viewer", sync_to_thread=True, status_code=200)
    def run_reports(
        data: Annotated[ReportsBatch, Body(description="Reports and funnels under names of your own")],
    ) -> ReportsBatchAnswer:
        return worker.campaigns.batch(data)

    return [list_campaigns, compare_campaigns, run_reports]
