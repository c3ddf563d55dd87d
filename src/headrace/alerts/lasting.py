"""From one check to the next: what is told of a subject, and when. Pure.

    well --bad--> waiting --bad for hold--> told --good for recover--> well
                  waiting --good--> well (nobody hears of it)

In quiet hours nothing is told; what is then to be told is decided anew at every check, so that after their end only what still holds is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from headrace.alerts import quiet
from headrace.alerts.base import AlertSettings, Finding

Told = Literal["began", "lasts", "recovered", "ended", "test"]
"""ended: the subject is not there any more, or not watched any more."""


class Lasting(msgspec.Struct, frozen=True):
    """A subject that is not well. `since` is when that began, `seen_at` the check that first said so, `finding` what the last one said.
    `told_at` is None while nobody has been told; `good_since` is since when it is well again, as far as anybody can say."""

    since: datetime
    seen_at: datetime
    finding: Finding
    told_at: datetime | None = None
    good_since: datetime | None = None


class Step(NamedTuple):
    """`lasting` is None when the subject is well. `told` is what is to be told now, None for nothing."""

    lasting: Lasting | None
    told: Told | None = None


def step(before: Lasting | None, finding: Finding, settings: AlertSettings, now: datetime) -> Step:
    """One check of one subject."""
    if finding.verdict == "unknown":
        return Step(before)
    if finding.verdict == "good":
        return _good(before, settings, now)
    since = min(finding.since or now, now)
    current = (
        Lasting(since, now, finding)
        if before is None
        else msgspec.structs.replace(before, finding=finding, good_since=None)
    )
    if is_silent(settings, now):
        return Step(current)
    if current.told_at is None:
        if now - current.seen_at < timedelta(minutes=settings.hold_minutes):
            return Step(current)
        return Step(msgspec.structs.replace(current, told_at=now), "began")
    remind = timedelta(hours=settings.remind_hours)
    if remind and now - current.told_at >= remind:
        return Step(msgspec.structs.replace(current, told_at=now), "lasts")
    return Step(current)


def _good(before: Lasting | None, settings: AlertSettings, now: datetime) -> Step:
    if before is None or before.told_at is None:
        return Step(None)
    good_since = before.good_since or now
    is_well = now - good_since >= timedelta(minutes=settings.recover_minutes)
    if is_well and not is_silent(settings, now):
        return Step(None, "recovered")
    return Step(msgspec.structs.replace(before, good_since=good_since))


def gone(before: Lasting, settings: AlertSettings, now: datetime) -> Step:
    """The subject is not there any more."""
    if before.told_at is None:
        return Step(None)
    return Step(before) if is_silent(settings, now) else Step(None, "ended")


def is_silent(settings: AlertSettings, now: datetime) -> bool:
    return not settings.urgent and quiet.is_quiet(settings.quiet, settings.zone, now)
