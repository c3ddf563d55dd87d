"""The quick path at the door gives what the careful one gives, to the byte, or leaves the event to it."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.collector import accept, incoming, usual
from headrace.collector.accept import Acceptance, Origin
from headrace.errors import RequestError
from headrace.sources import base

CASES = Path(__file__).parents[1] / "cases"
NOW = datetime(2026, 11, 21, 22, 30, 1, 123456, tzinfo=UTC)
SOURCES = [
    base.configured("http-api", "shop", {}),
    base.configured("http-api", "shop", {"clock_skew": "keep"}),
    base.configured("selligent-marketing-cloud", "mail", {}),
]
SERVER, BROWSER = Origin("203.0.113.7"), Origin("203.0.113.7", direct=True)
ORIGINS = [SERVER, BROWSER, Origin(), Origin("203.0.113.7", sent_at="2026-11-21T22:29:00Z")]

Outcome = Acceptance | tuple[str, str]


def careful() -> AbstractContextManager[Any]:
    """No event takes the quick path."""
    return patch.object(usual.Shortcut, "events", lambda _self, raws: [None] * len(raws))


def outcome(body: bytes, event_type: str | None, source: base.SourceKind, origin: Origin) -> Outcome:
    """What becomes of a batch, or, with a type from the path, of a single event; ids are made in order."""
    numbers = itertools.count()
    with patch.object(accept, "uuid4", lambda: f"made {next(numbers)}"):
        try:
            if event_type is None:
                return accept.batched(incoming.batch(body), source, NOW, origin)
            return accept.single(body, event_type, source, NOW, origin)
        except RequestError as error:
            return error.code, error.reason


def assert_same(body: bytes, event_type: str | None, source: base.SourceKind, origin: Origin) -> None:
    quick = outcome(body, event_type, source, origin)
    with careful():
        expected = outcome(body, event_type, source, origin)
    assert expected == quick
    if isinstance(quick, Acceptance) and isinstance(expected, Acceptance):
        assert expected.answer() == quick.answer()
        assert (expected.hour, expected.tally, expected.size_bytes) == (quick.hour, quick.tally, quick.size_bytes)


def share(events: Sequence[bytes], sent_at: str | None = "2026-11-21T22:30:00Z") -> float:
    """How many of these the quick path takes."""
    found = usual.Shortcut(SOURCES[0], NOW, sent_at, None).events(events)
    return sum(event is not None for event in found) / len(events)


def recorded() -> list[bytes]:
    """The bodies that clients posted."""
    bodies = []
    for file in sorted((CASES / "client-requests").glob("*-POST-*.json")):
        body = base64.b64decode(json.loads(file.read_bytes())["body_b64"])
        bodies.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    return bodies


def examples() -> list[bytes]:
    """Every object in the documentation's examples, wherever it stands: also those that are no events."""

    def objects(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [*([value] if isinstance(value, dict) else []), *(found for one in inner for found in objects(one))]

    return [
        json.dumps(found).encode() for found in objects(json.loads((CASES / "tracking-api-examples.json").read_text()))
    ]


@pytest.mark.parametrize("source", SOURCES, ids=["correct", "keep", "selligent"])
def test_recorded_and_documented_requests_come_to_the_same_on_both_paths(source: base.SourceKind) -> None:
    selligent = (CASES / "selligent-events.ndjson").read_bytes().splitlines()
    batches = [b'{"sentAt":"2026-11-21T22:30:00Z","batch":[' + b",".join(selligent) + b"]}", *recorded()]
    for origin in ORIGINS:
        for body in batches:
            assert_same(body, None, source, origin)
        for body in (*recorded(), *examples(), *selligent):
            for event_type in ("track", "identify", "page", "group", "alias"):
                assert_same(body, event_type, source, origin)


def test_the_events_of_sdks_take_the_quick_path() -> None:
    """Without this, the equality above would say nothing."""
    events = [bytes(event) for body in recorded() if b'"batch"' in body for event in incoming.batch(body).batch or ()]
    assert share(events) > 0.95
    assert 0 == share([b"{}", b'{"type":"track","event":"E","userId":5,"messageId":"m"}'])


def test_each_field_that_the_rules_know_is_known_to_the_quick_path() -> None:
    assert set(incoming.Incoming.__struct_fields__) == set(usual._Usual.__struct_fields__)


def test_json_that_is_none_comes_to_the_same_on_both_paths() -> None:
    for file in sorted((CASES / "jsontestsuite" / "test_parsing").iterdir()):
        value = file.read_bytes()
        start = b'{"type":"track","event":"E","userId":"u","messageId":"m","timestamp":"2026-11-21T22:29:00Z",'
        for around in (
            b'"properties":{"a":%b}}',
            b'"context":%b}',
            b'"userId":%b}',
            b'"unknown":%b}',
            b'"properties":%b}',
        ):
            event = start + around.replace(b"%b", value)
            assert_same(event, "track", SOURCES[0], SERVER)
            assert_same(b'{"batch":[' + event + b"]}", None, SOURCES[0], SERVER)


TYPES = ["track", "identify", "page", "screen", "group", "alias"]
IDS: list[Any] = [
    "u1",
    "",
    " ",
    "　",
    "a\x00b",
    "\x00",
    None,
    5,
    1.5,
    True,
    [],
    {},
    "x" * 99,
    "x" * 100,
    "é" * 99,
    "\U0001f600",
    "\\u0000",
    "\n",
]
TIMES = [
    "2026-11-21T22:29:00Z", "2026-11-21T22:29:00.123+00:00", "2026-11-21T22:29:00+02:00", "2026-11-21", "2026-11-21T23:00:00Z", "",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-21T22:29:00", "soon", 1_760_000_000, 1e300, None, {}, True,
    "2026-11-21T22:35:01.123456Z", "2026-11-21T22:35:01.123457Z",
]  # fmt: skip
OBJECTS = [
    {}, {"a": 1}, {"direct": True}, {"device": {"id": "d"}, "library": {"name": "analytics-ios"}}, {"a": {"direct": False}}, None, [],
    "x", 5, {"category": "own"}, {"a": [[{}]], "b": "[{" * 60}, {"a": "x" * 33_000}, {"deep": json.loads("[" * 99 + "]" * 99)},
]  # fmt: skip
NAMES: list[Any] = ["Signed Up", "", " ", None, 5, "é\x00", {}]
POOLS: dict[str, list[Any]] = {
    "type": [*TYPES, "Track", "x", None, 5],
    "action": [None, "track", 5],
    "channel": [None, "server", "mobile", "browser", "", 5],
    "category": NAMES,
    "event": NAMES,
    "name": NAMES,
    **dict.fromkeys(["messageId", "message_id", "userId", "user_id", "anonymousId", "anonymous_id"], IDS),
    **dict.fromkeys(["groupId", "group_id", "previousId", "previous_id"], IDS),
    **dict.fromkeys(["timestamp", "originalTimestamp", "original_timestamp", "sentAt", "sent_at"], TIMES),
    **dict.fromkeys(["properties", "traits", "context", "integrations"], OBJECTS),
    "unknown": OBJECTS,
}
USUAL = {
    "type": "track", "event": "Signed Up", "messageId": "m", "userId": "u", "groupId": "g", "previousId": "p",
    "timestamp": "2026-11-21T22:29:00.5Z", "properties": {"a": 1}, "traits": {"b": 2}, "context": {"library": {"name": "x"}},
}  # fmt: skip
Encode = Callable[[Any], str]
ENCODINGS: list[Encode] = [
    json.dumps,
    lambda tree: json.dumps(tree, ensure_ascii=False),
    lambda tree: json.dumps(tree, indent=1),
]


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """The usual event with up to three things about it changed: most of them are refused for one reason alone."""
    event = {**USUAL, "type": draw(st.sampled_from(TYPES))}
    for name in draw(st.lists(st.sampled_from(sorted(POOLS)), max_size=3)):
        event[name] = draw(st.sampled_from(POOLS[name]))
    for name in draw(st.sets(st.sampled_from(sorted(USUAL)), max_size=2)):
        event.pop(name, None)
    return event


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    shared = {"sentAt": TIMES, "sent_at": TIMES, "context": OBJECTS, "integrations": OBJECTS}
    more = {
        name: draw(st.sampled_from(shared[name])) for name in draw(st.sets(st.sampled_from(sorted(shared)), max_size=2))
    }
    encode = draw(st.sampled_from(ENCODINGS))
    return encode({**more, "batch": draw(st.lists(events(), max_size=5))}).encode()


def varied() -> list[dict[str, Any]]:
    """The usual event of each type with each of its fields left out, and with each field as each of its pool."""
    usual_events = [{**USUAL, "type": kind} for kind in TYPES]
    without = [{name: event[name] for name in event if name != left} for event in usual_events for left in event]
    changed = [{**event, name: value} for event in usual_events for name in POOLS for value in POOLS[name]]
    return [*usual_events, *without, *changed]


def compare_varied(sources: Sequence[base.SourceKind], origins: Sequence[Origin], encode: Encode = json.dumps) -> None:
    """In batches, so that an event of a batch is seen not to spoil its neighbours."""
    found = varied()
    for place in range(0, len(found), 20):
        for sent_at in ({"sentAt": "2026-11-21T22:30:00Z"}, {}):
            body = encode({**sent_at, "batch": found[place : place + 20]}).encode()
            for source, origin in itertools.product(sources, origins):
                assert_same(body, None, source, origin)


@pytest.mark.parametrize("encode", ENCODINGS, ids=["ascii", "utf-8", "indented"])
def test_an_event_that_differs_in_one_field_comes_to_the_same_on_both_paths(encode: Encode) -> None:
    compare_varied(SOURCES, ORIGINS[:2], encode)


@settings(max_examples=200, deadline=None)
@given(bodies(), st.sampled_from(SOURCES), st.sampled_from(ORIGINS))
def test_made_batches_come_to_the_same_on_both_paths(body: bytes, source: base.SourceKind, origin: Origin) -> None:
    assert_same(body, None, source, origin)


@settings(max_examples=200, deadline=None)
@given(events(), st.sampled_from(ENCODINGS), st.sampled_from(sorted(base.kinds())), st.sampled_from(ORIGINS), st.data())
def test_made_single_events_come_to_the_same_on_both_paths(
    event: dict[str, Any], encode: Encode, kind: str, origin: Origin, data: st.DataObject
) -> None:
    event_type = data.draw(st.sampled_from(TYPES))
    assert_same(encode(event).encode(), event_type, base.configured(kind, "shop", {}), origin)


def without_address(judge: Any, raws: Sequence[bytes], event_type: str | None) -> list[Any]:
    """`_Judge.usual` where no event asks for the peer's address."""
    if judge.source.refines or judge.refusal:
        return [None] * len(raws)
    return usual.Shortcut(judge.source, judge.received_at, judge.sent_at, event_type).events(raws)


@pytest.mark.parametrize(
    "careless",
    [
        (usual, "_is_identified", lambda _sent, _kind: True),
        (usual, "_OBJECT", bytearray(b"")),
        (usual, "_is_usable", lambda _text: True),
        (usual, "_parse", lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)),
        (usual.Shortcut, "_shift_of", lambda _self, _sent_at: None),
        (accept._Judge, "usual", without_address),
    ],
    ids=lambda careless: str(careless[1]),
)
def test_a_quick_path_that_tests_less_is_found_out(careless: tuple[Any, str, Any]) -> None:
    """The control: with any one of its tests gone, some event comes to something else."""
    with patch.object(*careless), pytest.raises(AssertionError):
        compare_varied(SOURCES[:2], [SERVER])
