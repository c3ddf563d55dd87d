"""A warehouse that falls behind, or takes no loads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, cast

import msgspec

from headrace.alerts.base import AlertSettings, Condition, Figures, Finding, WarehouseFigures, named
from headrace.alerts.spans import span
from headrace.catalog import described

_WELL: Final = "loading"
_TROUBLE: Final = {
    "failing": "takes no loads now",
    "opening": "cannot be reached",
    "stopped": "has stopped: something is wrong that a person must mend",
}


class WarehouseLateSettings(AlertSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    warehouse: Annotated[str, described("The slug of one warehouse. Empty: each of them.")] = ""
    late_seconds: Annotated[
        float, msgspec.Meta(description="Told when its oldest pending event has waited for so long.", gt=0)
    ] = 300.0


class WarehouseLate(Condition):
    slug = "warehouse-late"
    summary = "A warehouse is late: events wait for it too long, or it takes no loads."
    Settings = WarehouseLateSettings

    def findings(self, figures: Figures, now: datetime, lasting: Collection[str]) -> Sequence[Finding]:
        del lasting
        own = cast("WarehouseLateSettings", self.settings)
        return [
            self._finding(warehouse, now) for warehouse in figures.warehouses() if own.warehouse in ("", warehouse.slug)
        ]

    def _finding(self, of: WarehouseFigures, now: datetime) -> Finding:
        own = cast("WarehouseLateSettings", self.settings)
        name = named(of.nickname, of.slug)
        is_late = of.lag_seconds >= own.late_seconds
        numbers = {"lag_seconds": round(of.lag_seconds, 1), "pending": of.pending}
        if of.state in ("paused", "closed"):  # a person's wish
            return Finding(of.slug, "unknown")
        if of.state == _WELL and not is_late:
            what = f"{name} loads; its oldest pending event has waited {span(of.lag_seconds)}."
            return Finding(of.slug, "good", title=f"{name} is up to date again", what=what, figures=numbers)
        trouble = _TROUBLE.get(of.state)
        waiting = f"{of.pending:,} events wait for it, the oldest for {span(of.lag_seconds)}" if of.pending else ""
        return Finding(
            of.slug,
            "bad",
            title=f"{name} {trouble.partition(':')[0]}" if trouble else f"{name} is late",
            what=". ".join(part for part in (f"{name} {trouble}" if trouble else "", waiting, of.error) if part) + ".",
            usual=f"Told from {span(own.late_seconds)} on; usual are seconds.",
            remedy="Nothing is lost: events wait in the log, and are loaded when it works again. "
            f"Its state and what mends it: headrace warehouse test {of.slug}",
            look=f"headrace warehouse show {of.slug}",
            since=now - timedelta(seconds=of.lag_seconds) if of.pending else None,
            figures=numbers,
        )
