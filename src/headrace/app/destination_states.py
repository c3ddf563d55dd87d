"""How each destination does, for `status` and the metrics: out of its books, with and without a running server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.app.deliveries import file_of
from headrace.config import Config
from headrace.console.status import DestinationStatus
from headrace.delivery.account import Period, Place, account
from headrace.errors import RetryableError
from headrace.workspace.records import Destination
from headrace.workspace.workspace import Workspace

PERIOD: Final = timedelta(hours=24)
MINUTE: Final = timedelta(minutes=1)


def destination_states(config: Config, workspace: Workspace, *, running: bool) -> Sequence[DestinationStatus]:
    """Those that are not removed, with the figures of the last 24 hours; stopped where no server runs."""
    until = datetime.now(UTC) + MINUTE  # periods are whole minutes, and the one that has begun counts
    return [
        _state(config, record, Period(until - PERIOD, until), running=running) for record in workspace.destinations()
    ]


def _state(config: Config, record: Destination, period: Period, *, running: bool) -> DestinationStatus:
    state = "disabled" if record.disabled else "paused" if record.paused else None if running else "stopped"
    place = Place(
        file_of(config.folder, record.slug), record.slug, record.kind, record.nickname, record.created_at, state=state
    )
    try:
        found = account(place, period)
    except RetryableError as error:
        return DestinationStatus(record.slug, record.kind, record.nickname, state or "unknown", str(error))
    return DestinationStatus(
        record.slug,
        record.kind,
        record.nickname,
        state or found.state,
        record.disabled or found.error or None,
        found.accepted,
        found.waiting,
        found.filtered,
        found.retrying,
        found.failed,
        found.delivered,
        found.p95_seconds,
    )
