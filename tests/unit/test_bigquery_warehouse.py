"""BigQuery: the order of its jobs, what lost answers and failures at each step lead to, names, errors. Nothing here was tried on an account."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.bigquery import DIALECT, PretendedJobs
from headrace.config import WarehouseConfig
from headrace.errors import ConfigError, PositionError, QueryError, WarehouseUnavailableError
from headrace.warehouses import _deferred_session
from headrace.warehouses._bigquery import BigQuerySession, JobError, LostError, of_query, translated
from headrace.warehouses._bigquery_dialect import stored_name
from headrace.warehouses._deferred import DeferredWarehouse, check
from headrace.warehouses.base import Columns, ColumnType, Load, Place, Position, TableName, kind
from headrace.warehouses.bigquery import BigQuerySettings, checked
from made_loads import CONSUMER, TRACK_COLUMNS, TRACKS, arrow, at, doubled, load, rows_of, tracks

duckdb = pytest.importorskip("duckdb")


class Disturbed(PretendedJobs):
    """Keeps the order of calls. `faults` names a call (`start_script 3`, the third since then) and what happens at it."""

    def __init__(self, project: Any, done: dict[str, JobError | int]) -> None:
        super().__init__(project, done)
        self.calls: list[str] = []
        self.job_ids: list[str] = []
        self.faults: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def disturb(self, faults: Mapping[str, str]) -> None:
        self.faults, self._counts, self.calls, self.job_ids = dict(faults), {}, [], []

    def _call(self, name: str, what: Callable[[], Any]) -> Any:
        self._counts[name] = self._counts.get(name, 0) + 1
        fault = self.faults.get(f"{name} {self._counts[name]}")
        self.calls.append(name)
        if fault == "lost before":
            raise LostError("no route")
        if fault == "failed":
            raise JobError("backendError", "try again")
        outcome = what()
        if fault == "lost after":
            raise LostError("the answer is lost")
        return outcome

    def start_script(self, sql: str, job_id: str) -> None:
        self.job_ids.append(job_id)
        name = "transaction" if sql.startswith("BEGIN") else "statement"
        self._call(name, lambda: super(Disturbed, self).start_script(sql, job_id))

    def start_load(self, file: bytes, table: str, fields: Sequence[tuple[str, str]], job_id: str) -> None:
        self.job_ids.append(job_id)
        self._call("load job", lambda: super(Disturbed, self).start_load(file, table, fields, job_id))

    def wait(self, job_id: str) -> int:
        return int(self._call("wait", lambda: super(Disturbed, self).wait(job_id)))

    def read(self, sql: str, max_rows: int, timeout_seconds: float | None = None) -> Any:
        return self._call("read", lambda: super(Disturbed, self).read(sql, max_rows, timeout_seconds))

    def delete_staged(self, table: str) -> None:
        self._call("delete", lambda: super(Disturbed, self).delete_staged(table))


@pytest.fixture
def jobs(tmp_path: Path) -> Disturbed:
    project = duckdb.connect(str(tmp_path / "project.duckdb"))
    project.execute("SET GLOBAL TimeZone = 'UTC'")
    return Disturbed(project, {})


@pytest.fixture
def warehouse(jobs: Disturbed) -> DeferredWarehouse:
    """With the loader's session on `jobs`, which other sessions share."""
    return DeferredWarehouse(DIALECT, lambda: BigQuerySession(DIALECT, jobs, lambda: datetime(2026, 3, 1, tzinfo=UTC)))


def many(start: int, end: int, *, new: bool = False) -> Load:
    """As `tracks`, with rows enough for a load job."""
    of = [(f"e{number}-{copy}", "u", at(number), at(99)) for number in range(start, end) for copy in range(600)]
    return load(start, end, {TRACKS: arrow(TRACK_COLUMNS, of)}, create={TRACKS: TRACK_COLUMNS} if new else {})


