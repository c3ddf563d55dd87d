"""The API's part about who may do what, put together: sessions, one's own account, people, tokens, the audit trail."""

from __future__ import annotations

from typing import Any

from headrace.console import auditing, people, sessions
from headrace.console.access import Who
from headrace.console.sessions import Worker


def routes(worker: Worker, who: Who) -> list[Any]:
    return [
        *sessions.routes(worker, who),
        *sessions.account_routes(worker),
        *people.routes(worker),
        *people.token_routes(worker),
        *auditing.routes(worker),
    ]
