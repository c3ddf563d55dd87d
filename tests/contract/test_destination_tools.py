"""Every kind of destination against a stand-in of its tool (tests/tools/): what is taken, dropped, refused, put off, and how that is said.

Prepared events go through the kind's own `send`; the stand-in answers without a network, so that a failure speaks of the kind.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.http import HttpClient
from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations._answers import retry_after
from headrace.destinations.base import CODES, Answer, DestinationKind, Exchange, Place, Prepared, Request, Result
from headrace.destinations.segment import SegmentKind
from segment_events import event_of, moment_of
from tools import serving
from tools.segment import WRITE_KEY
from tools.serving import Direct, StandIn

NOW: Final = moment_of("2026-03-01T12:00:05Z")
REFUSALS: Final = frozenset(("MESSAGE_REJECTED", "PAYLOAD_VALIDATION_FAILED", "BAD_REQUEST"))
TELLING: Final = [slug for slug in serving.SLUGS if serving.tool(slug).wrong_key]
REFUSING: Final = [slug for slug in serving.SLUGS if serving.tool(slug).refused]
ADDRESSED: Final = [
    slug for slug in serving.SLUGS if any("://" in str(value) for value in serving.tool(slug).settings.values())
]
MANY: Final = 1_000_000
HOSTILE: Final = (
    b"",
    b"<!doctype html><html><body>Welcome to the hotel. Please log in.</body></html>",
    b"null",
    b"[]",
    b"{}",
    b'"ok"',
    b"[null, 1, {}]",
    b'{"rejected": 7, "errors": "x", "failed_records": null, "invalid_records": {}, "result_code": []}',
    b'{"rejected": [null, {"index": "x"}, {"index": 99999}], "errors": [null, {"index": -7}], "failed_records": [1]}',
    b'{"cut": [1, 2',
    b"\xff\xfe\x00",
    b"[" * 5_000,
)

Step = Result | Stopped


def configured(slug: str, stand_in: StandIn, changes: Mapping[str, Any] | None = None) -> DestinationKind:
    return base.configured(slug, {**stand_in.settings, **(changes or {})}, Place("test", Path("unused"), lambda: NOW))


def prepared(kind: DestinationKind, events: Sequence[Mapping[str, Any]]) -> list[Prepared]:
    preparation = Preparation(kind)
    steps = [preparation.prepare(event_of(event)) for event in events]
    assert [] == [step for step in steps if isinstance(step, Stopped)]
    return [step for step in steps if isinstance(step, Prepared)]


def sent(kind: DestinationKind, batch: Sequence[Prepared], http: base.Http) -> list[Result]:
    """As delivery sends: at most what the kind's limits take at a time, in order; after a refusal as a whole each alone."""

    async def all_of_it() -> list[Result]:
        await kind.open()
        results: list[Result] = []
        for start in range(0, len(batch), kind.limits.events):
            part = batch[start : start + kind.limits.events]
            found = list(await kind.send(part, http))
            assert len(part) == len(found)
            for place, result in enumerate(found):
                if result.is_whole_request and len(part) > 1:
                    found[place] = (await kind.send([part[place]], http))[0]
            results += found
        await kind.close()
        return results

    return asyncio.run(all_of_it())


