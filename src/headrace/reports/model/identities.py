"""Who is one person: aliases (addresses, their digests, anonymous and former ids) and whom they belong to.

Of several targets of an alias the first evidence counts, so that figures do not move when somebody else uses the same device later.
What an increment changes is left in the temporary table `changed_identities`.
"""
# ruff: noqa: S608 -- all names are of the model

from __future__ import annotations

from typing import Final

from headrace.reports.model.engine import Engine
from headrace.reports.model.schema import TABLES
from headrace.warehouses.base import Derivation

HOPS: Final = 4
"""So often identities are followed: visitor -> address -> former user id -> user id."""


def apply(derivation: Derivation, engine: Engine, *, digests: bool) -> None:
    """Merge what `raw_mail`, `raw_people` and `raw_aliases` tell into email.identities. `digests`: digests of addresses occur, so
    that each address has its own as an alias."""
    derivation.run(_evidence(engine, digests=digests))
    derivation.run(
        engine.temporary(
            "changed_identities",
            "SELECT alias, target AS before_key, target AS recipient_key, is_user AS is_matched FROM new_identities WHERE false",
        )
    )
    if derivation.fetch("SELECT count(*) AS n FROM new_identities").column("n")[0].as_py() == 0:
        return
    derivation.run(_written(engine))
    _find_dependent(derivation, engine)
    _follow(derivation, engine)
    derivation.run(_changed(engine))


def _evidence(engine: Engine, *, digests: bool) -> list[str]:
    """`new_identities`: the first evidence of this increment for each alias, as far as it is new or earlier than what is known."""
    person = "user_id, email, anonymous_id, email_sha256"
    tells = [
        ("email", "user_id", "true", "user_id IS NOT NULL"),
        ("email_sha256", "user_id", "true", "user_id IS NOT NULL"),
        ("anonymous_id", "user_id", "true", "user_id IS NOT NULL AND anonymous_id IS DISTINCT FROM email"),
        ("anonymous_id", "email", "false", "user_id IS NULL AND email IS NOT NULL"),
    ]
    if digests:
        tells.append((engine.sha256("email"), "email", "false", "email IS NOT NULL"))
    from_people = [
        f"SELECT {alias} AS alias, {target} AS target, {is_user} AS is_user, happened_at FROM told WHERE {where}"
        for alias, target, is_user, where in tells
    ]
    from_aliases = [
        f"SELECT {alias} AS alias, user_id AS target, true AS is_user, happened_at FROM raw_aliases WHERE user_id IS NOT NULL"
        for alias in ("previous_id", "lower(previous_id)")
    ]
    every = " UNION ALL ".join((*from_people, *from_aliases))
    told = f"SELECT {person}, happened_at FROM raw_mail UNION ALL SELECT {person}, happened_at FROM raw_people"
    first = (
        f"WITH told AS (SELECT {person}, min(happened_at) AS happened_at FROM ({told}) AS every GROUP BY {person}), "
        f"evidence AS ({every}), ranked AS (SELECT *, row_number() OVER (PARTITION BY alias "
        'ORDER BY happened_at, target COLLATE "C", CASE WHEN is_user THEN 0 ELSE 1 END) AS turn FROM evidence '
        "WHERE alias IS NOT NULL AND alias <> target) "
        f"SELECT alias, {engine.key('alias')} AS alias_key, target, is_user, happened_at FROM ranked WHERE turn = 1"
    )
    earlier = (
        'e.happened_at < i.happened_at OR (e.happened_at = i.happened_at AND (e.target COLLATE "C" < i.target COLLATE "C" '
        "OR (e.target = i.target AND e.is_user AND NOT i.is_user)))"
    )
    return [
        *engine.temporary("first_evidence", first),
        *engine.pick("known_identities", "identities", "alias_key", "first_evidence"),
        *engine.temporary(
            "new_identities",
            "SELECT e.*, coalesce(i.recipient_key, e.alias) AS before_key "
            f"FROM first_evidence AS e LEFT JOIN known_identities AS i ON i.alias = e.alias WHERE i.alias IS NULL OR {earlier}",
        ),
    ]


