"""What a user's SQL may be on PostgreSQL: one SELECT that calls no function with an effect.

Three fences. The transaction is READ ONLY, so no table, sequence or object changes, whatever a WITH says. The driver prepares the
text and copies its rows out, so it is one statement, and one that gives rows. And because functions may end sessions,
read files or connect elsewhere within all that, a name before a parenthesis must not be that of a volatile function: PostgreSQL
itself says which these are, extensions' and the database's own included, and what has an effect beyond its answer must be
volatile. Names are found by PostgreSQL's own lexical rules, so that no comment, quote or escape hides one: there every character beyond
ASCII is a letter, a blank or a digit never, so Python's own classes must not be asked. What versions read differently is refused.
https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headrace.errors import QueryError

MAX_CHARACTERS: Final = 100_000
ALLOWED: Final = "a query is one SELECT over the warehouse's tables"
VOLATILE: Final = "SELECT DISTINCT proname::text FROM pg_proc WHERE provolatile = 'v' AND prokind IN ('f', 'p')"
HARMLESS: Final = frozenset(
    (
        *("random", "gen_random_uuid", "clock_timestamp", "timeofday"),
        *("pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size", "pg_database_size"),
    )
)
"""Volatile only because their answer changes."""
RUNS_SQL: Final = frozenset(
    (
        *("crosstab", "crosstab2", "crosstab3", "crosstab4", "crosstabn", "connectby", "normal_rand", "xpath_table"),
        *("dblink", "dblink_open", "dblink_exec", "dblink_send_query", "dblink_connect", "dblink_connect_u"),
    )
)
"""Of PostgreSQL's own extensions: what they are given runs as SQL, whatever they are declared to be.
https://www.postgresql.org/docs/current/tablefunc.html, xml2.html, dblink.html"""
_BEGINS: Final = frozenset(("select", "with", "values", "table"))
_TOKEN: Final = re.compile(
    r"""
      (?P<blank>[ \t\n\r\f\v]+|--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<escaped>[uU]&["'])
    | (?P<text>[eE]'(?:[^'\\]|\\.|'')*' | [bBxXnN]?'(?:[^']|'')*')
    | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<joined>(?>NUMBER)[A-Za-z_$\x80-\U0010ffff])
    | (?P<number>(?>NUMBER))
    | (?P<other>.)
    """.replace(
        "NUMBER",
        r"0[xX][0-9A-Fa-f_]++|0[oObB][0-7_]++|(?:[0-9][0-9_]*+(?:\.[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-]?[0-9_]++)?+",
    ),
    re.VERBOSE | re.DOTALL,
)
_NAME_BYTES: Final = 63
"""Longer names are cut. https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS"""
_COMMENT: Final = re.compile(r"/\*|\*/")


def check(sql: str, volatile: frozenset[str], *, has_escapes: bool = False) -> None:
    """`has_escapes`: a backslash in an ordinary text hides the quote after it. Raises QueryError that names what is refused and what is allowed."""
    if len(sql) > MAX_CHARACTERS:
        raise QueryError(f"the SQL has {len(sql)} characters; {MAX_CHARACTERS} are allowed")
    if "\0" in sql:
        raise QueryError("the SQL holds a NUL character; remove it")
    found = list(tokens(sql))
    while found and found[-1] == ("other", ";"):
        found.pop()
    if ("other", ";") in found:
        raise QueryError(f"there is more than one statement: {ALLOWED}")
    first = next((token for token in found if token != ("other", "(")), None)
    if first is None:
        raise QueryError(f"there is no statement: {ALLOWED}", "query_wrong")
    if first[0] != "word" or first[1] not in _BEGINS:
        raise QueryError(f"{first[1].upper()} is refused: {ALLOWED}")
    for token, following in zip(found, [*found[1:], ("other", "")], strict=True):
        _check_token(token, following, volatile, has_escapes=has_escapes)


def _check_token(
    token: tuple[str, str], following: tuple[str, str], volatile: frozenset[str], *, has_escapes: bool
) -> None:
    kind, name = token
    if kind == following[0] == "text":
        # Whether a backslash escapes in the second piece depends on the first, and a quote's end on that.
        raise QueryError("a text in several pieces is refused: write it in one")
    if has_escapes and kind == "text" and "\\" in name:
        raise QueryError("a text with a backslash is refused: write chr(92) || 'the rest' instead")
    is_called = kind in ("word", "quoted") and following == ("other", "(")
    if is_called and (name in RUNS_SQL or (name in volatile and name not in HARMLESS)):
        raise QueryError(f"the function {name} is refused: it may do more than give an answer")


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Kind and text of everything but blanks and comments; words are lower case, quoted names are without their quotes."""
    place = 0
    while place < len(sql):
        match = _TOKEN.match(sql, place)
        if match is None or match.lastgroup is None:
            raise QueryError("the SQL cannot be read", "query_wrong")
        kind, text, place = match.lastgroup, match.group(), match.end()
        if kind == "comment":
            place = _after_comment(sql, place)
        elif kind == "dollar":
            place = _after_text(sql, text, place)
            yield "text", ""
        elif kind != "blank":
            yield kind, _plain(kind, text)


def _plain(kind: str, text: str) -> str:
    if kind == "escaped":
        raise QueryError('names and texts written as U&"..." are refused: write the characters themselves')
    if kind == "joined":
        raise QueryError(f"{text} is refused: put a blank between the number and what follows it")
    if kind == "other" and text in "'\"":
        raise QueryError(f"a quote {text} has no end", "query_wrong")
    if kind == "quoted":
        return _cut(text[1:-1].replace('""', '"'))
    return _cut("".join(letter.lower() if letter < "\x80" else letter for letter in text)) if kind == "word" else text


def _cut(name: str) -> str:
    return name.encode(errors="replace")[:_NAME_BYTES].decode(errors="ignore")


def _after_text(sql: str, quote: str, place: int) -> int:
    end = sql.find(quote, place)
    if end < 0:
        raise QueryError(f"the text after {quote} has no end", "query_wrong")
    return end + len(quote)


def _after_comment(sql: str, place: int) -> int:
    """Comments nest."""
    depth = 1
    while depth:
        match = _COMMENT.search(sql, place)
        if match is None:
            raise QueryError("a comment /* has no end", "query_wrong")
        depth += 1 if match.group() == "/*" else -1
        place = match.end()
    return place


def one_statement(sql: str) -> str:
    """The text so that it can stand within COPY (...): without the final semicolon, a last comment closed by a new line."""
    end = len(sql)
    cut = sql
    while True:
        found = cut.rstrip()
        if not found.endswith(";"):
            break
        cut = found[:-1]
        end = len(cut)
    return sql[:end] + "\n"