def stored(warehouse: DeferredWarehouse) -> int:
    count = rows_of(warehouse, "SELECT count(*) FROM shop.tracks")[0][0]
    assert isinstance(count, int)
    return count


def test_rows_are_staged_before_one_transaction_and_removed_after_it(
    warehouse: DeferredWarehouse, jobs: Disturbed
) -> None:
    warehouse.commit(many(0, 1, new=True))
    jobs.disturb({})
    warehouse.commit(many(1, 2))
    # The turn, the position, the rows, then everything at once.
    expected = ["read", "read", "load job", "wait", "transaction", "wait", "delete"]
    assert expected == jobs.calls


def test_tables_are_made_before_the_transaction_in_words_that_may_be_repeated(jobs: Disturbed) -> None:
    scripts: list[str] = []

    class Written(PretendedJobs):
        def start_script(self, sql: str, job_id: str) -> None:
            scripts.append(sql)
            super().start_script(sql, job_id)

    written = Written(jobs._cursor, {})
    warehouse = DeferredWarehouse(DIALECT, lambda: BigQuerySession(DIALECT, written))
    scripts.clear()
    columns: Columns = {"id": ColumnType.STRING, "plan": ColumnType.STRING}
    warehouse.commit(tracks(0, 2, new=True))
    warehouse.commit(load(2, 3, {TRACKS: arrow(columns, [("x", "pro")])}, add={TRACKS: {"plan": ColumnType.STRING}}))
    alone = [sql for sql in scripts if not sql.startswith("BEGIN")]
    whole = [sql for sql in scripts if sql.startswith("BEGIN")]
    assert all("IF NOT EXISTS" in sql for sql in alone)
    assert [True] * 2 == [re.search(r"\b(CREATE|ALTER|DROP)\b", sql) is None for sql in whole]
    assert [True] * 2 == [sql.endswith("COMMIT TRANSACTION;\n") for sql in whole]
    assert [True] * 2 == [sql.split(";\n")[1].startswith("UPDATE `headrace`.`turn`") for sql in whole]


STEPS = ["read 1", "read 2", "load job 1", "wait 1", "transaction 1", "wait 2"]


@pytest.mark.parametrize("fault", ["lost before", "lost after", "failed"])
@pytest.mark.parametrize("step", STEPS)
def test_a_load_is_in_once_whatever_step_was_disturbed(
    warehouse: DeferredWarehouse, jobs: Disturbed, step: str, fault: str
) -> None:
    warehouse.commit(many(0, 1, new=True))
    jobs.disturb({step: fault})
    for _ in range(5):
        try:
            warehouse.commit(many(1, 2))
            break
        except WarehouseUnavailableError:
            continue
    assert jobs.faults.keys() <= {f"{name} {number}" for name in jobs._counts for number in (1, 2)}
    assert Position("log-1", 2) == warehouse.position(CONSUMER, 0)
    assert stored(warehouse) == 1_200


def test_a_disturbed_load_would_be_in_twice_under_another_name_without_the_turn(
    warehouse: DeferredWarehouse, jobs: Disturbed
) -> None:
    """The control: the script runs again under a new name, and nothing in it looks at turn or position."""
    warehouse.commit(many(0, 1, new=True))
    script = DIALECT.script(
        "UPDATE `headrace`.`turn` SET `number` = `number` WHERE TRUE", ["INSERT INTO `shop`.`tracks` (`id`) SELECT 'x'"]
    )
    for number in range(2):
        jobs.start_script(script, f"other_{number}")
    assert stored(warehouse) == 602


def test_a_start_whose_answer_was_lost_is_made_again_under_the_same_name(
    warehouse: DeferredWarehouse, jobs: Disturbed
) -> None:
    warehouse.commit(many(0, 1, new=True))
    jobs.disturb({"load job 1": "lost after"})
    with pytest.raises(WarehouseUnavailableError):
        warehouse.commit(many(1, 2))
    warehouse.commit(many(1, 2))
    first, again, _ = jobs.job_ids
    assert first == again


