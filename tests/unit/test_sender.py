"""A sender loses nothing, says so when it cannot send, and sends nothing twice under two ids."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.simulator.answers import Again, Refusal, Refused, Stored, Useless, Verdict, verdict
from headrace.simulator.batches import BATCH_BYTES
from headrace.simulator.pace import Pace
from headrace.simulator.sender import Problem, Sender
from scripted import OK, Reply, Request, ScriptedServer

KEY = "the-write-key"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BUSY = Reply(429, {"success": False, "code": "too_many_requests"}, (("Retry-After", "2"),))
DOWN = Reply(503, {"success": False, "code": "internal"}, (("Retry-After", "3"),))
DROPPED = Reply(0)
STORED_YET_DROPPED = Reply(0, stored=True)


def events(count: int, **fields: Any) -> list[bytes]:
    return [
        json.dumps({"type": "track", "event": "Tested", "userId": "u", "messageId": f"m-{n}", **fields}).encode()
        for n in range(count)
    ]


def ids(request: Request) -> list[str]:
    return [event["messageId"] for event in request.events]


Start = Callable[..., ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Start]:
    started: list[ScriptedServer] = []

    def start(*replies: Reply) -> ScriptedServer:
        started.append(ScriptedServer(replies).__enter__())
        return started[-1]

    yield start
    for server in started:
        server.__exit__(None, None, None)


class Naps(list[float]):
    """Stands in for sleeping."""

    def sleep(self, seconds: float) -> None:
        self.append(seconds)


def test_batches_go_out_gzipped_with_the_key_as_user_name(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY, batch_events=100) as sender:
        totals = sender.send(events(250))
    assert (250, 250, 250, 0, 0, 0) == (
        totals.read,
        totals.sent,
        totals.accepted,
        totals.rejected,
        totals.failed,
        totals.retried,
    )
    assert totals.complete
    assert Counter({"Tested": 250}) == totals.by_name
    assert {("/v1/batch", f"{KEY}:")} == {(request.path, request.key) for request in server.requests}
    assert [50, 100, 100] == sorted(len(request.events) for request in server.requests)


def test_connections_are_kept_and_few(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY, batch_events=5, connections=3) as sender:
        sender.send(events(200))
    assert 3 >= len({request.connection for request in server.requests})


def test_no_body_exceeds_the_limit(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY, batch_events=2_500) as sender:
        totals = sender.send(events(400, properties={"text": "x" * 5_000}))
    assert totals.complete
    assert BATCH_BYTES >= max(request.size for request in server.requests)
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("failure", "wait"), [(BUSY, 2.0), (DOWN, 3.0), (DROPPED, 0.0), (Reply(408), 0.0), (Reply(410), 0.0)]
)
def test_a_passing_failure_is_waited_out_and_the_same_sent_again(serve: Start, failure: Reply, wait: float) -> None:
    server, naps = serve(failure, failure), Naps()
    with Sender(server.url, KEY, sleep=naps.sleep) as sender:
        totals = sender.send(events(3))
    assert totals.complete
    assert 3 == totals.retried
    assert [["m-0", "m-1", "m-2"]] * 3 == [ids(request) for request in server.requests]
    assert [True, True] == [nap >= wait for nap in naps]


def test_an_event_without_id_has_one_before_the_first_try(serve: Start) -> None:
    """The first answer is lost after the events were stored: only the id can tell that the second try is no news."""
    server = serve(STORED_YET_DROPPED)
    bare = [
        b'{"type":"track","event":"A","userId":"u"}',
        b'{"messageId":null,"event":"B"}',
        b'{"messageId":" "}',
        b"{}",
    ]
    with Sender(server.url, KEY, sleep=Naps().sleep) as sender:
        sender.send(bare)
    first, second = map(ids, server.requests)
    assert first == second
    assert len(bare) == len(set(first))
    assert 2 * len(bare) == len(server.stored)
    assert len(bare) == len({event["messageId"] for event in server.stored})


def test_the_same_events_sent_again_by_another_command_are_the_same_events(serve: Start) -> None:
    server = serve(STORED_YET_DROPPED)
    sent_by_two_commands(server)
    assert 1 < len(server.stored)
    assert 1 == len({event["messageId"] for event in server.stored})


def test_the_control_with_random_ids_makes_two_events_of_one(serve: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.simulator.batches.uuid.uuid5", lambda *_: uuid.uuid4())
    server = serve(STORED_YET_DROPPED)
    sent_by_two_commands(server)
    assert 1 < len({event["messageId"] for event in server.stored})


def sent_by_two_commands(server: ScriptedServer) -> None:
    for _ in range(2):
        with Sender(server.url, KEY, tries=1) as sender:
            try:
                sender.send([b'{"type":"track","event":"A","userId":"u"}'])
            except ConfigError:
                continue


def test_waits_double_up_to_a_limit(serve: Start) -> None:
    server, naps = serve(*[Reply(500)] * 11), Naps()
    with Sender(server.url, KEY, sleep=naps.sleep) as sender:
        assert sender.send(events(1)).complete
    expected = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0, 10.0]
    assert [True] * 11 == [most / 2 <= nap <= most for most, nap in zip(expected, naps, strict=True)]


def test_sending_ends_when_the_server_stays_away(serve: Start) -> None:
    server = serve(*[DOWN] * 100)
    sender = Sender(server.url, KEY, tries=3, batch_events=1, connections=1, sleep=Naps().sleep)
    with pytest.raises(ConfigError, match="given up after 3 tries: 503"), sender:
        sender.send(events(50))
    assert 0 == sender.totals.accepted
    assert sender.totals.read == sender.totals.failed
    assert not sender.totals.complete
    assert 50 > len(server.requests)


def test_a_refused_write_key_ends_sending_at_once(serve: Start) -> None:
    refused = Reply(401, {"success": False, "code": "invalid_write_key", "message": "no source has this write key"})
    server = serve(*[refused] * 100)
    sender = Sender(server.url, KEY, batch_events=1, connections=1)
    with pytest.raises(ConfigError, match=r"invalid_write_key.*no source has this write key"), sender:
        sender.send(events(50))
    assert 3 >= len(server.requests)
    assert 0 == sender.totals.retried


def test_a_batch_that_is_refused_whole_is_not_sent_again_and_the_next_goes_on(serve: Start) -> None:
    refused = Reply(400, {"success": False, "code": "bad_request", "message": "broken"})
    server = serve(refused)
    with Sender(server.url, KEY, batch_events=2, connections=1) as sender:
        totals = sender.send(events(5))
    assert (3, 2, 0) == (totals.accepted, totals.rejected, totals.failed)
    assert [Problem(1, "m-0", "bad_request", "broken"), Problem(2, "m-1", "bad_request", "broken")] == totals.problems
    assert [2, 2, 1] == [len(request.events) for request in server.requests]
    assert not totals.complete


def test_rejected_events_are_named_by_their_line(serve: Start) -> None:
    listed = [{"index": 1, "messageId": "m-2", "code": "no_user_anon_id", "message": "neither"}]
    server = serve(Reply(), Reply(200, {**OK, "accepted": 1, "rejected": listed}))
    with Sender(server.url, KEY, batch_events=2, connections=1) as sender:
        for number, event in enumerate(events(4)):
            sender.add(event, line=10 * number)
        sender.finish()
    assert (3, 1) == (sender.totals.accepted, sender.totals.rejected)
    assert [Problem(30, "m-3", "no_user_anon_id", "neither")] == sender.totals.problems


def test_what_is_no_json_object_is_counted_and_the_rest_goes_on(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY) as sender:
        totals = sender.send(
            [b"{nonsense", *events(2), b"[1, 2]", b'{"a": "\xff"}', b'"text"', b"{} {}", b'{"a": {"b": NaN}}']
        )
    assert (8, 6, 2, 2) == (totals.read, totals.unreadable, totals.sent, totals.accepted)
    assert [1, 4, 5, 6, 7, 8] == [problem.line for problem in totals.problems]
    assert not totals.complete


def test_an_event_goes_out_as_it_came(serve: Start) -> None:
    """Big numbers, long fractions and escapes are the receiver's to judge."""
    server = serve()
    text = b'{"messageId":"m","n":12345678901234567890123,"f":0.10000000000000000555,"s":"\\u00e9\\n","sentAt":"x"}'
    with Sender(server.url, KEY) as sender:
        sender.send([b"  " + text + b" \r\n"])
    assert {"batch": [json.loads(text)]} == server.requests[0].document


