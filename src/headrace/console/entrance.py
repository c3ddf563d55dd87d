"""The API's part about who may do what, put together: sessions, one's own account."""

from __future__ import annotations

from typing import Any

from headrace.console import sessions
from headrace.console.access import Who
from headrace.console.sessions import Worker


def routes(worker: Worker, who: Who) -> list[Any]:
    return [*sessions.routes(worker, who), *sessions.account_routes(worker)]
