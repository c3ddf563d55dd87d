"""What each source sent, by type and name of event: how many, when last, its warnings, and what was refused and why.

The feed counts as it reads the log, and stores the counts in the transaction that moves its position, so that they are exact however many
events there are and whatever was killed. A page about a source reads some rows of this instead of asking a warehouse.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from headrace.event import Event, RejectedEvent

MOST_NAMES: Final = 2_000
"""Of a source: a client that makes up a name for each event must not fill the disk. Further ones are counted as OTHERS."""
OTHERS: Final = "\0others"
LONGEST_NAME: Final = 200
LONGEST_REASON: Final = 500
LOOKED_AT: Final = 32_768
"""A refused text that is longer is not looked into for its name."""
KEPT_SECONDS: Final = 3_600
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
PRUNE_SECONDS: Final = 30.0

STATEMENTS: Final = """
CREATE TABLE IF NOT EXISTS named_events (
  source TEXT, type TEXT, event TEXT, accepted INTEGER NOT NULL, refused INTEGER NOT NULL, last_at INTEGER NOT NULL,
  last_accepted_at INTEGER NOT NULL,
  PRIMARY KEY (source, type, event)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event_warnings (
  source TEXT, type TEXT, event TEXT, code TEXT, events INTEGER NOT NULL, last_at INTEGER NOT NULL,
  PRIMARY KEY (source, type, event, code)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event_refusals (
  source TEXT, type TEXT, event TEXT, code TEXT, reason TEXT NOT NULL, events INTEGER NOT NULL, last_at INTEGER NOT NULL,
  PRIMARY KEY (source, type, event, code)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrival_seconds (
  second INTEGER, source TEXT, accepted INTEGER NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (second, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS named_since (at INTEGER NOT NULL);
"""
_ADD_NAME: Final = (
    "INSERT INTO named_events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, "
    "refused = refused + excluded.refused, last_at = max(last_at, excluded.last_at), "
    "last_accepted_at = max(last_accepted_at, excluded.last_accepted_at)"
)
_ADD_WARNING: Final = (
    "INSERT INTO event_warnings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events, "
    "last_at = max(last_at, excluded.last_at)"
)
_ADD_REFUSAL: Final = (
    "INSERT INTO event_refusals VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events, "
    "last_at = max(last_at, excluded.last_at), reason = excluded.reason"
)
_ADD_SECOND: Final = (
    "INSERT INTO arrival_seconds VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET accepted = accepted + excluded.accepted, "
    "refused = refused + excluded.refused"
)

Name = tuple[str, str, str]
"""Source, type, event name; a page's or screen's name; empty where there is none."""


class Seen(NamedTuple):
    """Counts since the last store. Tallies are [accepted, refused, last moment, last accepted] and [events, last moment], changed in place."""

    names: dict[Name, list[Any]]
    warnings: dict[tuple[Name, str], list[Any]]
    refusals: dict[tuple[Name, str], list[Any]]
    reasons: dict[tuple[Name, str], str]
    accepted_by_second: Counter[tuple[int, str]]
    refused_by_second: Counter[tuple[int, str]]


class EventNames:
    """Counting is done in one thread, storing in another: what is stored has been taken before."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """The tables are made where they are missing. Raises sqlite3.Error."""
        self._known: dict[str, set[tuple[str, str]]] = {}
        self._seen = _nothing()
        self._pruned_at = float("-inf")
        connection.executescript(STATEMENTS)
        if connection.execute("SELECT 1 FROM named_since").fetchone() is None:
            has_counted = connection.execute("SELECT 1 FROM positions WHERE next > 0").fetchone() is not None
            connection.execute("INSERT INTO named_since VALUES (?)", (int(time.time() * 1_000) if has_counted else 0,))
        for source, type_, event in connection.execute("SELECT source, type, event FROM named_events"):
            self._known.setdefault(source, set()).add((type_, event))

    def add(self, event: Event, second: int) -> None:
        """`second` of receipt, since 1970; 0 where it is too long ago to be told by seconds."""
        name = self._name(event.source, event.type, event.event or event.name)
        of = self._seen.names.get(name)
        if of is None:
            of = self._seen.names[name] = [0, 0, event.received_at, event.received_at]
        of[0] += 1
        of[2] = max(of[2], event.received_at)
        of[3] = max(of[3], event.received_at)
        for code in event.warnings:
            _count(self._seen.warnings, (name, code[:LONGEST_NAME]), 1, event.received_at)
        if second:
            self._seen.accepted_by_second[second, event.source] += 1

    def add_refused(self, refused: RejectedEvent, second: int) -> None:
        type_, event = _named(refused.raw)
        name = self._name(refused.source, type_, event)
        of = self._seen.names.setdefault(name, [0, 0, refused.received_at, _NEVER])
        of[1] += refused.events
        of[2] = max(of[2], refused.received_at)
        key = (name, refused.code)
        _count(self._seen.refusals, key, refused.events, refused.received_at)
        self._seen.reasons[key] = refused.reason[:LONGEST_REASON]
        if second:
            self._seen.refused_by_second[second, refused.source] += refused.events

    def _name(self, source: str, type_: str, event: str | None) -> Name:
        known = self._known.setdefault(source, set())
        short = (event or "")[:LONGEST_NAME]
        if (type_, short) not in known:
            if len(known) >= MOST_NAMES:
                return source, "", OTHERS
            known.add((type_, short))
        return source, type_, short

    def take(self) -> Seen:
        """What is to be stored; counting begins anew."""
        taken, self._seen = self._seen, _nothing()
        return taken

    def give_back(self, taken: Seen) -> None:
        """It could not be stored."""
        for name, (accepted, refused, last, last_accepted) in taken.names.items():
            of = self._seen.names.setdefault(name, [0, 0, last, last_accepted])
            of[0] += accepted
            of[1] += refused
            of[2] = max(of[2], last)
            of[3] = max(of[3], last_accepted)
        for mine, theirs in ((self._seen.warnings, taken.warnings), (self._seen.refusals, taken.refusals)):
            for key, (events, last) in theirs.items():
                _count(mine, key, events, last)
        for key, reason in taken.reasons.items():
            self._seen.reasons.setdefault(key, reason)
        self._seen.accepted_by_second.update(taken.accepted_by_second)
        self._seen.refused_by_second.update(taken.refused_by_second)

    def store(self, connection: sqlite3.Connection, taken: Seen) -> None:
        """Within the caller's transaction. Raises sqlite3.Error."""
        connection.executemany(
            _ADD_NAME,
            [
                (*name, accepted, refused, _milliseconds(last), _milliseconds(last_accepted))
                for name, (accepted, refused, last, last_accepted) in taken.names.items()
            ],
        )
        connection.executemany(
            _ADD_WARNING,
            [(*name, code, events, _milliseconds(last)) for (name, code), (events, last) in taken.warnings.items()],
        )
        connection.executemany(
            _ADD_REFUSAL,
            [
                (*name, code, taken.reasons[name, code], events, _milliseconds(last))
                for (name, code), (events, last) in taken.refusals.items()
            ],
        )
        accepted, refused = taken.accepted_by_second, taken.refused_by_second
        connection.executemany(_ADD_SECOND, [(*key, accepted[key], refused[key]) for key in {**accepted, **refused}])
        if time.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            connection.execute("DELETE FROM arrival_seconds WHERE second < ?", (int(time.time()) - KEPT_SECONDS,))


def _nothing() -> Seen:
    return Seen({}, {}, {}, {}, Counter(), Counter())


def _count(tallies: dict[tuple[Name, str], list[Any]], key: tuple[Name, str], events: int, last: datetime) -> None:
    of = tallies.get(key)
    if of is None:
        tallies[key] = [events, last]
    else:
        of[0] += events
        of[1] = max(of[1], last)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


class _Sent(msgspec.Struct):
    type: Any = None
    event: Any = None
    name: Any = None


_decoder: Final = msgspec.json.Decoder(_Sent)


def _named(raw: str) -> tuple[str, str]:
    """Type and name of what was refused, as far as it says them.

    >>> _named('{"type": "track", "event": "Email Opened"}'), _named("no JSON")
    (('track', 'Email Opened'), ('', ''))
    """
    if len(raw) > LOOKED_AT:
        return "", ""
    try:
        sent = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return "", ""
    event = sent.event if isinstance(sent.event, str) else sent.name
    return (
        sent.type[:LONGEST_NAME] if isinstance(sent.type, str) else "",
        event if isinstance(event, str) else "",
    )