def test_a_batch_without_sent_at_gets_one(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY, now=lambda: NOW) as sender:
        sender.send(events(2))
    assert ["2026-11-01T12:00:00.000Z"] == [server.requests[0].document["sentAt"]]
    assert not any("sentAt" in event for event in server.requests[0].events)


def test_sent_at_of_an_event_is_kept_also_beside_one_without(serve: Start) -> None:
    server = serve()
    mixed = [events(1, sentAt="2026-10-01T00:00:00Z")[0], events(1)[0], events(1, sentAt=None)[0]]
    with Sender(server.url, KEY, now=lambda: NOW) as sender:
        sender.send(mixed)
    now = "2026-11-01T12:00:00.000Z"
    assert ["2026-10-01T00:00:00Z", now, now] == [event["sentAt"] for event in server.requests[0].events]
    assert "sentAt" not in server.requests[0].document


def test_progress_is_told_of_every_event_once(serve: Start) -> None:
    server = serve(Reply(400))
    told: list[int] = []
    with Sender(server.url, KEY, batch_events=10, progress=told.append) as sender:
        sender.send([*events(35), b"broken"])
    assert [36] == [sum(told)]


def test_a_pace_is_smooth() -> None:
    naps = Naps()
    now = [100.0]

    def sleep(seconds: float) -> None:
        naps.append(round(seconds, 3))
        now[0] += seconds

    pace = Pace(50, clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        pace.wait(5)
    now[0] += 60  # after a pause there is no burst
    for _ in range(2):
        pace.wait(5)
    assert [0.1, 0.1, 0.1, 0.1] == naps


def test_a_slow_pace_makes_small_batches(serve: Start) -> None:
    server = serve()
    with Sender(server.url, KEY, pace=Pace(50, clock=lambda: 0.0, sleep=Naps().sleep)) as sender:
        sender.send(events(20))
    assert [5, 5, 5, 5] == [len(request.events) for request in server.requests]


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://here", "http://", "http://["])
def test_a_wrong_address_is_refused_before_anything_is_read(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a tracking API"):
        Sender(url, KEY)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_address_may_end_in_v1(serve: Start, path: str) -> None:
    server = serve()
    with Sender(server.url + path, KEY) as sender:
        sender.send(events(1))
    assert ["/v1/batch"] == [request.path for request in server.requests]


def test_nobody_listening_is_said_plainly() -> None:
    with ScriptedServer() as server:
        url = server.url
    sender = Sender(url, KEY, tries=2, sleep=Naps().sleep)
    with pytest.raises(ConfigError, match=r"given up after 2 tries: .*refused"), sender:
        sender.send(events(1))


@pytest.mark.parametrize(
    ("status", "retry_after", "body", "expected"),
    [
        (200, None, b'{"success": true}', Stored([])),
        (200, None, b'{"success":true,"accepted":4,"rejected":[]}', Stored([])),
        (
            200,
            None,
            b'{"success":true,"rejected":[{"index":3,"code":"c","message":"t"},{"index":"x"},7]}',
            Stored([Refusal(3, "c", "t"), Refusal(None, "unknown", ""), Refusal(None, "unknown", "")]),
        ),
        (429, "2", b"", Again("429: HTTP status 429", 2.0)),
        (429, "86400", b"", Again("429: HTTP status 429", 300.0)),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", b'{"message": "full"}', Again("503: full", 0.0)),
        (400, None, b'{"code": "bad_request", "message": "broken"}', Refused("bad_request", "broken")),
        (413, None, b"<html>", Refused("status_413", "HTTP status 413")),
        (404, None, b'{"code": "source_disabled", "message": "off"}', Useless("the source is disabled: off")),
    ],
)
def test_answers_are_understood(status: int, retry_after: str | None, body: bytes, expected: Verdict) -> None:
    assert expected == verdict(status, retry_after, body)


@pytest.mark.parametrize("status", [202, 204, 301, 401, 403, 404, 405, 501, 505])
def test_only_200_counts_as_stored(status: int) -> None:
    assert isinstance(verdict(status, None, b'{"success": true}'), Useless)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"success": false}', b'{"success": "yes"}'])
def test_200_without_success_is_not_a_tracking_api(body: bytes) -> None:
    assert isinstance(verdict(200, None, body), Useless)
