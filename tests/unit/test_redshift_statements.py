"""Redshift's SQL, compared with what was written down: there is no Redshift here to ask."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.warehouses import _statements
from headrace.warehouses._dialect import Dialect, Relation
from headrace.warehouses._postgresql_dialect import PostgreSQLDialect
from headrace.warehouses._redshift import STATEMENT_CELLS, RedshiftDialect
from headrace.warehouses.base import HOUSEKEEPING, HOUSEKEEPING_TABLES, Columns, ColumnType, TableName
from headrace.warehouses.redshift import RedshiftKind
from made_loads import HOUR, START, TRACK_COLUMNS, TRACKS, arrow, at, latest, tracks

TRAITS: Columns = {"plan": ColumnType.STRING, "2fa_enabled": ColumnType.BOOLEAN}
USERS = TableName("shop", "users")


def steps(dialect: Dialect) -> dict[str, list[str]]:
    """The statements of every step, by its name."""
    history = TableName("shop", "identifies")
    columns: Columns = {**TRACK_COLUMNS, **TRAITS, "_extra": ColumnType.JSON}
    row = ("e1", "u'1\\", START, START, "pro", True, '{"a":1}')
    rows = dialect.inline(columns, [row, (None,) * len(row)])
    load = tracks(3, 5, touched=[("shop", "tracks", "plan")])
    users = latest("shop", TRAITS)
    housekeeping = {TableName(HOUSEKEEPING, "offsets"): HOUSEKEEPING_TABLES["offsets"]}
    staged = Relation('(SELECT "id" FROM "headrace_load_1" AS brought)', {"id": ColumnType.STRING})
    late = dialect.inline({"the key": ColumnType.STRING}, [("u1",)])
    values = dialect.inline(
        {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.FLOAT}, [("e1", START, 1.5)]
    )
    return {
        "tables": [dialect.tables()],
        "create": _statements.create(dialect, {**housekeeping, history: columns}, {TRACKS: TRAITS}),
        "widen": dialect.widen(TRACKS, "count"),
        "empty as another type": dialect.empty_as(TRACKS, "count", ColumnType.STRING),
        "position": [
            *dialect.lock_position(),
            _statements.move(dialect, load),
            _statements.position(dialect, load.consumer, load.partition),
            _statements.first_position(dialect, load),
        ],
        "rows": [_statements.insert(dialect, history, rows)],
        "late keys": [_statements.late_keys(dialect, users, rows)],
        "latest state": _statements.upsert(dialect, users, rows, None, at(9)),
        "latest state with late keys": _statements.upsert(dialect, users, rows, late, at(9)),
        "recompute": _statements.recompute(dialect, users),
        "books": _statements.add_books(dialect, {HOUR: load.books[HOUR]}),
        "touched": _statements.touch(dialect, load, at(1)),
        "ids since": [_statements.ids_since(dialect, TRACKS, START)],
        "existing ids": [
            _statements.existing_ids(dialect, [TRACKS, history], ["e1", "e'2"], [(at(0), at(5)), (at(3), at(9))]),
            _statements.existing_ids(dialect, [TRACKS], staged, [(at(0), at(5))]),
        ],
        "rejected ids": [_statements.rejected_ids(dialect, "shop", ["e1"])],
        "account": [_statements.account(dialect, {"shop": [TRACKS]})],
        "retype": [
            *_statements.set_values(dialect, TRACKS, "count", values),
            _statements.forget_discards(dialect, TRACKS, "count"),
            _statements.learn_type(dialect, TRACKS, "count", ColumnType.FLOAT),
            *_statements.latest_column(dialect, users, "plan"),
        ],
        "replace": [
            _statements.add_missing(
                dialect,
                TRACKS,
                TableName("shop", "_rebuild_1"),
                TRACK_COLUMNS,
                {**TRACK_COLUMNS, "received_at": ColumnType.STRING},
            ),
            *dialect.put_in_place(TRACKS, TableName("shop", "_rebuild_1"), is_there=True),
        ],
    }


def shown(dialect: Dialect) -> str:
    parts = [f"-- {step}\n" + "".join(f"{statement};\n" for statement in said) for step, said in steps(dialect).items()]
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("redshift", RedshiftDialect()), ("postgresql", PostgreSQLDialect())],
    ids=["redshift", "postgresql"],
)
def test_the_statements_are_those_written_down(cases: Path, name: str, dialect: Dialect) -> None:
    """After a change that is meant: HEADRACE_WRITE_CASES=1 pytest tests/unit/test_redshift_statements.py, and read the difference."""
    written = cases / "statements" / f"{name}.sql"
    if os.environ.get("HEADRACE_WRITE_CASES"):
        written.parent.mkdir(exist_ok=True)
        written.write_text(shown(dialect))
    assert written.read_text() == shown(dialect)


def test_redshift_is_told_nothing_that_it_does_not_know() -> None:
    said = shown(RedshiftDialect()).lower()
    unknown = [
        "merge into",
        "returning",
        "jsonb",
        "array_agg",
        "filter (",
        "(values",
        "create index",
        "collate",
        " text",
    ]
    assert [] == [word for word in unknown if word in said]
    # The control: PostgreSQL's own has them.
    assert {"merge into", "jsonb", "array_agg", "collate"} <= {
        word for word in unknown if word in shown(PostgreSQLDialect()).lower()
    }


def test_each_added_column_is_a_statement_of_its_own() -> None:
    assert all(said.count("ADD COLUMN") == 1 for said in RedshiftDialect().add_columns(TRACKS, TRAITS))
    assert len(RedshiftDialect().add_columns(TRACKS, TRAITS)) == len(TRAITS)


def test_staged_rows_are_inserted_in_statements_of_bounded_size() -> None:
    rows = pa.concat_tables([arrow({"id": ColumnType.STRING, "n": ColumnType.INTEGER}, [("it's \\", 1)])] * 25_000)
    create, *inserts = RedshiftDialect().staged("load", rows.combine_chunks())
    assert create == 'CREATE TEMPORARY TABLE "load" ("id" varchar(65535), "n" bigint)'
    assert [STATEMENT_CELLS // 2, STATEMENT_CELLS // 2, 25_000 - STATEMENT_CELLS] == [
        said.count("('it") for said in inserts
    ]
    assert inserts[0].startswith("""INSERT INTO "load" VALUES ('it''s \\\\', '1'), """)


def test_a_text_that_redshift_would_cut_is_refused() -> None:
    dialect, longest = RedshiftDialect(), "é" * (65_535 // 2) + "x"
    for text, is_stored in ((longest, True), (longest + "x", False)):
        column = pa.chunked_array([[text, None]])
        if is_stored:
            assert column == dialect.storable(column, ColumnType.STRING)
        else:
            with pytest.raises(ValueError, match="65536 bytes is longer"):
                dialect.storable(column, ColumnType.STRING)


def test_the_kind_says_that_it_was_not_tried() -> None:
    assert "not yet tried on a live Redshift" in RedshiftKind.tried
