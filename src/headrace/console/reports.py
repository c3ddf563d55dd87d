"""The API's reports: figures by request, and what may be asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol

from litestar import Response, get, post
from litestar.params import Body

from headrace.reports import answers
from headrace.reports.answers import (
    FieldsShown,
    FunnelAnswer,
    FunnelOrder,
    HoldoutAnswer,
    HoldoutOrder,
    MeasureShown,
    PresetShown,
    ReportAnswer,
    ReportSql,
)
from headrace.reports.crossing import TableAnswer, TableOrder
from headrace.reports.offering import Offers, Values, ValuesOrder
from headrace.reports.request import ReportRequest

ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
_REQUEST: Final = 'What is asked; {"preset": "campaigns", "since": "30d"} for the campaigns of the last 30 days'


class Reports(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def report(self, request: ReportRequest) -> ReportAnswer: ...

    def table(self, order: TableOrder) -> TableAnswer: ...

    def offers(self, request: ReportRequest) -> Offers: ...

    def values(self, order: ValuesOrder) -> Values: ...

    def arrow(self, request: ReportRequest) -> Any:
        """A pyarrow.Table."""
        ...

    def sql(self, request: ReportRequest) -> ReportSql: ...

    def fields(self) -> FieldsShown: ...

    def funnel(self, order: FunnelOrder) -> FunnelAnswer: ...

    def holdout(self, order: HoldoutOrder) -> HoldoutAnswer: ...


class Worker(Protocol):
    @property
    def reports(self) -> Reports: ...


def routes(worker: Worker, stream: Callable[[Any], bytes]) -> list[Any]:
    """`stream` writes a pyarrow.Table."""

    @post("/reports", role="viewer", sync_to_thread=True, status_code=200)
    def run_report(data: Annotated[ReportRequest, Body(description=_REQUEST)]) -> ReportAnswer:
        return worker.reports.report(data)

    @post("/reports/arrow", role="viewer", sync_to_thread=True, status_code=200, media_type=ARROW_STREAM)
    def run_arrow_report(data: Annotated[ReportRequest, Body(description=_REQUEST)]) -> Response[bytes]:
        return Response(stream(worker.reports.arrow(data)), media_type=ARROW_STREAM)

    @post("/reports/sql", role="viewer", sync_to_thread=True, status_code=200)
    def show_report_sql(data: Annotated[ReportRequest, Body(description=_REQUEST)]) -> ReportSql:
        return worker.reports.sql(data)

    @get("/reports/measures", role="viewer", sync_to_thread=False)
    def show_measures() -> Sequence[MeasureShown]:
        return answers.measures_shown()

    @get("/reports/fields", role="viewer", sync_to_thread=True)
    def show_fields() -> FieldsShown:
        return worker.reports.fields()

    @get("/reports/presets", role="viewer", sync_to_thread=False)
    def show_presets() -> Sequence[PresetShown]:
        return answers.presets_shown()

    @post("/reports/funnel", role="viewer", sync_to_thread=True, status_code=200)
    def run_funnel(data: Annotated[FunnelOrder, Body(description="The steps; {} for mail to orders")]) -> FunnelAnswer:
        return worker.reports.funnel(data)

    @post("/reports/holdout", role="viewer", sync_to_thread=True, status_code=200)
    def run_holdout(
        data: Annotated[HoldoutOrder, Body(description="The goal and the period; {} for all of the first goal")],
    ) -> HoldoutAnswer:
        return worker.reports.holdout(data)

    return [
        run_report,
        run_arrow_report,
        show_report_sql,
        show_measures,
        show_fields,
        show_presets,
        run_funnel,
        run_holdout,
        *_building(worker),
    ]


def _building(worker: Worker) -> list[Any]:
    """What a page needs on which reports are put together."""

    @post("/reports/table", role="viewer", sync_to_thread=True, status_code=200)
    def run_table_report(
        data: Annotated[TableOrder, Body(description="A report as rows by columns, with totals")],
    ) -> TableAnswer:
        return worker.reports.table(data)

    @post("/reports/offers", role="viewer", sync_to_thread=True, status_code=200)
    def offer_fields(data: Annotated[ReportRequest, Body(description="What is chosen so far")]) -> Offers:
        return worker.reports.offers(data)

    @post("/reports/values", role="viewer", sync_to_thread=True, status_code=200)
    def list_values(data: Annotated[ValuesOrder, Body(description="The field, and the report around it")]) -> Values:
        return worker.reports.values(data)

    return [run_table_report, offer_fields, list_values]
