"""A destination that delivers too little, or nothing at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, cast

import msgspec

from headrace.alerts.base import (
    AlertSettings,
    Condition,
    DestinationFigures,
    Figures,
    Finding,
    named,
    percent,
    share,
)
from headrace.catalog import described

USUAL_DAYS: Final = 7


class DeliveryRateSettings(AlertSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    destination: Annotated[str, described("The slug of one destination. Empty: each of them.")] = ""
    below_percent: Annotated[
        float,
        msgspec.Meta(description="Told when less than so many percent of the events are delivered.", gt=0, le=100),
    ] = 95.0
    period_minutes: Annotated[
        float, msgspec.Meta(description="Over the outcomes of the last so many minutes.", ge=1, le=20_160)
    ] = 15.0
    least_events: Annotated[
        int, msgspec.Meta(description="With fewer outcomes in that time nothing is said.", ge=1)
    ] = 20


class DeliveryRate(Condition):
    slug = "delivery-rate"
    summary = "A destination delivers less than a share of its events, or it was disabled or stopped."
    Settings = DeliveryRateSettings

    def findings(self, figures: Figures, now: datetime, lasting: Collection[str]) -> Sequence[Finding]:
        own = cast("DeliveryRateSettings", self.settings)
        since = now - timedelta(minutes=own.period_minutes)
        found = [
            self._finding(destination, is_lasting=destination.slug in lasting)
            for destination in figures.destinations(since, now)
            if own.destination in ("", destination.slug)
        ]
        if all(finding.verdict != "bad" for finding in found):
            return found
        before = {
            destination.slug: destination
            for destination in figures.destinations(since - timedelta(days=USUAL_DAYS), since)
        }
        return [
            msgspec.structs.replace(finding, usual=_usual(before.get(finding.subject)))
            if finding.verdict == "bad"
            else finding
            for finding in found
        ]

    def _finding(self, of: DestinationFigures, *, is_lasting: bool) -> Finding:
        own = cast("DeliveryRateSettings", self.settings)
        total = of.delivered + of.failed + of.retrying
        rate = share(of.delivered, total)
        name = named(of.nickname, of.slug)
        period = f"the last {own.period_minutes:g} minutes"
        numbers = {"delivered": of.delivered, "failed": of.failed, "retrying": of.retrying, "rate": round(rate, 4)}
        look = f"headrace delivery show {of.slug}"
        reason = f" Most often: {of.error}." if of.error else ""
        if of.state in ("disabled", "stopped"):
            return Finding(
                of.slug,
                "bad",
                title=f"Delivery to {name} is {of.state}",
                what=f"{name} is {of.state}: nothing is sent to it.{f' The reason: {of.error}.' if of.error else ''}",
                remedy=f"Mend what it says, then run: headrace destination resume {of.slug}. Its events wait in the log meanwhile.",
                look=look,
                figures=numbers,
            )
        if of.state == "paused" or total < (1 if is_lasting else own.least_events):
            return Finding(of.slug, "unknown")
        counted = f"{percent(rate)} of its events were delivered in {period}: {of.delivered:,} of {total:,}"
        if rate * 100 >= own.below_percent:
            return Finding(
                of.slug, "good", title=f"Delivery to {name} works again", what=f"{counted}.", figures=numbers
            )
        return Finding(
            of.slug,
            "bad",
            title=f"Delivery to {name} fails",
            what=f"Only {counted}; {of.failed:,} failed for good, {of.retrying:,} are tried again.{reason}",
            remedy="Look at its errors and mend what they say. What is tried again arrives by itself; "
            f"dead letters can be sent again: headrace dead-letters replay {of.slug}",
            look=look,
            figures=numbers,
        )


def _usual(before: DestinationFigures | None) -> str:
    total = before.delivered + before.failed + before.retrying if before else 0
    if before is None or not total:
        return ""
    return f"Usual is {percent(share(before.delivered, total))} (of {total:,} in the {USUAL_DAYS} days before)."
