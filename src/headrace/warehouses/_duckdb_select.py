"""What a user's SQL may be: one SELECT whose parsed tree holds nothing but known kinds of nodes, listed functions and tables.

DuckDB counts statements as SELECT that write, open files or change the engine, so the statement's type says nothing. The tree
is DuckDB's own (`json_serialize_sql`); every dictionary of it is looked at, and what is unknown is refused.
"""
# ruff: noqa: SIM905 -- a text of words is read and compared better than a list of quotes

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from headrace.errors import QueryError
from headrace.warehouses._duckdb_functions import CATALOGUE_VIEWS, FUNCTIONS, OPERATORS, TABLE_FUNCTIONS

MAX_CHARACTERS: Final = 100_000
_ALLOWED: Final = "a query is one SELECT over the warehouse's tables"
_EXPRESSIONS: Final = frozenset(
    (
        "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA LAMBDA_REF OPERATOR "
        "POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW"
    ).split()
)
_NODES: Final = frozenset(
    (
        "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE "  # queries
        "BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION "  # what stands in FROM
        "DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER "
        "ASCENDING DESCENDING ORDER_DEFAULT"
    ).split()
)
_SYSTEM_SCHEMAS: Final = frozenset(("main", "pg_catalog", "temp", "system"))
_SYSTEM_PREFIXES: Final = ("duckdb_", "pg_", "pragma_", "sqlite_")

Node = Mapping[str, Any]


def check(serialized: str, kind_of_statement: Callable[[], str], sql: str = "") -> None:
    """`serialized` is what `json_serialize_sql` made of the text; `kind_of_statement` names what is no SELECT; `sql` is the text.

    Raises QueryError that names what is refused and what is allowed."""
    try:
        parsed = json.loads(serialized)
        if parsed["error"]:
            raise _not_parsed(parsed, kind_of_statement, sql)
        if len(parsed["statements"]) != 1:
            raise QueryError(f"{len(parsed['statements'])} statements: {_ALLOWED}")
        for node in _nodes(parsed["statements"][0]):
            try:
                _check_node(node)
            except QueryError as error:
                error.position = _characters(sql, str(node.get("query_location", "")))
                raise
    except RecursionError:
        raise QueryError("the expressions are nested too deeply; write them flatter") from None


def _not_parsed(parsed: Node, kind_of_statement: Callable[[], str], sql: str) -> QueryError:
    if parsed.get("error_type") == "not implemented":
        return QueryError(f"{kind_of_statement()} is refused: {_ALLOWED}")
    at = _characters(sql, str(parsed.get("position", "")))
    place = "" if at is None else f" (at character {at + 1})"
    said = parsed.get("error_message", "syntax error")
    return QueryError(f"the SQL cannot be read: {said}{place}", code="query_wrong", position=at)


def _characters(sql: str, position: str) -> int | None:
    """The engine counts bytes."""
    text = sql.encode()
    at = int(position) if position.isdigit() else len(text) + 1
    return len(text[:at].decode(errors="ignore")) if at <= len(text) else None


def _nodes(root: Node) -> Iterator[Node]:
    """Every dictionary of the tree. A table function's inner call is left out: its name is judged where it stands in FROM."""
    waiting: list[Any] = [root]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            if found.get("type") == "TABLE_FUNCTION":
                waiting.extend(found["function"].values())
                waiting.extend(value for name, value in found.items() if name != "function")
            else:
                waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def _check_node(node: Node) -> None:
    if "class" in node:
        _check_expression(node)
        return
    kind = node.get("type")
    if not isinstance(kind, str):
        return
    if kind not in _NODES:
        statement = kind.removesuffix("_NODE").removesuffix("_QUERY")
        raise QueryError(f"{statement} is refused, within WITH too: {_ALLOWED}")
    if kind == "TABLE_FUNCTION":
        _check_table_function(node["function"]["function_name"].lower())
    elif kind == "BASE_TABLE":
        _check_table(node["qualified_name"]["path"])
    elif kind == "SHOW_REF" and node.get("query") is None:
        raise QueryError(
            "SHOW is refused: SELECT table_schema, table_name FROM information_schema.tables lists the tables, "
            "DESCRIBE a_schema.a_table a table's columns"
        )


def _check_expression(node: Node) -> None:
    kind = node["class"]
    if kind == "PARAMETER":
        raise QueryError(f"the parameter ${node.get('identifier')} is refused: write the value itself")
    if kind not in _EXPRESSIONS:
        raise QueryError(f"{kind} is refused: {_ALLOWED}")
    if "function_name" in node:
        _check_function(node["function_name"].lower(), node["arguments"])


def _check_table_function(name: str) -> None:
    if name not in TABLE_FUNCTIONS:
        allowed = ", ".join(sorted(TABLE_FUNCTIONS))
        raise QueryError(
            f"{name}(...) is refused in FROM: tables may stand there, subqueries, and the functions {allowed}"
        )


def _check_function(name: str, arguments: Sequence[Node]) -> None:
    if name not in FUNCTIONS and name not in OPERATORS:
        remedy = (
            f"write it in FROM: ... FROM {name}(...)"
            if name in TABLE_FUNCTIONS
            else "it is not on the list of what a query may call"
        )
        raise QueryError(f"the function {name} is refused: {remedy}")
    if name in ("lpad", "rpad"):
        width = _constant(arguments[1:2])
        if not re.fullmatch(r"-?\d{1,4}", width):
            raise QueryError(f"the function {name} is refused with this width: write a number up to 9999")
    elif name in ("format", "printf"):
        pattern = _constant(arguments[:1])
        if not pattern or re.search(r"\d{4}|\*|\{[^}]*\{", pattern):
            raise QueryError(f"the function {name} is refused with this pattern: write a text with widths up to 999")


def _constant(arguments: Sequence[Node]) -> str:
    """The text of a literal argument; empty when it is none."""
    literal = arguments[0]["expression"].get("literal") if arguments else None
    return str(literal.get("text", "")) if literal else ""


def _check_table(path: Sequence[str]) -> None:
    """The engine's own views have no schema before them or one of its own; a source's schema is never called so."""
    name = path[-1].lower()
    engine = len(path) == 1 or path[-2].lower() in _SYSTEM_SCHEMAS
    if engine and name.startswith(_SYSTEM_PREFIXES) and name not in CATALOGUE_VIEWS:
        raise QueryError(
            f"the table {name} is refused: information_schema.tables and information_schema.columns may be read"
        )
