"""Who asks on the console's address: sessions of people, tokens of programs; logging in, and the first start."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final, NamedTuple

from litestar.connection import ASGIConnection

from headrace.config import ConsoleConfig
from headrace.console.access import Requester, named
from headrace.console.attempts import ACCOUNT, ACCOUNT_HERE, CODE, PEER, Attempts, Limit
from headrace.console.turns import Turns
from headrace.console.ways import Way, is_own, network, way
from headrace.errors import HeadraceError, RequestError
from headrace.workspace import passwords
from headrace.workspace.actor import Actor, acting
from headrace.workspace.audit import FAILED_LOGIN
from headrace.workspace.people import Person
from headrace.workspace.sessions import Known
from headrace.workspace.workspace import Workspace

Connection = ASGIConnection[Any, Any, Any, Any]

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
CSRF_HEADER: Final = "x-csrf-token"
_HASHING: Final = 2
"""A hash takes 19 MB for a while: few at once, whoever asks."""
_WAITING: Final = 8
_HASHING_SECONDS: Final = 5.0
_LONGEST_PASSWORD: Final = 1_000


class LoggedIn(NamedTuple):
    """`clear` is the secret of the session, for its cookie; `browser` that of the browser which has logged in now."""

    person: Person
    clear: str
    browser: str


class Logins:
    """Safe to use from several threads."""

    def __init__(self, workspace: Workspace, config: ConsoleConfig, collector_url: Callable[[], str]) -> None:
        self._workspace = workspace
        self.config = config
        self.collector_url = collector_url
        self.people = workspace.people()
        self.sessions = workspace.sessions()
        self.tokens = workspace.tokens()
        self.audit = workspace.audit()
        self._attempts = Attempts()
        self._hashing = Turns(_HASHING, _WAITING, _HASHING_SECONDS, _busy)
        self._noting = ThreadPoolExecutor(1, "sessions")
        self.idle = timedelta(hours=config.session_idle_hours)
        self.lasts = timedelta(hours=config.session_hours)
        mark = self._digest("cookie")[:8]  # cookies know no ports: two servers of one machine shall not share them
        self.cookie: Final = f"headrace_{mark}"
        self.browser_cookie: Final = f"headrace_browser_{mark}"

    def close(self) -> None:
        self._noting.shutdown(cancel_futures=True)

    def who(self, connection: Connection) -> Requester | None:
        """Raises RequestError for a token that is not known, and for a change that no page of this console asked for."""
        clear = _bearer(connection)
        if clear is not None:
            return self._of_token(clear)
        known = self.known(connection)
        if known is None:
            return None
        if connection.scope.get("method") not in SAFE:
            self._check_page(connection, known)
        return Requester(known.name, known.role, "session", known.session.person, known.email)

    def known(self, connection: Connection) -> Known | None:
        """The live session of the cookie."""
        if _bearer(connection) is not None:  # it asks as a program, whatever else it has with it
            return None
        clear = connection.cookies.get(self.cookie)
        known = self.sessions.known(clear, idle=self.idle) if clear else None
        if known is not None:
            self._noting.submit(_quietly, self.sessions.touch, known.session)
        return known

    def csrf(self, digest: str) -> str:
        """What the pages of a session send with every change."""
        return self._digest(f"csrf:{digest}")

    def _of_token(self, clear: str) -> Requester:
        token = self.tokens.known(clear)
        if token is None or token.acts_as is None:
            raise RequestError(
                "token_unknown",
                "token: it is unknown, has ended or its maker is disabled; make one with: headrace token add NAME --role ROLE",
                401,
            )
        self._noting.submit(_quietly, self.tokens.touch, token)
        return Requester(f"token {token.name}", token.acts_as, "token", token.person)

    def _check_page(self, connection: Connection, known: Known) -> None:
        given = connection.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.csrf(known.session.digest).encode()):
            raise RequestError(
                "csrf_refused",
                f"request: a change with a cookie needs the header {CSRF_HEADER} of this session; load the page again",
                403,
            )
        if is_own(lowered(connection), self.way(connection).authority, self.config.public_url) is not True:
            raise RequestError("origin_refused", _ORIGIN, 403)

    def way(self, connection: Connection) -> Way:
        client = connection.scope.get("client")
        version = str(connection.scope.get("http_version", "1.1"))
        return way(lowered(connection), client[0] if client else "", version, self.config)

    def check_origin(self, connection: Connection) -> Way:
        """Of what needs no session yet: a page of somebody else may not log a browser in. Raises RequestError."""
        found = self.way(connection)
        if is_own(lowered(connection), found.authority, self.config.public_url) is False:
            raise RequestError("origin_refused", _ORIGIN, 403)
        return found

    def needs_code(self, found: Way) -> bool:
        """Whether the first start needs the setup code: for everybody but who sits at this machine."""
        return not found.is_local

    def set_up(self, connection: Connection, email: str, name: str, password: str, code: str) -> LoggedIn:
        """The first owner, logged in. Raises ConfigError and RequestError."""
        found = self.check_origin(connection)
        if self.needs_code(found):
            tries = [(f"peer {network(found.peer)}", PEER), ("setup", CODE)]
            self._take(tries)
            if not hmac.compare_digest(_bare(code), _bare(self._workspace.setup_code())):
                raise RequestError(
                    "setup_code_refused",
                    "setup: this needs the setup code; `headrace serve` prints it, and `headrace people setup-code` shows it",
                    403,
                )
            self._attempts.give_back(tries)
        with self._hashing.one():
            person = self.people.add_first(email, name, password)
        return self._begin(connection, found, person)

    def log_in(self, connection: Connection, email: str, password: str) -> LoggedIn:
        """Raises RequestError: 401 for what does not fit, 429 after too many tries."""
        found = self.check_origin(connection)
        person, kept = self.people.password_of(email)
        tries = self._tries(connection, found, email.strip().casefold()[:300], person)
        self._take(tries)
        with self._hashing.one():
            fits = passwords.fits(kept, password[:_LONGEST_PASSWORD])
        if not fits or person is None or person.disabled_at is not None:
            self._note_failed(person, found)
            raise RequestError("login_refused", "login: address and password do not fit; try again, or ask an admin of the workspace for a new invitation", 401)  # fmt: skip
        self._attempts.give_back(tries)
        return self._begin(connection, found, person)

    def take_up(self, connection: Connection, code: str, password: str) -> LoggedIn:
        """An invitation: its person chooses a password and is logged in. Raises NotFoundError, ConfigError and RequestError."""
        found = self.check_origin(connection)
        tries = [(f"peer {network(found.peer)}", PEER)]
        self._take(tries)
        with self._hashing.one():
            person = self.people.take_up(code, password)
        self._attempts.give_back(tries)
        return self._begin(connection, found, person)

    def change_password(self, known: Known, current: str, password: str) -> None:
        """The other sessions of the person end. Raises RequestError and ConfigError."""
        tries = [(f"own {known.session.person}", ACCOUNT_HERE)]
        self._take(tries)
        kept = self.people.password_of(known.email)[1]
        with self._hashing.one():
            if not passwords.fits(kept, current[:_LONGEST_PASSWORD]):
                raise RequestError("password_refused", "password: the present one is another; try again", 403)
            self.people.set_password(known.session.person, password, but=known.session.digest)
        self._attempts.give_back(tries)

    def _begin(self, connection: Connection, found: Way, person: Person) -> LoggedIn:
        agent = connection.headers.get("user-agent", "")
        clear = self.sessions.begin(person.id, found.peer, agent, lasts=self.lasts)
        with acting(Actor(named(person.name, person.email), "session")):
            self.audit.note("logged in", "session", "", {"from": found.peer})
        return LoggedIn(person, clear, self._browser(person.id))

    def _note_failed(self, person: Person | None, found: Way) -> None:
        """An address that nobody has is not noted: people type passwords in the wrong field."""
        with acting(Actor("somebody", "session")):
            subject = person.email if person is not None else "unknown address"
            self.audit.note(FAILED_LOGIN, "session", subject, {"from": found.peer})

    def _tries(self, connection: Connection, found: Way, email: str, person: Person | None) -> list[tuple[str, Limit]]:
        place = network(found.peer)
        if person is not None and self._knows(connection, person.id):
            return [(f"browser {place} {person.id}", ACCOUNT_HERE)]
        return [(f"peer {place}", PEER), (f"account {place} {email}", ACCOUNT_HERE), (f"account {email}", ACCOUNT)]

    def _take(self, tries: list[tuple[str, Limit]]) -> None:
        wait = self._attempts.take(tries)
        if wait > 0:
            raise RequestError(
                "too_many_tries", f"login: that was tried too often; try again in {max(1, round(wait))} s", 429, wait
            )

    def _browser(self, person: int) -> str:
        return f"{person}.{self._digest(f'browser:{person}')}"

    def _knows(self, connection: Connection, person: int) -> bool:
        """Whether the person has logged in from this browser before."""
        given = connection.cookies.get(self.browser_cookie, "")
        return hmac.compare_digest(given.encode(), self._browser(person).encode())

    def _digest(self, text: str) -> str:
        return hmac.digest(self._workspace.secret, f"console:{text}".encode(), "sha256").hex()


_ORIGIN: Final = "request: it does not come from a page of this console; open the console itself, and see docs/console-access.md if it is behind a proxy"


def _busy() -> RequestError:
    return RequestError("too_many_tries", "login: many log in at this moment; try again in 5 s", 429, 5.0)


def _bearer(connection: Connection) -> str | None:
    """The token, if one was sent. What a proxy before the console asks for by itself (Basic and others) is none of ours."""
    scheme, _, clear = connection.headers.get("authorization", "").partition(" ")
    return clear.strip() if scheme.lower() == "bearer" else None


def lowered(connection: Connection) -> Mapping[str, str]:
    """Headers by lower-case name, the last one of several."""
    return {name.lower(): value for name, value in connection.headers.items()}


def _bare(code: str) -> bytes:
    return "".join(c for c in code.upper() if c.isalnum()).encode()


def _quietly(note: Callable[[Any], None], subject: Any) -> None:
    """What cannot be noted now is noted a minute later."""
    try:
        note(subject)
    except HeadraceError:
        return
