"""What a change of the e-mail model's settings changes: in words, and which of the model's tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from headrace.reports.model.checking import plain_values
from headrace.reports.model.settings import RULES, ModelSettings

Part = Literal["model", "rules", "labels"]

PARTS: Final[Mapping[Part, str]] = {
    "model": "all tables of the schema email are made anew from the tables of events, by the server between loads",
    "rules": "opens and clicks are flagged anew, part by part, by the server between loads; no table is emptied",
    "labels": "email.labels is written anew",
}
"""What is made anew when the part of the settings on which it depends has changed."""


def made_anew(before: ModelSettings, after: ModelSettings) -> list[Part]:
    """In the order of PARTS."""
    parts: list[Part] = []
    old, new = of_the_model(before), of_the_model(after)
    rules = old.pop("rules"), new.pop("rules")
    if old != new:
        parts.append("model")
    elif rules[0] != rules[1]:
        parts.append("rules")
    if plain_values(before)["labels"] != plain_values(after)["labels"]:
        parts.append("labels")
    return parts


def of_the_model(settings: ModelSettings) -> dict[str, Any]:
    """What all tables but labels depend on, as JSON values. Sentences of rules, rules that are switched off, and the order of rules,
    sources and all goals but the first are not part of it."""
    active = ModelSettings(rules=settings.active_rules())
    goals = plain_values(settings)["goals"]
    return {
        "email_sources": sorted(settings.email_sources),
        "rules": [{**rule, "sentence": ""} for rule in plain_values(active)["rules"]],
        "goals": goals[:1] + sorted(goals[1:], key=lambda goal: str(goal["name"])),
    }


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
