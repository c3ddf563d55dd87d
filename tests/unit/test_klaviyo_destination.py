"""What a case file of Klaviyo would be too large for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.delivery.preparing import Preparation
from headrace.destinations import base
from headrace.destinations.base import Answer, HttpKind, Outgoing, Place, Prepared
from headrace.destinations.klaviyo import EVENT, EVENTS, MOST_BYTES, MOST_EVENTS
from segment_events import event_of, moment_of

NOW = moment_of("2026-03-01T12:00:05Z")


def klaviyo() -> HttpKind:
    kind = base.configured("klaviyo", {"api_key": "made-up"}, Place("test", Path("unused"), lambda: NOW))
    assert isinstance(kind, HttpKind)
    return kind


def prepared(kind: HttpKind, events: int, characters: int) -> Sequence[Prepared]:
    preparation = Preparation(kind)
    text = "x" * characters
    steps = [
        preparation.prepare(
            event_of(
                {"type": "track", "event": "A", "messageId": f"m-{number}", "userId": "42", "properties": {"a": text}}
            )
        )
        for number in range(events)
    ]
    return [step for step in steps if isinstance(step, Prepared)]


def shapes(requests: Sequence[Outgoing]) -> Sequence[tuple[str, int]]:
    return [(outgoing.request.url.removeprefix("https://a.klaviyo.com"), len(outgoing.events)) for outgoing in requests]


def test_a_batch_of_more_than_five_megabytes_is_several_requests() -> None:
    kind = klaviyo()
    batch = prepared(kind, 61, 99_000)
    requests = kind.requests(batch)
    assert [(EVENTS, 50), (EVENTS, 11)] == shapes(requests)
    assert all(len(outgoing.request.body) <= MOST_BYTES for outgoing in requests)
    assert list(range(61)) == [place for outgoing in requests for place in outgoing.events]


def test_a_thousand_events_are_one_request_and_one_more_is_another() -> None:
    kind = klaviyo()
    batch = prepared(kind, MOST_EVENTS + 1, 10)
    assert [(EVENTS, MOST_EVENTS)] == shapes(kind.requests(batch[:MOST_EVENTS]))
    assert [(EVENTS, MOST_EVENTS), (EVENT, 1)] == shapes(kind.requests(batch))


def test_a_pointer_is_counted_from_the_beginning_of_its_own_request() -> None:
    kind = klaviyo()
    batch = prepared(kind, 61, 99_000)
    second = kind.requests(batch)[1]
    pointer = "/data/attributes/events-bulk-create/data/3/attributes/profile"
    body = b'{"errors": [{"detail": "no", "source": {"pointer": "%s"}}]}' % pointer.encode()
    results = kind.results(second, batch, Answer(400, {}, body))
    told = [place for place, result in zip(second.events, results, strict=True) if result.code == "MESSAGE_REJECTED"]
    assert [53] == told
    assert all(result.is_whole_request for result in results if result.code != "MESSAGE_REJECTED")
