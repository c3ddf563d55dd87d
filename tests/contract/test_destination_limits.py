"""Batches that are larger than a tool's request are cut; the stand-ins hold to the documented limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from headrace.delivery.preparing import Preparation
from headrace.destinations import base
from headrace.destinations._portions import portions
from headrace.destinations.base import Place, Prepared
from segment_events import event_of, moment_of
from tools import serving

NOW: Final = moment_of("2026-03-01T12:00:05Z")
# slug, events, characters of a property in each, requests at least
LARGE: Final = (
    ("amplitude", 30, 100_000, 4),
    ("mixpanel", 30, 100_000, 2),
    ("google-analytics-4", 60, 10, 3),
    ("customer-io", 60, 10_000, 2),
)


def event(number: int, characters: int) -> Mapping[str, Any]:
    return {
        "type": "track",
        "event": "Email Opened",
        "messageId": f"m-{number}",
        "userId": "42",
        "properties": {"text": "x" * characters, "number": number},
    }


def prepared(kind: base.DestinationKind, events: int, characters: int) -> list[Prepared]:
    preparation = Preparation(kind)
    steps = [preparation.prepare(event_of(event(number, characters))) for number in range(events)]
    return [step for step in steps if isinstance(step, Prepared)]


@pytest.mark.parametrize(("slug", "events", "characters", "requests"), LARGE)
def test_a_large_batch_goes_in_several_requests_and_each_event_once(
    slug: str, events: int, characters: int, requests: int
) -> None:
    tool = serving.tool(slug)
    kind = base.configured(slug, tool.settings, Place("test", Path("unused"), lambda: NOW))
    http = serving.Direct(tool)
    results = asyncio.run(kind.send(prepared(kind, events, characters), http))
    assert ["delivered"] * events == [result.outcome for result in results]
    assert requests <= len(http.exchanges)
    assert events == len(tool.taken) == len(set(tool.taken))


@pytest.mark.parametrize(("slug", "events", "characters", "requests"), LARGE)
def test_the_same_batch_in_one_request_is_refused(
    slug: str, events: int, characters: int, requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the stand-in does hold to its limits."""
    del requests
    tool = serving.tool(slug)
    kind = base.configured(slug, tool.settings, Place("test", Path("unused"), lambda: NOW))
    module = __import__(type(kind).__module__, fromlist=["portions"])
    monkeypatch.setattr(module, "portions", lambda sizes, *_: [range(len(sizes))])
    asyncio.run(kind.send(prepared(kind, events, characters), serving.Direct(tool)))
    assert [] == tool.taken


@pytest.mark.parametrize(
    ("sizes", "most", "most_bytes", "expected"),
    [
        ([], 2, 9, []),
        ([1, 1, 1], 2, 9, [range(2), range(2, 3)]),
        ([4, 4], 9, 9, [range(2)]),
        ([4, 5], 9, 9, [range(1), range(1, 2)]),
        ([20, 1], 9, 9, [range(1), range(1, 2)]),
    ],
)
def test_portions_keep_to_both_limits(sizes: list[int], most: int, most_bytes: int, expected: list[range]) -> None:
    assert expected == list(portions(sizes, most, most_bytes))
