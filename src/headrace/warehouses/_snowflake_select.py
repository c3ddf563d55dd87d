"""What a user's SQL may be in Snowflake: one SELECT.

Snowflake runs one statement a request, and no statement that begins with SELECT or WITH writes there (there is no data-changing WITH),
with two exceptions, which are refused: statements chained by `->>`, and system functions, some of which end sessions or send mail.
What tables may be read is for the role to say.
"""

from __future__ import annotations

import re
from typing import Final

from headrace.errors import QueryError

MAX_CHARACTERS: Final = 100_000
_OPAQUE: Final = re.compile(
    r"--[^\n]*|//[^\n]*|/\*.*?\*/|'(?:[^'\\]|''|\\.)*'|\$\$.*?\$\$|\"(?:[^\"]|\"\")*\"", re.DOTALL
)
_ALLOWED: Final = "a query is one SELECT over the warehouse's tables"


def judged(sql: str) -> str:
    """The statement without what ends it. Raises QueryError."""
    if len(sql) > MAX_CHARACTERS:
        raise QueryError(f"the SQL has {len(sql)} characters; {MAX_CHARACTERS} are allowed")
    # Texts, quoted names and comments become a space and quotes, so that nothing inside of them is taken for SQL.
    bare = _OPAQUE.sub(lambda found: " " if found[0][0] in "-/" else '""', sql)
    statements = [part for part in bare.split(";") if part.strip()]
    if len(statements) != 1:
        raise QueryError(f"{len(statements)} statements: {_ALLOWED}")
    word = re.match(r"[\s(]*(\w*)", statements[0])
    first = word[1].upper() if word else ""
    if first not in ("SELECT", "WITH"):
        raise QueryError(f"{first or 'this'} is refused: {_ALLOWED}")
    if "->>" in bare:
        raise QueryError(f"statements chained by ->> are refused: {_ALLOWED}")
    if re.search(r"\bSYSTEM\s*\$", bare, re.IGNORECASE) or re.search(r'"SYSTEM\$', sql, re.IGNORECASE):
        raise QueryError("system functions are refused in a query")
    if re.search(r"['\"]", bare.replace('""', "")) or "/*" in bare:
        raise QueryError("the SQL has a quote or a comment without an end", "query_wrong")
    return sql.strip().rstrip(";").rstrip() if sql.rstrip().endswith(";") else sql
