"""The statements of one load and of the look-ups, as Snowflake and BigQuery get them: written down in tests/cases/statements-*.sql, and each
parsed in the engine's grammar. HEADRACE_WRITE_CASES=1 writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from headrace.warehouses import _statements
from headrace.warehouses._bigquery_dialect import BigQueryDialect
from headrace.warehouses._deferred_session import DeferredDialect
from headrace.warehouses._dialect import KEY
from headrace.warehouses._snowflake_dialect import SnowflakeDialect
from headrace.warehouses.base import Books, Columns, ColumnType, Hour, TableName
from made_loads import HOUR, START, TRACKS, at, latest, load

sqlglot = pytest.importorskip("sqlglot")

COLUMNS: Final[Columns] = {f"a_{type_.value}": type_ for type_ in ColumnType} | {"received_at": ColumnType.TIMESTAMP}
IDENTIFIES: Final = TableName("shop", "identifies")


def statements(dialect: DeferredDialect) -> dict[str, list[str]]:
    given = load(
        3,
        5,
        {},
        books={HOUR: Books(loaded=2), Hour("it's", START): Books(rejected=1)},
        touched=[("shop", "tracks", "a")],
    )
    values = (True, 7, float("nan"), at(1.5), "it's a\\b\n", '{"a": [1, null]}', at(2))
    few = dialect.inline(COLUMNS, [values, (None,) * 7])
    upsert = latest("shop", {"plan": ColumnType.STRING})
    rows = dialect.inline(
        {
            "id": ColumnType.STRING,
            "user_id": ColumnType.STRING,
            "received_at": ColumnType.TIMESTAMP,
            "plan": ColumnType.STRING,
        },
        [("e", "u", at(1), "pro")],
    )
    late = dialect.inline({KEY: ColumnType.STRING}, [("u",)])
    wanted = dialect.inline({"id": ColumnType.STRING}, [("e1",), ("e2",)])
    value: Columns = {"id": ColumnType.STRING, "received_at": ColumnType.TIMESTAMP, "value": ColumnType.FLOAT}
    return {
        "tables": [dialect.tables()],
        "DDL": [
            *_statements.create(dialect, {TRACKS: COLUMNS}, {}),
            *_statements.create(dialect, {}, {TRACKS: {"b": ColumnType.FLOAT, "c": ColumnType.JSON}}),
        ],
        "a column gets another type": [
            *(dialect.widen(TRACKS, "a_integer") if dialect.widens_in_place else []),
            *dialect.rename_columns(TRACKS, {"b": "b__narrow", "b__wider": "b"}),
            dialect.drop_column(TRACKS, "b__narrow"),
            *_statements.set_values(dialect, TRACKS, "b", dialect.inline(value, [("e", at(1), 1.5)])),
            _statements.forget_discards(dialect, TRACKS, "b"),
            _statements.learn_type(dialect, TRACKS, "b", ColumnType.FLOAT),
            *_statements.latest_column(dialect, upsert, "plan"),
        ],
        "a table takes another's place": dialect.put_in_place(
            TRACKS, TableName("shop", "_rebuild_0123abcd"), is_there=True
        ),
        "the turn": [dialect.turn(), dialect.raise_turn(7)],
        "the position": [
            _statements.position(dialect, "it's", 0),
            _statements.move(dialect, given),
            _statements.first_position(dialect, given),
        ],
        "rows": [_statements.insert(dialect, TRACKS, few)],
        "the latest state": [
            _statements.late_keys(dialect, upsert, rows),
            *_statements.upsert(dialect, upsert, rows, late, at(9)),
            *_statements.recompute(dialect, upsert),
        ],
        "books": [*_statements.add_books(dialect, given.books), *_statements.touch(dialect, given, at(9))],
        "look-ups": [
            _statements.ids_since(dialect, TRACKS, START),
            _statements.existing_ids(dialect, [TRACKS, IDENTIFIES], wanted, [(at(0), at(1)), (at(8), at(9))]),
            _statements.rejected_ids(dialect, "shop", wanted),
            _statements.integers_within(dialect, TRACKS, "a_integer"),
            _statements.named_columns(dialect),
            _statements.books(dialect),
            _statements.column_values(dialect, TRACKS, "a_string"),
            _statements.latest_rows(dialect, "loads", 5),
            _statements.account(dialect, {"shop": [TRACKS]}),
        ],
    }


DIALECTS: Final[dict[str, DeferredDialect]] = {
    "bigquery": BigQueryDialect("acme-events", "EU"),
    "snowflake": SnowflakeDialect(),
}


@pytest.mark.parametrize("engine", sorted(DIALECTS))
def test_the_statements_are_those_that_were_written_down(engine: str, cases: Path) -> None:
    parts = statements(DIALECTS[engine])
    text = "".join(f"-- {title}\n" + "".join(f"{each};\n" for each in part) + "\n" for title, part in parts.items())
    file = cases / f"statements-{engine}.sql"
    if os.environ.get("HEADRACE_WRITE_CASES"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


NOT_UNDERSTOOD: Final = {
    "bigquery": ["ALTER TABLE `shop`.`tracks` RENAME COLUMN `b` TO `b__narrow`, RENAME COLUMN `b__wider` TO `b`"],
    "snowflake": ['CREATE OR REPLACE TABLE "SHOP"."TRACKS" CLONE "SHOP"."_REBUILD_0123ABCD" COPY GRANTS'],
}
"""What sqlglot's grammar lacks, and the engine's documentation has: two renames in one ALTER TABLE, grants kept by a clone."""


@pytest.mark.parametrize("engine", sorted(DIALECTS))
def test_each_statement_is_one_in_the_engines_grammar(engine: str) -> None:
    every = [statement for part in statements(DIALECTS[engine]).values() for statement in part]
    parsed = [sqlglot.parse(statement, read=engine, error_level=sqlglot.ErrorLevel.RAISE) for statement in every]
    assert {1} == {len(trees) for trees in parsed}
    # A Command is what sqlglot calls a statement that it did not understand.
    commands = [
        statement for statement, trees in zip(every, parsed, strict=True) if isinstance(trees[0], sqlglot.exp.Command)
    ]
    assert NOT_UNDERSTOOD[engine] == commands


@pytest.mark.parametrize("engine", sorted(DIALECTS))
def test_a_statement_that_is_none_is_noticed(engine: str) -> None:
    with pytest.raises(sqlglot.errors.ParseError):
        sqlglot.parse("UPDATE t SET WHERE x = ", read=engine, error_level=sqlglot.ErrorLevel.RAISE)
