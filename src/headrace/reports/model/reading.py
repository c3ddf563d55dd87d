"""From the tables of events, of any source and platform, to rows of one form: what an increment begins with.

Columns that a table lacks are null, and a column may have any type: what was sent decides it.
"""
# ruff: noqa: S608 -- names go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from headrace.names import event_slug, event_table, property_name
from headrace.reports.model.engine import Engine
from headrace.reports.model.kinds import Kind, kind_of
from headrace.reports.model.schema import Type
from headrace.reports.model.settings import Goal, ModelSettings
from headrace.reports.place import MailSource
from headrace.warehouses.base import Columns, ColumnType, TableName

IDENTIFIES: Final = "identifies"
ALIASES: Final = "aliases"
MAIL: Final = "mail"
_ADDRESS: Final = "^[^@ ]+@[^@ ]+$"


class ReadTable(NamedTuple):
    """A table that the model reads as something: `role` is mail, identifies, aliases, or `goal` and the goal's name."""

    name: TableName
    role: str
    columns: Columns
    kind: Kind | None = None
    goal: Goal | None = None


class Slice(NamedTuple):
    """Rows of a table with a loaded_at after `after` (None: from the first on) up to `to`."""

    table: ReadTable
    after: datetime | None
    to: datetime


def tables_read(
    tables: Mapping[TableName, Columns], sources: Iterable[MailSource], settings: ModelSettings
) -> list[ReadTable]:
    """In the order of their names; a table may be read as several things."""
    by_schema: dict[str, list[MailSource]] = {}
    for source in sources:
        by_schema.setdefault(source.schema, []).append(source)
    found: list[ReadTable] = []
    for name, columns in sorted(tables.items()):
        of_schema = by_schema.get(name.schema)
        if of_schema is None or not {"id", "received_at", "loaded_at"} <= columns.keys():
            continue
        is_email = any(source.is_email or source.slug in settings.email_sources for source in of_schema)
        kind = kind_of(name.table, is_email=is_email)
        if kind is not None:
            found.append(ReadTable(name, MAIL, columns, kind=kind))
        if name.table in (IDENTIFIES, ALIASES):
            found.append(ReadTable(name, name.table, columns))
        for goal in settings.goals:
            wanted = goal.source is None or any(source.slug == goal.source for source in of_schema)
            if wanted and name.table == event_table(event_slug(goal.event)):
                found.append(ReadTable(name, f"goal {goal.name}", columns, goal=goal))
    return found


