"""What a case file of Slack cannot show: settings that are refused, events that cannot be read, very long texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.destinations import base
from headrace.destinations.base import DestinationKind, HttpKind, Place, Prepared
from headrace.destinations.slack import MOST_CHARACTERS
from headrace.errors import ConfigError
from segment_events import event_of, moment_of

NOW = moment_of("2026-03-01T12:00:05Z")
WEBHOOK = "https://hooks.slack.com/services/T0/B0/made-up"


def slack(**settings: Any) -> DestinationKind:
    return base.configured("slack", settings, Place("test", Path("unused"), lambda: NOW))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "set webhook_url, or token and channel"),
        ({"token": "xoxb-made-up"}, "set webhook_url, or token and channel"),
        ({"webhook_url": WEBHOOK, "token": "xoxb-made-up", "channel": "C1"}, "set webhook_url, or token and channel"),
        ({"webhook_url": "hooks.slack.com/x"}, "must begin with https://"),
        ({"webhook_url": WEBHOOK, "templates": {"A": "{evnt}"}}, "templates: A: "),
        ({"webhook_url": WEBHOOK, "templates": {"A": "{event"}}, "templates: A has a brace without its other one"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=r"^destination: .*") as raised:
        slack(**settings)
    assert text in str(raised.value)


def test_a_second_is_what_slack_wants_between_messages_unless_the_settings_say_otherwise() -> None:
    assert (1.0, 1) == (
        slack(webhook_url=WEBHOOK).settings.requests_per_second,
        slack(webhook_url=WEBHOOK).limits.events,
    )
    assert slack(webhook_url=WEBHOOK, requests_per_second=0.2).settings.requests_per_second == pytest.approx(0.2)


def test_without_a_filter_it_warns() -> None:
    assert 1 == len(slack(webhook_url=WEBHOOK).warnings())
    assert () == slack(webhook_url=WEBHOOK, filter='event = "Email Bounced"').warnings()


def test_a_message_holds_no_more_than_slack_takes() -> None:
    kind = slack(
        webhook_url=WEBHOOK, batch_events=10, text_characters=MOST_CHARACTERS, templates={"*": "{properties.text}"}
    )
    assert isinstance(kind, HttpKind)
    batch = [
        Prepared(event_of({"type": "track", "event": "A", "properties": {"text": "x" * characters}}), {})
        for characters in (20_000, 19_999, 1, 45_000)
    ]
    texts = [msgspec.json.decode(outgoing.request.body)["text"] for outgoing in kind.requests(batch)]
    assert [MOST_CHARACTERS, 1, MOST_CHARACTERS] == [len(text) for text in texts]
    assert [[0, 1], [2], [3]] == [list(outgoing.events) for outgoing in kind.requests(batch)]


def test_an_event_whose_properties_cannot_be_read_fails_and_the_others_go() -> None:
    kind = slack(webhook_url=WEBHOOK, batch_events=10, templates={"*": "{event}: {properties.text}"})
    assert isinstance(kind, HttpKind)
    sound = event_of({"type": "track", "event": "A", "properties": {"text": "x"}})
    odd = msgspec.structs.replace(sound, properties=msgspec.Raw(b"[1]"))
    batch = [Prepared(odd, {}), Prepared(sound, {})]
    assert {0: ("failed", "PAYLOAD_VALIDATION_FAILED")} == {
        place: (result.outcome, result.code) for place, result in kind.refusals(batch).items()
    }
    assert [[1]] == [list(outgoing.events) for outgoing in kind.requests(batch)]
