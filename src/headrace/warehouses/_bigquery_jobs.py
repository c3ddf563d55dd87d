"""BigQuery's jobs through Google's client: the only file that knows it."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import pyarrow as pa

from headrace.warehouses._bigquery import JobError, JobExistsError, LostError, Reading
from headrace.warehouses._bigquery_dialect import STAGING

START_SECONDS: Final = 60
JOB_SECONDS: Final = 600
CANCEL_SECONDS: Final = 5
_ARROW: Final[Mapping[str, Any]] = {
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DATETIME": pa.timestamp("us"),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "BYTES": pa.binary(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}


class GoogleJobs:
    """The protocol is `_bigquery.Jobs`. `client` is google.cloud.bigquery.Client."""

    def __init__(self, client: Any, location: str, query_bytes: int) -> None:
        self._bigquery = importlib.import_module("google.cloud.bigquery")
        self._client = client
        self._location = location
        self._query_bytes = query_bytes
        self._asked: Any = None

    def start_script(self, sql: str, job_id: str) -> None:
        config = self._bigquery.QueryJobConfig(use_legacy_sql=False, labels={"by": "headrace"})
        with _border():
            # No job_retry: it would run a failed job again under a name that nobody knows.
            self._client.query(
                sql, job_config=config, job_id=job_id, location=self._location, job_retry=None, timeout=START_SECONDS
            )

    def start_load(self, file: bytes, table: str, fields: Sequence[tuple[str, str]], job_id: str) -> None:
        config = self._bigquery.LoadJobConfig(
            schema=[self._bigquery.SchemaField(name, type_) for name, type_ in fields],
            source_format="PARQUET",
            write_disposition="WRITE_TRUNCATE",
            labels={"by": "headrace"},
        )
        with _border():
            self._client.load_table_from_file(
                io.BytesIO(file),
                self._staged(table),
                size=len(file),
                job_config=config,
                job_id=job_id,
                location=self._location,
                timeout=START_SECONDS,
            )

    def _staged(self, table: str) -> str:
        return f"{self._client.project}.{STAGING}.{table}"

    def wait(self, job_id: str) -> int:
        with _border():
            job = self._client.get_job(job_id, location=self._location, timeout=START_SECONDS)
            if isinstance(job, self._bigquery.QueryJob):
                job.result(timeout=JOB_SECONDS, job_retry=None)
                return int(job.num_dml_affected_rows or 0)
            job.result(timeout=JOB_SECONDS)
            return 0

    def read(self, sql: str, max_rows: int, timeout_seconds: float | None = None) -> Reading:
        config = self._bigquery.QueryJobConfig(use_legacy_sql=False, labels={"by": "headrace"})
        if timeout_seconds is not None:
            config.job_timeout_ms = int(timeout_seconds * 1000)
            if self._query_bytes:
                config.maximum_bytes_billed = self._query_bytes
        with _border():
            job = self._client.query(sql, job_config=config, location=self._location, timeout=START_SECONDS)
            self._asked = job
            rows = job.result(page_size=max_rows, timeout=timeout_seconds or JOB_SECONDS)
        names = [field.name for field in rows.schema]
        types = [
            f"ARRAY<{field.field_type}>" if field.mode == "REPEATED" else field.field_type for field in rows.schema
        ]
        batches = _blocks(rows, max_rows)
        with _border():
            first = next(batches, None)
        if first is None:
            schema = pa.schema([(field.name, _ARROW.get(field.field_type, pa.string())) for field in rows.schema])
            first = pa.RecordBatch.from_pylist([], schema)
        return Reading(names, types, first.schema, self._to_the_end(first, batches))

    def _to_the_end(self, first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield first
        yield from rest
        self._asked = None

    def statement_type(self, sql: str) -> str:
        config = self._bigquery.QueryJobConfig(use_legacy_sql=False, dry_run=True, use_query_cache=False)
        with _border():
            job = self._client.query(sql, job_config=config, location=self._location, timeout=START_SECONDS)
            return str(job.statement_type or "")

    def delete_staged(self, table: str) -> None:
        with _border():
            self._client.delete_table(self._staged(table), not_found_ok=True, timeout=START_SECONDS)

    def close(self) -> None:
        """A query whose rows nobody has fetched to the end is cancelled: it would go on, and cost."""
        if self._asked is not None:
            with suppress(Exception):  # it is over already, or BigQuery is out of reach
                self._asked.cancel(timeout=CANCEL_SECONDS)
        self._client.close()


def _blocks(rows: Any, max_rows: int) -> Iterator[pa.RecordBatch]:
    """Pages may be larger than what was asked for."""
    with _border():
        for batch in rows.to_arrow_iterable():
            for start in range(0, batch.num_rows, max_rows):
                yield batch.slice(start, max_rows)


@contextmanager
def _border() -> Iterator[None]:
    exceptions = importlib.import_module("google.api_core.exceptions")
    auth = importlib.import_module("google.auth.exceptions")
    try:
        yield
    except exceptions.Conflict as error:
        raise JobExistsError(_said(error)) from error
    except exceptions.GoogleAPICallError as error:
        if not getattr(error, "errors", None) and isinstance(error, exceptions.ServerError):
            raise LostError(_said(error)) from error
        raise JobError(_reason(error), _said(error)) from error
    except auth.GoogleAuthError as error:
        raise LostError(f"no access: {_said(error)}") from error
    except (OSError, TimeoutError, exceptions.GoogleAPIError) as error:  # requests' errors are OSErrors
        raise LostError(_said(error)) from error


def _reason(error: Any) -> str:
    found = [str(each.get("reason", "")) for each in getattr(error, "errors", None) or () if isinstance(each, dict)]
    if found and found[0]:
        return found[0]
    return {400: "invalid", 403: "accessDenied", 404: "notFound", 429: "rateLimitExceeded"}.get(
        getattr(error, "code", 0), ""
    )


def _said(error: BaseException) -> str:
    return " ".join(str(getattr(error, "message", None) or error).split())[:500]
