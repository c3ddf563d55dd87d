"""Who asks, and what each role may do: every route of the API names the role that it needs, and one guard looks at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec
from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from headrace.console.noting import ACTOR_OF
from headrace.errors import RequestError
from headrace.workspace.actor import ACTOR, COMMAND_LINE, LOGIN_HEADER, Actor
from headrace.workspace.roles import Role, may


class Requester(msgspec.Struct, frozen=True):
    """Who asks. `name` stands in the audit trail; `person` is the number of the person, None for the socket of the data folder."""

    name: str
    role: Role
    via: Literal["session", "token", "socket"]
    person: int | None = None
    email: str = ""

    @property
    def owner(self) -> str:
        """Whose something is: a person's, however they came, or a token's."""
        return f"person {self.person}" if self.person is not None else f"{self.via} {self.name}"


INSIDER: Final = Requester("command line", "owner", "socket")
"""Whoever can open the socket in the data folder can read and write all of that folder anyway."""

Connection = ASGIConnection[Any, Any, Any, Any]
Who = Callable[[Connection], Requester | None]
"""None: nobody who is known. May raise RequestError, for a key that ended or a request that another site made."""

REQUESTER: Final[ContextVar[Requester | None]] = ContextVar("requester", default=None)
"""Who asks for what is being done now; threads of handlers inherit it."""


_VIA: Final = {"session": "session", "token": "token", "socket": COMMAND_LINE}


def named(name: str, email: str) -> str:
    """A person in the audit trail, where two may have the same name."""
    return f"{name} ({email})" if email else name


def insider(connection: Connection) -> Requester:
    """Who asks over the socket."""
    login = unquote(connection.headers.get(LOGIN_HEADER, ""))[:200]
    return msgspec.structs.replace(INSIDER, name=login) if login.isprintable() and login else INSIDER


_INSIDE: Final = "headrace.inside"


def inside(api: Any) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The ASGI application of the socket in the data folder, for `who_of_both`."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope[_INSIDE] = True  # no request can say so of itself
        await api(scope, receive, send)

    return application


def who_of_both(outside: Who) -> Who:
    """Of an API that answers at the socket and at an address, where `outside` tells who asks."""

    def who(connection: Connection) -> Requester | None:
        return insider(connection) if _INSIDE in connection.scope else outside(connection)

    return who


def guard(who: Who) -> Callable[[Connection, BaseRouteHandler], Awaitable[None]]:
    """Refuses who is unknown (401) and who may not (403). A route without a role is open to everybody."""

    async def allowed(connection: Connection, route: BaseRouteHandler) -> None:
        needed: Role | None = route.opt.get("role")
        if needed is None:
            return
        requester = await sync_to_thread(who, connection)
        if requester is None:
            raise RequestError("login_required", "login: this needs a login; send a token, or log in again", 401)
        if not may(requester.role, needed):
            raise RequestError(
                "role_refused",
                f"role: {requester.name} is {requester.role}, and this needs {needed}; ask an admin of the workspace",
                403,
            )
        connection.scope[ACTOR_OF] = actor = Actor(named(requester.name, requester.email), _VIA[requester.via])  # type: ignore[typeddict-unknown-key]
        ACTOR.set(actor)
        REQUESTER.set(requester)  # here and not in a thread, whose variables end with it

    return allowed
