"""A tool's faults as delivery sees them, over real HTTP: outcome, code and attempts of each, and that nobody else notices."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

import fault_server as fault
from delivery_house import House
from delivery_street import LOOPBACK, Street
from fault_server import FaultServer
from headrace.delivery._http_stream import Stream
from headrace.delivery.http import HttpClient
from headrace.destinations.base import Exchange, Request

EVENTS = 2
PASSES: tuple[str, str, int] = ("delivered", "", 1)


class Case(NamedTuple):
    """What the tool does, one request after the other, and then the first event's outcome, code and attempts. `url` is for those that
    have no server of their own on the way."""

    behaviours: tuple[fault.Behaviour, ...] = ()
    outcome: str = "delivered"
    code: str = ""
    attempts: int = 2
    url: str = ""
    seconds: float = 60.0


def passing(behaviour: fault.Behaviour, code: str, seconds: float = 60.0) -> Case:
    """It fails once; then it works."""
    return Case((behaviour, fault.answers(200)), "delivered", code, 2, seconds=seconds)


def final(status: int, code: str) -> Case:
    return Case((fault.answers(status),), "failed", code, 1)


CASES: Mapping[str, Case] = {
    "hangs": passing(fault.hangs(), "ETIMEDOUT", 4.0),
    "drips": passing(fault.drips(0.05), "ETIMEDOUT", 4.0),
    "resets after the request": passing(fault.resets(), "ECONNRESET"),
    "closes without an answer": passing(fault.closes(), "ECONNRESET"),
    "cuts the answer": passing(fault.cuts(), "ECONNRESET"),
    "speaks no HTTP": passing(fault.garbage(), "ANSWER_UNREADABLE"),
    "headers without an end": passing(fault.huge_headers(), "ANSWER_UNREADABLE"),
    "500": passing(fault.answers(500), "SERVER_ERROR"),
    "500 without an end": passing(fault.endless(500), "SERVER_ERROR"),
    "502": passing(fault.answers(502), "502"),
    "503": passing(fault.answers(503), "503"),
    "408": passing(fault.answers(408), "SERVER_ERROR"),
    "425": passing(fault.answers(425), "SERVER_ERROR"),
    "429": passing(fault.answers(429), "429"),
    "501": final(501, "BAD_REQUEST"),
    "505": final(505, "BAD_REQUEST"),
    "400": final(400, "BAD_REQUEST"),
    "redirect loop": Case((fault.redirects(),), "failed", "REDIRECTED", 1),
    "200 without an end": Case((fault.endless(200),), *PASSES),
    "closes an idle connection": Case((fault.answers_then_closes(),), *PASSES),
    "refuses connections": Case((), "retrying", "ECONNREFUSED", 1, "http://127.0.0.1:9/hook"),
    "unknown name": Case((), "retrying", "ENOTFOUND", 1, "http://nowhere.invalid/hook"),
    "not allowed": Case((), "failed", "ADDRESS_REFUSED", 1, "http://169.254.169.254/hook"),
    "own certificate": Case((), "retrying", "ETLS", 1, "self-signed"),
    "another's certificate": Case((), "retrying", "ETLS", 1, "wrong-name"),
    "no TLS": Case((), "retrying", "ETLS", 1, "plain-text"),
}
TLS: tuple[fault.Tls, ...] = ("self-signed", "wrong-name", "plain-text")


class Seen(NamedTuple):
    """What came of a case: the first event's outcome, code and attempts, the minutes' counts, requests by the server's account."""

    first: tuple[str, str, int]
    counts: Mapping[str, int]
    requests: int


class PatientClient(HttpClient):
    """Its first request alone has little time."""

    async def exchange(self, request: Request) -> Exchange:
        try:
            return await super().exchange(request)
        finally:
            self._request_seconds = 60.0


