"""The e-mail model of a warehouse: which rows it has read, what is next, and when everything is made anew.

Every load has a `loaded_at` of its own, greater than that of the load before, and stands in headrace.loads. For each table that is read
email.progress says up to which load. So an increment is a run of loads, and a crash between two of them costs nothing.
"""
# ruff: noqa: S608 -- all names are of the model; values go through `text`

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from headrace.errors import ConfigError
from headrace.reports.model import increment, labels
from headrace.reports.model.differences import of_the_model
from headrace.reports.model.engine import Engine, engine
from headrace.reports.model.reading import Reading, ReadTable, Slice, tables_read
from headrace.reports.model.schema import SCHEMA, TABLES, Type
from headrace.reports.model.settings import ModelSettings
from headrace.reports.place import MailSource
from headrace.warehouses.base import HOUSEKEEPING, REBUILD, Columns, Derivation, Deriving, TableName

T = TypeVar("T")

VERSION: Final = 1
"""Of the tables and of how they are made. Another one makes everything anew."""
SLICE_EVENTS: Final = 100_000
_MOST_LOADS: Final = 10_000
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Key = tuple[str, str, str]
"""Schema, table and role."""
_DIGESTS_KEY: Final[_Key] = ("", "", "digests")
"""The row that says that digests of addresses occur."""
_AGAIN_KEY: Final[_Key] = ("", "", "again")
"""The row whose state is the least key of the groups that are still flagged by former rules."""
_LAST_KEY: Final = 2**62
_SETTINGS_KEY: Final[_Key] = ("", "", "settings")
"""The row whose state is what was chosen, and whose moment is the last load of a rebuild that the model knows."""


class Advance(NamedTuple):
    """What an increment did: rows that were read, and whether more loads wait."""

    rows: int
    is_more: bool


class _Progress(NamedTuple):
    """`last`: of a table that is new to the model, its greatest loaded_at."""

    loaded_to: datetime
    state: str
    last: datetime = _BEGINNING


class _Loads(NamedTuple):
    """The next loads: up to which one, whether more wait behind it, and whether one of them made a table anew."""

    to: datetime
    is_more: bool
    has_rebuilt: bool


class _Again(NamedTuple):
    """Groups from a key to another, both included, and where to go on; None: these are the last."""

    groups: tuple[int, int]
    next: int | None


