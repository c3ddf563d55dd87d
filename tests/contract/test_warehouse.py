"""What every warehouse must do. An engine joins by a file in tests/engines/ with `fresh(folder)`, which gives what opens it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engines
from depth import depth
from headrace.errors import PositionError, QueryError
from headrace.warehouses.base import (
    HOUSEKEEPING,
    HOUSEKEEPING_TABLES,
    Books,
    Browsable,
    Columns,
    ColumnType,
    Hour,
    Load,
    NamedColumn,
    Position,
    Retyping,
    TableName,
    Warehouse,
)
from latest_state import (
    HISTORY_COLUMNS,
    LATEST_COLUMNS,
    TRAITS,
    Identify,
    arrivals,
    identifies,
    late_parts,
    oracle,
    users_after,
)
from made_loads import CONSUMER, HOUR, START, TRACK_COLUMNS, TRACKS, arrow, at, doubled, latest, load, rows_of, tracks

Open = Callable[[], Warehouse]

ENGINES = sorted(module.name for module in pkgutil.iter_modules(engines.__path__))
PLAYED = frozenset(("bigquery", "snowflake"))
"""Their stand-ins are slow."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reopen(engine: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the warehouse, and closes the one opened before."""
    opened: list[Warehouse] = []
    open_ = importlib.import_module(f"engines.{engine}").fresh(tmp_path)

    def again() -> Warehouse:
        while opened:
            opened.pop().close()
        opened.append(open_())
        return opened[-1]

    yield again
    while opened:
        opened.pop().close()


@pytest.fixture
def warehouse(reopen: Open) -> Warehouse:
    return reopen()


def test_a_new_warehouse_has_the_housekeeping_tables_and_no_position(warehouse: Warehouse) -> None:
    housekeeping = {TableName(HOUSEKEEPING, table): columns for table, columns in HOUSEKEEPING_TABLES.items()}
    assert housekeeping.items() <= dict(warehouse.tables()).items()
    assert warehouse.position(CONSUMER, 0) is None
    assert {} == warehouse.books()
    assert [] == list(warehouse.named_columns())
    assert warehouse.guarantee in {"transactional", "per table"}
    assert warehouse.unfinished(CONSUMER, 0) is None


