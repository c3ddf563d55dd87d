"""BigQuery: the session over its jobs. The order of a load is told in `_deferred`.

A load's transaction is one job, a script from BEGIN TRANSACTION to COMMIT TRANSACTION: BigQuery rolls back what ends without COMMIT, so no
transaction outlives the job, whatever happens to this process (one in a BigQuery *session* would stay open for up to a day and
hold off every other loader). Rows are staged before it by load jobs, which cost nothing, in a dataset whose tables expire.

Jobs have names made from what they do: the script's from its text (which holds consumer, partition, range and turn), a load job's from its file
and the turn. A start whose answer was lost is repeated under the same name, and BigQuery says that there is such a job; then its
outcome is waited for, and nothing is done twice. Only a job that failed, and so did nothing, is followed by one with another number.
"""
# ruff: noqa: S608 -- identifiers go through `quoted`

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import HeadraceError, QueryError, WarehouseUnavailableError
from headrace.warehouses._bigquery_dialect import OTHER_TURN, STAGING, BigQueryDialect
from headrace.warehouses._deferred_session import DeferredSession, other_turn
from headrace.warehouses._dialect import COLUMN_TYPES
from headrace.warehouses._session import Answer

ATTEMPTS: Final = 20
"""Failed jobs of one name that are followed by another; then the load waits for the next turn or day."""


class JobError(Exception):
    """A job failed, or was refused at its start: nothing of it is stored. `reason` is one of BigQuery's
    (cloud.google.com/bigquery/docs/error-messages)."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason
        self.said = said


class JobExistsError(Exception):
    """There is a job of this name already."""


class LostError(Exception):
    """BigQuery cannot be reached, or its answer was lost: what was asked may have been done."""


class Reading(NamedTuple):
    """A query's columns, their types in BigQuery's words, and its rows."""

    names: Sequence[str]
    types: Sequence[str]
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Jobs(Protocol):
    """What the session needs of BigQuery. Each method raises LostError and JobError, the starting ones JobExistsError too."""

    def start_script(self, sql: str, job_id: str) -> None: ...

    def start_load(self, file: bytes, table: str, fields: Sequence[tuple[str, str]], job_id: str) -> None:
        """Fill `table` of the staging dataset anew from a Parquet file; fields are names and types."""
        ...

    def wait(self, job_id: str) -> int:
        """Until the job is done; the number of rows that it changed, 0 where that is not told."""
        ...

    def read(self, sql: str, max_rows: int, timeout_seconds: float | None = None) -> Reading:
        """Run a query; blocks of rows of at most `max_rows`. With a timeout it is a user's: judged first, bounded in bytes."""
        ...

    def statement_type(self, sql: str) -> str:
        """What BigQuery takes the text for, without running it: SELECT, SCRIPT, DELETE, ..."""
        ...

    def delete_staged(self, table: str) -> None: ...

    def close(self) -> None: ...


