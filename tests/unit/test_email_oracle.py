"""The oracle of the e-mail model, held to figures counted by hand; no warehouse is there."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, Final

import pytest

from email_cases import Case, cases, contradictions
from email_lines import SOURCES, rows_of
from email_oracle import DEFINITIONS, differences, tables
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


def worked_out(case: Case, definitions: Definitions = DEFINITIONS) -> list[str]:
    found = tables(rows_of(case.events), SOURCES, ModelSettings(), definitions)
    return contradictions(case, found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_oracle_finds_what_was_counted_by_hand(case: Case) -> None:
    assert [] == worked_out(case)


def test_the_oracle_does_not_depend_on_the_order_of_rows() -> None:
    for case in CASES:
        forth, back = (tables(rows_of(events), SOURCES, ModelSettings()) for events in (case.events, case.events[::-1]))
        if len({(event.source, event.message_id) for event in case.events}) == len(case.events):
            assert [] == differences(forth, back)


@pytest.mark.parametrize("changed", CHANGED)
def test_each_definition_is_told_by_some_case(changed: str) -> None:
    other = replace(DEFINITIONS, **{changed: CHANGED[changed]})
    assert [] != [line for case in CASES for line in worked_out(case, other)]


def test_every_definition_is_tried() -> None:
    assert {field.name for field in fields(Definitions)} == CHANGED.keys()


def reasons(settings: ModelSettings) -> set[str]:
    found = [row for case in CASES for row in tables(rows_of(case.events), SOURCES, settings)["events"]]
    return {reason for row in found if row["is_machine"] for reason in row["machine_reasons"].split(",")}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_flags_something_unless_it_is_switched_off(rule: str) -> None:
    assert {rule} == reasons(ModelSettings()) - reasons(ModelSettings(disabled_rules=[rule]))
