"""BigQuery's SQL: GoogleSQL. A schema is a dataset of the project.

Names stay as they are, in backticks. Those that BigQuery does not take get an underscore before them, and lose it again on
the way back: columns that begin with a digit (`2fa_enabled` is stored as `_2fa_enabled`, as Segment does it). Tables are clustered by
received_at, which every look-up of the loader and most reports ask for; they are not partitioned by it, since 4,000 changed
partitions are the limit of one statement and a small table only gets slower.
"""
# ruff: noqa: S608 -- identifiers go through `quoted`, values through `text`

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from headrace.warehouses._deferred_session import DeferredDialect
from headrace.warehouses._dialect import KEY
from headrace.warehouses.base import Columns, ColumnType, TableName, Upsert

STAGING: Final = "headrace_staging"
"""The dataset of rows on their way; its tables expire after a day."""
RESERVED: Final = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER", "_CHANGE_")
"""No column may begin so, in whichever case."""
OTHER_TURN: Final = "headrace: another loader committed in between"
_COMPUTED: Final = frozenset((KEY, "the place", "the first"))
"""Columns of queries, not of tables; it is not said that a result may have spaces in its names."""
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


class BigQueryDialect(DeferredDialect):
    types: ClassVar[Mapping[ColumnType, str]] = {
        ColumnType.BOOLEAN: "BOOL",
        ColumnType.INTEGER: "INT64",
        ColumnType.FLOAT: "FLOAT64",
        ColumnType.TIMESTAMP: "TIMESTAMP",
        ColumnType.STRING: "STRING",
        ColumnType.JSON: "JSON",
    }
    stored_types: ClassVar[Mapping[str, ColumnType]] = {
        "bool": ColumnType.BOOLEAN,
        "int64": ColumnType.INTEGER,
        "float64": ColumnType.FLOAT,
        "timestamp": ColumnType.TIMESTAMP,
        "string": ColumnType.STRING,
        "json": ColumnType.JSON,
    }
    transaction_tables: ClassVar[int] = 100
    """https://cloud.google.com/bigquery/docs/transactions, "Limitations"."""
    widens_in_place: ClassVar[bool] = True

    def __init__(self, project: str, location: str) -> None:
        self.project = project
        self.location = location

    def quoted(self, name: str) -> str:
        """`2fa` -> `` `_2fa` ``."""
        return "`" + stored_name(name).replace("\\", "\\\\").replace("`", "\\`") + "`"

    def text(self, value: str) -> str:
        return "'" + value.translate(_ESCAPES) + "'"

    def cast(self, expression: str, type_: ColumnType) -> str:
        if type_ is ColumnType.JSON:
            # Without the mode a number of more than 17 digits is an error.
            return f"PARSE_JSON({expression}, wide_number_mode => 'round')"
        return super().cast(expression, type_)

    def number(self, value: float) -> str:
        return str(value) if str(value) in ("nan", "inf", "-inf") else repr(value)

    def values(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        fields = ", ".join(f"{self.quoted(column)} STRING" for column in columns)
        lines = ", ".join(f"({', '.join(row)})" if len(row) > 1 else f"STRUCT({row[0]})" for row in rows)
        return f"(SELECT * FROM UNNEST(ARRAY<STRUCT<{fields}>>[{lines}]))"

    def latest(self, upsert: Upsert, source: str, columns: Sequence[str], where: str) -> str:
        return self.latest_by_windows(upsert, source, columns, where)

    def by_bytes(self, expression: str) -> str:
        """Texts without a collation are ordered so."""
        return expression

    def tables(self) -> str:
        """Of all datasets of the location but the one of staged rows, under the names that `stored_name` was given."""
        view = self._information_schema("COLUMNS")
        names = ", ".join(
            f"REGEXP_REPLACE({name}, r'^_([0-9])', r'\\1') AS {name}" for name in ("table_name", "column_name")
        )
        return (
            f"SELECT table_schema, {names}, data_type FROM {view} WHERE table_schema <> {self.text(STAGING)} "
            f"ORDER BY table_schema, table_name, ordinal_position"
        )

    counts_rows: ClassVar[bool] = True

    def sizes(self, names: Iterable[TableName]) -> str:
        """Out of each dataset's list of tables, which costs nothing to read. Rows that are being streamed are not in it; headrace streams none."""
        project = f"{self.project}`.`" if self.project else ""
        return " UNION ALL ".join(
            rf"SELECT dataset_id, REGEXP_REPLACE(table_id, r'^_([0-9])', r'\1'), row_count, size_bytes FROM `{project}{schema}`.`__TABLES__`"
            for schema in sorted({name.schema for name in names})
        )

    def _information_schema(self, view: str) -> str:
        """Of all datasets of the project in one location."""
        place = (
            f"{self.project}`.`region-{self.location.lower()}" if self.project else f"region-{self.location.lower()}"
        )
        return f"`{place}`.INFORMATION_SCHEMA.{view}"

    def create_schema(self, schema: str) -> str:
        return f"{super().create_schema(schema)} OPTIONS(location = {self.text(self.location)})"

    def create_staging(self) -> str:
        return (
            f"CREATE SCHEMA IF NOT EXISTS {self.quoted(STAGING)} "
            f"OPTIONS(location = {self.text(self.location)}, default_table_expiration_days = 1)"
        )

    def rename_columns(self, name: TableName, renamed: Mapping[str, str]) -> list[str]:
        changes = ", ".join(f"RENAME COLUMN {self.quoted(old)} TO {self.quoted(new)}" for old, new in renamed.items())
        return [f"ALTER TABLE {self.qualified(name)} {changes}"]

    def script(self, raise_turn: str, statements: Sequence[str]) -> str:
        """One job. What fails within, or ends without COMMIT, is rolled back by BigQuery."""
        guard = f"IF @@row_count = 0 THEN RAISE USING MESSAGE = {self.text(OTHER_TURN)}; END IF"
        return ";\n".join(["BEGIN TRANSACTION", raise_turn, guard, *statements, "COMMIT TRANSACTION", ""])

    def create_table(self, name: TableName, columns: Columns, key: Sequence[str]) -> list[str]:  # noqa: ARG002 -- not used there
        """Keys are not enforced there; the optimiser would rely on what nobody checks."""
        clustered = f" CLUSTER BY {self.quoted('received_at')}" if "received_at" in columns else ""
        return [statement + clustered for statement in super().create_table(name, columns, ())]


def stored_name(name: str) -> str:
    """Raises ValueError for what BigQuery takes under no name."""
    if name.upper().startswith(RESERVED):
        raise ValueError(f"load: BigQuery takes no column {name}: names may not begin with {', '.join(RESERVED)}")
    if name in _COMPUTED:
        return name.replace(" ", "__")
    return f"_{name}" if name[:1].isdigit() else name
