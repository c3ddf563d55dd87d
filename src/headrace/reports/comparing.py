"""Whether a figure of one campaign differs from that of another by more than chance. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Final, Literal

import msgspec

from headrace.reports.measures import MEASURES, Measure

CONFIDENCE: Final = 0.95
Verdict = Literal["more", "less", "same", "untested"]
"""same: chance alone makes such a difference often enough. untested: of counts and amounts nothing of the kind can be said."""
_TESTED: Final = frozenset(("delivered", "sent", "human_opens"))
"""What shares are of, where each of them may be reached once: messages."""


class Difference(msgspec.Struct, frozen=True):
    """From the first campaign. `low` and `high` bound the difference of a share; null where nothing was tested. `relative` is a share of the first's
    figure, null where that is 0."""

    difference: float | None
    relative: float | None
    low: float | None
    high: float | None
    verdict: Verdict


class FigureCompared(msgspec.Struct, frozen=True):
    """`values` and `differences` are by campaign, in the order that was asked for; the first has no difference."""

    measure: str
    values: Sequence[float | None]
    differences: Sequence[Difference | None]


def confidence_of(campaigns: int) -> float:
    """Of each single comparison, so that all of those with the first campaign together err as often as one alone would (Bonferroni).

    >>> round(confidence_of(2), 4), round(confidence_of(5), 4)
    (0.95, 0.9875)
    """
    return 1 - (1 - CONFIDENCE) / max(campaigns - 1, 1)


def compared(figures: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> list[FigureCompared]:
    """`figures`: the measures by campaign, with what their shares are made of."""
    confidence = confidence_of(len(figures))
    return [
        FigureCompared(
            name,
            [of[name] for of in figures],
            [None, *(_difference(MEASURES[name], figures[0], of, confidence) for of in figures[1:])],
        )
        for name in names
    ]


def _difference(
    measure: Measure, first: Mapping[str, float | None], other: Mapping[str, float | None], confidence: float
) -> Difference:
    before, now = first[measure.name], other[measure.name]
    if before is None or now is None:
        return Difference(None, None, None, None, "untested")
    difference = now - before
    relative = difference / before if before else None
    bounds = _bounds(measure, first, other, confidence)
    if bounds is None:
        return Difference(difference, relative, None, None, "untested")
    low, high = bounds
    verdict: Verdict = "more" if low > 0 else "less" if high < 0 else "same"
    return Difference(difference, relative, low, high, verdict)


def _bounds(
    measure: Measure, first: Mapping[str, float | None], other: Mapping[str, float | None], confidence: float
) -> tuple[float, float] | None:
    if measure.unit != "share" or measure.denominator not in _TESTED or measure.numerator is None:
        return None
    counts = [of.get(name) for of in (other, first) for name in (measure.numerator, measure.denominator)]
    whole = [int(count) for count in counts if count is not None]
    if len(whole) < len(counts) or not whole[1] or not whole[3] or whole[0] > whole[1] or whole[2] > whole[3]:
        return None
    return difference_interval(whole[0], whole[1], whole[2], whole[3], confidence)


def difference_interval(count: int, of: int, other: int, of_other: int, confidence: float) -> tuple[float, float]:
    """The interval of count/of - other/of_other; both denominators above 0.

    Method 10 of Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine 17 (1998),
    pages 873-890: from the score intervals of both shares, so that it holds for few events too.

    >>> [round(bound, 4) for bound in difference_interval(56, 70, 48, 80, 0.95)]
    [0.0524, 0.3339]
    """
    share, low, high = _score(count, of, confidence)
    share_other, low_other, high_other = _score(other, of_other, confidence)
    difference = share - share_other
    return (
        difference - math.hypot(share - low, high_other - share_other),
        difference + math.hypot(high - share, share_other - low_other),
    )


def _score(count: int, of: int, confidence: float) -> tuple[float, float, float]:
    """A share with its score interval: Wilson, Probable inference, JASA 22 (1927), pages 209-212."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return share, min(middle - half, share), max(middle + half, share)
