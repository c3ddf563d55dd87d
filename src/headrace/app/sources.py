"""Sources for the console: added, changed, and what arrives, out of the workspace, the feed's counts and what the warehouses said last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace import names
from headrace.app.deliveries import FOLDER
from headrace.collector.accept import WARNINGS
from headrace.config import Config
from headrace.console import source_shown
from headrace.console.books import SourceBooks
from headrace.console.source_shown import (
    AtDestination,
    Counted,
    EventShown,
    EventsShown,
    InWarehouse,
    NamesShown,
    SourceDetail,
    SourceEntry,
    SourceShown,
    SourceWithKey,
)
from headrace.console.sources import NamesAsked, SourceChange, SourceOrder
from headrace.console.status import Status, WarehouseStatus
from headrace.delivery import arrived
from headrace.delivery.arrived import HourOfSource, LastSeen
from headrace.destinations import base as destination_kinds
from headrace.errors import ConfigError, NotFoundError
from headrace.event import hour_of
from headrace.log.base import Tally
from headrace.sources import base
from headrace.workspace import names as of_workspace
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

HOURS: Final = 24


class SourceHouse:
    """May be called from any thread."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        url: Callable[[], str],
        tallies: Callable[[], Mapping[str, Tally]],
        status: Callable[[], Status],
        notice: Callable[[], None],
    ) -> None:
        """`url` is the tracking API's, without a path; `tallies` are the log's books by source; `status` may be some seconds old; `notice` has the server take up what has changed."""
        self._workspace = workspace
        self._url = url
        self._tallies = tallies
        self._status = status
        self._notice = notice
        self._arrivals = arrived.file_of(config.folder / FOLDER)

    # What there is.

    def every(self) -> Sequence[SourceEntry]:
        """Those that are not removed, oldest first."""
        now = datetime.now(UTC)
        tallies = self._tallies()
        hours = arrived.hours(self._arrivals, hour_of(now) - timedelta(hours=HOURS - 1))
        seen = arrived.last_seen(self._arrivals)
        connected = [source for one in self._workspace.destinations() for source in one.sources]
        return [
            _entry(source, tallies.get(source.slug, Tally()), hours.get(source.slug, ()), seen.get(source.slug), connected.count(source.slug), now)
            for source in self._workspace.sources()
        ]  # fmt: skip

    def one(self, slug: str) -> SourceDetail:
        """A removed one too. Raises NotFoundError."""
        source = self._workspace.source(slug)
        now = datetime.now(UTC)
        hours = arrived.hours(self._arrivals, hour_of(now) - timedelta(hours=HOURS - 1))
        seen = arrived.last_seen(self._arrivals)
        status = self._status()
        destinations = self._destinations(source, status)
        entry = _entry(
            source,
            self._tallies().get(slug, Tally()),
            hours.get(slug, ()),
            seen.get(slug),
            len(destinations),
            now,
        )
        return SourceDetail(
            entry=entry,
            sending=source_shown.sending(source.kind, self._url()),
            warehouses=self._warehouses(source, status),
            destinations=destinations,
        )

    def _warehouses(self, source: Source, status: Status) -> list[InWarehouse]:
        selections = {one.slug: one.selection for one in self._workspace.warehouses()}
        return [
            _in_warehouse(one, books, has_selection=source.slug in selections.get(one.warehouse.slug, {}))
            for one in status.warehouses
            if one.warehouse is not None
            for books in one.sources
            if books.source == source.slug
        ]

    def _destinations(self, source: Source, status: Status) -> list[AtDestination]:
        states = {one.slug: one for one in status.destinations}
        kinds = destination_kinds.kinds()
        found = []
        for record in self._workspace.destinations():
            if source.slug in record.sources:
                of = states.get(record.slug)
                title = kinds[record.kind].title if record.kind in kinds else ""
                state, error = (of.state, of.error) if of else ("unknown", None)
                found.append(AtDestination(record.slug, record.nickname, record.kind, title, state, error))
        return found

    def events(self, slug: str) -> EventsShown:
        """By type and name, most events first. Raises NotFoundError."""
        source = self._workspace.source(slug)
        now = datetime.now(UTC)
        found = arrived.of_source(self._arrivals, source.slug)
        kind = base.kinds().get(source.kind)
        words = {**WARNINGS, **(kind.warnings if kind else {})}
        return EventsShown(now, found.counted_since, [_event(one, words) for one in found.names])

    # What a person orders.

    def names(self, asked: NamesAsked) -> NamesShown:
        """Raises NotFoundError for a kind that is not in the catalogue."""
        kind = base.kind(asked.kind)
        nickname = asked.nickname.strip() or kind.title
        problem = ""
        try:
            slug, schema = self._workspace.free_source_names(asked.kind, nickname)
        except ConfigError as error:
            problem = str(error)
            slug, schema = self._workspace.free_source_names(asked.kind, kind.title)
        else:
            if any(one.nickname == nickname for one in self._workspace.sources()):
                problem = f"nickname: another source is called {nickname!r} too; a different one tells them apart"
        schema_problem = ""
        if asked.schema is not None:
            try:
                schema = self._workspace.free_source_names(asked.kind, kind.title, asked.schema)[1]
            except ConfigError as error:
                schema_problem = str(error)
        return NamesShown(nickname, slug, schema, problem, schema_problem)

    def add(self, order: SourceOrder) -> SourceWithKey:
        """Raises ConfigError and NotFoundError."""
        source, key = self._workspace.add_source(order.kind, order.nickname, order.schema, order.settings)
        self._notice()
        return self._with_key(source, key)

    def change(self, slug: str, change: SourceChange) -> SourceShown:
        """Raises ConfigError and NotFoundError; what can be wrong comes first, and then nothing has changed."""
        source = self._live(slug)
        nickname = None if change.nickname is None else of_workspace.nickname(change.nickname)
        with self._workspace.together():
            if change.settings:
                source = self._workspace.set_settings(slug, change.settings)
            if nickname is not None and nickname != source.nickname:
                source = self._workspace.rename(slug, nickname)
            if change.enabled is not None and change.enabled != source.enabled:
                source = self._workspace.enable(slug) if change.enabled else self._workspace.disable(slug)
        self._notice()
        return source_shown.shown(source)

    def remove(self, slug: str) -> SourceShown:
        """Raises NotFoundError."""
        source = self._workspace.remove(slug)
        self._notice()
        return source_shown.shown(source)

    def rotate_key(self, slug: str) -> SourceWithKey:
        """Raises ConfigError when two keys live already, and NotFoundError."""
        key = self._workspace.rotate_key(slug)
        return self._with_key(self._workspace.source(slug), key)

    def retire_key(self, slug: str, last_four: str) -> SourceShown:
        """Raises ConfigError for the only key, and NotFoundError."""
        return source_shown.shown(self._workspace.retire_key(slug, last_four))

    def _live(self, slug: str) -> Source:
        source = self._workspace.source(slug)
        if source.removed_at is not None:
            raise NotFoundError(f"source: {slug} was removed on {source.removed_at:%Y-%m-%d}; add a new one instead")
        return source

    def _with_key(self, source: Source, key: str) -> SourceWithKey:
        sending = source_shown.sending(source.kind, self._url(), key)
        return SourceWithKey(source_shown.shown(source), key, sending)


