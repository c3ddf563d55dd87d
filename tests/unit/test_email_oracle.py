"""The oracle of the e-mail model, held to figures counted by hand; no warehouse is there."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from functools import cache
from typing import Any, Final

import pytest

from email_cases import Case, cases, contradictions
from email_lines import SOURCES, rows_of
from email_oracle import DEFINITIONS, Row, differences, tables
from email_oracle_messages import Definitions
from headrace.reports.model.settings import RULES, ModelSettings

CASES: Final = cases()
CHANGED: Final[dict[str, Any]] = {
    "steps_to_a_person": 3,
    "delivery_may_be_late": timedelta(),
    "new_send_after": timedelta(hours=1),
    "a_click_is_an_open": False,
    "machines_are_left_out": False,
    "repeats_are_one": False,
    "seen_after_a_bounce_is_delivered": False,
    "clicks_beat_opens": False,
    "test_sends_are_left_out": False,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_oracle_finds_what_was_counted_by_hand(case: Case) -> None:
    assert [] == contradictions(case, tables(rows_of(case.events), SOURCES, ModelSettings()))


@cache
def rows_together() -> dict[tuple[str, str], list[Row]]:
    return rows_of(event for case in CASES for event in case.marked_events)


def found_together(settings: ModelSettings, definitions: Definitions = DEFINITIONS) -> dict[str, list[Row]]:
    sources = list(dict.fromkeys(source for case in CASES for source in case.sources()))
    return tables(rows_together(), sources, settings, definitions)


def test_the_oracle_does_not_depend_on_the_order_of_rows_nor_on_what_has_nothing_to_do_with_it() -> None:
    found = found_together(ModelSettings())
    assert [] == [line for case in CASES for line in contradictions(case, case.own(found))]

    for rows in rows_together().values():
        rows.reverse()
    assert [] == differences(found, found_together(ModelSettings()))


@pytest.mark.parametrize("changed", CHANGED)
def test_each_definition_is_told_by_some_case(changed: str) -> None:
    found = found_together(ModelSettings(), replace(DEFINITIONS, **{changed: CHANGED[changed]}))
    assert any(contradictions(case, case.own(found)) for case in CASES)


def test_every_definition_is_tried() -> None:
    assert {field.name for field in fields(Definitions)} == CHANGED.keys()


def reasons(settings: ModelSettings) -> set[str]:
    found = [row["machine_reasons"] for row in found_together(settings)["events"] if row["is_machine"]]
    return {reason for text in found for reason in text.split(",")}


def test_each_rule_flags_something_unless_it_is_switched_off() -> None:
    every = reasons(ModelSettings())
    assert {rule.name for rule in RULES} == every
    for rule in RULES:
        assert {rule.name} == every - reasons(ModelSettings(disabled_rules=[rule.name]))
