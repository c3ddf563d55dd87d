"""A session with PostgreSQL through ADBC: Arrow both ways, several statements a round trip.

The driver is in autocommit mode and transactions are begun and ended by statements, so that a load is few round trips. Rows that are staged
go by binary COPY into a temporary table with columns of exactly their types, made by the driver (`mode="create"`: appending to columns
of other types corrupts values silently); the tables' own types are reached by the casts of the INSERT.
"""

# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

import itertools
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

import adbc_driver_manager
import adbc_driver_postgresql.dbapi  # type: ignore[import-untyped]  # it ships no types
import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import QueryError, WarehouseUnavailableError
from headrace.warehouses import _postgresql_errors, _postgresql_select
from headrace.warehouses._dialect import Dialect
from headrace.warehouses._postgresql_dialect import PostgreSQLDialect
from headrace.warehouses._session import Answer, HeldError, Session
from headrace.warehouses._transactional import TransactionalWarehouse
from headrace.warehouses.base import Derivation, TableName

T = TypeVar("T")

logger = logging.getLogger(__name__)

LOCK_SECONDS: Final = 2
END_SECONDS: Final = 5
ANSWER_BATCH_BYTES: Final = 1_000_000
_NO_COPY: Final = {"adbc.postgresql.use_copy": "false"}
_ERRORS: Final = (adbc_driver_manager.Error, pa.ArrowException, OSError)
"""OSError: the driver's, in the middle of reading by Arrow."""


class Limits(NamedTuple):
    """Of every session. A statement of the loader may take `statement_seconds`."""

    connect_seconds: int
    statement_seconds: float