class EmailModel:
    """Used by the loader's thread only."""

    def __init__(
        self,
        warehouse: Deriving,
        sources: Sequence[MailSource],
        settings: ModelSettings,
        slice_events: int = SLICE_EVENTS,
    ) -> None:
        self._warehouse = warehouse
        self._engine: Engine = engine(warehouse.engine)
        self._sources = sources
        self._settings = settings
        self._slice_events = slice_events
        self._is_created = False
        self._is_labelled = False
        self._probe: int | None = None
        """A key, which tells whether the engine still makes the keys that it made."""
        self._indexed: set[TableName] = set()

    def advance(self, tables: Mapping[TableName, Columns]) -> bool:
        """One increment, in one transaction; True while more loads wait. `tables` is what the warehouse has.

        Raises WarehouseUnavailableError, and ValueError for what is wrong with the model itself; nothing has changed then."""
        return self.step(tables).is_more

    def step(self, tables: Mapping[TableName, Columns]) -> Advance:
        """As `advance`, and tells what was done."""
        read = tables_read(tables, self._sources, self._settings)
        if not read and not self._is_created and TableName(SCHEMA, "progress") not in tables:
            return Advance(0, is_more=False)
        return self._derived(lambda derivation: self._advanced(derivation, read))

    def forget(self) -> None:
        """Empty all tables; the increments that follow fill them again."""

        def work(derivation: Derivation) -> None:
            self._create(derivation)
            self._forget(derivation)

        self._derived(work)

    def rebuild(self, tables: Mapping[TableName, Columns]) -> None:
        """Make everything anew, in as many increments as it takes."""
        self.forget()
        while self.advance(tables):
            pass

    def _derived(self, work: Callable[[Derivation], T]) -> T:
        try:
            return self._warehouse.derive(work)
        except BaseException:
            self._is_created = False
            self._indexed.clear()
            raise

    def _advanced(self, derivation: Derivation, read: Sequence[ReadTable]) -> Advance:
        self._create(derivation)
        if self._probe is None:
            key = self._engine.key(self._engine.text("a"), self._engine.text("b"))
            self._probe = int(derivation.fetch(f"SELECT {key} AS probe").column("probe")[0].as_py())
        self._index(derivation, read)
        progress = self._progress(derivation)
        if self._is_outdated(progress, read):
            progress = self._forget(derivation)
        read = self._with_rows(derivation, progress, read)
        loads = self._loads(derivation, progress, read)
        if loads is not None and loads.has_rebuilt:
            progress = self._forget(derivation)
            read = self._with_rows(derivation, progress, read)
            loads = self._loads(derivation, progress, read)
        again = self._again(derivation, progress)
        if loads is None and again is None:
            self._label(derivation, progress)
            return Advance(0, is_more=False)
        slices = [
            Slice(table, progress[_key(table)].loaded_to, loads.to)
            for table in read
            if loads is not None and progress[_key(table)].loaded_to < loads.to
        ]
        digests = _DIGESTS_KEY in progress
        groups = None if again is None else again.groups
        applied = increment.apply(derivation, self._engine, self._settings, slices, digests=digests, again=groups)
        if applied.finds_digests:
            self._forget(derivation)
            self._write_progress(derivation, [(*_DIGESTS_KEY, "")], self._moment(_BEGINNING))
            self._note_settings(derivation)
            return Advance(0, is_more=True)
        if loads is not None:
            self._note(derivation, slices, loads.to)
        self._note_settings(derivation)
        self._note_again(derivation, again)
        is_more = (loads is not None and loads.is_more) or (again is not None and again.next is not None)
        return Advance(applied.rows, is_more)

    def _label(self, derivation: Derivation, progress: Mapping[_Key, _Progress]) -> None:
        """Labels may have been chosen since, while nothing was loaded."""
        if progress and not self._is_labelled:
            labels.apply(derivation, self._engine, self._settings)
        self._is_labelled = True

    # Where it stands.

    def _progress(self, derivation: Derivation) -> dict[_Key, _Progress]:
        found = derivation.fetch("SELECT schema_name, table_name, role, loaded_to, state FROM email.progress")
        return {
            (row["schema_name"], row["table_name"], row["role"]): _Progress(row["loaded_to"], row["state"])
            for row in found.to_pylist()
            if row["role"] != "labels"
        }

    def _chosen(self) -> dict[str, Any]:
        """What the tables depend on, as JSON values."""
        parts = {"version": VERSION, "key": self._probe, **of_the_model(self._settings)}
        chosen: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parts))
        return chosen

    def _is_outdated(self, progress: Mapping[_Key, _Progress], read: Sequence[ReadTable]) -> bool:
        """Whether something else is read now than what was: other settings, or a column that got another type."""
        if not progress:
            return False
        settings = progress.get(_SETTINGS_KEY)
        if settings is None or _without_rules(msgspec.json.decode(settings.state)) != _without_rules(self._chosen()):
            return True
        known = {_key(table): table for table in read}
        for key, before in progress.items():
            if key[0] and (key not in known or _is_retyped(before.state, known[key].columns)):
                return True
        return False

    def _again(self, derivation: Derivation, progress: Mapping[_Key, _Progress]) -> _Again | None:
        """The next groups to be flagged by other rules than before; None when there are none."""
        settings = progress.get(_SETTINGS_KEY)
        if settings is None:
            return None
        if msgspec.json.decode(settings.state)["rules"] != self._chosen()["rules"]:
            first = 0
        elif _AGAIN_KEY in progress:
            first = int(progress[_AGAIN_KEY].state)
        else:
            return None
        found = derivation.fetch(
            "SELECT max(group_key) AS last, count(*) AS groups FROM (SELECT group_key FROM email.messages "
            f"WHERE group_key >= {first} ORDER BY group_key LIMIT {self._slice_events}) AS next"
        ).to_pylist()[0]
        last = found["last"] if found["groups"] == self._slice_events else _LAST_KEY
        return _Again((first, last), None if last == _LAST_KEY else last + 1)

    def _with_rows(
        self, derivation: Derivation, progress: dict[_Key, _Progress], read: Sequence[ReadTable]
    ) -> list[ReadTable]:
        """The tables that have rows. One that is new to the model stands just before its first row.

        A rebuild stands in headrace.loads with the moment of its first row, so that its last is noted, too."""
        new = [table for table in read if _key(table) not in progress]
        if new:
            selects = [
                f"SELECT {place} AS place, min(loaded_at) AS first, max(loaded_at) AS last FROM {self._engine.qualified(*table.name)}"
                for place, table in enumerate(new)
            ]
            for row in derivation.fetch(" UNION ALL ".join(selects)).to_pylist():
                if row["first"] is not None:
                    progress[_key(new[row["place"]])] = _Progress(row["first"] - datetime.resolution, "", row["last"])
        return [table for table in read if _key(table) in progress]

    def _loads(
        self, derivation: Derivation, progress: Mapping[_Key, _Progress], read: Sequence[ReadTable]
    ) -> _Loads | None:
        """The next loads, as many as make a slice. None when there are none."""
        if not read:
            return None
        floor = min(progress[_key(table)].loaded_to for table in read)
        rebuilt = self._moment(progress[_SETTINGS_KEY].loaded_to) if _SETTINGS_KEY in progress else "NULL"
        found = derivation.fetch(
            f"SELECT started, to_load, has_rebuilt FROM (SELECT started, consumer LIKE '{REBUILD}%' AND started > {rebuilt} AS has_rebuilt, "
            "CAST(coalesce(sum(events) OVER (ORDER BY started ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bigint) AS to_load "
            f"FROM (SELECT started, consumer, events FROM {HOUSEKEEPING}.loads WHERE started > {self._moment(floor)} AND result = 'ok' "
            f"ORDER BY started LIMIT {_MOST_LOADS}) AS next) AS l ORDER BY started"
        ).to_pylist()
        taken = [row for row in found if row["to_load"] < self._slice_events]
        is_more = len(taken) < len(found) or len(found) == _MOST_LOADS
        to = taken[-1]["started"] if taken else floor
        if not is_more:
            to = max(to, *(progress[_key(table)].last for table in read))
        return _Loads(to, is_more, any(row["has_rebuilt"] for row in taken)) if to > floor else None

    # Writing it down.

    def _create(self, derivation: Derivation) -> None:
        if self._is_created:
            return
        derivation.run([f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"])
        there = set(derivation.fetch(self._engine.tables_of(SCHEMA)).column("table_name").to_pylist())
        if "progress" not in there and there & TABLES.keys():
            raise ConfigError(
                f"email model: the warehouse has a schema {SCHEMA} with tables that headrace did not make "
                f"({', '.join(sorted(there & TABLES.keys()))}); rename that schema, and the model is made by itself"
            )
        if there and self._version(derivation) != VERSION:
            derivation.run([f"DROP TABLE {SCHEMA}.{name}" for name in sorted(there & TABLES.keys())])
            there = set()
        for name, table in TABLES.items():
            if name not in there:
                derivation.run(self._engine.create(name, table))
        self._is_created = True

    def _version(self, derivation: Derivation) -> int:
        """By which the tables were made. Columns may have been others then."""
        found = derivation.fetch(f"SELECT state FROM email.progress WHERE role = '{_SETTINGS_KEY[2]}'").to_pylist()
        return int(msgspec.json.decode(found[0]["state"])["version"]) if found else VERSION

    def _index(self, derivation: Derivation, read: Sequence[ReadTable]) -> None:
        """So that the rows of a slice are found without reading a table."""
        names = {TableName(HOUSEKEEPING, "loads"): "started"} | {table.name: "loaded_at" for table in read}
        new = {name: column for name, column in names.items() if name not in self._indexed}
        if new:
            derivation.run([s for name, column in new.items() for s in self._engine.find_new_rows(*name, column)])
            self._indexed.update(new)

    def _forget(self, derivation: Derivation) -> dict[_Key, _Progress]:
        derivation.run([f"TRUNCATE {SCHEMA}.{name}" for name in TABLES])
        return {}

    def _note(self, derivation: Derivation, slices: Sequence[Slice], to: datetime) -> None:
        reading = Reading(self._engine)
        rows = [(*_key(one.table), _types(reading.columns(one.table))) for one in slices]
        self._write_progress(derivation, rows, self._moment(to))

    def _note_again(self, derivation: Derivation, again: _Again | None) -> None:
        if again is not None and again.next is not None:
            self._write_progress(derivation, [(*_AGAIN_KEY, str(again.next))], self._moment(_BEGINNING))
        elif again is not None:
            derivation.run([f"DELETE FROM email.progress WHERE role = '{_AGAIN_KEY[2]}'"])

    def _note_settings(self, derivation: Derivation) -> None:
        rebuilt = f"(SELECT max(started) FROM {HOUSEKEEPING}.loads WHERE consumer LIKE '{REBUILD}%')"
        beginning = self._moment(_BEGINNING)
        chosen = msgspec.json.encode(self._chosen(), order="deterministic").decode()
        self._write_progress(derivation, [(*_SETTINGS_KEY, chosen)], f"coalesce({rebuilt}, {beginning})")

    def _write_progress(self, derivation: Derivation, rows: Sequence[tuple[str, str, str, str]], moment: str) -> None:
        if not rows:
            return
        text = self._engine.text
        which = " OR ".join(
            f"(schema_name = {text(schema)} AND table_name = {text(table)} AND role = {text(role)})"
            for schema, table, role, _ in rows
        )
        values = ", ".join(
            f"({text(schema)}, {text(table)}, {text(role)}, {moment}, {text(state)})"
            for schema, table, role, state in rows
        )
        derivation.run(
            [
                f"DELETE FROM email.progress WHERE {which}",
                f"INSERT INTO email.progress (schema_name, table_name, role, loaded_to, state) VALUES {values}",
            ]
        )

    def _moment(self, when: datetime) -> str:
        return self._engine.cast(self._engine.text(when.isoformat()), Type.TIME)


def _key(table: ReadTable) -> _Key:
    return table.name.schema, table.name.table, table.role


def _without_rules(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if name != "rules"}


def _types(columns: Columns) -> str:
    return msgspec.json.encode({name: kind.value for name, kind in sorted(columns.items())}).decode()


def _is_retyped(state: str, columns: Columns) -> bool:
    """Also when integer became float: values that had been discarded may stand in rows that were read."""
    before: dict[str, str] = msgspec.json.decode(state)
    return any(columns[name].value != type_ for name, type_ in before.items() if name in columns)