@pytest.fixture(params=serving.SLUGS)
def slug(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stand_in(slug: str) -> StandIn:
    return serving.tool(slug)


def test_a_stand_in_has_enough_events_of_every_type_that_the_kind_takes(slug: str, stand_in: StandIn) -> None:
    ids = [event["messageId"] for event in stand_in.events]
    assert len(ids) >= 3
    assert len(set(ids)) == len(ids)
    assert {event["type"] for event in stand_in.events} == base.kind(slug).types


def test_the_tool_takes_each_event_once(slug: str, stand_in: StandIn) -> None:
    kind = configured(slug, stand_in)
    results = sent(kind, prepared(kind, stand_in.events), Direct(stand_in))
    assert [("delivered", "", "")] * len(stand_in.events) == [(r.outcome, r.code, r.detail) for r in results]
    assert len(stand_in.events) == len(stand_in.taken)
    assert len(stand_in.taken) == len(set(stand_in.taken))


def test_events_sent_twice_are_kept_once_where_the_tool_drops_repeats_and_twice_where_not(
    slug: str, stand_in: StandIn
) -> None:
    kind = configured(slug, stand_in)
    batch = prepared(kind, stand_in.events)
    sent(kind, batch, Direct(stand_in))
    again = sent(kind, batch, Direct(stand_in))
    assert {"delivered"} == {result.outcome for result in again}
    copies = 1 if stand_in.drops_repeats else 2
    assert {copies} == set(Counter(stand_in.taken).values())


def test_every_request_carries_what_a_sample_needs_and_no_secret_in_its_address(slug: str, stand_in: StandIn) -> None:
    kind = configured(slug, stand_in)
    http = Direct(stand_in)
    results = sent(kind, prepared(kind, stand_in.events), http)
    assert all(result.exchange is not None for result in results)
    assert all(name == name.lower() for exchange in http.exchanges for name in exchange.request.headers)
    assert all(exchange.request.url.startswith(("http://", "https://")) for exchange in http.exchanges)


@pytest.mark.parametrize("slug", TELLING)
def test_a_wrong_key_is_said_of_each_event(slug: str) -> None:
    stand_in = serving.tool(slug)
    kind = configured(slug, stand_in, stand_in.wrong_key)
    results = sent(kind, prepared(kind, stand_in.events), Direct(stand_in))
    expected = [("failed", "INVALID_AUTHENTICATION", False)] * len(stand_in.events)
    assert expected == [(result.outcome, result.code, result.is_whole_request) for result in results]
    assert [] == stand_in.taken


def test_a_rate_limit_is_waited_for_as_long_as_the_tool_asks_and_then_everything_goes(
    slug: str, stand_in: StandIn
) -> None:
    kind = configured(slug, stand_in)
    batch = prepared(kind, stand_in.events)
    stand_in.limited = MANY
    results = sent(kind, batch, Direct(stand_in))
    assert [("retry", "429")] * len(batch) == [(result.outcome, result.code) for result in results]
    for result in results:
        answer = result.exchange.answer if result.exchange else None
        assert answer is not None
        if "retry-after" in answer.headers:
            assert retry_after(answer, NOW) == result.retry_after_seconds
    assert [] == stand_in.taken
    stand_in.limited = 0
    assert {"delivered"} == {result.outcome for result in sent(kind, batch, Direct(stand_in))}
    assert len(batch) == len(stand_in.taken)


def test_a_tool_in_trouble_is_tried_again_and_then_has_everything(slug: str, stand_in: StandIn) -> None:
    kind = configured(slug, stand_in)
    batch = prepared(kind, stand_in.events)
    stand_in.broken = MANY
    results = sent(kind, batch, Direct(stand_in))
    assert {"retry"} == {result.outcome for result in results}
    assert {result.code for result in results} <= {"SERVER_ERROR", "502", "503"}
    assert [] == stand_in.taken
    stand_in.broken = 0
    assert {"delivered"} == {result.outcome for result in sent(kind, batch, Direct(stand_in))}
    assert len(batch) == len(stand_in.taken)


@pytest.mark.parametrize("slug", REFUSING)
def test_an_event_that_the_tool_refuses_fails_alone(slug: str) -> None:
    stand_in = serving.tool(slug)
    assert stand_in.refused is not None
    kind = configured(slug, stand_in)
    events = [stand_in.events[0], stand_in.refused, *stand_in.events[1:]]
    results = sent(kind, prepared(kind, events), Direct(stand_in))
    assert ["delivered", "failed", *["delivered"] * (len(events) - 2)] == [result.outcome for result in results]
    assert results[1].code in REFUSALS
    assert results[1].detail
    assert len(stand_in.events) == len(stand_in.taken)


def test_no_answer_makes_a_kind_raise_or_lose_an_event(slug: str, stand_in: StandIn) -> None:
    kind = configured(slug, stand_in)
    batch = prepared(kind, stand_in.events)
    for status in (200, 202, 207, 400, 413):
        for body in HOSTILE:
            results = sent(kind, batch, Same(Answer(status, {"content-type": "application/json"}, body)))
            assert len(batch) == len(results)
            assert {result.code for result in results} - {""} <= CODES.keys(), (status, body)
            assert all((result.outcome == "delivered") == (not result.code) for result in results), (status, body)
            assert status < 300 or not any(result.outcome == "delivered" for result in results), (status, body)


def test_what_the_network_does_is_passed_on(slug: str, stand_in: StandIn) -> None:
    kind = configured(slug, stand_in)
    batch = prepared(kind, stand_in.events)
    for code, outcome in (("ETIMEDOUT", "retry"), ("ADDRESS_REFUSED", "failed")):
        results = sent(kind, batch, Same(None, code))
        assert [(outcome, code)] * len(batch) == [(result.outcome, result.code) for result in results]


def test_the_default_mapping_takes_selligents_own_events(slug: str, stand_in: StandIn, cases: Path) -> None:
    kind = configured(slug, stand_in)
    preparation = Preparation(kind)
    lines = (cases / "selligent-events.ndjson").read_text().splitlines()
    steps = [
        preparation.prepare(event_of({"messageId": f"mail-{place}", **json.loads(line)}))
        for place, line in enumerate(lines)
    ]
    assert {"filtered"} >= {step.outcome for step in steps if isinstance(step, Stopped)}
    batch = [step for step in steps if isinstance(step, Prepared)]
    assert {"delivered"} >= {result.outcome for result in sent(kind, batch, Direct(stand_in))}


class Same:
    """The same answer, or the same trouble, for every request."""

    def __init__(self, answer: Answer | None, code: str = "") -> None:
        self._answer = answer
        self._code = code

    async def exchange(self, request: Request) -> Exchange:
        return Exchange(request, self._answer, self._code, self._code)


@pytest.mark.parametrize("slug", ADDRESSED)
def test_everything_arrives_over_the_transport_of_delivery(slug: str) -> None:
    stand_in = serving.tool(slug)
    with serving.Served(stand_in) as served:
        kind = base.configured(slug, served.settings(), Place("test", Path("unused"), lambda: NOW))

        async def delivered() -> Sequence[Result]:
            http = HttpClient(AllowedNetworks("127.0.0.0/8"))
            try:
                return await kind.send(prepared(kind, stand_in.events)[: kind.limits.events], http)
            finally:
                await http.close()

        results = asyncio.run(delivered())
        assert [] == served.failures
    assert [("delivered", "")] * len(results) == [(result.outcome, result.detail) for result in results]
    assert len(results) == len(stand_in.taken)


def test_a_stand_in_answers_the_same_over_a_real_connection() -> None:
    stand_in = serving.tool("segment")
    body = b'{"batch": [{"type": "track", "event": "A", "userId": "42", "messageId": "m-1"}]}'
    with serving.Served(stand_in) as served, httpx.Client(timeout=30) as client:
        url = f"{served.settings()['endpoint']}/batch"
        headers = {"authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()}
        assert 401 == client.post(url, json={}).status_code
        for content in (body, iter((body[:9], body[9:]))):
            answer = client.post(url, content=content, headers={**headers, "content-type": "application/json"})
            assert (200, {"success": True}) == (answer.status_code, answer.json())
        assert ["m-1"] == client.get(served.origin + serving.TAKEN).json()
        stand_in.taken = None  # type: ignore[assignment]  # so that it raises
        content = body.replace(b"m-1", b"m-2")
        assert (
            500
            == client.post(url, content=content, headers={**headers, "content-type": "application/json"}).status_code
        )
        assert ["AttributeError"] == [type(failure).__name__ for failure in served.failures]


def test_a_stand_in_in_a_process_of_its_own_ends_with_its_stdin() -> None:
    command = [sys.executable, serving.__file__ or "", "segment"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert f"http://{serving.HOST}:{started['port']}/v1" == started["settings"]["endpoint"]
        taken = f"http://{serving.HOST}:{started['port']}{serving.TAKEN}"
        assert 200 == httpx.get(taken, timeout=30).status_code
        process.stdin.close()
        assert 0 == process.wait(10)


class Believing(SegmentKind):
    """Takes every answer for a yes."""

    def results(self, outgoing: base.Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        return [base.DELIVERED] * len(outgoing.events)


@pytest.mark.parametrize("trouble", ["limited", "broken", "refused", "wrong_key"])
def test_a_kind_that_believes_every_answer_is_found_out(trouble: str) -> None:
    stand_in = serving.tool("segment")
    settings = {**stand_in.settings, **(stand_in.wrong_key if trouble == "wrong_key" else {})}
    kind = Believing(msgspec.convert(settings, SegmentKind.Settings), Place("test", Path("unused")))
    events = [*stand_in.events]
    if trouble == "refused":
        assert stand_in.refused is not None
        events.append(stand_in.refused)
    elif trouble != "wrong_key":
        setattr(stand_in, trouble, MANY)
    results = sent(kind, prepared(kind, events), Direct(stand_in))
    assert len(stand_in.taken) < [result.outcome for result in results].count("delivered")
