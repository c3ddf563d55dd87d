"""What counts as a success, once each and with its person; and who belongs to a holdout group.

Both are merged by rules over what rows say, never over when they came, so that the order of arrival makes no difference.
"""

# ruff: noqa: S608 -- all names are of the model

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.reports.model.engine import Engine
from headrace.reports.model.rewriting import nothing_rewritten, rewrite
from headrace.reports.model.schema import TABLES
from headrace.warehouses.base import Derivation

_PERSON: Final = ("recipient_key", "person_key")


class _Merge(NamedTuple):
    """Of rows with the same `key` the first in `order` stays, of those the one read last, which has an `age` of 0. `key_of` says the key in the
    terms of `incoming`."""

    table: str
    incoming: str
    key: str
    key_of: str
    order: Sequence[str]
    wanted: str


def _of_conversions(engine: Engine) -> _Merge:
    # An order's number and a messageId may be the same text.
    by_order, by_id = engine.key("goal", "'order'", "order_id"), engine.key("goal", "'id'", "id")
    return _Merge(
        table="conversions",
        incoming="incoming_goals",
        key="conversion_key",
        key_of=f"CASE WHEN order_id IS NULL THEN {by_id} ELSE {by_order} END",
        order=(
            "received_at",
            'id COLLATE "C"',
            'source COLLATE "C"',
            "age",
            "happened_at",
            'recipient COLLATE "C"',
            "value",
        ),
        wanted="recipient IS NOT NULL",
    )


_CONTROLS: Final = _Merge(
    table="controls",
    incoming="incoming_controls",
    key="recipient",
    key_of="recipient",
    order=("happened_at DESC", 'id COLLATE "C" DESC', "is_holdout DESC"),
    wanted="recipient IS NOT NULL AND is_holdout IS NOT NULL",
)


def apply(derivation: Derivation, engine: Engine) -> None:
    """Merge `incoming_goals` into email.conversions and `incoming_controls` into email.controls, and give those of
    `changed_identities` their new person. Leaves `old_conversions`, `new_conversions`, `old_controls` and `new_controls`."""
    moved = "before_key <> recipient_key"
    counts = derivation.fetch(
        "SELECT (SELECT count(*) FROM incoming_goals) AS conversions, (SELECT count(*) FROM incoming_controls) AS controls, "
        f"(SELECT count(*) FROM changed_identities WHERE {moved}) AS moved"
    ).to_pylist()[0]
    if counts["moved"]:
        former = f"SELECT DISTINCT {engine.key('before_key')} AS person_key FROM changed_identities WHERE {moved}"
        derivation.run(engine.temporary("former_persons", former))
    for merge in (_of_conversions(engine), _CONTROLS):
        if counts["moved"] or counts[merge.table]:
            derivation.run(_merged(merge, engine, has_moved=counts["moved"] > 0))
        else:
            derivation.run(nothing_rewritten(engine, merge.table))


def _merged(merge: _Merge, engine: Engine, *, has_moved: bool) -> list[str]:
    table, key = merge.table, merge.key
    columns = [name for name in TABLES[table].columns if name not in _PERSON]
    told = ", ".join(columns)
    keyed = ", ".join(name if name != key or name == merge.key_of else f"{merge.key_of} AS {key}" for name in columns)
    every = f"SELECT {told}, 0 AS age FROM keyed_{table} UNION ALL SELECT {told}, 1 AS age FROM had_{table}"
    rank = f"row_number() OVER (PARTITION BY {key} ORDER BY {', '.join(merge.order)}) AS rank"
    chosen = f"SELECT * FROM (SELECT *, {rank} FROM ({every}) AS e) AS r WHERE rank = 1"
    person = "coalesce(i.recipient_key, c.recipient)"
    persons = {"recipient_key": person, "person_key": engine.key(person)}
    made = ", ".join(f"{persons.get(name, f'c.{name}')} AS {name}" for name in TABLES[table].columns)
    return [
        *engine.temporary(f"keyed_{table}", f"SELECT {keyed} FROM {merge.incoming} WHERE {merge.wanted}"),
        *_had(merge, engine, has_moved=has_moved),
        *engine.temporary(
            f"chosen_{table}", f"SELECT {told}, {engine.key('recipient')} AS alias_key FROM ({chosen}) AS c"
        ),
        *engine.pick(f"identities_of_{table}", "identities", "alias_key", f"chosen_{table}"),
        *engine.temporary(
            f"made_{table}",
            f"SELECT {made} FROM chosen_{table} AS c LEFT JOIN identities_of_{table} AS i ON i.alias = c.recipient",
        ),
        *rewrite(engine, table, f"had_{table}", f"made_{table}"),
    ]


def _had(merge: _Merge, engine: Engine, *, has_moved: bool) -> list[str]:
    """`had_TABLE`: the rows that may differ now."""
    table, had = merge.table, f"had_{merge.table}"
    if not has_moved:
        return engine.pick(had, table, merge.key, f"keyed_{table}")
    return [
        *engine.pick(f"known_{table}", table, merge.key, f"keyed_{table}"),
        *engine.pick(f"of_former_{table}", table, "person_key", "former_persons"),
        *engine.temporary(had, f"SELECT * FROM known_{table} UNION SELECT * FROM of_former_{table}"),
    ]