class PostgreSQLSession:
    """`warehouses._session.Session`."""

    volatile_functions = _postgresql_select.VOLATILE
    has_escapes = False
    """Whether a backslash in an ordinary text begins an escape."""
    read_only = "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = 0"

    def __init__(self, dsn: str, dialect: Dialect, limits: Limits) -> None:
        """Raises WarehouseUnavailableError when no connection comes about."""
        self.dialect = dialect
        self.is_broken = False
        self.is_closed = False
        self._limits = limits
        self._numbers = itertools.count()
        self._staged: list[str] = []
        self._volatile: frozenset[str] | None = None
        try:
            self._connection = adbc_driver_postgresql.dbapi.connect(_uri(dsn, limits), autocommit=True)
        except _ERRORS as error:
            raise _postgresql_errors.not_connected(error) from None
        self.mark = f"headrace {secrets.token_hex(6)}"
        """The session's application_name, by which its place on the server is found again."""
        self._execute(self._settings(limits))

    def _settings(self, limits: Limits) -> str:
        return (
            f"SET application_name = '{self.mark}'; SET TimeZone = 'UTC'; SET standard_conforming_strings = on; "
            "SET client_min_messages = error; SET extra_float_digits = 1; SET row_security = on; "
            f"SET statement_timeout = {int(limits.statement_seconds * 1000)}"
        )

    # Statements of headrace's own.

    def begin(self) -> None:
        self._execute(f"BEGIN; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")

    def commit(self) -> None:
        if self._staged:
            self._execute(f"DROP TABLE {', '.join(self._staged)}")
            self._staged = []
        self._execute("COMMIT")

    def rollback(self) -> None:
        self._staged = []
        if not self.is_broken:
            with suppress(Exception):
                self._execute("ROLLBACK")

    def run(self, statements: Sequence[str]) -> None:
        self._execute("; ".join(statements))

    def change(self, statement: str) -> int:
        found = self.fetch(f"WITH changed AS ({statement} RETURNING 1) SELECT count(*) FROM changed")
        return int(found.column(0)[0].as_py())

    def fetch(self, query: str) -> pa.Table:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**_NO_COPY)
            cursor.execute(query)
            return _plain_table(cursor.fetch_arrow_table())

    def blocks(self, query: str, max_rows: int) -> Iterator[pa.RecordBatch]:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(query)
            with cursor.fetch_record_batch() as reader, self._ended_early() as read:
                for batch in read(reader):
                    for start in range(0, batch.num_rows, max_rows):
                        yield _plain(batch.slice(start, max_rows))

    def stage(self, table: pa.Table) -> str:
        name = f"headrace_load_{next(self._numbers)}"
        with self._translated(), self._connection.cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="create", temporary=True)
        staged = f"pg_temp.{self.dialect.quoted(name)}"
        self._staged.append(staged)
        return staged

    def _execute(self, statements: str) -> int:
        """Several statements at once; their rows, if any, are thrown away. Returns how many rows the last one changed."""
        with self._translated():
            statement = adbc_driver_manager.AdbcStatement(self._connection.adbc_connection)
            try:
                statement.set_sql_query(statements)
                return int(statement.execute_update())
            finally:
                statement.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            # A session keeps the default_transaction_read_only that it began with, and the standby that it reached.
            is_past_use = _postgresql_errors.breaks(error) or _postgresql_errors.sqlstate(error) == "25006"
            self.is_broken = self.is_broken or is_past_use
            raise _postgresql_errors.translated(error) from None

    def end(self, marks: Sequence[str]) -> None:
        """End other sessions of this role on the server, and wait until they are gone."""
        listed = ", ".join(map(self.dialect.text, marks))
        found = self.fetch(
            f"SELECT pg_terminate_backend(pid, {END_SECONDS * 1000}) FROM pg_stat_activity "
            f"WHERE application_name IN ({listed}) AND usename = current_user AND pid <> pg_backend_pid()"
        )
        if not all(found.column(0).to_pylist()):
            raise WarehouseUnavailableError(
                "warehouse: a session whose connection was lost goes on at the server; waiting for its end"
            )

    # What holds a table.

    def holder(self, name: TableName | None, error: HeldError) -> str:
        if "lock timeout" not in str(error):
            return f"{error}; drop what depends on it, or make it anew after the change"
        try:
            found = self.fetch(_HOLDERS.format(where=self._locked(name))).to_pylist()
        except (WarehouseUnavailableError, ValueError, HeldError):
            found = []
        if not found:
            return f"a lock did not go away within {LOCK_SECONDS} s; it is gone now"
        who = "; ".join(
            f"process {row['pid']} of {row['usename']} ({row['application_name'] or 'no application name'}{_since(row)}) "
            f"holds a lock on {row['relation']}, its query: {row['query']}"
            for row in found
        )
        hidden = any(row["state"] is None for row in found)
        seen = "; its query is shown after GRANT pg_read_all_stats TO this warehouse's role" if hidden else ""
        return f"{who}; it ends with SELECT pg_terminate_backend({found[0]['pid']}), by an administrator or by its own role{seen}"

    def _locked(self, name: TableName | None) -> str:
        if name is None:
            return "n.nspname !~ '^pg_'"
        return f"n.nspname = {self.dialect.text(name.schema)} AND c.relname = {self.dialect.text(name.table)}"

    # Users' queries.

    @contextmanager
    def answer(self, sql: str, timeout_seconds: float) -> Iterator[Answer]:
        with self._asking(sql, timeout_seconds) as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(ANSWER_BATCH_BYTES)})
            cursor.execute(_postgresql_select.one_statement(sql))
            with cursor.fetch_record_batch() as reader, self._ended_early() as read:
                yield _answer(reader, read)

    def plan(self, sql: str, timeout_seconds: float) -> Sequence[str]:
        with self._asking(sql, timeout_seconds, "EXPLAIN ") as cursor:
            cursor.adbc_statement.set_options(**_NO_COPY)
            cursor.execute(f"EXPLAIN {_postgresql_select.one_statement(sql)}")
            return [str(line) for line in cursor.fetch_arrow_table().column(0).to_pylist()]

    @contextmanager
    def _asking(self, sql: str, timeout_seconds: float, before: str = "") -> Iterator[Any]:
        """A cursor in a read-only transaction for the judged statement, before which stands `before`."""
        _postgresql_select.check(sql, self._volatile_functions(), has_escapes=self.has_escapes)
        try:
            milliseconds = max(1, int(timeout_seconds * 1000))
            self._execute(self.read_only.format(milliseconds=milliseconds))
            with self._connection.cursor() as cursor:
                yield cursor
        except _ERRORS as error:
            if _postgresql_errors.breaks(error):
                self.is_broken = True
                raise _postgresql_errors.translated(error) from None
            raise _refusal(error, timeout_seconds, len(before)) from None
        finally:
            self.rollback()

    @contextmanager
    def _ended_early(self) -> Iterator[Callable[[pa.RecordBatchReader], Iterator[pa.RecordBatch]]]:
        """Closing a reader before its end would fetch all the rest first, so what runs is cancelled. The cancellation may reach the
        server late and hit another statement: the session is not used again."""
        is_read = True

        def read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
            nonlocal is_read
            is_read = False
            yield from reader
            is_read = True

        try:
            yield read
        finally:
            if not is_read:
                self.is_broken = True
                self.cancel()

    def _volatile_functions(self) -> frozenset[str]:
        if self._volatile is None:
            self._volatile = frozenset(self.fetch(self.volatile_functions).column(0).to_pylist())
        return self._volatile

    def is_fit(self) -> bool:
        if self.is_broken:
            return False
        try:
            self._execute("SELECT 1")
        except (WarehouseUnavailableError, ValueError, HeldError):
            return False
        return True

    def cancel(self) -> None:
        with suppress(Exception):
            self._connection.adbc_cancel()

    def close(self) -> None:
        self.is_closed = True
        with suppress(Exception):
            self._connection.close()


