"""A period as a condition of SQL."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.errors import ConfigError
from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import Type


def within(expression: str, since: datetime | None, until: datetime | None, engine: Engine, step: str) -> list[str]:
    """Conditions that a time is not before `since` and before `until`. Raises ConfigError for a period that cannot be."""
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise ConfigError(f"{step}: {name} has no time zone: write it with one, for example 2026-01-31T00:00:00Z")
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"{step}: since ({since.isoformat()}) is not before until ({until.isoformat()})")
    bounds = ((">=", since), ("<", until))
    return [
        f"{expression} {sign} {engine.cast(engine.text(moment.astimezone(UTC).isoformat()), Type.TIME)}"
        for sign, moment in bounds
        if moment is not None
    ]
