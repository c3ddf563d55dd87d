"""Messages, events and attribution as nobody would send them, changed step by step as increments of the e-mail model change them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import pyarrow as pa

from email_tables import ARROW
from headrace.reports.model import rollups
from headrace.reports.model.engine import engine
from headrace.reports.model.schema import SCHEMA, TABLES, Column, Type
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses.base import Derivation, Deriving

Row = Mapping[str, Any]
Names = Sequence[tuple[str, str, datetime]]

START: Final = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
SIDES: Final = {
    "messages": ("message_id",),
    "events": ("event_key",),
    "attribution": ("conversion_key", "model", "message_id"),
}
KEPT: Final = (
    "names",
    "campaign_sends",
    "campaigns",
    "campaigns_daily",
    "links",
    "domains",
    "engagement_curve",
    "list_health",
    "quality",
    "recipients",
)
NAME_COLUMNS: Final = {name: TABLES["names"].columns[name] for name in ("campaign_id", "campaign_name", "happened_at")}
# glibc's order of these is not that of their bytes.
ADDRESSES: Final = ("ab@example.com", "a-b@example.com", "Z@example.org", "ä@example.org", None)


class World(NamedTuple):
    """Rows by what makes them unique; the names are all that were ever told."""

    messages: dict[int, Row]
    events: dict[int, Row]
    attribution: dict[tuple[int, str, int], Row]
    names: list[tuple[str, str, datetime]]

    def copy(self) -> World:
        return World(dict(self.messages), dict(self.events), dict(self.attribution), list(self.names))

    def rows(self, side: str) -> Mapping[Any, Row]:
        return getattr(self, side)  # type: ignore[no-any-return]


EMPTY: Final = World({}, {}, {}, [])


def differences(old: World, new: World, side: str) -> tuple[Sequence[Row], Sequence[Row]]:
    """Of events complete groups, as the model makes them."""
    before, after = old.rows(side), new.rows(side)
    keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    if side == "events":
        groups = {row["group_key"] for key in keys for row in (before.get(key), after.get(key)) if row}
        keys = [key for key in before.keys() | after.keys() if (before.get(key) or after[key])["group_key"] in groups]
    return [before[key] for key in keys if key in before], [after[key] for key in keys if key in after]


def increment(
    warehouse: Deriving,
    old: World,
    new: World,
    settings: ModelSettings,
    apply: Callable[..., None] = rollups.apply,
) -> None:
    """From one world to the next, in one transaction."""

    def work(derivation: Derivation) -> None:
        chosen = engine(derivation.engine)
        for side, key in SIDES.items():
            for prefix, rows in zip(("old", "new"), differences(old, new, side), strict=True):
                _temporary(derivation, f"{prefix}_{side}", TABLES[side].columns, rows)
            same = " AND ".join(f"t.{column} = o.{column}" for column in key)
            derivation.run(
                [
                    f"DELETE FROM {SCHEMA}.{side} AS t USING old_{side} AS o WHERE {same}",
                    f"INSERT INTO {SCHEMA}.{side} SELECT * FROM new_{side}",
                ]
            )
        told = [dict(zip(NAME_COLUMNS, name, strict=True)) for name in new.names[len(old.names) :]]
        _temporary(derivation, "incoming_names", NAME_COLUMNS, told)
        apply(derivation, chosen, settings)

    warehouse.derive(work)


def _temporary(derivation: Derivation, name: str, columns: Mapping[str, Column], rows: Sequence[Row]) -> None:
    chosen = engine(derivation.engine)
    arrays = [pa.array([row.get(column) for row in rows], ARROW[of.type]) for column, of in columns.items()]
    derivation.stage(f"staged_{name}", pa.table(arrays, names=list(columns)))
    casts = ", ".join(f"{chosen.cast(column, of.type)} AS {column}" for column, of in columns.items())
    derivation.run(chosen.temporary(name, f"SELECT {casts} FROM staged_{name}"))


def kept(warehouse: Deriving, tables: Sequence[str] = KEPT) -> dict[str, list[tuple[Any, ...]]]:
    """The tables' rows in an order of their own, money as a float."""

    def work(derivation: Derivation) -> dict[str, list[tuple[Any, ...]]]:
        chosen = engine(derivation.engine)
        found = {}
        for table in tables:
            columns = TABLES[table].columns
            listed = ", ".join(
                f"{chosen.cast(name, Type.RATE)} AS {name}" if of.type is Type.MONEY else name
                for name, of in columns.items()
            )
            rows = derivation.fetch(f"SELECT {listed} FROM {SCHEMA}.{table}").to_pylist()
            found[table] = sorted((tuple(map(_plain, row.values())) for row in rows), key=repr)
        return found

    return warehouse.derive(work)


