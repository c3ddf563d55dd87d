"""Event Delivery of a data folder: destinations by their books, warehouses by the loader's. The command line and the worker ask the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from headrace.app import folder, reach
from headrace.app.deliveries import file_of
from headrace.config import Config
from headrace.console import warehouse_account
from headrace.console.status import Status, WarehouseStatus
from headrace.delivery import account, account_breakdown, account_samples, dead_letters
from headrace.delivery.account import Account, Period, Place
from headrace.delivery.account_breakdown import Breakdown
from headrace.delivery.account_samples import SampleShown
from headrace.delivery.dead_letters import Page, Revived, Wanted
from headrace.errors import ConfigError, HeadraceError, NotFoundError
from headrace.warehouses.base import QueryResult
from headrace.workspace.records import Destination
from headrace.workspace.workspace import Workspace

StatusOf = Callable[[float], Status]
"""Of so many hours."""
Ask = Callable[[str, str], QueryResult]
"""One SELECT of a warehouse's slug."""


class DeliveryAccounts:
    """May be called from any thread."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        status: StatusOf,
        ask: Ask,
        is_served: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_served` says whether a server works on the folder."""
        self._config = config
        self._workspace = workspace
        self._status = status
        self._ask = ask
        self._is_served = is_served

    def every(
        self, since: str, until: str | None = None, what: Literal["destination", "warehouse"] | None = None
    ) -> Sequence[Account]:
        """Destinations and warehouses that are there, or only one of both. Raises RequestError for a period that is none."""
        period = self._period(since, until)
        found: list[Account] = []
        if what != "warehouse":
            found += [account.account(self.place(record), period) for record in self._workspace.destinations()]
        if what != "destination" and self._workspace.warehouses():
            found += self._warehouses(period, None)
        return found

    def one(self, slug: str, since: str, until: str | None = None) -> Account:
        """Of a destination, removed ones too, or a warehouse. Raises NotFoundError, and RequestError for a period that is none."""
        period = self._period(since, until)
        record = self._record(slug)
        if record is not None:
            return account.account(self.place(record), period)
        if slug not in {warehouse.slug for warehouse in self._workspace.warehouses()}:
            raise NotFoundError(f"delivery: there is no destination or warehouse {slug!r}; see: headrace delivery list")
        return self._warehouses(period, slug)[0]

    def breakdown(self, slug: str, since: str, until: str | None = None) -> Breakdown:
        """By source, and for destinations by the event's name. Raises as `one` does."""
        period = self._period(since, until)
        record = self._record(slug)
        if record is not None:
            return account_breakdown.breakdown(self.place(record), period)
        if slug not in {warehouse.slug for warehouse in self._workspace.warehouses()}:
            raise NotFoundError(f"delivery: there is no destination or warehouse {slug!r}; see: headrace delivery list")
        period = warehouse_account.whole_hours(period)
        return warehouse_account.breakdown(self._of_warehouse(slug, period), period)

    def samples(self, slug: str, code: str | None = None, limit: int = 10) -> Sequence[SampleShown]:
        """Raises NotFoundError."""
        return account_samples.samples(self._file(slug), code, limit)

    def dead_letters(self, slug: str, wanted: Wanted, *, limit: int = 50, after: str | None = None) -> Page:
        """Raises NotFoundError."""
        return dead_letters.page(self._file(slug), wanted, limit=limit, after=after)

    def replay_dead_letters(
        self,
        slug: str,
        wanted: Wanted,
        *,
        dry_run: bool = False,
        on_progress: Callable[[int, int], object] | None = None,
    ) -> Revived:
        """Raises NotFoundError, and ConfigError for a destination that is removed."""
        file = self._file(slug)
        record = self._record(slug)
        if record is not None and record.removed_at is not None:
            raise ConfigError(f"dead letters: {slug} is removed; nothing is sent to it any more")
        return dead_letters.replay(file, wanted, dry_run=dry_run, on_progress=on_progress)

    def place(self, record: Destination) -> Place:
        """Where the books of a destination are."""
        removed, off = record.removed_at is not None, record.disabled is not None
        state = "removed" if removed else "disabled" if off else "paused" if record.paused else None
        if state is None and not self._is_served():
            state = "stopped"
        return Place(
            file_of(self._config.folder, record.slug), record.slug, record.kind, record.nickname, record.created_at, record.removed_at, state
        )  # fmt: skip

    def destinations(self) -> Sequence[Place]:
        """Removed ones too."""
        return [self.place(record) for record in self._workspace.destinations(include_removed=True)]

    def _record(self, slug: str) -> Destination | None:
        try:
            return self._workspace.destination(slug)
        except NotFoundError:
            return None

    def _file(self, slug: str) -> Path:
        record = self._workspace.destination(slug)
        return file_of(self._config.folder, record.slug)

    def _period(self, since: str, until: str | None) -> Period:
        """No further back than outcomes are kept."""
        now = datetime.now(UTC)
        wanted = account.period(since, until, now=now)
        kept = account.time_of(account.minute_at(now - timedelta(days=self._config.delivery.retention_days)) + 1)
        return Period(min(max(wanted.since, kept), wanted.until - timedelta(minutes=1)), wanted.until)

    def _warehouses(self, period: Period, slug: str | None) -> list[Account]:
        period = warehouse_account.whole_hours(period)
        hours = (datetime.now(UTC) - period.since) / timedelta(hours=1)
        found = self._status(max(1.0, hours)).warehouses
        return [
            warehouse_account.account(one, period, self._rejected(one.warehouse.slug, period))
            for one in found
            if one.warehouse is not None and slug in (None, one.warehouse.slug)
        ]

    def _of_warehouse(self, slug: str, period: Period) -> WarehouseStatus:
        hours = (datetime.now(UTC) - period.since) / timedelta(hours=1)
        found = self._status(max(1.0, hours)).warehouses
        return next(one for one in found if one.warehouse is not None and one.warehouse.slug == slug)

    def _rejected(self, slug: str, period: Period) -> Sequence[Sequence[object]] | str:
        try:
            return self._ask(warehouse_account.rejected_sql(period), slug).rows
        except HeadraceError as error:
            return str(error)


@contextmanager
def opened(config: Config) -> Iterator[DeliveryAccounts]:
    """For a command, whether or not a server works on the folder. Raises NotFoundError where there is none."""
    with Workspace.open(config.folder, create=False) as workspace:
        yield told_by(config, workspace)


def told_by(config: Config, workspace: Workspace) -> DeliveryAccounts:
    """The files are read here; warehouses are asked through the server, if there is one."""
    return DeliveryAccounts(
        config,
        workspace,
        lambda hours: reach.status_of(config, hours),
        lambda sql, slug: reach.query(config, sql, warehouse=slug),
        lambda: folder.is_served(config.folder),
    )
