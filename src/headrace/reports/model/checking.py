"""Whether settings of the e-mail model make sense together, and with the sources that there are."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from headrace.errors import ConfigError
from headrace.reports.conditions import Condition, Field, condition_sql
from headrace.reports.model.engine import Engine
from headrace.reports.model.rule_fields import RULE_FIELDS
from headrace.reports.model.settings import RULES, Goal, LabelRule, ModelSettings, Rule
from headrace.reports.refused import explained

STEP: Final = "email settings"
MOST: Final[Mapping[str, int]] = {"email_sources": 1_000, "rules": 100, "goals": 50, "labels": 10_000}
MOST_CONDITIONS: Final = 20
MOST_PROPERTIES: Final = 20
LONGEST: Final = 500
BUILT_IN: Final = tuple(rule.name for rule in RULES)

_FIELDS: Final = {name: Field("x", type_) for name, type_ in RULE_FIELDS.items()}
_KINDS: Final = ("opened", "clicked")
_NO_LINE: Final = ("Cc", "Cs", "Zl", "Zp")


def checked(given: object, source_slugs: Collection[str]) -> ModelSettings:
    """Settings out of JSON or TOML values; what is not named has its default. Raises ConfigError."""
    settings = converted(given)
    check(settings, source_slugs)
    return settings


def converted(given: object) -> ModelSettings:
    """As `checked`, without a look at what it means."""
    try:
        return msgspec.convert(given, ModelSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{STEP}: {explained(error, given, ModelSettings)}") from None


def check(settings: ModelSettings, source_slugs: Collection[str]) -> None:
    """`source_slugs` are those of all sources, removed ones too: their events stay. Raises ConfigError."""
    for name, most in MOST.items():
        if len(getattr(settings, name)) > most:
            raise ConfigError(f"{STEP}: {name}: {len(getattr(settings, name))} are too many; {most} are possible")
    for slug in settings.email_sources:
        _check_source(f"{STEP}: email_sources", slug, source_slugs)
    _check_once(f"{STEP}: email_sources", settings.email_sources)
    _check_rules(settings)
    _check_goals(settings, source_slugs)
    for number, label in enumerate(settings.labels, 1):
        _check_label(f"{STEP}: labels: rule {number} ({label.set})", label)
    _check_once(
        f"{STEP}: labels",
        (f"{rule.set}: {rule.pattern} ({rule.field})" for rule in settings.labels),
        "of two with the same pattern the second is never used",
    )


def check_condition(step: str, condition: Condition) -> None:
    """Raises ConfigError that says what is possible."""
    condition_sql(condition, _FIELDS, Engine(), step)
    if condition.operator in ("known", "unknown"):
        if condition.value is not None:
            raise ConfigError(f"{step}: {condition.field} {condition.operator} takes no value")
        return
    values = condition.value if isinstance(condition.value, list | tuple) else [condition.value]
    for value in values:
        if isinstance(value, str):
            _check_line(f"{step}: {condition.field} {condition.operator}", value)
        if condition.field == "kind" and condition.operator in ("is", "is_not", "in", "not_in") and value not in _KINDS:
            raise ConfigError(f"{step}: kind is {' or '.join(_KINDS)}, never {value!r:.100}")


def _check_rules(settings: ModelSettings) -> None:
    for rule in settings.rules:
        step = f"{STEP}: rules: {rule.name}"
        if rule.name in BUILT_IN:
            raise ConfigError(
                f"{step}: that is a built-in rule's name; take another, and switch the built-in one off with disabled_rules"
            )
        _check_line(f"{step}: sentence", rule.sentence)
        _check_conditions(step, rule)
    _check_once(f"{STEP}: rules", (rule.name for rule in settings.rules))
    there = {*BUILT_IN, *(rule.name for rule in settings.rules)}
    for name in settings.disabled_rules:
        if name not in there:
            raise ConfigError(
                f"{STEP}: disabled_rules: there is no {name[:100]!r}; there are {', '.join(sorted(there))}"
            )
    _check_once(f"{STEP}: disabled_rules", settings.disabled_rules)


def _check_conditions(step: str, rule: Rule) -> None:
    if not 1 <= len(rule.when) <= MOST_CONDITIONS:
        raise ConfigError(
            f"{step}: when: give 1 to {MOST_CONDITIONS} conditions, [field, operator, value] each; found {len(rule.when)}"
        )
    for condition in rule.when:
        check_condition(step, condition)


def _check_goals(settings: ModelSettings, source_slugs: Collection[str]) -> None:
    if not settings.goals:
        raise ConfigError(f"{STEP}: goals: give one at least: the first is the one of email.campaigns")
    for goal in settings.goals:
        _check_goal(f"{STEP}: goals: {goal.name}", goal, source_slugs)
    _check_once(f"{STEP}: goals", (goal.name for goal in settings.goals))


def _check_goal(step: str, goal: Goal, source_slugs: Collection[str]) -> None:
    _check_line(f"{step}: event", goal.event)
    if goal.source is not None:
        _check_source(f"{step}: source", goal.source, source_slugs)
    for name in ("value", "key"):
        properties = getattr(goal, name)
        if len(properties) > MOST_PROPERTIES:
            raise ConfigError(f"{step}: {name}: {MOST_PROPERTIES} properties are possible, found {len(properties)}")
        for property_ in properties:
            _check_line(f"{step}: {name}", property_)
    for name in ("click_days", "open_days"):
        if not math.isfinite(getattr(goal, name)):
            raise ConfigError(f"{step}: {name}: give a number of days up to 365")


def _check_label(step: str, rule: LabelRule) -> None:
    _check_line(f"{step}: label", rule.label)
    _check_line(f"{step}: pattern", rule.pattern)


def _check_line(step: str, text: str) -> None:
    if not text.strip() or len(text) > LONGEST or any(unicodedata.category(c) in _NO_LINE for c in text):
        raise ConfigError(
            f"{step}: give 1 to {LONGEST} characters in one line, no control characters; found {text[:100]!r}"
        )


def _check_source(step: str, slug: str, source_slugs: Collection[str]) -> None:
    if slug not in source_slugs:
        there = f"there are {', '.join(sorted(source_slugs))}" if source_slugs else "there are none yet"
        raise ConfigError(f"{step}: there is no source {slug[:100]!r}; {there}")


def _check_once(step: str, names: Iterable[str], reason: str = "give each once") -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{step}: {twice!r:.200} stands there twice; {reason}")


def plain_values(settings: ModelSettings) -> dict[str, Any]:
    """As JSON and TOML hold it: a condition without a value is two words."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))  # lists, never tuples
    for rule in values["rules"]:
        rule["when"] = [condition[:2] if condition[2] is None else condition for condition in rule["when"]]
    return values
