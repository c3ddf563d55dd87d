"""Orders about warehouses, for the worker: what people change, test and have done."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from headrace.app import checking, selection_trials, tasks
from headrace.app.archiving import Archive
from headrace.app.browsing import Browsing
from headrace.app.loading import Loading
from headrace.app.warehouses import Warehouses
from headrace.config import Config
from headrace.console import warehouse_selections, warehouse_shown
from headrace.console.access import REQUESTER
from headrace.console.job_kinds import JobKind
from headrace.console.jobs import Job, Jobs
from headrace.console.status import Status
from headrace.console.warehouse_orders import (
    Checked,
    CheckOrder,
    CheckStep,
    JobOrder,
    SavedCheckOrder,
    SelectionOrder,
    SelectionTrial,
    SelectionTrialOrder,
    SourceSelection,
    WarehouseChange,
    WarehouseOrder,
)
from headrace.console.warehouse_shown import WarehouseEntry, WarehouseShown
from headrace.errors import ConfigError, RequestError
from headrace.loader import selection
from headrace.warehouses.base import Finding
from headrace.workspace import names
from headrace.workspace.records import Source, Warehouse
from headrace.workspace.roles import may
from headrace.workspace.workspace import Workspace

EXPORTS: Final = "exports"
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DAY_HOURS: Final = 24.0


class WarehouseOrders:
    """Safe to use from several threads. What changes the workspace holds when the call returns."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        warehouses: Warehouses,
        sources: Callable[[], Mapping[str, Source]],
        archive: Archive,
        status: Callable[[float], Status],
        browsing: Browsing,
    ) -> None:
        """`status` tells the last hours, out of what warehouses said some seconds ago."""
        self._config = config
        self._workspace = workspace
        self._warehouses = warehouses
        self._sources = sources
        self._archive = archive
        self._status = status
        self._browsing = browsing
        self._jobs = Jobs()

    # What there is.

    def every(self) -> list[WarehouseEntry]:
        return self._entries(self._workspace.warehouses())

    def state(self, slug: str) -> WarehouseEntry:
        """Raises NotFoundError."""
        return self._entries([self._live(slug)])[0]

    def _entries(self, records: Sequence[Warehouse]) -> list[WarehouseEntry]:
        found = {one.warehouse.slug: one for one in self._status(DAY_HOURS).warehouses if one.warehouse}
        now = datetime.now(UTC)
        return [warehouse_shown.entry(record, found.get(record.slug), now) for record in records]

    def _live(self, slug: str) -> Warehouse:
        return next((one for one in self._workspace.warehouses() if one.slug == slug), None) or self._none(slug)

    def _none(self, slug: str) -> Warehouse:
        """Raises NotFoundError: there never was one, or it was removed."""
        self._workspace.revealed_settings(slug)
        return self._workspace.warehouse(slug)

    # Settings.

    def add(self, order: WarehouseOrder) -> WarehouseShown:
        """Raises NotFoundError for its kind, and ConfigError also when a step of its test fails."""
        slug = self._workspace.free_warehouse_slug(order.kind, order.nickname, order.slug)
        if order.is_checked:
            found = self._findings(order.kind, slug, order.settings)
            failed = next((finding for finding in found if not finding.ok), None)
            if failed is not None:
                raise ConfigError(
                    f"warehouse: nothing was added, since {failed.step} failed: {failed.text}; "
                    f"{failed.remedy or 'mend it'}, or add it without a test"
                )
        record = self._workspace.add_warehouse(order.kind, order.nickname, order.settings, slug)
        self._warehouses.notice()
        return warehouse_shown.shown(record)

    def change(self, slug: str, change: WarehouseChange) -> WarehouseShown:
        """Raises NotFoundError and ConfigError; settings are looked at before anything is changed."""
        record = self._live(slug)
        if change.nickname is not None:
            names.nickname(change.nickname)
        if change.settings:
            _check_admin()
        with self._workspace.together():
            if change.settings:
                record = self._workspace.set_warehouse_settings(slug, change.settings)
            if change.nickname is not None and change.nickname != record.nickname:
                record = self._workspace.rename_warehouse(slug, change.nickname)
            if change.paused is not None and change.paused != record.paused:
                paused = change.paused
                record = self._workspace.pause_warehouse(slug) if paused else self._workspace.resume_warehouse(slug)
        self._warehouses.notice()
        return warehouse_shown.shown(record)

    def remove(self, slug: str) -> WarehouseShown:
        """Raises NotFoundError."""
        record = self._workspace.remove_warehouse(slug)
        self._warehouses.notice()
        return warehouse_shown.shown(record)

    # Tests.

    def check(self, order: CheckOrder) -> Checked:
        """Raises NotFoundError and ConfigError for settings that the kind does not take."""
        slug = self._workspace.free_warehouse_slug(order.kind, order.nickname)
        return _checked(self._findings(order.kind, slug, order.settings))

    def check_saved(self, slug: str, order: SavedCheckOrder) -> Checked:
        """Raises NotFoundError and ConfigError."""
        record = self._live(slug)
        if order.settings:
            _check_admin()
        settings = self._workspace.warehouse_settings_after(slug, order.settings)
        return _checked(self._findings(record.kind, record.slug, settings))

    def _findings(self, kind: str, slug: str, settings: Mapping[str, Any]) -> Sequence[Finding]:
        opened = [(one.slug, one.kind, one.warehouse) for one in self._warehouses.all() if one.warehouse is not None]
        return checking.beside(self._config, kind, slug, settings, opened)

    # What is loaded.

    def selections(self, slug: str) -> list[SourceSelection]:
        """Raises NotFoundError."""
        record = self._live(slug)
        known, problem = self._browsing.looked(slug)
        sources = [one for one in self._sources().values() if one.removed_at is None or one.slug in record.selection]
        return [
            warehouse_selections.shown(
                source, record.selection.get(source.slug), known.looked if known else None, problem
            )
            for source in sources
        ]

    def select(self, slug: str, source: str, order: SelectionOrder) -> SourceSelection:
        """Raises NotFoundError, and ConfigError for a selection that is none."""
        self._live(slug)
        chosen = _selection(order.selection)
        self._workspace.select(slug, source, None if chosen is None else selection.as_json(chosen))
        self._warehouses.notice()
        return next(one for one in self.selections(slug) if one.source == source)

    def try_selection(self, slug: str, source: str, order: SelectionTrialOrder) -> SelectionTrial:
        """Raises NotFoundError, and ConfigError for a selection that is none."""
        self._live(slug)
        record = self._workspace.source(source)
        readers = self._archive.readers()
        try:
            return selection_trials.tried(_selection(order.selection), record.slug, readers, order.entries)
        finally:
            for reader in readers:
                reader.close()

    # Jobs.

    def job_kinds(self, slug: str) -> list[JobKind]:
        """Raises NotFoundError."""
        self._live(slug)
        loading = self._warehouses.one(slug)
        return tasks.kinds_for(loading.warehouse)

    def order_job(self, slug: str, order: JobOrder) -> Job:
        """Raises NotFoundError, ConfigError and WarehouseUnavailableError."""
        self._live(slug)
        arguments = self._within(order, slug)
        loading = self._warehouses.one(slug)
        place = tasks.Surroundings(
            loading.configured,
            loading.opened(),
            loading.kind,
            self._archive.readers,
            self._sources,
            self._config,
            loading.selections,
            partial(self._note_retyped, loading),
            tasks.Stop(loading.stop),
        )
        work = tasks.work(order.job, arguments, place)
        return self._jobs.submit(loading.slug, work, loading.submit)

    def _note_retyped(self, loading: Loading, column: str) -> None:
        loading.configured = self._workspace.note_retyped(loading.slug, column)
        self._browsing.forget(loading.slug)

    def _within(self, order: JobOrder, slug: str) -> Mapping[str, Any]:
        """Files that somebody orders over the network go into the data folder's exports, under a plain name.

        Raises ConfigError for any other name."""
        if order.job not in ("snapshot", "export") or _is_insider():
            return order.arguments
        name = order.arguments.get("to")
        if name is None:
            return order.arguments if order.job == "snapshot" else {**order.arguments, "to": str(self._exports(slug))}
        if not isinstance(name, str) or _PLAIN.fullmatch(name) is None:
            raise ConfigError(
                f"{order.job}: `to` is a plain name here (letters, digits, _ . -), made in the folder {EXPORTS} of the data folder; "
                "for another place use the command line"
            )
        return {**order.arguments, "to": str(self._exports(name))}

    def _exports(self, name: str) -> Path:
        exports = self._config.folder.absolute() / EXPORTS
        exports.mkdir(mode=0o700, exist_ok=True)
        return exports / name

    def jobs(self, slug: str) -> list[Job]:
        """Newest first. Raises NotFoundError."""
        return self._jobs.of(self._live(slug).slug)

    def job(self, number: int) -> Job:
        """Raises NotFoundError."""
        return self._jobs.job(number)

    def cancel_job(self, number: int) -> Job:
        """Raises NotFoundError and ConfigError."""
        return self._jobs.cancel(number)


def _is_insider() -> bool:
    requester = REQUESTER.get()
    return requester is not None and requester.via == "socket"


def _selection(given: Mapping[str, Any] | None) -> selection.Selection | None:
    parsed = None if given is None else selection.parse(given)
    return None if parsed == selection.EVERYTHING else parsed


def _check_admin() -> None:
    """Settings of warehouses name files of this machine and places of its network, to which kept secrets go. Raises RequestError."""
    requester = REQUESTER.get()
    if requester is None or not may(requester.role, "admin"):
        raise RequestError(
            "role_refused", "role: settings of warehouses are an admin's to change and to test; ask one", 403
        )


def _checked(found: Sequence[Finding]) -> Checked:
    return Checked(all(finding.ok for finding in found), [CheckStep(*finding) for finding in found])
