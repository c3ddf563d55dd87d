"""Reports of a warehouse, for the worker and for commands on a folder without a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, QueryError
from headrace.reports import building, crossing, fitting, funnel, holdout, offering, planning
from headrace.reports.answers import (
    NO_ENGINE,
    NO_MODEL,
    PROGRESS,
    FieldsShown,
    FunnelAnswer,
    FunnelOrder,
    HoldoutAnswer,
    HoldoutOrder,
    ReportAnswer,
    ReportSql,
    Standing,
    answer,
    fields_shown,
)
from headrace.reports.crossing import Asked, TableAnswer, TableOrder, table_answer
from headrace.reports.model.engine import engine
from headrace.reports.model.kept import kept, mail_sources
from headrace.reports.offering import Offers, Values, ValuesOrder
from headrace.reports.place import Place
from headrace.reports.request import ReportRequest, settled
from headrace.warehouses.base import Columns, ColumnType, Deriving, QueryResult, TableName, Warehouse
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

MOST_STORED_COLUMNS: Final = 200_000
_COLUMNS: Final = "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
_IS_THERE: Final = "SELECT count(*) AS n FROM information_schema.tables WHERE table_schema = 'email'"
_TYPES: Final[Mapping[str, ColumnType]] = {
    "boolean": ColumnType.BOOLEAN,
    "bigint": ColumnType.INTEGER,
    "double": ColumnType.FLOAT,
    "double precision": ColumnType.FLOAT,
    "timestamp with time zone": ColumnType.TIMESTAMP,
    "json": ColumnType.JSON,
    "jsonb": ColumnType.JSON,
}
"""By the engines' names in small letters; all others are texts."""


class OpenWarehouse(NamedTuple):
    slug: str
    kind: str
    warehouse: Warehouse


