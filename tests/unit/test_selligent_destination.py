"""The destination selligent-marketing-cloud: which rows failed, in whatever way the tool counts; limits, order, warnings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations import base
from headrace.destinations._selligent_answers import results
from headrace.destinations.base import Answer, DestinationKind, Exchange, HttpKind, Place, Prepared, Request, Result
from headrace.errors import ConfigError
from segment_events import event_of
from tools.selligent_marketing_cloud import Tool
from tools.serving import Direct

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def kind(**settings: Any) -> DestinationKind:
    return base.configured(
        "selligent-marketing-cloud", {**Tool.settings, **settings}, Place("smc", Path("unused"), lambda: NOW)
    )


def prepared(chosen: DestinationKind, events: Sequence[Mapping[str, Any]]) -> list[Prepared]:
    preparation = Preparation(chosen)
    steps = [preparation.prepare(event_of(event)) for event in events]
    return [step for step in steps if isinstance(step, Prepared)]


def identify(user: str, name: str, field: str = "NAME") -> dict[str, Any]:
    return {"type": "identify", "messageId": f"{user}-{name[:9]}", "userId": user, "traits": {field: name}}


def page(message_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "page", "name": "Home", "messageId": message_id, "userId": "42", **more}


def sent(chosen: DestinationKind, batch: Sequence[Prepared], http: base.Http) -> list[Result]:
    """With each event of a request refused as a whole sent again by itself, as delivery does."""

    async def twice() -> list[Result]:
        found = list(await chosen.send(batch, http))
        for place, result in enumerate(found):
            if result.is_whole_request:
                (found[place],) = await chosen.send([batch[place]], http)
        return found

    return asyncio.run(twice())


# Which rows failed


@pytest.mark.parametrize("first_index", [0, 1])
@pytest.mark.parametrize("bad", [{0}, {1}, {4}, {2, 3}, {0, 4}, {1, 3}, {0, 1, 2, 3, 4}])
def test_exactly_the_invalid_rows_fail_whether_the_tool_counts_from_0_or_from_1(
    first_index: int, bad: set[int]
) -> None:
    tool = Tool(first_index)
    chosen = kind()
    batch = prepared(chosen, [identify(str(place), "x" * (51 if place in bad else 5)) for place in range(5)])
    found = sent(chosen, batch, Direct(tool))
    assert bad == {place for place, result in enumerate(found) if result.outcome == "failed"}
    assert all("MaxStringLengthExceeded" in found[place].detail for place in bad)
    assert {str(place) for place in range(5)} - {str(place) for place in bad} == tool.rows["customers"].keys() - {
        "40",
        "41",
    }


def test_reading_the_index_as_it_stands_would_name_a_delivered_event() -> None:
    tool = Tool(first_index=1)
    chosen = kind()
    http = Direct(tool)
    asyncio.run(chosen.send(prepared(chosen, [identify("0", "a"), identify("1", "x" * 51), identify("2", "c")]), http))
    answer = http.exchanges[0].answer
    assert answer is not None
    assert 2 == json.loads(answer.body)["invalid_records"][0]["record_index"]
    assert "2" in tool.rows["customers"]


def told(status: int = 200, **body: Any) -> Answer:
    return Answer(status, {}, json.dumps(body).encode())


BAD = [{"record_index": 0, "field_name": "A", "message": "no", "validation_code": "InvalidType"}]


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        # the tool stopped at the bad row: of the third nobody knows anything
        (
            ["failed", "again", "again"],
            told(result_code="PartiallySucceeded", number_of_failed_records=1, invalid_records=BAD),
        ),
        # one more failed than is named
        (
            ["failed", "again", "again"],
            told(
                result_code="PartiallySucceeded",
                number_of_inserted_records=1,
                number_of_failed_records=2,
                invalid_records=BAD,
            ),
        ),
        (["again", "again", "again"], told(result_code="PartiallySucceeded", number_of_inserted_records=3)),
        (["again", "again", "again"], told(result_code="PartiallySucceeded", invalid_records="x")),
        (["again", "again", "again"], told(result_code="PartiallySucceeded", invalid_records=[{"record_index": 17}])),
        (["again", "again", "again"], told(result_code="PartiallySucceeded", invalid_records=[None])),
        (
            ["again", "again", "again"],
            told(result_code="PartiallySucceeded", invalid_records=[{"record_index": 0}, {"record_index": 3}]),
        ),
        # success with a failure in it
        (["again", "again", "again"], told(result_code="Succeeded", number_of_failed_records=1)),
        (
            ["failed", "delivered", "delivered"],
            told(result_code="Succeeded", number_of_failed_records=1, invalid_records=BAD),
        ),
        (["delivered", "delivered", "delivered"], told(result_code="Succeeded", number_of_failed_records=None)),
        (["delivered", "delivered", "delivered"], told(result_code="Succeeded", number_of_duplicate_records=2)),
        (["again", "again", "again"], told(result_code="Failed")),
        (["again", "again", "again"], told(result_code="ValidationFailed")),
        (["again", "again", "again"], told(400, result_code="ValidationFailed")),
        (["again", "again", "again"], told(400, message="no")),
        # success does not come with 400
        (["again", "again", "again"], told(400, result_code="Succeeded")),
        (["retry", "retry", "retry"], told(502, result_code="Succeeded")),
        (["retry", "retry", "retry"], told(200, result_code="succeeded")),
        (["retry", "retry", "retry"], told(200, result_code=1)),
        (["failed", "failed", "failed"], told(200, result_code="NotFound")),
        (["failed", "failed", "failed"], told(403)),
    ],
)
def test_an_answer_is_taken_apart_by_row(expected: list[str], answer: Answer) -> None:
    found = results(answer, 3, NOW, is_segment=False, is_removal=False)
    assert expected == ["again" if result.is_whole_request else result.outcome for result in found]
    alone = results(answer, 1, NOW, is_segment=False, is_removal=False)
    assert [False] == [result.is_whole_request for result in alone]


def test_an_answer_too_long_to_be_read_makes_each_row_say_its_own() -> None:
    answer = Answer(200, {}, b'{"result_code": "PartiallySucceeded", "invalid_records": [{"rec', is_cut=True)
    many = results(answer, 3, NOW, is_segment=False, is_removal=False)
    assert [True, True, True] == [result.is_whole_request for result in many]
    (alone,) = results(answer, 1, NOW, is_segment=False, is_removal=False)
    assert ("retry", "ANSWER_UNREADABLE") == (alone.outcome, alone.code)


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (7.0, {"x-ratelimit-reset": "7"}),
        (3.0, {"x-ratelimit-reset": "7", "retry-after": "3"}),
        (None, {}),
        (None, {"x-ratelimit-reset": "soon"}),
        (None, {"x-ratelimit-reset": "nan"}),
        (None, {"x-ratelimit-reset": "-1"}),
        (None, {"x-ratelimit-reset": "1772366405"}),  # a date would be something else than described
    ],
)
def test_a_rate_limit_is_waited_for_as_its_headers_say(expected: float | None, headers: dict[str, str]) -> None:
    (found,) = results(Answer(429, headers), 1, NOW, is_segment=False, is_removal=False)
    assert ("retry", "429", expected) == (found.outcome, found.code, found.retry_after_seconds)


def test_a_member_who_is_in_no_list_fails_alone_and_one_who_has_left_already_is_gone() -> None:
    def group(user: str, method: str) -> dict[str, Any]:
        traits = {"matchkey": "MAIL", "userlist": "customers", "method": method}
        return {"type": "group", "messageId": f"{user}{method}", "userId": user, "groupId": "vips", "traits": traits}

    tool = Tool()
    chosen = kind()
    people = ("ada@example.com", "nobody@example.com")
    added = sent(chosen, prepared(chosen, [group(user, "ADD") for user in people]), Direct(tool))
    assert [("delivered", ""), ("failed", "MESSAGE_REJECTED")] == [(result.outcome, result.code) for result in added]
    assert "number_of_records_not_found 1" in added[1].detail
    removed = sent(chosen, prepared(chosen, [group(user, "remove") for user in people]), Direct(tool))
    assert ["delivered", "delivered"] == [result.outcome for result in removed]
    assert {"40"} == tool.segments["customers", "vips"]


@pytest.mark.parametrize("asked", ["data", "data/load"])
@pytest.mark.parametrize("there", ["data", "data/load"])
def test_members_are_added_where_the_setting_says(asked: str, there: str) -> None:
    chosen = kind(segment_path=asked)
    result = sent(chosen, prepared(chosen, [Tool.events[-2]]), Direct(Tool(segment_path=there)))
    assert ["delivered" if asked == there else "failed"] == [each.outcome for each in result]


def test_members_are_added_at_data_unless_the_setting_says_more() -> None:
    (request,) = requests(kind(), [Tool.events[-2]])
    assert "/segments/vips/data?" in request.url


# Limits and order


def requests(chosen: DestinationKind, events: Sequence[Mapping[str, Any]]) -> list[Request]:
    assert isinstance(chosen, HttpKind)
    return [outgoing.request for outgoing in chosen.requests(prepared(chosen, events))]


def test_a_request_has_2500_rows_at_the_most() -> None:
    made = requests(kind(), [page(f"m-{place}") for place in range(2_501)])
    assert [2_500, 1] == [len(json.loads(request.body)) for request in made]
    assert 2_500 == kind().limits.events


def test_a_request_has_20_megabytes_at_the_most() -> None:
    text = '"' * 15_000  # twice as long as JSON, and again as JSON text
    made = requests(kind(), [page(f"m-{place}", properties={"text": text}) for place in range(400)])
    assert 2 == len(made)
    assert max(len(request.body) for request in made) <= 20_000_000
    assert [f"m-{place}" for place in range(400)] == [row[0] for request in made for row in json.loads(request.body)]


class Failing:
    """Answers as the stand-in, but fails requests whose address has a text."""

    def __init__(self, tool: Tool, text: str) -> None:
        self._tool = tool
        self._text = text

    async def exchange(self, request: Request) -> Exchange:
        await asyncio.sleep(0)
        broken = self._text in request.url
        return Exchange(request, Answer(503) if broken else self._tool.answer(request))


def test_a_users_later_change_waits_for_an_earlier_one_and_others_do_not() -> None:
    tool = Tool()
    chosen = kind()
    events = [identify("42", "team", "PLAN"), identify("42", "Ada"), identify("43", "Bob"), page("m-1")]
    found = sent(chosen, prepared(chosen, events), Failing(tool, "PLAN"))
    assert ["503", "WAITING_FOR_EARLIER", "", ""] == [result.code for result in found]
    assert ["profile 43", "m-1"] == tool.taken


def test_rows_of_events_wait_too_where_order_is_asked_for() -> None:
    tool = Tool()
    chosen = kind(ordered=True)
    found = sent(chosen, prepared(chosen, [page("m-0"), identify("42", "Ada"), page("m-1")]), Failing(tool, "NAME"))
    assert ["", "503", "WAITING_FOR_EARLIER"] == [result.code for result in found]
    assert ["m-0"] == tool.taken


def test_the_last_of_a_users_changes_stands() -> None:
    tool = Tool()
    chosen = kind()
    events = [
        identify("42", "a"),
        identify("42", "b", "PLAN"),
        identify("42", "c"),
        identify("42", "d"),
        identify("42", "e", "PLAN"),
    ]
    assert {"delivered"} == {result.outcome for result in sent(chosen, prepared(chosen, events), Direct(tool))}
    assert {"ID": "42", "NAME": "d", "PLAN": "e"} == tool.rows["customers"]["42"]
    assert 4 == len(tool.requests)


def test_a_call_ends_after_some_requests_and_the_rest_waits_for_the_next() -> None:
    tool = Tool()
    chosen = kind()
    batch = prepared(chosen, [identify("42", f"v{place}", ("NAME", "PLAN")[place % 2]) for place in range(20)])
    codes: list[str] = []
    while batch:
        found = sent(chosen, batch, Direct(tool))
        assert 8 == [result.outcome for result in found].count("delivered") or len(batch) < 8
        codes += [result.code for result in found if result.code]
        batch = [item for item, result in zip(batch, found, strict=True) if result.outcome == "retry"]
    assert {"WAITING_FOR_EARLIER"} == set(codes)
    assert {"ID": "42", "NAME": "v18", "PLAN": "v19"} == tool.rows["customers"]["42"]


# Settings


def test_only_the_events_that_are_allowed_go() -> None:
    preparation = Preparation(kind(allowed_events=["A"]))
    track = event_of({"type": "track", "event": "A", "userId": "42"})
    assert isinstance(preparation.prepare(track), Prepared)
    other = preparation.prepare(msgspec.structs.replace(track, event="B"))
    assert Stopped("filtered", "FILTERED_BY_RULES", step="settings") == other
    assert isinstance(Preparation(kind()).prepare(msgspec.structs.replace(track, event="B")), Prepared)


@pytest.mark.parametrize(
    ("expected", "expires"),
    [
        ("", None),
        ("", "2026-04-01"),
        ("expires in 30 days, on 2026-03-31", "2026-03-31"),
        ("expires in 1 days, on 2026-03-02", "2026-03-02"),
        ("expired on 2026-03-01", "2026-03-01"),
        ("expired on 2025-12-31", "2025-12-31"),
    ],
)
def test_a_secret_that_is_about_to_expire_is_warned_of(expected: str, expires: str | None) -> None:
    warnings = kind(api_secret_expires=expires).warnings()
    assert bool(expected) == bool(warnings)
    assert expected in "".join(warnings)


def test_identify_without_a_list_is_warned_of() -> None:
    (warning,) = kind(list="", list_key_field="").warnings()
    assert "destination smc: identify events are left out; set list and list_key_field to send them" == warning


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.slgnt.us",
        "https://acme.slgnt.us/",
        "https://acme.slgnt.us/Portal",
        "https://acme.slgnt.us/portal/#!/login?x=1",
    ],
)
def test_the_address_may_be_that_of_the_login(url: str) -> None:
    (request,) = requests(kind(url=url), [page("m-1")])
    assert request.url.startswith("https://acme.slgnt.us/Portal/Api/organizations/Acme%20Retail/lists/segment_events/")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "acme.slgnt.us"},
        {"url": "https://user:pw@acme.slgnt.us"},
        {"api_key": "a\nb"},
        {"api_secret": ""},
        {"organization": " "},
        {"events_list": ""},
        {"list_key_field": ""},
        {"list": ""},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**wrong)
    assert next(iter(wrong)) in str(caught.value)
    assert "pw" not in str(caught.value)
