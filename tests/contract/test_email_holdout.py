"""Holdout groups and times to convert on both engines: rows by hand (`reported_house`), expected values counted in the test."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import ConfigError
from headrace.reports import converting, holdout
from headrace.reports.conditions import Condition
from headrace.reports.converting import ConvertingRequest
from headrace.reports.holdout import HoldoutRequest
from reported_house import House, at, filled


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = importlib.import_module(f"engines.{request.param}").fresh(tmp_path_factory.mktemp("warehouse"))()
    yield House(opened, filled(opened))
    opened.close()


def test_holdout_compares_those_who_get_mail_with_those_who_do_not(house: House) -> None:
    found = house.holdout(HoldoutRequest())
    mailed, held = found.mailed, found.holdout
    # u1 ordered twice, u2 and u3 once, u3 without a value; h1 once, h2 never.
    assert (4, 3, 4, 40.5) == (mailed.people, mailed.buyers, mailed.orders, mailed.revenue)
    assert (2, 1, 1, 7.25) == (held.people, held.buyers, held.orders, held.revenue)
    assert (3 / 4, 1.0, 10.125) == (mailed.conversion, mailed.orders_per_person, mailed.revenue_per_person)
    assert (1 / 2, 1 / 2, 3.625) == (held.conversion, held.orders_per_person, held.revenue_per_person)
    assert pytest.approx(0.5) == found.lift
    assert found.reason is None
    # z = 2.575829..., the error of the logarithm of 1.5 is sqrt(1/3 - 1/4 + 1/1 - 1/2).
    error = 2.5758293035489 * math.sqrt(7 / 12)
    assert pytest.approx(1.5 * math.exp(-error) - 1) == found.lift_low
    assert pytest.approx(1.5 * math.exp(error) - 1) == found.lift_high


def test_holdout_of_a_period_and_of_another_goal(house: House) -> None:
    found = house.holdout(HoldoutRequest(since=at(4.5), until=at(50)))
    assert (2, 2, 0) == (found.mailed.buyers, found.mailed.orders, found.holdout.orders)  # o2 and o4; o5 is at its end
    assert (None, None) == (found.lift, found.lift_low)
    assert found.reason is not None
    assert "nobody in the holdout group converted" in found.reason
    signed = house.holdout(HoldoutRequest(goal="signed_up"))
    assert (1, 0) == (signed.mailed.buyers, signed.holdout.buyers)
    with pytest.raises(ConfigError, match="no goal 'sold'"):
        house.holdout(HoldoutRequest(goal="sold"))


def rows(*parts: tuple[str, int, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"part": part, "people": people, "buyers": buyers, "orders": buyers, "revenue": Decimal(0)}
            for part, people, buyers in parts
        ],
        schema=pa.schema(
            [
                ("part", pa.string()),
                *((name, pa.int64()) for name in ("people", "buyers", "orders")),
                ("revenue", pa.decimal128(38, 4)),
            ]
        ),
    )


@pytest.mark.parametrize(
    ("parts", "lift", "said"),
    [
        ((), None, "nobody is in the holdout group"),
        ((("mailed", 10, 5),), None, "nobody is in the holdout group"),
        ((("holdout", 10, 5),), None, "nobody is outside of the holdout group"),
        ((("holdout", 10, 0), ("mailed", 10, 5)), None, "nobody in the holdout group converted"),
        ((("holdout", 10, 5), ("mailed", 10, 0)), -1.0, "nobody who was mailed converted"),
    ],
)
def test_a_lift_that_cannot_be_told_has_a_reason(
    parts: Sequence[tuple[str, int, int]], lift: float | None, said: str
) -> None:
    found = holdout.result(HoldoutRequest(), rows(*parts))
    assert (lift, None, None) == (found.lift, found.lift_low, found.lift_high)
    assert said in str(found.reason)


def test_the_interval_is_that_of_others() -> None:
    # https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats._result_classes.RelativeRiskResult.confidence_interval.html
    expected = (1.1261564003469628, 5.549850800541033)
    assert pytest.approx(expected) == holdout.ratio_interval(10, 75, 12, 225, 0.95)
    assert pytest.approx(expected, rel=0.1) != holdout.ratio_interval(10, 75, 12, 225, 0.99)


def test_time_to_convert_by_model_and_campaign(house: House) -> None:
    def found(**asked: Any) -> list[tuple[str, str, int, float, float]]:
        request = ConvertingRequest(**asked)
        result = converting.result(request, house.table(converting.sql(request, house.place)))
        hours = [(row.median_seconds / 3600, row.p90_seconds / 3600) for row in result]
        return [
            (row.model, row.campaign_id, row.conversions, round(median, 6), round(p90, 6))
            for row, (median, p90) in zip(result, hours, strict=True)
        ]

    # last: 1, 28 and 1 hours; 0.9 * 2 = 1.8: 1 + 0.8 * 27.
    last = ("last", "c1", 3, 1.0, 22.6)
    assert [last, ("any", "c1", 1, 1.0, 1.0), ("any", "c2", 1, 24.0, 24.0)] == found()
    assert [last] == found(models=["last"])
    assert [("last", "c1", 2, 14.5, 25.3)] == found(models=["last"], filters=[Condition("touch", "is", "click")])
    assert [("last", "c1", 1, 1.0, 1.0)] == found(models=["last"], until=at(30))
    assert [] == found(goal="signed_up")
    with pytest.raises(ConfigError, match="models are"):
        found(models=["best"])
