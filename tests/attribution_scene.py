"""Mails, touches, orders and people of whom attribution is tried: given in increments, on a real engine.

What comes before attribution in an increment, email.events and email.messages among it, is made here in Python, anew each time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pyarrow as pa

import email_tables
from headrace.reports.model import attribution
from headrace.reports.model.engine import engine
from headrace.reports.model.reading import GOAL_COLUMNS
from headrace.reports.model.schema import TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation, Deriving

START: Final = datetime(2026, 9, 1, tzinfo=UTC)
WRITTEN: Final = ("events", "messages", "identities", "conversions", "controls", "attribution")
KEYS: Final = ("conversion_key", "person_key", "message_id")
"""Numbers that differ from engine to engine."""


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


class Mail(NamedTuple):
    """`name` is its email_id."""

    name: str
    recipient: str
    campaign: str = "c"
    source: str = "mail"
    number: int = 1
    journey: str | None = None


class Sent(NamedTuple):
    mail: Mail
    hours: float


class Touch(NamedTuple):
    mail: Mail
    kind: str
    hours: float
    is_machine: bool = False
    is_test: bool = False


class Order(NamedTuple):
    id: str
    recipient: str
    hours: float
    order_id: str | None = None
    received: float = 1000.0
    value: int | None = 10
    goal: str = "order_completed"
    source: str = "shop"


class Control(NamedTuple):
    id: str
    recipient: str
    is_holdout: bool
    hours: float


class Known(NamedTuple):
    """From now on the alias belongs to the person."""

    alias: str
    person: str


Fact = Sent | Touch | Order | Control | Known
Row = dict[str, Any]

CONTROL_COLUMNS: Final = {"recipient": Type.TEXT, "is_holdout": Type.TRUTH, "happened_at": Type.TIME, "id": Type.TEXT}
CHANGED_COLUMNS: Final = {"alias": Type.TEXT, "before_key": Type.TEXT, "recipient_key": Type.TEXT}


def number(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


class Scene:
    def __init__(self, warehouse: Deriving, settings: ModelSettings) -> None:
        self._warehouse, self._settings = warehouse, settings
        self._engine = engine(warehouse.engine)
        self._facts: list[Fact] = []
        self._persons: dict[str, str] = {}
        self._keys: dict[str, int] = {}
        self._staged_so_far = 0
        self.statements: list[str] = []
        """Of the last increment's attribution."""
        warehouse.derive(self._emptied)

    def _emptied(self, derivation: Derivation) -> None:
        for table in WRITTEN:
            made = self._engine.create(table, TABLES[table])[0].replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
            derivation.run(["CREATE SCHEMA IF NOT EXISTS email", made, f"DELETE FROM email.{table}"])

    def increment(self, facts: Iterable[Fact]) -> tuple[list[Row], list[Row]]:
        """Returns what attribution says it removed and inserted."""
        return self._warehouse.derive(lambda derivation: self._apply(derivation, list(facts)))

    def rows(self, table: str) -> list[Row]:
        """Without keys, in an order of their own."""
        return self._warehouse.derive(lambda derivation: self._rows(derivation, f"email.{table}", table))

    def _apply(self, derivation: Derivation, facts: list[Fact]) -> tuple[list[Row], list[Row]]:
        before = self._events(), self._messages()
        changed = self._know(derivation, [fact for fact in facts if isinstance(fact, Known)])
        self._facts += facts
        self._write(derivation, before, (self._events(), self._messages()))
        orders = [
            {**fact._asdict(), "happened_at": at(fact.hours), "received_at": at(fact.received)}
            for fact in facts
            if isinstance(fact, Order)
        ]
        controls = [{**fact._asdict(), "happened_at": at(fact.hours)} for fact in facts if isinstance(fact, Control)]
        self._temporary(derivation, "incoming_goals", GOAL_COLUMNS, orders)
        self._temporary(derivation, "incoming_controls", CONTROL_COLUMNS, controls)
        self._temporary(derivation, "changed_identities", CHANGED_COLUMNS, changed)
        listening = Listening(derivation)
        attribution.apply(listening, self._engine, self._settings)
        self.statements = listening.statements
        old, new = (self._rows(derivation, f"{which}_attribution", "attribution") for which in ("old", "new"))
        return old, new

    def _know(self, derivation: Derivation, known: Sequence[Known]) -> list[Row]:
        """Rows of `changed_identities`; email.identities is written."""
        changed = [
            {"alias": one.alias, "before_key": self._person(one.alias), "recipient_key": one.person} for one in known
        ]
        self._persons.update(dict(known))
        for one in known:
            self._insert(
                derivation,
                "identities",
                [
                    {
                        **dict.fromkeys(TABLES["identities"].columns),
                        "alias": one.alias,
                        "alias_key": self._key(derivation, one.alias),
                        "target": one.person,
                        "recipient_key": one.person,
                    }
                ],
            )
        return changed

    def _person(self, recipient: str) -> str:
        return self._persons.get(recipient, recipient)

    def _key(self, derivation: Derivation, name: str) -> int:
        if name not in self._keys:
            text = self._engine.cast(self._engine.text(name), Type.TEXT)
            self._keys[name] = derivation.fetch(f"SELECT {self._engine.key(text)} AS k").column("k")[0].as_py()
        return self._keys[name]

    def _mail_columns(self, mail: Mail) -> Row:
        person = self._person(mail.recipient)
        return {
            "message_id": number(mail, person),
            "group_key": number(mail.source, mail.campaign, mail.name, person),
            "source": mail.source,
            "campaign_id": mail.campaign,
            "email_id": mail.name,
            "journey_id": mail.journey,
            "recipient_key": person,
            "send_number": mail.number,
        }

    def _events(self) -> list[Row]:
        return [
            {
                **self._mail_columns(fact.mail),
                "event_key": number(fact),
                "kind": fact.kind,
                "happened_at": at(fact.hours),
                "is_machine": fact.is_machine,
                "is_test": fact.is_test,
            }
            for fact in self._facts
            if isinstance(fact, Touch)
        ]

    def _messages(self) -> list[Row]:
        mails = {fact.mail: None for fact in self._facts if isinstance(fact, (Sent, Touch))}
        return [self._message(mail) for mail in mails]

    def _message(self, mail: Mail) -> Row:
        """Sent when that was told, for want of it at the first touch."""
        sent = [fact.hours for fact in self._facts if isinstance(fact, Sent) and fact.mail == mail]
        touches = [fact for fact in self._facts if isinstance(fact, Touch) and fact.mail == mail]
        human = [touch.hours for touch in touches if not touch.is_machine]
        return {
            **self._mail_columns(mail),
            "domain": "example.com",
            "sent_at": at(min(sent or [touch.hours for touch in touches])),
            "human_opened_at": at(min(human)) if human else None,
            "open_events": len(touches),
            "is_test": any(touch.is_test for touch in touches),
        }

    def _write(
        self, derivation: Derivation, before: tuple[list[Row], list[Row]], after: tuple[list[Row], list[Row]]
    ) -> None:
        for rows in (*before, *after):
            for row in rows:
                row["person_key"] = self._key(derivation, row["recipient_key"])
        (old_events, old_messages), (new_events, new_messages) = before, after
        groups = {row["group_key"] for row in old_events if row not in new_events}
        groups |= {row["group_key"] for row in new_events if row not in old_events}
        temporary = {
            "old_events": [row for row in old_events if row["group_key"] in groups],
            "new_events": [row for row in new_events if row["group_key"] in groups],
            "old_messages": [row for row in old_messages if row not in new_messages],
            "new_messages": [row for row in new_messages if row not in old_messages],
        }
        for name, rows in temporary.items():
            types = {column: of.type for column, of in TABLES[name[4:]].columns.items()}
            self._temporary(derivation, name, types, rows)
        for name, rows in (("events", new_events), ("messages", new_messages)):
            if temporary[f"old_{name}"]:
                derivation.run([f"DELETE FROM email.{name}"])
            if temporary[f"old_{name}"] or temporary[f"new_{name}"]:
                self._insert(derivation, name, rows if temporary[f"old_{name}"] else temporary[f"new_{name}"])

    def _temporary(self, derivation: Derivation, name: str, types: Mapping[str, Type], rows: Sequence[Row]) -> None:
        derivation.run(self._engine.temporary(name, self._staged(derivation, name, types, rows)))

    def _insert(self, derivation: Derivation, table: str, rows: Sequence[Row]) -> None:
        types = {column: of.type for column, of in TABLES[table].columns.items()}
        select = self._staged(derivation, table, types, rows)
        derivation.run([f"INSERT INTO email.{table} ({', '.join(types)}) {select}"])

    def _staged(self, derivation: Derivation, name: str, types: Mapping[str, Type], rows: Sequence[Row]) -> str:
        arrays = [
            pa.array([row.get(column) for row in rows], email_tables.ARROW[type_]) for column, type_ in types.items()
        ]
        if not rows:
            return f"SELECT {', '.join(f'{self._engine.null(type_)} AS {column}' for column, type_ in types.items())} WHERE false"
        self._staged_so_far += 1
        staged = f"staged_{name}_{self._staged_so_far}"
        derivation.stage(staged, pa.table(arrays, names=list(types)))
        casts = ", ".join(f"{self._engine.cast(column, type_)} AS {column}" for column, type_ in types.items())
        return f"SELECT {casts} FROM {staged}"

    def _rows(self, derivation: Derivation, name: str, table: str) -> list[Row]:
        columns = [column for column in TABLES[table].columns if column not in KEYS]
        rows: list[Row] = derivation.fetch(f"SELECT {', '.join(columns)} FROM {name}").to_pylist()
        for row in rows:
            if isinstance(row.get("value"), (float, str)):
                row["value"] = Decimal(row["value"])
        return sorted(rows, key=repr)


class Listening:
    """A derivation whose statements are kept."""

    def __init__(self, derivation: Derivation) -> None:
        self.engine = derivation.engine
        self.statements: list[str] = []
        self._derivation = derivation

    def run(self, statements: Sequence[str]) -> None:
        self.statements += statements
        self._derivation.run(statements)

    def fetch(self, query: str) -> Any:
        self.statements.append(query)
        return self._derivation.fetch(query)

    def stage(self, name: str, table: Any) -> None:
        self._derivation.stage(name, table)
