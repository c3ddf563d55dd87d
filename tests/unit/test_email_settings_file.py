"""The settings of the e-mail model as a file, and what a change of them changes."""

from __future__ import annotations

import re
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.reports.conditions import Condition
from headrace.reports.model import settings_file
from headrace.reports.model.checking import check, plain_values
from headrace.reports.model.differences import differences, made_anew
from headrace.reports.model.settings import ORDERS, RULES, Goal, LabelRule, ModelSettings, Rule

LINES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30).filter(str.strip)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_]{0,20}", fullmatch=True)
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
CONDITIONS = st.one_of(
    st.builds(Condition, st.just("ip"), st.sampled_from(["is", "contains", "starts_with"]), LINES),
    st.builds(Condition, st.just("domain"), st.sampled_from(["in", "contains_any"]), st.lists(LINES, min_size=1)),
    st.builds(Condition, st.just("seconds_after_delivery"), st.sampled_from(["less", "at_least"]), NUMBERS),
    st.builds(Condition, st.just("machine_flag"), st.just("is"), st.booleans()),
    st.builds(Condition, st.just("user_agent"), st.sampled_from(["known", "unknown"])),
)
RULE = st.builds(
    Rule,
    name=NAMES.map("own_{}".format),
    sentence=LINES,
    kind=st.sampled_from(["opened", "clicked", "both"]),
    when=st.lists(CONDITIONS, min_size=1, max_size=4),
    enabled=st.booleans(),
)
GOAL = st.builds(
    Goal,
    name=NAMES,
    event=LINES,
    source=st.sampled_from([None, "mails"]),
    value=st.lists(LINES, max_size=3),
    key=st.lists(LINES, max_size=3),
    click_days=st.floats(0.001, 365),
    open_days=st.floats(0, 365),
)
LABEL = st.builds(
    LabelRule, set=NAMES, label=LINES, pattern=LINES, field=st.sampled_from(["campaign_name", "campaign_id"])
)
SETTINGS = st.builds(
    ModelSettings,
    email_sources=st.sampled_from([[], ["mails"]]),
    disabled_rules=st.lists(st.sampled_from([rule.name for rule in RULES]), unique=True),
    rules=st.lists(RULE, max_size=3, unique_by=lambda rule: rule.name),
    goals=st.lists(GOAL, min_size=1, max_size=3, unique_by=lambda goal: goal.name),
    labels=st.lists(LABEL, max_size=4, unique_by=lambda rule: (rule.set, rule.pattern, rule.field)),
)


@settings(max_examples=25)
@given(SETTINGS)
def test_what_is_written_is_read_again_and_no_difference(chosen: ModelSettings) -> None:
    check(chosen, ["mails"])
    again = settings_file.read(settings_file.written(chosen))
    assert plain_values(chosen) == plain_values(again)
    assert [] == differences(chosen, again)
    assert [] == made_anew(chosen, again)


@settings(max_examples=25)
@given(SETTINGS, SETTINGS)
def test_whatever_makes_something_anew_is_told_as_a_difference(before: ModelSettings, after: ModelSettings) -> None:
    """The control of the test above, too: different settings have differences."""
    told = differences(before, after)
    assert told or not made_anew(before, after)
    is_same = before.labels == after.labels and all(
        {one.name: one for one in getattr(before, part)} == {one.name: one for one in getattr(after, part)}
        for part in ("rules", "goals")
    )
    assert is_same or told


def test_a_file_of_nothing_is_the_defaults() -> None:
    assert plain_values(ModelSettings()) == plain_values(settings_file.read(""))


