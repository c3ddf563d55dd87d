"""Alerts in the worker: a thread that checks, over the books of deliveries, log and warehouses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from headrace.alerts.alerts import Alerts
from headrace.alerts.base import DestinationFigures, Received, SourceFigures, WarehouseFigures
from headrace.alerts.channels import kind
from headrace.alerts.conditions import condition
from headrace.alerts.outside import outside
from headrace.app.deliveries import file_of
from headrace.config import Config
from headrace.console.status import Status, WarehouseStatus
from headrace.delivery.account import Account, Period, Place, account
from headrace.errors import HeadraceError, RetryableError
from headrace.event import Hour
from headrace.log.base import Hourly
from headrace.workspace.records import Destination
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

STEP_SECONDS: Final = 2.0
HOURS: Final = 35 * 24.0
"""As far back as the books know hours."""
JOIN_SECONDS: Final = 2.0
_ASK_AGAIN_SECONDS: Final = 10.0
_NOW: Final = timedelta(minutes=1)
"""A period that ends within this ends now. Periods are whole minutes, and the one that has begun counts."""


class WorkerFigures:
    """The figures as the worker has them."""

    def __init__(
        self, config: Config, workspace: Workspace, status: Callable[[float], Status], hourly: Callable[[], Hourly]
    ) -> None:
        """`status` is asked with the number of hours that the books tell one by one."""
        self._config = config
        self._workspace = workspace
        self._status = status
        self._hourly = hourly

    def destinations(self, since: datetime, until: datetime) -> Sequence[DestinationFigures]:
        return [self._destination(record, since, until) for record in self._workspace.destinations()]

    def _destination(self, record: Destination, since: datetime, until: datetime) -> DestinationFigures:
        place = Place(
            file_of(self._config.folder, record.slug), record.slug, record.kind, record.nickname, record.created_at
        )
        is_now = until >= datetime.now(UTC) - _NOW
        found = account(place, Period(since, until + _NOW if is_now else until))
        return DestinationFigures(
            record.slug,
            record.nickname,
            delivered=found.delivered,
            failed=found.failed,
            retrying=found.retrying + (_held_up(found) if is_now else 0),
            state=_state(record, found),
            error=record.disabled or found.error or next((error.code for error in found.errors), ""),
        )

    def sources(self) -> Sequence[SourceFigures]:
        return [SourceFigures(source.slug, source.nickname, source.enabled) for source in self._workspace.sources()]

    def received(self) -> Received:
        status = self._status(HOURS)
        rejected = max((_rejected(found) for found in status.warehouses), key=lambda of: sum(of.values()), default={})
        return Received(self._hourly(), rejected)

    def warehouses(self) -> Sequence[WarehouseFigures]:
        return [
            WarehouseFigures(
                found.warehouse.slug,
                found.warehouse.nickname,
                found.warehouse.state,
                found.lag_seconds if found.warehouse.known else 0.0,
                found.totals.get("pending", 0) if found.warehouse.known else 0,
                found.warehouse.error or "",
            )
            for found in self._status(0.0).warehouses
            if found.warehouse is not None
        ]


def _state(record: Destination, found: Account) -> Literal["disabled", "stopped", "paused"] | None:
    """Failing is what only a person can mend: settings that cannot work, books of another log."""
    if record.disabled:
        return "disabled"
    if record.paused:
        return "paused"
    return "stopped" if found.state == "failing" else None


def _held_up(found: Account) -> int:
    """What waits in the log behind a tool that does not answer has not been delivered either."""
    return found.waiting if found.state in ("waiting", "failing") else 0


def _rejected(found: WarehouseStatus) -> Mapping[Hour, int]:
    return {Hour(of.source, of.hour): of.rejected for of in found.hours if of.rejected and of.hour is not None}


class Alerting:
    """`start` begins a thread; it needs nobody but what it is given."""

    def __init__(self, config: Config, workspace: Workspace, figures: WorkerFigures) -> None:
        self._config = config
        self._workspace = workspace
        self._figures = figures
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        alerts: Alerts | None = None
        while not self._stop.wait(STEP_SECONDS):
            try:
                alerts = alerts or self._opened()
                alerts.step()
            except RetryableError as error:
                logger.warning("alerts: %s", error)
            except HeadraceError as error:
                logger.error("alerts: nothing is checked: %s", error)  # noqa: TRY400 - the text says all
                self._stop.wait(_ASK_AGAIN_SECONDS)
            except Exception:
                logger.exception("alerts: a check failed; trying again")
                self._stop.wait(_ASK_AGAIN_SECONDS)

    def _opened(self) -> Alerts:
        workspace = self._workspace.alerts(lambda slug: condition(slug).Settings, lambda slug: kind(slug).Settings)
        return Alerts(workspace, self._figures, outside(self._config), self._config.folder)