def _refusal(error: Exception, timeout_seconds: float, characters_before: int = 0) -> QueryError:
    state, said = _postgresql_errors.sqlstate(error), _postgresql_errors.text(error)
    if "user request" in said:
        return QueryError(
            "the query was cancelled: the warehouse is being closed, or an administrator did so", "query_timeout"
        )
    if state == "57014" or "statement timeout" in said:
        late = f"the query was cancelled after {timeout_seconds:g} seconds: narrow it down"
        return QueryError(late, "query_timeout")
    if state == "25006":
        return QueryError(f"{said}: {_postgresql_select.ALLOWED}")
    if state == "42501":
        return QueryError(f"the warehouse's role may not do that: {said}")
    if state == "53200":
        return QueryError(f"the query needs more memory than the server has: {said}", "query_memory")
    at = _postgresql_errors.position(error)
    inner = None if at is None else max(0, at - characters_before)
    return QueryError(f"the query failed: {said}", "query_wrong", inner)


def _since(row: Mapping[str, Any]) -> str:
    return "" if row["state"] is None else f", {row['state']} for {row['seconds']} s"


_HOLDERS: Final = """
SELECT l.pid, a.usename::text, a.application_name, a.state, extract(epoch FROM now() - a.state_change)::bigint AS seconds,
n.nspname || '.' || c.relname AS relation, left(a.query, 200) AS query
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND c.relkind IN ('r', 'p') AND {where} ORDER BY a.xact_start LIMIT 5
"""


