"""What needs a person: each thing once, with the page that mends it, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from headrace.alerts.shown import AlertShown, ChannelShown, Holding
from headrace.console import attention
from headrace.console.books import HourBooks
from headrace.console.source_shown import KeyShown, SourceEntry, SourceShown
from headrace.console.status import ArchiveStatus, DestinationStatus, WarehouseState, WarehouseStatus
from headrace.delivery.arrived import HourOfSource

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def source(**changes: Any) -> SourceEntry:
    """One that receives, without anything to say; `keys` are their ages in days."""
    keys = [KeyShown(f"k{at:03}", NOW - timedelta(days=age)) for at, age in enumerate(changes.pop("keys", (30,)))]
    own = {name: changes.pop(name) for name in ("enabled", "created_at") if name in changes}
    shown = SourceShown(
        slug="mails", kind="http-api", title="HTTP API", deprecated=None, nickname="Mails", schema="mails", state="enabled",
        enabled=True, settings={}, keys=keys, created_at=NOW - timedelta(days=30), removed_at=None,
    )  # fmt: skip
    entry = SourceEntry(
        source=msgspec.structs.replace(shown, **own), accepted=1_000, refused=0, refused_today=0, hours=[10] * 24,
        last_event_at=NOW - timedelta(minutes=1), destinations=0,
    )  # fmt: skip
    return msgspec.structs.replace(entry, **changes)


def active(*hours_ago: int) -> Sequence[HourOfSource]:
    return [HourOfSource(NOW.replace(minute=0) - hours * HOUR, 5, 0) for hours in hours_ago]


def warehouse(totals: dict[str, int] | None = None, lag_seconds: float = 0.0, **state: Any) -> WarehouseStatus:
    made = WarehouseState(**{"slug": "house", "kind": "duckdb", "nickname": "House", "state": "loading", **state})
    return WarehouseStatus(made, totals or {"pending": 0}, (), (), lag_seconds)


def test_what_is_well_says_nothing() -> None:
    assert [] == list(attention.of_source(source(), active(3, 2, 1, 0), NOW))
    assert [] == list(attention.of_warehouse(warehouse()))
    assert [] == list(attention.of_destination(DestinationStatus("hook", "webhook", "Hook", "running"), ()))
    assert [] == list(attention.of_archive(ArchiveStatus("archive", None, ())))


@pytest.mark.parametrize(
    ("href", "entry"),
    [
        ("/sources/mails/rejected", source(refused_today=50)),
        ("/sources/mails", source(last_event_at=None, accepted=0, hours=[0] * 24)),
        ("/sources/mails/settings", source(enabled=False)),
        ("/sources/mails/settings", source(keys=(30, 8))),
    ],
)
def test_a_source_says_what_is_wrong_and_where_it_is_mended(href: str, entry: SourceEntry) -> None:
    found = list(attention.of_source(entry, (), NOW))
    assert [href] == [one.href for one in found]
    assert found[0].remedy


@pytest.mark.parametrize(
    "entry",
    [
        source(refused_today=2),  # of 240 accepted
        source(last_event_at=None, created_at=NOW - HOUR),  # just added
        source(keys=(30, 2)),  # about to be changed
    ],
)
def test_what_is_usual_is_no_concern(entry: SourceEntry) -> None:
    assert [] == list(attention.of_source(entry, (), NOW))


@pytest.mark.parametrize(
    ("silence", "hours"),
    [
        (None, (20, 18, 16, 14, 12, 11)),  # 11 h, where pauses were 2 h: twice of that and at least 6 h
        (None, (2, 1)),  # no rhythm yet
        (None, (100, 60, 20)),  # a pause of 40 h was usual
        (12, (40, 38, 36, 12)),  # 12 h, but a pause of 24 h was usual: the control of the next line
        (12, (20, 18, 16, 14, 12)),
    ],
)
def test_a_source_is_silent_when_it_pauses_longer_than_twice_its_usual(
    silence: int | None, hours: tuple[int, ...]
) -> None:
    last = NOW - hours[-1] * HOUR
    found = attention.silent_for(active(*hours), last, NOW)
    usual = max((early - late for early, late in pairwise(hours)), default=0)
    is_silent = len(hours) >= attention.LEAST_HOURS and hours[-1] > max(6, 2 * usual)
    assert is_silent == (found is not None)


def test_warehouses_say_why_they_stand_still_and_how_late_they_are() -> None:
    stopped = list(attention.of_warehouse(warehouse(state="stopped", error="no such user")))
    assert [("bad", True)] == [(one.severity, "no such user" in one.subject) for one in stopped]
    late = list(attention.of_warehouse(warehouse({"pending": 5_000}, lag_seconds=900.0)))
    assert ["House: it is 15 minutes behind, 5,000 events wait"] == [one.subject for one in late]
    hour = HourBooks("mails", NOW, 5, 0, 2, 0, 0, 3, 0, is_balanced=True)
    lost = list(attention.of_warehouse(msgspec.structs.replace(warehouse(), hours=(hour,))))
    assert ["/warehouses/house/loads?show=rejected"] == [one.href for one in lost]


def test_destinations_say_what_fails_and_what_ends_soon() -> None:
    disabled = DestinationStatus("hook", "webhook", "Hook", "disabled", "401 from the tool", failed=3)
    warning = "destination hook: the service account expires in 9 days; make a new one"
    found = list(attention.of_destination(disabled, [warning]))
    assert [("bad", "/destinations/hook"), ("warning", "/destinations/hook/dead-letters"), ("warning", "/destinations/hook/settings")] == [
        (one.severity, one.href) for one in found
    ]  # fmt: skip
    assert ("Hook: the service account expires in 9 days", "make a new one") == (found[2].subject, found[2].remedy)


def test_the_worst_comes_first() -> None:
    mixed = [
        *attention.of_source(source(enabled=False), (), NOW),
        *attention.of_source(source(refused_today=50), (), NOW),
        *attention.of_archive(ArchiveStatus("archive", "no room", ())),
    ]
    assert ["bad", "warning", "information"] == [one.severity for one in attention.ordered(mixed)]


# alerts


def alert(**changes: Any) -> AlertShown:
    shown = AlertShown(
        slug="quiet", nickname="Too quiet", condition="silent", state="well", paused=False, channels=[], settings={}, in_force={},
        created_at=NOW, checked_at=NOW, error=None, holds=[],
    )  # fmt: skip
    return msgspec.structs.replace(shown, **changes)


def test_an_alert_is_a_concern_when_somebody_was_told_or_it_cannot_be_looked_at() -> None:
    held = Holding("shop", NOW - HOUR, NOW, "Shop is silent", "no event for 3 h", "", "See whether it sends.", "")
    waits = msgspec.structs.replace(held, subject="mails", told_at=None, title="Mails are silent")
    (found,) = attention.of_alert(alert(state="holds", holds=[held, waits]))
    assert ("Too quiet: Shop is silent", "See whether it sends.", "/alerts") == (
        found.subject,
        found.remedy,
        found.href,
    )
    assert [] == list(attention.of_alert(alert(state="waits", holds=[waits])))
    assert [] == list(attention.of_alert(alert(state="paused", holds=[held])))
    (found,) = attention.of_alert(alert(state="error", error="the source shop is not there"))
    assert "cannot be checked: the source shop is not there" in found.subject


def test_a_channel_through_which_nobody_is_told_is_broken() -> None:
    channel = ChannelShown(
        slug="desk", nickname="Desk", kind="slack", settings={}, in_force={}, created_at=NOW, waiting=0, lost=0, error=None,
        failing_since=None, sent_at=NOW,
    )  # fmt: skip
    assert [] == list(attention.of_channel(channel))
    failing = msgspec.structs.replace(channel, error="403 from Slack", failing_since=NOW - HOUR, waiting=2)
    (found,) = attention.of_channel(failing)
    assert ("bad", NOW - HOUR) == (found.severity, found.since)
    assert "403 from Slack" in found.subject
