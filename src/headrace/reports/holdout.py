"""What the mails bring about: people who get them against those of a holdout group, whom the trait `holdout` keeps from getting any."""

# ruff: noqa: S608 -- identifiers are the model's, values go through the engine's `text`

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from statistics import NormalDist
from typing import Any, Final

import msgspec

from headrace.reports.goals import goal_named
from headrace.reports.model.schema import Type
from headrace.reports.periods import within
from headrace.reports.place import Place

STEP: Final = "holdout"
CONFIDENCE: Final = 0.99


class HoldoutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of all people of whom the trait `holdout` is known."""

    goal: str | None = None
    """The name of a goal; None: the first of the settings."""
    since: datetime | None = None
    """Conversions from this moment on."""
    until: datetime | None = None
    """Conversions before this moment."""


class HoldoutGroup(msgspec.Struct, frozen=True):
    """`buyers` have a conversion at least. Rates are null for a group of nobody."""

    people: int
    buyers: int
    orders: int
    revenue: float
    conversion: float | None
    """buyers / people"""
    orders_per_person: float | None
    revenue_per_person: float | None


class HoldoutResult(msgspec.Struct, frozen=True):
    """`lift` is the mailed people's conversion by the holdout's, less 1; `lift_low` and `lift_high` are its 99 % interval. Where one of them is
    null, `reason` says why."""

    holdout: HoldoutGroup
    mailed: HoldoutGroup
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    confidence: float
    reason: str | None


def sql(request: HoldoutRequest, place: Place) -> str:
    """One SELECT of `part` (holdout, mailed), `people`, `buyers`, `orders`, `revenue`; a group of nobody has no row. Raises ConfigError.

    Of a person with several identities the last that was told counts, whoever of them it was told of."""
    goal = goal_named(request.goal, place, STEP)
    conditions = [
        f"goal = {place.engine.text(goal.name)}",
        *within("happened_at", request.since, request.until, place.engine, STEP),
    ]
    return (
        "WITH people AS (SELECT person_key, (array_agg(is_holdout ORDER BY happened_at DESC, "
        'id COLLATE "C" DESC, is_holdout DESC))[1] AS is_holdout FROM email.controls GROUP BY person_key), '
        "bought AS (SELECT person_key, count(*) AS orders, sum(value) AS revenue "
        f"FROM email.conversions WHERE {' AND '.join(conditions)} GROUP BY person_key) "
        "SELECT CASE WHEN p.is_holdout THEN 'holdout' ELSE 'mailed' END AS part, count(*) AS people, "
        "count(b.person_key) AS buyers, "
        f"{place.engine.cast('coalesce(sum(b.orders), 0)', Type.COUNT)} AS orders, "
        f"{place.engine.cast('coalesce(sum(b.revenue), 0)', Type.MONEY)} AS revenue "
        "FROM people AS p LEFT JOIN bought AS b ON b.person_key = p.person_key GROUP BY 1 ORDER BY 1"
    )


def result(request: HoldoutRequest, table: Any) -> HoldoutResult:
    """From the rows of `sql`, a pyarrow.Table."""
    del request
    rows = {row["part"]: row for row in table.to_pylist()}
    holdout, mailed = _group(rows.get("holdout", {})), _group(rows.get("mailed", {}))
    lift, low, high, reason = _lift(holdout, mailed)
    return HoldoutResult(holdout, mailed, lift, low, high, CONFIDENCE, reason)


def _group(row: Mapping[str, Any]) -> HoldoutGroup:
    people, buyers, orders = (int(row.get(name, 0)) for name in ("people", "buyers", "orders"))
    revenue = float(row.get("revenue", 0))
    return HoldoutGroup(
        people=people,
        buyers=buyers,
        orders=orders,
        revenue=revenue,
        conversion=buyers / people if people else None,
        orders_per_person=orders / people if people else None,
        revenue_per_person=revenue / people if people else None,
    )


def _lift(holdout: HoldoutGroup, mailed: HoldoutGroup) -> tuple[float | None, float | None, float | None, str | None]:
    """Lift, its interval, and why one of them is not there."""
    if not holdout.conversion or mailed.conversion is None:
        for group, name in ((holdout, "in the holdout group"), (mailed, "outside of the holdout group")):
            if not group.people:
                return None, None, None, f"nobody is {name}: the trait `holdout` of identify events says who is"
        return None, None, None, "nobody in the holdout group converted, so there is nothing to compare with"
    ratio = mailed.conversion / holdout.conversion
    if not mailed.buyers:
        return ratio - 1, None, None, "nobody who was mailed converted, so the interval cannot be told"
    low, high = ratio_interval(mailed.buyers, mailed.people, holdout.buyers, holdout.people, CONFIDENCE)
    return ratio - 1, low - 1, high - 1, None


def ratio_interval(buyers: int, people: int, other_buyers: int, others: int, confidence: float) -> tuple[float, float]:
    """The interval of a ratio of two shares by the normal approximation of its logarithm; both have buyers.

    Method C of Katz, Baptista, Azen and Pike, Obtaining confidence intervals for the risk ratio in cohort studies, Biometrics 34
    (1978), pages 469-474: ln(ratio) +- z * sqrt(1/a - 1/n + 1/b - 1/m)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    error = math.sqrt(1 / buyers - 1 / people + 1 / other_buyers - 1 / others)
    ratio = (buyers / people) / (other_buyers / others)
    return ratio * math.exp(-z * error), ratio * math.exp(z * error)
