"""Samples for people: the newest events of a code, what was sent for them and what came back. Counts never come from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.delivery.account import in_words
from headrace.delivery.account_tallies import reading
from headrace.delivery.dead_letters import event_of, moment

DELIVERED: Final = "DELIVERED"
"""What those that went through are called where a code is asked for: they have none."""


class SampleShown(msgspec.Struct, frozen=True):
    """`events` is how many events the request had; `sent` is this one as it came from its source. Secrets are masked in
    `request` and `answer`, which is empty where no request was made."""

    code: str
    title: str
    at: datetime
    source: str
    type: str
    event: str | None
    message_id: str
    events: int
    seconds: float
    detail: str
    sent: dict[str, Any]
    request: Mapping[str, Any]
    answer: Mapping[str, Any]


def samples(file: Path, code: str | None = None, limit: int = 10) -> Sequence[SampleShown]:
    """The newest first. Without a code the newest of all; `DELIVERED` asks for what went through. Raises RetryableError."""
    if not file.exists():
        return ()
    where, values = ("code = ?", ["" if code == DELIVERED else code]) if code is not None else ("1", [])
    select = (
        "SELECT code, at, source, type, name, message_id, events, seconds, detail, line, request, answer "  # noqa: S608 - constants
        f"FROM samples WHERE {where} ORDER BY id DESC LIMIT ?"
    )
    with reading(file) as books:
        rows = books.execute(select, [*values, max(1, min(limit, 1_000))]).fetchall()
    return [_shown(row) for row in rows]


def _shown(row: Sequence[Any]) -> SampleShown:
    code, at, source, type_, name, message_id, events, seconds, detail, line, request, answer = row
    title = in_words(code)["title"] if code else "Delivered"
    return SampleShown(
        code or DELIVERED,
        title,
        moment(at),
        source,
        type_,
        name,
        message_id,
        events,
        seconds,
        detail,
        event_of(line),
        json.loads(request),
        json.loads(answer),
    )
