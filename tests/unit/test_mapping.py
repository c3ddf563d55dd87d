"""Mappings: what the kind's own fields and the user's changes come to, by type of event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.delivery.mapping import FieldMapping
from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations.base import Place, Prepared
from headrace.errors import ConfigError
from segment_events import event_of

OWN = {"track": {"id": "messageId", "what": "event"}, "*": {"id": "messageId"}}
TRACK = {"type": "track", "event": "Email Opened", "userId": "42"}
PAGE = {"type": "page", "name": "Home", "userId": "42"}


def webhook(mapping: Any) -> Preparation:
    """A kind that has no fields of its own."""
    settings = {"url": "https://tool.example/hook", "mapping": mapping}
    return Preparation(base.configured("webhook", settings, Place("tool", Path("unused"))))


def prepared(preparation: Preparation, sent: dict[str, Any]) -> Any:
    """The fields, `whole` or the code."""
    step = preparation.prepare(event_of(sent))
    if isinstance(step, Stopped):
        return step.code
    assert isinstance(step, Prepared)
    return "whole" if step.fields is None else step.fields


def test_types_that_nobody_mapped_are_still_sent_whole() -> None:
    preparation = webhook({"track": {"what": "event"}})
    assert {"what": "Email Opened"} == prepared(preparation, TRACK)
    assert "whole" == prepared(preparation, PAGE)


def test_a_type_set_to_null_is_not_sent() -> None:
    preparation = webhook({"page": None})
    assert "NO_MATCHING_MAPPING" == prepared(preparation, PAGE)
    assert "whole" == prepared(preparation, TRACK)


def test_a_mapping_of_all_types_leaves_none_whole() -> None:
    preparation = webhook({"*": {"who": "userId"}, "track": {"what": "event"}})
    assert {"who": "42"} == prepared(preparation, PAGE)
    assert {"who": "42", "what": "Email Opened"} == prepared(preparation, TRACK)


def test_all_types_but_those_that_are_mapped_can_be_left_out() -> None:
    preparation = webhook({"*": None, "track": {"what": "event"}})
    assert {"what": "Email Opened"} == prepared(preparation, TRACK)
    assert "NO_MATCHING_MAPPING" == prepared(preparation, PAGE)


def test_an_empty_object_changes_nothing() -> None:
    assert "whole" == prepared(webhook({"track": {}, "*": {}}), TRACK)
    assert FieldMapping({"track": {"id": "messageId"}}, {"page": {}}).fields(event_of(PAGE)) is None


def test_a_kind_with_fields_of_its_own_sends_no_type_whole() -> None:
    mapping = FieldMapping({"track": {"id": "messageId"}}, {})
    assert not mapping.is_whole_event("page")
    assert mapping.fields(event_of(PAGE)) is None


@pytest.mark.parametrize(
    ("changes", "track", "page"),
    [
        ({}, {"id": "m-1", "what": "Email Opened"}, {"id": "m-1"}),
        ({"track": {"what": "type"}}, {"id": "m-1", "what": "track"}, {"id": "m-1"}),
        ({"track": {"what": None}}, {"id": "m-1"}, {"id": "m-1"}),
        ({"*": {"id": None, "who": "userId"}}, {"what": "Email Opened", "who": "42"}, {"who": "42"}),
        ({"page": {"where": "name"}}, {"id": "m-1", "what": "Email Opened"}, {"id": "m-1", "where": "Home"}),
        ({"page": None}, {"id": "m-1", "what": "Email Opened"}, None),
    ],
)
def test_what_the_user_changes_replaces_extends_and_takes_out(changes: Any, track: Any, page: Any) -> None:
    mapping = FieldMapping(OWN, changes)
    assert track == mapping.fields(event_of(TRACK))
    assert page == mapping.fields(event_of(PAGE))


def test_an_object_of_the_event_stays_as_it_is_when_a_field_is_put_beside_it() -> None:
    sent = {**TRACK, "properties": {"campaign": {"id": 7}}}
    mapping = FieldMapping(
        {},
        {
            "track": {
                "campaign": "properties.campaign",
                "campaign.name": {"constant": "spring"},
                "plain": "properties.campaign",
            }
        },
    )
    assert {"campaign": {"id": 7, "name": "spring"}, "plain": {"id": 7}} == mapping.fields(event_of(sent))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"trck": {}}, "no type of event 'trck'"),
        ({"track": {"a": 1}}, r"track\.a: expected a field"),
        ({"track": {"a": {"constnt": 1}}}, r"track\.a: expected a field"),
        ({"track": {"a": "evnt"}}, r"track\.a.*did you mean `event`"),
        ({"track": {"a": {"template": "{event"}}}, r"track\.a.*brace"),
    ],
)
def test_a_wrong_rule_is_named(changes: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        FieldMapping({}, changes)
