"""What each source sent, by name: counted by the feed as it reads the log, exactly, also over a kill."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from headrace import event
from headrace.config import LogConfig
from headrace.delivery import arrived, event_names, feed
from headrace.delivery.feed import Feed
from headrace.event import Event, LogEntry, RejectedEvent
from headrace.log.base import tallied
from headrace.log.sqlite import SqliteLog
from segment_events import event_of

NOW = datetime.now(UTC).replace(microsecond=0)


def opened(number: int = 0, name: str = "Email Opened", *warnings: str, at: datetime = NOW) -> Event:
    sent = {"type": "track", "event": name, "userId": "u", "messageId": f"m-{number}", "receivedAt": at.isoformat()}
    return msgspec.structs.replace(event_of(sent, "mails"), warnings=warnings)


def refused(raw: str, code: str = "no_user_anon_id", reason: str = "no id") -> RejectedEvent:
    return RejectedEvent("mails", "collector", code, reason, raw, NOW)


def append(folder: Path, entries: Sequence[LogEntry]) -> None:
    writer = SqliteLog(folder / "log", LogConfig()).writer(0)
    writer.append([event.encode(one) for one in entries], tallied(entries))
    writer.close()


def follow(folder: Path, *, note: bool = True) -> Path:
    """Counts what is in the log; without `note` it is killed before it stored anything."""

    async def run() -> None:
        following = Feed([SqliteLog(folder / "log", LogConfig()).reader(0)], folder / "deliveries")
        await following._advance()
        if note:
            await following.close()

    clock = SimpleNamespace(time=NOW.timestamp, monotonic=time.monotonic)  # seconds are kept for an hour
    with pytest.MonkeyPatch.context() as patch:
        for module in (feed, event_names):
            patch.setattr(module, "time", clock)
        asyncio.run(run())
    return folder / "deliveries" / "arrivals.db"


def test_names_are_counted_with_their_warnings_and_refusals(tmp_path: Path) -> None:
    later = NOW + timedelta(seconds=5)
    append(tmp_path, [
        opened(1), opened(2, "Email Opened", "missing:email_id"), opened(3, "Email Opened", "missing:email_id", "id_number", at=later),
        opened(4, "Email Bounced"), refused('{"type": "track", "event": "Email Opened"}'), refused("no JSON", "bad_request"),
    ])  # fmt: skip
    found = arrived.of_source(follow(tmp_path), "mails")
    assert found.counted_since is None
    assert [("Email Opened", 3, 1), ("Email Bounced", 1, 0), ("", 0, 1)] == [
        (one.event, one.accepted, one.refused) for one in found.names
    ]
    first = found.names[0]
    assert later == first.last_at
    assert [("missing:email_id", 2), ("id_number", 1)] == [(one.code, one.events) for one in first.warnings]
    assert [("no_user_anon_id", 1, "no id")] == [(one.code, one.events, one.reason) for one in first.refusals]


def test_what_is_refused_is_no_event_that_came(tmp_path: Path) -> None:
    later = msgspec.structs.replace(
        refused('{"type": "track", "event": "Email Opened"}'), received_at=NOW + timedelta(hours=1)
    )
    append(tmp_path, [opened(1), later])
    assert NOW == arrived.last_seen(follow(tmp_path))["mails"].last_accepted_at


def test_a_kill_before_the_counts_are_stored_counts_nothing_twice(tmp_path: Path) -> None:
    append(tmp_path, [opened(number) for number in range(100)])
    follow(tmp_path, note=False)
    follow(tmp_path)
    file = follow(tmp_path)
    assert [100] == [one.accepted for one in arrived.of_source(file, "mails").names]
    assert 100 == sum(one.accepted for one in arrived.seconds(file, int(NOW.timestamp()), int(NOW.timestamp()) + 1))


def test_what_cannot_be_stored_is_counted_later(tmp_path: Path) -> None:
    append(tmp_path, [opened(1, "Email Opened", "id_number"), refused("{")])
    names = event_names.EventNames(_arrivals(tmp_path))
    names.add(opened(1, "Email Opened", "id_number"), 7)
    names.add_refused(refused("{"), 7)
    taken = names.take()
    names.add(opened(2, "Email Opened", "id_number"), 7)
    names.give_back(taken)
    whole = names.take()
    assert ([2, 0], 2, 2) == (
        whole.names["mails", "track", "Email Opened"][:2],
        whole.warnings[("mails", "track", "Email Opened"), "id_number"][0],
        whole.accepted_by_second[7, "mails"],
    )


def test_a_client_that_makes_up_names_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_names, "MOST_NAMES", 10)
    append(tmp_path, [opened(number, f"Name {number}") for number in range(50)])
    found = arrived.of_source(follow(tmp_path), "mails")
    assert (11, arrived.OTHERS, 40) == (len(found.names), found.names[0].event, found.names[0].accepted)
    assert 50 == sum(one.accepted for one in found.names), "none is lost"


def test_arrivals_that_an_earlier_release_counted_say_since_when_names_are(tmp_path: Path) -> None:
    append(tmp_path, [opened()])
    file = follow(tmp_path)
    with sqlite3.connect(file) as arrivals:
        arrivals.executescript("DROP TABLE named_since; DROP TABLE named_events;")
    arrivals.close()
    found = arrived.of_source(follow(tmp_path), "mails")
    assert found.counted_since is not None
    assert found.counted_since >= NOW
    assert () == tuple(found.names)


def test_seconds_of_long_ago_are_not_told(tmp_path: Path) -> None:
    append(tmp_path, [opened(1, at=NOW - timedelta(hours=3)), opened(2)])
    file = follow(tmp_path)
    assert 1 == sum(one.accepted for one in arrived.seconds(file, 0, int(NOW.timestamp()) + 1))
    assert 2 == sum(one.accepted for hour in arrived.hours(file, NOW - timedelta(days=1)).values() for one in hour)


def test_names_are_found_by_a_part_of_them_as_text(tmp_path: Path) -> None:
    append(tmp_path, [opened(1), opened(2, "100% Email_Opened"), opened(3, "<script>alert(1)</script>")])
    file = follow(tmp_path)
    assert {"Email Opened", "100% Email_Opened"} == {name for _, _, name, _ in arrived.names_like(file, "opened", 9)}
    assert ["100% Email_Opened"] == [name for _, _, name, _ in arrived.names_like(file, "0% email_", 9)]
    assert ["<script>alert(1)</script>"] == [name for _, _, name, _ in arrived.names_like(file, "<script>", 9)]


def _arrivals(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "arrivals.db")
    connection.execute("CREATE TABLE positions (partition INTEGER, incarnation TEXT, next INTEGER)")
    return connection
