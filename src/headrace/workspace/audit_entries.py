"""What a changed row means to people: a verb, a subject and the fields that changed. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from headrace.workspace.secret_settings import has_secret_name, is_secret

Row = dict[str, Any]
Change = list[Any]
"""Before and after; None where there is nothing."""
HIDDEN: Final = "(hidden)"
"""In the place of a secret."""
LONGEST: Final = 300


class RowChange(NamedTuple):
    """`before` is None for a new row, `after` for one that is gone."""

    table: str
    before: Row | None
    after: Row | None


class EntryOf(NamedTuple):
    verb: str
    kind: str
    subject: str
    changes: dict[str, Change]


class Audited(NamedTuple):
    """`kind` is a word, or the column that has it; `hidden` columns change without being told what to; `quiet` ones are no change.
    A row of a table with `parent` belongs to the parent's subject."""

    kind: str
    subject: str
    hidden: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    parent: bool = False


_TIMES: Final = frozenset(("created_at", "changed_at", "revision", "used_at", "invited_until", "id", "slug"))
AUDITED: Final[dict[str, Audited]] = {
    "sources": Audited("source", "slug"),
    "write_keys": Audited("source", "source", quiet=frozenset(("digest", "source")), parent=True),
    "warehouses": Audited("warehouse", "slug", frozenset(("sealed",))),
    "destinations": Audited("destination", "slug", frozenset(("sealed",))),
    "alert_channels": Audited("alert channel", "slug", frozenset(("sealed",))),
    "alerts": Audited("alert", "slug"),
    "email_model": Audited("e-mail model", ""),
    "saved": Audited("column:kind", "slug", quiet=frozenset(("kind", "author"))),
    "people": Audited("person", "email", frozenset(("password", "invitation"))),
    "tokens": Audited("token", "name", quiet=frozenset(("digest", "person"))),
}
NOT_AUDITED: Final = frozenset(("sessions", "audit", "revision"))
"""Logins are noted where they happen."""


def entries(changes: Iterable[RowChange]) -> list[EntryOf]:
    """An entry for each subject of one transaction."""
    found: dict[tuple[str, str], EntryOf] = {}
    for change in changes:
        of = AUDITED[change.table]
        fields = _fields(change, of)
        if not fields and change.before is not None and change.after is not None:
            continue
        row = change.after or change.before or {}
        kind = str(row[of.kind.removeprefix("column:")]) if of.kind.startswith("column:") else of.kind
        subject = str(row[of.subject]) if of.subject else ""
        known = found.get((kind, subject))
        if known is not None:
            known.changes.update(fields)
            continue
        verb = _key_verb(change) if of.parent else _verb(change, fields)
        if verb == "removed" and change.after is not None:
            fields = {}
        found[kind, subject] = EntryOf(verb, kind, subject, fields)
    return list(found.values())


def _fields(change: RowChange, of: Audited) -> dict[str, Change]:
    before, after = _flat(change.before or {}), _flat(change.after or {})
    fields: dict[str, Change] = {}
    for name in {**before, **after}:
        column = name.partition(".")[0]
        was, now = before.get(name), after.get(name)
        if was == now or column in of.quiet or column in _TIMES or (change.before is None and now is False):
            continue
        told = _hidden if column in of.hidden or _is_risky(change.table, name, was, now) else shown_value
        pair = [told(was), told(now)]
        if pair != [None, None]:
            fields[_NAMES.get(name, name)] = pair
    return fields


def _is_risky(table: str, name: str, *values: Any) -> bool:
    """Whether a setting that is kept as it is may be a secret all the same, by its name or by what it is."""
    is_kept_plain = table in {"sources", "alerts"} and name.startswith("settings.")
    return is_kept_plain and (has_secret_name(name) or any(is_secret(value) for value in values))


_NAMES: Final = {"sealed": "secrets", "last_four": "ends in"}


def _flat(row: Mapping[str, Any]) -> Row:
    """One level of JSON objects told field by field."""
    flat: Row = {}
    for name, value in row.items():
        inner = _object(value)
        if inner is None:
            flat[name] = value
        else:
            flat |= {f"{name}.{key}": one for key, one in inner.items()}
    return flat


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def _hidden(value: Any) -> Any:
    return None if value in (None, "") else HIDDEN


def shown_value(value: Any) -> Any:
    """As it is kept in the trail: shortened, None for what is empty."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if text in ("", "[]", "{}"):
        return None
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _key_verb(change: RowChange) -> str:
    return "rotated the key of" if change.before is None else "retired a key of"


def _verb(change: RowChange, fields: Mapping[str, Change]) -> str:
    if change.before is None:
        return "added"
    if change.after is None or "removed_at" in fields:
        return "removed"
    verbs = {verb(fields[name][1]) for name, verb in _VERBS.items() if name in fields}
    return verbs.pop() if len(verbs) == 1 and fields.keys() <= _VERBS.keys() | {"secrets"} else "changed"


_VERBS: Final[dict[str, Callable[[Any], str]]] = {
    "paused": lambda now: "paused" if now else "resumed",
    "enabled": lambda now: "enabled" if now else "disabled",
    "disabled": lambda now: "disabled" if now else "resumed",
    "disabled_at": lambda now: "disabled" if now else "enabled",
    "nickname": lambda _: "renamed",
    "title": lambda _: "renamed",
    "name": lambda _: "renamed",
    "password": lambda _: "set the password of",
    "invitation": lambda now: "invited" if now else "set the password of",
}
