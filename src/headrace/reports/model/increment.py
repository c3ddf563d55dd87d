"""One increment: newly loaded rows of all tables that matter, through all tables of the model, in one transaction."""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headrace.reports.model import attribution, grouping, identities, labels, messages, rollups
from headrace.reports.model.engine import Engine
from headrace.reports.model.reading import Reading, Slice
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation


class Applied(NamedTuple):
    """Rows that were read. `finds_digests`: nothing was done, since digests of addresses occur and were not looked for so far."""

    rows: int
    finds_digests: bool = False


def apply(
    derivation: Derivation,
    engine: Engine,
    settings: ModelSettings,
    slices: Sequence[Slice],
    *,
    digests: bool,
    again: tuple[int, int] | None = None,
) -> Applied:
    """Safe to call again with rows that were read before. `digests`: addresses are known by their SHA-256, too. `again`: the least and
    the greatest key of groups that are worked out anew though nothing new came."""
    derivation.run(engine.begin())
    reading = Reading(engine)
    derivation.run(_read(engine, reading, _with_rows(derivation, reading, slices)))
    raw = ("raw_mail", "raw_people", "raw_aliases", "incoming_goals")
    counts = derivation.fetch("SELECT " + ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in raw))
    rows = sum(counts.to_pylist()[0].values())
    if not rows and again is None:
        return Applied(0)
    if not digests and _has_digests(derivation, engine):
        return Applied(rows, finds_digests=True)
    identities.apply(derivation, engine, digests=digests)
    grouping.apply(derivation, engine, settings, again)
    messages.apply(derivation, engine, settings)
    attribution.apply(derivation, engine, settings)
    rollups.apply(derivation, engine, settings)
    labels.apply(derivation, engine, settings)
    return Applied(rows)


def _with_rows(derivation: Derivation, reading: Reading, slices: Sequence[Slice]) -> Sequence[Slice]:
    """Most small loads touch few tables, and a SELECT that reads all of them takes DuckDB longer to plan than they take together."""
    if not slices:
        return slices
    found = " UNION ALL ".join(
        f"SELECT {place} AS place WHERE EXISTS (SELECT 1 FROM {reading.rows(one)})" for place, one in enumerate(slices)
    )
    places = set(derivation.fetch(found).column("place").to_pylist())
    return [one for place, one in enumerate(slices) if place in places]


def _read(engine: Engine, reading: Reading, slices: Sequence[Slice]) -> list[str]:
    recipient = "coalesce(user_id, email, anonymous_id)"
    return [
        *engine.temporary("raw_mail", grouping.named(engine, reading.mail(slices))),
        *engine.temporary("raw_people", reading.people(slices)),
        *engine.temporary("raw_aliases", reading.aliases(slices)),
        *engine.temporary("incoming_goals", reading.goals(slices)),
        *engine.temporary(
            "incoming_controls",
            f"SELECT {recipient} AS recipient, is_holdout, happened_at, id FROM raw_people "
            f"WHERE is_holdout IS NOT NULL AND {recipient} IS NOT NULL",
        ),
        *engine.temporary(
            "incoming_names",
            "SELECT campaign_id, campaign_name, max(happened_at) AS happened_at FROM raw_mail "
            "WHERE campaign_name IS NOT NULL GROUP BY campaign_id, campaign_name",
        ),
    ]


def _has_digests(derivation: Derivation, engine: Engine) -> bool:
    def is_digest(text: str) -> str:
        return f"(length({text}) = 64 AND {engine.matches(text, '^[0-9a-fA-F]{64}$')})"

    ids = f"({is_digest('user_id')} OR {is_digest('anonymous_id')} OR email_sha256 IS NOT NULL)"
    selects = [
        f"SELECT 1 AS found FROM raw_mail WHERE {ids}",
        f"SELECT 1 FROM raw_people WHERE {ids}",
        f"SELECT 1 FROM incoming_goals WHERE {is_digest('recipient')}",
    ]
    return bool(derivation.fetch(" UNION ALL ".join(selects) + " LIMIT 1").num_rows)
