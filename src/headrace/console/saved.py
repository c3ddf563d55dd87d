"""The API's saved queries, reports and dashboards. What is kept is never lost: what does not fit any more is told beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import msgspec
from litestar import delete, get, post, put
from litestar.params import Body, FromPath

from headrace.workspace.saved import MOST_DESCRIPTION, Saved, SavedKind

Title = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Description = Annotated[str, msgspec.Meta(max_length=MOST_DESCRIPTION)]
_BODY = "Of a query: sql, warehouse, chart. Of a report: request, drawn. Of a dashboard: period, tiles"


class SavedOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title
    body: dict[str, Any]
    description: Description = ""


class SavedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`revision` is that of the one that was changed to this."""

    title: Title
    body: dict[str, Any]
    revision: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    description: Description = ""


class SavedShown(Saved, frozen=True):
    """`misfits`: what of the body is not known any more, a sentence each. `used_by`: of a report, the slugs of the dashboards that show it."""

    misfits: Sequence[str] = ()
    used_by: Sequence[str] = ()


class Keeping(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def every(self, kind: SavedKind) -> Sequence[SavedShown]: ...

    def one(self, kind: SavedKind, slug: str) -> SavedShown: ...

    def add(self, kind: SavedKind, order: SavedOrder) -> SavedShown: ...

    def put(self, kind: SavedKind, slug: str, change: SavedChange) -> SavedShown: ...

    def remove(self, kind: SavedKind, slug: str) -> None: ...


class Worker(Protocol):
    @property
    def saved(self) -> Keeping: ...


def routes(worker: Worker) -> list[Any]:
    @get("/saved/{kind:str}", role="viewer", sync_to_thread=True)
    def list_saved(kind: FromPath[SavedKind]) -> Sequence[SavedShown]:
        return worker.saved.every(kind)

    @post("/saved/{kind:str}", role="editor", sync_to_thread=True, status_code=201)
    def add_saved(kind: FromPath[SavedKind], data: Annotated[SavedOrder, Body(description=_BODY)]) -> SavedShown:
        return worker.saved.add(kind, data)

    @get("/saved/{kind:str}/{slug:str}", role="viewer", sync_to_thread=True)
    def show_saved(kind: FromPath[SavedKind], slug: FromPath[str]) -> SavedShown:
        return worker.saved.one(kind, slug)

    @put("/saved/{kind:str}/{slug:str}", role="editor", sync_to_thread=True)
    def change_saved(
        kind: FromPath[SavedKind], slug: FromPath[str], data: Annotated[SavedChange, Body(description=_BODY)]
    ) -> SavedShown:
        return worker.saved.put(kind, slug, data)

    @delete("/saved/{kind:str}/{slug:str}", role="editor", sync_to_thread=True)
    def remove_saved(kind: FromPath[SavedKind], slug: FromPath[str]) -> None:
        worker.saved.remove(kind, slug)

    return [list_saved, add_saved, show_saved, change_saved, remove_saved]
