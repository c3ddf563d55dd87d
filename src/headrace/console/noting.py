"""Orders that change nothing in the workspace, for example a test that is sent: the audit trail has them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from litestar.concurrency import sync_to_thread

from headrace.workspace.actor import Actor, acting
from headrace.workspace.audit import WorkspaceAudit


class Noted(NamedTuple):
    verb: str
    kind: str


NOTED: Final[Mapping[str, Noted]] = {
    "order_job": Noted("ordered a job on", "warehouse"),
    "cancel_job": Noted("cancelled", "job"),
    "check_warehouse": Noted("checked the connection of", "warehouse"),
    "check_warehouse_settings": Noted("checked the connection of", "new warehouse"),
    "test_destination": Noted("sent a test to", "destination"),
    "test_unsaved_destination": Noted("sent a test to", "new destination"),
    "test_alert": Noted("sent a test of", "alert"),
    "test_alert_channel": Noted("sent a test to", "alert channel"),
    "test_unsaved_alert_channel": Noted("sent a test to", "new alert channel"),
    "order_replay": Noted("ordered a replay to", "destination"),
    "pause_replay": Noted("paused a replay to", "destination"),
    "resume_replay": Noted("resumed a replay to", "destination"),
    "cancel_replay": Noted("cancelled a replay to", "destination"),
    "replay_dead_letters": Noted("sent dead letters again to", "destination"),
    "begin_demo": Noted("began to load", "demo data"),
    "remove_demo": Noted("removed", "demo data"),
}
"""By the name of the route. Routes that change the workspace are not here: their changes are noted where they are made."""
ACTOR_OF: Final = "headrace.actor"
"""Where the guard leaves the actor of a request, in its scope."""


def noting(audit: Callable[[], WorkspaceAudit]) -> Callable[[Any], Any]:
    """A middleware that notes what was ordered and done, unless the change has left its entry already, or was only tried (`dry_run`)."""

    def middleware(app: Any) -> Any:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            status = 0

            async def watched(event: Any) -> None:
                nonlocal status
                status = event.get("status", status)
                await send(event)

            await app(scope, receive, watched)
            actor: Actor | None = scope.get(ACTOR_OF)
            noted = NOTED.get(_name(scope))
            if (
                noted is None
                or actor is None
                or actor.entries
                or not 200 <= status < 300
                or actor.details.get("dry_run")
            ):
                return
            await sync_to_thread(_note, audit(), noted, actor, scope.get("path_params", {}))

        return call

    return middleware


def _name(scope: Any) -> str:
    route = scope.get("route_handler")
    return str(route.handler_name).rpartition(".")[2] if route is not None else ""


def _note(audit: WorkspaceAudit, noted: Noted, actor: Actor, parameters: Mapping[str, Any]) -> None:
    subject = str(parameters.get("slug") or parameters.get("number") or "")
    numbers = {"number": parameters["number"]} if "slug" in parameters and "number" in parameters else {}
    details = {name: value for name, value in actor.details.items() if value not in (None, "", False)}
    with acting(actor):
        audit.note(noted.verb, noted.kind, subject, {**numbers, **details})
