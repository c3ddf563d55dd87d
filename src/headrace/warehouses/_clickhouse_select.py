"""What a user's SQL may be: one SELECT whose tree, as ClickHouse's own parser prints it (EXPLAIN AST), holds nothing but known kinds
of nodes, listed functions, and tables of other schemas than `system`.

A read-only user may still call table functions that reach out (url, s3, remote, mysql, executable, ...), read files of the server by
`file`, sleep and ask language models, so what may be called is listed. What is unknown is refused.
"""
# ruff: noqa: SIM905 -- a text of words is read and compared better than a list of quotes

from __future__ import annotations

import re
from typing import Final

from headrace.errors import QueryError
from headrace.warehouses._clickhouse_functions import FUNCTIONS, TABLE_FUNCTIONS

_ALLOWED: Final = "a query is one SELECT over the warehouse's tables"
_NODES: Final = frozenset(
    (
        "SelectWithUnionQuery SelectIntersectExceptQuery SelectQuery ExpressionList Identifier Literal Asterisk QualifiedAsterisk "
        "ColumnsRegexpMatcher ColumnsListMatcher QualifiedColumnsRegexpMatcher QualifiedColumnsListMatcher "
        "ColumnsTransformerList ColumnsExceptTransformer ColumnsReplaceTransformer ColumnsReplaceTransformer::Replacement "
        "TablesInSelectQuery TablesInSelectQueryElement TableExpression TableIdentifier TableJoin ArrayJoin Subquery WithElement "
        "OrderByElement InterpolateElement WindowDefinition WindowListElement SampleRatio"
    ).split()
)
_LINE: Final = re.compile(r"^( *)(\S+)(?: (.*))?$")
_SYSTEM: Final = frozenset(("system",))


def check_beginning(written: str) -> None:
    """Refuse what is no SELECT by its first word, before anything is done with it. Raises QueryError."""
    word = re.match(r"[\s(]*(\w+)", written)
    if word is None or word[1].upper() not in ("SELECT", "WITH"):
        raise QueryError(f"{word[1].upper() if word else 'this'} is refused: {_ALLOWED}")


def check(tree: str) -> None:
    """Raises QueryError that names what is refused and what is allowed."""
    lines = tree.rstrip("\n").split("\n")
    if lines[0] != "SelectWithUnionQuery (children 1)":
        kind = lines[0].split(" ", 1)[0].removesuffix("Query")
        what = "INTO OUTFILE, FORMAT or SETTINGS at the end" if kind == "SelectWithUnion" else kind
        raise QueryError(f"{what} is refused: {_ALLOWED}")
    above = ""
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            raise QueryError("names and texts with line breaks are refused")
        kind, rest = found[2], found[3] or ""
        _check_node(kind, rest, above)
        above = kind


def _check_node(kind: str, rest: str, above: str) -> None:
    name = _name(rest)
    if kind == "Function":
        if above == "TableExpression":
            _check_table_function(name)
        elif name.lower() not in FUNCTIONS:
            raise QueryError(f"the function {name} is refused: it is not on the list of what a query may call")
    elif kind in ("TableIdentifier", "Identifier"):
        schema = name.split(".", 1)[0].lower()
        if "." in name and schema in _SYSTEM:
            raise QueryError(f"{name} is refused: information_schema.tables and information_schema.columns may be read")
    elif kind == "Set":
        raise QueryError("SETTINGS is refused: the time and the size of a query are the warehouse's to set")
    elif kind == "QueryParameter":
        raise QueryError(f"the parameter {rest} is refused: write the value itself")
    elif kind not in _NODES:
        raise QueryError(f"{kind} is refused: {_ALLOWED}")


def _name(rest: str) -> str:
    """Without alias and count of children."""
    return re.sub(r"( \(alias .*\))?( \(children \d+\))?$", "", rest)


def _check_table_function(name: str) -> None:
    if name not in TABLE_FUNCTIONS:
        allowed = ", ".join(sorted(TABLE_FUNCTIONS))
        raise QueryError(
            f"{name}(...) is refused in FROM: tables may stand there, subqueries, and the functions {allowed}"
        )
