"""ClickHouse alone: a load that fails at every step, two loaders, times, names, people's SQL. The engine is embedded (chdb)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from depth import depth
from engines.clickhouse import embedded
from headrace.errors import WarehouseUnavailableError, WideningRefusedError
from headrace.warehouses import _clickhouse, _clickhouse_house, _clickhouse_lease, _clickhouse_load
from headrace.warehouses._clickhouse import ClickHouse
from headrace.warehouses._clickhouse_check import logged_in
from headrace.warehouses._clickhouse_session import Session
from headrace.warehouses.base import (
    Books,
    Columns,
    ColumnType,
    Position,
    TableName,
    Unfinished,
)
from latest_state import HISTORY_COLUMNS, TRAITS
from made_clickhouse import IDENTIFIES, ORDERS, USERS, again, everything, wide_load
from made_loads import CONSUMER, HOUR, TRACK_COLUMNS, TRACKS, arrow, at, latest, load, rows_of, tracks

Open = Callable[..., ClickHouse]


@pytest.fixture
def open_(tmp_path: Path) -> Iterator[Open]:
    """Opens one more loader on the same ClickHouse."""
    opened: list[ClickHouse] = []

    def another(**more: Any) -> ClickHouse:
        opened.append(ClickHouse(embedded(tmp_path / "clickhouse"), embedded=True, **more))
        return opened[-1]

    yield another
    for warehouse in opened:
        warehouse.close()


# A load that fails somewhere and is made again.


class Stopped(BaseException):
    """As if the process had ended here."""


class Failing:
    """Lets statements pass until one is reached: it is not carried out, or is carried out and its answer lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
        self.left = -1
        self.answered = True
        self.error: BaseException = Stopped()
        for name in ("run", "insert"):
            monkeypatch.setattr(session, name, self._wrapped(getattr(session, name)))

    def _wrapped(self, original: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **more: Any) -> None:
            self.left -= 1
            if self.left == 0 and self.answered:
                raise self.error
            original(*args, **more)
            if self.left == 0:
                raise self.error

        return call


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    warehouse = ClickHouse(embedded(tmp_path_factory.mktemp("undisturbed")), embedded=True)
    for start in (0, 10, 20):
        warehouse.commit(wide_load(start, start + 10))
    found = everything(warehouse)
    warehouse.close()
    return found


def fail_everywhere(open_: Open, monkeypatch: pytest.MonkeyPatch, *, answered: bool) -> int:
    """Three loads; the second is stopped at its n-th statement, for every n, in schemas of its own. Returns how many n there are."""
    warehouse = open_()
    warehouse.commit(wide_load(0, 10))
    failing = Failing(monkeypatch, warehouse._session)
    failing.answered = answered
    step = 0
    end = 10
    while True:
        step += 1
        failing.left = step
        try:
            warehouse.commit(wide_load(end, end + 1))
        except Stopped:
            failing.left = -1
            again(warehouse, end, end + 1)
            end += 1
        else:
            return step


@pytest.mark.parametrize("answered", [True, False], ids=["statement not carried out", "answer lost"])
def test_a_load_stopped_at_any_statement_is_made_again_and_each_row_is_there_once(
    open_: Open, monkeypatch: pytest.MonkeyPatch, *, answered: bool
) -> None:
    steps = fail_everywhere(open_, monkeypatch, answered=answered)
    assert steps > 8
    monkeypatch.undo()
    again_opened = open_()
    for table in ("tracks", "order_completed", "identifies"):
        found = rows_of(again_opened, f"SELECT count(), uniqExact(id) FROM shop.{table}")
        assert [[10 + steps, 10 + steps]] == found
    assert [[1 + steps, 1 + steps]] == rows_of(again_opened, "SELECT count(), uniqExact(started) FROM headrace.loads")
    assert {HOUR: Books(loaded=10 + steps, duplicates=1 + steps)} == again_opened.books()
    last = 9 + steps
    expected = sorted([f"u{number % 3}", f"p{number}", number] for number in (last, last - 1, last - 2))
    assert expected == rows_of(again_opened, "SELECT id, plan, age FROM shop.users ORDER BY id")


def test_loads_made_again_leave_what_undisturbed_ones_leave(
    open_: Open, monkeypatch: pytest.MonkeyPatch, undisturbed: list[Any]
) -> None:
    for step in (2, 4, 7):
        start = {2: 0, 4: 10, 7: 20}[step]
        warehouse = open_()
        failing = Failing(monkeypatch, warehouse._session)
        failing.left = step
        with pytest.raises(Stopped):
            warehouse.commit(wide_load(start, start + 10))
        failing.left = -1
        warehouse.close()
        after = open_()
        again(after, start, start + 10)
        after.close()
    assert undisturbed == everything(open_())


