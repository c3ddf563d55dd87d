"""More events than usual are refused at the door or rejected by the warehouse."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple, cast

import msgspec

from headrace.alerts.base import (
    AlertSettings,
    Condition,
    Figures,
    Finding,
    Received,
    SourceFigures,
    named,
    percent,
    share,
)
from headrace.catalog import described
from headrace.event import hour_of


class RejectedEventsSettings(AlertSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    source: Annotated[str, described("The slug of one source. Empty: each of them.")] = ""
    above_percent: Annotated[
        float,
        msgspec.Meta(
            description="Told when more than so many percent of what came was refused or rejected.", ge=0, lt=100
        ),
    ] = 2.0
    factor: Annotated[
        float, msgspec.Meta(description="And when that is more than so many times the usual share.", ge=1)
    ] = 2.0
    period_hours: Annotated[
        int, msgspec.Meta(description="Over this hour so far and so many whole hours before it.", ge=1, le=48)
    ] = 1
    days: Annotated[int, msgspec.Meta(description="Usual is the share of so many days before.", ge=1, le=30)] = 7
    least_events: Annotated[int, msgspec.Meta(description="With fewer events in the period nothing is said.", ge=1)] = (
        100
    )


class _Counts(NamedTuple):
    received: int = 0
    refused: int = 0
    rejected: int = 0

    @property
    def share(self) -> float:
        return share(self.refused + self.rejected, self.received)


class RejectedEvents(Condition):
    slug = "rejected-events"
    summary = "More events of a source than usual are refused by the collector or rejected by the warehouse."
    Settings = RejectedEventsSettings

    def findings(self, figures: Figures, now: datetime, lasting: Collection[str]) -> Sequence[Finding]:
        own = cast("RejectedEventsSettings", self.settings)
        received = figures.received()
        until = hour_of(now.astimezone(UTC)) + timedelta(hours=1)
        since = until - timedelta(hours=own.period_hours + 1)
        recent = _counts(received, since, until)
        before = _counts(received, since - timedelta(days=own.days), since)
        return [
            self._finding(
                source,
                recent.get(source.slug, _Counts()),
                before.get(source.slug, _Counts()),
                is_lasting=source.slug in lasting,
            )
            for source in figures.sources()
            if own.source in ("", source.slug)
        ]

    def _finding(self, source: SourceFigures, recent: _Counts, before: _Counts, *, is_lasting: bool) -> Finding:
        own = cast("RejectedEventsSettings", self.settings)
        if recent.received < (1 if is_lasting else own.least_events):
            return Finding(source.slug, "unknown")
        name = named(source.nickname, source.slug)
        usual = before.share if before.received >= own.least_events else None
        numbers = {**recent._asdict(), "share": round(recent.share, 4)}
        hours = (
            f"this hour and the {own.period_hours} before it"
            if own.period_hours > 1
            else "this hour and the one before"
        )
        what = (
            f"{percent(recent.share)} of what came from {name} in {hours} was not taken: {recent.refused:,} events refused by the "
            f"collector and {recent.rejected:,} rejected by the warehouse, of {recent.received:,}."
        )
        said = (
            f"Usual is {percent(usual)} (of {before.received:,} in the {own.days} days before)."
            if usual is not None
            else ""
        )
        is_bad = recent.share * 100 > own.above_percent and (usual is None or recent.share > usual * own.factor)
        if not is_bad:
            return Finding(source.slug, "good", f"The events of {name} are taken again", what, said, figures=numbers)
        return Finding(
            source.slug,
            "bad",
            title=f"{'More' if said else 'Many'} events of {name}{' than usual' if said else ''} are rejected",
            what=what,
            usual=said,
            remedy="The table headrace.rejected has each of them with its reason: mend what sends them. "
            'For example: headrace query "SELECT code, count(*) FROM headrace.rejected GROUP BY code"',
            look="headrace status --hours 24",
            figures=numbers,
        )


def _counts(received: Received, since: datetime, until: datetime) -> Mapping[str, _Counts]:
    found: dict[str, _Counts] = {}
    for (source, hour), tally in received.hourly.tallies.items():
        if since <= hour < until:
            of = found.get(source, _Counts())
            found[source] = _Counts(
                of.received + tally.accepted + tally.refused, of.refused + tally.refused, of.rejected
            )
    for (source, hour), rejected in received.rejected.items():
        if since <= hour < until:
            of = found.get(source, _Counts())
            found[source] = of._replace(rejected=of.rejected + rejected)
    return found
