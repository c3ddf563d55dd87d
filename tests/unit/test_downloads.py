"""A download of all rows: who waits for it gets it, and who has gone ends it, before its first row too."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from headrace.console import queries
from headrace.console.access import INSIDER, REQUESTER
from headrace.console.queries import CsvOrder, Download
from headrace.errors import QueryError
from headrace.warehouses.base import Stop

ORDER = CsvOrder("SELECT 1")
BODY = {"type": "http.request", "body": b"", "more_body": False}


class Request:
    """What comes over the connection, and then nothing more."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events = list(events)

    async def receive(self) -> dict[str, Any]:
        if not self._events:
            await asyncio.Event().wait()
        return self._events.pop(0)


class Queries:
    """One query: over at once, or when it is stopped."""

    def __init__(self, *, is_endless: bool) -> None:
        self.is_endless = is_endless
        self.stop: Stop | None = None

    def download(self, _order: CsvOrder, _who: Any, stop: Stop) -> Download:
        self.stop = stop
        ends = time.monotonic() + 30.0
        while self.is_endless and time.monotonic() < ends:
            stop.check()
            time.sleep(0.01)
        return Download("a.csv", iter([b"n\r\n"]), lambda: None)


@pytest.fixture(autouse=True)
def _asked() -> Any:
    token = REQUESTER.set(INSIDER)
    yield
    REQUESTER.reset(token)


def downloaded(of: Queries, *events: dict[str, Any]) -> Any:
    return asyncio.run(queries._downloaded(of, ORDER, Request(*events)))  # type: ignore[arg-type]


def test_who_has_gone_ends_it_before_its_first_row() -> None:
    endless = Queries(is_endless=True)
    with pytest.raises(QueryError):
        downloaded(endless, BODY, {"type": "http.disconnect"})
    assert endless.stop is not None
    assert endless.stop.is_wanted


def test_control_who_waits_gets_it_whether_or_not_a_body_came_with_the_request() -> None:
    for events in ((), (BODY,)):
        of = Queries(is_endless=False)
        assert "a.csv" in downloaded(of, *events).headers["content-disposition"]
        assert of.stop is not None
        assert not of.stop.is_wanted