def _uri(dsn: str, limits: Limits) -> str:
    """With what finds out that the other end is gone: keep-alives, and how long sent bytes may stay without an answer."""
    added = {
        "connect_timeout": str(limits.connect_seconds),
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    given = dsn.partition("?")[2]
    more = "&".join(f"{name}={value}" for name, value in added.items() if f"{name}=" not in given)
    return f"{dsn}{'&' if given else '?'}{more}"


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Extension types (JSON, numeric) as what they are stored as."""
    return pa.RecordBatch.from_arrays([_storage(column) for column in batch.columns], names=batch.schema.names)


def _plain_table(table: pa.Table) -> pa.Table:
    columns = [
        pa.chunked_array([_storage(chunk) for chunk in column.chunks], _storage_type(column.type))
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def _storage(array: pa.Array) -> pa.Array:
    stored = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    if pa.types.is_timestamp(stored.type):
        return _endless(stored, pa.int64(), _TIMESTAMP_ENDS)
    return _endless(stored, pa.int32(), _DATE_ENDS) if pa.types.is_date32(stored.type) else stored


_TIMESTAMP_ENDS: Final = (2**63, 946_684_800_000_000)
_DATE_ENDS: Final = (2**31, 10_957)
"""Counts of an integer type, its size and how much later PostgreSQL's epoch (2000) is than Arrow's."""


def _endless(array: pa.Array, counts: pa.DataType, ends: tuple[int, int]) -> pa.Array:
    """The driver moves infinity like any moment, over the edge of the integers, into the deep past."""
    half, epoch = ends
    plus, minus = epoch - half - 1, epoch - half
    found = array.view(counts)
    lowest = pc.min(found).as_py()
    if lowest is None or lowest > minus:
        return array
    for moved, meant in ((plus, half - 1), (minus, 1 - half)):
        found = pc.if_else(pc.equal(found, pa.scalar(moved, counts)), pa.scalar(meant, counts), found)
    return found.view(array.type)


def _storage_type(type_: pa.DataType) -> pa.DataType:
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def _answer(reader: pa.RecordBatchReader, read: Callable[[pa.RecordBatchReader], Iterator[pa.RecordBatch]]) -> Answer:
    names, types, fields = [], [], []
    for field in reader.schema:
        type_ = (field.metadata or {}).get(b"POSTGRESQL:type", str(field.type).encode()).decode()
        if _is_opaque(field.type) and type_ != "numeric":
            raise QueryError(f"the column {field.name} has the type {type_}, which cannot be shown: cast it to text")
        names.append(field.name)
        types.append(type_)
        fields.append(pa.field(field.name, _storage_type(field.type)))
    decimals = [place for place, type_ in enumerate(types) if type_ == "numeric"]
    return Answer(names, types, pa.schema(fields), (_plain(batch) for batch in read(reader)), decimals)


def _is_opaque(type_: pa.DataType) -> bool:
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return _is_opaque(type_.value_type) or isinstance(type_.value_type, pa.BaseExtensionType)
    return isinstance(type_, pa.BaseExtensionType) and type_.extension_name == "arrow.opaque"


class Connector:
    """Opens the sessions of one warehouse. A session whose connection broke may live on at the server for hours, holding the
    position's row or even finishing a COMMIT: it is ended there, and gone, before a new one is used."""

    def __init__(self, dsn: str, dialect: Dialect, limits: Limits) -> None:
        self._dsn = dsn
        self._dialect = dialect
        self._limits = limits
        self._lock = threading.Lock()
        self._opened: list[PostgreSQLSession] = []

    def __call__(self) -> PostgreSQLSession:
        session = PostgreSQLSession(self._dsn, self._dialect, self._limits)
        with self._lock:
            broken = [before for before in self._opened if before.is_broken]
        try:
            if broken:
                session.end([before.mark for before in broken])
        except BaseException:
            session.close()
            raise
        with self._lock:
            self._opened = [before for before in self._opened if before not in broken and not before.is_closed]
            self._opened.append(session)
        return session


class PostgreSQLWarehouse(TransactionalWarehouse):
    """Offers `warehouses.base.Deriving`, too."""

    engine = "postgresql"

    def derive(self, work: Callable[[Derivation], T]) -> T:
        with self._sessions.loading() as session:
            self._columns = None  # the work may make tables
            with self._transaction(session):
                return work(_Derivation(session))


class _Derivation:
    """`warehouses.base.Derivation`."""

    engine = "postgresql"

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, statements: Sequence[str]) -> None:
        if statements:
            self._session.run(statements)

    def fetch(self, query: str) -> pa.Table:
        return self._session.fetch(query)

    def stage(self, name: str, table: pa.Table) -> None:
        staged = self._session.stage(table)
        self._session.run([f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT * FROM {staged}"])


def opened(dsn: str, connect_seconds: int, statement_seconds: float) -> PostgreSQLWarehouse:
    """Raises WarehouseUnavailableError."""
    dialect = PostgreSQLDialect()
    return PostgreSQLWarehouse(dialect, Connector(dsn, dialect, Limits(connect_seconds, statement_seconds)))
