"""What must come out for what was sent, worked out from the specification alone: imports nothing of headrace."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from server import Server, in_list, quoted

Row = dict[str, Any]
TABLES = {
    "track": "tracks",
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}
STANDARD_TABLES = {*TABLES.values(), "users", "accounts"}
LETTERS = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}


class Sent(NamedTuple):
    """An event as its client meant it. `message_id` may be None when the client left it to the server."""

    type: str
    envelope: Mapping[str, Any]
    context: Mapping[str, Any]
    sent_ats: Sequence[str]

    @property
    def message_id(self) -> str | None:
        return _text(self.envelope.get("messageId"))

    @property
    def body(self) -> Mapping[str, Any]:
        """Properties, or the traits of identify and group."""
        name = "traits" if self.type in ("identify", "group") else "properties"
        body: Mapping[str, Any] = self.envelope.get(name) or {}
        return body

    @property
    def tables(self) -> list[str]:
        if self.type != "track":
            return [TABLES[self.type]]
        name = identifier(self.envelope["event"])
        return ["tracks", f"_{name}" if name in STANDARD_TABLES else name]


def events_of(path: str, body: Mapping[str, Any]) -> list[Sent]:
    """The events of a request's body, with what the batch says laid below each event's own."""
    door = path.rsplit("/", 1)[-1]
    entries = body.get("batch", [body])
    found = []
    for entry in entries:
        envelope = _camel(entry)
        kind = envelope.get("type") or envelope.get("action") or LETTERS.get(door, door)
        context = {**(body.get("context") or {}), **(envelope.get("context") or {})}
        sent_ats = [at for at in (body.get("sentAt"), envelope.get("sentAt")) if at]
        found.append(Sent(kind, envelope, context, sent_ats))
    return found


def refusals(kind: str | None, entry: Mapping[str, Any]) -> set[str]:
    """The codes that fit this event, empty when it must be accepted. Several faults: any of their codes is right."""
    envelope = _camel(entry)
    kind = kind or envelope.get("type") or envelope.get("action")
    if kind not in TABLES:
        return {"type_unknown"}
    body = "traits" if kind in ("identify", "group") else "properties"
    codes = set()
    if not _text(envelope.get("userId")) and not _text(envelope.get("anonymousId")):
        codes.add("no_user_anon_id")
    if kind == "track" and not envelope.get("event"):
        codes.add("event_not_defined")
    if kind == "track" and envelope.get("event") and not isinstance(envelope["event"], str):
        codes.add("event_not_string")
    if not isinstance(envelope.get(body) or {}, dict):
        codes.add(f"{body}_not_object")
    if kind in ("page", "screen") and not isinstance(envelope.get("name") or "", str):
        codes.add("name_not_string")
    if kind == "group" and not _text(envelope.get("groupId")):
        codes.add("id_required")
    if kind == "alias" and not (_text(envelope.get("userId")) and _text(envelope.get("previousId"))):
        codes.add("id_required")
    return codes


def snake(name: str) -> str:
    """The schema's names, after the rules' own words."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if c != "\0" and not unicodedata.combining(c))
    start = re.match(r"[a-z0-9]+(?:_[a-z0-9]+)*", plain, re.ASCII)
    out = start.group() if start else ""
    rest = plain[len(out) :]
    if rest and re.match(r"[A-Z]", rest) and not re.search(r"[a-z]", out.rsplit("_", 1)[-1]):
        word = re.match(r"[A-Z0-9]*[a-z0-9]*", rest)
        assert word is not None
        out, rest = out + word.group().lower(), rest[word.end() :]
    for word in re.finditer(r"[A-Z0-9]+[a-z0-9]*|[a-z0-9]+", rest):
        out += ("_" if out else "") + word.group().lower()
    return out


def identifier(event: str) -> str:
    """The name of an event's table. The hashes are pinned here: another one would be another table for the same event."""
    hashed = hashlib.sha256(event.encode()).hexdigest()[:8]
    name = snake(event) or f"event_{hashed}"
    return name if len(name) <= 63 else f"{name[:54]}_{hashed}"


def columns_of(sent: Sent, table: str) -> Iterator[tuple[str, Any]]:
    """(column, value) for everything that the event's row in this table must show, but for ids and times."""
    yield from _flat("context", sent.context)
    if table != "tracks":
        yield from _flat("", sent.body)
    if sent.type == "track":
        yield from (("event", identifier(sent.envelope["event"])), ("event_text", sent.envelope["event"]))
    if sent.type in ("page", "screen"):
        yield "name", sent.envelope.get("name")
    if sent.type == "group":
        yield "group_id", _text(sent.envelope["groupId"])
    if sent.type == "alias":
        yield "previous_id", _text(sent.envelope["previousId"])


def wrong(sent: Sent, table: str, row: Row, discards: Sequence[Row], *, corrects_clock: bool = True) -> list[str]:
    """What this row says otherwise than the client; a value that is visible in the discards is not lost."""
    found = [f"{name}: sent {sent.envelope.get(key)!r}, stored {row.get(name)!r}" for name, key in _ids(sent, row)]
    for column, value in columns_of(sent, table):
        places = [
            column,
            f"{column}_2",
            f"_{column}",
        ]  # a second property of that name; one named like a standard column
        stored = any(same(value, row.get(place)) for place in places)
        if not stored and not any(
            d["row_id"] == row["id"] and d["column"] in places and same(value, d["value"]) for d in discards
        ):
            found.append(f"{column}: sent {value!r}, stored {row.get(column)!r}")
    return found + [f"{table}: {fault}" for fault in _wrong_times(sent, row, corrects_clock=corrects_clock)]


