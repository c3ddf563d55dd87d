"""The events that are sent: those of tests/cases, cycled, each with ids, recipient and visitor of its own."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

CASES = Path(__file__).parent.parent / "tests" / "cases"
SINGLE_BYTES = 1_024
BATCH = 100
PEOPLE = 200_000

_TYPE = re.compile(rb'"type":"(track|identify|page|screen|group|alias)"')

Kind = Literal["selligent", "sdk", "single"]


def selligent() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CASES / "selligent-events.ndjson").read_bytes().splitlines()]


def sdk() -> list[dict[str, Any]]:
    """What Segment's and RudderStack's server SDKs sent in batches."""
    events: list[dict[str, Any]] = []
    for file in sorted((CASES / "client-requests").glob("*POST-v1_*.json")):
        if file.name.endswith(("v1_batch.json", "v1_import.json")):
            body = base64.b64decode(json.loads(file.read_bytes())["body_b64"])
            plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            events += [event for event in json.loads(plain)["batch"] if event.get("userId") or event.get("anonymousId")]
    return events


def single() -> list[dict[str, Any]]:
    """A click on a link in an e-mail, with a longer link, so that it has 1 KB."""
    event = next(event for event in selligent() if event["event"] == "Email Link Clicked")
    template = _template(event)
    while len(filled(template)) < SINGLE_BYTES:
        missing = SINGLE_BYTES - len(filled(template))
        event["properties"]["link_url"] += f"&token={random.Random(missing).randbytes(400).hex()}"[:missing]
        template = _template(event)
    return [event]


_EVENTS = {"selligent": selligent, "sdk": sdk, "single": single}


def _template(event: dict[str, Any]) -> bytes:
    """The event's JSON, with places for %(id)s, %(person)s and %(visitor)s."""
    marked = json.loads(json.dumps(event))
    marked["messageId"] = "\ue000id)s"
    if marked.get("userId") and marked.get("type") != "alias":
        marked["userId"] = "C-\ue000person)s"
    if marked.get("anonymousId"):
        marked["anonymousId"] = "\ue000visitor)s"
    for traits in (marked.get("traits"), (marked.get("context") or {}).get("traits")):
        if isinstance(traits, dict) and traits.get("email"):
            traits["email"] = "person\ue000person)s@example.com"
    text = json.dumps(marked, ensure_ascii=False, separators=(",", ":"))
    return text.replace("%", "%%").replace("\ue000", "%(").encode()


def filled(template: bytes) -> bytes:
    numbers = os.urandom(34).hex().encode()
    person = b"%06d" % (int(numbers[64:], 16) * PEOPLE // 65_536)
    return template % {b"id": _dashed(numbers[:32]), b"visitor": _dashed(numbers[32:64]), b"person": person}


def _dashed(digits: bytes) -> bytes:
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def events(kind: Kind) -> Iterator[bytes]:
    """For ever."""
    templates = [_template(event) for event in _EVENTS[kind]()]
    return (filled(template) for template in itertools.cycle(templates))


def path(event: bytes) -> str:
    """Where an event is posted by itself."""
    found = _TYPE.search(event)
    assert found is not None
    return f"/v1/{found[1].decode()}"


def batch(source: Iterator[bytes], count: int = BATCH) -> bytes:
    listed = b",".join(itertools.islice(source, count))
    return b'{"sentAt":"2026-11-21T22:30:00.000Z","batch":[' + listed + b"]}"


def mean_bytes(kind: Kind) -> float:
    templates: Sequence[bytes] = [_template(event) for event in _EVENTS[kind]()]
    return sum(len(filled(template)) for template in templates) / len(templates)
