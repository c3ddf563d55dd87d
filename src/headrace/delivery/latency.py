"""Latencies as counts in buckets, so that any period's percentile is a sum. Pure.

>>> seconds_of(bucket_of(2.0)) >= 2.0
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

STEP: Final = 1.1
"""Each bucket reaches so much further than the one before: a percentile is at most 10 % too high."""
FINEST_SECONDS: Final = 0.001
_LOG_STEP: Final = math.log(STEP)


def bucket_of(seconds: float) -> int:
    """0 is up to a millisecond, also for clocks that went back."""
    return max(0, math.ceil(math.log(seconds / FINEST_SECONDS) / _LOG_STEP)) if seconds > FINEST_SECONDS else 0


def seconds_of(bucket: int) -> float:
    """The upper bound of the bucket."""
    return float(FINEST_SECONDS * STEP**bucket)


def percentile(events_by_bucket: Mapping[int, int], share: float) -> float | None:
    """Below which latency `share` of the events lie, in seconds; None where there are none."""
    total = sum(events_by_bucket.values())
    if not total:
        return None
    wanted, counted = math.ceil(share * total), 0
    for bucket in sorted(events_by_bucket):
        counted += events_by_bucket[bucket]
        if counted >= wanted:
            return seconds_of(bucket)
    return None
