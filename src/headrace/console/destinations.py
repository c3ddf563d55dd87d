"""The API's questions and orders about destinations: test events."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from litestar import post
from litestar.params import Body

from headrace.delivery.trying import TrialOrder, Tried


class Destinations(Protocol):
    """What the worker does for them. All may be called from any thread and raise HeadraceError."""

    def try_out(self, slug: str, order: TrialOrder) -> Tried:
        """Send a destination one event; nothing of it is stored."""
        ...


def routes(worker: Destinations) -> list[Any]:
    @post("/api/destinations/{slug:str}/test", sync_to_thread=True, status_code=200)
    def test_destination(
        slug: str, data: Annotated[TrialOrder, Body(description="What it is tested with; {} for an example")]
    ) -> Tried:
        return worker.try_out(slug, data)

    return [test_destination]
