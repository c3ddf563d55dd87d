"""Dead letters: events that a destination did not take for good. They are kept, can be searched, and are sent again by one command.

Sending again makes them due: whoever delivers finds them within a second, or when it is started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from headrace import event as events
from headrace.delivery.account import in_words
from headrace.delivery.account_tallies import reading
from headrace.delivery.store import Store
from headrace.destinations.base import Prepared
from headrace.errors import NotFoundError
from headrace.event import Event

MOST: Final = 1_000
A_PART: Final = 2_000
Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53))]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which ones; everything that is given must hold. `event` is the event's name, or that of the page or screen; `text` stands somewhere in
    what the tool said, in capitals or not. `since` and `until` are times of receipt. `ids` are those of `DeadLetter`."""

    code: str | None = None
    source: str | None = None
    event: str | None = None
    message_id: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Annotated[tuple[Id, ...], msgspec.Meta(max_length=MOST)] | None = None


class Attempt(msgspec.Struct, frozen=True):
    """`code` is empty for one that went through."""

    at: datetime
    seconds: float
    code: str


class DeadLetter(msgspec.Struct, frozen=True):
    """`attempts` are all, `history` has the newest of them. `sent` is the event, as it came from its source."""

    id: int
    source: str
    type: str
    event: str | None
    message_id: str
    received_at: datetime
    code: str
    title: str
    detail: str
    attempts: int
    first_at: datetime
    last_at: datetime
    history: Sequence[Attempt]
    sent: dict[str, Any]


class Page(msgspec.Struct, frozen=True):
    """The newest first. `next` is what to give as `after` for those that follow; None where there are no more."""

    dead_letters: Sequence[DeadLetter]
    total: int
    """Of all pages."""
    by_code: Mapping[str, int]
    next: str | None = None


class Revived(msgspec.Struct, frozen=True):
    """How many are sent again, or would be."""

    events: int
    by_code: Mapping[str, int]
    dry_run: bool


def page(file: Path, wanted: Wanted, *, limit: int = 50, after: str | None = None) -> Page:
    """Raises NotFoundError for an `after` that no page gave, and RetryableError."""
    where, values = _where(wanted)
    by_code = count(file, wanted)
    limit = max(1, min(limit, MOST))
    following, place = ("(received_at, id) < (?, ?)", _place(after)) if after else ("1", [])
    rows = _rows(file, f"{_SELECT} WHERE {where} AND {following} ORDER BY received_at DESC, id DESC LIMIT ?",
                 [*values, *place, limit + 1])  # fmt: skip
    found = [_dead_letter(row) for row in rows[:limit]]
    last = f"{rows[limit - 1][5]}-{rows[limit - 1][0]}" if len(rows) > limit else None
    return Page(found, sum(by_code.values()), by_code, last)


def count(file: Path, wanted: Wanted) -> Mapping[str, int]:
    """How many there are, by code, the most frequent first."""
    where, values = _where(wanted)
    select = f"SELECT code, count(*) FROM events WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608 - see _where
    return dict(_rows(file, select, values))


def replay(
    file: Path,
    wanted: Wanted,
    *,
    dry_run: bool = False,
    on_progress: Callable[[int, int], object] | None = None,
    now: Callable[[], float] = time.time,
) -> Revived:
    """Have them sent again, the oldest first: a part at a time, so that whoever delivers is not kept from its books. What
    fails again meanwhile stays as it is. May be called by any process. Raises RetryableError."""
    began = int(now() * 1_000)
    by_code = count(file, wanted)
    total = sum(by_code.values())
    if dry_run or not total:
        return Revived(total, by_code, dry_run)
    where, values = _where(wanted)
    store = Store(file)
    try:
        done = 0
        while revived := store.revive(
            f"{where} AND line IS NOT NULL AND last_at <= ? ORDER BY received_at, id LIMIT ?", [*values, began, A_PART], int(now() * 1_000)
        ):  # fmt: skip
            done += revived
            if on_progress is not None:
                on_progress(done, max(done, total))
    finally:
        store.close()
    return Revived(done, by_code, dry_run)


def _where(wanted: Wanted) -> tuple[str, list[Any]]:
    """An SQL condition in which every foreign value is a parameter, and those."""
    conditions, values = ["outcome = 'failed'"], []
    for column in ("code", "source", "message_id"):
        value = getattr(wanted, column)
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if wanted.event is not None:
        conditions.append("name = ?")
        values.append(wanted.event)
    if wanted.text is not None:
        conditions.append("instr(lower(detail), lower(?)) > 0")
        values.append(wanted.text)
    if wanted.ids is not None:
        conditions.append(f"id IN ({','.join('?' * len(wanted.ids))})")
        values.extend(wanted.ids)
    for moment, comparison in ((wanted.since, ">="), (wanted.until, "<")):
        if moment is not None:
            conditions.append(f"received_at {comparison} ?")
            values.append(int(moment.timestamp() * 1_000))
    return " AND ".join(conditions), values


def _place(after: str) -> list[int]:
    at, _, row = after.partition("-")
    if not (at.isdecimal() and row.isdecimal()):
        raise NotFoundError(f"dead letters: there is no page after {after!r}; give what the page before calls `next`")
    return [int(at), int(row)]


def _rows(file: Path, select: str, values: Sequence[Any]) -> list[Any]:
    if not file.exists():
        return []
    with reading(file) as books:
        return books.execute(select, values).fetchall()


def _dead_letter(row: Sequence[Any]) -> DeadLetter:
    row_id, source, type_, name, message_id, received_at, code, detail, attempts, first_at, last_at, history, line = row
    return DeadLetter(
        row_id,
        source,
        type_,
        name,
        message_id,
        moment(received_at),
        code,
        in_words(code)["title"],
        detail,
        attempts,
        moment(first_at),
        moment(last_at),
        attempts_of(history),
        event_of(line),
    )


def attempts_of(history: str) -> list[Attempt]:
    """Of the text that the books have."""
    return [Attempt(moment(at), seconds, code) for at, seconds, code in msgspec.json.decode(history)]


def event_of(line: bytes | None) -> dict[str, Any]:
    """The event in the form in which it is sent, of its line in the log; empty where there is none any more."""
    if line is None:
        return {}
    entry = events.decode_lines(line)[0]
    return msgspec.json.decode(Prepared(entry).json(), type=dict[str, Any]) if isinstance(entry, Event) else {}


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC)


_SELECT: Final = "SELECT id, source, type, name, message_id, received_at, code, detail, attempts, first_at, last_at, history, line FROM events"