def _written(engine: Engine) -> list[str]:
    columns = ", ".join(TABLES["identities"].columns)
    return [
        *engine.temporary(
            "former_identities",
            "SELECT k.* FROM known_identities AS k WHERE k.alias IN (SELECT alias FROM new_identities)",
        ),
        *engine.remove("identities", "former_identities"),
        (
            f"INSERT INTO email.identities ({columns}) SELECT alias, alias_key, target, {engine.key('target')}, is_user, "
            "happened_at, target, is_user FROM new_identities"
        ),
    ]


def _find_dependent(derivation: Derivation, engine: Engine) -> None:
    """`dependent`: the new aliases, and those that lead to one of them."""
    derivation.run(engine.temporary("dependent", "SELECT alias, alias_key, before_key FROM new_identities"))
    derivation.run(engine.temporary("reached", "SELECT alias, alias_key AS target_key FROM new_identities"))
    for hop in range(1, HOPS):
        pick = engine.pick(f"leading_{hop}", "identities", "target_key", "reached")
        new = (
            f"SELECT alias, alias_key, recipient_key AS before_key FROM leading_{hop} "
            "WHERE alias NOT IN (SELECT alias FROM dependent)"
        )
        derivation.run([*pick, *engine.temporary(f"found_{hop}", new)])
        if derivation.fetch(f"SELECT count(*) AS n FROM found_{hop}").column("n")[0].as_py() == 0:
            return
        derivation.run(
            [
                f"INSERT INTO dependent SELECT alias, alias_key, before_key FROM found_{hop}",
                *engine.drop("reached"),
                *engine.temporary("reached", f"SELECT alias, alias_key AS target_key FROM found_{hop}"),
            ]
        )


def _follow(derivation: Derivation, engine: Engine) -> None:
    """`followed`: for each dependent alias the person at the end."""
    derivation.run(
        [
            *engine.pick("dependent_rows", "identities", "alias_key", "dependent"),
            *engine.temporary(
                "followed_1",
                f"SELECT d.alias, d.before_key, r.place, r.target AS person, {engine.key('r.target')} AS alias_key, r.is_user AS is_matched "
                "FROM dependent AS d JOIN dependent_rows AS r ON r.alias = d.alias",
            ),
        ]
    )
    last = 1
    for hop in range(2, HOPS + 1):
        derivation.run(engine.pick(f"step_{hop}", "identities", "alias_key", f"followed_{last}"))
        if derivation.fetch(f"SELECT count(*) AS n FROM step_{hop}").column("n")[0].as_py() == 0:
            break
        target = "coalesce(s.target, f.person)"
        derivation.run(
            engine.temporary(
                f"followed_{hop}",
                f"SELECT f.alias, f.before_key, f.place, {target} AS person, {engine.key(target)} AS alias_key, "
                f"coalesce(s.is_user, f.is_matched) AS is_matched FROM followed_{last} AS f LEFT JOIN step_{hop} AS s ON s.alias = f.person",
            )
        )
        last = hop
    derivation.run(
        engine.temporary(
            "followed", f"SELECT alias, before_key, place, person AS recipient_key, is_matched FROM followed_{last}"
        )
    )


def _changed(engine: Engine) -> list[str]:
    """Write the persons into email.identities, and tell which aliases have another one now."""
    return [
        (
            "UPDATE email.identities AS t SET recipient_key = f.recipient_key, is_matched = f.is_matched FROM followed AS f "
            f"WHERE t.{engine.place} = f.place AND (t.recipient_key <> f.recipient_key OR t.is_matched <> f.is_matched)"
        ),
        *engine.drop("changed_identities"),
        *engine.temporary(
            "changed_identities",
            "SELECT alias, before_key, recipient_key, is_matched FROM followed",
        ),
    ]
