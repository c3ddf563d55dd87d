"""The two ways to a ClickHouse, a server over HTTP and the engine within this process, as one: statements, blocks of rows, answers.

clickhouse-connect offers both with the same client class; what differs is how Arrow comes to an INSERT, and that the embedded engine
has one handle a client. Errors leave this file translated.
"""
# ruff: noqa: S608 -- identifiers go through _clickhouse_sql.quoted, values are literals made there

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from clickhouse_connect.driver.exceptions import Error as DriverError

from headrace.errors import ConfigError, HeadraceError, WarehouseUnavailableError
from headrace.warehouses._clickhouse_sql import quoted, text

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

FENCED: Final = "headrace: this loader has no lease any more, or the load has been ended"
READ_ONLY: Final = "2"
"""Nothing can be written or created; settings may still be sent with a query, which the judge refuses within the SQL."""
_ONE_BLOCK: Final = (
    "max_threads = 1, max_insert_threads = 1, max_insert_block_size = 1000000000, min_insert_block_size_rows = 1000000000, "
    "min_insert_block_size_bytes = 0, insert_deduplicate = 1, async_insert = 0"
)
"""However many batches arrive, they become one block, so one part, which is there or not."""
_PASSING: Final = frozenset(
    (159, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 319, 394, 395, 425, 439, 499, 999, 1002)
)
"""Error codes of the server that say: not now (time, memory, disk, connections, too many parts, read-only table, the fence)."""
_OPERATORS: Final = frozenset((192, 193, 194, 195, 291, 492, 497, 516))
"""Error codes about users, passwords and grants."""


