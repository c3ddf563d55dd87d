"""What every warehouse of the guarantee "transactional" must do."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.config import WarehouseConfig
from headrace.errors import PositionError, QueryError
from headrace.warehouses import _duckdb_latest, _duckdb_load
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Books,
    Columns,
    ColumnType,
    Load,
    NamedColumn,
    Position,
    TableName,
    Warehouse,
)
from headrace.warehouses._duckdb import DuckDB
from made_loads import START, TRACK_COLUMNS, TRACKS, arrow, at, latest, load, tracks

Open = Callable[[], Warehouse]


def duckdb_at(folder: Path) -> Warehouse:
    return DuckDB(folder / "warehouse.duckdb", WarehouseConfig(memory_bytes=128_000_000))


DRIVERS = {"duckdb": duckdb_at}


@pytest.fixture(params=sorted(DRIVERS))
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the warehouse, and closes the one opened before."""
    opened: list[Warehouse] = []

    def again() -> Warehouse:
        for warehouse in opened:
            warehouse.close()
        opened.append(DRIVERS[request.param](tmp_path))
        return opened[-1]

    yield again
    for warehouse in opened:
        warehouse.close()


@pytest.fixture
def warehouse(reopen: Open) -> Warehouse:
    return reopen()


def rows(warehouse: Warehouse, sql: str) -> list[list[Any]]:
    return [list(row) for row in warehouse.query(sql, max_rows=100_000, timeout_seconds=30).rows]


def test_a_new_warehouse_has_the_housekeeping_tables_and_no_position(warehouse: Warehouse) -> None:
    housekeeping = {TableName(HOUSEKEEPING, table): columns for table, columns in HOUSEKEEPING_TABLES.items()}
    assert housekeeping == dict(warehouse.tables())
    assert warehouse.position("duckdb", 0) is None
    assert {} == warehouse.books()
    assert [] == list(warehouse.named_columns())
    assert warehouse.guarantee == "transactional"


