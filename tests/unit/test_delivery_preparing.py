"""What becomes of an event before it is sent, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations.base import Place, Prepared
from headrace.errors import ConfigError
from segment_events import event_of

OPENED = {"type": "track", "event": "Email Opened", "userId": "u", "properties": {"email_id": "e", "ip": "1.2.3.4"}}


def preparation(**settings: Any) -> Preparation:
    return Preparation(base.configured("webhook", {"url": "https://x.example", **settings}, Place("x", Path("unused"))))


def step(sent: dict[str, Any] | None = None, **settings: Any) -> str:
    """The code of what stops the event, `sent` where nothing does."""
    prepared = preparation(**settings).prepare(event_of({**OPENED, **(sent or {})}))
    return prepared.code if isinstance(prepared, Stopped) else "sent"


@pytest.mark.parametrize(
    ("integrations", "expected"),
    [
        ({}, "sent"),
        ({"All": True}, "sent"),
        ({"All": False}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"All": False, "Webhooks": True}, "sent"),
        ({"Webhooks": False}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"All": True, "Webhooks": False}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"All": False, "Webhooks": {"option": 1}}, "sent"),
        ({"All": False, "webhooks": True}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"All": False, "Segment": True}, "FILTERED_BY_INTEGRATIONS_OBJECT"),
        ({"Webhooks": "yes"}, "sent"),
        ([], "sent"),
    ],
)
def test_the_integrations_object_decides_first(integrations: Any, expected: str) -> None:
    assert expected == step({"integrations": integrations})
    assert expected == step({"integrations": integrations}, filter='event = "Email Opened"')


def test_a_filter_lets_through_what_it_names() -> None:
    assert "sent" == step(filter='event = "Email Opened" and properties.email_id exists')
    assert "FILTERED_BY_RULES" == step(filter='event = "Other"')


def test_a_filter_that_cannot_be_evaluated_does_not_drop_the_event() -> None:
    event = msgspec.structs.replace(event_of(OPENED), properties=msgspec.Raw(b"[1]"))
    stopped = preparation(filter='properties.a = "x"').prepare(event)
    assert isinstance(stopped, Stopped)
    assert ("failed", "FILTER_FAILED") == (stopped.outcome, stopped.code)


def test_the_sample_takes_always_the_same_users_and_about_as_many_as_it_says() -> None:
    users = [f"user-{n}" for n in range(2_000)]
    taken = {user for user in users if step({"userId": user}, sample_percent=25) == "sent"}
    assert 400 < len(taken) < 600
    assert taken == {user for user in users if step({"userId": user, "event": "Other"}, sample_percent=25) == "sent"}
    assert taken < {user for user in users if step({"userId": user}, sample_percent=50) == "sent"}
    assert "FILTERED_BY_RULES" == step(sample_percent=0)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"drop_properties": ["ip"]}, {"email_id": "e"}),
        ({"allow_properties": ["ip"]}, {"ip": "1.2.3.4"}),
        ({"allow_properties": ["ip", "email_id"], "drop_properties": ["ip"]}, {"email_id": "e"}),
        ({}, OPENED["properties"]),
    ],
)
def test_properties_are_dropped_before_anything_is_sent(settings: dict[str, Any], left: dict[str, Any]) -> None:
    prepared = preparation(**settings).prepare(event_of(OPENED))
    assert isinstance(prepared, Prepared)
    assert left == msgspec.json.decode(prepared.json())["properties"]


def test_the_filter_sees_what_is_dropped_afterwards() -> None:
    assert "sent" == step(filter='properties.ip = "1.2.3.4"', drop_properties=["ip"])


def test_traits_are_dropped_too() -> None:
    prepared = preparation(drop_properties=["mail"]).prepare(
        event_of({"type": "identify", "userId": "u", "traits": {"mail": "m", "a": 1}})
    )
    assert isinstance(prepared, Prepared)
    assert {"a": 1} == msgspec.json.decode(prepared.json())["traits"]


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"filter": "event ="}, "filter, column"),
        ({"mapping": {"tracks": {}}}, "there is no type of event 'tracks'"),
        ({"mapping": {"track": {"a": "evnt"}}}, "track.a"),
        ({"mapping": {"track": {"a": {"constnt": 1}}}}, "expected a field such as"),
        ({"mapping": {"track": {"a": {"template": "{event"}}}}, "brace without its other one"),
        ({"mapping": {"track": {"a": "event ?? "}}}, "on both sides of"),
    ],
)
def test_settings_that_cannot_work_say_where(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        preparation(**settings)


def test_a_mapping_makes_the_body() -> None:
    mapping = {
        "track": {
            "who": "userId ?? anonymousId",
            "mail.id": "properties.email_id",
            "mail.note": {"template": "{event} of {userId}{properties.none}"},
            "version": {"constant": 2},
            "at": "timestamp",
            "nothing": "properties.none",
            "kind": 'properties.none ?? "opened"',
        }
    }
    prepared = preparation(mapping=mapping).prepare(event_of(OPENED))
    assert isinstance(prepared, Prepared)
    assert {
        "who": "u",
        "mail": {"id": "e", "note": "Email Opened of u"},
        "version": 2,
        "at": "2026-03-01T12:00:01.000Z",
        "kind": "opened",
    } == msgspec.json.decode(prepared.json())


def test_a_type_that_is_mapped_to_null_is_not_sent() -> None:
    assert "NO_MATCHING_MAPPING" == step(mapping={"track": None})
    assert "sent" == step(mapping={"page": None})