def test_the_file_of_the_defaults_shows_every_part() -> None:
    text = settings_file.written(ModelSettings())
    assert {"email_sources", "disabled_rules", "labels", "goals"} == tomllib.loads(text).keys()
    assert '[[goals]]\nname = "order_completed"\nevent = "Order Completed"\n' in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "the file is no TOML in UTF-8"),
        ("goals = [", "the file is no TOML: "),
        ("a = " + "[" * 5_000, "the file is no TOML"),
        ("a = " + "1" * 5_000, "the file is no TOML: Exceeds the limit"),
        ("disabled_rules = [1979-05-27]", "disabled_rules: number 1: give a text; found datetime.date"),
        ("colour = 1", "there is no setting 'colour'"),
        (
            "[[rules]]\nname = 'a'\nsentence = 's'\nwhen = [['ip']]",
            "rules: a: when: number 1: give [field, operator, value]; found ['ip']",
        ),
        ("x" * 5_000_001, "the file has more than 5,000,000 bytes"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError, match="^email settings: .*" + re.escape(said)):
        settings_file.read(text)


OFFICE = Rule(name="office", sentence="From the office.", when=[Condition("ip", "starts_with", "10.")])
NEWSLETTER = LabelRule(set="type", label="Newsletter", pattern="NL*")
SALE = LabelRule(set="type", label="Sale", pattern="*sale*", field="campaign_id")
SIGNED_UP = Goal(name="signed_up", event="Signed Up", source="shop")


@pytest.mark.parametrize(
    ("before", "after", "lines", "parts"),
    [
        ({}, {"email_sources": ["blog"]}, ["+ source blog"], ["model"]),
        ({"email_sources": ["a", "b"]}, {"email_sources": ["b", "a"]}, [], []),
        ({}, {"disabled_rules": ["fast_click"]}, ["~ rule fast_click: switched off"], ["rules"]),
        ({"disabled_rules": ["fast_click"]}, {}, ["~ rule fast_click: switched on"], ["rules"]),
        ({}, {"rules": [OFFICE]}, ["+ rule office: From the office."], ["rules"]),
        ({"rules": [OFFICE]}, {}, ["- rule office"], ["rules"]),
        (
            {"rules": [OFFICE]},
            {"rules": [msgspec.structs.replace(OFFICE, sentence="Ours.")]},
            ['~ rule office: sentence is "Ours.", was "From the office."'],
            [],
        ),
        (
            {"rules": [OFFICE]},
            {"rules": [msgspec.structs.replace(OFFICE, enabled=False)]},
            ["~ rule office: enabled is false, was true"],
            ["rules"],
        ),
        ({}, {"rules": [msgspec.structs.replace(OFFICE, enabled=False)]}, ["+ rule office: From the office."], []),
        ({}, {"goals": [ORDERS, SIGNED_UP]}, ["+ goal signed_up: Signed Up of shop"], ["model"]),
        (
            {"goals": [ORDERS, SIGNED_UP]},
            {"goals": [SIGNED_UP, ORDERS]},
            ["~ the orders of email.campaigns are those of the goal signed_up, were those of order_completed"],
            ["model"],
        ),
        (
            {},
            {"goals": [msgspec.structs.replace(ORDERS, click_days=7.0)]},
            ["~ goal order_completed: click_days is 7.0, was 5.0"],
            ["model"],
        ),
        (
            {"goals": [ORDERS, SIGNED_UP, msgspec.structs.replace(ORDERS, name="any")]},
            {"goals": [ORDERS, msgspec.structs.replace(ORDERS, name="any"), SIGNED_UP]},
            [],
            [],
        ),
        ({}, {"labels": [NEWSLETTER]}, ["+ label type: campaign_name NL* is Newsletter"], ["labels"]),
        (
            {"labels": [NEWSLETTER, SALE]},
            {"labels": [SALE, NEWSLETTER]},
            ["~ labels: their rules are tried in another order"],
            ["labels"],
        ),
        ({"labels": [NEWSLETTER, SALE]}, {"labels": [NEWSLETTER]}, ["- label type: campaign_id *sale* is Sale"], ["labels"]),
    ],
)  # fmt: skip
def test_a_change_is_told_with_what_is_made_anew(
    before: dict[str, object], after: dict[str, object], lines: list[str], parts: list[str]
) -> None:
    old, new = msgspec.convert(before, ModelSettings), msgspec.convert(after, ModelSettings)
    assert (lines, parts) == (differences(old, new), made_anew(old, new))