def test_a_load_is_there_with_its_position_and_books(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    warehouse.commit(tracks(3, 5))
    assert Position("log-1", 5) == warehouse.position("duckdb", 0)
    assert {"shop": Books(loaded=5)} == warehouse.books()
    expected = [["e0"], ["e1"], ["e2"], ["e3"], ["e4"]]
    assert expected == rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id")


def test_everything_outlives_closing(reopen: Open) -> None:
    first = reopen()
    first.commit(tracks(0, 3, new=True))
    again = reopen()
    assert Position("log-1", 3) == again.position("duckdb", 0)
    assert TRACK_COLUMNS == again.tables()[TRACKS]
    assert [[3]] == rows(again, "SELECT count(*) FROM shop.tracks")


def test_partitions_and_consumers_have_positions_of_their_own(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    warehouse.commit(tracks(10, 12, partition=1))
    warehouse.commit(tracks(20, 21, consumer="other"))
    positions = [warehouse.position("duckdb", 0), warehouse.position("duckdb", 1), warehouse.position("other", 0)]
    assert [Position("log-1", 3), Position("log-1", 12), Position("log-1", 21)] == positions


@pytest.mark.parametrize(
    "stale",
    [tracks(0, 3), tracks(2, 6), tracks(4, 6), tracks(3, 6, incarnation="log-2")],
    ids=["repeated", "overlapping", "ahead", "another log's"],
)
def test_a_load_from_another_position_fails_and_stores_nothing(warehouse: Warehouse, stale: Load) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    with pytest.raises(PositionError):
        warehouse.commit(stale)
    assert Position("log-1", 3) == warehouse.position("duckdb", 0)
    assert [[3]] == rows(warehouse, "SELECT count(*) FROM shop.tracks")
    assert {"shop": Books(loaded=3)} == warehouse.books()


def test_ddl_that_another_loader_did_first_is_a_matter_of_the_position(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    with pytest.raises(PositionError):
        warehouse.commit(tracks(0, 3, new=True))


def test_a_wrong_load_stores_nothing_at_all_and_the_next_one_works(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    table = TableName("shop", "order_completed")
    columns: Columns = {"id": ColumnType.STRING, "_extra": ColumnType.JSON}
    wrong = tracks(3, 5, add={TRACKS: {"plan": ColumnType.STRING}})
    wrong = load(
        3, 5, {**wrong.rows, table: arrow(columns, [("x", "{no json")])}, create={table: columns}, add=wrong.add
    )
    with pytest.raises(ValueError, match=r"(?i)json"):
        warehouse.commit(wrong)
    assert TRACK_COLUMNS == warehouse.tables()[TRACKS]
    assert table not in warehouse.tables()
    assert [[3]] == rows(warehouse, "SELECT count(*) FROM shop.tracks")
    warehouse.commit(tracks(3, 5))
    assert [[5]] == rows(warehouse, "SELECT count(*) FROM shop.tracks")


def test_a_load_that_does_not_move_the_position_is_wrong(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="moves the position"):
        warehouse.commit(tracks(0, 0, new=True))


def test_every_type_comes_back_as_it_went_in(warehouse: Warehouse) -> None:
    columns: Columns = {f"a_{type_.value}": type_ for type_ in ColumnType}
    name = TableName("shop", "kinds")
    moment = datetime.fromisoformat("2026-03-29T01:59:59.123456+00:00")
    values = [
        (True, 2**63 - 1, 0.1, moment, 'äöü "quoted"\nline', '{"a":[1,null]}'),
        (None, None, None, None, None, None),
    ]
    warehouse.commit(load(0, 1, {name: arrow(columns, values)}, create={name: columns}))
    assert columns == warehouse.tables()[name]
    shown = "2026-03-29T01:59:59.123456Z"
    expected = [[True, 2**63 - 1, 0.1, shown, 'äöü "quoted"\nline', '{"a":[1,null]}'], [None] * 6]
    assert expected == rows(warehouse, "SELECT * FROM shop.kinds")


def test_names_may_be_reserved_words_and_hold_quotes(warehouse: Warehouse) -> None:
    name = TableName("select", 'we"ird')
    columns: Columns = {"from": ColumnType.STRING, 'say "hi"; --': ColumnType.INTEGER}
    added: Columns = {"group": ColumnType.INTEGER}
    warehouse.commit(load(0, 1, {name: arrow(columns, [("a", 1)])}, create={name: columns}))
    both = columns | added
    warehouse.commit(load(1, 2, {name: arrow(both, [("b", 2, 3)])}, add={name: added}, widen={name: ['say "hi"; --']}))
    assert both | {'say "hi"; --': ColumnType.FLOAT} == warehouse.tables()[name]
    expected = [["a", 1.0, None], ["b", 2.0, 3]]
    assert expected == rows(warehouse, 'SELECT * FROM "select"."we""ird" ORDER BY 1')


def test_columns_that_a_load_does_not_bring_are_null(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 1, new=True))
    columns: Columns = {"id": ColumnType.STRING}
    warehouse.commit(load(1, 2, {TRACKS: arrow(columns, [("late",)])}))
    assert [["late", None]] == rows(warehouse, "SELECT id, user_id FROM shop.tracks WHERE received_at IS NULL")


def test_books_add_up_over_loads(warehouse: Warehouse) -> None:
    warehouse.commit(load(0, 1, {}, books={"a": Books(1, 2, 3, 4, 5), "b": Books(loaded=1)}))
    warehouse.commit(load(1, 2, {}, books={"a": Books(10, 20, 30, 40, 50)}))
    assert {"a": Books(11, 22, 33, 44, 55), "b": Books(loaded=1)} == warehouse.books()


def test_seen_columns_are_touched_but_never_backwards(warehouse: Warehouse) -> None:
    named = TableName(HOUSEKEEPING, "columns")
    new = [("shop", "tracks", column, column.upper(), "string", START, START) for column in ("a", "b")]
    warehouse.commit(load(0, 1, {named: arrow(HOUSEKEEPING_TABLES["columns"], new)}))
    warehouse.commit(load(1, 2, {}, touched=[("shop", "tracks", "a")], started=at(60)))
    warehouse.commit(load(2, 3, {}, touched=[("shop", "tracks", "a"), ("shop", "other", "b")], started=at(30)))
    expected = [
        NamedColumn("shop", "tracks", "a", "A", "string", START, at(60)),
        NamedColumn("shop", "tracks", "b", "B", "string", START, START),
    ]
    assert expected == list(warehouse.named_columns())


def test_ids_are_listed_since_a_moment_from_every_table_of_history(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 10, new=True))
    pages, other = TableName("shop", "pages"), TableName("other", "tracks")
    page = arrow(TRACK_COLUMNS, [("p1", None, at(7), at(9)), ("p2", None, at(1), at(9))])
    create = dict.fromkeys((pages, other, TableName("shop", "opened")), TRACK_COLUMNS)
    warehouse.commit(load(10, 12, {pages: page, other: page, TableName("shop", "opened"): page}, create=create))
    blocks = list(warehouse.ids_since("shop", at(6)))
    assert {"e6", "e7", "e8", "e9", "p1"} == {id_ for _, _, ids in blocks for id_ in ids}
    assert [(at(6), at(9)), (at(7), at(7))] == [(first, last) for first, last, _ in blocks]
    assert [] == list(warehouse.ids_since("nowhere", at(0)))


def test_ids_come_in_blocks(warehouse: Warehouse) -> None:
    count = 250_000
    ids = pa.array([f"e{number}" for number in range(count)])
    moments = pa.array([at(0)] * count, pa.timestamp("us", tz="UTC"))
    table = pa.table({"id": ids, "received_at": moments})
    warehouse.commit(load(0, count, {TRACKS: table}, create={TRACKS: TRACK_COLUMNS}))
    sizes = [len(ids) for _, _, ids in warehouse.ids_since("shop", at(0))]
    assert (count, True) == (sum(sizes), max(sizes) <= 100_000)


def test_existing_ids_are_found_within_the_spans_only(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 10, new=True))
    wanted = ["e1", "e2", "e5", "e9", "no such"]
    assert {"e1", "e9"} == warehouse.existing_ids("shop", wanted, [(at(0), at(1)), (at(9), at(20))])
    assert {"e1", "e2", "e5"} == warehouse.existing_ids("shop", wanted, [(at(0), at(3)), (at(2), at(5))])
    assert set() == warehouse.existing_ids("shop", wanted, [])
    assert set() == warehouse.existing_ids("shop", [], [(at(0), at(9))])
    assert set() == warehouse.existing_ids("nowhere", wanted, [(at(0), at(9))])


def test_rejected_ids_are_those_of_the_loader_and_the_source(warehouse: Warehouse) -> None:
    columns = HOUSEKEEPING_TABLES["rejected"]
    stored = [
        ("shop", "a", "loader", "x", "x", "{}", 1, START, START),
        ("shop", "b", "collector", "x", "x", "{}", 1, START, START),
        ("other", "c", "loader", "x", "x", "{}", 1, START, START),
    ]
    warehouse.commit(load(0, 3, {TableName(HOUSEKEEPING, "rejected"): arrow(columns, stored)}))
    assert {"a"} == warehouse.rejected_ids("shop", ["a", "b", "c", "d"])
    assert set() == warehouse.rejected_ids("shop", [])


def test_integers_within_a_bound_are_told_before_a_column_is_widened(warehouse: Warehouse) -> None:
    name, columns = TableName("shop", "numbers"), {"n": ColumnType.INTEGER, "none": ColumnType.INTEGER}
    warehouse.commit(load(0, 1, {name: arrow(columns, [(-(2**53), None), (5, None)])}, create={name: columns}))
    answers = [warehouse.integers_within(name, "n", bound) for bound in (2**53, 2**53 - 1)]
    assert [True, False] == answers
    assert warehouse.integers_within(name, "none", 0)


def test_a_checkpoint_folds_the_journal_in(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 5_000, new=True))
    assert warehouse.journal_bytes() > 0
    assert warehouse.checkpoint(force=True)
    assert warehouse.journal_bytes() == 0
    assert not warehouse.checkpoint(force=True)
    assert [[5_000]] == rows(warehouse, "SELECT count(*) FROM shop.tracks")


