"""Where a recipient's IP and user agent go: to the fields that a tool documents for them, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from headrace.delivery.preparing import Preparation
from headrace.destinations import base
from headrace.destinations.base import Place, Prepared
from segment_events import event_of, moment_of
from tools import serving

NOW: Final = moment_of("2026-03-01T12:00:05Z")
IP: Final = "203.0.113.77"
AGENT: Final = "Mozilla/5.0 (of the recipient)"
FIELDS_BY_SLUG: Final[Mapping[str, set[str]]] = {
    "amplitude": {"ip"},
    "mixpanel": {"ip"},
    "google-analytics-4": {"ip_override", "user_agent"},
    "customer-io": set(),
}


def fields_with(value: Any, field: str = "") -> Iterator[str]:
    """The names of the fields in which the IP or the user agent stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from fields_with(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from fields_with(inner, field)
    elif isinstance(value, str) and (IP in value or AGENT in value):
        yield field


def told(slug: str, mapping: Mapping[str, Any]) -> set[str]:
    """The fields of all requests for the stand-in's own events, each with IP and user agent, in which either stands."""
    tool = serving.tool(slug)
    kind = base.configured(slug, {**tool.settings, "mapping": mapping}, Place("test", Path("unused"), lambda: NOW))
    preparation = Preparation(kind)
    context = {"ip": IP, "userAgent": AGENT, "traits": {"email": "ada@example.com"}}
    steps = [preparation.prepare(event_of({**event, "context": context})) for event in tool.events]
    http = serving.Direct(tool)
    asyncio.run(kind.send([step for step in steps if isinstance(step, Prepared)], http))
    found = set()
    for exchange in http.exchanges:
        assert not any(
            IP in text or AGENT in text for text in (exchange.request.url, *exchange.request.headers.values())
        )
        found |= set(fields_with(json.loads(exchange.request.body)))
    return found


@pytest.mark.parametrize("slug", FIELDS_BY_SLUG)
def test_ip_and_user_agent_go_to_their_documented_fields_alone(slug: str) -> None:
    assert FIELDS_BY_SLUG[slug] == told(slug, {})


def test_a_mapping_that_tells_more_is_found() -> None:
    """The control."""
    mapping = {"track": {"event_properties.context": "context"}}
    assert {"ip", "userAgent"} == told("amplitude", mapping)