class Reporting:
    """Safe to use from several threads, as far as `opened` is."""

    def __init__(
        self,
        workspace: Workspace,
        sources: Callable[[], Iterable[Source]],
        opened: Callable[[str | None], AbstractContextManager[OpenWarehouse]],
        limits: WarehouseConfig,
    ) -> None:
        """`opened` raises NotFoundError and ConfigError that list which warehouses there are; `sources` gives removed ones too."""
        self._workspace = workspace
        self._sources = sources
        self._opened = opened
        self._limits = limits

    def report(self, request: ReportRequest) -> ReportAnswer:
        """Raises ConfigError, QueryError and WarehouseUnavailableError, as all of these do."""
        request = settled(request, datetime.now(UTC))
        with self._opened(request.warehouse) as found:
            place = self._place(found, planning.STEP)
            plan = planning.planned(request, place)
            sql = building.built(plan, place)
            result = self._query(found, sql, planning.STEP)
            return answer(plan, planning.columns(plan), sql, result, self._standing(found))

    def rows(self, request: ReportRequest) -> Sequence[Sequence[Any]]:
        """Only the rows of `report`."""
        request = settled(request, datetime.now(UTC))
        with self._opened(request.warehouse) as found:
            sql = building.sql(request, self._place(found, planning.STEP))
            return self._query(found, sql, planning.STEP).rows

    def standing(self, warehouse: str | None = None) -> Standing | None:
        """How far the e-mail model is; None where the warehouse can have none. Raises ConfigError while it has no tables."""
        with self._opened(warehouse) as found:
            return self._standing(found) if isinstance(found.warehouse, Deriving) else None

    def table(self, order: TableOrder) -> TableAnswer:
        """A report as rows by columns, with totals."""
        now = datetime.now(UTC)
        started = time.perf_counter()
        with self._opened(order.request.warehouse) as found:
            place = self._place(found, planning.STEP)

            def ask(request: ReportRequest) -> Asked:
                plan = planning.planned(request, place)
                sql = building.built(plan, place)
                result = self._query(found, sql, planning.STEP)
                return Asked(result.rows, plan, sql, result.truncated)

            crossed = crossing.crossed(order, ask, now)
            seconds = time.perf_counter() - started
            return table_answer(crossed, self._standing(found), seconds, order.request.zone)

    def offers(self, request: ReportRequest) -> Offers:
        """Which fields go with it; no warehouse is asked."""
        return offering.offers(request, self._unasked())

    def values(self, order: ValuesOrder) -> Values:
        request, field = offering.values_request(order, self._unasked())
        answered = self.report(request)
        return offering.values(order, field, answered.columns[1].name, answered.rows)

    def arrow(self, request: ReportRequest) -> Any:
        """A pyarrow.Table."""
        request = settled(request, datetime.now(UTC))
        with self._opened(request.warehouse) as found:
            return self._arrow(found, building.sql(request, self._place(found, planning.STEP)), planning.STEP)

    def sql(self, request: ReportRequest) -> ReportSql:
        """What `report` would ask; the warehouse is not."""
        request = settled(request, datetime.now(UTC))
        with self._opened(request.warehouse) as found:
            return ReportSql(building.sql(request, self._place(found, planning.STEP)))

    def fields(self) -> FieldsShown:
        return fields_shown(sorted({rule.set for rule in kept(self._workspace).settings.labels}))

    def misfits(self, request: ReportRequest) -> list[str]:
        """What of it does not fit, a sentence each; no warehouse is asked."""
        return fitting.misfits(request, self._unasked())

    def _unasked(self) -> Place:
        """Of no warehouse, for what is the same on all."""
        return Place(engine("duckdb"), {}, mail_sources(self._sources()), kept(self._workspace).settings)

    def funnel(self, order: FunnelOrder) -> FunnelAnswer:
        request = order.request(datetime.now(UTC))
        with self._opened(order.warehouse) as found:
            is_any_event = any(step.step.startswith("event:") for step in request.steps)
            place = self._place(found, funnel.STEP, with_tables=is_any_event)
            sql = funnel.sql(request, place)
            started = datetime.now(UTC)
            result = funnel.result(request, self._arrow(found, sql, funnel.STEP))
            seconds = (datetime.now(UTC) - started).total_seconds()
            standing = self._standing(found)
        return FunnelAnswer(
            breakdown=result.breakdown,
            parts=result.parts,
            parts_in_all=result.parts_in_all,
            since=request.since,
            until=request.until,
            zone=order.zone,
            **msgspec.structs.asdict(standing),
            sql=sql,
            seconds=seconds,
        )

    def holdout(self, order: HoldoutOrder) -> HoldoutAnswer:
        request = order.request(datetime.now(UTC))
        with self._opened(order.warehouse) as found:
            sql = holdout.sql(request, self._place(found, holdout.STEP))
            started = datetime.now(UTC)
            result = holdout.result(request, self._arrow(found, sql, holdout.STEP))
            seconds = (datetime.now(UTC) - started).total_seconds()
            standing = self._standing(found)
        return HoldoutAnswer(
            result=result,
            since=request.since,
            until=request.until,
            zone=order.zone,
            **msgspec.structs.asdict(standing),
            sql=sql,
            seconds=seconds,
        )

    def _place(self, found: OpenWarehouse, step: str, *, with_tables: bool = False) -> Place:
        if not isinstance(found.warehouse, Deriving):
            raise ConfigError(NO_ENGINE.format(step=step, kind=found.kind))
        settings = kept(self._workspace).settings
        tables = self._tables(found) if with_tables else {}
        return Place(engine(found.warehouse.engine), tables, mail_sources(self._sources()), settings)

    def _tables(self, found: OpenWarehouse) -> dict[TableName, Columns]:
        """As `Warehouse.tables`, which is the loader's."""
        result = found.warehouse.query(
            _COLUMNS, max_rows=MOST_STORED_COLUMNS, timeout_seconds=self._limits.query_timeout_seconds
        )
        tables: dict[TableName, Columns] = {}
        for schema, table, column, type_ in result.rows:
            kind = _TYPES.get(str(type_).lower(), ColumnType.STRING)
            tables.setdefault(TableName(schema, table), {})[column] = kind
        return tables

    def _query(self, found: OpenWarehouse, sql: str, step: str) -> QueryResult:
        limits = self._limits
        try:
            return found.warehouse.query(sql, max_rows=limits.query_rows, timeout_seconds=limits.query_timeout_seconds)
        except QueryError as error:
            raise self._explained(found, error, step) from None

    def _arrow(self, found: OpenWarehouse, sql: str, step: str) -> Any:
        limits = self._limits
        try:
            return found.warehouse.arrow(sql, max_rows=limits.query_rows, timeout_seconds=limits.query_timeout_seconds)
        except QueryError as error:
            raise self._explained(found, error, step) from None

    def _explained(self, found: OpenWarehouse, error: QueryError, step: str) -> Exception:
        """A wrong query of ours means that the tables are not there, which is asked only then."""
        if error.code != "query_wrong":
            return error
        there = found.warehouse.query(_IS_THERE, max_rows=1, timeout_seconds=self._limits.query_timeout_seconds)
        if there.rows[0][0]:
            return error
        return ConfigError(f"{step}: {NO_MODEL.format(slug=found.slug)}")

    def _standing(self, found: OpenWarehouse) -> Standing:
        ((as_of, behind, is_flagging),) = self._query(found, PROGRESS, planning.STEP).rows
        moment = None if as_of is None else datetime.fromisoformat(as_of)
        return Standing(as_of=moment, loads_behind=int(behind or 0), is_flagging=bool(is_flagging))