def same(sent: Any, stored: Any) -> bool:
    """Whether a stored value says what was sent, whichever type its column has. NUL is taken out of every text."""
    if sent is None or stored is None:
        return sent is stored
    if isinstance(sent, list):
        return bool(parsed(stored) == _without_nul(sent))
    if isinstance(sent, str):
        instants = (instant(sent), instant(stored))
        return bool(sent.replace("\0", "") == stored) or (instants[0] is not None and instants[0] == instants[1])
    if isinstance(stored, str):
        stored = parsed(stored)
    return isinstance(sent, bool) == isinstance(stored, bool) and bool(sent == stored)


def parsed(text: Any) -> Any:
    """A text's JSON value, None when it holds none."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _without_nul(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nul(inner) for inner in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def instant(text: Any) -> datetime | None:
    """A date with a time, as text; None for anything else."""
    if not isinstance(text, str) or not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text):
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", text))
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


class Stored(NamedTuple):
    """Everything of one source's schema in the warehouse, and what was refused or did not fit."""

    tables: dict[str, list[Row]]
    discards: list[Row]
    rejected: list[Row]

    def rows(self, table: str, message_id: str) -> list[Row]:
        return [row for row in self.tables.get(table, []) if row["id"] == message_id]


def stored(server: Server, schema: str, slug: str) -> Stored:
    """Reads it all in two queries, once everything accepted is loaded."""
    server.wait_until_loaded()
    names = [
        r["table_name"]
        for r in server.query(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'")
    ]
    parts = [
        f"SELECT '{n.replace(chr(39), chr(39) * 2)}' AS place, to_json(t) AS entry FROM {quoted(schema)}.{quoted(n)} t"
        for n in names
    ]
    parts.append(
        f"SELECT ' discards' AS place, to_json(d) AS entry FROM headrace.discards d WHERE d.\"schema\" = '{schema}'"
    )
    parts.append(
        f"SELECT ' rejected' AS place, to_json(r) AS entry FROM headrace.rejected r WHERE r.source IN {in_list([slug])}"
    )
    found: dict[str, list[Row]] = {name: [] for name in (*names, " discards", " rejected")}
    for row in server.query(" UNION ALL ".join(parts)):
        found[row["place"]].append(row["entry"] if isinstance(row["entry"], dict) else json.loads(row["entry"]))
    return Stored(tables=found, discards=found.pop(" discards"), rejected=found.pop(" rejected"))


def faults(events: Iterable[Sent], found: Stored, *, corrects_clock: bool = True) -> list[str]:
    """Everything by which the warehouse differs from these events: each must be there once, with its values, and nothing else.

    Of events with one id the first counts, whatever was sent later."""
    by_id: dict[str, Sent] = {}
    for sent in events:
        assert sent.message_id is not None, "the oracle finds events by their messageId"
        by_id.setdefault(sent.message_id, sent)
    wrongs = []
    for message_id, sent in by_id.items():
        for table in sent.tables:
            rows = found.rows(table, message_id)
            if len(rows) != 1:
                wrongs.append(f"{message_id}: {len(rows)} rows in {table}")
            wrongs.extend(
                f"{message_id} in {table}: {w}"
                for row in rows[:1]
                for w in wrong(sent, table, row, found.discards, corrects_clock=corrects_clock)
            )
    for table in TABLES.values():
        wrongs.extend(
            f"{row['id']}: in {table}, and nobody sent it"
            for row in found.tables.get(table, [])
            if row["id"] not in by_id
        )
    return wrongs + [f"rejected: {row}" for row in found.rejected]


def _camel(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The envelope with its snake_case keys written as the others."""
    envelope = dict(entry)
    for name in ("user_id", "anonymous_id", "message_id", "sent_at", "group_id", "previous_id"):
        if name in envelope:
            camel = re.sub(r"_(.)", lambda m: m.group(1).upper(), name)
            envelope.setdefault(camel, envelope.pop(name))
    return envelope


def _text(value: Any) -> str | None:
    """An id: numbers as text, blank ones as missing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _ids(sent: Sent, row: Row) -> Iterator[tuple[str, str]]:
    for column, key in (("user_id", "userId"), ("anonymous_id", "anonymousId")):
        if row.get(column) != _text(sent.envelope.get(key)):
            yield column, key


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            part = snake(name) or f"property_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            yield from _flat(f"{prefix}_{part}" if prefix else part, inner)
    else:
        yield prefix, value


def _wrong_times(sent: Sent, row: Row, *, corrects_clock: bool) -> Iterator[str]:
    received, stamped = instant(row.get("received_at")), instant(row.get("timestamp"))
    at, original = instant(row.get("sent_at")), instant(row.get("original_timestamp"))
    if received is None or stamped is None:
        yield f"received_at {row.get('received_at')!r}, timestamp {row.get('timestamp')!r}"
        return
    said = instant(sent.envelope.get("timestamp"))
    if said != original:
        yield f"original_timestamp: sent {said}, stored {original}"
    if at not in ([instant(text) for text in sent.sent_ats] or [None]):
        yield f"sent_at: sent {sent.sent_ats}, stored {at}"
    right = said or received
    if corrects_clock and said and at:
        right = received - (at - said)
    if abs(stamped - right) > timedelta(milliseconds=1):
        yield f"timestamp: {stamped}, expected {right}"
