"""Odd events and odd answers: whatever a customer sends and a tool says, a kind neither raises nor loses an event.

Events and answers are drawn by chance from values that have been trouble before; a failure names the seed that shows it again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from depth import depth
from headrace.delivery.preparing import Preparation
from headrace.destinations import base
from headrace.destinations.base import (
    CODES,
    Answer,
    DestinationKind,
    Exchange,
    Http,
    HttpKind,
    Outgoing,
    Place,
    Prepared,
    Request,
    Result,
)
from segment_events import event_of, moment_of
from tools import serving

ROUNDS: Final = depth(12, 400)
LOST: Final = "the tool has no request for this event"
NOW: Final = moment_of("2026-03-01T12:00:05Z")
NAMES: Final = (
    *("email", "phone", "firstName", "company", "name", "address", "city", "currency", "products", "price", "quantity"),
    *(
        "product_id",
        "sku",
        "total",
        "revenue",
        "value",
        "gender",
        "birthday",
        "title",
        "$x",
        "a b",
        "ünï",
        "",
        "42",
        "url",
    ),
    *("text", "channel", "external_id", "properties", "traits", "matchkey", "userlist"),
)
SCALARS: Final = (
    *(None, True, False, 0, 1, -1, 2.5, 1e300, 10**25, "", "x", "tom@example.org", "+15005550006", "EUR", "1", "<&>"),
    *("x" * 300, "2026-03-01", "male", "2026-03-01T12:00:00Z"),
)


class Chance(random.Random):
    """Draws of events and answers."""

    def value(self, level: int = 0) -> Any:
        kind = self.random()
        if level < 3 and kind < 0.15:
            return {self.choice(NAMES): self.value(level + 1) for _ in range(self.randint(0, 4))}
        if level < 3 and kind < 0.3:
            return [self.value(level + 1) for _ in range(self.randint(0, 3))]
        return self.choice(SCALARS)

    def event(self, number: int) -> Mapping[str, Any]:
        kind = self.choice(("track", "identify", "page", "screen", "group", "alias"))
        sent: dict[str, Any] = {
            "type": kind,
            "messageId": self.choice((f"m-{number}", "m-again", "x" * 400)),
            "traits" if kind in ("identify", "group") else "properties": {
                name: self.value() for name in self.sample(NAMES, self.randint(0, 10))
            },
        }
        for field, likely, values in (
            ("userId", 0.6, ("42", "ünï", "tom@example.org", " ")),
            ("anonymousId", 0.6, ("a-1", "tom@example.org")),
            ("groupId", 0.5, ("acme",)),
            ("previousId", 0.5, ("a-1",)),
            ("name", 0.5, ("Home",)),
            (
                "event",
                0.9 if kind == "track" else 0.0,
                ("Order Completed", "Email Opened", "!!!", "é", "pe77_x", "y" * 200),
            ),
        ):
            if self.random() < likely:
                sent[field] = self.choice(values)
        if self.random() < 0.6:
            sent["context"] = {"traits": self.value()}
        return sent

    def answer(self) -> Answer:
        says: dict[str, Any] = {
            name: self.choice(("success", "ok", True, False, 200, self.value()))
            for name in ("message", "ok", "status", "code", "success", "result_code")
        }
        says["errors"] = says["rejected"] = [
            {
                **{name: self.value() for name in ("type", "detail", "message", "error", "code", "reason")},
                "index": self.choice((0, 1, 5, -1, "x", True, None)),
                "input_array": self.choice(("events", "attributes", 1)),
                "context": {"objectWriteTraceId": self.value()},
                "source": {"pointer": self.choice(("/data/attributes/profiles/data/0", "/data/0", self.value()))},
            }
            for _ in range(self.randint(0, 3))
        ]
        says["results"] = says["failed_records"] = [{"objectWriteTraceId": self.value(), "index": self.value()}]
        body = self.choice((b"", b"ok", b"{}", json.dumps(says).encode(), json.dumps(says).encode()))
        status = self.choice((200, 200, 201, 202, 204, 207, 400, 400, 404, 409, 410, 413, 422, 423, 429, 477, 500))
        headers = self.choice(({}, {"retry-after": "x"}, {"x-ratelimit-reset": "99"}, {"retry-after": "3"}))
        return Answer(status, headers, body, is_cut=self.random() < 0.1)


class Moody:
    """Answers by chance; each request is at least well-formed."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    async def exchange(self, request: Request) -> Exchange:
        request.body.decode()
        assert request.url.isprintable()
        assert all(value.isprintable() and value.isascii() for value in request.headers.values())
        return Exchange(request, self._chance.answer())


def faults(kind: DestinationKind, batch: Sequence[Prepared], http: Http) -> list[str]:
    results = asyncio.run(kind.send(batch, http))
    if len(results) != len(batch):
        return [f"{len(batch)} events, {len(results)} results"]
    return [f"{prepared.event}: {result}" for prepared, result in zip(batch, results, strict=True) if is_odd(result)]


def is_odd(result: Result) -> bool:
    has_code = result.code in CODES if result.code else result.outcome == "delivered"
    return not has_code or result.detail == LOST or (result.outcome == "delivered") != (not result.code)


def batch_of(kind: DestinationKind, chance: Chance) -> Sequence[Prepared]:
    preparation = Preparation(kind)
    steps = [preparation.prepare(event_of(chance.event(number))) for number in range(chance.randint(1, 30))]
    return [step for step in steps if isinstance(step, Prepared)][: kind.limits.events]


def configured(slug: str) -> DestinationKind:
    return base.configured(slug, serving.tool(slug).settings, Place("test", Path("unused"), lambda: NOW))


@pytest.mark.parametrize("slug", serving.SLUGS)
def test_a_kind_neither_raises_nor_loses_an_event(slug: str) -> None:
    for seed in range(ROUNDS):
        chance = Chance(f"{slug} {seed}")
        kind = configured(slug)
        batch = batch_of(kind, chance)
        if batch:
            assert [] == faults(kind, batch, Moody(chance)), f"seed {seed}"


def test_a_kind_that_loses_an_event_is_found() -> None:
    class Forgetful(HttpKind):
        title = "Forgetful"

        def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
            return [Outgoing(Request("POST", "https://example.com"), range(1, len(batch)))]

    chance = Chance("forgetful")
    kind = Forgetful(base.DestinationSettings(), Place("test", Path("unused"), lambda: NOW))
    batch = [Prepared(event_of(chance.event(number))) for number in range(3)]
    assert faults(kind, batch, Moody(chance))
