"""All rules for machines, built-in ones and the workspace's own, as they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from headrace.reports.conditions import Condition
from headrace.reports.model.settings import RULES, ModelSettings, Rule


class RuleShown(msgspec.Struct, frozen=True):
    name: str
    sentence: str
    kind: str
    when: Sequence[Condition]
    built_in: bool
    on: bool


def rules_shown(settings: ModelSettings) -> list[RuleShown]:
    """Built-in ones first."""
    active = {rule.name for rule in settings.active_rules()}

    def shown(rules: Iterable[Rule], *, built_in: bool) -> list[RuleShown]:
        return [
            RuleShown(rule.name, rule.sentence, rule.kind, rule.when, built_in, rule.name in active) for rule in rules
        ]

    return shown(RULES, built_in=True) + shown(settings.rules, built_in=False)