def test_rows_double_without_token_and_without_looking(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same repetition, its tokens random and its tables not asked whether they have the rows."""
    original = Session.insert

    def without(self: Session, *args: Any, **more: Any) -> None:
        original(self, *args, **{**more, "token": os.urandom(8).hex()})

    begun = _clickhouse_load.Begun
    monkeypatch.setattr(Session, "insert", without)
    monkeypatch.setattr(
        _clickhouse, "Begun", lambda load, number, when, _, guard: begun(load, number, when, False, guard)
    )
    warehouse = open_()
    failing = Failing(monkeypatch, warehouse._session)
    failing.left, failing.answered = 12, False
    with pytest.raises(Stopped):
        warehouse.commit(wide_load(0, 10))
    failing.left = -1
    again(warehouse, 0, 10)
    assert [[20]] == rows_of(warehouse, "SELECT count() FROM shop.tracks")


@pytest.mark.parametrize("protection", ["token", "looking"])
def test_either_protection_alone_suffices(open_: Open, monkeypatch: pytest.MonkeyPatch, protection: str) -> None:
    original = Session.insert

    def without(self: Session, *args: Any, **more: Any) -> None:
        original(self, *args, **{**more, "token": os.urandom(8).hex()})

    begun = _clickhouse_load.Begun
    if protection == "looking":
        monkeypatch.setattr(Session, "insert", without)
    else:
        monkeypatch.setattr(
            _clickhouse, "Begun", lambda load, number, when, _, guard: begun(load, number, when, False, guard)
        )
    warehouse = open_()
    failing = Failing(monkeypatch, warehouse._session)
    failing.left, failing.answered = 12, False
    with pytest.raises(Stopped):
        warehouse.commit(wide_load(0, 10))
    failing.left = -1
    again(warehouse, 0, 10)
    assert [[10]] == rows_of(warehouse, "SELECT count() FROM shop.tracks")


def test_an_unfinished_load_is_told_and_its_rows_are_left_out_of_look_ups(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_()
    first.commit(wide_load(0, 10))
    failing = Failing(monkeypatch, first._session)
    failing.left, failing.answered = 4, False
    with pytest.raises(Stopped):
        first.commit(wide_load(10, 20))
    failing.left = -1
    first.close()
    second = open_()
    assert Position("log-1", 10) == second.position(CONSUMER, 0)
    assert Unfinished("log-1", 10, 20, at(100_020)) == second.unfinished(CONSUMER, 0)
    assert [[20]] == rows_of(second, "SELECT count() FROM shop.tracks")
    assert {"e9"} == second.existing_ids("shop", ["e9", "e10", "e19"], [(at(0), at(100))])
    assert {f"{kind}{n}" for kind in "ei" for n in range(10)} == {
        id_ for _, _, ids in second.ids_since("shop", at(0)) for id_ in ids
    }
    with pytest.raises(WarehouseUnavailableError, match=r"10 to 20.*must be ended"):
        second.commit(wide_load(10, 15))
    second.commit(wide_load(10, 20, started=at(100_020)))
    assert second.unfinished(CONSUMER, 0) is None
    assert {"e9", "e19"} == second.existing_ids("shop", ["e9", "e19"], [(at(0), at(100))])
    assert [[20]] == rows_of(second, "SELECT count() FROM shop.tracks")


def test_a_load_made_again_with_another_time_keeps_the_first_one(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = open_()
    failing = Failing(monkeypatch, warehouse._session)
    failing.left = 12
    with pytest.raises(Stopped):
        warehouse.commit(wide_load(0, 10))
    failing.left = -1
    warehouse.commit(wide_load(0, 10, started=at(777_777)))
    sql = "SELECT DISTINCT loaded_at FROM shop.{} UNION DISTINCT SELECT started FROM headrace.loads"
    for table in ("tracks", "order_completed", "identifies", "users"):
        assert 1 == len(rows_of(warehouse, sql.format(table)))


def test_two_loads_of_one_microsecond_get_times_of_their_own(open_: Open) -> None:
    warehouse = open_()
    warehouse.commit(wide_load(0, 10, started=at(5)))
    warehouse.close()
    reopened = open_()
    reopened.commit(wide_load(10, 20, started=at(5)))
    assert [[2]] == rows_of(reopened, "SELECT uniqExact(loaded_at) FROM shop.tracks")
    assert [[2]] == rows_of(reopened, "SELECT uniqExact(started) FROM headrace.loads")


def test_the_load_may_be_given_again_when_its_last_answer_was_lost(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = open_()
    warehouse.commit(tracks(0, 5, new=True))
    end = _clickhouse_house.end

    def lost(*args: Any, **more: Any) -> None:
        end(*args, **more)
        raise WarehouseUnavailableError("the answer was lost")

    monkeypatch.setattr(_clickhouse_house, "end", lost)
    with pytest.raises(WarehouseUnavailableError):
        warehouse.commit(tracks(5, 8))
    monkeypatch.undo()
    warehouse.commit(tracks(5, 8))
    assert Position("log-1", 8) == warehouse.position(CONSUMER, 0)
    assert {HOUR: Books(loaded=8)} == warehouse.books()
    assert [[8]] == rows_of(warehouse, "SELECT count() FROM shop.tracks")


def test_books_and_position_move_at_one_moment_also_before_any_merge(open_: Open) -> None:
    warehouse = open_()
    warehouse._session.run("SYSTEM STOP MERGES headrace._state")
    warehouse.commit(tracks(0, 10, new=True))
    stop, seen = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            account = warehouse.account([])
            seen.append((account.books[HOUR].loaded, account.positions[CONSUMER, 0].next))

    reader = threading.Thread(target=look)
    reader.start()
    for start in range(10, 100, 10):
        warehouse.commit(tracks(start, start + 10))
    stop.set()
    reader.join()
    assert len(set(seen)) > 2
    assert all(loaded == position for loaded, position in seen)
    assert [[100]] == rows_of(warehouse, "SELECT loaded FROM headrace.books")
    parts = "SELECT count() FROM system.parts WHERE database = 'headrace' AND table = '_state' AND active"
    assert warehouse._session.value(parts) == 10


# Two loaders.


def test_a_second_loader_is_refused_while_the_first_lives_and_is_told_who_it_is(open_: Open) -> None:
    first = open_()
    first.commit(tracks(0, 5, new=True))
    second = open_()
    told = f"{os.uname().nodename} {os.getpid()} loads into"
    with pytest.raises(WarehouseUnavailableError, match=told):
        second.position(CONSUMER, 0)
    with pytest.raises(WarehouseUnavailableError, match=told):
        second.commit(tracks(5, 8))
    first.commit(tracks(5, 8))
    first.close()
    assert Position("log-1", 8) == second.position(CONSUMER, 0)
    second.commit(tracks(8, 9))
    assert [[9]] == rows_of(second, "SELECT count() FROM shop.tracks")


def test_of_many_loaders_that_ask_at_once_never_two_hold(open_: Open) -> None:
    warehouses = [open_() for _ in range(4)]
    holding: list[int] = []
    most: list[int] = []
    stop = time.monotonic() + 60

    def ask(number: int) -> None:
        while len(most) < 12 and time.monotonic() < stop:
            try:
                warehouses[number]._lease.hold()
            except WarehouseUnavailableError:
                time.sleep(0.01 * (number + 1))
                continue
            holding.append(number)
            most.append(len(holding))
            time.sleep(0.02)
            holding.remove(number)
            warehouses[number]._lease.release()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) > 3
    assert max(most) == 1


def run_out(warehouse: ClickHouse) -> None:
    """The server's clock has passed the end of a loader's lease, and the loader does not know it: no real clock decides what a test sees."""
    lease = warehouse._lease
    lease._session.run(
        f"INSERT INTO {_clickhouse_lease.TABLE} (holder, name, state, until) "
        f"SELECT '{lease.holder}', 'a loader', 'hold', now64(6, 'UTC') - 1"
    )


def test_a_lease_that_ran_out_is_taken_by_another_and_not_renewed(open_: Open) -> None:
    clock = [0.0]
    first = open_()
    first._lease._monotonic = lambda: clock[0]
    first.commit(tracks(0, 5, new=True))
    second = open_()
    with pytest.raises(WarehouseUnavailableError):
        second.position(CONSUMER, 0)
    run_out(first)
    second.commit(tracks(5, 8))
    clock[0] = _clickhouse_lease.LEASE_SECONDS
    with pytest.raises(WarehouseUnavailableError, match="loads into"):
        first.commit(tracks(5, 9))


def test_a_loader_whose_process_has_ended_is_not_waited_for(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _clickhouse_lease.this_process()
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    gone = process._replace(number=child.pid, started="1")
    monkeypatch.setattr(_clickhouse_lease, "this_process", lambda: gone)
    ended = open_()
    ended._lease.hold()
    monkeypatch.undo()
    second = open_()
    assert second.position(CONSUMER, 0) is None
    with pytest.raises(WarehouseUnavailableError, match="no lease any more"):
        ended.commit(tracks(0, 5, new=True))


def paused_in_the_middle(
    open_: Open, monkeypatch: pytest.MonkeyPatch, *, guarded: bool, token: bool
) -> list[list[Any]]:
    """One loader stops before it sends its block; its lease runs out; another ends the same load and goes on; the first block arrives."""
    first = open_()
    first.commit(tracks(0, 5, new=True))
    original = Session.insert
    late: list[Callable[[], None]] = []

    def held_up(self: Session, into: str, select: Any, rows: Any, **more: Any) -> None:
        more["guard"] = more["guard"] if guarded else "1"
        more["token"] = more["token"] if token else os.urandom(8).hex()
        if self is first._session and "`shop`" in into:
            late.append(lambda: original(self, into, select, rows, **more))
            raise Stopped
        original(self, into, select, rows, **more)

    monkeypatch.setattr(Session, "insert", held_up)
    with pytest.raises(Stopped):
        first.commit(tracks(5, 8))
    run_out(first)
    second = open_()
    unfinished = second.unfinished(CONSUMER, 0)
    assert unfinished is not None
    second.commit(tracks(5, 8, started=unfinished.loaded_at))
    second.commit(tracks(8, 9))
    for block in late:
        try:
            block()
        except WarehouseUnavailableError:
            assert guarded
    monkeypatch.undo()
    return rows_of(second, "SELECT count(), uniqExact(id) FROM shop.tracks")


@pytest.mark.parametrize(("guarded", "token"), [(True, True), (True, False), (False, True)])
def test_a_fenced_loaders_block_that_arrives_late_doubles_nothing(
    open_: Open, monkeypatch: pytest.MonkeyPatch, *, guarded: bool, token: bool
) -> None:
    assert [[9, 9]] == paused_in_the_middle(open_, monkeypatch, guarded=guarded, token=token)


def test_a_late_block_without_guard_and_token_doubles(open_: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [[12, 9]] == paused_in_the_middle(open_, monkeypatch, guarded=False, token=False)


def test_the_statement_that_goes_over_http_is_one_that_the_engine_reads(open_: Open) -> None:
    """`input` takes rows only behind a request; that the statement is right can be seen without one."""
    warehouse = open_()
    session = warehouse._session
    sent: list[bytes] = []
    with session._source(pa.table({"c0": ["a"]}), "c0 Nullable(String)") as (source, body):
        assert body is None
        assert "file(" in source
    session.embedded = False
    session._writing = type("Client", (), {"raw_insert": lambda _, __, **more: sent.append(more["insert_block"])})()
    rows = pa.table({"id": ["a"], "at": pa.array([1], pa.timestamp("us", "UTC"))})
    session.insert("`shop`.`tracks` (`id`, `received_at`)", ["c0", "c1"], rows, token="t'1", guard="1 = 1")
    statement, _, body_ = sent[0].partition(b"\n")
    text = statement.decode().replace("\\", "\\\\").replace("'", "\\'")
    written = session.value(f"SELECT formatQuerySingleLine('{text}')")
    assert "SELECT c0, c1 FROM input('c0 Nullable(String), c1 Nullable(DateTime64(6" in written
    assert written.endswith("FORMAT ArrowStream")
    assert "insert_deduplication_token = 't\\'1'" in written
    assert rows.num_rows == pa.ipc.open_stream(body_).read_all().num_rows


# kill -9

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from engines.clickhouse import embedded
from headrace.warehouses._clickhouse import ClickHouse
from made_clickhouse import CONSUMER, again, wide_load
warehouse = ClickHouse(embedded(Path(sys.argv[1])), embedded=True)
unfinished = warehouse.unfinished(CONSUMER, 0)
position = warehouse.position(CONSUMER, 0)
start = position.next if position else 0
print("unfinished" if unfinished else "clean", flush=True)
if unfinished:
    again(warehouse, unfinished.start, unfinished.end)
    start = unfinished.end
while True:
    warehouse.commit(wide_load(start, start + 10))
    start += 10
    print(start, flush=True)
"""


def test_a_process_killed_in_the_middle_of_loads_loses_and_doubles_nothing(tmp_path: Path, open_: Open) -> None:
    told = 0
    began = []
    for round_ in range(depth(3, 6)):
        tests = Path(__file__).parent.parent
        command = [sys.executable, "-c", CHILD, str(tmp_path / "clickhouse"), str(tests)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            began.append(child.stdout.readline().strip())
            for line in child.stdout:
                told = int(line)
                if told % 30 == 0:
                    break
            time.sleep(0.013 * (round_ + 1))
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:
                told = int(line) if line.endswith("\\n") else told
    warehouse = open_()
    unfinished = warehouse.unfinished(CONSUMER, 0)
    if unfinished is not None:
        again(warehouse, unfinished.start, unfinished.end)
    position = warehouse.position(CONSUMER, 0)
    assert position is not None
    assert position.next >= told
    assert set(began) <= {"clean", "unfinished"}
    for table in ("tracks", "order_completed", "identifies"):
        found = rows_of(warehouse, f"SELECT count(), uniqExact(id) FROM shop.{table}")
        assert [[position.next, position.next]] == found
    assert {HOUR: Books(loaded=position.next, duplicates=position.next // 10)} == warehouse.books()
    assert [[position.next // 10]] == rows_of(warehouse, "SELECT count() FROM headrace.loads")


# Times, names, types.


def test_a_time_that_this_clickhouse_cannot_hold_is_refused_before_anything_is_stored(open_: Open) -> None:
    warehouse = open_()
    warehouse.commit(tracks(0, 3, new=True))
    warehouse._times = _clickhouse.NARROW
    for wrong in (datetime(1899, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2300, 1, 1, tzinfo=UTC)):
        rows = arrow(TRACK_COLUMNS, [("x", "u", wrong, at(9))])
        with pytest.raises(ValueError, match=f"shop.tracks.received_at gets the time {wrong:%Y-%m-%d}"):
            warehouse.commit(load(3, 4, {TRACKS: rows}))
    assert warehouse.unfinished(CONSUMER, 0) is None
    edges = [("a", "u", _clickhouse.NARROW[0], at(9)), ("b", "u", _clickhouse.NARROW[1], at(9))]
    warehouse.commit(load(3, 4, {TRACKS: arrow(TRACK_COLUMNS, edges)}))
    expected = [["a", "1900-01-01T00:00:00Z"], ["b", "2299-12-31T23:59:59.999999Z"]]
    assert expected == rows_of(warehouse, "SELECT id, received_at FROM shop.tracks WHERE id IN ('a', 'b') ORDER BY id")


def test_the_times_that_the_engine_says_it_holds_come_back_unchanged(open_: Open) -> None:
    warehouse = open_()
    first, last = warehouse._times
    name, columns = TableName("shop", "times"), {"id": ColumnType.STRING, "t": ColumnType.TIMESTAMP}
    rows = arrow(columns, [("a", first), ("b", last)])
    warehouse.commit(load(0, 1, {name: rows}, create={name: columns}))
    found = warehouse.arrow("SELECT t FROM shop.times ORDER BY id", max_rows=9, timeout_seconds=9)
    assert [first, last] == found.column("t").to_pylist()


def test_json_that_is_none_is_refused_before_anything_is_stored(open_: Open) -> None:
    warehouse = open_()
    warehouse.commit(tracks(0, 3, new=True))
    columns: Columns = {"id": ColumnType.STRING, "_extra": ColumnType.JSON}
    wrong = load(3, 5, {ORDERS: arrow(columns, [("x", "{no json")])}, create={ORDERS: columns})
    with pytest.raises(ValueError, match="JSON"):
        warehouse.commit(wrong)
    assert ORDERS not in warehouse.tables()


@pytest.mark.parametrize("name", ["a`b", "a\\b", "a'b", 'a"b', "a.b", "é 产品", "a\nb", "--", "/*", "{x:Int8}", "%s"])
def test_awkward_names_and_texts_come_back_unchanged(open_: Open, name: str) -> None:
    warehouse = open_()
    table = TableName("sch" + name, "t" + name)
    columns: Columns = {"id": ColumnType.STRING, name: ColumnType.STRING, "received_at": ColumnType.TIMESTAMP}
    rows = arrow(columns, [(name, name, at(0))])
    consumer = "c" + name
    tracked = TableName(table.schema, "tracks")
    create = {table: columns, tracked: columns}
    warehouse.commit(load(0, 1, {table: rows, tracked: rows}, create=create, consumer=consumer, incarnation=name))
    assert columns == warehouse.tables()[table]
    assert Position(name, 1) == warehouse.position(consumer, 0)
    values = [block.to_pylist() for block in warehouse.column_values(table, name)]
    assert [[{"id": name, "received_at": at(0), "value": name}]] == values
    assert {name} == warehouse.existing_ids(table.schema, [name, "x"], [(at(0), at(1))])
    warehouse.drop(table)
    assert table not in warehouse.tables()


def test_other_tables_of_the_server_are_none_of_headraces(open_: Open) -> None:
    warehouse = open_()
    warehouse._session.run("CREATE DATABASE others")
    warehouse._session.run("CREATE TABLE others.tracks (id String) ENGINE = MergeTree ORDER BY id")
    assert "others" not in {name.schema for name in warehouse.tables()}


def test_a_column_that_something_holds_to_its_type_is_not_widened(open_: Open) -> None:
    warehouse = open_()
    columns: Columns = {"id": ColumnType.INTEGER}  # the key, which ClickHouse never lets change
    warehouse.commit(load(0, 1, {ORDERS: arrow(columns, [(1,)])}, create={ORDERS: columns}))
    floats = arrow({"id": ColumnType.FLOAT}, [(1.5,)])
    with pytest.raises(WideningRefusedError, match=r"shop\.order_completed\.id keeps its type"):
        warehouse.commit(load(1, 2, {ORDERS: floats}, widen={ORDERS: ["id"]}))
    assert warehouse.unfinished(CONSUMER, 0) is None
    assert columns == warehouse.tables()[ORDERS]


def test_a_trait_is_widened_in_the_latest_state_too(open_: Open) -> None:
    warehouse = open_()
    warehouse.commit(wide_load(0, 10))
    floats: Columns = {**HISTORY_COLUMNS, "age": ColumnType.FLOAT}
    rows = arrow(floats, [("x", "u1", at(50), at(100_011), None, 1.5)])
    widen = {IDENTIFIES: ["age"], USERS: ["age"]}
    warehouse.commit(load(10, 11, {IDENTIFIES: rows}, widen=widen, upserts=[latest("shop", TRAITS)]))
    assert ColumnType.FLOAT is warehouse.tables()[USERS]["age"]
    expected = [["u0", "p9", 9.0], ["u1", "p7", 1.5], ["u2", "p8", 8.0]]
    assert expected == rows_of(warehouse, "SELECT id, plan, age FROM shop.users ORDER BY id")


@pytest.mark.parametrize("step", range(1, 8))
def test_a_replacement_stopped_at_any_statement_can_be_repeated(
    open_: Open, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    warehouse = open_()
    warehouse.commit(tracks(0, 5, new=True))
    new = TableName("shop", "_rebuild")
    rebuilt = arrow(TRACK_COLUMNS, [(f"e{n}", "rebuilt", at(n), at(9)) for n in (1, 2, 7)])
    warehouse.commit(load(0, 1, {new: rebuilt}, create={new: TRACK_COLUMNS}, consumer="rebuild"))
    failing = Failing(monkeypatch, warehouse._session)
    failing.left, failing.answered = step, False
    try:
        warehouse.replace(TRACKS, new)
    except Stopped:
        warehouse._tables = warehouse.tables()  # type: ignore[assignment]
        warehouse.replace(TRACKS, new)
    expected = [["e0", "u0"], ["e1", "rebuilt"], ["e2", "rebuilt"], ["e3", "u0"], ["e4", "u1"], ["e7", "rebuilt"]]
    assert expected == rows_of(warehouse, "SELECT id, user_id FROM shop.tracks ORDER BY id")
    assert new not in warehouse.tables()
    assert TRACKS in warehouse.tables()


def test_the_check_takes_every_step_and_leaves_nothing_behind(open_: Open, tmp_path: Path) -> None:
    warehouse = open_()
    found = logged_in(embedded(tmp_path / "clickhouse"), None, "headrace", embedded=True)
    assert [("login", True), ("privilege", True), ("schema", True), ("write", True)] == [(f.step, f.ok) for f in found]
    left = "SELECT count() FROM system.databases WHERE name LIKE 'headrace\\\\_check%'"
    assert warehouse._session.value(left) == 0
