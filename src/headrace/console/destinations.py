"""The API's questions and orders about destinations: test events and replays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from litestar import get, post
from litestar.params import Body, FromPath

from headrace.delivery.ordering import ReplayAnswer, ReplayOrder, ReplayShown
from headrace.delivery.trying import TrialOrder, Tried


class Replays(Protocol):
    """Replays by destination. All may be called from any thread and raise HeadraceError."""

    def order(self, slug: str, order: ReplayOrder) -> ReplayAnswer:
        """Begin one, or count what it would send."""
        ...

    def every(self, slug: str) -> Sequence[ReplayShown]: ...

    def one(self, slug: str, number: int) -> ReplayShown: ...

    def pause(self, slug: str, number: int) -> ReplayShown: ...

    def resume(self, slug: str, number: int) -> ReplayShown: ...

    def cancel(self, slug: str, number: int) -> ReplayShown: ...


class Destinations(Protocol):
    """What the worker does for them. All may be called from any thread and raise HeadraceError."""

    @property
    def replays(self) -> Replays: ...

    def try_out(self, slug: str, order: TrialOrder) -> Tried:
        """Send a destination one event; nothing of it is stored."""
        ...


def routes(worker: Destinations) -> list[Any]:
    @post("/destinations/{slug:str}/test", role="editor", sync_to_thread=True, status_code=200)
    def test_destination(
        slug: FromPath[str], data: Annotated[TrialOrder, Body(description="What it is tested with; {} for an example")]
    ) -> Tried:
        return worker.try_out(slug, data)

    @post("/destinations/{slug:str}/replays", role="editor", sync_to_thread=True, status_code=200)
    def order_replay(
        slug: FromPath[str], data: Annotated[ReplayOrder, Body(description="Which events are sent again")]
    ) -> ReplayAnswer:
        return worker.replays.order(slug, data)

    @get("/destinations/{slug:str}/replays", role="viewer", sync_to_thread=True)
    def list_replays(slug: FromPath[str]) -> Sequence[ReplayShown]:
        return worker.replays.every(slug)

    @get("/destinations/{slug:str}/replays/{number:int}", role="viewer", sync_to_thread=True)
    def show_replay(slug: FromPath[str], number: FromPath[int]) -> ReplayShown:
        return worker.replays.one(slug, number)

    @post("/destinations/{slug:str}/replays/{number:int}/pause", role="editor", sync_to_thread=True, status_code=200)
    def pause_replay(slug: FromPath[str], number: FromPath[int]) -> ReplayShown:
        return worker.replays.pause(slug, number)

    @post("/destinations/{slug:str}/replays/{number:int}/resume", role="editor", sync_to_thread=True, status_code=200)
    def resume_replay(slug: FromPath[str], number: FromPath[int]) -> ReplayShown:
        return worker.replays.resume(slug, number)

    @post("/destinations/{slug:str}/replays/{number:int}/cancel", role="editor", sync_to_thread=True, status_code=200)
    def cancel_replay(slug: FromPath[str], number: FromPath[int]) -> ReplayShown:
        return worker.replays.cancel(slug, number)

    return [test_destination, order_replay, list_replays, show_replay, pause_replay, resume_replay, cancel_replay]
