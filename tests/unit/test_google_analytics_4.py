"""What the Measurement Protocol keeps silent about: the rules of names and values, and the validation server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from headrace.delivery.preparing import Preparation
from headrace.destinations import _google_analytics_4_rules as rules
from headrace.destinations import base
from headrace.destinations.base import Answer, Exchange, Place, Prepared, Request, Result
from segment_events import event_of, moment_of
from tools import serving
from tools.google_analytics_4 import Tool

NOW: Final = moment_of("2026-03-01T12:00:05Z")
WRONG_TIME: Final = {"mapping": {"track": {"timestamp_micros": {"constant": 1}}}}
"""Something that only the validation server notices."""


def sent(http: base.Http, settings: Mapping[str, Any], count: int = 3) -> list[Result]:
    kind = base.configured(
        "google-analytics-4", {**Tool.settings, **settings}, Place("test", Path("unused"), lambda: NOW)
    )
    preparation = Preparation(kind)
    steps = [
        preparation.prepare(event_of({"type": "track", "event": "A", "messageId": f"m-{number}", "userId": "42"}))
        for number in range(count)
    ]
    return list(asyncio.run(kind.send([step for step in steps if isinstance(step, Prepared)], http)))


def test_what_the_protocol_drops_in_silence_fails_with_the_validation_servers_words() -> None:
    tool = Tool()
    results = sent(serving.Direct(tool), {**WRONG_TIME, "validate": True})
    assert [("failed", "MESSAGE_REJECTED")] * 3 == [(result.outcome, result.code) for result in results]
    assert ["invalid timestamp" in result.detail for result in results] == [True] * 3
    assert [] == tool.taken


def test_without_the_validation_server_it_is_called_delivered_and_gone() -> None:
    """The control, and the reason for `validate`."""
    tool = Tool()
    assert ["delivered"] * 3 == [result.outcome for result in sent(serving.Direct(tool), WRONG_TIME)]
    assert [] == tool.taken


def test_the_validation_server_alone_stores_nothing_and_then_the_events_go() -> None:
    tool = Tool()
    http = serving.Direct(tool)
    assert ["delivered"] * 3 == [result.outcome for result in sent(http, {"validate": True})]
    assert ["/debug/mp/collect", "/mp/collect"] == [
        exchange.request.url.partition(".com")[2].partition("?")[0] for exchange in http.exchanges
    ]
    assert 3 == len(tool.taken)


class Same:
    def __init__(self, answer: Answer) -> None:
        self.urls: list[str] = []
        self._answer = answer

    async def exchange(self, request: Request) -> Exchange:
        self.urls.append(request.url)
        return Exchange(request, self._answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"validationMessages": 7}',
        b"[" * 5_000,
        b'{"validationMessages": [{"description": "Event at index: [77] has invalid name"}]}',
    ],
)
def test_an_odd_answer_of_the_validation_server_lets_nothing_through(body: bytes) -> None:
    http = Same(Answer(200, {}, body))
    assert {"retry", "failed"} >= {result.outcome for result in sent(http, {"validate": True})}
    assert all("/debug/" in url for url in http.urls)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Email Link Clicked", "email_link_clicked"),
        ("  Order-Completed! ", "order_completed"),
        ("viewItem", "viewitem"),
        ("Öffnung", "ffnung"),
        ("注文", ""),
    ],
)
def test_names_become_letters_digits_and_underscores(name: str, expected: str) -> None:
    assert expected == rules.event_name(name)


def test_a_name_of_which_nothing_is_left_is_refused_and_not_sent_without_one() -> None:
    assert isinstance(rules.made_event("", {}, NOW), str)


def test_an_event_of_exactly_72_hours_is_sent_and_an_older_one_is_not() -> None:
    assert not isinstance(rules.made_event("a", {"timestamp_micros": "2026-02-26T12:00:05.000Z"}, NOW), str)
    assert isinstance(rules.made_event("a", {"timestamp_micros": "2026-02-26T12:00:04.999Z"}, NOW), str)


def test_an_id_that_is_no_pair_of_numbers_becomes_the_same_pair_each_time() -> None:
    ids = [rules.client_id(value) for value in ("ada@example.com", "ada@example.com", "bo@example.com", "12.34", "0.1")]
    assert ids[0] == ids[1]
    assert 4 == len(set(ids))
    assert "12.34" == ids[3]
    assert all(rules.client_id(made) == made for made in ids)


def test_an_event_that_is_larger_than_a_request_is_refused_since_nobody_would_say_so() -> None:
    tool = Tool()
    items = [{"item_id": "x" * 1_000} for _ in range(140)]
    results = sent(serving.Direct(tool), {"mapping": {"track": {"params.items": {"constant": items}}}}, count=1)
    assert ["PAYLOAD_VALIDATION_FAILED"] == [result.code for result in results]
