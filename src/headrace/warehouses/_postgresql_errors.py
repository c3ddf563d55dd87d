"""What PostgreSQL's errors mean to headrace, by SQLSTATE, in plain words and without any password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from headrace.errors import HeadraceError, WarehouseUnavailableError
from headrace.warehouses._session import HeldError

_REMEDIES: Final[Mapping[str, str]] = {
    "25006": "the server takes no writes now: it is a standby or default_transaction_read_only is on; point the warehouse's dsn at the "
    "primary, or set default_transaction_read_only = off there",
    "42501": "the role lacks a privilege; `headrace warehouse test` names the GRANT",
    "53100": "the server's disk is full; free space there, loading goes on by itself",
    "53200": "the server is out of memory",
    "53300": "the server has no free connection; raise max_connections or end other sessions",
    "57014": "the statement took longer than the warehouse's statement_seconds, or was cancelled on the server",
    "57P01": "the server was shut down or the session was ended there",
    "57P02": "the server crashed and recovers",
    "57P03": "the server is starting up or shutting down",
    "57P05": "the server ended the session because it was idle",
}
"""SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_CONNECTING: Final[tuple[tuple[str, str], ...]] = (
    (
        r"password authentication failed|no password supplied",
        "the password of the dsn is refused; was it changed? Set the new one",
    ),
    (
        r"no pg_hba\.conf entry",
        "the server's pg_hba.conf lets nobody in from here; add a line for this role, database and address",
    ),
    (r"role .* does not exist", "there is no such role; CREATE ROLE ... LOGIN"),
    (r"database .* does not exist", "there is no such database; CREATE DATABASE ..."),
    (r"too many connections|too many clients|connection slots are reserved", _REMEDIES["53300"]),
    (r"starting up|shutting down|in recovery mode|not yet accepting", "the server is starting up or shutting down"),
    (r"could not translate host name", "the dsn's host name is not known to DNS"),
    (r"Connection refused|No such file or directory", "no server listens there; is it running, and is the port right?"),
    (r"timeout expired|timed out", "the server does not answer in time; is a firewall between?"),
    (r"SSL|certificate", "the encrypted connection was not agreed on; see sslmode of the dsn"),
)

_PASSES: Final = ("08", "40", "53", "55", "57", "58", "XX")
"""Classes of what may pass without the load being at fault."""
_PASSES_EXACTLY: Final = frozenset(("25006", "42501"))
_BREAKS: Final = frozenset(("57P01", "57P02", "57P03", "57P04", "57P05"))


_LOST: Final = re.compile(
    r"server closed the connection|terminating connection|could not (?:send|receive)|no connection to the server|"
    r"connection (?:to server|not open|is closed|timed out|reset)|SSL SYSCALL|Broken pipe|Failed to connect"
)


def sqlstate(error: Exception) -> str:
    """Errors in the middle of an answer have it in their text alone."""
    found = re.search(r"SQLSTATE: (\w{5})", str(error))
    return getattr(error, "sqlstate", None) or (found.group(1) if found else "")


def breaks(error: Exception) -> bool:
    """Whether the connection is past use."""
    state = sqlstate(error)
    return state in _BREAKS or state.startswith("08") or (not state and _LOST.search(str(error)) is not None)


def _details(error: Exception) -> Mapping[str, str]:
    return {
        str(name): value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for name, value in (_named(pair) for pair in getattr(error, "details", None) or ())
    }


def _named(pair: Any) -> tuple[str, Any]:
    name, value = pair
    return name.decode() if isinstance(name, bytes) else name, value


def text(error: Exception) -> str:
    """What the server said, with its detail; never the statement, which holds the events' values."""
    details = _details(error)
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY")
    if primary:
        detail, hint = details.get("PG_DIAG_MESSAGE_DETAIL"), details.get("PG_DIAG_MESSAGE_HINT")
        parts = [primary, detail, details.get("PG_DIAG_CONTEXT"), hint]
        return "; ".join(part.replace("\n", " ") for part in parts if part)
    whole = re.sub(r"(?s)Failed to (?:execute|prepare) query '.*'(?=: )", "the statement failed", str(error))
    whole = re.sub(r"^\[libpq\] Execution error \[\w+\]: ERROR: +", "", whole)
    lines = [line.strip() for line in whole.splitlines() if line.strip()]
    return without_password(" ".join(lines))[-500:]


def position(error: Exception) -> int | None:
    """The character of the statement, from 0, where the server found what is wrong."""
    found = _details(error).get("PG_DIAG_STATEMENT_POSITION", "")
    return int(found) - 1 if found.isdigit() else None


def without_password(said: str) -> str:
    return re.sub(r"://([^:/@\s]*):[^@\s]*@", r"://\1:...@", re.sub(r"(?i)password=\S+", "password=...", said))


def translated(error: Exception) -> HeadraceError | ValueError | HeldError:
    """For statements of headrace's own."""
    state, said = sqlstate(error), text(error)
    if state in ("55P03", "2BP01") or (state == "0A000" and "type of a column" in said):
        return HeldError(said)
    if breaks(error):
        why = _REMEDIES.get(state, "the connection was lost; is the server up?")
        return WarehouseUnavailableError(f"warehouse: {why} (PostgreSQL: {said})")
    if state in _PASSES_EXACTLY or state[:2] in _PASSES:
        return WarehouseUnavailableError(
            f"warehouse: {_REMEDIES.get(state, 'the server cannot do it now')} (PostgreSQL: {said})"
        )
    return ValueError(f"warehouse: PostgreSQL refuses the statement: {said} ({state or 'no SQLSTATE'})")


def not_connected(error: Exception) -> WarehouseUnavailableError:
    """For opening a connection, where the driver gives a text alone."""
    said = text(error)
    said = said.partition("Failed to connect: ")[2] or said
    for pattern, remedy in _CONNECTING:
        if re.search(pattern, said):
            return WarehouseUnavailableError(f"warehouse: {remedy} (PostgreSQL: {said})")
    return WarehouseUnavailableError(f"warehouse: the server cannot be reached (PostgreSQL: {said})")
