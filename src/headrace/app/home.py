"""The first page and the search: what the rooms say of themselves, put together."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from headrace.app.alert_orders import AlertOrders
from headrace.app.deliveries import FOLDER
from headrace.app.destination_checks import check_settings, place_of
from headrace.app.sources import SourceHouse
from headrace.config import Config
from headrace.console import attention
from headrace.console.attention import Concern
from headrace.console.home import Arrivals, Arrived, Found, Home, WarehouseAtHome
from headrace.console.source_shown import SourceEntry
from headrace.console.status import Status, WarehouseStatus
from headrace.delivery import arrived
from headrace.errors import HeadraceError
from headrace.warehouses.base import QueryResult
from headrace.workspace.saved import SAVED_KINDS
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

RHYTHM: Final = timedelta(days=14)
"""A source's usual pauses are those of this time."""
WARNINGS_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 2
"""The feed stores its counts twice a second: seconds that ended so long ago are complete, unless it lags."""
MOST_OF_A_KIND: Final = 8
_MESSAGE_ID: Final = re.compile(r"[\w.:@+/=~-]{8,500}", re.ASCII)
_PLAIN_WORDS: Final = re.compile(r"[^\x00-\x1f\\]{2,200}")

Ask = Callable[[str, str | None], QueryResult]