def test_a_query_tells_when_there_are_more_rows(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 10, new=True))
    answer = warehouse.query("SELECT id FROM shop.tracks ORDER BY received_at DESC", max_rows=2, timeout_seconds=10)
    assert (["id"], [["e9"], ["e8"]], True) == (answer.columns, answer.rows, answer.truncated)
    answer = warehouse.query("SELECT id FROM shop.tracks", max_rows=10, timeout_seconds=10)
    assert (10, False) == (len(answer.rows), answer.truncated)


def test_a_query_that_writes_is_refused(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 1, new=True))
    for sql in ("DELETE FROM shop.tracks", "DROP SCHEMA shop CASCADE", "SELECT 1; DELETE FROM shop.tracks"):
        with pytest.raises(QueryError):
            warehouse.query(sql, max_rows=1, timeout_seconds=10)
    assert [[1]] == rows(warehouse, "SELECT count(*) FROM shop.tracks")


def test_queries_of_other_threads_see_whole_loads_only(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 10, new=True))
    stop, torn = threading.Event(), Counter[bool]()

    def look() -> None:
        sql = 'SELECT (SELECT count(*) FROM shop.tracks), (SELECT "next" FROM headrace.offsets)'
        while not stop.is_set():
            stored, position = rows(warehouse, sql)[0]
            torn[stored != position] += 1

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for start in range(10, 400, 10):
        warehouse.commit(tracks(start, start + 10))
    stop.set()
    for reader in readers:
        reader.join()
    assert torn[False] > 0
    assert torn[True] == 0


