"""PostgreSQL's SQL, where it is not the shared one: catalogue, indexes, and tables that are put in place."""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.compute as pc

from headrace.warehouses._dialect import Dialect, Relation, Wanted
from headrace.warehouses.base import HISTORY_TABLES, HOUSEKEEPING, Columns, ColumnType, TableName

LOOKED_UP: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(HISTORY_TABLES, ("id",)),
    "identifies": ("id", "user_id"),
    "groups": ("id", "group_id"),
}
"""Columns of history by which rows are looked up. Their index is a block range index of small Bloom filters, with the bounds of
received_at: it costs nothing when rows are inserted (ranges of pages are summarised later, by autovacuum) and tells a look-up of a few
ids which pages to read. Measured on 15 with 10 M rows of 136 bytes and 128 MB of shared buffers, by psql:

    index on                                        none     btree (id)    this one
    INSERT of 1,000 rows                            9 ms     33 ms         7 ms
    INSERT of 100,000 rows                          690 ms   2,400 ms      650 ms
    look-up of 3 ids within 4 M rows' span          1,190 ms 1 ms          60 ms warm, 220 ms cold
    its size                                        0        600 MB        23 MB

An id is looked up when the loader's filters call it possible (one in a million, or a repetition that is not recent), so inserts
decide. More than FEW ids are found by one pass over the span."""
LATEST: Final = ("users", "accounts")
FEW: Final = 16
RANGE_PAGES: Final = 64


def _array(column: pa.ChunkedArray) -> str:
    r"""`{"a","say \"hi\"",NULL}`: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO"""
    if column.null_count == len(column):
        return f"{{{','.join(['NULL'] * len(column))}}}"
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.string())
    values = column.to_pylist()
    if not pa.types.is_string(column.type):
        return f"{{{','.join('NULL' if value is None else str(value) for value in values)}}}"
    if not column.null_count:
        whole = _BETWEEN.join(values)
        if not _ESCAPED.search(whole) and whole.count(_BETWEEN) == len(values) - 1:
            return '{"' + whole.replace(_BETWEEN, '","') + '"}'
    texts = ("NULL" if value is None else '"' + _ESCAPED.sub(r"\\\g<0>", value) + '"' for value in values)
    return f"{{{','.join(texts)}}}"


_NUL: Final = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
"""The escape itself, not a backslash before the text u0000."""
_BETWEEN: Final = "\x1f"
_ESCAPED: Final = re.compile(r'["\\]')


class PostgreSQLDialect(Dialect):
    stored_types: ClassVar[Mapping[str, ColumnType]] = {
        "boolean": ColumnType.BOOLEAN,
        **dict.fromkeys(("smallint", "integer", "bigint"), ColumnType.INTEGER),
        "double precision": ColumnType.FLOAT,
        "timestamp with time zone": ColumnType.TIMESTAMP,
        "jsonb": ColumnType.JSON,
        "json": ColumnType.JSON,
    }

    def tables(self) -> str:
        return (
            "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, NULL) "
            "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_' "
            "AND n.nspname <> 'information_schema' AND pg_has_role(c.relowner, 'USAGE') ORDER BY 1, 2, a.attnum"
        )

    def sizes(self, names: Iterable[TableName]) -> str:  # noqa: ARG002 - the port's signature
        """Estimates: of the last ANALYZE, or of what was inserted and deleted since the statistics began, whatever is more."""
        return (
            "SELECT n.nspname::text, c.relname::text, greatest(c.reltuples::bigint, s.n_live_tup), pg_total_relation_size(c.oid) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid "
            "WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
            "AND pg_has_role(c.relowner, 'USAGE')"
        )

    def newest_from(self, name: TableName) -> str:
        """The last hour, else the last day, else everything: the index bounds the first two, and sorting all rows of a large table is slow."""
        received_at = self.quoted("received_at")
        return f"{received_at} >= {self.last_received(name)} - interval '1 hour'"

    few_ids: ClassVar[int] = FEW
    inline_cells: ClassVar[int] = 10_000

    def storable(self, column: pa.ChunkedArray, type_: ColumnType) -> pa.ChunkedArray:
        r"""PostgreSQL's jsonb takes no \u0000. In strings the loader has removed it; names within `_extra` may hold it still."""
        if type_ is not ColumnType.JSON or not pc.any(pc.match_substring(column, r"\u0000")).as_py():
            return column
        texts = (None if text is None else _NUL.sub(r"\1", text) for text in column.to_pylist())
        return pa.chunked_array([pa.array(texts, pa.string())])

    def written(self, columns: Columns, rows: pa.Table) -> Relation:
        """A column is one array literal. With a temporary table of 25 columns a load of one row takes three times as long; from some
        10,000 values on it is cheaper, and with a literal for each value everything is dearer."""
        arrays = ", ".join(
            f"{self.text(_array(column))}::{self.types[type_]}[]"
            for column, type_ in zip(rows.columns, columns.values(), strict=True)
        )
        return Relation(f"(SELECT * FROM unnest({arrays}) AS given ({self.names(columns)}))", columns)

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:
        return [*super().create_table(name, columns, key), *self.indexes(name, columns)]

    def indexes(self, name: TableName, columns: Columns) -> list[str]:
        """PostgreSQL names them, so that they never clash."""
        if name.schema == HOUSEKEEPING:
            return []
        if name.table in LATEST:
            # A btree takes no ids beyond 2,700 bytes; with 500,000 rows this one is half as large, and neither slower to fill nor to ask.
            return [f"CREATE INDEX ON {self.qualified(name)} USING hash ({self.quoted('id')})"]
        looked_up = [column for column in LOOKED_UP.get(name.table, ()) if column in columns]
        if not looked_up or "received_at" not in columns:
            return []
        # Filters of 20 % of the rows that could be in the pages: rows are far wider than the least possible. All filters of a range
        # together are one index row, which must fit a page: full ones do not compress, and 8,900 bytes made every insert fail.
        filters = ", ".join(
            f"{self.quoted(column)} text_bloom_ops (n_distinct_per_range = -0.2)" for column in looked_up
        )
        on = f"{self.qualified(name)} USING brin ({filters}, {self.quoted('received_at')})"
        return [f"CREATE INDEX ON {on} WITH (pages_per_range = {RANGE_PAGES // len(looked_up)}, autosummarize = on)"]

    def among(self, column: str, wanted: Wanted) -> str:
        # As an expression it does not use the index, which would be read once an id.
        return super().among(f"({column} || '')" if isinstance(wanted, Relation) else column, wanted)

    def last_received(self, name: TableName) -> str:
        """Looks at the last hour, then at the last day, and only then at everything: the index bounds the first two."""
        received_at = self.quoted("received_at")
        asked = [
            f"(SELECT max({received_at}) FROM {self.qualified(name)}{where})"
            for where in (*(f" WHERE {received_at} >= now() - interval '{span}'" for span in ("1 hour", "1 day")), "")
        ]
        return f"coalesce({', '.join(asked)})"

    def put_in_place(self, old: TableName, new: TableName, *, is_there: bool) -> list[str]:
        # A rebuilt table has no index yet; an index without received_at would have been refused above.
        columns = dict.fromkeys(("received_at", *LOOKED_UP.get(old.table, ())), ColumnType.STRING)
        return [*super().put_in_place(old, new, is_there=is_there), *self.indexes(old, columns)]
