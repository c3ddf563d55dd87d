"""What a destination's books and the arrivals say about a period: counts by bucket of time, all of one moment."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from headrace.delivery.feed import FILE
from headrace.delivery.store import opened
from headrace.errors import RetryableError

LOST: Final = "LOST"
_NEVER: Final = 1 << 40
"""A minute that does not come."""


class Span(NamedTuple):
    """Minutes since 1970 from `since` to before `until`, in buckets of `step` minutes that begin at its multiples."""

    since: int
    until: int
    step: int

    def bucket(self, minute: int) -> int:
        """The first minute of the bucket, also where the period begins within it."""
        return minute // self.step * self.step

    def buckets(self) -> Iterator[int]:
        return iter(range(self.bucket(self.since), self.until, self.step))


class Count(NamedTuple):
    """`at` is the first minute of the minute or hour in which these were received."""

    at: int
    source: str
    outcome: str
    code: str
    events: int


class Arrival(NamedTuple):
    bucket: int
    source: str
    accepted: int
    refused: int


class Tallies(NamedTuple):
    """`waiting` and `latencies` are by bucket. `surplus` is what is counted of events that nobody accepted, `missing` what was accepted and has no
    outcome though its turn is over: both are 0 as long as the books are right, and both leave out what is still in motion."""

    counts: Sequence[Count]
    latencies: Mapping[int, Mapping[int, int]]
    waiting: Mapping[int, int]
    refused: Mapping[int, int]
    waiting_since: int | None
    """The minute of the oldest event that waits."""
    waiting_by_source: Mapping[str, int]
    """Of the period."""
    entries_behind: int
    """Entries of the log between the position and the log's end, of any source."""
    surplus: int
    missing: int
    state: Mapping[str, Any]


class _Connection(NamedTuple):
    """A source's time with the destination, in minutes; `is_whole`: from the destination's first moment on without a break."""

    since: int
    until: int
    is_whole: bool

    @property
    def is_now(self) -> bool:
        return self.until == _NEVER


class _Arrivals(NamedTuple):
    """Of one moment, which is not before that of the books."""

    rows: Sequence[Arrival]
    recent: Mapping[tuple[int, str], int]
    """Accepted by minute and source, from the minute on in which the destination is."""
    done_before: int
    """Every event that was received before this minute has had its turn."""
    settled_before: int
    """And is counted here, too."""
    entries_behind: int
    places: Mapping[tuple[int, int], int]
    """By partition and offset the minute in which it was received."""