# Two loaders on one warehouse: the compare-and-set, and the control without it.


def doubled(warehouse: Warehouse) -> int:
    """Two loaders read the same log from the same position; each believes what it read last. Returns rows too many."""
    warehouse.commit(tracks(0, 5, new=True))
    positions = [5, 5]
    for loader, size in zip(itertools.cycle((0, 1)), (10, 7, 3, 20, 5, 5), strict=False):
        start = positions[loader]
        try:
            warehouse.commit(tracks(start, start + size))
            positions[loader] = start + size
        except PositionError:
            stored = warehouse.position("duckdb", 0)
            assert stored is not None
            positions[loader] = stored.next
    return sum(count - 1 for _, count in rows(warehouse, "SELECT id, count(*) FROM shop.tracks GROUP BY id"))


def test_two_loaders_double_nothing(warehouse: Warehouse) -> None:
    assert doubled(warehouse) == 0


def test_two_loaders_double_rows_without_the_compare_and_set(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blindly(cursor: Any, load: Load) -> None:
        if _duckdb_load.position(cursor, load.consumer, load.partition) is None:
            cursor.execute("INSERT INTO headrace.offsets VALUES (?, ?, ?, ?)", [*load_key(load), load.end])
        cursor.execute('UPDATE headrace.offsets SET "next" = ?', [load.end])

    monkeypatch.setattr(_duckdb_load, "move", blindly)
    assert doubled(warehouse) > 0


def load_key(load: Load) -> tuple[str, int, str]:
    return load.consumer, load.partition, load.incarnation


# The latest state: exact for any order of arrival and any split into loads, and the control without recomputation.

HISTORY_COLUMNS: Columns = {
    "id": ColumnType.STRING,
    "user_id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
    "plan": ColumnType.STRING,
    "age": ColumnType.INTEGER,
}
TRAITS: Columns = {"plan": ColumnType.STRING, "age": ColumnType.INTEGER}
LATEST_COLUMNS: Columns = {
    "id": ColumnType.STRING,
    "received_at": ColumnType.TIMESTAMP,
    "loaded_at": ColumnType.TIMESTAMP,
    **TRAITS,
}
Identify = tuple[str | None, int, str | None, int | None]
SCHEMAS = itertools.count()

identifies = st.lists(
    st.tuples(
        st.sampled_from(["u1", "u2", "ü3", None]),
        st.integers(0, 4),
        st.sampled_from(["free", "pro", None]),
        st.sampled_from([1, 2, None]),
    ),
    min_size=1,
    max_size=12,
)


def arrivals(events: Sequence[Identify], order: Sequence[int], cuts: Sequence[int]) -> list[list[tuple[Any, ...]]]:
    """Rows of identifies, in an order of arrival, cut into loads. Ids sort otherwise than they arrive."""
    ids = [f"{(number * 7) % 12:02}-é" for number in range(len(events))]
    rows_ = [
        (id_, user, at(second), START, plan, age) for id_, (user, second, plan, age) in zip(ids, events, strict=True)
    ]
    arrived = [rows_[place] for place in order]
    edges = [0, *sorted({cut for cut in cuts if cut < len(arrived)}), len(arrived)]
    return [part for first, last in itertools.pairwise(edges) if (part := arrived[first:last])]


def oracle(parts: Sequence[Sequence[tuple[Any, ...]]]) -> list[list[Any]]:
    """The rows of users by the specification alone."""
    users: dict[str, list[Any]] = {}
    for _, user, received_at, _, plan, age in sorted(
        (row for part in parts for row in part), key=lambda r: (r[2], r[0])
    ):
        if user is not None:
            row = users.setdefault(user, [user, None, None, None])
            row[1] = received_at.strftime("%Y-%m-%dT%H:%M:%SZ")
            row[2] = row[2] if plan is None else plan
            row[3] = row[3] if age is None else age
    return [users[user] for user in sorted(users)]


def users_after(warehouse: Warehouse, parts: Sequence[Sequence[tuple[Any, ...]]]) -> list[list[Any]]:
    schema = f"s{next(SCHEMAS)}"
    history, users = TableName(schema, "identifies"), TableName(schema, "users")
    for number, part in enumerate(parts):
        create = {history: HISTORY_COLUMNS, users: LATEST_COLUMNS} if number == 0 else {}
        arrived = arrow(HISTORY_COLUMNS, part)
        upserts = [latest(schema, TRAITS)]
        warehouse.commit(load(number, number + 1, {history: arrived}, create=create, upserts=upserts, consumer=schema))
    return rows(warehouse, f"SELECT id, received_at, plan, age FROM {schema}.users ORDER BY id")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=identifies, data=st.data())
