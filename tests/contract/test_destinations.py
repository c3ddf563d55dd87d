"""Every kind of destination over its cases: events in -> requests out, answers in -> results out.

A case is a file tests/cases/destinations/<kind>/<name>.json:

    about     what it shows, a sentence; origin: the address of the tool's documentation for it
    settings  of the kind; secrets are made-up ones
    now       the clock; 2026-03-01T12:00:05Z where it is absent
    events    in Segment's form (tests/segment_events.py)
    requests  method, url, headers (those that matter, small letters), and json, lines (one JSON a line), form or text
    answers   one for each request: status, headers, json or text
    results   one for each event: outcome, and code and detail where they matter

A kind that speaks no HTTP has tests of its own, and `about`-only cases are not accepted from anybody.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest

from headrace.catalog import declared_settings
from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations.base import (
    CODES,
    Answer,
    DestinationKind,
    Exchange,
    HttpKind,
    Place,
    Prepared,
    Request,
    Result,
)
from headrace.event import EVENT_TYPES
from segment_events import event_of, moment_of

CASES: Final = Path(__file__).parent.parent / "cases" / "destinations"
FILES: Final = sorted(CASES.glob("*/*.json"))
KINDS: Final = sorted(base.kinds().items())
HTTP_KINDS: Final = [slug for slug, kind in KINDS if issubclass(kind, HttpKind)]
NOW: Final = "2026-03-01T12:00:05Z"


class Scripted:
    """Answers in the order of the case, and keeps what was asked."""

    def __init__(self, answers: Sequence[Mapping[str, Any]]) -> None:
        self.requests: list[Request] = []
        self._answers = [answer_of(answer) for answer in answers]

    async def exchange(self, request: Request) -> Exchange:
        self.requests.append(request)
        return Exchange(request, self._answers[len(self.requests) - 1])


def answer_of(given: Mapping[str, Any]) -> Answer:
    body = json.dumps(given["json"]).encode() if "json" in given else given.get("text", "").encode()
    return Answer(given["status"], given.get("headers", {}), body)


def instance(slug: str, case: Mapping[str, Any]) -> DestinationKind:
    now = moment_of(case.get("now", NOW))
    return base.configured(slug, case.get("settings", {}), Place("test", Path("unused"), lambda: now))


def shown(request: Request, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of the request the case speaks of."""
    found: dict[str, Any] = {"method": request.method, "url": request.url}
    if "headers" in wanted:
        found["headers"] = {name: request.headers.get(name) for name in wanted["headers"]}
    if "json" in wanted:
        found["json"] = json.loads(request.body)
    if "lines" in wanted:
        found["lines"] = [json.loads(line) for line in request.body.splitlines()]
    if "form" in wanted:
        found["form"] = dict(parse_qsl(request.body.decode()))
    if "text" in wanted:
        found["text"] = request.body.decode()
    return found


def shown_result(result: Result | Stopped, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(result, name) for name in wanted}


async def outcomes(kind: DestinationKind, case: Mapping[str, Any], http: Scripted) -> list[Result | Stopped]:
    preparation = Preparation(kind)
    steps = [preparation.prepare(event_of(sent)) for sent in case["events"]]
    batch = [step for step in steps if isinstance(step, Prepared)]
    results = iter(await kind.send(batch, http) if batch else ())
    return [next(results) if isinstance(step, Prepared) else step for step in steps]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_events_become_the_requests_of_the_case_and_its_answers_the_results(file: Path) -> None:
    case = json.loads(file.read_text())
    http = Scripted(case.get("answers", ()))
    kind = instance(file.parent.name, case)
    results = asyncio.run(outcomes(kind, case, http))
    wanted = case["requests"]
    assert wanted == [
        shown(request, wanted[place] if place < len(wanted) else {}) for place, request in enumerate(http.requests)
    ]
    assert case["results"] == [
        shown_result(result, case["results"][place])
        for place, result in enumerate(results)
        if place < len(case["results"])
    ]
    assert len(case["events"]) == len(case["results"])
    assert {result.code for result in results if result.code} <= CODES.keys()
    assert case["about"].endswith(".")
    assert case["origin"].startswith(("https://", "spec/"))


@pytest.mark.parametrize("slug", HTTP_KINDS)
def test_a_kind_has_cases_of_what_it_sends_and_of_what_the_tool_refuses(slug: str) -> None:
    results = [
        result for file in FILES if file.parent.name == slug for result in json.loads(file.read_text())["results"]
    ]
    assert {"delivered", "failed", "retry"} <= {result["outcome"] for result in results}


def test_cases_belong_to_kinds() -> None:
    assert {file.parent.name for file in FILES} <= set(base.kinds())


@pytest.mark.parametrize(("slug", "kind"), KINDS, ids=[slug for slug, _ in KINDS])
class TestEntry:
    """What the catalogue says of a kind."""

    def test_it_has_words(self, slug: str, kind: type[DestinationKind]) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
        assert all(text and text.strip() == text for text in (kind.title, kind.summary, kind.tried, kind.drops_repeats))
        assert kind.summary.endswith(".")
        assert kind.drops_repeats.endswith(".")
        assert kind.docs_url.startswith("https://")

    def test_it_describes_every_setting(self, slug: str, kind: type[DestinationKind]) -> None:
        assert [] == [setting.name for setting in declared_settings(kind.Settings) if not setting.description], slug

    def test_its_secrets_are_declared_secret(self, slug: str, kind: type[DestinationKind]) -> None:
        telling = re.compile(r"(^|_)(secret|password|token|key)$")
        settings = [setting for setting in declared_settings(kind.Settings) if telling.search(setting.name)]
        assert [] == [setting.name for setting in settings if not setting.is_secret], slug

    def test_its_types_and_mappings_are_of_events_that_there_are(self, slug: str, kind: type[DestinationKind]) -> None:
        assert kind.types <= EVENT_TYPES, slug
        assert kind.types
        assert kind.mapping.keys() <= kind.types | {"*"}
        assert kind.required.keys() <= kind.types | {"*"}


def test_titles_are_unique() -> None:
    titles = [kind.title for _, kind in KINDS]
    assert len(titles) == len(set(titles))
