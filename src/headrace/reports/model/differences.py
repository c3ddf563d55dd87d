"""What a change of the e-mail model's settings changes: in words, and which of the model's tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from headrace.reports.model.checking import plain_values
from headrace.reports.model.settings import RULES, ModelSettings

Part = Literal["events", "conversions", "labels"]

PARTS: Final[Mapping[Part, str]] = {
    "events": "the whole model is made anew: other events are read, or other opens and clicks are a machine's",
    "conversions": "email.conversions and email.attribution are made anew, and orders and revenue in all tables",
    "labels": "email.labels is written anew",
}
"""What is made anew when the part of the settings on which it depends has changed."""


def made_anew(before: ModelSettings, after: ModelSettings) -> list[Part]:
    """In the order of PARTS; a rule's sentence and the order of rules, sources and all goals but the first change nothing."""
    parts: list[Part] = []
    if _events(before) != _events(after):
        parts.append("events")
    if _goals(before) != _goals(after):
        parts.append("conversions")
    if plain_values(before)["labels"] != plain_values(after)["labels"]:
        parts.append("labels")
    return parts


def _events(settings: ModelSettings) -> Any:
    rules = [(rule.name, rule.kind, [tuple(_words(c.value, c)) for c in rule.when]) for rule in settings.active_rules()]
    return sorted(settings.email_sources), rules


def _goals(settings: ModelSettings) -> Any:
    return settings.goals[0].name, sorted(plain_values(settings)["goals"], key=lambda goal: str(goal["name"]))


def _words(value: Any, condition: Any) -> Iterable[Any]:
    yield condition.field
    yield condition.operator
    yield tuple(value) if isinstance(value, list) else value


def differences(before: ModelSettings, after: ModelSettings) -> list[str]:
    """A line for each thing that is added (+), removed (-) or changed (~); none when nothing changes."""
    old, new = plain_values(before), plain_values(after)
    return [
        *(f"+ source {name}" for name in new["email_sources"] if name not in old["email_sources"]),
        *(f"- source {name}" for name in old["email_sources"] if name not in new["email_sources"]),
        *_switched(before, after),
        *_of_named("rule", old["rules"], new["rules"]),
        *_of_named("goal", old["goals"], new["goals"]),
        *_first_goal(before, after),
        *_of_labels(old["labels"], new["labels"]),
    ]


def _switched(before: ModelSettings, after: ModelSettings) -> list[str]:
    there = {rule.name for rule in (*RULES, *after.rules)}
    changed = set(before.disabled_rules) ^ set(after.disabled_rules)
    return [
        f"~ rule {name}: switched {'off' if name in after.disabled_rules else 'on'}" for name in sorted(there & changed)
    ]


def _of_named(what: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    before, after = {one["name"]: one for one in old}, {one["name"]: one for one in new}
    lines = [f"+ {what} {name}: {_said(one)}" for name, one in after.items() if name not in before]
    lines += [f"- {what} {name}" for name in before if name not in after]
    for name, one in after.items():
        changes = [key for key in one if name in before and one[key] != before[name][key]]
        lines += [f"~ {what} {name}: {key} is {_word(one[key])}, was {_word(before[name][key])}" for key in changes]
    return lines


def _said(one: Mapping[str, Any]) -> str:
    if "sentence" in one:
        return str(one["sentence"])
    return f"{one['event']} of {one['source']}" if one["source"] else str(one["event"])


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _first_goal(before: ModelSettings, after: ModelSettings) -> list[str]:
    old, new = before.goals[0].name, after.goals[0].name
    return [f"~ the orders of email.campaigns are those of the goal {new}, were those of {old}"] if old != new else []


def _of_labels(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    before, after = ([_label(one) for one in side] for side in (old, new))
    was, is_ = set(before), set(after)
    lines = [f"+ label {text}" for text in after if text not in was]
    lines += [f"- label {text}" for text in before if text not in is_]
    if [text for text in before if text in is_] != [text for text in after if text in was]:
        lines.append("~ labels: their rules are tried in another order")
    return lines


def _label(one: Mapping[str, Any]) -> str:
    return f"{one['set']}: {one['field']} {one['pattern']} is {one['label']}"
