"""One increment: newly loaded rows of all tables that matter, through all tables of the model, in one transaction."""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from collections.abc import Sequence

from headrace.reports.model import attribution, grouping, identities, labels, messages, rollups
from headrace.reports.model.engine import Engine
from headrace.reports.model.reading import Reading, Slice
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation


def apply(derivation: Derivation, engine: Engine, settings: ModelSettings, slices: Sequence[Slice]) -> int:
    """Returns how many rows were read. Safe to call again with rows that were read before."""
    reading = Reading(engine)
    derivation.run(
        [
            *engine.temporary("raw_mail", reading.mail(slices)),
            *engine.temporary("raw_people", reading.people(slices)),
            *engine.temporary("raw_aliases", reading.aliases(slices)),
            *engine.temporary("incoming_goals", reading.goals(slices)),
            *engine.temporary(
                "incoming_controls",
                "SELECT coalesce(user_id, email, anonymous_id) AS recipient, is_holdout, happened_at, id FROM raw_people "
                "WHERE is_holdout IS NOT NULL AND coalesce(user_id, email, anonymous_id) IS NOT NULL",
            ),
            *engine.temporary(
                "incoming_names",
                "SELECT DISTINCT campaign_id, campaign_name, happened_at FROM raw_mail WHERE campaign_name IS NOT NULL",
            ),
        ]
    )
    raw = ("raw_mail", "raw_people", "raw_aliases", "incoming_goals")
    counts = derivation.fetch("SELECT " + ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in raw))
    read = sum(counts.to_pylist()[0].values())
    if not read:
        return 0
    identities.apply(derivation, engine)
    grouping.apply(derivation, engine, settings)
    messages.apply(derivation, engine, settings)
    attribution.apply(derivation, engine, settings)
    rollups.apply(derivation, engine, settings)
    labels.apply(derivation, engine, settings)
    return read
