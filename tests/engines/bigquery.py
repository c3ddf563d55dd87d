"""BigQuery, played by DuckDB: its SQL translated by sqlglot, its jobs kept by name. What it shows is that the statements mean what they
should; what it cannot show is that BigQuery itself takes them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

import conftest
from headrace.warehouses._bigquery import BigQuerySession, JobError, JobExistsError, Reading
from headrace.warehouses._bigquery_dialect import OTHER_TURN, STAGING, BigQueryDialect
from headrace.warehouses._deferred import DeferredWarehouse
from headrace.warehouses.base import Warehouse

TYPES = {
    "BOOLEAN": "BOOL",
    "BIGINT": "INT64",
    "DOUBLE": "FLOAT64",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "VARCHAR": "STRING",
    "JSON": "JSON",
}
DIALECT = BigQueryDialect("project", "EU")


def fresh(folder: Path) -> Callable[[], Warehouse]:
    path, jobs = folder / "events.duckdb", {}  # type: tuple[Path, dict[str, JobError | int]]

    def open_() -> Warehouse:
        project = duckdb.connect(str(path))
        project.execute("SET GLOBAL TimeZone = 'UTC'")
        return Closing(DIALECT, lambda: BigQuerySession(DIALECT, PretendedJobs(project, jobs)), project)

    return open_


class Closing(DeferredWarehouse):
    def __init__(self, dialect: BigQueryDialect, connect: Callable[[], BigQuerySession], project: Any) -> None:
        self._project = project
        super().__init__(dialect, connect)

    def close(self) -> None:
        super().close()
        self._project.close()


class PretendedJobs:
    """Jobs end at their start; `done` is what became of each, over all connections to the project."""

    def __init__(self, project: Any, done: dict[str, JobError | int]) -> None:
        self._cursor = project.cursor()
        self._done = done

    def start_script(self, sql: str, job_id: str) -> None:
        self._start(job_id, lambda: self._run(sql))

    def start_load(self, file: bytes, table: str, fields: Sequence[tuple[str, str]], job_id: str) -> None:
        def fill() -> int:
            rows = pq.read_table(io.BytesIO(file))
            assert [name for name, _ in fields] == rows.column_names
            self._cursor.register("file", rows)
            self._cursor.execute(f'CREATE OR REPLACE TABLE "{STAGING}"."{table}" AS SELECT * FROM file')
            self._cursor.unregister("file")
            return int(rows.num_rows)

        self._start(job_id, fill)

    def _start(self, job_id: str, what: Callable[[], int]) -> None:
        if job_id in self._done:
            raise JobExistsError(job_id)
        try:
            self._done[job_id] = what()
        except JobError as error:
            self._done[job_id] = error
        except duckdb.TransactionException as error:
            self._done[job_id] = JobError("invalidQuery", f"Transaction is aborted due to concurrent update: {error}")
        except duckdb.Error as error:
            self._done[job_id] = JobError("invalidQuery", str(error))

    def _run(self, script: str) -> int:
        """A script as BigQueryDialect.script writes it: no text in it holds a newline, and it ends with one."""
        changed = 0
        try:
            for statement in script.rstrip("\n").removesuffix(";").split(";\n"):
                if statement.startswith("IF @@row_count = 0"):
                    if changed == 0:
                        raise JobError("invalidQuery", OTHER_TURN)  # noqa: TRY301 -- as BigQuery's RAISE does
                    continue
                for translated in in_duckdb(statement):
                    found = self._cursor.execute(translated).fetchall()
                changed = found[0][0] if found and re.match("INSERT|UPDATE|DELETE|MERGE", statement) else 0
        except BaseException:
            if script.startswith("BEGIN"):
                self._cursor.execute("ROLLBACK")
            raise
        return changed

    def wait(self, job_id: str) -> int:
        outcome = self._done[job_id]
        if isinstance(outcome, JobError):
            raise outcome
        return outcome

    def read(self, sql: str, max_rows: int, timeout_seconds: float | None = None) -> Reading:
        try:
            asked = sql if timeout_seconds is None else in_backticks(sql)
            if "__TABLES__" in sql:
                table = self._sizes()
            else:
                table = self._columns() if "INFORMATION_SCHEMA.COLUMNS" in sql else self._table(in_duckdb(asked)[0])
        except duckdb.Error as error:
            raise JobError("invalidQuery", str(error)) from error
        batches = table.to_batches(max_chunksize=max_rows)
        return Reading(table.column_names, [str(field.type) for field in table.schema], table.schema, iter(batches))

    def _table(self, sql: str) -> pa.Table:
        return self._cursor.cursor().sql(sql).to_arrow_table()

    def _columns(self) -> pa.Table:
        """BigQuery's view, as `BigQueryDialect.tables` asks for it."""
        return self._table(
            "SELECT table_schema, regexp_replace(table_name, '^_([0-9])', '\\1'), "
            "regexp_replace(column_name, '^_([0-9])', '\\1'), "
            f"CASE data_type {' '.join(f'''WHEN '{of}' THEN '{is_}' ''' for of, is_ in TYPES.items())} END "
            f"FROM information_schema.columns WHERE table_schema NOT IN ('{STAGING}', 'main') ORDER BY 1, 2, ordinal_position"
        )

    def _sizes(self) -> pa.Table:
        """BigQuery's lists of tables, as `BigQueryDialect.sizes` asks for them."""
        names = self._cursor.cursor().execute(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name NOT IN ('{STAGING}', 'main')"
        )
        rows = (
            f"SELECT '{schema}', regexp_replace('{table}', '^_([0-9])', '\\1'), count(*), 1000 FROM \"{schema}\".\"{table}\""
            for schema, table in names.fetchall()
        )
        return self._table(" UNION ALL ".join(rows))

    def statement_type(self, sql: str) -> str:
        return ",".join(type(tree).__name__.upper() for tree in sqlglot().parse(in_backticks(sql), read="bigquery"))

    def delete_staged(self, table: str) -> None:
        self._cursor.execute(f'DROP TABLE IF EXISTS "{STAGING}"."{table}"')

    def close(self) -> None:
        self._cursor.close()


