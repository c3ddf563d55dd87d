"""When an event is tried again, and when a destination is left in peace."""

from __future__ import annotations

import pytest

from headrace.delivery.latency import bucket_of, percentile, seconds_of
from headrace.delivery.retry import FAILURES, Breaker, delay_seconds


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (500, 300)])
def test_the_longest_wait_doubles_up_to_five_minutes(attempts: int, seconds: float) -> None:
    assert seconds == delay_seconds(attempts, None, lambda: 1.0)


def test_jitter_is_full() -> None:
    assert (0.0, 128.0) == (delay_seconds(9, None, lambda: 0.0), delay_seconds(9, None, lambda: 0.5))


@pytest.mark.parametrize(("asked", "seconds"), [(7.0, 7.0), (0.0, 1.0), (1e9, 3_600.0), (None, 1.0)])
def test_the_tools_wish_is_honoured_within_reason(asked: float | None, seconds: float) -> None:
    assert seconds == delay_seconds(1, asked, lambda: 1.0)


def opened(breaker: Breaker, now: float = 0.0) -> None:
    for _ in range(FAILURES):
        breaker.failed(now)


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(lambda: 1.0)
    for _ in range(FAILURES - 1):
        assert not breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        assert not breaker.failed(0.0)
    assert breaker.failed(0.0)
    assert 1.0 == breaker.wait_seconds(0.0)


def test_a_probe_that_fails_doubles_the_pause_up_to_half_a_minute() -> None:
    breaker = Breaker(lambda: 1.0)
    opened(breaker)
    now, pauses = 0.0, []
    for _ in range(8):
        pause = breaker.wait_seconds(now)
        assert pause is not None
        pauses.append(pause)
        now += pause
        assert breaker.begin()
        assert breaker.wait_seconds(now) is None
        breaker.failed(now, was_probe=True)
    assert [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0] == pauses


def test_one_request_decides_and_closes_it() -> None:
    breaker = Breaker(lambda: 1.0)
    opened(breaker)
    assert ("open", "half-open") == (breaker.state(0.5), breaker.state(1.0))
    assert breaker.begin()
    assert breaker.state(1.0) == "open"
    assert breaker.succeeded()
    assert "closed" == breaker.state(1.0)
    assert not breaker.begin()


def test_requests_that_were_on_their_way_do_not_make_the_pause_longer() -> None:
    breaker = Breaker(lambda: 1.0)
    opened(breaker)
    assert not breaker.failed(0.9)
    assert breaker.wait_seconds(0.9) == pytest.approx(0.1)


def test_a_tool_that_asks_for_a_pause_gets_it_at_once() -> None:
    breaker = Breaker(lambda: 1.0)
    assert breaker.failed(10.0, asked_seconds=60.0)
    assert 60.0 == breaker.wait_seconds(10.0)
    assert 0.0 == breaker.wait_seconds(70.0)


def test_an_abandoned_probe_leaves_the_turn_to_another() -> None:
    breaker = Breaker(lambda: 1.0)
    opened(breaker)
    breaker.begin()
    breaker.abandoned()
    assert 0.0 == breaker.wait_seconds(1.0)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.0011, 0.5, 1.0, 59.9, 86_400.0])
def test_a_bucket_tells_a_latency_within_ten_percent(seconds: float) -> None:
    told = seconds_of(bucket_of(seconds))
    assert max(seconds, 0.001) * 0.9999 <= told <= max(seconds, 0.001) * 1.1001


def test_percentiles_of_counts() -> None:
    buckets = {bucket_of(0.1): 94, bucket_of(1.0): 5, bucket_of(60.0): 1}
    assert percentile(buckets, 0.5) == seconds_of(bucket_of(0.1))
    assert percentile(buckets, 0.95) == seconds_of(bucket_of(1.0))
    assert percentile(buckets, 1.0) == seconds_of(bucket_of(60.0))
    assert percentile({}, 0.95) is None
