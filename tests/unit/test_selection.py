"""What of a source a warehouse stores."""

from __future__ import annotations

import re
from pathlib import Path as File
from typing import Any

import msgspec
import pytest

from headrace.errors import ConfigError
from headrace.event import Event
from headrace.loader.selection import EVERYTHING, Selection, Selector, as_json, consequences, parse, parse_all, selector
from made_events import made

OPENED = made("m1", event="Email Opened", properties={"plan": "pro"})
USERS = made("m2", event="Users")
IDENTIFY = made("m3", "identify")
GROUP = made("m4", "group")
PAGE = made("m5", "page")
ALIAS = made("m6", "alias")
EVENTS = (OPENED, USERS, IDENTIFY, GROUP, PAGE, ALIAS)


def kept(json: dict[str, Any], *events: Event) -> list[str]:
    chosen = Selector(parse(json))
    return [event.message_id for event in events or EVENTS if chosen.keeps(event)]


def on(json: dict[str, Any], *tables: str) -> list[str]:
    chosen = Selector(parse(json))
    return [table for table in tables if chosen.keeps_table(table)]


def test_nothing_said_is_everything() -> None:
    assert EVERYTHING == parse({}) == parse({"without": [], "where": None, "only": None})
    assert [event.message_id for event in EVENTS] == kept({})
    assert ["tracks", "x", "users"] == on({}, "tracks", "x", "users")


@pytest.mark.parametrize(
    ("json", "events", "tables"),
    [
        ({"without": ["pages"]}, "m1 m2 m3 m4 m6", "tracks email_opened _users identifies users accounts"),
        ({"without": ["email_opened"]}, "m1 m2 m3 m4 m5 m6", "tracks _users identifies users accounts pages"),
        ({"without": ["_users"]}, "m1 m2 m3 m4 m5 m6", "tracks email_opened identifies users accounts pages"),
        ({"without": ["tracks"]}, "m3 m4 m5 m6", "identifies users accounts pages"),
        ({"without": ["identifies"]}, "m1 m2 m4 m5 m6", "tracks email_opened _users accounts pages"),
        ({"without": ["groups", "aliases"]}, "m1 m2 m3 m5", "tracks email_opened _users identifies users pages"),
        ({"only": ["email_opened"]}, "m1", "tracks email_opened"),
        ({"only": ["_users"]}, "m2", "tracks _users"),
        ({"only": ["tracks"]}, "m1 m2", "tracks"),
        ({"only": ["tracks", "email_opened"]}, "m1 m2", "tracks email_opened"),
        ({"only": ["identifies"]}, "m3", "identifies users"),
        ({"only": ["identifies", "email_opened"]}, "m1 m3", "tracks email_opened identifies users"),
    ],
)
def test_tables_decide_about_events_and_rows(json: dict[str, Any], events: str, tables: str) -> None:
    assert events.split() == kept(json)
    assert tables.split() == on(
        json, "tracks", "email_opened", "_users", "identifies", "users", "accounts", "pages"
    )  # fmt: skip


def test_the_filter_decides_about_events_of_tables_that_are_on() -> None:
    assert ["m1"] == kept({"where": 'event = "Email Opened" or type = "page"', "without": ["pages"]})
    assert ["m3", "m4"] == kept({"where": 'traits is not null and type != "track"'})


def test_an_event_that_no_filter_can_read_is_kept_so_that_it_is_rejected_visibly() -> None:
    broken = made("m7", properties=b"[1]")
    assert ["m7"] == kept({"where": "properties.plan = 'pro'"}, broken)
    assert [] == kept({"where": "properties.plan = 'pro'"}, made("m7"))
    assert ["m8"] == kept({"only": ["email_opened"]}, made("m8", event=None))


