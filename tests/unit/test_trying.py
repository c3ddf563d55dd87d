"""A filter tried on a file of events."""

from __future__ import annotations

import pytest

from headrace.app.trying import tried
from headrace.errors import ConfigError
from headrace.sources.base import configured
from made_events import START

LINES = [
    b'{"type":"track","event":"Email Opened","userId":"u1","properties":{"n":1}}\n',
    b"\n",
    b'{"type":"track","event":"Email Opened","user_id":"u2","properties":{"n":2}}\r\n',
    b'{"type":"track","event":"Email Opened"}\n',
    b"{",
]
SOURCE = configured("http-api", "trial", {})


def test_each_line_is_answered_as_the_collector_would_have_accepted_it() -> None:
    found = list(tried('userId = "u2" and properties.n > 1', LINES, SOURCE, START))
    assert [(1, False), (3, True), (4, None), (5, None)] == [(each.line, each.matches) for each in found]
    assert ["", "", "refused at the door, no_user_anon_id", "refused at the door, bad_request"] == [
        each.reason.split(":")[0] for each in found
    ]
    assert ["u1", "u2"] == [each.event.user_id for each in found if each.event]


def test_a_platforms_rules_come_before_the_filter() -> None:
    selligent = configured("selligent-marketing-cloud", "trial", {})
    line = b'{"type":"track","event":"Email Opened","context":{"traits":{"email":"a@example.com"}},"messageId":"m1"}'
    assert [True] == [each.matches for each in tried("anonymousId = 'a@example.com'", [line], selligent, START)]


def test_a_wrong_expression_is_refused_before_any_line_is_read() -> None:
    with pytest.raises(ConfigError, match="did you mean `event`"):
        tried("evnt = 'x'", LINES, SOURCE, START)
