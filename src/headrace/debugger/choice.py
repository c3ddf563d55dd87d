"""Which entries a stream or a page lets through."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from headrace.debugger.shown import Shown
from headrace.errors import ConfigError, RejectedEventError, RequestError
from headrace.event import Event, LogEntry
from headrace.filters import compile_filter
from headrace.filters.globs import glob

Wish = Literal["accepted", "refused", "warnings"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must hold; of several sources, types and states one must. `event` is the whole name in any case of letters, `*`
    stands for any part of it. `user` is a user id or an anonymous id. `text` stands anywhere in the event, in any case of letters.
    `filter` is an expression over accepted events (docs/filters.md): refused ones do not fit it."""

    sources: Sequence[str] = ()
    types: Sequence[str] = ()
    event: str | None = None
    user: str | None = None
    message_id: str | None = None
    states: Sequence[Wish] = ()
    text: str | None = None
    filter: str | None = None


_Test = Callable[[LogEntry, Shown], bool]


class Choice:
    """Raises RequestError for an expression that is none."""

    def __init__(self, wanted: Wanted) -> None:
        self._tests = list(_tests(wanted))

    def fits(self, entry: LogEntry, line: Shown) -> bool:
        return all(test(entry, line) for test in self._tests)


def _tests(wanted: Wanted) -> Sequence[_Test]:
    """The cheap ones first."""
    tests: list[_Test] = []
    if wanted.sources:
        sources = frozenset(wanted.sources)
        tests.append(lambda entry, _: entry.source in sources)
    if wanted.states:
        states = frozenset(wanted.states)
        tests.append(lambda _, line: line.state in states or (bool(line.warnings) and "warnings" in states))
    if wanted.types:
        types = frozenset(wanted.types)
        tests.append(lambda _, line: line.type in types)
    if wanted.message_id:
        message_id = wanted.message_id
        tests.append(lambda _, line: line.message_id == message_id)
    if wanted.user:
        user = wanted.user
        tests.append(lambda _, line: user in (line.user_id, line.anonymous_id))
    if wanted.event:
        named = glob(wanted.event.casefold())
        tests.append(lambda _, line: line.event is not None and named(line.event.casefold()))
    if wanted.text:
        tests.append(_with_text(wanted.text))
    if wanted.filter:
        tests.append(_expressed(wanted.filter))
    return tests


def _expressed(text: str) -> _Test:
    try:
        expression = compile_filter(text)
    except ConfigError as error:
        raise RequestError("filter_refused", str(error)) from None

    def fits(entry: LogEntry, _: Shown) -> bool:
        if not isinstance(entry, Event):
            return False
        try:
            return expression.matches(entry)
        except RejectedEventError:  # nothing can be said, so it must be seen
            return True

    return fits


def _with_text(text: str) -> _Test:
    wanted = text.casefold()
    # Within JSON a text may stand as it is, or in escapes.
    escaped = json.dumps(text)[1:-1].casefold()

    def fits(entry: LogEntry, line: Shown) -> bool:
        known = (line.message_id, line.event, line.user_id, line.anonymous_id, line.code, line.reason)
        if any(wanted in one.casefold() for one in known if one):
            return True
        if not isinstance(entry, Event):
            whole = entry.raw.casefold()
            return wanted in whole or escaped in whole
        for raw in (entry.properties, entry.context):
            whole = bytes(raw).decode("utf-8", "replace").casefold()
            if wanted in whole or escaped in whole:
                return True
        return any(wanted in one.casefold() for one in (entry.group_id, entry.previous_id) if one)

    return fits
