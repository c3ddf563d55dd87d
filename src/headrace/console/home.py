"""The API of the first page: what there is, what needs a person, and what arrives this minute."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from litestar import get
from litestar.params import FromQuery, QueryParameter

from headrace.console.attention import Concern
from headrace.console.source_shown import SourceEntry
from headrace.console.status import DestinationStatus


class WarehouseAtHome(msgspec.Struct, frozen=True, kw_only=True):
    """`known` is false while nobody knows what it holds; `loaded` and `pending` count events."""

    slug: str
    nickname: str
    kind: str
    state: str
    error: str | None
    known: bool
    loaded: int
    pending: int
    lag_seconds: float
    last_load_at: datetime | None


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """`attention`: the worst first. Figures of warehouses may be ten seconds old."""

    as_of: datetime
    sources: Sequence[SourceEntry]
    warehouses: Sequence[WarehouseAtHome]
    destinations: Sequence[DestinationStatus]
    attention: Sequence[Concern]


class Arrived(msgspec.Struct, frozen=True):
    """Events received in the `step_seconds` that begin at `at`."""

    at: datetime
    accepted: int
    refused: int


class Arrivals(msgspec.Struct, frozen=True):
    """`points` are complete, oldest first: the last one ends at `until`."""

    until: datetime
    step_seconds: int
    points: Sequence[Arrived]
    accepted: int
    refused: int


class Found(msgspec.Struct, frozen=True):
    """Something that is called so. `what` says in a word what it is, `href` where it is in the console."""

    title: str
    what: str
    href: str
    detail: str = ""


class House(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def home(self) -> Home: ...

    def arrivals(self, minutes: int, step_seconds: int, source: str | None) -> Arrivals: ...

    def search(self, words: str) -> Sequence[Found]: ...


class Worker(Protocol):
    @property
    def house(self) -> House: ...


Words = Annotated[str, QueryParameter(max_length=500)]
Minutes = Annotated[int, QueryParameter(ge=1, le=55)]
Step = Annotated[int, QueryParameter(ge=1, le=60)]


def routes(worker: Worker) -> list[Any]:
    @get("/home", role="viewer", sync_to_thread=True)
    def show_home() -> Home:
        return worker.house.home()

    @get("/arrivals", role="viewer", sync_to_thread=True)
    def show_arrivals(minutes: Minutes = 15, step_seconds: Step = 10, source: FromQuery[str | None] = None) -> Arrivals:
        return worker.house.arrivals(minutes, step_seconds, source)

    @get("/search", role="viewer", sync_to_thread=True)
    def search_everything(q: Words = "") -> Sequence[Found]:
        return worker.house.search(q)

    return [show_home, show_arrivals, search_everything]