def test_the_latest_state_does_not_depend_on_the_order_of_arrival(
    warehouse: Warehouse, events: list[Identify], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(events))))
    parts = arrivals(events, order, data.draw(st.lists(st.integers(1, 11), max_size=4)))
    assert oracle(parts) == users_after(warehouse, parts)


LATE_ARRIVALS: list[list[Identify]] = [
    [("u1", 3, "pro", None)],
    [("u1", 1, "free", 7)],
    [("u1", 3, None, 9), ("u2", 0, "free", 1)],
    [("u2", 0, "pro", None)],
]


def late_parts() -> list[list[tuple[Any, ...]]]:
    numbers = itertools.count(90, -1)
    return [
        [(f"{next(numbers)}", user, at(second), START, plan, age) for user, second, plan, age in part]
        for part in LATE_ARRIVALS
    ]


def test_late_and_simultaneous_rows_do_not_overwrite_newer_values(warehouse: Warehouse) -> None:
    parts = late_parts()
    expected = [["u1", "2026-03-01T12:00:03Z", "pro", 9], ["u2", "2026-03-01T12:00:00Z", "free", 1]]
    assert expected == oracle(parts)
    assert expected == users_after(warehouse, parts)


def test_late_rows_overwrite_newer_values_without_recomputation(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb_latest, "late_keys", lambda *_: [])
    parts = late_parts()
    assert oracle(parts) != users_after(warehouse, parts)


def test_latest_state_keeps_columns_that_a_load_does_not_bring(warehouse: Warehouse) -> None:
    history, users = TableName("shop", "identifies"), TableName("shop", "users")
    first = arrow(HISTORY_COLUMNS, [("a", "u1", at(5), START, "pro", 30)])
    create = {history: HISTORY_COLUMNS, users: LATEST_COLUMNS}
    warehouse.commit(load(0, 1, {history: first}, create=create, upserts=[latest("shop", TRAITS)]))
    some = {name: type_ for name, type_ in HISTORY_COLUMNS.items() if name != "plan"}
    city: Columns = {"city": ColumnType.STRING}
    late = arrow({**some, **city}, [("b", "u1", at(1), at(9), 20, "Gent"), ("c", "u2", at(1), at(9), 40, None)])
    added = {history: city, users: city}
    upserts = [latest("shop", {"age": ColumnType.INTEGER, **city})]
    warehouse.commit(load(1, 2, {history: late}, add=added, upserts=upserts))
    expected = [["u1", "pro", 30, "Gent", "2026-03-01T12:00:09Z"], ["u2", None, 40, None, "2026-03-01T12:00:09Z"]]
    assert expected == rows(warehouse, "SELECT id, plan, age, city, loaded_at FROM shop.users ORDER BY id")
