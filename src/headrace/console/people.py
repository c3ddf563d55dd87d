"""The API's part about people and the tokens of programs: nobody gives more than he has, and only owners touch owners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post
from litestar.params import Body, FromPath

from headrace.console.access import REQUESTER, Requester
from headrace.console.sessions import Password, Short, Worker
from headrace.errors import ConfigError, RequestError
from headrace.workspace import names
from headrace.workspace.people import Person
from headrace.workspace.roles import Role, may
from headrace.workspace.sessions import Token

MOST_DAYS = 3_660


class PersonOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without a password an invitation is made."""

    email: Short
    name: Short
    role: Role
    password: Password | None = None


class PersonChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays."""

    name: Short | None = None
    role: Role | None = None
    disabled: bool | None = None


class PersonInvited(msgspec.Struct, frozen=True):
    """`code` is shown only now, empty where a password was given. It is taken up at `path` of the console."""

    person: Person
    code: str
    path: str


class TokenOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without `days` it does not end by itself."""

    name: Short
    role: Role
    days: Annotated[int, msgspec.Meta(ge=1, le=MOST_DAYS)] | None = None


class TokenAdded(msgspec.Struct, frozen=True):
    """`clear` is the token itself, shown only now."""

    token: Token
    clear: str


def routes(worker: Worker) -> list[Any]:
    def touched(number: int) -> Person:
        person = worker.logins.people.one(number)
        _check(person.role, f"{person.email} is {person.role}")
        return person

    @get("/people", role="admin", sync_to_thread=True)
    def list_people() -> Sequence[Person]:
        return worker.logins.people.all()

    @post("/people", role="admin", sync_to_thread=True)
    def add_person(data: Annotated[PersonOrder, Body(description="Who is to log in, and as what")]) -> PersonInvited:
        _check(data.role, f"the new person would be {data.role}")
        return _invited(*worker.logins.people.add(data.email, data.name, data.role, data.password))

    @patch("/people/{number:int}", role="admin", sync_to_thread=True)
    def change_person(
        number: FromPath[int], data: Annotated[PersonChange, Body(description="What is to change")]
    ) -> Person:
        people = worker.logins.people
        person = touched(number)
        _check_change(person, data)
        with people.together():
            if data.role is not None and data.role != person.role:
                person = people.set_role(number, data.role)
            if data.name is not None and data.name != person.name:
                person = people.rename(number, data.name)
            if data.disabled is not None and data.disabled != (person.disabled_at is not None):
                person = people.disable(number) if data.disabled else people.enable(number)
        return person

    @post("/people/{number:int}/invitation", role="admin", sync_to_thread=True)
    def invite_person(number: FromPath[int]) -> PersonInvited:
        touched(number)
        return _invited(*worker.logins.people.invite(number))

    @delete("/people/{number:int}", role="admin", sync_to_thread=True, status_code=204)
    def remove_person(number: FromPath[int]) -> None:
        touched(number)
        _check_other(number, "remove")
        worker.logins.people.remove(number)

    return [list_people, add_person, change_person, invite_person, remove_person]


def token_routes(worker: Worker) -> list[Any]:
    @get("/tokens", role="viewer", sync_to_thread=True)
    def list_tokens() -> Sequence[Token]:
        requester = _requester()
        tokens = worker.logins.tokens.all()
        return tokens if may(requester.role, "admin") else [token for token in tokens if _is_own(token, requester)]

    @post("/tokens", role="viewer", sync_to_thread=True)
    def add_token(data: Annotated[TokenOrder, Body(description="Its name, and what it may do")]) -> TokenAdded:
        if _requester().via == "token":
            raise RequestError(
                "session_needed",
                "token: a token makes no other, which could outlive it; log in, or run `headrace token add` on the machine",
                403,
            )
        _check(data.role, f"the token would be {data.role}")
        ends = None if data.days is None else datetime.now(UTC) + timedelta(days=data.days)
        return TokenAdded(*worker.logins.tokens.add(data.name, data.role, _requester().person, ends))

    @delete("/tokens/{number:int}", role="viewer", sync_to_thread=True, status_code=204)
    def remove_token(number: FromPath[int]) -> None:
        requester, tokens = _requester(), worker.logins.tokens
        token = tokens.one(number)
        if not _is_own(token, requester):
            maker = worker.logins.people.one(token.person).role if token.person is not None else "viewer"
            _check("admin", f"the token {token.name} is somebody else's")
            _check(maker, f"{token.made_by} is {maker}")
        tokens.remove(number)

    return [list_tokens, add_token, remove_token]


def _requester() -> Requester:
    requester = REQUESTER.get()
    if requester is None:
        raise RequestError("login_required", "login: this needs a login", 401)
    return requester


def _is_own(token: Token, requester: Requester) -> bool:
    return token.person is not None and token.person == requester.person


def _check(needed: Role, why: str) -> None:
    requester = _requester()
    if not may(requester.role, needed):
        raise RequestError(
            "role_refused", f"role: {why}, and you are {requester.role}; ask somebody who is {needed}", 403
        )


def _check_change(person: Person, change: PersonChange) -> None:
    """Before anything changes."""
    if change.name is not None:
        names.nickname(change.name)
    if change.disabled is not None and change.disabled != (person.disabled_at is not None):
        _check_other(person.id, "disable")
    if change.role is not None and change.role != person.role:
        _check(change.role, f"{person.email} would be {change.role}")


def _check_other(number: int, what: str) -> None:
    if _requester().person == number:
        raise ConfigError(f"people: you cannot {what} yourself; ask another admin of the workspace")


def _invited(person: Person, code: str) -> PersonInvited:
    return PersonInvited(person, code, f"/invitation#{code}" if code else "")