def read(file: Path, span: Span, added: int) -> Tallies | None:
    """`added` is the minute in which the destination was added. None while there are no books. Raises RetryableError."""
    if not file.exists():
        return None
    with reading(file) as books:
        positions = {row[0]: row[1] for row in books.execute("SELECT partition, next FROM positions")}
        connected = books.execute("SELECT partition, offset, sources FROM connected ORDER BY 1, 2").fetchall()
        found = books.execute("SELECT value FROM meta WHERE key = 'state'").fetchone()
        state = json.loads(found[0]) if found else {}
        arrivals = _arrivals(file.with_name(FILE), span, max(span.since, added), positions, connected)
        connections = _connections(connected, arrivals.places, added)
        counts = _counts(books, span)
        latencies = _latencies(books, span)
        waiting, waiting_since, waiting_by_source = _waiting(books, span, arrivals, connections)
        surplus, missing = _imbalance(books, span, max(span.since, added), arrivals, connections, counts)
    refused: Counter[int] = Counter()
    for row in arrivals.rows:
        of = connections.get(row.source)
        if of is not None and of.since < row.bucket + span.step and row.bucket <= of.until:
            refused[row.bucket] += row.refused
    return Tallies(
        counts, latencies, waiting, refused, waiting_since, waiting_by_source, arrivals.entries_behind, surplus, missing, state
    )  # fmt: skip


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """The file, which is there, as it is at one moment. Raises RetryableError."""
    try:
        with closing(opened(file, read_only=True)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise RetryableError(f"delivery: cannot read {file}: {error}; check its rights") from error


def _counts(books: sqlite3.Connection, span: Span) -> list[Count]:
    rows = _by_minute_or_hour(books, span, "minutes", "hours", "source, outcome, code, events")
    return [Count(*row) for row in rows if row[4]]


def _latencies(books: sqlite3.Connection, span: Span) -> dict[int, dict[int, int]]:
    by_bucket: dict[int, dict[int, int]] = {}
    for at, bucket, events in _by_minute_or_hour(books, span, "latencies", "latency_hours", "bucket, events"):
        of = by_bucket.setdefault(span.bucket(at), {})
        of[bucket] = of.get(bucket, 0) + events
    return by_bucket


def _by_minute_or_hour(books: sqlite3.Connection, span: Span, minutes: str, hours: str, columns: str) -> Iterator[Any]:
    """Rows of whole hours where buckets are that long, and of minutes elsewhere. `columns` are names."""
    first, last = -(-span.since // 60), span.until // 60
    if span.step % 60 or first >= last:
        first = last = -(-span.until // 60)
    edges = ((span.since, min(span.until, first * 60)), (max(span.since, last * 60), span.until))
    for since, until in edges if first < last else edges[:1]:
        select = f"SELECT minute, {columns} FROM {minutes} WHERE minute >= ? AND minute < ?"  # noqa: S608 - names
        yield from books.execute(select, (since, until))
    select = f"SELECT hour * 60, {columns} FROM {hours} WHERE hour >= ? AND hour < ?"  # noqa: S608 - names
    yield from books.execute(select, (first, last))


# What was accepted.


def _arrivals(
    file: Path, span: Span, since: int, positions: Mapping[int, int], connected: Sequence[tuple[int, int, str]]
) -> _Arrivals:
    if not file.exists():
        return _Arrivals((), {}, 0, 0, 0, {})
    with reading(file) as arrivals:
        ends = {row[0]: row[1] for row in arrivals.execute("SELECT partition, next FROM positions")}
        places = {(partition, at): _minute_of_offset(arrivals, partition, at) for partition, at, _ in connected}
        done_before = settled_before = _NEVER
        for partition, at in positions.items():
            end = ends.get(partition, 0)
            if at != end:
                # A minute of patience, as times of receipt may cross where two requests are written together.
                minute = _minute_of_offset(arrivals, partition, min(at, end)) - 1
                settled_before = min(settled_before, minute)
                done_before = min(done_before, minute) if at < end else done_before
        rows = _by_minute_or_hour(
            arrivals, span._replace(since=since), "arrivals", "arrival_hours", "source, accepted, refused"
        )
        received = [Arrival(span.bucket(at), source, accepted, refused) for at, source, accepted, refused in rows]
        recent = arrivals.execute(
            "SELECT minute, source, accepted FROM arrivals WHERE minute >= ?", (max(since, done_before),)
        ).fetchall()
    behind = sum(max(0, end - positions[partition]) for partition, end in ends.items() if partition in positions)
    return _Arrivals(
        received,
        {(minute, source): accepted for minute, source, accepted in recent},
        done_before,
        settled_before,
        behind,
        places,
    )


def _minute_of_offset(arrivals: sqlite3.Connection, partition: int, offset: int) -> int:
    """The minute in which the entry was received; 0 where nobody knows."""
    found = arrivals.execute(
        "SELECT minute FROM places WHERE partition = ? AND first <= ? ORDER BY minute DESC LIMIT 1", (partition, offset)
    ).fetchone()
    return int(found[0]) if found else 0


def _connections(
    connected: Sequence[tuple[int, int, str]], places: Mapping[tuple[int, int], int], added: int
) -> dict[str, _Connection]:
    """By source, over all partitions."""
    lists: dict[int, list[tuple[int, set[str]]]] = {}
    for partition, offset, sources in connected:
        lists.setdefault(partition, []).append(
            (max(added, places.get((partition, offset), 0)), set(json.loads(sources)))
        )
    found: dict[str, _Connection] = {}
    for source in {source for rows in lists.values() for _, sources in rows for source in sources}:
        for rows in lists.values():
            since = next((minute for minute, sources in rows if source in sources), _NEVER)
            is_now = source in rows[-1][1]
            until = _NEVER if is_now else max((minute for minute, _ in rows), default=0)
            is_whole = all(source in sources for _, sources in rows)
            before = found.get(source, _Connection(_NEVER, 0, is_whole))
            found[source] = _Connection(
                min(before.since, added if is_whole else since), max(before.until, until), is_whole and before.is_whole
            )
    return found


def _waiting(
    books: sqlite3.Connection, span: Span, arrivals: _Arrivals, connections: Mapping[str, _Connection]
) -> tuple[dict[int, int], int | None, dict[str, int]]:
    """By bucket of the period, the oldest minute of all in which something waits, and by source of the period."""
    since = arrivals.done_before
    if since >= _NEVER or not arrivals.recent:
        return {}, None, {}
    taken = _by_minute_and_source(books, "minutes", since)
    before = _by_minute_and_source(books, "before", since)
    waiting: Counter[int] = Counter()
    by_source: Counter[str] = Counter()
    oldest: int | None = None
    for (minute, source), accepted in arrivals.recent.items():
        of = connections.get(source)
        if of is None or not of.is_now or minute < of.since:
            continue
        rest = accepted - before.get((minute, source), 0) - taken.get((minute, source), 0)
        if rest > 0:
            oldest = minute if oldest is None else min(minute, oldest)
            if span.since <= minute < span.until:
                waiting[span.bucket(minute)] += rest
                by_source[source] += rest
    return dict(waiting), oldest, dict(by_source)


def _by_minute_and_source(books: sqlite3.Connection, table: str, since: int) -> dict[tuple[int, str], int]:
    select = f"SELECT minute, source, sum(events) FROM {table} WHERE minute >= ? GROUP BY 1, 2"  # noqa: S608 - a constant
    return {(minute, source): events for minute, source, events in books.execute(select, (since,))}


def _imbalance(
    books: sqlite3.Connection,
    span: Span,
    since: int,
    arrivals: _Arrivals,
    connections: Mapping[str, _Connection],
    counts: Sequence[Count],
) -> tuple[int, int]:
    """What is counted without having been accepted, and the reverse, of sources that were there from the beginning: the check of the
    books against the arrivals. Buckets that are not over yet are left out, and what the log lost may be in either."""
    until = span.until
    if arrivals.settled_before < until:
        until = span.bucket(arrivals.settled_before)
    rest: Counter[str] = Counter()
    spare: Counter[str] = Counter()
    for row in arrivals.rows:
        if row.bucket < until:
            rest[row.source] += row.accepted
    for count in counts:
        if span.bucket(count.at) < until:
            rest[count.source] -= count.events
            spare[count.source] += count.events if count.code == LOST else 0
    select = "SELECT source, sum(events) FROM before WHERE minute >= ? AND minute < ? GROUP BY 1"
    for source, events in books.execute(select, (since, until)):
        rest[source] -= events
    whole = [source for source, of in connections.items() if of.is_whole and of.is_now]
    surplus = sum(max(0, -rest[source] - spare[source]) for source in whole)
    return surplus, sum(max(0, rest[source] - spare[source]) for source in whole)