def nobody_knows(host: str, port: int) -> Sequence[str]:
    """A name server that knows no name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def slug(name: str) -> str:
    return name.replace(" ", "-").replace("'", "")


def rows(file: Path, select: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(select).fetchall()


def counts(file: Path) -> dict[str, int]:
    return dict(rows(file, "SELECT outcome, sum(events) FROM minutes GROUP BY 1 HAVING sum(events) <> 0"))


def first(file: Path) -> tuple[str, str, int]:
    """Of the event at offset 0, or what stands for one that has no row."""
    found = rows(file, "SELECT outcome, code, attempts FROM events WHERE offset = 0")
    if found:
        outcome, code, attempts = found[0]
        return outcome, code, attempts
    return PASSES if rows(file, "SELECT 1 FROM runs WHERE first = 0 AND outcome = 'delivered'") else ("", "", 0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Seen]]:
    """All cases at the same time, a destination each, beside one whose tool works."""
    folder = tmp_path_factory.mktemp("faults")
    house = House(folder)
    with (
        FaultServer() as server,
        FaultServer(tls=TLS[0]) as a,
        FaultServer(tls=TLS[1]) as b,
        FaultServer(tls=TLS[2]) as c,
    ):
        secured = dict(zip(TLS, (f"{each.url}/hook" for each in (a, b, c)), strict=True))
        settings: dict[str, dict[str, Any]] = {"healthy": {"url": f"{server.url}/healthy"}}
        for name, case in CASES.items():
            server.behave(f"/{slug(name)}", *(case.behaviours or (fault.answers(),)))
            url = secured.get(case.url, case.url) or f"{server.url}/{slug(name)}"  # type: ignore[call-overload]
            settings[slug(name)] = {"url": url, "concurrency": 1}
        limits = {slug(n): {"request_seconds": case.seconds, "resolve": nobody_knows} for n, case in CASES.items()}
        street = Street(house, settings, limits, PatientClient)

        def is_done() -> bool:
            return all(
                first(street.file(slug(name)))[:2] == (case.outcome, case.code)
                and (case.outcome == "retrying" or sum(counts(street.file(slug(name))).values()) == EVENTS)
                for name, case in CASES.items()
            ) and counts(street.file("healthy")) == {"delivered": EVENTS}

        deadline = time.monotonic() + 90
        street.deliver(lambda: is_done() or time.monotonic() > deadline, lambda: house.tracks(EVENTS))
        yield {
            name: Seen(
                first(street.file(slug(name))),
                counts(street.file(slug(name))),
                len(server.received(f"/{slug(name)}")),
            )
            for name in (*CASES, "healthy")
        }


@pytest.mark.parametrize("name", CASES)
def test_a_fault_has_the_outcome_the_code_and_the_attempts_that_are_promised(
    seen: Mapping[str, Seen], name: str
) -> None:
    case, found = CASES[name], seen[name]
    if case.outcome == "retrying":
        assert (case.outcome, case.code) == found.first[:2]
        assert case.attempts <= found.first[2]
        return
    assert (case.outcome, case.code, case.attempts) == found.first
    last = EVENTS if case.outcome == "failed" or case.attempts == 1 else EVENTS + 1
    if case.behaviours:
        assert {case.outcome: EVENTS} == found.counts
        assert last == found.requests  # a redirect is not followed, a final answer not asked again


def test_the_tool_beside_all_of_them_got_each_event_once(seen: Mapping[str, Seen]) -> None:
    assert Seen(PASSES, {"delivered": EVENTS}, EVENTS) == seen["healthy"]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_nothing_is_sent_before_the_time_that_the_tool_asks_for(tmp_path: Path, form: str) -> None:
    house = House(tmp_path)
    with FaultServer() as server:
        until = (datetime.now(UTC) + timedelta(seconds=2)).replace(microsecond=0)
        asked = fault.asks_to_wait(1) if form == "seconds" else fault.asks_to_wait_until(until)
        server.behave("/hook", asked, fault.answers(200))
        street = Street(house, {"tool": {"url": f"{server.url}/hook", "concurrency": 1}})
        street.deliver(lambda: len(server.received("/hook")) == 6, lambda: house.tracks(5))
        before, *after = [request.at for request in server.received("/hook")]
        earliest = before + 1 if form == "seconds" else time.monotonic() + until.timestamp() - time.time()
        assert [] == [at for at in after if at < earliest - 0.01]  # the retried one, and those behind it


def test_without_being_asked_to_wait_it_does_not(tmp_path: Path) -> None:
    """The control: a plain 429 is tried again at once, so what holds the others back is what the tool asked for."""
    house = House(tmp_path)
    with FaultServer() as server:
        server.behave("/hook", fault.answers(429), fault.answers(200))
        street = Street(house, {"tool": {"url": f"{server.url}/hook", "concurrency": 1}})
        street.deliver(lambda: len(server.received("/hook")) == 3, lambda: house.tracks(2))
        first_tried, second_tried = (request.json()["messageId"] for request in server.received("/hook")[:2])
        assert ("m-0", "m-1") == (first_tried, second_tried)  # the next event goes at once


def test_a_dead_tool_beside_a_healthy_one_takes_nothing_from_it_and_little_memory(tmp_path: Path) -> None:
    """And the books of the healthy one do not mention the dead one."""
    from headrace.delivery.delivering import AHEAD_EVENTS
    from headrace.delivery.feed import SLICE_ENTRIES

    house = House(tmp_path)
    count = 3 * (AHEAD_EVENTS + SLICE_ENTRIES)
    with FaultServer() as server:
        server.behave("/dead", fault.hangs())
        settings = {
            "dead": {"url": f"{server.url}/dead", "batch_events": 100},
            "healthy": {"url": f"{server.url}/healthy", "batch_events": 500},
        }
        street = Street(house, settings)
        ahead: list[int] = []

        def all_arrived() -> bool:
            ahead.extend(window.read - window.position for window in street.running["dead"]._windows.values())
            return counts(street.file("healthy")) == {"delivered": count}

        street.deliver(all_arrived, lambda: house.tracks(count))
        arrived = [event["messageId"] for request in server.received("/healthy") for event in request.json()]
        assert sorted(arrived) == sorted(f"m-{number}" for number in range(count))
        assert {} == counts(street.file("dead"))
        assert [] == rows(street.file("healthy"), "SELECT * FROM events")
        assert [("delivering", "")] == rows(
            street.file("healthy"),
            "SELECT json_extract(value, '$.state'), json_extract(value, '$.error') FROM meta WHERE key = 'state'",
        )
        assert 0 < max(ahead) <= AHEAD_EVENTS + SLICE_ENTRIES
        # The control: nothing but the tool that hangs keeps a destination from reading on.
        assert [count] == [window.read for window in street.running["healthy"]._windows.values()]


def test_of_large_events_fewer_are_read_ahead(tmp_path: Path) -> None:
    from headrace.delivery.delivering import AHEAD_BYTES
    from headrace.delivery.feed import SLICE_BYTES

    house = House(tmp_path)
    with FaultServer() as server:
        server.behave("/dead", fault.hangs())
        street = Street(house, {"dead": {"url": f"{server.url}/dead"}})
        began = time.monotonic()

        def large() -> None:
            for _ in range(15):
                house.tracks(100, properties={"text": "x" * 30_000})

        street.deliver(
            lambda: (
                (len(server.received("/dead")) == 8 and street.running["dead"]._ahead_bytes >= AHEAD_BYTES)
                or time.monotonic() > began + 90
            ),
            large,
        )
        assert AHEAD_BYTES <= street.running["dead"]._ahead_bytes <= AHEAD_BYTES + 2 * SLICE_BYTES


@pytest.mark.parametrize("begin", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_that_closes_before_the_request_is_a_failure_that_passes(
    monkeypatch: pytest.MonkeyPatch, begin: Callable[..., Any]
) -> None:
    """A tool that accepts and closes at once: the loop of a worker tells that differently from the one of most tests."""
    from headrace.delivery import _http_opening, http

    async def opened_and_closed(*arguments: Any, **limits: Any) -> Stream:
        stream = await _http_opening.opened(*arguments, **limits)
        while not stream._is_at_end:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.001)
        return stream

    async def tried(url: str) -> Exchange:
        client = http.HttpClient(LOOPBACK)
        try:
            return await client.exchange(Request("POST", url, {}, b"{}"))
        finally:
            await client.close()

    monkeypatch.setattr(http, "opened", opened_and_closed)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept_and_close() -> None:
            listening.accept()[0].close()

        closing = threading.Thread(target=accept_and_close)
        closing.start()
        found = begin(tried(f"http://127.0.0.1:{listening.getsockname()[1]}/hook"))
        closing.join()
    assert (None, "ECONNRESET") == (found.answer, found.code)
