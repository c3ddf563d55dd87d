"""The API's questions and orders about sources: add, change, keys, what arrives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import msgspec
from litestar import delete, get, patch, post
from litestar.params import Body, FromPath

from headrace.console.source_shown import (
    EventsShown,
    NamesShown,
    SourceDetail,
    SourceEntry,
    SourceShown,
    SourceWithKey,
)

Nickname = Annotated[str, msgspec.Meta(max_length=1_000)]
Text = Annotated[str, msgspec.Meta(max_length=1_000)]


class SourceOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new source. Without `schema` one is proposed from the nickname."""

    kind: Text
    nickname: Nickname
    schema: Text | None = None
    settings: dict[str, Any] = {}


class SourceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays; a setting that is null goes back to its default."""

    nickname: Nickname | None = None
    enabled: bool | None = None
    settings: dict[str, Any] = {}


class NamesAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `schema` one is proposed."""

    kind: Text
    nickname: Nickname = ""
    schema: Text | None = None


class Sources(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def every(self) -> Sequence[SourceEntry]: ...

    def one(self, slug: str) -> SourceDetail:
        """A removed one too."""
        ...

    def add(self, order: SourceOrder) -> SourceWithKey: ...

    def change(self, slug: str, change: SourceChange) -> SourceShown: ...

    def remove(self, slug: str) -> SourceShown: ...

    def names(self, asked: NamesAsked) -> NamesShown: ...

    def rotate_key(self, slug: str) -> SourceWithKey: ...

    def retire_key(self, slug: str, last_four: str) -> SourceShown: ...

    def events(self, slug: str) -> EventsShown: ...


class Worker(Protocol):
    @property
    def source_house(self) -> Sources: ...


def routes(worker: Worker) -> list[Any]:
    return [*_of_all(worker), *_of_one(worker), *_of_arrivals(worker)]


def _of_all(worker: Worker) -> list[Any]:
    @get("/sources", role="viewer", sync_to_thread=True)
    def list_sources() -> Sequence[SourceEntry]:
        return worker.source_house.every()

    @post("/sources", role="editor", sync_to_thread=True, status_code=201)
    def add_source(data: Annotated[SourceOrder, Body(description="Kind and nickname")]) -> SourceWithKey:
        return worker.source_house.add(data)

    @post("/sources/names", role="viewer", sync_to_thread=True, status_code=200)
    def check_source_names(
        data: Annotated[NamesAsked, Body(description="What a new source shall be called")],
    ) -> NamesShown:
        return worker.source_house.names(data)

    return [list_sources, add_source, check_source_names]


def _of_one(worker: Worker) -> list[Any]:
    @get("/sources/{slug:str}", role="viewer", sync_to_thread=True)
    def show_source(slug: FromPath[str]) -> SourceDetail:
        return worker.source_house.one(slug)

    @patch("/sources/{slug:str}", role="editor", sync_to_thread=True)
    def change_source(
        slug: FromPath[str], data: Annotated[SourceChange, Body(description="What changes")]
    ) -> SourceShown:
        return worker.source_house.change(slug, data)

    @delete("/sources/{slug:str}", role="admin", sync_to_thread=True, status_code=200)
    def remove_source(slug: FromPath[str]) -> SourceShown:
        return worker.source_house.remove(slug)

    @post("/sources/{slug:str}/keys", role="editor", sync_to_thread=True, status_code=201)
    def rotate_write_key(slug: FromPath[str]) -> SourceWithKey:
        return worker.source_house.rotate_key(slug)

    @delete("/sources/{slug:str}/keys/{last_four:str}", role="editor", sync_to_thread=True, status_code=200)
    def retire_write_key(slug: FromPath[str], last_four: FromPath[str]) -> SourceShown:
        return worker.source_house.retire_key(slug, last_four)

    return [show_source, change_source, remove_source, rotate_write_key, retire_write_key]


def _of_arrivals(worker: Worker) -> list[Any]:
    @get("/sources/{slug:str}/events", role="viewer", sync_to_thread=True)
    def list_events_of_source(slug: FromPath[str]) -> EventsShown:
        return worker.source_house.events(slug)

    return [list_events_of_source]
