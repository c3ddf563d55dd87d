"""The JSON examples of the documentation that these events are specified in: each lands, or is refused with its code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oracle import events_of, faults, refusals, stored
from server import Server

CASES = Path(__file__).parents[1] / "cases"
EXAMPLES = json.loads((CASES / "tracking-api-examples.json").read_text())["examples"]


def examples() -> list[tuple[str, dict[str, Any]]]:
    """(place in the documentation, event). Each gets a messageId of its own: the documentation repeats one for six events."""
    return [
        (f"{Path(example['file']).name}:{example['line']}", example["json"] | {"messageId": f"example-{number}"})
        for number, example in enumerate(EXAMPLES)
    ]


def door(event: dict[str, Any]) -> str:
    return f"/v1/{event.get('type') or event.get('action') or 'track'}"


def test_each_example_alone_lands_or_is_refused_with_its_code(shared_server: Server) -> None:
    source = shared_server.add_source("examples alone")
    wrong = []
    accepted = []
    for place, event in examples():
        answer = shared_server.post(door(event), event, source)
        codes = refusals(door(event).removeprefix("/v1/"), event)
        if codes and (answer.status, answer.json.get("code") in codes) != (400, True):
            wrong.append(f"{place}: {answer.status} {answer.body!r}, expected 400 with one of {codes}")
        if not codes and answer.status != 200:
            wrong.append(f"{place}: {answer.status} {answer.body!r}, expected 200")
        accepted += [] if codes else events_of(door(event), event)
    assert [] == wrong
    found = stored(shared_server, source.schema, source.slug)
    assert {
        f"example-{n}" for n, (_, event) in enumerate(examples()) if refusals(door(event).removeprefix("/v1/"), event)
    } == {row["message_id"] for row in found.rejected}
    assert [] == faults(accepted, found._replace(rejected=[]))


def test_all_examples_in_one_batch_keep_the_good_and_name_the_bad(shared_server: Server) -> None:
    source = shared_server.add_source("examples in a batch")
    batch = {
        "batch": [event for _, event in examples()],
        "sentAt": "2026-08-03T09:42:00.000Z",
        "context": {"direct": False, "batch_level": 7},
    }
    answer = shared_server.post("/v1/batch", batch, source)
    assert answer.status == 200
    codes_by_index = {n: codes for n, (_, event) in enumerate(examples()) if (codes := refusals(None, event))}
    rejected = {entry["index"]: entry for entry in answer.json["rejected"]}
    assert codes_by_index.keys() == rejected.keys()
    assert [] == [
        entry
        for n, entry in rejected.items()
        if entry["code"] not in codes_by_index[n] or entry["messageId"] != f"example-{n}"
    ]
    found = stored(shared_server, source.schema, source.slug)
    assert {f"example-{n}" for n in codes_by_index} == {row["message_id"] for row in found.rejected}
    good = [event for n, event in enumerate(events_of("/v1/batch", batch)) if n not in codes_by_index]
    assert [] == faults(good, found._replace(rejected=[]))


def test_both_outcomes_are_among_the_examples() -> None:
    outcomes = [bool(refusals(None, event)) for _, event in examples()]
    assert (79, True, True) == (len(outcomes), any(outcomes), not all(outcomes))


@pytest.mark.parametrize("kind", ["selligent-marketing-cloud", "selligent"])
def test_every_event_of_selligent_is_in_the_tables_once(shared_server: Server, kind: str) -> None:
    source = shared_server.add_source(f"examples of {kind}", kind)
    events = [json.loads(line) for line in (CASES / "selligent-events.ndjson").read_text().splitlines()]
    for event in events:
        assert shared_server.post("/v1/track", event, source).status == 200
    sent = [found for event in events for found in events_of("/v1/track", event)]
    found = stored(shared_server, source.schema, source.slug)
    assert [] == faults(sent, found, corrects_clock=False)
    kinds = {
        "email_delivered",
        "email_opened",
        "email_link_clicked",
        "email_unsubscribed",
        "email_bounced",
        "email_marked_as_spam",
    }
    assert {table: 2 for table in kinds} == {table: len(rows) for table, rows in found.tables.items() if table in kinds}  # noqa: C420 - reads as what it is
