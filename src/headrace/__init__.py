"""headrace brings Segment-style events into a team's own warehouses, each exactly once.

`headrace.connect()` asks a warehouse from Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.client import Connection as Connection
    from headrace.client import connect as connect

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The command line and the collector need none of what a client needs.
    if name in {"connect", "Connection"}:
        from headrace import client  # noqa: PLC0415 - see above

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