def _entry(
    source: Source, tally: Tally, hours: Sequence[HourOfSource], seen: LastSeen | None, destinations: int, now: datetime
) -> SourceEntry:
    accepted = {one.at: one.accepted for one in hours}
    first = hour_of(now) - timedelta(hours=HOURS - 1)
    return SourceEntry(
        source=source_shown.shown(source),
        accepted=tally.accepted,
        refused=tally.refused,
        refused_today=sum(one.refused for one in hours),
        hours=[accepted.get(first + timedelta(hours=hour), 0) for hour in range(HOURS)],
        last_event_at=seen.last_accepted_at if seen else None,
        destinations=destinations,
    )


def _in_warehouse(status: WarehouseStatus, books: SourceBooks, *, has_selection: bool) -> InWarehouse:
    state = status.warehouse
    assert state is not None  # noqa: S101 - its caller has looked
    return InWarehouse(
        slug=state.slug,
        nickname=state.nickname,
        kind=state.kind,
        state=state.state,
        error=state.error,
        loaded=books.loaded,
        duplicates=books.duplicates,
        filtered=books.filtered,
        rejected=books.rejected,
        pending=books.pending,
        lag_seconds=books.lag_seconds,
        has_selection=has_selection,
    )


def _event(one: arrived.NamedEvents, words: Mapping[str, str]) -> EventShown:
    is_rest = one.event == arrived.OTHERS
    slug = names.event_slug(one.event) if one.type == "track" and one.event else ""
    return EventShown(
        type=one.type,
        event="" if is_rest else one.event,
        table=names.event_table(slug) if slug else _TABLES.get(one.type, ""),
        accepted=one.accepted,
        refused=one.refused,
        last_at=one.last_at,
        warnings=[Counted(each.code, _in_words(each.code, words), each.events, each.last_at) for each in one.warnings],
        refusals=[Counted(each.code, each.reason, each.events, each.last_at) for each in one.refusals],
        is_rest=is_rest,
    )


_TABLES: Final = {
    "identify": "identifies",
    "group": "groups",
    "page": "pages",
    "screen": "screens",
    "alias": "aliases",
}


def _in_words(code: str, words: Mapping[str, str]) -> str:
    """A warning is `code` or `code:subject`.

    >>> _in_words("missing:email_id", {"missing": "an expected property is missing"})
    'an expected property is missing: email_id'
    """
    name, _, subject = code.partition(":")
    text = words.get(name, name)
    return f"{text}: {subject}" if subject else text
