"""The contract of a source, over every kind that the catalogue finds: its cases come out as its file says.

A line of tests/cases/sources/<slug>.ndjson is {"sent": event, "becomes": {field: value}} or {"sent": event, "refused": code}.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.collector import accept
from headrace.collector.accept import Origin
from headrace.event import Event, LogEntry, RejectedEvent, decode_lines, join_lines
from headrace.sources import base

CASES = Path(__file__).parents[1] / "cases" / "sources"
NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


def cases() -> list[Any]:
    found = []
    for slug in base.kinds():
        file = CASES / f"{slug}.ndjson"
        lines = file.read_text().splitlines() if file.exists() else []
        found += [pytest.param(slug, json.loads(line), id=f"{slug}-{number}") for number, line in enumerate(lines, 1)]
    return found


def judged(slug: str, sent: Any) -> LogEntry:
    source = base.configured(slug, "own", {})
    return decode_lines(join_lines(accept.single(json.dumps(sent).encode(), None, source, NOW, Origin()).lines))[0]


@pytest.mark.parametrize("slug", list(base.kinds()))
def test_every_kind_brings_cases(slug: str) -> None:
    assert (CASES / f"{slug}.ndjson").exists(), f"write tests/cases/sources/{slug}.ndjson"


@pytest.mark.parametrize(("slug", "case"), cases())
def test_a_case_comes_out_as_its_file_says(slug: str, case: dict[str, Any]) -> None:
    entry = judged(slug, case["sent"])
    if "refused" in case:
        assert isinstance(entry, RejectedEvent)
        assert case["refused"] == entry.code
    else:
        assert isinstance(entry, Event), entry
        fields = msgspec.json.decode(msgspec.json.encode({name: getattr(entry, name) for name in case["becomes"]}))
        assert case["becomes"] == fields


@pytest.mark.parametrize(("slug", "case"), cases())
def test_the_same_event_comes_out_the_same_again(slug: str, case: dict[str, Any]) -> None:
    if "becomes" in case and case["sent"].get("messageId"):
        assert judged(slug, case["sent"]) == judged(slug, case["sent"])
