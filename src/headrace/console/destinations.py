"""The API's questions and orders about destinations: what there is, what it is set to, test events and replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

import msgspec
from litestar import delete, get, patch, post
from litestar.params import Body, FromPath, FromQuery

from headrace.console.destination_shown import DestinationAnswer, DestinationShown
from headrace.delivery.ordering import ReplayAnswer, ReplayOrder, ReplayShown
from headrace.delivery.trying import TrialOrder, Tried
from headrace.workspace.actor import detail

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Slugs = Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)]
_CHANGE: Final = 'What changes: {"settings": {"url": "https://..."}}; what is not named stays'


class DestinationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new destination. Without `slug` it is made of the nickname. `unchecked`: add it though its kind, filter or mapping finds its
    settings wrong."""

    kind: Name
    nickname: Name
    sources: Slugs
    settings: dict[str, Any] = {}
    slug: Name | None = None
    unchecked: bool = False


class DestinationChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is null or missing stays. Of `settings` those that are named change; null takes one back to its default, and a secret's own mask
    keeps it. `sources` are all that are connected then. `paused` false also resumes one that headrace switched off."""

    nickname: Name | None = None
    settings: dict[str, Any] | None = None
    sources: Slugs | None = None
    paused: bool | None = None


class UnsavedTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test of settings that are not saved: of a new destination of this `kind`, or with `slug` of one that is there after these changes."""

    kind: Name | None = None
    slug: Name | None = None
    settings: dict[str, Any] = {}
    sources: Slugs | None = None
    trial: TrialOrder = TrialOrder()


class Orders(Protocol):
    """All may be called from any thread and raise HeadraceError; changes hold when they return."""

    def every(self, *, include_removed: bool = False) -> Sequence[DestinationShown]: ...

    def one(self, slug: str) -> DestinationAnswer: ...

    def add(self, order: DestinationOrder) -> DestinationAnswer: ...

    def change(self, slug: str, change: DestinationChange) -> DestinationAnswer: ...

    def remove(self, slug: str) -> DestinationShown: ...

    def try_unsaved(self, order: UnsavedTrial) -> Tried: ...

    def examples(self) -> Mapping[str, Mapping[str, Any]]: ...


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
    def destinations(self) -> Orders: ...

    @property
    def replays(self) -> Replays: ...

    def try_out(self, slug: str, order: TrialOrder) -> Tried:
        """Send a destination one event; nothing of it is stored."""
        ...


def routes(worker: Destinations) -> list[Any]:
    return [*_of_destinations(worker), *_of_replays(worker)]


def _of_destinations(worker: Destinations) -> list[Any]:
    @get("/destinations", role="viewer", sync_to_thread=True)
    def list_destinations(*, removed: FromQuery[bool] = False) -> Sequence[DestinationShown]:
        return worker.destinations.every(include_removed=removed)

    @post("/destinations", role="editor", sync_to_thread=True, status_code=201)
    def add_destination(
        data: Annotated[DestinationOrder, Body(description="The kind, whose events, and its settings")],
    ) -> DestinationAnswer:
        return worker.destinations.add(data)

    @get("/destinations/{slug:str}", role="viewer", sync_to_thread=True)
    def show_destination(slug: FromPath[str]) -> DestinationAnswer:
        return worker.destinations.one(slug)

    @patch("/destinations/{slug:str}", role="editor", sync_to_thread=True)
    def change_destination(
        slug: FromPath[str], data: Annotated[DestinationChange, Body(description=_CHANGE)]
    ) -> DestinationAnswer:
        return worker.destinations.change(slug, data)

    @delete("/destinations/{slug:str}", role="editor", sync_to_thread=True, status_code=200)
    def remove_destination(slug: FromPath[str]) -> DestinationShown:
        return worker.destinations.remove(slug)

    @post("/destinations/{slug:str}/test", role="editor", sync_to_thread=True, status_code=200)
    def test_destination(
        slug: FromPath[str], data: Annotated[TrialOrder, Body(description="What it is tested with; {} for an example")]
    ) -> Tried:
        detail(dry_run=data.dry_run)
        return worker.try_out(slug, data)

    @post("/destination-tests", role="editor", sync_to_thread=True, status_code=200)
    def test_unsaved_destination(
        data: Annotated[UnsavedTrial, Body(description="Settings that are not saved, and what they are tested with")],
    ) -> Tried:
        detail(slug=data.slug, kind=data.kind, dry_run=data.trial.dry_run)
        return worker.destinations.try_unsaved(data)

    @get("/destination-tests/examples", role="viewer", sync_to_thread=False)
    def show_test_examples() -> Mapping[str, Mapping[str, Any]]:
        return worker.destinations.examples()

    return [list_destinations, add_destination, show_destination, change_destination, remove_destination, test_destination,
            test_unsaved_destination, show_test_examples]  # fmt: skip


def _of_replays(worker: Destinations) -> list[Any]:
    @post("/destinations/{slug:str}/replays", role="editor", sync_to_thread=True, status_code=200)
    def order_replay(
        slug: FromPath[str], data: Annotated[ReplayOrder, Body(description="Which events are sent again")]
    ) -> ReplayAnswer:
        detail(dry_run=data.dry_run, since=data.since, until=data.until)
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

    return [order_replay, list_replays, show_replay, pause_replay, resume_replay, cancel_replay]
