"""Seconds from receipt to row, counted by the loader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headrace.loader.freshness import MINUTES, Freshness

NOW = datetime(2026, 3, 1, 12, 30, 20, tzinfo=UTC)


def received(*seconds: float) -> list[datetime]:
    return [NOW - timedelta(seconds=one) for one in seconds]


def test_percentiles_are_at_most_a_tenth_too_high() -> None:
    freshness = Freshness()
    freshness.loaded(received(*(number / 10 for number in range(1, 101))), NOW)
    found = freshness.told(NOW)
    assert found is not None
    assert (100, NOW.replace(second=0)) == (found.events, found.since)
    assert 5.0 <= found.p50 <= 5.5
    assert 9.5 <= found.p95 <= 9.5 * 1.1


def test_an_hour_later_it_is_forgotten() -> None:
    freshness = Freshness()
    assert freshness.told(NOW) is None
    freshness.loaded(received(1), NOW)
    assert freshness.told(NOW + timedelta(minutes=MINUTES)) is not None
    assert freshness.told(NOW + timedelta(minutes=MINUTES + 1)) is None


@pytest.mark.parametrize("seconds", [-3600.0, 0.0, 1e9])
def test_clocks_that_jump_are_counted_at_the_ends(seconds: float) -> None:
    freshness = Freshness()
    freshness.loaded(received(seconds), NOW)
    found = freshness.told(NOW)
    assert found is not None
    assert 1 == found.events
    assert 0.001 <= found.p95
