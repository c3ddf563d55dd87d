"""The destination segment: events arrive as they left, in requests of a size that the receiver takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.collector import accept, incoming
from headrace.destinations import base
from headrace.destinations.base import Answer, DestinationKind, Place, Prepared, Request
from headrace.destinations.segment import BATCH_BYTES, EVENT_BYTES
from headrace.errors import ConfigError
from headrace.event import Event, decode_lines, join_lines
from headrace.sources import base as sources
from segment_events import event_of, raw
from tools.segment import RECEIVED, WRITE_KEY, Tool

FRAME = b'{"batch":[]}'
LATER = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
"""The receiver's clock: two hours after everything else."""
SENT = event_of(
    {
        "type": "track",
        "event": "Email Opened",
        "messageId": "m-1",
        "userId": "42",
        "timestamp": "2026-03-01T09:00:00.123456Z",
        "sentAt": "2026-03-01T09:07:00Z",
    }
)
ODD = msgspec.Raw(b'{"price": 1.50, "big": 123456789012345678901234567890, "a": {"b": [1e2, null]}, "t": "\\u00e9"}')


def kind(**settings: Any) -> DestinationKind:
    return base.configured("segment", {"write_key": WRITE_KEY, **settings}, Place("test", Path("unused")))


def requests(chosen: DestinationKind, events: Sequence[Event]) -> list[Request]:
    assert isinstance(chosen, base.HttpKind)
    return [outgoing.request for outgoing in chosen.requests([Prepared(event) for event in events])]


def received(request: Request, clock_skew: str) -> Event:
    """As another headrace accepts it."""
    source = sources.configured("http-api", "there", {"clock_skew": clock_skew})
    acceptance = accept.batched(incoming.batch(request.body), source, LATER, accept.Origin())
    (entry,) = decode_lines(join_lines(acceptance.lines))
    assert isinstance(entry, Event)
    return entry


@pytest.mark.parametrize("clock_skew", ["correct", "keep"])
def test_an_event_arrives_at_another_headrace_with_its_time_and_its_objects_as_they_were(clock_skew: str) -> None:
    sent = msgspec.structs.replace(SENT, properties=ODD, context=ODD, integrations=raw({"All": True}))
    (request,) = requests(kind(), [sent])
    found = received(request, clock_skew)
    arrived = msgspec.structs.replace(
        found,
        source=sent.source,
        received_at=sent.received_at,
        original_timestamp=sent.original_timestamp,
        sent_at=sent.sent_at,
    )
    assert sent == arrived


def test_the_time_would_move_by_the_wait_if_the_clients_sent_at_went_along() -> None:
    (request,) = requests(kind(), [SENT])
    sent = json.loads(request.body)
    sent["batch"][0]["sentAt"] = SENT.sent_at
    moved = received(Request("POST", request.url, {}, json.dumps(sent).encode()), "correct")
    assert LATER - (datetime.fromisoformat("2026-03-01T09:07:00Z") - SENT.timestamp) == moved.timestamp
    assert timedelta(hours=4) < moved.timestamp - SENT.timestamp


def test_the_time_stays_at_a_receiver_that_reckons_as_segment_does() -> None:
    (request,) = requests(kind(endpoint="https://api.segment.io/v1/"), [SENT])
    tool = Tool()
    assert Answer(200, {"content-type": "application/json"}, b'{"success": true}') == tool.answer(request)
    assert SENT.timestamp == tool.kept["m-1"]["timestamp"]
    assert RECEIVED == tool.kept["m-1"]["receivedAt"]


def large(count: int, size: int) -> list[Event]:
    made = [
        msgspec.structs.replace(SENT, message_id=f"m-{place:02}", properties=raw({"text": "x" * size}))
        for place in range(count)
    ]
    assert size < len(json.dumps({"text": "x" * size}))
    return made


