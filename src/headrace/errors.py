"""Every error that headrace raises on purpose.

HeadraceError
├── ConfigError              the operator must change something; the command line prints it and ends
│   ├── NotFoundError        a source, schema or file that was named is not there
│   └── FolderInUseError     another server works on this data folder
├── RequestError             the client must change its request: 4xx with a code
│   └── QueryError           the SQL of a user is refused or fails
├── RetryableError           nobody is at fault for good; do the same again after `retry_after_seconds`
│   ├── LogUnavailableError  the log cannot store now (disk full, sync error, staging full)
│   └── WarehouseUnavailableError   the warehouse cannot be reached or has no memory or disk left
├── LogCorruptError          stored bytes do not fit their checksum
├── WideningRefusedError     the warehouse holds a column to its type: its values go to discards, loading goes on
├── PositionError            a stored position does not fit the log, or another loader moved it
└── RejectedEventError       one event cannot become a row: it is stored as a rejected event

A class says what the caller must do. A text says step, subject and remedy.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """The root; never raised itself."""


class ConfigError(HeadraceError):
    """The operator must change a setting, an argument or a file."""


class NotFoundError(ConfigError):
    """What was named does not exist."""


class FolderInUseError(ConfigError):
    """Another server works on this data folder."""


class RequestError(HeadraceError):
    """The client must change its request. `code` is one of the tracking API's codes, `status` the HTTP status.
    `retry_after_seconds` is given with 429."""

    def __init__(self, code: str, reason: str, status: int = 400, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class QueryError(RequestError):
    """The SQL of a user is refused, too long running or wrong. `position`: the character of the SQL where it is wrong, from 0; None where
    that is not known."""

    def __init__(self, reason: str, code: str = "query_refused", position: int | None = None) -> None:
        super().__init__(code, reason)
        self.position = position


class RetryableError(HeadraceError):
    """The same call may succeed after `retry_after_seconds`."""

    def __init__(self, reason: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class LogUnavailableError(RetryableError):
    """The log cannot store events now; nothing of the failed append is stored."""


class WarehouseUnavailableError(RetryableError):
    """The warehouse cannot be used now; nothing of the failed load is stored."""


class LogCorruptError(HeadraceError):
    """Stored bytes do not fit their checksum."""


class WideningRefusedError(HeadraceError):
    """Something in the warehouse holds `column` of `schema.table` to its type; `reason` names it and says what to do."""

    def __init__(self, schema: str, table: str, column: str, reason: str) -> None:
        super().__init__(f"warehouse: {schema}.{table}.{column} keeps its type: {reason}")
        self.schema = schema
        self.table = table
        self.column = column
        self.reason = reason


class PositionError(HeadraceError):
    """A stored position does not fit the log, or another loader moved it. Never go on by guessing."""


class RejectedEventError(HeadraceError):
    """One event cannot become a row; `code` and the text are stored beside it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