class House:
    """May be called from any thread."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        sources: SourceHouse,
        status: Callable[[float], Status],
        alerts: AlertOrders,
        ask: Ask,
    ) -> None:
        """`status` is asked for so many hours and may be some seconds old."""
        self._config = config
        self._workspace = workspace
        self._sources = sources
        self._status = status
        self._alerts = alerts
        self._ask = ask
        self._arrivals = arrived.file_of(config.folder / FOLDER)
        self._warned: tuple[float, int, Mapping[str, Sequence[str]]] = (float("-inf"), -1, {})

    def home(self) -> Home:
        now = datetime.now(UTC)
        status = self._status(24.0)
        sources = self._sources.every()
        return Home(
            as_of=now,
            sources=sources,
            warehouses=[_warehouse(one) for one in status.warehouses if one.warehouse is not None],
            destinations=status.destinations,
            attention=attention.ordered(self._concerns(sources, status, now)),
        )

    def _concerns(self, sources: Sequence[SourceEntry], status: Status, now: datetime) -> Iterator[Concern]:
        hours = arrived.hours(self._arrivals, now - RHYTHM)
        warnings = self._warnings()
        for destination in status.destinations:
            yield from attention.of_destination(destination, warnings.get(destination.slug, ()))
        for warehouse in status.warehouses:
            yield from attention.of_warehouse(warehouse)
        yield from attention.of_archive(status.archive)
        for channel in self._alerts.channels():
            yield from attention.of_channel(channel)
        for alert in self._alerts.every():
            yield from attention.of_alert(alert)
        for source in sources:
            yield from attention.of_source(source, hours.get(source.source.slug, ()), now)

    def _warnings(self) -> Mapping[str, Sequence[str]]:
        """What destinations' kinds say of their settings, by slug; looked at now and then."""
        at, revision, known = self._warned
        latest = self._workspace.revision()
        if revision == latest and time.monotonic() - at < WARNINGS_SECONDS:
            return known
        found: dict[str, Sequence[str]] = {}
        for record in self._workspace.destinations():
            try:
                settings = self._workspace.revealed_destination_settings(record.slug)
                found[record.slug] = check_settings(record.kind, settings, place_of(self._config, record.slug))
            except HeadraceError as error:
                found[record.slug] = [str(error)]
        self._warned = (time.monotonic(), latest, found)
        return found

    def arrivals(self, minutes: int, step_seconds: int, source: str | None) -> Arrivals:
        """Raises NotFoundError for a source that is not there."""
        if source is not None:
            self._workspace.source(source)
        until = (int(time.time()) - SETTLED_SECONDS) // step_seconds * step_seconds
        since = until - minutes * 60 // step_seconds * step_seconds
        accepted: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        for one in arrived.seconds(self._arrivals, since, until):
            if source in (None, one.source):
                step = (one.second - since) // step_seconds
                accepted[step] += one.accepted
                refused[step] += one.refused
        points = [
            Arrived(datetime.fromtimestamp(since + step * step_seconds, UTC), accepted[step], refused[step])
            for step in range((until - since) // step_seconds)
        ]
        return Arrivals(datetime.fromtimestamp(until, UTC), step_seconds, points, accepted.total(), refused.total())

    # Searching.

    def search(self, words: str) -> Sequence[Found]:
        """What has the words in its name, in small letters; a message id leads to its event."""
        wanted = words.strip()
        if not wanted:
            return ()
        found = [
            *self._records(wanted.casefold()),
            *self._events(wanted),
            *self._campaigns(wanted),
            *self._saved(wanted.casefold()),
        ]
        if _MESSAGE_ID.fullmatch(wanted) and any(character.isdigit() or character in "-_" for character in wanted):
            found.append(Found(wanted, "message id", f"/debugger/{quote(wanted, safe='')}", "find this event"))
        return found

    def _records(self, wanted: str) -> Iterator[Found]:
        for source in self._workspace.sources():
            if _has(wanted, source.nickname, source.slug, source.schema, source.kind):
                yield Found(source.nickname, "source", f"/sources/{source.slug}", source.kind)
        for destination in self._workspace.destinations():
            if _has(wanted, destination.nickname, destination.slug, destination.kind):
                yield Found(destination.nickname, "destination", f"/destinations/{destination.slug}", destination.kind)
        for warehouse in self._workspace.warehouses():
            if _has(wanted, warehouse.nickname, warehouse.slug, warehouse.kind):
                yield Found(warehouse.nickname, "warehouse", f"/warehouses/{warehouse.slug}", warehouse.kind)

    def _events(self, wanted: str) -> Iterator[Found]:
        nicknames = {source.slug: source.nickname for source in self._workspace.sources()}
        try:
            named = arrived.names_like(self._arrivals, wanted, MOST_OF_A_KIND)
        except HeadraceError as error:
            logger.info("search: %s", error)
            return
        for source, _, event, accepted in named:
            if source in nicknames and event:
                detail = f"{nicknames[source]}, {accepted:,}"
                yield Found(event, "event", f"/debugger?source={source}&event={quote(event, safe='')}", detail)

    def _campaigns(self, wanted: str) -> Iterator[Found]:
        """Of the warehouse that is meant, where it has the e-mail model and answers."""
        if not _PLAIN_WORDS.fullmatch(wanted):
            return
        escaped = wanted.casefold().replace("'", "''").replace("!", "!!").replace("%", "!%").replace("_", "!_")
        like = f"LIKE '%{escaped}%' ESCAPE '!'"
        sql = (
            "SELECT campaign_id, campaign_name, sent FROM email.campaigns "  # noqa: S608 - quoted
            f"WHERE lower(campaign_name) {like} OR lower(campaign_id) {like} ORDER BY sent DESC LIMIT {MOST_OF_A_KIND}"
        )
        try:
            rows = self._ask(sql, None).rows
        except HeadraceError as error:
            logger.info("search: %s", error)
            return
        for campaign_id, name, sent in rows:
            detail = f"{campaign_id}, {sent:,} sent" if name else f"{sent:,} sent"
            yield Found(
                str(name or campaign_id), "campaign", f"/campaigns/id/{quote(str(campaign_id), safe='')}", detail
            )

    def _saved(self, wanted: str) -> Iterator[Found]:
        pages = {"query": "/sql/", "report": "/reports/", "dashboard": "/dashboards/"}
        for kind in SAVED_KINDS:
            fitting = [one for one in self._workspace.saved().every(kind) if _has(wanted, one.title, one.description)]
            for one in fitting[:MOST_OF_A_KIND]:
                yield Found(one.title, kind, f"{pages[kind]}{one.slug}", one.description[:80])


def _has(wanted: str, *texts: str) -> bool:
    """Whether each word of it is in the texts."""
    text = " ".join(texts).casefold()
    return all(word in text for word in wanted.split())


def _warehouse(status: WarehouseStatus) -> WarehouseAtHome:
    state = status.warehouse
    assert state is not None  # noqa: S101 - its caller has looked
    return WarehouseAtHome(
        slug=state.slug,
        nickname=state.nickname,
        kind=state.kind,
        state=state.state,
        error=state.error,
        known=state.known,
        loaded=status.totals.get("loaded", 0),
        pending=max(0, status.totals.get("pending", 0)),
        lag_seconds=status.lag_seconds,
        last_load_at=state.last_load_at,
    )