class Reading:
    """Builds the SELECTs over one engine's tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def mail(self, slices: Sequence[Slice]) -> str:
        """Rows of `raw_mail`: see MAIL_COLUMNS."""
        return self._union([(one, self._mail(one)) for one in slices if one.table.role == MAIL], MAIL_COLUMNS)

    def people(self, slices: Sequence[Slice]) -> str:
        """Rows of `raw_people`: what identifies tell."""
        return self._union([(one, self._people(one)) for one in slices if one.table.role == IDENTIFIES], PEOPLE_COLUMNS)

    def aliases(self, slices: Sequence[Slice]) -> str:
        """Rows of `raw_aliases`: former ids."""
        return self._union([(one, self._aliases(one)) for one in slices if one.table.role == ALIASES], ALIAS_COLUMNS)

    def goals(self, slices: Sequence[Slice]) -> str:
        """Rows of `incoming_goals`."""
        return self._union([(one, self._goal(one, one.table.goal)) for one in slices if one.table.goal], GOAL_COLUMNS)

    def columns(self, table: ReadTable) -> Columns:
        """Those of the table's columns that are read."""
        every = [Slice(table, None, datetime.max.replace(tzinfo=UTC))]
        select = " ".join(read(every) for read in (self.mail, self.people, self.aliases, self.goals))
        return {name: type_ for name, type_ in table.columns.items() if self._engine.quoted(name) in select}

    def _union(self, parts: Sequence[tuple[Slice, Mapping[str, str]]], columns: Mapping[str, Type]) -> str:
        """Of slices and their expressions by column."""
        if not parts:
            empty = ", ".join(f"{self._engine.null(type_)} AS {name}" for name, type_ in columns.items())
            return f"SELECT {empty} WHERE false"
        return " UNION ALL ".join(
            self._select(one, columns, expressions, is_first=place == 0)
            for place, (one, expressions) in enumerate(parts)
        )

    def _select(
        self, one: Slice, columns: Mapping[str, Type], expressions: Mapping[str, str], *, is_first: bool
    ) -> str:
        """Only the first tells names and types: each word costs DuckDB time, however few rows there are."""
        engine = self._engine
        if is_first:
            chosen = [f"{engine.cast(expressions[name], type_)} AS {name}" for name, type_ in columns.items()]
        else:
            chosen = [
                "NULL" if expressions[name] == engine.null(type_) else expressions[name]
                for name, type_ in columns.items()
            ]
        return f"SELECT {', '.join(chosen)} FROM {self.rows(one)}"

    def rows(self, one: Slice) -> str:
        """What follows FROM."""
        bounds = [f"loaded_at <= {self._moment(one.to)}"]
        if one.after is not None:
            bounds.append(f"loaded_at > {self._moment(one.after)}")
        return f"{self._engine.qualified(*one.table.name)} WHERE {' AND '.join(bounds)}"

    def _moment(self, when: datetime) -> str:
        return self._engine.cast(self._engine.text(when.isoformat()), Type.TIME)

    def _text(self, columns: Columns, *names: str) -> str:
        """The first of these columns that has a text."""
        there = [self._engine.stored_text(name, columns[name]) for name in names if name in columns]
        return _first(there, self._engine.null(Type.TEXT))

    def _truth(self, columns: Columns, *names: str) -> str:
        there = [self._engine.stored_truth(name, columns[name]) for name in names if name in columns]
        return _first(there, self._engine.null(Type.TRUTH))

    def _any_truth(self, columns: Columns, *names: str) -> str:
        there = [
            f"coalesce({self._engine.stored_truth(name, columns[name])}, false)" for name in names if name in columns
        ]
        return f"({' OR '.join(there)})" if there else "false"

    def _money(self, columns: Columns, *names: str) -> str:
        there = [self._engine.stored_money(name, columns[name]) for name in names if name in columns]
        return _first(there, self._engine.null(Type.MONEY))

    def _happened_at(self, columns: Columns) -> str:
        is_time = columns.get("timestamp") is ColumnType.TIMESTAMP
        return 'coalesce("timestamp", received_at)' if is_time else "received_at"

    def _person(self, columns: Columns) -> dict[str, str]:
        """`user_id`, `email` and `anonymous_id` of a row, and `email_sha256`."""
        user_id, anonymous_id = self._text(columns, "user_id"), self._text(columns, "anonymous_id")
        told = [f"trim({self._text(columns, name)})" for name in ("context_traits_email", "email") if name in columns]
        # A word such as n/a would make one person of many.
        addresses = [
            f"CASE WHEN {self._engine.matches(text, _ADDRESS)} THEN {text} END"
            for text in (*told, anonymous_id, user_id)
        ]
        digests = [name for name in ("context_traits_email_sha256", "email_sha256") if name in columns]
        return {
            "user_id": user_id,
            "email": f"lower(coalesce({', '.join(addresses)}))",
            "anonymous_id": f"lower({anonymous_id})",
            "email_sha256": f"lower({self._text(columns, *digests)})" if digests else self._engine.null(Type.TEXT),
        }

    def _mail(self, one: Slice) -> Mapping[str, str]:
        engine, columns, kind = self._engine, one.table.columns, one.table.kind
        assert kind is not None  # noqa: S101 -- so of each table with this role
        is_read = kind.kind in ("opened", "clicked")
        machine = "true" if kind.machine else self._truth(columns, "machine_open")
        nothing = engine.null(Type.TEXT)
        link = ("link_id", "link_url", "link_name")
        return {
            "source": engine.text(one.table.name.schema),
            "id": "id",
            "kind": self._kind(columns, kind),
            "happened_at": self._happened_at(columns),
            "received_at": "received_at",
            **self._person(columns),
            "campaign_id": f"coalesce({self._text(columns, 'campaign_id')}, '')",
            "campaign_name": self._text(columns, "campaign_name"),
            "email_id": f"coalesce({self._text(columns, 'email_id')}, '')",
            "email_subject": self._text(columns, "email_subject"),
            "journey_id": self._text(columns, "journey_id"),
            "platform_message_id": self._text(columns, "message_id"),
            "list_id": self._text(columns, "list_id"),
            "link": self._text(columns, *link) if kind.kind == "clicked" else nothing,
            "link_url": self._text(columns, "link_url") if kind.kind == "clicked" else nothing,
            **self._bounce(columns, kind),
            "machine_open": machine if kind.kind == "opened" else engine.null(Type.TRUTH),
            "user_agent": self._text(columns, "context_user_agent") if is_read else nothing,
            "ip": self._text(columns, "context_ip") if is_read else nothing,
            "is_test": self._any_truth(columns, "test_send", "is_test", *_only_boolean(columns, "test")),
        }

    def _kind(self, columns: Columns, kind: Kind) -> str:
        """Mailgun's `failed` is a deferral while it is temporary."""
        literal = self._engine.text(kind.kind)
        if not kind.may_be_temporary or "severity" not in columns:
            return literal
        return f"CASE WHEN lower({self._text(columns, 'severity')}) = 'temporary' THEN 'deferred' ELSE {literal} END"

    def _bounce(self, columns: Columns, kind: Kind) -> dict[str, str]:
        names = ("bounce_type", "bounce_code", "bounce_reason")
        if kind.kind != "bounced":
            return dict.fromkeys(names, self._engine.null(Type.TEXT))
        told = dict(
            zip(
                names,
                (self._bounce_type(columns, kind), *(self._text(columns, name) for name in names[1:])),
                strict=True,
            )
        )
        is_bounced = f"{self._kind(columns, kind)} = 'bounced'"
        return {name: f"CASE WHEN {is_bounced} THEN {sql} END" for name, sql in told.items()}

    def _bounce_type(self, columns: Columns, kind: Kind) -> str:
        told = f"lower({self._text(columns, 'bounce_type')})"
        words = " ".join(
            f"WHEN {told} IN ({', '.join(map(self._engine.text, words))}) THEN '{type_}'"
            for type_, words in BOUNCE_WORDS.items()
        )
        return f"CASE {words} ELSE '{kind.bounce_type or 'unknown'}' END"

    def _people(self, one: Slice) -> Mapping[str, str]:
        columns = one.table.columns
        return {
            "id": "id",
            "happened_at": self._happened_at(columns),
            **self._person(columns),
            "is_holdout": self._truth(columns, "holdout"),
        }

    def _aliases(self, one: Slice) -> Mapping[str, str]:
        columns = one.table.columns
        return {
            "id": "id",
            "happened_at": self._happened_at(columns),
            "previous_id": self._text(columns, "previous_id"),
            "user_id": self._text(columns, "user_id"),
        }

    def _goal(self, one: Slice, goal: Goal | None) -> Mapping[str, str]:
        assert goal is not None  # noqa: S101 -- so of each table with this role
        engine, columns = self._engine, one.table.columns
        person = self._person(columns)
        return {
            "goal": engine.text(goal.name),
            "id": "id",
            "source": engine.text(one.table.name.schema),
            "order_id": self._text(columns, *(property_name(name) for name in goal.key)),
            "happened_at": self._happened_at(columns),
            "received_at": "received_at",
            "recipient": f"coalesce({person['user_id']}, {person['email']}, {person['anonymous_id']})",
            "value": self._money(columns, *(property_name(name) for name in goal.value)),
        }