def test_a_job_that_failed_is_followed_by_one_of_another_name(warehouse: DeferredWarehouse, jobs: Disturbed) -> None:
    session = BigQuerySession(DIALECT, jobs)
    statement = "INSERT INTO `nowhere`.`t` (`a`) SELECT 1"
    with pytest.raises(ValueError, match="nowhere"):
        session._once("abc", lambda job_id: jobs.start_script(statement, job_id))
    warehouse.commit(tracks(0, 1, new=True))
    statement = "INSERT INTO `shop`.`tracks` (`id`) SELECT 'x'"
    assert session._once("abc", lambda job_id: jobs.start_script(statement, job_id)) == 1
    assert session._once("abc", lambda job_id: jobs.start_script(statement, job_id)) == 1
    assert stored(warehouse) == 2
    assert {"headrace_abc_0", "headrace_abc_1"} <= jobs._done.keys()


def test_a_load_prepared_before_another_one_committed_ends_without_a_trace(
    warehouse: DeferredWarehouse, jobs: Disturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    other = DeferredWarehouse(DIALECT, lambda: BigQuerySession(DIALECT, jobs))
    move = DeferredWarehouse._move

    def meanwhile(self: DeferredWarehouse, session: Any, load_: Load) -> None:
        move(self, session, load_)
        if self is warehouse and other.position(CONSUMER, 1) is None:
            other.commit(tracks(50, 52, partition=1))

    monkeypatch.setattr(DeferredWarehouse, "_move", meanwhile)
    with pytest.raises(WarehouseUnavailableError, match="another loader committed"):
        warehouse.commit(tracks(3, 5))
    assert stored(warehouse) == 5
    warehouse.commit(tracks(3, 5))
    assert stored(warehouse) == 7


def test_two_first_loads_of_a_partition_are_one(
    warehouse: DeferredWarehouse, jobs: Disturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key holds a second first row off there: only the turn does."""
    assert one_of_two_first_loads(warehouse, jobs, monkeypatch) == 4


def test_two_first_loads_of_a_partition_are_doubled_without_the_turn(
    warehouse: DeferredWarehouse, jobs: Disturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = "UPDATE `headrace`.`turn` SET `number` = `number` WHERE TRUE"
    monkeypatch.setattr(_deferred_session.DeferredDialect, "raise_turn", lambda *_: always)
    assert one_of_two_first_loads(warehouse, jobs, monkeypatch) == 7


def one_of_two_first_loads(warehouse: DeferredWarehouse, jobs: Disturbed, monkeypatch: pytest.MonkeyPatch) -> int:
    other = DeferredWarehouse(DIALECT, lambda: BigQuerySession(DIALECT, jobs))
    move = DeferredWarehouse._move
    ran: list[bool] = []

    def meanwhile(self: DeferredWarehouse, session: Any, load_: Load) -> None:
        move(self, session, load_)
        if self is warehouse and not ran:
            ran.append(True)
            other.commit(tracks(0, 4, new=True))

    monkeypatch.setattr(DeferredWarehouse, "_move", meanwhile)
    with contextlib.suppress(PositionError):
        warehouse.commit(tracks(0, 3, new=True))
    return stored(warehouse)


def test_two_loaders_double_nothing_here_either(warehouse: DeferredWarehouse) -> None:
    assert doubled(warehouse) == 0


def test_a_wrong_load_is_told_before_any_job(warehouse: DeferredWarehouse, jobs: Disturbed) -> None:
    warehouse.commit(tracks(0, 1, new=True))
    columns: Columns = {"id": ColumnType.STRING, "_extra": ColumnType.JSON}
    name = TableName("shop", "order_completed")
    wrong = load(1, 2, {name: arrow(columns, [("x", "{no json")])}, create={name: columns})
    jobs.disturb({})
    with pytest.raises(ValueError, match=r"(?i)json"):
        warehouse.commit(wrong)
    assert {"read"} == set(jobs.calls)
    assert name not in warehouse.tables()


def test_a_load_of_more_tables_than_one_transaction_takes_is_refused_before_any_job() -> None:
    rows = {TableName("shop", f"t{number}"): pa.table({"id": ["x"]}) for number in range(97)}
    known = {name: {"id": ColumnType.STRING} for name in rows}
    with pytest.raises(ValueError, match="changes 101 tables"):
        check(load(0, 1, rows), known, DIALECT.transaction_tables)
    rows.popitem()
    check(load(0, 1, rows), known, DIALECT.transaction_tables)


@pytest.mark.parametrize(
    ("name", "expected"), [("2fa", "_2fa"), ("plan", "plan"), ("_extra", "_extra"), ("the key", "the__key")]
)
def test_names_that_bigquery_does_not_take_get_an_underscore(name: str, expected: str) -> None:
    assert expected == stored_name(name)


def test_a_column_that_begins_with_a_digit_comes_back_as_it_was(warehouse: DeferredWarehouse) -> None:
    columns: Columns = {"id": ColumnType.STRING, "2fa_enabled": ColumnType.BOOLEAN}
    name = TableName("shop", "5test")
    warehouse.commit(load(0, 1, {name: arrow(columns, [("a", True)])}, create={name: columns}))
    assert columns == warehouse.tables()[name]
    assert [[True]] == rows_of(warehouse, "SELECT _2fa_enabled FROM shop._5test")


def test_a_name_with_a_reserved_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="_PARTITION"):
        stored_name("_partitiontime")


@pytest.mark.parametrize("value", ["it's", "back\\slash", "line\nbreak", "äöü", "`;\n--", ""])
def test_texts_come_back_as_they_went_in(warehouse: DeferredWarehouse, value: str) -> None:
    columns: Columns = {"id": ColumnType.STRING}
    name = TableName("shop", "texts")
    warehouse.commit(load(0, 1, {name: arrow(columns, [(value,)])}, create={name: columns}))
    assert [[value]] == rows_of(warehouse, "SELECT id FROM shop.texts")


def test_errors_say_what_mends_them() -> None:
    assert isinstance(translated(JobError("invalidQuery", "no such function")), ValueError)
    denied = translated(JobError("accessDenied", "Permission bigquery.jobs.create denied"))
    assert isinstance(denied, WarehouseUnavailableError)
    assert "warehouse test" in str(denied)
    assert isinstance(
        translated(JobError("invalidQuery", "Transaction is aborted due to concurrent update")),
        WarehouseUnavailableError,
    )
    late = of_query(JobError("stopped", "x"), 5)
    assert isinstance(late, QueryError)
    assert late.code == "query_timeout"
    too_much = of_query(JobError("bytesBilledLimitExceeded", "10 GB"), 5)
    assert isinstance(too_much, QueryError)
    assert too_much.code == "query_too_large"


def test_the_check_names_the_first_step_that_fails_and_what_mends_it(jobs: Disturbed) -> None:
    class Refusing(PretendedJobs):
        def start_script(self, sql: str, job_id: str) -> None:
            if "CREATE SCHEMA" in sql:
                raise JobError("accessDenied", "bigquery.datasets.create denied")
            super().start_script(sql, job_id)

    settings = BigQuerySettings(project="acme")
    found = list(checked(BigQuerySession(DIALECT, Refusing(jobs._cursor, {})), settings))
    assert [("login", True), ("privilege", True), ("schema", False)] == [finding[:2] for finding in found]
    assert "roles/bigquery.user" in found[-1].remedy


def test_a_missing_driver_or_credentials_are_matters_of_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.startswith("google"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    chosen = kind("bigquery")(BigQuerySettings(), Place("big", tmp_path, WarehouseConfig()))
    with pytest.raises(ConfigError, match=r"pip install 'headrace\[bigquery\]'"):
        chosen.open()
    assert [False] == [finding.ok for finding in chosen.check()]
    assert chosen.pace_seconds == 60.0
    assert "not yet tried on a live account" in chosen.tried
