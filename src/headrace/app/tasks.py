"""The jobs that a person may order on a warehouse: which there are, what they take, and who does them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from headrace.config import Config
from headrace.console.job_kinds import JOB_KINDS, JobKind
from headrace.console.jobs import OnProgress, Work
from headrace.errors import ConfigError, NotFoundError
from headrace.loader.building import Workplace
from headrace.loader.rebuilding import Rebuild, Rebuilt
from headrace.loader.retyping import Retype
from headrace.loader.selection import Selection
from headrace.log.base import LogReader
from headrace.reports.model.kept import DEFAULT, mail_sources
from headrace.reports.model.model import EmailModel
from headrace.reports.model.schema import SCHEMA
from headrace.warehouses.base import HOUSEKEEPING, ColumnType, Deriving, Embedded, TableName, Warehouse, WarehouseKind
from headrace.warehouses.duckdb import DuckDBKind
from headrace.workspace import records
from headrace.workspace.records import Source


class Surroundings(NamedTuple):
    """What a job works with. `readers` opens readers of the job's own, which it closes, for some sources' events or (None) all."""

    configured: records.Warehouse
    warehouse: Warehouse
    kind: WarehouseKind
    readers: Callable[[Collection[str] | None], Sequence[LogReader]]
    sources: Callable[[], Mapping[str, Source]]
    config: Config
    selections: Callable[[], Mapping[str, Selection]]
    note_retyped: Callable[[str], None]
    """Keeps that a person chose the type of `schema.table.column`."""
    stop: threading.Event
    """Set when the worker ends, or when the job is cancelled."""


class RetypeArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    table: str
    column: str
    type: ColumnType


class RebuildArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    table: str | None = None


class BackfillArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Neither: all sources."""

    source: str | None = None
    schema: str | None = None


class EmailRebuildArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class SnapshotArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str | None = None


class ExportArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tables` are `schema` or `schema.table`; none: all."""

    to: str
    tables: Sequence[str] = ()


def retype(arguments: RetypeArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    name = f"{arguments.schema}.{arguments.table}.{arguments.column}"
    on_progress(0, None, f"converting {name}")
    ordered = Retype(arguments.schema, arguments.table, arguments.column, arguments.type)
    found = ordered.run(place.warehouse, lambda: datetime.now(UTC))
    place.note_retyped(f"{found.schema}.{found.table}.{found.column}")
    done: dict[str, Any] = msgspec.to_builtins(found)
    return done


def rebuild(arguments: RebuildArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    done: dict[str, Any] = msgspec.to_builtins(_rebuilt(Rebuild(arguments.schema, arguments.table), place, on_progress))
    return done


def backfill(arguments: BackfillArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    chosen = [
        source
        for source in place.sources().values()
        if arguments.source in {None, source.slug} and arguments.schema in {None, source.schema}
    ]
    if not chosen:
        raise NotFoundError("backfill: there is no such source; `headrace source list --all` shows them")
    there = {name.schema for name in place.warehouse.tables()} | {hour.source for hour in place.warehouse.books()}
    found = [
        _rebuilt(Rebuild(schema), place, on_progress)
        for schema in dict.fromkeys(source.schema for source in chosen if there & {source.schema, source.slug})
    ]
    return {
        "schemas": [one.schema for one in found],
        "entries": sum(one.entries for one in found),
        "regained": sum(one.regained for one in found),
        "repetitions": sum(one.repetitions for one in found),
        "seconds": round(sum(one.seconds for one in found), 3),
    }


def _rebuilt(ordered: Rebuild, place: Surroundings, on_progress: OnProgress) -> Rebuilt:
    slugs = [source.slug for source in place.sources().values() if source.schema == ordered.schema]
    readers = place.readers(slugs)
    try:
        work_place = Workplace(
            place.warehouse,
            place.configured.slug,
            readers,
            place.sources,
            place.config.loader,
            place.stop,
            place.selections,
        )
        found = ordered.run(work_place, lambda step: on_progress(step.read, step.entries, f"{step.step} {step.schema}"))
    finally:
        for reader in readers:
            reader.close()
    if not found.is_complete:
        raise ConfigError(f"rebuild: {ordered.schema} was stopped before its end; nothing has changed, order it again")
    return found


def email_rebuild(arguments: EmailRebuildArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    """Its tables are emptied at once; increments between the loads that follow fill them again, so that loading goes on."""
    del arguments
    offered: object = place.warehouse
    if not isinstance(offered, Deriving):
        raise ConfigError(
            f"email rebuild: there is no e-mail model on {place.kind.title}; it is on DuckDB and PostgreSQL"
        )
    on_progress(0, None, "emptying the schema email")
    EmailModel(offered, mail_sources(place.sources().values()), DEFAULT).forget()
    return {"schema": SCHEMA}


def snapshot(arguments: SnapshotArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    kind, warehouse = place.kind, place.warehouse
    if not isinstance(warehouse, Embedded) or not isinstance(kind, DuckDBKind):
        raise ConfigError(f"snapshot: {kind.title} is no embedded warehouse; other programs can ask it themselves")
    to = Path(arguments.to) if arguments.to else kind.snapshot_file
    on_progress(0, None, f"copying to {to}")
    return {"file": str(to), "bytes": warehouse.snapshot(to)}


def export(arguments: ExportArguments, place: Surroundings, on_progress: OnProgress) -> dict[str, Any]:
    warehouse = place.warehouse
    if not isinstance(warehouse, Embedded):
        raise ConfigError(f"export: {place.kind.title} is no embedded warehouse; it can write Parquet files itself")
    wanted = _wanted(arguments.tables, warehouse.tables())
    rows = 0

    def on_rows(more: int) -> None:
        nonlocal rows
        if place.stop.is_set():
            raise ConfigError("export: it was stopped before its end; the files that are complete stay")
        rows += more
        on_progress(rows, None, f"{name.schema}.{name.table}")

    for name in wanted:
        warehouse.export(name, Path(arguments.to) / name.schema / f"{name.table}.parquet", on_rows)
    return {"folder": arguments.to, "tables": len(wanted), "rows": rows}


def _wanted(chosen: Sequence[str], there: Mapping[TableName, Any]) -> list[TableName]:
    if not chosen:
        return [name for name in there if name.schema != HOUSEKEEPING]
    found = []
    for text in chosen:
        schema, _, table = text.partition(".")
        matching = [name for name in there if name.schema == schema and table in {"", name.table}]
        if not matching:
            schemas = ", ".join(sorted({name.schema for name in there}))
            raise NotFoundError(f"export: there is no table or schema {text!r}; the schemas are {schemas}")
        found += matching
    return found


_JOBS: Final[Mapping[str, tuple[type[msgspec.Struct], Callable[[Any, Surroundings, OnProgress], dict[str, Any]]]]] = {
    "retype": (RetypeArguments, retype),
    "rebuild": (RebuildArguments, rebuild),
    "backfill": (BackfillArguments, backfill),
    "email_rebuild": (EmailRebuildArguments, email_rebuild),
    "snapshot": (SnapshotArguments, snapshot),
    "export": (ExportArguments, export),
}

_READING: Final = frozenset(("snapshot", "export"))
"""The jobs that change no table."""
_STOPPING: Final = frozenset(("rebuild", "backfill", "export"))
"""The jobs that look at `Surroundings.stop`, and have changed no table when they end by it."""


class Stop(threading.Event):
    """Set with the other one, too."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


def work(job: str, arguments: Mapping[str, Any], place: Surroundings) -> Work:
    """Raises ConfigError for a job that there is not, and for arguments that it does not take."""
    found = _JOBS.get(job)
    if found is None:
        raise ConfigError(f"job: there is no {job!r}; there is {', '.join(_JOBS)}")
    takes, run = found
    try:
        checked = msgspec.convert(dict(arguments), takes)
    except msgspec.ValidationError as error:
        raise ConfigError(f"job: {job}: {error}") from None
    return Work(
        job,
        lambda on_progress: run(checked, place, on_progress),
        job not in _READING,
        place.stop if job in _STOPPING else None,
        msgspec.to_builtins(checked),
    )


def kinds_for(warehouse: Warehouse | None) -> list[JobKind]:
    """All jobs, with what keeps this warehouse from doing them; None: it is not open."""
    return [msgspec.structs.replace(kind, why_not=_why_not(kind.job, warehouse)) for kind in JOB_KINDS]


def _why_not(job: str, warehouse: Warehouse | None) -> str:
    offered: object = warehouse
    if warehouse is None:
        return "The warehouse cannot be reached now."
    if job in _READING and not isinstance(offered, Embedded):
        return "Only for a warehouse that is embedded: other programs can ask this one themselves."
    if job == "email_rebuild" and not isinstance(offered, Deriving):
        return "There is no e-mail model on this engine; it is on DuckDB and PostgreSQL."
    return ""
