"""The API's part about the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import get
from litestar.params import QueryParameter

from headrace.console.sessions import Worker
from headrace.workspace.audit import AuditChoices, AuditEntry, Choice

MOST: Final = 500
_LONGEST: Final = 300
Word = Annotated[str | None, QueryParameter(max_length=_LONGEST)]

Moment = Annotated[datetime | None, QueryParameter(description="With its zone")]


class AuditTrail(msgspec.Struct, frozen=True):
    """Newest first. `before` asks for the older ones, None at the end."""

    entries: Sequence[AuditEntry]
    before: int | None


def routes(worker: Worker) -> list[Any]:
    @get("/audit", role="admin", sync_to_thread=True)
    def show_audit(
        who: Word = None,
        kind: Word = None,
        verb: Word = None,
        subject: Word = None,
        text: Word = None,
        since: Moment = None,
        until: Moment = None,
        before: Annotated[int | None, QueryParameter(ge=1, le=2**53)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=MOST)] = 100,
    ) -> AuditTrail:
        since, until = _in_zone(since), _in_zone(until)
        choice = Choice(
            who=who, kind=kind, verb=verb, subject=subject, text=text, since=since, until=until, before=before
        )
        found = worker.logins.audit.entries(choice, limit + 1)
        shown = found[:limit]
        return AuditTrail(shown, shown[-1].id if len(found) > limit else None)

    @get("/audit/known", role="admin", sync_to_thread=True)
    def show_audit_choices() -> AuditChoices:
        return worker.logins.audit.known()

    return [show_audit, show_audit_choices]


def _in_zone(moment: datetime | None) -> datetime | None:
    """A moment without zone is in UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
