"""Intervals of differences, and what is said of them."""

from __future__ import annotations

import random

import pytest

from headrace.reports.comparing import Verdict, compared, confidence_of, difference_interval


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998, table II, method 10: examples a, b, c, d, f and h.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_the_interval_is_that_of_the_published_examples(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert (low, high) == pytest.approx(difference_interval(*counts, 0.95), abs=0.00006)


def test_what_does_not_differ_is_told_apart_as_rarely_as_the_confidence_says() -> None:
    chance = random.Random(7)
    wrong = 0
    for _ in range(400):
        one, other = (sum(chance.random() < 0.23 for _ in range(300)) for _ in range(2))
        low, high = difference_interval(one, 300, other, 300, 0.95)
        wrong += low > 0 or high < 0
    assert 4 <= wrong <= 36  # 20 are expected


def figures(delivered: int, clicks: int, opens: int = 0, revenue: float = 0.0) -> dict[str, float | None]:
    return {
        "delivered": delivered,
        "human_clicks": clicks,
        "human_opens": opens,
        "revenue": revenue,
        "click_rate": clicks / delivered if delivered else None,
        "click_to_open_rate": clicks / opens if opens else None,
        "revenue_per_recipient": revenue / delivered if delivered else None,
    }


@pytest.mark.parametrize(
    ("first", "other", "verdict"),
    [
        (figures(10_000, 300), figures(10_000, 450), "more"),
        (figures(10_000, 450), figures(10_000, 300), "less"),
        (figures(100, 3), figures(100, 4), "same"),  # the same rates by far fewer mails
        (figures(0, 0), figures(100, 4), "untested"),
        (figures(100, 101), figures(100, 4), "untested"),
    ],
)
def test_a_share_is_more_or_less_only_where_chance_would_hardly_do_it(
    first: dict[str, float | None], other: dict[str, float | None], verdict: Verdict
) -> None:
    ((rate,),) = [compared([first, other], ["click_rate"])]
    assert rate.differences[0] is None
    assert rate.differences[1] is not None
    assert verdict == rate.differences[1].verdict


def test_amounts_differ_by_a_number_and_no_verdict() -> None:
    (money,) = compared([figures(100, 3, revenue=50.0), figures(100, 3, revenue=90.0)], ["revenue_per_recipient"])
    found = money.differences[1]
    assert found is not None
    assert ("untested", None, None) == (found.verdict, found.low, found.high)
    assert (0.4, 0.8) == pytest.approx((found.difference, found.relative))


def test_more_comparisons_need_more_to_be_sure_of_one() -> None:
    pair = [figures(1_000, 30), figures(1_000, 46)]
    five = [*pair, *([figures(1_000, 30)] * 3)]
    alone, among = (compared(of, ["click_rate"])[0].differences[1] for of in (pair, five))
    assert alone is not None
    assert among is not None
    assert (among.high or 0) - (among.low or 0) > (alone.high or 0) - (alone.low or 0)
    assert confidence_of(2) < confidence_of(3) < confidence_of(5)
