"""Replays of a data folder's destinations: the command line and the worker order, show and stop them the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from headrace.app.deliveries import FOLDER, file_of
from headrace.app.destination_checks import place_of
from headrace.delivery import ordering, preparing, replaying, replays
from headrace.delivery.ordering import ReplayAnswer, ReplayOrder, ReplayShown, Surroundings
from headrace.delivery.preparing import Preparation
from headrace.delivery.replays import Replay, Wanted
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.errors import ConfigError, NotFoundError
from headrace.log.base import LogReader
from headrace.workspace import destinations as of_workspace
from headrace.workspace.records import Destination
from headrace.workspace.secret_settings import without_secrets

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.workspace import Workspace

OnPassed = Callable[[int, int], None]
"""So many more entries have been looked at, of about so many in all."""


def _nothing(passed: int, total: int) -> None:
    del passed, total


class ReplayOrders:
    """May be called from any thread. Nothing stays open between two calls."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        open_readers: Callable[[], Sequence[LogReader]],
        is_served: Callable[[], bool] = lambda: True,
    ) -> None:
        """`open_readers` opens readers of log and archive, which are closed here. `is_served` says whether a server works on the folder."""
        self._config = config
        self._workspace = workspace
        self._open_readers = open_readers
        self._is_served = is_served

    def order(self, slug: str, order: ReplayOrder, on_passed: OnPassed = _nothing) -> ReplayAnswer:
        """Begin a replay, or count what it would send. Raises ConfigError for what cannot be, NotFoundError and RetryableError."""
        record = self._live(slug)
        now = datetime.now(UTC)
        wanted = ordering.wanted_of(order, record.sources, now)
        preparation = self._preparation(record)
        notes = ordering.notes(wanted, record.created_at, self._config.delivery.retention_days, now)
        with self._readers() as readers:
            wanted = self._without_coming(record, wanted, readers)
            ranges = ordering.ranges(readers, self._config.folder / FOLDER, wanted)
            if not order.dry_run:
                with self._store(record) as store:
                    number = replays.order(store, wanted, ranges)
                    return ReplayAnswer(self._shown(record, store, replays.one(store, number)), notes=notes)
            total = sum(replays.entries_between(part.first, part.next) for part in ranges)
            with self._store_if_any(record) as books:
                found = replaying.estimate(
                    readers, ranges, wanted, record.sources, books, preparation, lambda passed: on_passed(passed, total)
                )
        return ReplayAnswer(estimate=found, notes=notes)

    def every(self, slug: str) -> Sequence[ReplayShown]:
        """Newest first, of a removed destination too. Raises NotFoundError."""
        record = self._workspace.destination(slug)
        with self._store_if_any(record) as store:
            return [] if store is None else [self._shown(record, store, one) for one in replays.every(store)]

    def one(self, slug: str, number: int) -> ReplayShown:
        """Raises NotFoundError."""
        return self._done(self._workspace.destination(slug), number, replays.one)

    def pause(self, slug: str, number: int) -> ReplayShown:
        """Raises NotFoundError, and ConfigError for one that has ended."""
        return self._done(self._live(slug), number, replays.pause)

    def resume(self, slug: str, number: int) -> ReplayShown:
        """Raises as `pause` does."""
        return self._done(self._live(slug), number, replays.resume)

    def cancel(self, slug: str, number: int) -> ReplayShown:
        """Raises as `pause` does."""
        return self._done(self._workspace.destination(slug), number, replays.cancel)

    def _done(self, record: Destination, number: int, do: Callable[[Store, int], Replay]) -> ReplayShown:
        with self._store_if_any(record) as store:
            if store is None:
                raise NotFoundError(f"replay: {record.slug} has none; order one: headrace replay start {record.slug}")
            return self._shown(record, store, do(store, number))

    def _live(self, slug: str) -> Destination:
        record = self._workspace.destination(slug)
        if record.removed_at is not None:
            raise NotFoundError(f"replay: the destination {slug} was removed; see: headrace destination list")
        return record

    def _preparation(self, record: Destination) -> Preparation:
        """Raises ConfigError, in whose text no secret stands."""
        settings = self._workspace.revealed_destination_settings(record.slug)
        try:
            kind = base.configured(record.kind, settings, place_of(self._config, record.slug))
            return preparing.checked(kind)
        except (ConfigError, ValueError) as error:
            text = without_secrets(str(error), of_workspace.secrets_of(record.kind, settings))
            raise ConfigError(f"{text}; mend it: headrace destination set {record.slug} KEY=VALUE") from None

    def _without_coming(self, record: Destination, wanted: Wanted, readers: Sequence[LogReader]) -> Wanted:
        """What the destination has not reached yet is delivered anyhow."""
        with self._store_if_any(record) as store:
            reached = dict(store.positions(readers[0].incarnation)) if store is not None and readers else {}
        added_at = int(record.created_at.timestamp() * 1_000)
        return msgspec.structs.replace(wanted, reached=reached, added_at=added_at)

    def _shown(self, record: Destination, store: Store, replay: Replay) -> ReplayShown:
        active = replays.active(store)
        before = active.id if active is not None and active.id < replay.id else None
        place = Surroundings(
            record.slug, self._is_served(), record.paused, record.disabled, store.noted("state"), before
        )
        return ordering.shown(replay, place, replays.failures(store, replay.id) if replay.failed else {})

    @contextmanager
    def _readers(self) -> Iterator[Sequence[LogReader]]:
        readers = self._open_readers()
        try:
            yield readers
        finally:
            for reader in readers:
                reader.close()

    @contextmanager
    def _store(self, record: Destination) -> Iterator[Store]:
        store = Store(file_of(self._config.folder, record.slug))
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def _store_if_any(self, record: Destination) -> Iterator[Store | None]:
        """None where no server has taken the destination up yet, and nothing was ordered."""
        if not file_of(self._config.folder, record.slug).exists():
            yield None
            return
        with self._store(record) as store:
            yield store
