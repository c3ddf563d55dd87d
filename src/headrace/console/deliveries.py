"""Event Delivery in the JSON API: accounts, samples, dead letters, and the trace of an event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from litestar import get, post
from litestar.params import Body, FromPath, FromQuery, QueryParameter

from headrace.console.tracing import Trace
from headrace.delivery.account import Account, Point
from headrace.delivery.account_breakdown import Breakdown
from headrace.delivery.account_samples import SampleShown
from headrace.delivery.dead_letters import MOST, Page, Revived, Wanted
from headrace.workspace.actor import detail

Since = Annotated[str, QueryParameter(description="So long ago (10m, 1h, 24h, 7d), or a moment in ISO 8601.")]
Until = Annotated[str | None, QueryParameter(description="A moment in ISO 8601; now, if not given.")]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST)]
DAY: Final = "24h"
What = Literal["destination", "warehouse"]


class DeadLetterOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters are sent again; with `dry_run` it is only told how many."""

    wanted: Wanted = Wanted()
    dry_run: bool = False


class Accounts(Protocol):
    """What is told of destinations and warehouses. All may be called from any thread and raise HeadraceError."""

    def every(self, since: str, until: str | None = None, what: What | None = None) -> Sequence[Account]: ...

    def one(self, slug: str, since: str, until: str | None = None) -> Account: ...

    def breakdown(self, slug: str, since: str, until: str | None = None) -> Breakdown: ...

    def samples(self, slug: str, code: str | None = None, limit: int = 10) -> Sequence[SampleShown]: ...

    def dead_letters(self, slug: str, wanted: Wanted, *, limit: int = 50, after: str | None = None) -> Page: ...

    def replay_dead_letters(self, slug: str, wanted: Wanted, *, dry_run: bool = False) -> Revived: ...


class Telling(Protocol):
    """What has accounts and can trace."""

    @property
    def accounts(self) -> Accounts: ...

    def trace(self, message_id: str, since: str) -> Trace: ...


def routes(of: Telling) -> list[Any]:
    """Of the worker's API."""

    @get("/deliveries", role="viewer", sync_to_thread=True)
    def show_deliveries(
        since: Since = DAY, until: Until = None, what: FromQuery[What | None] = None
    ) -> Sequence[Account]:
        return of.accounts.every(since, until, what)

    @get("/deliveries/{slug:str}", role="viewer", sync_to_thread=True)
    def show_delivery(slug: FromPath[str], since: Since = DAY, until: Until = None) -> Account:
        return of.accounts.one(slug, since, until)

    @get("/deliveries/{slug:str}/trend", role="viewer", sync_to_thread=True)
    def show_trend(slug: FromPath[str], since: Since = DAY, until: Until = None) -> Sequence[Point]:
        return of.accounts.one(slug, since, until).trend

    @get("/deliveries/{slug:str}/breakdown", role="viewer", sync_to_thread=True)
    def show_breakdown(slug: FromPath[str], since: Since = DAY, until: Until = None) -> Breakdown:
        return of.accounts.breakdown(slug, since, until)

    @get("/deliveries/{slug:str}/samples", role="viewer", sync_to_thread=True)
    def show_samples(slug: FromPath[str], limit: Limit = 10) -> Sequence[SampleShown]:
        return of.accounts.samples(slug, None, limit)

    @get("/deliveries/{slug:str}/errors/{code:str}/samples", role="viewer", sync_to_thread=True)
    def show_samples_of_code(slug: FromPath[str], code: FromPath[str], limit: Limit = 10) -> Sequence[SampleShown]:
        return of.accounts.samples(slug, code, limit)

    @get("/deliveries/{slug:str}/dead-letters", role="viewer", sync_to_thread=True)
    def show_dead_letters(
        slug: FromPath[str],
        code: FromQuery[str | None] = None,
        source: FromQuery[str | None] = None,
        event: FromQuery[str | None] = None,
        message_id: FromQuery[str | None] = None,
        text: FromQuery[str | None] = None,
        since: FromQuery[datetime | None] = None,
        until: FromQuery[datetime | None] = None,
        limit: Limit = 50,
        after: FromQuery[str | None] = None,
    ) -> Page:
        wanted = Wanted(code, source, event, message_id, text, since, until)
        return of.accounts.dead_letters(slug, wanted, limit=limit, after=after)

    @post("/deliveries/{slug:str}/dead-letters/replay", role="editor", sync_to_thread=True, status_code=200)
    def replay_dead_letters(
        slug: FromPath[str], data: Annotated[DeadLetterOrder, Body(description="Which are sent again")]
    ) -> Revived:
        detail(dry_run=data.dry_run)
        return of.accounts.replay_dead_letters(slug, data.wanted, dry_run=data.dry_run)

    @get("/trace/{message_id:str}", role="viewer", sync_to_thread=True)
    def show_trace(message_id: FromPath[str], since: Since = DAY) -> Trace:
        return of.trace(message_id, since)

    return [show_deliveries, show_delivery, show_trend, show_breakdown, show_samples, show_samples_of_code, show_dead_letters, replay_dead_letters,
            show_trace]  # fmt: skip