def _only_boolean(columns: Columns, name: str) -> tuple[str, ...]:
    """The name, if the column says yes or no: a `test` with other values is a variant of a comparison."""
    return (name,) if columns.get(name) is ColumnType.BOOLEAN else ()


def _first(expressions: Sequence[str], nothing: str) -> str:
    if not expressions:
        return nothing
    return expressions[0] if len(expressions) == 1 else f"coalesce({', '.join(expressions)})"


BOUNCE_WORDS: Final = {
    "hard": ("hard", "permanent"),
    "soft": ("soft", "transient", "temporary"),
    "block": ("block", "blocked"),
}
"""What platforms call the types; anything else is unknown."""

_PERSON_COLUMNS: Final = {
    "user_id": Type.TEXT,
    "email": Type.TEXT,
    "anonymous_id": Type.TEXT,
    "email_sha256": Type.TEXT,
}
MAIL_COLUMNS: Final[Mapping[str, Type]] = {
    "source": Type.TEXT,
    "id": Type.TEXT,
    "kind": Type.TEXT,
    "happened_at": Type.TIME,
    "received_at": Type.TIME,
    **_PERSON_COLUMNS,
    **dict.fromkeys(
        (
            "campaign_id",
            "campaign_name",
            "email_id",
            "email_subject",
            "journey_id",
            "platform_message_id",
            "list_id",
            "link",
            "link_url",
            "bounce_type",
            "bounce_code",
            "bounce_reason",
        ),
        Type.TEXT,
    ),
    "machine_open": Type.TRUTH,
    "user_agent": Type.TEXT,
    "ip": Type.TEXT,
    "is_test": Type.TRUTH,
}
PEOPLE_COLUMNS: Final[Mapping[str, Type]] = {
    "id": Type.TEXT,
    "happened_at": Type.TIME,
    **_PERSON_COLUMNS,
    "is_holdout": Type.TRUTH,
}
ALIAS_COLUMNS: Final[Mapping[str, Type]] = {
    "id": Type.TEXT,
    "happened_at": Type.TIME,
    "previous_id": Type.TEXT,
    "user_id": Type.TEXT,
}
GOAL_COLUMNS: Final[Mapping[str, Type]] = {
    "goal": Type.TEXT,
    "id": Type.TEXT,
    "source": Type.TEXT,
    "order_id": Type.TEXT,
    "happened_at": Type.TIME,
    "received_at": Type.TIME,
    "recipient": Type.TEXT,
    "value": Type.MONEY,
}
