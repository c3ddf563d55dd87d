"""What a filter costs an event: the least CPU time of several rounds, whether or not properties are parsed.

python bench/filters.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from headrace.filters import compile_filter
from made_events import made

EVENTS = 20_000
ROUNDS = 9
CONDITIONS = (
    'event = "Email Opened"',
    'type = "track" and event in ["Email Opened", "Email Link Clicked", "Email Bounced"]',
    'event matches "Email * Clicked"',
    'timestamp >= "2026-01-01"',
    'type = "track" and event in ["Email Opened"] and properties.campaign_id != null',
    'properties.revenue >= 10 and context.app.version = "2.1"',
)


def main() -> None:
    event = made(
        event="Email Opened",
        properties={f"property_{number}": "some text of a usual length" for number in range(18)}
        | {"campaign_id": "spring", "revenue": 14.99},
        context={"app": {"version": "2.1"}, "ip": "192.0.2.1", "userAgent": "Mozilla/5.0", "library": {"name": "x"}},
    )
    size = len(event.properties) + len(event.context)
    print(f"us an event with {size:,} bytes of properties and context")
    for text in CONDITIONS:
        matches = compile_filter(text).matches
        least = float("inf")
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(EVENTS):
                matches(event)
            least = min(least, time.process_time() - began)
        print(f"{least / EVENTS * 1e6:6.2f}  {text}")


if __name__ == "__main__":
    main()
