"""What the engines say differently in the model's SQL. Statements are written in what DuckDB and PostgreSQL have in common.

Names of the model's own tables are plain words; names that come from events go through `quoted`, values through `text`.
"""

# ruff: noqa: S608 -- identifiers are of the model or go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from headrace.errors import ConfigError
from headrace.reports.model.schema import SCHEMA, TABLES, Table, Type
from headrace.warehouses.base import ColumnType

TRUE_WORDS: Final = ("true", "t", "yes", "y", "1")
MONEY_DIGITS: Final = 4
SEPARATOR: Final = "chr(31)"
"""Between the parts of a key: ASCII's unit separator."""


class Engine:
    """PostgreSQL's words. All methods give SQL text; none connects."""

    name: ClassVar[str] = "postgresql"
    types: ClassVar[Mapping[Type, str]] = {
        Type.TEXT: "text",
        Type.KEY: "bigint",
        Type.COUNT: "bigint",
        Type.TIME: "timestamptz",
        Type.DAY: "date",
        Type.TRUTH: "boolean",
        Type.MONEY: "numeric(38, 4)",
        Type.RATE: "double precision",
    }
    needs_indexes: ClassVar[bool] = True

    def quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def qualified(self, schema: str, table: str) -> str:
        return f"{self.quoted(schema)}.{self.quoted(table)}"

    def text(self, value: str) -> str:
        """A literal. Backslashes mean nothing in either engine, as PostgreSQL's sessions set standard_conforming_strings."""
        return "'" + value.replace("\0", "").replace("'", "''") + "'"

    def cast(self, expression: str, type_: Type) -> str:
        return f"CAST({expression} AS {self.types[type_]})"

    def null(self, type_: Type) -> str:
        return self.cast("NULL", type_)

    def key(self, *parts: str) -> str:
        """A number from 0 to 2^62 - 1 out of texts that are not null, by the engine's own hash. Another engine, or another version,
        makes another one, so that no order may depend on it, and `model` makes everything anew when it changes."""
        joined = f" || {SEPARATOR} || ".join(parts)
        return f"((hashtextextended({joined}, 0) >> 2) & 4611686018427387903)"

    def sha256(self, expression: str) -> str:
        """Of the text's UTF-8 bytes, in small hexadecimal letters."""
        return f"encode(sha256(convert_to({expression}, 'UTF8')), 'hex')"

    def seconds(self, later: str, earlier: str) -> str:
        """From one time to another, with a fraction."""
        return f"CAST(extract(epoch FROM ({later} - {earlier})) AS double precision)"

    def quarter(self, time: str) -> str:
        """The beginning of the quarter of an hour, in UTC."""
        return f"date_bin(INTERVAL '15 minutes', {time}, TIMESTAMPTZ '2000-01-01 00:00:00+00')"

    def day(self, time: str) -> str:
        """The date in UTC."""
        return f"CAST({time} AT TIME ZONE 'UTC' AS date)"

    def interval(self, seconds: float) -> str:
        # Without an exponent, which DuckDB cannot read, and to the microsecond.
        return f"INTERVAL '{seconds:.6f} seconds'"

    def stored_text(self, column: str, type_: ColumnType) -> str:
        """A column of an event table as a text; empty ones become null. An id that came as 77.0 is 77, as its neighbours are."""
        name = self.quoted(column)
        if type_ is ColumnType.FLOAT:
            whole = f"CAST(CAST({name} AS bigint) AS text)"
            return f"CASE WHEN abs({name}) < 1e15 AND floor({name}) = {name} THEN {whole} ELSE CAST({name} AS text) END"
        return f"nullif({name}, '')" if type_ is ColumnType.STRING else f"nullif(CAST({name} AS text), '')"

    def stored_truth(self, column: str, type_: ColumnType) -> str:
        """A column of an event table as a boolean; null for what is neither."""
        name = self.quoted(column)
        match type_:
            case ColumnType.BOOLEAN:
                return name
            case ColumnType.INTEGER | ColumnType.FLOAT:
                return f"({name} <> 0)"
            case _:
                words = ", ".join(map(self.text, TRUE_WORDS))
                return f"(lower(CAST({name} AS text)) IN ({words}))"

    def stored_money(self, column: str, type_: ColumnType) -> str:
        """A column of an event table as an amount; null for what is none."""
        name = self.quoted(column)
        match type_:
            case ColumnType.INTEGER:
                # `abs` of the least integer is none.
                return f"CASE WHEN {name} BETWEEN -99999999999999 AND 99999999999999 THEN {self.cast(name, Type.MONEY)} END"
            case ColumnType.FLOAT:
                # Written as a text first, as 0.1 is meant and not its nearest fraction of two.
                return f"CASE WHEN abs({name}) < 1e14 THEN {self.cast(f'CAST({name} AS {self.types[Type.TEXT]})', Type.MONEY)} END"
            case ColumnType.STRING:
                return f"CASE WHEN {self.matches(name, '^-?[0-9]{1,13}([.][0-9]+)?$')} THEN {self.cast(name, Type.MONEY)} END"
            case _:
                return self.null(Type.MONEY)

    def matches(self, expression: str, pattern: str) -> str:
        """Some part of the text fits a regular expression of ours."""
        return f"({expression} ~ {self.text(pattern)})"

    def begin(self) -> list[str]:
        """Statements at the beginning of an increment's transaction."""
        # By default ANALYZE sorts 30,000 rows by each column, which took a quarter of an increment; sorts and hashes went to disk from 4 MB on.
        return [
            "SET LOCAL default_statistics_target = 10",
            "SET LOCAL work_mem = '32MB'",
            "SET LOCAL jit = off",
        ]

    def temporary(self, name: str, select: str) -> list[str]:
        """Statements that make a temporary table of the query's rows; it must not exist."""
        return [f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {select}", f"ANALYZE {name}"]

    def drop(self, name: str) -> list[str]:
        """Statements that remove a temporary table which is about to be made anew."""
        return [f"DROP TABLE {name}"]

    place: ClassVar[str] = "ctid"
    """What the engine calls a row's place, which holds within a transaction for rows that it does not change."""

    def pick(self, name: str, table: str, column: str, keys: str) -> list[str]:
        """Statements that make the temporary table `name`: the rows of a table of the model whose `column` is in the same column of
        the temporary table `keys`, all columns and `place`. Proportional to what is found, as far as the engine can."""
        columns = ", ".join(f"t.{column_name}" for column_name in TABLES[table].columns)
        return self.temporary(
            name,
            f"SELECT t.ctid AS place, {columns} FROM {SCHEMA}.{table} AS t WHERE t.{column} IN (SELECT {column} FROM {keys})",
        )

    def remove(self, table: str, rows: str) -> list[str]:
        """Statements that delete the rows of a table of the model that stand at the `place`s of a temporary table from `pick`."""
        return [f"DELETE FROM {SCHEMA}.{table} WHERE ctid = ANY(ARRAY(SELECT place FROM {rows}))"]

    def same_text(self, one: str, other: str) -> str:
        """Both texts are the same, by an indexed column of a table where the engine has use for it."""
        return f"(hashtextextended({one}, 0) = hashtextextended({other}, 0) AND {one} = {other})"

    def any(self, column: str) -> str:
        """An aggregate: the value of a column that is the same in all rows."""
        return f"min({column})"

    def first(self, value: str, order: Sequence[str], where: str) -> str:
        """An aggregate: the value of the first row, by what is ordered, for which the condition holds; null without one."""
        return f"(array_agg({value} ORDER BY {', '.join(order)}) FILTER (WHERE {where}))[1]"

    def micros(self, time: str) -> str:
        """Microseconds since 1970 as a text."""
        return f"CAST(CAST(extract(epoch FROM {time}) * 1000000 AS bigint) AS text)"

    def rank(self, time: str) -> str:
        """A text, in the order of whose bytes times stand, from the year -1199 to 27,000."""
        digits = 18
        moved = self.cast(f"CAST({self.micros(time)} AS bigint) + {10 ** (digits - 1)}", Type.TEXT)
        return f"lpad({moved}, {digits}, '0')"

    def tables_of(self, schema: str) -> str:
        """A query of `table_name`."""
        return f"SELECT table_name FROM information_schema.tables WHERE table_schema = {self.text(schema)}"

    def find_new_rows(self, schema: str, table: str, column: str) -> list[str]:
        """Statements, safe to repeat, after which the rows with a great value of a growing column are found cheaply."""
        name = self.quoted(f"{table[:40]}_{column}_brin")
        return [f"CREATE INDEX IF NOT EXISTS {name} ON {self.qualified(schema, table)} USING brin ({column})"]

    def create(self, name: str, table: Table, schema: str = SCHEMA) -> list[str]:
        """Statements that make a table of the model with its indexes."""
        columns = ", ".join(f"{column} {self.types[of.type]}" for column, of in table.columns.items())
        statements = [f"CREATE TABLE {schema}.{name} ({columns})"]
        if self.needs_indexes:
            statements.append(f"CREATE UNIQUE INDEX ON {schema}.{name} ({self._unique(table)})")
            for column in table.indexed:
                # A text may be longer than a page of a tree takes; and an index by hash walks all rows of one value for each that comes.
                of = f"hashtextextended({column}, 0)" if table.columns[column].type is Type.TEXT else column
                statements.append(f"CREATE INDEX ON {schema}.{name} ({of})")
        return statements

    def _unique(self, table: Table) -> str:
        types = [table.columns[column].type for column in table.key]
        if Type.TEXT not in types:
            return ", ".join(table.key)
        others = [column for column, type_ in zip(table.key, types, strict=True) if type_ is not Type.TEXT]
        texts = [f"coalesce({column}, '')" for column in table.key if column not in others]
        return ", ".join((f"md5({f' || {SEPARATOR} || '.join(texts)})", *others))


class DuckDBEngine(Engine):
    name = "duckdb"
    types: ClassVar[Mapping[Type, str]] = {
        Type.TEXT: "VARCHAR",
        Type.KEY: "BIGINT",
        Type.COUNT: "BIGINT",
        Type.TIME: "TIMESTAMPTZ",
        Type.DAY: "DATE",
        Type.TRUTH: "BOOLEAN",
        Type.MONEY: "DECIMAL(38, 4)",
        Type.RATE: "DOUBLE",
    }
    needs_indexes = False

    def key(self, *parts: str) -> str:
        return f"CAST(hash({', '.join(parts)}) >> 2 AS BIGINT)"

    def sha256(self, expression: str) -> str:
        return f"sha256({expression})"

    def seconds(self, later: str, earlier: str) -> str:
        return f"(epoch_us({later}) - epoch_us({earlier})) / 1e6"

    def quarter(self, time: str) -> str:
        # Three times as fast as time_bucket of a time with a zone, as `day` is 14 times as fast as AT TIME ZONE 'UTC'.
        return f"make_timestamptz(epoch_us(time_bucket(INTERVAL '15 minutes', make_timestamp(epoch_us({time})))))"

    def day(self, time: str) -> str:
        return f"CAST(make_timestamp(epoch_us({time})) AS date)"

    def matches(self, expression: str, pattern: str) -> str:
        return f"regexp_matches({expression}, {self.text(pattern)})"

    def begin(self) -> list[str]:
        return []

    def temporary(self, name: str, select: str) -> list[str]:
        return [f"CREATE OR REPLACE TEMPORARY TABLE {name} AS {select}"]

    place = "rowid"

    def pick(self, name: str, table: str, column: str, keys: str) -> list[str]:
        # The keys alone first: at 10 M rows that takes a sixth of reading all columns, and rows are fetched by their places for little.
        columns = ", ".join(f"t.{column_name}" for column_name in TABLES[table].columns)
        whole = f"{SCHEMA}.{table}"
        return [
            *self.temporary(
                f"{name}_places", f"SELECT rowid AS place FROM {whole} WHERE {column} IN (SELECT {column} FROM {keys})"
            ),
            *self.temporary(
                name,
                f"SELECT t.rowid AS place, {columns} FROM {whole} AS t WHERE t.rowid IN (SELECT place FROM {name}_places)",
            ),
        ]

    def remove(self, table: str, rows: str) -> list[str]:
        return [f"DELETE FROM {SCHEMA}.{table} WHERE rowid IN (SELECT place FROM {rows})"]

    def same_text(self, one: str, other: str) -> str:
        return f"{one} = {other}"

    def micros(self, time: str) -> str:
        return f"CAST(epoch_us({time}) AS VARCHAR)"

    def any(self, column: str) -> str:
        return f"any_value({column})"

    def find_new_rows(self, schema: str, table: str, column: str) -> list[str]:  # noqa: ARG002 -- it knows the bounds of each row group
        return []


_ENGINES: Final[Mapping[str, type[Engine]]] = {engine.name: engine for engine in (Engine, DuckDBEngine)}


def engine(name: str) -> Engine:
    """Raises ConfigError for an engine on which there is no model."""
    if name not in _ENGINES:
        raise ConfigError(f"email model: it is not made on {name}; it is on {', '.join(_ENGINES)}")
    return _ENGINES[name]()
