"""Which goal a report is about."""

from __future__ import annotations

from headrace.errors import ConfigError
from headrace.reports.model.settings import Goal
from headrace.reports.place import Place


def goal_named(name: str | None, place: Place, step: str) -> Goal:
    """None: the first of the settings. Raises ConfigError."""
    goals = {goal.name: goal for goal in place.settings.goals}
    if not goals:
        raise ConfigError(f"{step}: there is no goal in the settings of the e-mail model; add one")
    if name is None:
        return place.settings.goals[0]
    if name not in goals:
        raise ConfigError(f"{step}: there is no goal {name!r:.100}; there are {', '.join(goals)}")
    return goals[name]
