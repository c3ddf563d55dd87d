"""The oracle's judgement: what was acknowledged against what the warehouse's file holds, read with DuckDB alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from crash.ledger import Counts, Ledger


class Verdict(NamedTuple):
    """Ids that break the promise, and the books' faults. `unacknowledged_stored` breaks nothing: the client had no answer."""

    acknowledged: int
    lost: Sequence[str]
    doubled: Sequence[str]
    never_sent: Sequence[str]
    incomplete: Sequence[str]
    unacknowledged_stored: int
    rejected: int
    other_faults: Sequence[str]

    @property
    def faults(self) -> list[str]:
        """Empty when the promise was kept."""
        lists = {
            "lost": self.lost,
            "doubled": self.doubled,
            "stored, but never sent": self.never_sent,
            "without their own row": self.incomplete,
        }
        found = [f"{len(ids)} {name}: {', '.join(ids[:5])}" for name, ids in lists.items() if ids]
        if self.rejected:
            found.append(f"{self.rejected} accepted events were rejected, and all were good")
        return found + list(self.other_faults)


def judge(warehouse: Path, schema: str, ledger: Ledger, status: Mapping[str, Any]) -> Verdict:
    """The server must be stopped; `status` is what it said when everything was loaded."""
    with _attached(warehouse) as connection:
        return _Judge(connection, schema, ledger).verdict(status)


def rows(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    """Of a stopped server's warehouse, whose tables are `w.schema.table`."""
    with _attached(warehouse) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def _attached(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{warehouse}' AS w (READ_ONLY)")
        yield connection


class _Judge:
    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str, ledger: Ledger) -> None:
        self._connection = connection
        self._schema = schema
        self._ledger = ledger
        self._tables = {
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'w' AND schema_name = ?", [schema]
            ).fetchall()
        }
        ids = list(ledger.own_table_by_id)
        sent = {
            "id": pa.array(ids, pa.string()),
            "own": pa.array(ledger.own_table_by_id.values(), pa.string()),
            "acknowledged": pa.array([i in ledger.acknowledged for i in ids], pa.bool_()),
        }
        connection.register("sent", pa.table(sent))
        connection.register("refused", pa.table({"id": pa.array(sorted(ledger.refused), pa.string())}))
        history = " UNION ALL ".join(f"SELECT id FROM {self._name(t)}" for t in ("tracks", "identifies"))
        connection.execute(f"CREATE TABLE history AS {history}")
        connection.execute(
            "CREATE TABLE rejected AS SELECT message_id AS id, stage, events FROM w.headrace.rejected "
            "WHERE source IN (SELECT source FROM w.headrace.books)"
        )

    def verdict(self, status: Mapping[str, Any]) -> Verdict:
        lost = self._ids(
            "SELECT id FROM sent WHERE acknowledged AND id NOT IN (SELECT id FROM history) "
            "AND id NOT IN (SELECT id FROM rejected WHERE id IS NOT NULL) UNION ALL "
            "SELECT id FROM refused WHERE id NOT IN (SELECT id FROM rejected WHERE id IS NOT NULL)"
        )
        doubled = self._ids(
            "SELECT id FROM (SELECT id FROM history UNION ALL SELECT id FROM rejected WHERE stage = 'loader') "
            "GROUP BY id HAVING count(*) > 1"
        )
        return Verdict(
            acknowledged=len(self._ledger.acknowledged),
            lost=lost,
            doubled=doubled,
            never_sent=self._ids("SELECT id FROM history WHERE id NOT IN (SELECT id FROM sent)"),
            incomplete=self._incomplete(),
            unacknowledged_stored=self._number(
                "SELECT count(*) FROM sent WHERE NOT acknowledged AND id IN (SELECT id FROM history)"
            ),
            rejected=self._number("SELECT coalesce(sum(events), 0) FROM rejected WHERE stage <> 'collector'"),
            other_faults=[*self._ledger.surprises[:5], *self._books(status), *self._latest()],
        )

    def _incomplete(self) -> list[str]:
        """Ids whose row in tracks has not exactly one row in the event's table, or the other way round."""
        own = [name for name in set(self._ledger.own_table_by_id.values()) - {"identifies"} if name in self._tables]
        rows = " UNION ALL ".join(f"SELECT id, '{name}' AS own FROM {self._name(name)}" for name in sorted(own))
        return self._ids(
            f"SELECT coalesce(t.id, o.id) FROM (SELECT id, event AS own FROM {self._name('tracks')}) t "
            f"FULL JOIN (SELECT id, own, count(*) AS n FROM ({rows}) GROUP BY ALL) o ON t.id = o.id AND t.own = o.own "
            "WHERE t.id IS NULL OR o.id IS NULL OR o.n <> 1"
        )

    def _books(self, status: Mapping[str, Any]) -> list[str]:
        totals = status["totals"]
        expected = {
            "loaded": self._number("SELECT count(*) FROM history"),
            "rejected": self._number("SELECT coalesce(sum(events), 0) FROM rejected WHERE stage <> 'collector'"),
            "refused": self._number("SELECT coalesce(sum(events), 0) FROM rejected WHERE stage = 'collector'"),
            "pending": 0,
        }
        found = [f"books: {name} is {totals[name]}, stored {n}" for name, n in expected.items() if totals[name] != n]
        return found + books_faults(status, self._ledger.at_least, self._ledger.at_most)

    def _latest(self) -> list[str]:
        """`users` has one row for each user ever identified."""
        if "users" not in self._tables:
            return []
        users = self._number(f"SELECT count(*) FROM {self._name('users')}")
        identified = self._number(f"SELECT count(DISTINCT user_id) FROM {self._name('identifies')}")
        return [] if users == identified else [f"users has {users} rows for {identified} users"]

    def _name(self, table: str) -> str:
        if table not in self._tables:
            return "(SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS event, NULL::VARCHAR AS user_id WHERE false)"
        return f'w."{self._schema}"."{table}"'

    def _ids(self, sql: str) -> list[str]:
        return [str(row[0]) for row in self._connection.execute(sql).fetchall()]

    def _number(self, sql: str) -> int:
        return int((self._connection.execute(sql).fetchone() or (0,))[0])


def books_faults(status: Mapping[str, Any], at_least: Counts, at_most: Counts) -> list[str]:
    """By what the books do not add up, or are less or more than the clients' own."""
    found = []
    for books in (status["totals"], *status["sources"]):
        if books["received"] != books["accepted"] + books["refused"]:
            found.append(f"books: received is not accepted + refused: {books}")
        parts = sum(books[part] for part in ("loaded", "duplicates", "filtered", "rejected", "pending"))
        if books["accepted"] != parts:
            found.append(f"books: accepted is not the sum of its parts: {books}")
        if min(books[part] for part in ("loaded", "duplicates", "filtered", "rejected", "pending")) < 0:
            found.append(f"books: something is negative: {books}")
    for name in Counts._fields:
        low, counted, high = getattr(at_least, name), status["totals"][name], getattr(at_most, name)
        if not low <= counted <= high:
            found.append(f"books: {name} is {counted}, clients know of {low} to {high}")
    beyond = [partition for partition in status["partitions"] if partition["position"] > partition["next"]]
    return found + [f"books: the position is beyond the log's end: {partition}" for partition in beyond]