class Session:
    """Connections to one ClickHouse. Any thread may call."""

    def __init__(
        self, connect: Callable[[], Client], *, ask: Callable[[], Client] | None = None, embedded: bool = False
    ) -> None:
        """`connect` makes a client of the loader's user, `ask` one of the user that asks people's queries.

        Raises WarehouseUnavailableError and ConfigError."""
        self.embedded = embedded
        with translated("connect"):
            self._writing = connect()
            self._reading = connect()
            # Queries of people have settings of their own, which the embedded engine keeps by handle.
            self.asking = (ask or connect)()
            self._restrict(self.asking)
        self._lock = threading.Lock()

    @staticmethod
    def _restrict(client: Client) -> None:
        """Read-only for good, where the user is not so by itself."""
        level = int(client.query("SELECT value FROM system.settings WHERE name = 'readonly'").result_rows[0][0])
        if level == 1:
            raise ConfigError(
                "warehouse: the user that asks queries has readonly = 1, so that no query can be bounded in time; "
                "ALTER USER ... SETTINGS readonly = 2"
            )
        if level == 0:
            client.set_client_setting("readonly", READ_ONLY)

    def run(self, sql: str) -> None:
        """A statement of the loader without an answer."""
        with self._lock, translated(sql):
            self._writing.command(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Values as Python's; timestamps are asked for as microseconds."""
        with translated(sql):
            return [tuple(row) for row in self._reading.query(sql).result_rows]

    def value(self, sql: str) -> Any:
        return self.rows(sql)[0][0]

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer in Arrow batches of at most 100,000 rows, as they come."""
        with translated(sql):
            stream = self._reading.raw_stream(f"{sql} SETTINGS max_block_size = 100000", fmt="ArrowStream")
            with stream:
                yield from _batches(stream)

    def arrow(self, sql: str) -> pa.Table:
        with translated(sql):
            return _table(self._reading.raw_query(sql, fmt="ArrowStream"))

    def insert(
        self, into: str, select: Sequence[str], rows: pa.Table, *, token: str, guard: str, rest: str = ""
    ) -> None:
        """`INSERT INTO {into} SELECT {select} FROM the rows WHERE {guard} {rest}`, as one block, which the table does not take again with the
        same token while it remembers it. In `select` the rows' columns are c0, c1, ... `guard` is an expression that must be
        true, else WarehouseUnavailableError and nothing is stored."""
        plain = rows.rename_columns([f"c{place}" for place in range(rows.num_columns)])
        structure = ", ".join(f"{field.name} {_TYPE_BY_ARROW[field.type]}" for field in plain.schema)
        fence = f"throwIf((SELECT {guard}) = 0, {text(FENCED)}) = 0"
        settings = f"{_ONE_BLOCK}, insert_deduplication_token = {text(token)}"
        with self._source(plain, structure) as (source, body):
            # The settings stand where both kinds of INSERT take them.
            sql = (
                f"INSERT INTO {into} SELECT {', '.join(select)} FROM {source} WHERE {fence} {rest} SETTINGS {settings}"
            )
            with self._lock, translated(sql):
                if body is None:
                    self._writing.command(sql)
                else:
                    # Without a table the body is the statement and the rows behind it.
                    self._writing.raw_insert(
                        "", insert_block=f"{sql} FORMAT ArrowStream\n".encode() + body, fmt="ArrowStream"
                    )

    @contextmanager
    def _source(self, rows: pa.Table, structure: str) -> Iterator[tuple[str, bytes | None]]:
        """What stands after FROM, and what is sent behind the statement."""
        if not self.embedded:
            # lz4 within Arrow: a third of the bytes on the way at little CPU, and the server reads it as it is.
            yield f"input({text(structure)})", _stream(rows, "lz4")
            return
        with tempfile.NamedTemporaryFile(suffix=".arrows") as file:
            file.write(_stream(rows, None))
            file.flush()
            yield f"file({text(str(Path(file.name)))}, 'ArrowStream', {text(structure)})", None

    def kill(self, query_id: str) -> None:
        """End a query of a user, which a read-only user may do to its own. The embedded engine cannot: there the time ends it."""
        if not self.embedded:
            self.asking.command(f"KILL QUERY WHERE query_id = {text(query_id)} ASYNC")

    def close(self) -> None:
        for client in (self.asking, self._reading, self._writing):
            with suppress(Exception):
                client.close()


_TYPE_BY_ARROW: Final[Mapping[pa.DataType, str]] = {
    pa.bool_(): "Nullable(Bool)",
    pa.int64(): "Nullable(Int64)",
    pa.float64(): "Nullable(Float64)",
    pa.timestamp("us", "UTC"): "Nullable(DateTime64(6, 'UTC'))",
    pa.string(): "Nullable(String)",
}


def _stream(rows: pa.Table, compression: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def _batches(stream: Any) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_stream(stream)
    except pa.ArrowInvalid:
        # An answer without rows has no bytes at all with the embedded engine.
        return
    yield from reader


def _table(answer: bytes) -> pa.Table:
    return pa.ipc.open_stream(answer).read_all() if answer else pa.table({})


@contextmanager
def translated(sql: str) -> Iterator[None]:
    """ClickHouse's errors as headrace's: WarehouseUnavailableError, ConfigError, else ValueError."""
    try:
        yield
    except HeadraceError:
        raise
    except (ClickHouseError, urllib3.exceptions.HTTPError, OSError, pa.ArrowException) as error:
        raise _translated(error, sql) from error


def _translated(error: Exception, sql: str) -> HeadraceError | ValueError:
    code = error.code if isinstance(error, DriverError) else None
    said = first_line(error)
    if code is None and not isinstance(error, pa.ArrowException) and not _is_of_server(error):
        return WarehouseUnavailableError(f"warehouse: ClickHouse cannot be reached: {said}")
    if code in _PASSING:
        return WarehouseUnavailableError(f"warehouse: ClickHouse cannot do it now: {said}")
    if code in _OPERATORS:
        return ConfigError(
            f"warehouse: ClickHouse refuses the user: {said}; docs/warehouses/clickhouse.md has the grants"
        )
    return ValueError(f"warehouse: ClickHouse: {said} (in {sql[:200]})")


def _is_of_server(error: Exception) -> bool:
    """Whether the server answered at all; a client that cannot connect raises OperationalError without a code."""
    return isinstance(error, ClickHouseError) and not isinstance(error, OperationalError)


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:1_000]


def identifier_list(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
