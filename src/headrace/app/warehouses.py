"""The warehouses of a worker: as the workspace says from moment to moment, each loading by itself, together deciding what may leave the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from headrace.app.loading import Loading
from headrace.config import Config
from headrace.errors import ConfigError, HeadraceError, NotFoundError, RetryableError
from headrace.loader.parts import SharedParts
from headrace.log.base import LogReader
from headrace.reports.model.kept import DEFAULT, kept
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Place
from headrace.workspace import records
from headrace.workspace import warehouses as of_workspace
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

NOTICE_SECONDS: Final = 0.5
RETAIN_SECONDS: Final = 60.0
READING_SECONDS: Final = 0.5
"""A loader that waits for its warehouse must not hold up the others."""

Needed = Callable[[], Mapping[int, int] | None]
"""By partition up to where the archive has the log; None when there is no archive."""


class Warehouses:
    """`watch` runs in a thread of its own; all else may be called from any."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        readers: Callable[[], Sequence[LogReader]],
        sources: Callable[[], Mapping[str, Source]],
        archived: Needed = lambda: None,
        delivered: Needed = dict,
    ) -> None:
        """`delivered` says from where on the destinations need the log; while it does not, nothing leaves it."""
        self._config = config
        self._workspace = workspace
        self._open_readers = readers
        self._sources = sources
        self._archived = archived
        self._delivered = delivered
        self._shared = SharedParts()
        self._turn = threading.Lock()
        self._noticing = threading.Lock()
        self._ending = threading.Lock()
        self._ending_by_slug: dict[str, threading.Thread] = {}
        self._revision = -1
        self._loading_by_slug: dict[str, Loading] = {}
        self._records: Sequence[records.Warehouse] = ()
        self._email: ModelSettings = DEFAULT
        self._email_revision = -1
        self._stop = threading.Event()
        self._retained_at = time.monotonic()

    def all(self) -> list[Loading]:
        """In the order in which they were added."""
        with self._turn:
            return [self._loading_by_slug[r.slug] for r in self._records if r.slug in self._loading_by_slug]

    def one(self, slug: str | None) -> Loading:
        """The named one, or the one that is meant where none is named. Raises NotFoundError and ConfigError that list what there is."""
        self.notice()
        chosen = of_workspace.chosen(self._records, slug)
        with self._turn:
            found = self._loading_by_slug.get(chosen.slug)
        if found is None:
            raise NotFoundError(f"warehouse: {chosen.slug} is being taken up; ask again in a moment")
        return found

    def meant(self) -> str | None:
        """The slug of the one that is meant where none is named."""
        try:
            return of_workspace.chosen(self._records, None).slug
        except ConfigError:
            return None

    def watch(self) -> None:
        """Follow the workspace, and clear the log behind everybody, until `end`."""
        readers = self._open_readers()
        try:
            while not self._stop.wait(NOTICE_SECONDS):
                try:
                    self.notice()
                    if time.monotonic() - self._retained_at >= RETAIN_SECONDS:
                        self._retained_at = time.monotonic()
                        self.retain(readers)
                except RetryableError as error:
                    logger.warning("worker: %s", error)
                except Exception:
                    logger.exception("worker: the warehouses could not be looked after; trying again")
        finally:
            for reader in readers:
                reader.close()

    def notice(self) -> None:
        """Take up what has changed in the workspace. Never waits for a warehouse."""
        with self._noticing:
            if self._workspace.revision() != self._revision:
                self._follow()

    def _follow(self) -> None:
        revision, found = self._workspace.warehouse_snapshot()
        live = {record.slug: record for record in found if record.removed_at is None}
        with self._turn:
            settings = {slug: self._revealed(slug) for slug in live}
            for slug, loading in list(self._loading_by_slug.items()):
                if slug not in live or loading.settings != settings[slug]:
                    loading.tell_to_end()
                    self._ending_by_slug[slug] = loading.thread
                    del self._loading_by_slug[slug]
            for record in live.values():
                self._take_up(record, settings[record.slug])
            self._records = list(live.values())
            self._revision = revision

    def _email_settings(self) -> ModelSettings:
        """Those of the last look at the workspace, the same object until they change. Kept as they are when they cannot be read."""
        revision = self._workspace.revision()
        if revision != self._email_revision:
            try:
                found = kept(self._workspace).settings
            except HeadraceError as error:
                logger.warning("email model: %s", error)
                found = self._email
            self._email = self._email if found == self._email else found
            self._email_revision = revision
        return self._email

    def _revealed(self, slug: str) -> Mapping[str, Any] | ConfigError:
        """The settings in clear, or why they cannot be read: that is the trouble of this warehouse alone."""
        try:
            return self._workspace.revealed_settings(slug)
        except ConfigError as error:
            before = self._loading_by_slug.get(slug)
            known = before.settings if before is not None else None
            return known if isinstance(known, ConfigError) and str(known) == str(error) else error

    def _take_up(self, record: records.Warehouse, settings: Mapping[str, Any] | ConfigError) -> None:
        loading = self._loading_by_slug.get(record.slug)
        if loading is None:
            place = Place(record.slug, self._config.folder, self._config.warehouse)
            loading = Loading(
                record,
                settings,
                place,
                self._open_readers,
                self._sources,
                self._config.loader,
                self._shared,
                self._ending_by_slug.pop(record.slug, None),
                self._email_settings,
            )
            loading.start()
            self._loading_by_slug[record.slug] = loading
        loading.configured = record
        loading.pause(paused=record.paused)

    def retain(self, readers: Sequence[LogReader]) -> None:
        """Remove from the log what everybody has: the archive where there is one, else every warehouse and destination, paused ones too."""
        loadings = self.all()
        archived = self._archived()
        delivered = self._delivered()
        if delivered is None:
            return
        with ExitStack() as held:
            needed_by_loading = []
            for loading in loadings:
                loader = loading.loader
                if loader is None:
                    # It has not been reached since the start: nobody knows where it is.
                    needed_by_loading.append({reader.partition: {0} for reader in readers})
                    continue
                if not loader.reading.acquire(timeout=READING_SECONDS):
                    logger.info(
                        "log: %s is in the middle of a load; what is not needed any more goes later", loading.slug
                    )
                    return
                held.callback(loader.reading.release)
                needed_by_loading.append(dict(loader.needed()))
            for reader in readers:
                positions = {at for of_one in needed_by_loading for at in of_one.get(reader.partition, {0})}
                if reader.partition in delivered:
                    positions.add(delivered[reader.partition])
                # Whoever lags behind the log reads on in the archive, where there is one.
                needed = min(positions, default=0) if archived is None else archived.get(reader.partition, 0)
                if positions or archived is not None:
                    reader.retain(needed, positions)

    def end(self) -> None:
        """Load what is left, for a few seconds at the most; the rest is loaded at the next start."""
        with self._ending:
            if self._stop.is_set():
                return
            self._stop.set()
        enders = [threading.Thread(target=loading.end, kwargs={"drain": True}) for loading in self.all()]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
