"""When an event happened: the server's timestamp from the client's texts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.sources.base import ClockSkew

FUTURE_ALLOWED: Final = timedelta(minutes=5)

TIMESTAMP_UNREADABLE: Final = "timestamp_unreadable"
TIMESTAMP_IN_FUTURE: Final = "timestamp_in_future"


def parse(text: str) -> datetime | None:
    """An ISO-8601 date, with or without time and zone, as UTC; None when it is not one or outside years 1 to 9999."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is UTC:
            return moment
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_epoch(number: float) -> str | None:
    """A number sent as a timestamp: seconds, or milliseconds from 10^11 on; as ISO-8601, None when out of range."""
    try:
        seconds = number / 1000 if abs(number) >= 1e11 else number
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


def event_time(
    received_at: datetime, original: str | None, sent_at: datetime | None, clock_skew: ClockSkew
) -> tuple[datetime, str | None]:
    """The event's timestamp (UTC) and a warning.

    correct: receivedAt - (sentAt - originalTimestamp), Segment's formula; keep: the client's own. Without a timestamp, or with one
    that cannot be read, receivedAt.
    """
    if original is None:
        return received_at, None
    moment = parse(original)
    if moment is not None and clock_skew == "correct" and sent_at is not None:
        try:
            moment = received_at - (sent_at - moment)
        except OverflowError:
            moment = None
    if moment is None:
        return received_at, TIMESTAMP_UNREADABLE
    if clock_skew == "keep" and moment > received_at + FUTURE_ALLOWED:
        return received_at, TIMESTAMP_IN_FUTURE
    return moment, None