def _plain(value: Any) -> Any:
    """Times of either engine in the same words."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def emptied(warehouse: Deriving) -> None:
    warehouse.derive(lambda derivation: derivation.run([f"DELETE FROM {SCHEMA}.{table}" for table in TABLES]))


def changed(world: World, dice: random.Random, changes: int) -> World:
    """Rows added, changed and removed; a few values only, so that many meet in a row and are equal."""
    new = world.copy()
    for _ in range(changes):
        number = dice.randrange(24)
        match dice.randrange(10):
            case 0:
                new.messages.pop(number, None)
            case 1:
                new.events.pop(number, None)
            case 2 | 3 | 4 | 5:
                new.messages[number] = _message(number, dice)
            case 6 | 7:
                new.events[number] = _event(number, dice)
            case _:
                row = _attributed(number % 8, dice)
                key = (row["conversion_key"], row["model"], row["message_id"])
                if new.attribution.pop(key, None) is None or dice.random() < 0.6:
                    new.attribution[key] = row
        if dice.random() < 0.2:
            new.names.append((dice.choice(["", "c1", "c2"]), dice.choice(["Ä", "a", "Z", "Winter"]), _time(dice)))
    return new


def _time(dice: random.Random) -> datetime:
    return START + timedelta(minutes=dice.choice([0, 1, 14, 15, 119, 121, 3000]), microseconds=dice.choice([0, 1]))


def _mail(dice: random.Random) -> dict[str, Any]:
    return {
        "source": dice.choice(["selligent", "sendgrid"]),
        "campaign_id": dice.choice(["", "c1", "c2"]),
        "email_id": dice.choice(["", "e1"]),
        "journey_id": dice.choice([None, None, "j1"]),
    }


def _person(dice: random.Random) -> dict[str, Any]:
    number = dice.randrange(4)
    return {"recipient_key": f"p{number}", "person_key": 100 + number}


def _message(number: int, dice: random.Random) -> Row:
    names = ("opened", "human_opened", "clicked", "human_clicked", "bounced", "unsubscribed", "complained")
    truths = {f"is_{name}": dice.random() < 0.4 for name in ("sent", "delivered", *names)}
    times = {f"{name}_at": _time(dice) if truths[f"is_{name}"] else None for name in names}
    times["delivered_at"] = _time(dice) if dice.random() < 0.7 else None
    email = dice.choice(ADDRESSES)
    if dice.random() < 0.5 and times["opened_at"] and times["delivered_at"]:
        times["opened_at"] = times["delivered_at"] + timedelta(
            seconds=dice.choice([-301, -300, -1, 0, 3599.5, 3600, 604_799.9, 604_800])
        )
    return {
        "message_id": number,
        "group_key": number // 2,
        **_mail(dice),
        **_person(dice),
        **truths,
        **times,
        "is_matched": dice.random() < 0.5,
        "is_test": dice.choice([True, False, False, False, None]),
        "email": email,
        "domain": email.split("@")[1] if email else "",
        "list_id": dice.choice([None, "l1"]),
        "sent_at": _time(dice),
        "bounce_type": dice.choice(["hard", "soft", "block"]) if truths["is_bounced"] else None,
    }


def _event(number: int, dice: random.Random) -> Row:
    kind = dice.choice(["clicked", "clicked", "clicked", "opened", "subscribed"])
    happened_at = _time(dice)
    return {
        "event_key": number,
        "group_key": number // 4,
        "message_id": None if kind == "subscribed" else number // 2,
        **_mail(dice),
        **_person(dice),
        "kind": kind,
        "happened_at": happened_at,
        "received_at": happened_at + timedelta(days=dice.choice([0, 1, 2])),
        "is_matched": dice.random() < 0.5,
        "email": dice.choice(ADDRESSES),
        "list_id": dice.choice([None, "l1"]),
        "link": dice.choice(["top", "end", None]),
        "link_url": dice.choice(["https://a-b.example", "https://ab.example", None]),
        "is_test": dice.random() < 0.1,
        "is_machine": dice.random() < 0.3,
    }


def _attributed(number: int, dice: random.Random) -> Row:
    return {
        "conversion_key": number,
        "goal": dice.choice(["order_completed", "order_completed", "signed_up"]),
        "model": dice.choice(["last", "last", "first"]),
        "message_id": number,
        **_mail(dice),
        **_person(dice),
        "domain": dice.choice(["example.com", "example.org", ""]),
        "sent_at": _time(dice),
        "happened_at": _time(dice),
        "value": dice.choice([None, 0.1, 185.25, -3.0]),
    }