def test_properties_are_switched_off_by_table_and_column() -> None:
    chosen = Selector(parse({"without_properties": ["email_opened.plan", "*.context_ip"]}))
    assert not chosen.keeps_all_columns
    for table, column, expected in (
        ("email_opened", "plan", False),
        ("identifies", "plan", True),
        ("email_opened", "plan_2", True),
        ("email_opened", "context_ip", False),
        ("tracks", "context_ip", False),
    ):
        assert expected is chosen.keeps_column(table, column)
    assert Selector(EVERYTHING).keeps_all_columns


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        ([], "expected a JSON object with only, without"),
        ({"exclude": []}, "there is no 'exclude'"),
        ({"withuot": []}, "did you mean 'without'"),
        ({"only": ["tracks"], "without": ["pages"]}, "not both"),
        ({"only": []}, "pause the warehouse"),
        ({"only": "tracks"}, "expected a list of texts in `only`, found 'tracks'"),
        ({"without": [1]}, "expected a list of texts in `without`"),
        ({"without": ["Email Opened"]}, "did you mean 'email_opened'"),
        ({"without": ["Users"]}, "did you mean '_users'"),
        ({"without": ["users"]}, "'users' follows 'identifies'; name that table in `without`"),
        ({"only": ["accounts"]}, "'accounts' follows 'groups'"),
        ({"without_properties": ["plan"]}, "for a column of all tables write '*.plan'"),
        ({"without_properties": ["."]}, "names columns as table.column"),
        ({"without_properties": ["Email Opened.Cart.Total"]}, "did you mean 'email_opened.cart_total'"),
        ({"without_properties": ["*.Plan"]}, "did you mean '*.plan'"),
        ({"without_properties": ["tracks.received_at"]}, "standard column, which cannot be switched off"),
        ({"without_properties": ["*.id"]}, "standard column"),
        ({"without_properties": ["pages.name"]}, "standard column"),
        ({"without_properties": ["groups.group_id"]}, "standard column"),
        ({"without_properties": ["x.loaded_at"]}, "standard column"),
        ({"without_properties": ["x._extra"]}, "standard column"),
        ({"without_properties": ["users.plan"]}, "write 'identifies.plan' instead"),
        ({"where": 3}, "expected a filter's text in `where`, found 3"),
        ({"where": "evnt = 'x'"}, "selection, where: filter, column 1: there is no field `evnt`"),
        ({"where": ""}, "the expression is empty"),
    ],
)
def test_a_mistake_is_refused_with_what_to_write_instead(json: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(json)
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["identifies.name", "*.name", "x._user_id", "x.event_2", "tracks.context_ip"])
def test_a_column_that_is_standard_elsewhere_can_be_switched_off(name: str) -> None:
    assert (name,) == parse({"without_properties": [name]}).without_properties


@pytest.mark.parametrize(
    "json",
    [{}, {"only": ["tracks", "x"]}, {"without": ["x"], "without_properties": ["x.y", "*.z"], "where": "event exists"}],
)
def test_a_selection_is_kept_as_json_and_read_back(json: dict[str, Any]) -> None:
    assert json == as_json(parse(json))
    assert parse(json) == parse(msgspec.json.decode(msgspec.json.encode(parse(json))))


def test_selections_of_a_warehouse_name_the_source_that_is_wrong() -> None:
    assert {"shop": Selection(without=("pages",))} == parse_all({"shop": {"without": ["pages"]}})
    with pytest.raises(ConfigError, match=r"not both \(source 'mail'\)"):
        parse_all({"shop": {}, "mail": {"only": ["tracks"], "without": ["pages"]}})


def test_a_selector_is_made_once_for_equal_selections() -> None:
    assert selector(parse({"without": ["pages"]})) is selector(parse({"without": ["pages"]}))
    assert selector(parse({"without": ["pages"]})) is not selector(EVERYTHING)


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        ({}, []),
        ({"without": ["pages"]}, []),
        ({"only": ["tracks", "identifies", "groups"]}, []),
        ({"without": ["tracks"]}, ["without it no track event is stored"]),
        ({"without": ["email_opened"]}, ["The events of email_opened still have their row in `tracks`"]),
        ({"without": ["identifies"]}, ["`users` follows `identifies`"]),
        ({"only": ["x", "groups", "identifies"]}, ["`tracks` gets the rows of these events alone: x."]),
        ({"only": ["pages"]}, ["`users` follows", "`accounts` follows"]),
    ],
)
def test_what_may_not_be_expected_is_said(json: dict[str, Any], expected: list[str]) -> None:
    notes = consequences(parse(json))
    assert len(expected) == len(notes)
    assert all(part in note for part, note in zip(expected, notes, strict=True))


DOCS = (File(__file__).parents[2] / "docs/selective-loading.md").read_text()
ROWS = {
    "not stored": [],
    "a row in `tracks` alone": ["tracks"],
    "a row in `tracks` alone, so without its properties": ["tracks"],
    "`tracks` and `email_opened`": ["tracks", "email_opened"],
    "`tracks` and its own table": ["tracks", "other"],
}


@pytest.mark.parametrize(
    ("json", "opened", "other"), re.findall(r"^\| `(\{.*?\})` \| (.*?) \| (.*?) \|$", DOCS, re.MULTILINE)
)
def test_the_documented_table_is_true(json: str, opened: str, other: str) -> None:
    chosen = Selector(parse(msgspec.json.decode(json)))
    for event, own, expected in ((OPENED, "email_opened", opened), (made(event="Other"), "other", other)):
        stored = ["tracks", *([own] if chosen.keeps_table(own) else [])] if chosen.keeps(event) else []
        assert ROWS[expected] == stored


def test_the_documented_selection_is_one() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    assert ("page_scrolled", "screens") == parse(msgspec.json.decode(block)).without
    assert 6 == len(re.findall(r"^\| `\{", DOCS, re.MULTILINE))