def sqlglot() -> Any:
    try:
        import sqlglot
    except ImportError:
        conftest.missing("sqlglot is not installed; `pip install sqlglot` does it")
    return sqlglot


def in_backticks(sql: str) -> str:
    """The suite's queries quote names as the standard has it; BigQuery takes that for texts."""
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: "`" + found[1].replace('""', '"') + "`", sql)


def in_duckdb(sql: str) -> list[str]:
    """A statement in DuckDB's words. What has no meaning there is left out: options, clustering."""
    sql = re.sub(r" OPTIONS\(.*\)$| CLUSTER BY `received_at`$", "", sql)
    sql = sql.replace(", wide_number_mode => 'round'", "")
    cloned = re.fullmatch(r"CREATE OR REPLACE TABLE (\S+) CLONE (\S+)", sql)
    if cloned:
        sql = f"CREATE OR REPLACE TABLE {cloned[1]} AS SELECT * FROM {cloned[2]}"
    table, _, changes = sql.partition(" RENAME COLUMN ")
    if changes:
        sqls = [f"{table} RENAME COLUMN {change}" for change in changes.split(", RENAME COLUMN ")]
    elif sql.startswith("ALTER TABLE") and ", ADD COLUMN " in sql:
        table, _, changes = sql.partition(" ADD COLUMN ")
        sqls = [f"{table} ADD COLUMN {change}" for change in changes.split(", ADD COLUMN ")]
    else:
        sqls = [sql]
    return list(_translated(sqls))


def _translated(sqls: Sequence[str]) -> Iterator[str]:
    for sql in sqls:
        yield from sqlglot().transpile(sql, read="bigquery", write="duckdb")