class BigQuerySession(DeferredSession):
    dialect: BigQueryDialect

    def __init__(self, dialect: BigQueryDialect, jobs: Jobs, now: Callable[[], datetime] | None = None) -> None:
        super().__init__(dialect)
        self._jobs = jobs
        self._now = now or (lambda: datetime.now(UTC))
        self._staged: list[str] = []
        self._has_staging = False
        self._is_sent = False

    def execute(self, statement: str) -> int:
        """What headrace runs by itself may be repeated (IF NOT EXISTS, NOT EXISTS), so its job needs no name of its own."""
        return self._once(uuid.uuid4().hex, lambda job_id: self._jobs.start_script(statement, job_id))

    def send(self, raise_turn: str, statements: Sequence[str]) -> None:
        script = self.dialect.script(raise_turn, statements)
        self._once(_digest(script.encode()), lambda job_id: self._jobs.start_script(script, job_id))
        self._is_sent = True

    def abandon(self) -> None:
        """The job has ended by itself or will."""

    def unstage(self) -> None:
        """Only after the transaction: a load that is made again finds its rows staged."""
        staged, self._staged = self._staged, []
        is_sent, self._is_sent = self._is_sent, False
        for table in staged if is_sent else ():
            with suppress(JobError, LostError):
                self._jobs.delete_staged(table)

    def stage(self, table: pa.Table) -> str:
        if not self._has_staging:
            self.execute(self.dialect.create_staging())
            self._has_staging = True
        names = [f"c{number}" for number in range(table.num_columns)]
        fields = [
            (name, self.dialect.types[COLUMN_TYPES[field.type]])
            for name, field in zip(names, table.schema, strict=True)
        ]
        out = io.BytesIO()
        pq.write_table(table.rename_columns(names), out, compression="zstd")
        file = out.getvalue()
        # The day: tables expire after one, and a job's name tells of a table that is there.
        digest = _digest(f"{self._turn} {self._now():%Y-%m-%d} ".encode() + file)
        staged = f"staged_{digest[:24]}"
        self._once(digest, lambda job_id: self._jobs.start_load(file, staged, fields, job_id))
        self._staged.append(staged)
        q = self.dialect.quoted
        shown = ", ".join(f"{q(name)} AS {q(field.name)}" for name, field in zip(names, table.schema, strict=True))
        return f"(SELECT {shown} FROM {q(STAGING)}.{q(staged)})"

    def _once(self, digest: str, start: Callable[[str], None]) -> int:
        """Run a job that has run at most once when this returns, however often its start had to be repeated."""
        for attempt in range(ATTEMPTS):
            job_id = f"headrace_{digest}_{attempt}"
            is_old = False
            try:
                start(job_id)
            except JobExistsError:
                is_old = True
            except LostError as error:
                raise translated(error) from error
            except JobError as error:
                raise translated(error) from error
            try:
                return self._jobs.wait(job_id)
            except LostError as error:
                raise translated(error) from error
            except JobError as error:
                if not is_old:
                    raise translated(error) from error
        raise WarehouseUnavailableError(
            f"warehouse: BigQuery failed the same job {ATTEMPTS} times; see headrace_{digest}_0"
        )

    def fetch(self, query: str) -> pa.Table:
        with _border():
            reading = self._jobs.read(query, 100_000)
            return pa.Table.from_batches(list(reading.batches), reading.schema)

    def blocks(self, query: str, max_rows: int) -> Iterator[pa.RecordBatch]:
        with _border():
            yield from self._jobs.read(query, max_rows).batches

    @contextmanager
    def answer(self, sql: str, timeout_seconds: float) -> Iterator[Answer]:
        try:
            statement = self._jobs.statement_type(sql)
            if statement != "SELECT":
                raise QueryError(f"{statement or 'this'} is refused: a query is one SELECT over the warehouse's tables")
            reading = self._jobs.read(sql, 1_000, timeout_seconds)
        except (JobError, LostError) as error:
            raise of_query(error, timeout_seconds) from error

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                yield from reading.batches
            except (JobError, LostError) as error:
                raise of_query(error, timeout_seconds) from error

        yield Answer(reading.names, reading.types, reading.schema, batches())

    def plan(self, sql: str, timeout_seconds: float) -> Sequence[str]:  # noqa: ARG002 - the protocol's signature
        raise QueryError("EXPLAIN is not there in BigQuery: run the query, its console shows the stages of the job")

    def is_fit(self) -> bool:
        return True

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        self._jobs.close()


def _digest(what: bytes) -> str:
    return hashlib.sha256(what).hexdigest()[:40]


@contextmanager
def _border() -> Iterator[None]:
    try:
        yield
    except (JobError, LostError) as error:
        raise translated(error) from error


_WRONG: Final = frozenset(("invalid", "invalidQuery"))
"""Everything else may pass: rights, quotas, billing, BigQuery itself."""
_REMEDIES: Final[Any] = {
    "accessDenied": "the service account lacks a right; `headrace warehouse test` names the grant",
    "billingNotEnabled": "the project has no billing account, or the sandbox does not allow it; enable billing",
    "notFound": "the project, dataset or table is not there; `headrace warehouse test` tells which step fails",
    "quotaExceeded": "a quota of the project is used up; a longer interval_seconds needs fewer jobs",
    "rateLimitExceeded": "too many jobs in a short time; a longer interval_seconds needs fewer",
}


def translated(error: JobError | LostError) -> HeadraceError | ValueError:
    if isinstance(error, LostError):
        return WarehouseUnavailableError(f"warehouse: BigQuery cannot be reached: {error}")
    if OTHER_TURN in error.said or "concurrent update" in error.said or "Could not serialize" in error.said:
        return other_turn()
    if error.reason in _WRONG:
        return ValueError(f"warehouse: BigQuery refuses the statement: {error.said} ({error.reason})")
    remedy = _REMEDIES.get(error.reason, "BigQuery cannot do it now")
    return WarehouseUnavailableError(f"warehouse: {remedy} (BigQuery: {error.said}, {error.reason})")


def of_query(error: JobError | LostError, timeout_seconds: float) -> HeadraceError:
    if isinstance(error, LostError):
        return WarehouseUnavailableError(f"warehouse: BigQuery cannot be reached: {error}")
    if error.reason in ("stopped", "timeout", "jobTimeout"):
        return QueryError(f"the query was cancelled after {timeout_seconds:g} seconds: narrow it down", "query_timeout")
    if error.reason == "bytesBilledLimitExceeded":
        return QueryError(f"the query reads more than query_bytes allows: {error.said}", "query_too_large")
    return QueryError(f"the query failed: {error.said}", "query_wrong")
