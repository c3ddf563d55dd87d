"""The API's demo: a simulated month of campaigns in a workspace that has none of its own yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from litestar import delete, get, post
from litestar.params import Body

DemoStage = Literal["none", "sending", "loading", "modelling", "done", "failed", "interrupted", "removed"]
"""none: there is none. sending, loading, modelling: it is on its way. interrupted: the server ended on the way. removed: its sources are
removed; the rows stay."""
RUNNING: Final[frozenset[DemoStage]] = frozenset(("sending", "loading", "modelling"))
MOST_RECIPIENTS: Final = 20_000


class DemoOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many people on the simulated list, so many weekly campaigns up to now."""

    recipients: Annotated[int, msgspec.Meta(ge=50, le=MOST_RECIPIENTS)] = 3_000
    campaigns: Annotated[int, msgspec.Meta(ge=1, le=12)] = 4


class DemoSource(msgspec.Struct, frozen=True):
    slug: str
    nickname: str
    schema: str
    removed: bool


class DemoState(msgspec.Struct, frozen=True, kw_only=True):
    """Counted in events: `sent` of about `expected`, `loaded` of those that were accepted. `loads_behind`: loads that the e-mail model has not
    read yet, null while that is not known. `sentence` says the state in words, `error` why it failed."""

    state: DemoStage
    sentence: str
    sources: Sequence[DemoSource] = ()
    sent: int = 0
    expected: int = 0
    accepted: int = 0
    loaded: int = 0
    loads_behind: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class Demo(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def state(self) -> DemoState: ...

    def begin(self, order: DemoOrder) -> DemoState:
        """Adds the sources and sends in the background. Raises ConfigError where there is or was one already."""
        ...

    def remove(self) -> DemoState:
        """Stops sending and removes the sources. Raises NotFoundError where there is none."""
        ...


class Worker(Protocol):
    @property
    def demo(self) -> Demo: ...


def routes(worker: Worker) -> list[Any]:
    @get("/demo", role="viewer", sync_to_thread=True)
    def show_demo() -> DemoState:
        return worker.demo.state()

    @post("/demo", role="editor", sync_to_thread=True)
    def begin_demo(data: Annotated[DemoOrder, Body(description="How large; {} for 3,000 people")]) -> DemoState:
        return worker.demo.begin(data)

    @delete("/demo", role="editor", sync_to_thread=True, status_code=200)
    def remove_demo() -> DemoState:
        return worker.demo.remove()

    return [show_demo, begin_demo, remove_demo]