def test_a_load_is_there_with_its_position_and_books(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    warehouse.commit(tracks(3, 5))
    assert Position("log-1", 5) == warehouse.position(CONSUMER, 0)
    assert {HOUR: Books(loaded=5)} == warehouse.books()
    expected = [["e0"], ["e1"], ["e2"], ["e3"], ["e4"]]
    assert expected == rows_of(warehouse, "SELECT id FROM shop.tracks ORDER BY id")


def test_everything_outlives_closing(reopen: Open) -> None:
    first = reopen()
    first.commit(tracks(0, 3, new=True))
    again = reopen()
    assert Position("log-1", 3) == again.position(CONSUMER, 0)
    assert TRACK_COLUMNS == again.tables()[TRACKS]
    assert [[3]] == rows_of(again, "SELECT count(*) FROM shop.tracks")


def test_partitions_and_consumers_have_positions_of_their_own(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    warehouse.commit(tracks(10, 12, partition=1))
    warehouse.commit(tracks(20, 21, consumer="other"))
    positions = [warehouse.position(CONSUMER, 0), warehouse.position(CONSUMER, 1), warehouse.position("other", 0)]
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
    assert Position("log-1", 3) == warehouse.position(CONSUMER, 0)
    assert [[3]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")
    assert {HOUR: Books(loaded=3)} == warehouse.books()


def test_ddl_that_another_loader_did_first_is_a_matter_of_the_position(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    with pytest.raises(PositionError):
        warehouse.commit(tracks(0, 3, new=True))


def test_a_wrong_load_stores_nothing_at_all_and_the_next_one_works(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 3, new=True))
    table = TableName("shop", "order_completed")
    columns: Columns = {"id": ColumnType.STRING, "nowhere": ColumnType.STRING}
    good = tracks(3, 5, add={TRACKS: {"plan": ColumnType.STRING}})
    rows = {**good.rows, table: arrow(columns, [("x", "there is no such column")])}
    wrong = load(3, 5, rows, create={table: {"id": ColumnType.STRING}}, add=good.add)
    with pytest.raises(ValueError, match="nowhere"):
        warehouse.commit(wrong)
    assert TRACK_COLUMNS == warehouse.tables()[TRACKS]
    assert table not in warehouse.tables()
    assert [[3]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")
    warehouse.commit(tracks(3, 5))
    assert [[5]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")


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
    found, none = rows_of(warehouse, "SELECT * FROM shop.kinds ORDER BY a_boolean NULLS LAST")
    assert [True, 2**63 - 1, 0.1, shown, 'äöü "quoted"\nline'] == found[:-1]
    assert {"a": [1, None]} == (json.loads(found[-1]) if isinstance(found[-1], str) else found[-1])
    assert [None] * 6 == none
    stored = warehouse.arrow("SELECT a_integer, a_float FROM shop.kinds", max_rows=10, timeout_seconds=10)
    assert {(2**63 - 1, 0.1), (None, None)} == set(zip(*stored.to_pydict().values(), strict=True))


def test_names_may_be_reserved_words_and_hold_quotes(warehouse: Warehouse) -> None:
    name = TableName("select", 'we"ird')
    columns: Columns = {"from": ColumnType.STRING, 'say "hi"; --': ColumnType.INTEGER}
    added: Columns = {"group": ColumnType.INTEGER}
    warehouse.commit(load(0, 1, {name: arrow(columns, [("a", 1)])}, create={name: columns}))
    both = columns | added
    warehouse.commit(load(1, 2, {name: arrow(both, [("b", 2, 3)])}, add={name: added}, widen={name: ['say "hi"; --']}))
    assert both | {'say "hi"; --': ColumnType.FLOAT} == warehouse.tables()[name]
    expected = [["a", 1.0, None], ["b", 2.0, 3]]
    assert expected == rows_of(warehouse, 'SELECT * FROM "select"."we""ird" ORDER BY 1')


def test_columns_that_a_load_does_not_bring_are_null(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 1, new=True))
    columns: Columns = {"id": ColumnType.STRING}
    warehouse.commit(load(1, 2, {TRACKS: arrow(columns, [("late",)])}))
    assert [["late", None]] == rows_of(warehouse, "SELECT id, user_id FROM shop.tracks WHERE received_at IS NULL")


def test_books_add_up_over_loads_by_source_and_hour(warehouse: Warehouse) -> None:
    later = Hour("shop", START + timedelta(hours=1))
    other = Hour("other", START)
    warehouse.commit(load(0, 1, {}, books={HOUR: Books(1, 2, 3, 4, 5), other: Books(loaded=1)}))
    warehouse.commit(load(1, 2, {}, books={HOUR: Books(10, 20, 30, 40, 50), later: Books(filtered=3)}))
    warehouse.commit(load(2, 3, {}, books={later: Books(loaded=2, filtered=-2)}))
    expected = {HOUR: Books(11, 22, 33, 44, 55), other: Books(loaded=1), later: Books(loaded=2, filtered=1)}
    assert expected == warehouse.books()


def test_an_account_tells_books_positions_discards_and_last_receipt(warehouse: Warehouse) -> None:
    assert (0, {}, {}) == (*warehouse.account(["shop"])[2:], warehouse.account([]).books)
    columns = HOUSEKEEPING_TABLES["discards"]
    discard = ("shop", "tracks", "e1", "plan", '"x"', "no number", at(1), at(2))
    warehouse.commit(tracks(0, 10, new=True))
    pages = arrow(TRACK_COLUMNS, [("p1", None, at(70), at(99))])
    of_discards = {TableName(HOUSEKEEPING, "discards"): arrow(columns, [discard])}
    name = TableName("shop", "pages")
    warehouse.commit(load(0, 4, {name: pages, **of_discards}, create={name: TRACK_COLUMNS}, partition=1))
    account = warehouse.account(["shop", "nowhere"])
    assert {HOUR: Books(loaded=10)} == account.books
    assert {(CONSUMER, 0): Position("log-1", 10), (CONSUMER, 1): Position("log-1", 4)} == account.positions
    assert (1, {"shop": at(70)}) == (account.discards, account.last_received)


def test_the_latest_rows_of_housekeeping_come_newest_first(warehouse: Warehouse) -> None:
    columns = HOUSEKEEPING_TABLES["loads"]
    for number in range(3):
        row = (CONSUMER, 0, "log-1", number, number + 1, '{"shop.tracks": 1}', 1, at(number), 0.5, "ok")
        warehouse.commit(load(number, number + 1, {TableName(HOUSEKEEPING, "loads"): arrow(columns, [row])}))
    found = warehouse.latest_rows("loads", 2)
    assert (list(columns), [2, 1]) == (found.column_names, found.column("position_from").to_pylist())
    assert {"shop.tracks": 1} == json.loads(found.column("rows")[0].as_py())
    assert warehouse.latest_rows("discards", 5).num_rows == 0


def test_tables_are_told_with_their_rows_and_the_newest_rows_come_first(warehouse: Warehouse) -> None:
    assert isinstance(warehouse, Browsable)
    warehouse.commit(tracks(0, 3, new=True))
    warehouse.commit(tracks(3, 5))
    found = warehouse.stored_tables()
    assert warehouse.tables().keys() == found.keys()
    assert (TRACK_COLUMNS, 5, True) == (found[TRACKS].columns, found[TRACKS].rows, found[TRACKS].is_exact)
    newest = warehouse.newest(TRACKS, 2, 30.0)
    assert (["e4", "e3"], False) == ([row[newest.columns.index("id")] for row in newest.rows], newest.truncated)
    assert [] == warehouse.newest(TableName(HOUSEKEEPING, "discards"), 5, 30.0).rows


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
    assert all(at(6) <= first <= last <= at(9) for first, last, _ in blocks)
    assert [] == list(warehouse.ids_since("nowhere", at(0)))


def test_ids_come_in_blocks(warehouse: Warehouse, engine: str) -> None:
    count = 110_000 if engine in PLAYED else 250_000
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


def test_a_query_tells_when_there_are_more_rows(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 10, new=True))
    answer = warehouse.query("SELECT id FROM shop.tracks ORDER BY received_at DESC", max_rows=2, timeout_seconds=10)
    assert (["id"], [["e9"], ["e8"]], True) == (answer.columns, answer.rows, answer.truncated)
    answer = warehouse.query("SELECT id FROM shop.tracks", max_rows=10, timeout_seconds=10)
    assert (10, False) == (len(answer.rows), answer.truncated)
    answer = warehouse.arrow("SELECT id FROM shop.tracks", max_rows=10, timeout_seconds=10)
    assert {f"e{number}" for number in range(10)} == set(answer.column("id").to_pylist())
    with pytest.raises(QueryError, match="more than 9 rows"):
        warehouse.arrow("SELECT id FROM shop.tracks", max_rows=9, timeout_seconds=10)


def test_a_query_that_writes_is_refused(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 1, new=True))
    for sql in ("DELETE FROM shop.tracks", "DROP SCHEMA shop CASCADE", "SELECT 1; DELETE FROM shop.tracks"):
        with pytest.raises(QueryError):
            warehouse.query(sql, max_rows=1, timeout_seconds=10)
    assert [[1]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")


def test_queries_of_other_threads_see_whole_loads_only(warehouse: Warehouse, engine: str) -> None:
    if warehouse.guarantee == "per table":
        return  # such a driver promises whole loads table by table only, and its own tests look at that
    warehouse.commit(tracks(0, 10, new=True))
    stop, torn = threading.Event(), Counter[bool]()

    def look() -> None:
        sql = 'SELECT (SELECT count(*) FROM shop.tracks), (SELECT "next" FROM headrace.offsets)'
        while not stop.is_set():
            stored, position = rows_of(warehouse, sql)[0]
            torn[stored != position] += 1

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    stands_in = engine in ("bigquery", "snowflake")  # what answers is not the engine itself, and slow
    for start in range(10, depth(80, 200) if stands_in else 200, 10):
        warehouse.commit(tracks(start, start + 10))
    stop.set()
    for reader in readers:
        reader.join()
    assert torn[False] > 0
    assert torn[True] == 0


def test_two_loaders_double_nothing(warehouse: Warehouse) -> None:
    assert doubled(warehouse) == 0


# The latest state: exact for any order of arrival and any split into loads, and the control without recomputation.


def test_the_latest_state_does_not_depend_on_the_order_of_arrival(warehouse: Warehouse, engine: str) -> None:
    """Engines other than DuckDB are slower at it, and get fewer examples in the suite."""

    @settings(max_examples=25 if engine == "duckdb" else depth(8, 25), deadline=None)
    @given(events=identifies, data=st.data())
    def is_that_of_the_oracle(events: list[Identify], data: st.DataObject) -> None:
        order = data.draw(st.permutations(range(len(events))))
        parts = arrivals(events, order, data.draw(st.lists(st.integers(1, 11), max_size=4)))
        assert oracle(parts) == users_after(warehouse, parts)

    is_that_of_the_oracle()


def test_late_and_simultaneous_rows_do_not_overwrite_newer_values(warehouse: Warehouse) -> None:
    parts = late_parts()
    expected = [["u1", "2026-03-01T12:00:03Z", "pro", 9], ["u2", "2026-03-01T12:00:00Z", "free", 1]]
    assert expected == oracle(parts)
    assert expected == users_after(warehouse, parts)


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
    assert expected == rows_of(warehouse, "SELECT id, plan, age, city, loaded_at FROM shop.users ORDER BY id")


# Changing what is there.


def test_a_column_can_be_read_and_get_another_type(warehouse: Warehouse) -> None:
    name: TableName = TableName("shop", "order_completed")
    columns: Columns = {**TRACK_COLUMNS, "revenue": ColumnType.STRING}
    values = [(f"o{number}", "u", at(number), at(50), text) for number, text in enumerate(["1.5", "free", None, "2"])]
    discards = TableName(HOUSEKEEPING, "discards")
    old = [("shop", "order_completed", "o2", "revenue", "7", "no text", at(2), at(50))]
    others = [("shop", "tracks", "o2", "revenue", "7", "no text", at(2), at(50))]
    named = [("shop", "order_completed", "revenue", "revenue", "string", START, START)]
    rows = {
        name: arrow(columns, values),
        discards: arrow(HOUSEKEEPING_TABLES["discards"], old + others),
        TableName(HOUSEKEEPING, "columns"): arrow(HOUSEKEEPING_TABLES["columns"], named),
    }
    warehouse.commit(load(0, 4, rows, create={name: columns}))
    blocks = list(warehouse.column_values(name, "revenue"))
    assert {("o0", at(0), "1.5"), ("o1", at(1), "free"), ("o3", at(3), "2")} == {
        row for block in blocks for row in zip(*block.to_pydict().values(), strict=True)
    }
    kept = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.FLOAT}
    new = [arrow(kept, [("o0", at(0), 1.5), ("o3", at(3), 2.0)]), arrow(kept, [("o2", at(2), 7.0)])]
    kept_out = [("shop", "order_completed", "o1", "revenue", '"free"', "text is no float", at(1), at(60))]
    out = arrow(HOUSEKEEPING_TABLES["discards"], kept_out)
    warehouse.retype(Retyping(name, "revenue", ColumnType.FLOAT, new, out))
    assert ColumnType.FLOAT is warehouse.tables()[name]["revenue"]
    expected = [["o0", 1.5], ["o1", None], ["o2", 7.0], ["o3", 2.0]]
    assert expected == rows_of(warehouse, "SELECT id, revenue FROM shop.order_completed ORDER BY id")
    found = warehouse.latest_rows("discards", 10).select(["table", "row_id", "value"]).to_pylist()
    assert {("order_completed", "o1", '"free"'), ("tracks", "o2", "7")} == {tuple(row.values()) for row in found}
    assert ["float"] == [column.type for column in warehouse.named_columns()]
    later = arrow({"id": ColumnType.STRING, "revenue": ColumnType.FLOAT}, [("o4", 3.5)])
    warehouse.commit(load(4, 5, {name: later}))
    assert [[14.0]] == rows_of(warehouse, "SELECT sum(revenue) FROM shop.order_completed")


def test_a_retyped_trait_is_retyped_in_the_latest_state_too(warehouse: Warehouse) -> None:
    history, users = TableName("shop", "identifies"), TableName("shop", "users")
    traits = [("a", "u1", at(1), START, "7", 1), ("b", "u1", at(2), START, None, 2), ("c", "u2", at(3), START, "x", 3)]
    create = {history: HISTORY_COLUMNS, users: LATEST_COLUMNS}
    upserts = [latest("shop", TRAITS)]
    warehouse.commit(load(0, 3, {history: arrow(HISTORY_COLUMNS, traits)}, create=create, upserts=upserts))
    kept = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.INTEGER}
    new = [arrow(kept, [("a", at(1), 7)])]
    none = arrow(HOUSEKEEPING_TABLES["discards"], [])
    of_plan = latest("shop", {"plan": ColumnType.INTEGER})
    warehouse.retype(Retyping(history, "plan", ColumnType.INTEGER, new, none, of_plan))
    assert ColumnType.INTEGER is warehouse.tables()[users]["plan"]
    expected = [["u1", 7, 2], ["u2", None, 3]]
    assert expected == rows_of(warehouse, "SELECT id, plan, age FROM shop.users ORDER BY id")


def test_a_table_is_replaced_and_keeps_the_rows_that_only_the_old_one_has(warehouse: Warehouse) -> None:
    warehouse.commit(tracks(0, 5, new=True, add={}))
    new = TableName("shop", "_rebuild_0123abcd")
    columns: Columns = {**TRACK_COLUMNS, "plan": ColumnType.STRING}
    rebuilt = [(f"e{number}", "rebuilt", at(number), at(9), "pro") for number in (1, 2, 7)]
    warehouse.commit(load(0, 1, {new: arrow(columns, rebuilt)}, create={new: columns}, consumer="rebuild shop"))
    assert warehouse.replace(TRACKS, new) == 3
    assert new not in warehouse.tables()
    assert columns == warehouse.tables()[TRACKS]
    expected = [["e0", "u0", None], ["e1", "rebuilt", "pro"], ["e2", "rebuilt", "pro"], ["e3", "u0", None]]
    expected += [["e4", "u1", None], ["e7", "rebuilt", "pro"]]
    assert expected == rows_of(warehouse, "SELECT id, user_id, plan FROM shop.tracks ORDER BY id")
    warehouse.commit(tracks(5, 6))
    assert [[7]] == rows_of(warehouse, "SELECT count(*) FROM shop.tracks")


def test_a_table_can_take_a_place_that_is_free_and_can_be_dropped(warehouse: Warehouse) -> None:
    new = TableName("shop", "_rebuild_0123abcd")
    rows = arrow(TRACK_COLUMNS, [("e1", "u", at(1), at(9))])
    warehouse.commit(load(0, 1, {new: rows}, create={new: TRACK_COLUMNS}, consumer="rebuild shop"))
    assert warehouse.replace(TRACKS, new) == 0
    assert [["e1"]] == rows_of(warehouse, "SELECT id FROM shop.tracks")
    warehouse.commit(load(1, 2, {new: rows}, create={new: TRACK_COLUMNS}, consumer="rebuild shop"))
    warehouse.drop(new)
    warehouse.drop(new)
    assert new not in warehouse.tables()


def test_the_latest_state_can_be_computed_anew(warehouse: Warehouse) -> None:
    history, users = TableName("shop", "identifies"), TableName("shop", "users")
    create = {history: HISTORY_COLUMNS, users: LATEST_COLUMNS}
    parts = [row for part in late_parts() for row in part]
    warehouse.commit(load(0, 3, {history: arrow(HISTORY_COLUMNS, parts)}, create=create))
    warehouse.recompute(latest("shop", TRAITS))
    warehouse.recompute(latest("shop", TRAITS))
    found = rows_of(warehouse, "SELECT id, received_at, plan, age FROM shop.users ORDER BY id")
    assert oracle([parts]) == found
