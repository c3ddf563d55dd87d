"""A warehouse full of e-mail events for bench/email_model.py: a simulated list, loaded by the loader, then multiplied in SQL.

Sending ten million events through a collector and the loader takes hours on two cores; a copy of loaded rows with other ids and people is in
every column what the loader makes. Each load of the small list becomes as many loads as there are copies, one after the other, so that time
goes on through the tables as it does in life. Tables that the model does not read (tracks, pages, users) are not multiplied.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import mailed
from headrace import event as log_event
from headrace.config import LoaderConfig
from headrace.event import LogEntry
from headrace.loader.loader import Loader
from headrace.log.base import LogReader
from headrace.reports.model.reading import tables_read
from headrace.reports.model.settings import ModelSettings
from headrace.simulator.realism import FULL
from headrace.warehouses._duckdb import DuckDB
from headrace.warehouses.base import Columns, Derivation, TableName, Warehouse
from loader import StagedLog

CHUNK = 512
"""What StagedLog counts on."""
_OF_ONE = {
    "id": "id || '-' || k",
    "user_id": "user_id || '-' || k",
    "anonymous_id": "anonymous_id || '-' || k",
    "previous_id": "previous_id || '-' || k",
    "context_traits_email": "replace(context_traits_email, '@', '-' || k || '@')",
    "order_id": "order_id || '-' || k",
}
"""What a copy calls otherwise."""


class MailLog(StagedLog):
    """Holds its events encoded; more may be added."""

    def __init__(self, lines: Sequence[bytes] = ()) -> None:
        super().__init__(iter(()))
        self.add(lines)

    def add(self, lines: Sequence[bytes]) -> None:
        for first in range(0, len(lines), CHUNK):
            part = list(lines[first : first + CHUNK])
            self.chunks.append((self.next, log_event.join_lines(part), len(part)))
            self.next += len(part)


def simulated(recipients: int, campaigns: int) -> list[bytes]:
    """Events of everything that makes figures wrong, encoded as in the log."""
    entries: list[LogEntry] = list(mailed.entries(recipients, campaigns, FULL))
    return [log_event.encode(entry) for entry in entries]


def loader_over(log: LogReader, warehouse: Warehouse, load_events: int) -> Loader:
    config = LoaderConfig(load_events=load_events)
    return Loader("warehouse", [log], warehouse, lambda: mailed.SOURCES, config, now=lambda: mailed.END)


def multiply(warehouse: DuckDB, wanted: int) -> int:
    """Make about `wanted` rows in the tables that the model reads, of those that are there; returns how many there are."""
    tables = warehouse.tables()
    names = list(dict.fromkeys(table.name for table in tables_read(tables, mailed.MAIL_SOURCES, ModelSettings())))
    counts = " + ".join(f"(SELECT count(*) FROM {_sql(name)})" for name in names)

    def kept(derivation: Derivation) -> tuple[int, int]:
        derivation.run(
            ["CREATE TABLE headrace.bench_loads AS SELECT * FROM headrace.loads", "DELETE FROM headrace.loads"]
        )
        rows = int(derivation.fetch(f"SELECT {counts} AS n").column("n")[0].as_py())
        for name in names:
            copy = f'headrace."bench {name.schema} {name.table}"'
            derivation.run([f"CREATE TABLE {copy} AS SELECT * FROM {_sql(name)}", f"DELETE FROM {_sql(name)}"])
        found = derivation.fetch("SELECT count(*) AS n FROM headrace.bench_loads").column("n")[0].as_py()
        return rows, int(found)

    rows, loads = warehouse.derive(kept)
    copies = max(1, round(wanted / rows))
    for place in range(loads):
        warehouse.derive(lambda derivation, place=place: _copied(derivation, tables, names, place, copies))  # type: ignore[misc]
    warehouse.derive(lambda derivation: _dropped(derivation, names))
    warehouse.checkpoint(force=True)
    return rows * copies


def _copied(
    derivation: Derivation, tables: Mapping[TableName, Columns], names: Sequence[TableName], place: int, copies: int
) -> None:
    """All copies of a load, one load each."""
    one = f"(SELECT started FROM headrace.bench_loads ORDER BY started LIMIT 1 OFFSET {place})"
    moved = f"+ INTERVAL '{place} hours' + k * INTERVAL '1 millisecond'"
    derivation.run(
        [
            (
                f"INSERT INTO headrace.loads SELECT l.* REPLACE (l.started {moved} AS started) FROM headrace.bench_loads AS l, "
                f"range({copies}) AS copies(k) WHERE l.started = {one} ORDER BY k"
            )
        ]
    )
    for name in names:
        changed = {column: sql for column, sql in _OF_ONE.items() if column in tables[name]}
        changed["loaded_at"] = f"loaded_at {moved}"
        listed = ", ".join(f"{sql} AS {column}" for column, sql in changed.items())
        derivation.run(
            [
                (
                    f'INSERT INTO {_sql(name)} SELECT t.* EXCLUDE (k) REPLACE ({listed}) FROM (SELECT * FROM headrace."bench {name.schema} {name.table}", '
                    f"range({copies}) AS copies(k) WHERE loaded_at = {one} ORDER BY k) AS t"
                )
            ]
        )


def _dropped(derivation: Derivation, names: Sequence[TableName]) -> None:
    copies = [f'headrace."bench {name.schema} {name.table}"' for name in names]
    derivation.run([f"DROP TABLE {name}" for name in ("headrace.bench_loads", *copies)])


def come_late(warehouse: DuckDB, count: int, marker: str) -> None:
    """`count` opens more of mails of any age, in a load of their own."""

    def work(derivation: Derivation) -> None:
        last = derivation.fetch("SELECT max(started) AS last FROM headrace.loads").column("last")[0].as_py()
        moment = f"TIMESTAMPTZ '{(last + timedelta(hours=1)).isoformat()}'"
        opened = "selligent.email_opened"
        derivation.run(
            [
                (
                    f"INSERT INTO {opened} SELECT * REPLACE (id || '-{marker}' AS id, \"timestamp\" + INTERVAL '1 day' AS \"timestamp\", "
                    f"{moment} AS loaded_at) FROM (SELECT * FROM {opened} USING SAMPLE reservoir({count} ROWS) REPEATABLE (7))"
                ),
                (
                    f"INSERT INTO headrace.loads SELECT * REPLACE ({moment} AS started, {count} AS events) FROM headrace.loads "
                    "ORDER BY started DESC LIMIT 1"
                ),
            ]
        )

    warehouse.derive(work)


def _sql(name: TableName) -> str:
    return f'"{name.schema}"."{name.table}"'
