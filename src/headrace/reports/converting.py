"""How long it takes from a touch to the conversion that is given to it, by campaign and attribution model."""

# ruff: noqa: S608 -- identifiers are the model's, values go through the engine's `text`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, get_args

import msgspec

from headrace.errors import ConfigError
from headrace.reports.conditions import Condition, Field, condition_sql
from headrace.reports.goals import goal_named
from headrace.reports.periods import within
from headrace.reports.place import Place

STEP: Final = "time to convert"
Model = Literal["last", "first", "any"]
FILTERS: Final[Mapping[str, Field]] = {
    "source": Field("source", "text"),
    "campaign_id": Field("campaign_id", "text"),
    "email_id": Field("email_id", "text"),
    "journey_id": Field("journey_id", "text"),
    "domain": Field("domain", "text"),
    "touch": Field("touch", "text"),
    "sent_at": Field("sent_at", "time"),
}


class ConvertingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Conversions without a touch have no time to convert and are not counted."""

    goal: str | None = None
    """The name of a goal; None: the first of the settings."""
    models: Sequence[Model] = ("last", "first", "any")
    filters: Sequence[Condition] = ()
    """All hold of the message or its touch; the fields are FILTERS."""
    since: datetime | None = None
    """Conversions from this moment on."""
    until: datetime | None = None
    """Conversions before this moment."""


class ConvertingRow(msgspec.Struct, frozen=True):
    """`conversions` are distinct. In the model any a conversion has a time for each message that was touched, and counts in each campaign of theirs.
    Quantiles are interpolated."""

    model: str
    campaign_id: str
    conversions: int
    median_seconds: float
    p90_seconds: float


def sql(request: ConvertingRequest, place: Place) -> str:
    """One SELECT with the columns of ConvertingRow. Raises ConfigError."""
    goal, engine = goal_named(request.goal, place, STEP), place.engine
    wrong = [model for model in request.models if model not in get_args(Model)]
    if wrong or not request.models:
        raise ConfigError(f"{STEP}: models are one or more of {', '.join(get_args(Model))}, found {wrong!r:.100}")
    conditions = [
        f"goal = {engine.text(goal.name)}",
        f"model IN ({', '.join(map(engine.text, request.models))})",
        *within("happened_at", request.since, request.until, engine, STEP),
        *(condition_sql(condition, FILTERS, engine, STEP) for condition in request.filters),
    ]
    quantiles = ", ".join(
        f"percentile_cont({share}) WITHIN GROUP (ORDER BY {engine.seconds('happened_at', 'touched_at')}) AS {name}"
        for share, name in ((0.5, "median_seconds"), (0.9, "p90_seconds"))
    )
    return (
        f"SELECT model, campaign_id, count(DISTINCT conversion_key) AS conversions, {quantiles} FROM email.attribution "
        f"WHERE {' AND '.join(conditions)} GROUP BY model, campaign_id"
    )


def result(request: ConvertingRequest, table: Any) -> Sequence[ConvertingRow]:
    """From the rows of `sql`, a pyarrow.Table: models as asked for, of each the campaigns with the most conversions first."""
    rows = [ConvertingRow(**row) for row in table.to_pylist()]
    places: dict[str, int] = {model: place for place, model in enumerate(request.models)}
    return sorted(rows, key=lambda row: (places[row.model], -row.conversions, row.campaign_id))