def test_a_batch_is_split_by_bytes_in_order() -> None:
    events = large(40, 31_000)
    made = requests(kind(batch_events=2_500), events)
    assert len(made) > 1
    assert max(len(request.body) for request in made) <= BATCH_BYTES
    assert min(len(request.body) for request in made[:-1]) > BATCH_BYTES - EVENT_BYTES
    ids = [event["messageId"] for request in made for event in json.loads(request.body)["batch"]]
    assert [event.message_id for event in events] == ids


@pytest.mark.parametrize(("over", "expected"), [(0, [BATCH_BYTES]), (1, [BATCH_BYTES - 1_000, 1_012])])
def test_requests_fill_up_to_the_last_byte(over: int, expected: list[int]) -> None:
    def sized(count: int, size: int) -> list[Event]:
        (alone,) = requests(kind(), large(1, 1))
        return large(count, size - (len(alone.body) - len(FRAME) - 1))

    events = [*sized(20, 24_000), *sized(1, BATCH_BYTES - len(FRAME) - 20 * 24_001 - 1_000), *sized(1, 999 + over)]
    assert expected == [len(request.body) for request in requests(kind(), events)]


@pytest.mark.parametrize(("over", "refused"), [(0, []), (1, [1])])
def test_an_event_that_is_too_large_fails_with_both_sizes_and_its_neighbours_go(over: int, refused: list[int]) -> None:
    chosen = kind()
    assert isinstance(chosen, base.HttpKind)
    (alone,) = requests(chosen, large(1, 1))
    fixed = len(alone.body) - len(FRAME) - 1
    events = [SENT, *large(1, EVENT_BYTES - fixed + over), SENT]
    batch = [Prepared(event) for event in events]
    refusals = chosen.refusals(batch)
    assert refused == list(refusals)
    assert 3 - len(refused) == sum(len(outgoing.events) for outgoing in chosen.requests(batch))
    for result in refusals.values():
        assert "PAYLOAD_VALIDATION_FAILED" == result.code
        assert "the event has 32,769 bytes as it is sent; the receiver takes 32,768" == result.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "\x01" * 5_500},
        {"user_id": "é" * 16_500, "anonymous_id": None},
        {"context": raw({"page": "x" * 33_000})},
        {"name": "x" * 33_000},
    ],
)
def test_whatever_makes_an_event_too_large_is_seen(changes: dict[str, Any]) -> None:
    chosen = kind()
    assert isinstance(chosen, base.HttpKind)
    assert [0] == list(chosen.refusals([Prepared(msgspec.structs.replace(SENT, **changes))]))


def test_an_answer_too_long_to_be_read_makes_each_event_say_its_own() -> None:
    chosen = kind()
    assert isinstance(chosen, base.HttpKind)
    batch = [Prepared(event) for event in large(2, 1)]
    answer = Answer(200, {}, b'{"success": true, "rejected": [{"index": 0, "messag', is_cut=True)
    for count, expected in ((2, ("failed", True)), (1, ("retry", False))):
        (outgoing,) = chosen.requests(batch[:count])
        found = chosen.results(outgoing, batch, answer)
        assert [expected] * count == [(result.outcome, result.is_whole_request) for result in found]


@pytest.mark.parametrize(("wanted", "expected"), [(0, 100), (7, 7), (2_500, 2_500), (9_999, 2_500)])
def test_a_request_has_a_hundred_events_unless_the_settings_say_otherwise(wanted: int, expected: int) -> None:
    assert expected == kind(batch_events=wanted).limits.events


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "api.segment.io/v1"},
        {"endpoint": "ftp://api.segment.io/v1"},
        {"endpoint": "https://"},
        {"endpoint": "https://api.segment.io/v1?x=1"},
        {"write_key": " "},
        {"write_key": "a\r\nx-evil: 1"},
        {"write_key": "clé"},
    ],
)
def test_settings_that_cannot_work_are_refused_without_the_key(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert "evil" not in str(caught.value)
    assert "clé" not in str(caught.value)
