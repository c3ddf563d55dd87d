"""Where in a user's SQL the engine found what is wrong: DuckDB draws it below a line of the text (`LINE 2: ...` and `^^^` under it)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

import duckdb

_DRAWN: Final = re.compile(r"\n(LINE (\d+): )(.*)\n( *)\^")
_HINT: Final = re.compile(r"\n(?:Did you mean (.+?)\?|Candidate bindings: (.+))(?:\n|$)")
_OWN: Final = re.compile(r'"(?:pg_|duckdb_|sqlite_|pragma_)')
_MOST_HINT: Final = 200
_CUT: Final = "..."


def position(cursor: duckdb.DuckDBPyConnection, sql: str, error: str) -> int | None:
    """The character, from 0. An error that was drawn without a line is drawn with one by EXPLAIN, which reads no rows."""
    if "\nLINE " in error:
        # EXPLAIN's text has a line more before the user's.
        return drawn(sql, error, 0) if drawn(sql, error, 0) is not None else drawn(sql, error, 1)
    if not error.startswith(("Binder Error", "Catalog Error")):
        return None
    with suppress(duckdb.Error):
        cursor.execute("ROLLBACK")
    try:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute(f"EXPLAIN\n{sql}")
    except duckdb.Error as again:
        return drawn(sql, str(again), 1)
    return None


def drawn(sql: str, error: str, lines_before: int) -> int | None:
    r"""`lines_before` are those that stood before the user's.

    >>> drawn("SELECT 1,\n  foo", "Binder Error: no\n\nLINE 2:   foo\n          ^^^", 0)
    12
    """
    found = _DRAWN.search(error)
    if found is None:
        return None
    lines = sql.split("\n")
    number = int(found[2]) - 1 - lines_before
    if not 0 <= number < len(lines):
        return None
    excerpt, at = found[3], len(found[4]) - len(found[1])
    if excerpt.startswith(_CUT):
        excerpt, at = excerpt.removeprefix(_CUT), at - len(_CUT)
    start = lines[number].find(excerpt.removesuffix(_CUT))
    if start < 0:
        return None
    return sum(len(line) + 1 for line in lines[:number]) + min(start + max(at, 0), len(lines[number]))


def hint(error: str) -> str:
    r"""What the engine would have understood, as the end of a sentence; empty where it says nothing, or names what may not be read.

    >>> hint('no\nCandidate bindings: "a", "b"')
    '; did you mean "a", "b"?'
    """
    found = _HINT.search(error)
    meant = (found[1] or found[2]) if found else ""
    return f"; did you mean {meant[:_MOST_HINT]}?" if meant and not _OWN.search(meant) else ""
