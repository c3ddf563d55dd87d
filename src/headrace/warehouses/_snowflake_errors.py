"""What Snowflake's errors mean to headrace, by SQLSTATE and number, in plain words and without any statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headrace.errors import HeadraceError, QueryError, WarehouseUnavailableError

_REMEDIES: Final[Mapping[int, str]] = {
    606: "the session has no virtual warehouse; GRANT USAGE ON WAREHOUSE ... TO ROLE ... and set `warehouse`",
    2003: "the table, schema or stage does not exist or the role may not use it; `headrace warehouse test` names the GRANT",
    2043: "the object does not exist or the role may not use it; `headrace warehouse test` names the GRANT",
    3001: "the role lacks a privilege; `headrace warehouse test` names the GRANT",
    90073: "the virtual warehouse cannot run: a resource monitor stopped it, or it was suspended for good",
    390100: "user or password is refused",
    390101: "the user is disabled; ALTER USER ... SET DISABLED = FALSE",
    390102: "the user is locked; ALTER USER ... SET MINS_TO_UNLOCK = 0",
    390144: "the key is refused; ALTER USER ... SET RSA_PUBLIC_KEY = '...' with the public half of `private_key`",
    390186: "the role is not granted to the user; GRANT ROLE ... TO USER ...",
    390189: "the role does not exist or is not granted to the user; GRANT ROLE ... TO USER ...",
    390422: "the network policy lets nobody in from here; add this address to it",
}
_LOST: Final = frozenset((390111, 390112, 390114, 390115, 390195))
"""The session is gone on the server, or its token is."""
_WRONG: Final = ("22", "42000", "42601", "0A000")
"""Values that do not fit and statements that are none. Everything else may pass: a right that is given back, a warehouse that resumes."""


def is_drivers(error: BaseException) -> bool:
    """All of the connector's errors have a number; its classes differ between its versions."""
    return isinstance(error, OSError) or hasattr(error, "errno")


def number(error: BaseException) -> int:
    found: Any = getattr(error, "errno", None)
    return found if isinstance(found, int) else -1


def breaks(error: BaseException) -> bool:
    """Whether the connection is past use: the driver's own numbers for a network that failed are 25...., in its version 5
    they have the SQLSTATE of a timeout."""
    code, state = number(error), str(getattr(error, "sqlstate", None) or "")
    return 250_000 <= code < 260_000 or code in _LOST or state.startswith(("08", "HYT")) or isinstance(error, OSError)


def said(error: BaseException) -> str:
    """One line, without the number that stands before it."""
    text = " ".join(str(getattr(error, "msg", None) or error).split())
    return re.sub(r"^\d{6}(?: \(\w+\))?: (?:[0-9a-f-]{36}: )?", "", text)[:500]


def translated(error: BaseException) -> HeadraceError | ValueError:
    """For statements of headrace's own."""
    state = str(getattr(error, "sqlstate", None) or "")
    text = f"Snowflake: {said(error)} ({number(error)}, {state or 'no SQLSTATE'})"
    if breaks(error):
        return WarehouseUnavailableError(f"warehouse: the connection was lost; it is opened again ({text})")
    if state.startswith(_WRONG) and number(error) not in _REMEDIES:
        return ValueError(f"warehouse: the statement is refused: {text}")
    return WarehouseUnavailableError(f"warehouse: {_REMEDIES.get(number(error), 'it cannot be done now')} ({text})")


def not_connected(error: BaseException) -> WarehouseUnavailableError:
    known = _REMEDIES.get(number(error))
    if known is None and "Incorrect username or password" in said(error):
        known = _REMEDIES[390100]
    return WarehouseUnavailableError(
        f"warehouse: {known or 'Snowflake cannot be reached; are `account` and the network right?'} (Snowflake: {said(error)})"
    )


def of_query(error: BaseException, timeout_seconds: float) -> HeadraceError:
    if breaks(error):
        return WarehouseUnavailableError(
            f"warehouse: the connection was lost during the query (Snowflake: {said(error)})"
        )
    if number(error) in (604, 630):
        return QueryError(f"the query was cancelled after {timeout_seconds:g} seconds: narrow it down", "query_timeout")
    return QueryError(f"the query failed: {said(error)}", "query_wrong")
