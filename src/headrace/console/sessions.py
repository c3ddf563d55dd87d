"""The API's part about logging in: the session, the first start, invitations, one's own password."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.datastructures import Cookie
from litestar.params import Body, FromPath

from headrace import __version__
from headrace.console.access import Who
from headrace.console.logins import LoggedIn, Logins
from headrace.errors import RequestError
from headrace.workspace.roles import Role
from headrace.workspace.sessions import Known

Asked = Request[Any, Any, Any]
Password = Annotated[str, msgspec.Meta(max_length=1_000)]
Short = Annotated[str, msgspec.Meta(max_length=300)]

BROWSER_SECONDS = 180 * 86_400


class SessionShown(msgspec.Struct, frozen=True, kw_only=True):
    """`csrf_token` goes back as the header x-csrf-token with every change. `version` and `collector_url` are told to who is logged in."""

    needs_setup: bool = False
    needs_setup_code: bool = False
    logged_in: bool = False
    name: str = ""
    email: str = ""
    person: int | None = None
    role: Role | None = None
    csrf_token: str = ""
    version: str = ""
    collector_url: str = ""


class SetupOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is the setup code that `headrace serve` prints; at the machine itself none is needed."""

    email: Short
    name: Short
    password: Password
    code: Short = ""


class LoginOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: Short
    password: Password


class InvitationShown(msgspec.Struct, frozen=True):
    """Whose invitation it is."""

    email: str
    name: str
    role: Role


class InvitationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Short
    password: Password


class CodeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Short


class PasswordOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: Password
    password: Password


class OwnSession(msgspec.Struct, frozen=True):
    """`id` names it, and is no secret."""

    id: str
    is_this: bool
    peer: str
    agent: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime


class Worker(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    @property
    def logins(self) -> Logins: ...


def routes(worker: Worker, who: Who) -> list[Any]:
    """Of who is not logged in yet, and logging out."""

    @get("/session", sync_to_thread=True)
    def show_session(request: Asked) -> SessionShown:
        logins = worker.logins
        found = logins.known(request)
        if found is not None:
            return _shown(logins, found)
        requester = who(request)
        if requester is not None:
            return SessionShown(
                logged_in=True,
                name=requester.name,
                role=requester.role,
                version=__version__,
                collector_url=logins.collector_url(),
            )
        nobody = logins.people.nobody()
        return SessionShown(needs_setup=nobody, needs_setup_code=nobody and logins.needs_code(logins.way(request)))

    @post("/setup", sync_to_thread=True)
    def set_up(
        request: Asked, data: Annotated[SetupOrder, Body(description="The first owner")]
    ) -> Response[SessionShown]:
        return _begun(
            worker.logins, request, worker.logins.set_up(request, data.email, data.name, data.password, data.code)
        )

    @post("/session", sync_to_thread=True)
    def log_in(
        request: Asked, data: Annotated[LoginOrder, Body(description="Address and password")]
    ) -> Response[SessionShown]:
        return _begun(worker.logins, request, worker.logins.log_in(request, data.email, data.password))

    @delete("/session", role="viewer", sync_to_thread=True)
    def log_out(request: Asked) -> Response[None]:
        logins = worker.logins
        logins.sessions.end(_known(worker, request).session.digest)
        gone = Cookie(logins.cookie, path="/", value="", max_age=0, httponly=True, samesite="lax")
        return Response(None, status_code=204, cookies=[gone])

    @post("/invitations/show", sync_to_thread=True, status_code=200)
    def show_invitation(data: Annotated[CodeOrder, Body(description="The code of an invitation")]) -> InvitationShown:
        person = worker.logins.people.invited(data.code)
        return InvitationShown(person.email, person.name, person.role)

    @post("/invitations", sync_to_thread=True)
    def take_up_invitation(
        request: Asked, data: Annotated[InvitationOrder, Body(description="The code, and the password that is chosen")]
    ) -> Response[SessionShown]:
        return _begun(worker.logins, request, worker.logins.take_up(request, data.code, data.password))

    return [show_session, set_up, log_in, log_out, show_invitation, take_up_invitation]


def account_routes(worker: Worker) -> list[Any]:
    """Of one's own."""

    @put("/account/password", role="viewer", sync_to_thread=True, status_code=204)
    def change_own_password(
        request: Asked, data: Annotated[PasswordOrder, Body(description="The present password, and the new one")]
    ) -> None:
        worker.logins.change_password(_known(worker, request), data.current, data.password)

    @get("/account/sessions", role="viewer", sync_to_thread=True)
    def show_own_sessions(request: Asked) -> Sequence[OwnSession]:
        logins, here = worker.logins, _known(worker, request).session
        return [
            OwnSession(s.digest[:16], s.digest == here.digest, s.peer, s.agent, s.created_at, s.used_at, s.expires_at)
            for s in logins.sessions.of(here.person, idle=logins.idle)
        ]

    @delete("/account/sessions/{session:str}", role="viewer", sync_to_thread=True, status_code=204)
    def end_own_session(request: Asked, session: FromPath[str]) -> None:
        logins, here = worker.logins, _known(worker, request).session
        for one in logins.sessions.of(here.person, idle=logins.idle):
            if one.digest[:16] == session:
                logins.sessions.end(one.digest)

    return [change_own_password, show_own_sessions, end_own_session]


def _known(worker: Worker, request: Asked) -> Known:
    found = worker.logins.known(request)
    if found is None:
        raise RequestError("session_needed", "session: this is for people who have logged in; log in first", 403)
    return found


def _shown(logins: Logins, found: Known) -> SessionShown:
    return SessionShown(
        logged_in=True,
        name=found.name,
        email=found.email,
        person=found.session.person,
        role=found.role,
        csrf_token=logins.csrf(found.session.digest),
        version=__version__,
        collector_url=logins.collector_url(),
    )


def _begun(logins: Logins, request: Asked, started: LoggedIn) -> Response[SessionShown]:
    found = logins.sessions.known(started.clear, idle=logins.idle)
    body = _shown(logins, found) if found else SessionShown()
    return Response(body, status_code=201, cookies=_cookies(logins, request, started))


def _cookies(logins: Logins, request: Asked, started: LoggedIn) -> list[Cookie]:
    is_secure = logins.way(request).is_https
    return [
        Cookie(name, path="/", value=value, max_age=round(age), httponly=True, secure=is_secure, samesite="lax")
        for name, value, age in (
            (logins.cookie, started.clear, logins.lasts.total_seconds()),
            (logins.browser_cookie, started.browser, BROWSER_SECONDS),
        )
    ]
