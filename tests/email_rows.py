"""Seeded rows for the tables of the schema `email`: of the right types, joined here and there, with nulls, and right in nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.reports.model.schema import TABLES, Column, Type

END: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
TEXTS: Final[Mapping[str, Sequence[str | None]]] = {
    "campaign_id": ("", "901", "902", "202641", "202642"),
    "journey_id": (None, None, "J-1"),
    "source": ("selligent", "shop"),
    "domain": ("", "gmail.com", "corp.example"),
    "goal": ("order_completed", "signed_up"),
    "model": ("last", "first", "any"),
    "touch": ("click", "open"),
    "kind": ("delivered", "opened", "clicked", "bounced", "unsubscribed"),
    "device": (None, "mobile", "desktop"),
    "label_set": ("type", "brand"),
    "label": ("sale", "Magazine", "été"),
    "machine_reasons": (None, "fast_click", "every_link,many_links"),
    "bounce_type": (None, "hard", "soft"),
}
PEOPLE: Final = 12
ROWS: Final = 60


def _value(name: str, of: Column, chance: random.Random) -> Any:
    if name in TEXTS:
        return chance.choice(TEXTS[name])
    match of.type:
        case Type.KEY | Type.COUNT:
            return chance.randrange(PEOPLE)
        case Type.TIME:
            return None if chance.random() < 0.2 else END - timedelta(seconds=chance.randrange(40 * 86_400))
        case Type.DAY:
            return (END - timedelta(days=chance.randrange(40))).date()
        case Type.TRUTH:
            return chance.random() < 0.5
        case Type.MONEY:
            return None if chance.random() < 0.1 else chance.randrange(10_000) / 100
        case Type.RATE:
            return None if chance.random() < 0.2 else chance.random()
        case _:
            return f"{name[0]}{chance.randrange(PEOPLE)}"


def rows(seed: int = 1) -> dict[str, list[dict[str, Any]]]:
    """By table; what makes a row unique is unique."""
    chance = random.Random(seed)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, table in TABLES.items():
        by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
        for number in range(ROWS):
            row = {column: _value(column, of, chance) for column, of in table.columns.items()}
            if table.key and table.columns[table.key[0]].type is Type.KEY:
                row[table.key[0]] = number if len(table.key) == 1 else row[table.key[0]]
            by_key[tuple(row[column] or "" for column in table.key) or (number,)] = row
        found[name] = list(by_key.values())
    return found
