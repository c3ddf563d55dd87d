"""The statements over a destination's books, and its structs as rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace import event as events
from headrace.delivery.commits import Passed, Sample, Story, milliseconds
from headrace.event import Event

SAMPLES: Final = 10
"""Kept of each code."""
_encode: Final = msgspec.json.Encoder().encode
_decode_history: Final = msgspec.json.Decoder(list[list[Any]]).decode


def add_run(cursor: sqlite3.Cursor, run: Passed) -> None:
    """Joined with the one before it where they are of one outcome and one minute."""
    if not run.outcome:
        return
    cursor.execute(
        "UPDATE runs SET next = ?, to_at = ? WHERE partition = ? AND first = (SELECT max(first) FROM runs WHERE partition = ?) "
        "AND next = ? AND outcome = ? AND code = ? AND from_at / 60000 = ? / 60000",
        (run.next, run.to_at, run.partition, run.partition, run.first, run.outcome, run.code, run.from_at),
    )
    if not cursor.rowcount:
        cursor.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", run)


def add_sample(cursor: sqlite3.Cursor, sample: Sample) -> None:
    of = sample.event
    cursor.execute(
        "INSERT INTO samples (code, at, source, type, name, message_id, line, events, seconds, detail, request, answer) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sample.code, sample.at, of.source, of.type, of.event or of.name, of.message_id, sample.line, sample.events, sample.seconds,
         sample.detail, json.dumps(sample.request), json.dumps(sample.answer)),
    )  # fmt: skip
    cursor.execute(
        "DELETE FROM samples WHERE code = ? AND id <= (SELECT id FROM samples WHERE code = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (sample.code, sample.code, SAMPLES),
    )


def row_of(story: Story) -> tuple[Any, ...]:
    of = story.event
    return (
        story.partition, story.offset, of.source, of.type, of.event or of.name, of.message_id, story.user_key, milliseconds(of),
        story.outcome, story.code, story.detail, story.attempts, story.first_at, story.last_at, story.due_at, _encode(story.history).decode(),
        line_of(story),
    )  # fmt: skip


def changes_of(story: Story) -> tuple[Any, ...]:
    return (
        story.outcome, story.code, story.detail, story.attempts, story.first_at, story.last_at, story.due_at, _encode(story.history).decode(),
        story.row,
    )  # fmt: skip


def line_of(story: Story) -> bytes | None:
    return None if story.outcome == "delivered" else events.encode(story.event)


def story_of(row: Sequence[Any]) -> Story:
    """Of a row that has its event."""
    (
        identity,
        partition,
        offset,
        user_key,
        outcome,
        code,
        detail,
        attempts,
        first_at,
        last_at,
        due_at,
        history,
        line,
    ) = row
    event = events.decode_lines(line)[0]
    assert isinstance(event, Event)  # noqa: S101 - only events are written there
    return Story(
        partition, offset, event, outcome, code, detail, attempts, first_at, last_at, due_at, _decode_history(history), user_key, identity,
        (outcome, code),
    )  # fmt: skip


ADD_MINUTE: Final = (
    "INSERT INTO minutes VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
)
ADD_LATENCY: Final = (
    "INSERT INTO latencies VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
)
ADD_BEFORE: Final = "INSERT INTO before VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET events = events + excluded.events"
SET_META: Final = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
ADD_EVENT: Final = (
    "INSERT INTO events (partition, offset, source, type, name, message_id, user_key, received_at, outcome, code, detail, attempts, "
    "first_at, last_at, due_at, history, line) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGE_EVENT: Final = (
    "UPDATE events SET outcome = ?1, code = ?2, detail = ?3, attempts = ?4, first_at = ?5, last_at = ?6, due_at = ?7, history = ?8, "
    "line = CASE ?1 WHEN 'delivered' THEN NULL ELSE line END WHERE id = ?9"
)
RELEASE_NEXT: Final = (
    "UPDATE events SET due_at = ?1 WHERE id = (SELECT id FROM events WHERE outcome = 'retrying' AND user_key = ?2 ORDER BY id LIMIT 1) "
    "AND due_at = ?3"
)
BEGUN: Final = (
    "SELECT partition FROM positions WHERE EXISTS (SELECT 1 FROM runs WHERE runs.partition = positions.partition) "
    "OR EXISTS (SELECT 1 FROM events WHERE events.partition = positions.partition)"
)
STORY: Final = "SELECT id, partition, offset, user_key, outcome, code, detail, attempts, first_at, last_at, due_at, history, line FROM events "
FOLLOWERS: Final = f"{STORY} WHERE outcome = 'retrying' AND user_key = ? AND id > ? ORDER BY id LIMIT ?"
DUE: Final = f"{STORY} WHERE outcome = 'retrying' AND due_at <= ? ORDER BY due_at LIMIT ?"
"""Of a million that wait it looks at those whose time has come alone."""
LATEST: Final = "SELECT max(due_at) FROM events WHERE outcome = 'retrying' AND due_at < ?"
HASTEN: Final = "UPDATE events SET due_at = ? WHERE outcome = 'retrying' AND due_at > ? AND due_at < ?"
DUE_OR_RELEASED: Final = (
    f"{STORY} WHERE outcome = 'retrying' AND due_at < ? AND (due_at <= ? OR last_at < ?) ORDER BY due_at LIMIT ?"
)
CLEAR_REPLAYED: Final = (
    "DELETE FROM replayed WHERE (replay, partition, offset) IN (SELECT replay, partition, offset FROM replayed WHERE replay IN "
    "(SELECT id FROM replays WHERE state IN ('cancelled', 'done', 'failed') AND changed_at < ?) LIMIT ?)"
)
CLEAR_EVENTS: Final = "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE {} LIMIT ?)"
