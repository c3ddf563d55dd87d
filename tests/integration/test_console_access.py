"""Who may do what on the console's address: roles, sessions, tokens, the first start, and what stands before all of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from console_doors import EMAIL, PASSWORD, Door, door
from headrace.config import ConsoleConfig, WarehouseConfig
from headrace.console import front
from headrace.console.access import INSIDER
from headrace.console.api import api
from headrace.console.attempts import ACCOUNT_HERE, PEER, Attempts
from headrace.console.noting import NOTED
from headrace.console.ways import host_of, is_allowed
from headrace.workspace import passwords
from headrace.workspace.roles import ROLES, Role
from headrace.workspace.sessions import WorkspaceSessions

OPEN = {
    "show_session", "set_up", "log_in", "show_invitation", "take_up_invitation",  # who is not logged in yet
    "show_openapi", "show_health", "show_metrics",
}  # fmt: skip
CHANGES = {
    "add_alert", "change_alert", "remove_alert", "add_alert_channel", "change_alert_channel", "remove_alert_channel",
    "add_source", "change_source", "remove_source", "rotate_write_key", "retire_write_key",
    "add_destination", "change_destination", "remove_destination", "change_email_settings",
    "add_warehouse", "change_warehouse", "remove_warehouse", "change_selection", "apply_configuration",
    "add_saved", "change_saved", "remove_saved", "add_person", "change_person", "invite_person", "remove_person",
}  # fmt: skip
"""Routes that change the workspace, which notes it."""
ASKS = {"take_notice"}
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _quick_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(passwords, "_hasher", lambda: quick)
        passwords._nobodys.cache_clear()
        yield
    passwords._nobodys.cache_clear()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """With an owner, and somebody of each role whose address begins with it."""
    with door(tmp_path_factory.mktemp("access")) as found:
        people = found.worker.logins.people
        people.add_first(EMAIL, "Ada", PASSWORD)
        for role in ROLES:
            people.add(f"{role}@example.com", role.title(), role, PASSWORD)
        yield found


@pytest.fixture
def _no_time_passes(opened: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no try is given back."""
    monkeypatch.setattr(opened.worker.logins, "_attempts", Attempts(lambda: 0.0))


@pytest.fixture
def elsewhere() -> str:
    """An address that no other test has used up the tries of."""
    return f"192.0.2.{next(_numbers)}"


def token(opened: Door, role: Role, maker: int | None = None) -> dict[str, str]:
    name = f"{role} {next(_numbers)}"
    return {"authorization": f"Bearer {opened.worker.logins.tokens.add(name, role, maker)[1]}"}


def routes() -> list[tuple[str, str, str, Role | None]]:
    """Method, path, name and role of each route of the API."""
    app: Any = api(None, WarehouseConfig(), lambda _: INSIDER)  # type: ignore[arg-type]
    return [
        (method, route.path, handler.handler_name.rpartition(".")[2], handler.opt.get("role"))
        for route in app.routes
        for handler in route.route_handlers
        for method in handler.http_methods - {"OPTIONS"}
        if not route.path.startswith("/api/v1/openapi")
    ]


def test_what_nobody_thought_of_is_logged_and_its_answer_tells_nothing(
    opened: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise LookupError("geheim-42")

    monkeypatch.setattr(opened.worker.logins.people, "all", broken)
    answer = opened.client().get("/api/v1/people", headers=token(opened, "admin"))
    assert (500, "internal") == (answer.status_code, answer.json()["code"])
    assert "geheim-42" not in answer.text
    assert ["console: GET /api/v1/people failed"] == [
        one.message for one in caplog.records if one.name.startswith("headrace")
    ]
    assert "LookupError: geheim-42" in caplog.text


# roles


def test_every_route_names_its_role_or_is_open_on_purpose() -> None:
    for method, path, name, role in routes():
        assert (role is None) == (name in OPEN), f"{method} {path} ({name}) has the role {role}"
        assert role is None or role in ROLES


def test_every_order_is_in_the_audit_trail() -> None:
    orders = {name for method, _, name, role in routes() if method in UNSAFE and role in {"editor", "admin", "owner"}}
    assert set() == orders - NOTED.keys() - CHANGES - ASKS
    assert set() == NOTED.keys() & CHANGES


def test_each_role_below_is_refused_by_every_route_and_nobody_unknown_gets_in(opened: Door) -> None:
    client = opened.client()
    headers = {role: token(opened, role) for role in ROLES}
    walked = 0
    for method, path, name, needed in routes():
        if needed is None:
            continue
        at = path.replace("{number:int}", "1").replace("{partition:int}/{offset:int}", "0/0")
        at = "/".join("x" if part.startswith("{") else part for part in at.split("/"))
        assert 401 == client.request(method, at).status_code, f"{method} {at} ({name}) of nobody"
        assert 401 == client.request(method, at, headers={"authorization": "Bearer hrt_unknown"}).status_code
        for role in ROLES[: ROLES.index(needed)]:
            answer = client.request(method, at, headers=headers[role])
            assert (403, "role_refused") == (answer.status_code, answer.json()["code"]), f"{method} {at} of a {role}"
            walked += 1
    assert walked > 20


def test_a_role_that_is_enough_gets_in(opened: Door) -> None:
    client = opened.client()
    assert 200 == client.get("/api/v1/sources", headers=token(opened, "viewer")).status_code
    assert 200 == client.get("/api/v1/people", headers=token(opened, "admin")).status_code
    assert 403 == client.get("/api/v1/people", headers=token(opened, "editor")).status_code


# sessions


def test_a_login_is_a_cookie_that_scripts_do_not_see_and_ends_with_the_logout(opened: Door) -> None:
    client = opened.client()
    answer = client.log_in()
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "secure" not in cookie.lower()
    assert (True, "owner", EMAIL) == tuple(client.session[name] for name in ("logged_in", "role", "email"))
    stolen = dict(client.cookies)
    assert 204 == client.delete("/api/v1/session").status_code
    again = opened.client()
    again.cookies.update(stolen)
    assert not again.session["logged_in"]


def test_cookies_are_secure_behind_https(opened: Door) -> None:
    console = ConsoleConfig(public_url="https://console.example.com")
    opened.worker.logins.config, before = console, opened.worker.logins.config
    try:
        client = opened.client(base_url="https://console.example.com", app=opened.application(console))
        answer = client.log_in()
        assert answer.headers["set-cookie"].lower().count("secure") == 2
        assert "max-age" in answer.headers["strict-transport-security"]
    finally:
        opened.worker.logins.config = before


def test_nothing_that_opens_a_session_or_is_a_token_is_stored(opened: Door) -> None:
    client = opened.logged_in()
    bearer = token(opened, "viewer")["authorization"].partition(" ")[2]
    folder = opened.config.folder
    stored = b"".join(file.read_bytes() for file in folder.glob("workspace.db*"))
    assert bearer.encode() not in stored
    assert client.cookies[opened.worker.logins.cookie].encode() not in stored
    assert PASSWORD.encode() not in stored
    assert b"argon2id" in stored  # the control: this is where it would be


def test_sessions_end_by_age_and_by_idleness(opened: Door) -> None:
    logins = opened.worker.logins
    now = [datetime.now(UTC)]
    sessions = WorkspaceSessions(logins.sessions._database, logins.sessions._secret, lambda: now[0])
    idle, lasts = timedelta(hours=2), timedelta(hours=5)
    clear = sessions.begin(logins.people.of_email(EMAIL).id, "", "", lasts=lasts)
    for _ in range(3):
        now[0] += timedelta(hours=1.5)
        known = sessions.known(clear, idle=idle)
        assert known is not None
        sessions.touch(known.session)
    now[0] += timedelta(hours=1)
    assert sessions.known(clear, idle=idle) is None  # too old
    idler = sessions.begin(1, "", "", lasts=lasts)
    now[0] += idle
    assert sessions.known(idler, idle=idle) is None


def test_who_is_disabled_or_gets_another_role_feels_it_at_once(opened: Door) -> None:
    people = opened.worker.logins.people
    person, _ = people.add("eve@example.com", "Eve", "admin", PASSWORD)
    eve, with_token = opened.logged_in("eve@example.com"), token(opened, "admin", person.id)
    assert 200 == eve.get("/api/v1/people").status_code
    people.set_role(person.id, "viewer")
    assert 403 == eve.get("/api/v1/people").status_code
    assert 403 == opened.client().get("/api/v1/people", headers=with_token).status_code
    assert 200 == opened.client().get("/api/v1/sources", headers=with_token).status_code
    people.disable(person.id)
    assert 401 == eve.get("/api/v1/sources").status_code
    assert 401 == opened.client().get("/api/v1/sources", headers=with_token).status_code
    assert 401 == opened.client().log_in("eve@example.com").status_code


def test_a_new_password_ends_the_other_sessions_and_not_this_one(opened: Door) -> None:
    opened.worker.logins.people.add("pia@example.com", "Pia", "viewer", PASSWORD)
    here, there = opened.logged_in("pia@example.com"), opened.logged_in("pia@example.com")
    new = {"current": PASSWORD, "password": "some other long words"}
    assert 403 == here.put("/api/v1/account/password", json={**new, "current": "wrong"}).status_code
    assert 409 == here.put("/api/v1/account/password", json={**new, "password": "short"}).status_code
    assert 204 == here.put("/api/v1/account/password", json=new).status_code
    assert (True, False) == (here.session["logged_in"], there.session["logged_in"])
    assert 401 == opened.client().log_in("pia@example.com").status_code
    assert 201 == opened.client().log_in("pia@example.com", new["password"]).status_code


def test_one_s_own_sessions_are_shown_and_ended(opened: Door) -> None:
    opened.worker.logins.people.add("sue@example.com", "Sue", "viewer", PASSWORD)
    here, there = opened.logged_in("sue@example.com"), opened.logged_in("sue@example.com")
    shown = here.get("/api/v1/account/sessions").json()
    assert [False, True] == sorted(one["is_this"] for one in shown)
    other = next(one["id"] for one in shown if not one["is_this"])
    assert 204 == here.delete(f"/api/v1/account/sessions/{other}").status_code
    assert not there.session["logged_in"]


def test_what_a_proxy_asks_for_by_itself_is_no_token(opened: Door) -> None:
    basic = {"authorization": "Basic b2xnYTpnYXRl"}
    assert 401 == opened.client().get("/api/v1/sources", headers=basic).status_code
    person = opened.logged_in()
    assert 200 == person.get("/api/v1/sources", headers=basic).status_code
    assert 200 == person.post("/api/v1/notice", headers=basic).status_code
    assert 403 == person.post("/api/v1/notice", headers={**basic, "x-csrf-token": "another"}).status_code
    assert 401 == person.get("/api/v1/sources", headers={"authorization": "Bearer hr_unknown"}).status_code


def test_a_token_cannot_do_what_is_for_people(opened: Door) -> None:
    owner = opened.worker.logins.people.of_email(EMAIL).id
    order = {"current": PASSWORD, "password": "some other long words"}
    answer = opened.logged_in().put("/api/v1/account/password", json=order, headers=token(opened, "owner", owner))
    assert (403, "session_needed") == (answer.status_code, answer.json()["code"])
    lasting = {"name": "lasting", "role": "viewer"}
    answer = opened.client().post("/api/v1/tokens", json=lasting, headers=token(opened, "owner", owner))
    assert (403, "session_needed") == (answer.status_code, answer.json()["code"]), (
        "it could outlive the one that made it"
    )
    assert 201 == opened.logged_in().post("/api/v1/tokens", json=lasting).status_code


# requests of other sites


def test_a_change_by_cookie_needs_the_token_of_its_session_and_a_page_of_this_console(opened: Door) -> None:
    client, other = opened.logged_in(), opened.logged_in()

    def ask(**headers: str) -> int:
        return client.post("/api/v1/notice", headers=headers).status_code

    assert 200 == ask()
    assert 403 == ask(**{"x-csrf-token": ""})
    assert 403 == ask(**{"x-csrf-token": other.headers["x-csrf-token"]})
    assert 403 == ask(origin="http://evil.example")
    assert 403 == ask(origin="null")
    assert 403 == ask(**{"sec-fetch-site": "cross-site"})
    assert 200 == ask(**{"sec-fetch-site": "same-origin"})
    del client.headers["origin"]
    assert 403 == ask()
    assert 200 == ask(**{"sec-fetch-site": "same-origin"})
    assert 200 == opened.client().post("/api/v1/notice", headers=token(opened, "editor")).status_code


def test_a_page_of_another_site_can_log_nobody_in(opened: Door) -> None:
    client = opened.client()
    client.headers["origin"] = "http://evil.example"
    assert (403, "origin_refused") == ((answer := client.log_in()).status_code, answer.json()["code"])


def test_the_console_answers_under_its_own_names_only(opened: Door) -> None:
    for host in ("http://localhost:8001", "http://127.0.0.1:8001", "http://10.1.2.3"):
        assert 200 == opened.client(base_url=host).get("/api/v1/session").status_code, host
    for host in ("http://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example"):
        answer = opened.client(base_url=host).get("/api/v1/session")
        assert (421, "host_refused") == (answer.status_code, answer.json()["code"]), host
        assert 421 == opened.client(base_url=host).get("/").status_code
        assert 200 == opened.client(base_url=host).get("/metrics").status_code  # for programs that watch servers
    assert is_allowed(host_of("[::1]:8001"), ())
    named = opened.application(ConsoleConfig(allowed_hosts="headrace, other.example"))
    assert 200 == opened.client(base_url="http://other.example", app=named).get("/api/v1/session").status_code
    assert 421 == opened.client(base_url="http://evil.example", app=named).get("/api/v1/session").status_code


# every answer


@pytest.mark.parametrize("path", ["/", "/sources/x", "/assets/none.js", "/api/v1/session", "/api/v1/status", "/api/none", "/health"])  # fmt: skip
def test_every_answer_has_a_strict_policy(opened: Door, path: str) -> None:
    headers = opened.client().get(path).headers
    assert front.POLICY == headers["content-security-policy"]
    assert "unsafe-eval" not in front.POLICY
    assert "script-src 'self';" in front.POLICY
    assert "nosniff" == headers["x-content-type-options"]
    assert {"referrer-policy", "permissions-policy", "x-frame-options"} <= set(headers)
    assert ("no-store" == headers.get("cache-control")) == path.startswith(("/api", "/health"))


# logging in


def test_an_unknown_account_and_a_wrong_password_look_the_same(opened: Door, elsewhere: str) -> None:
    client = opened.client(elsewhere)
    wrong, unknown = client.log_in(EMAIL, "wrong"), client.log_in("nobody@example.com", "wrong")
    assert (401, wrong.text) == (wrong.status_code, unknown.text)


def test_the_same_work_is_done_for_who_is_unknown(
    opened: Door, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str | None] = []
    fits = passwords.fits

    def watched(kept: str | None, password: str) -> bool:
        tried.append(kept)
        return fits(kept, password)

    monkeypatch.setattr(passwords, "fits", watched)
    assert 401 == opened.client(elsewhere).log_in("nobody@example.com").status_code
    assert [None] == tried
    assert passwords._nobodys().split("$")[:4] == passwords.hashed("x").split("$")[:4]


@pytest.mark.usefixtures("_no_time_passes")
def test_too_many_tries_have_to_wait_and_are_told_how_long(opened: Door, elsewhere: str) -> None:
    client = opened.client(elsewhere)
    answers = [client.log_in("viewer@example.com", "wrong") for _ in range(ACCOUNT_HERE.tries + 1)]
    assert [401] * ACCOUNT_HERE.tries + [429] == [answer.status_code for answer in answers]
    assert 0 < int(answers[-1].headers["retry-after"]) <= ACCOUNT_HERE.seconds
    assert 429 == client.log_in("viewer@example.com").status_code  # right, but too late
    assert 201 == client.log_in("editor@example.com").status_code  # another account is free


@pytest.mark.usefixtures("_no_time_passes")
def test_a_stranger_cannot_keep_an_account_s_person_out(opened: Door, elsewhere: str) -> None:
    opened.worker.logins.people.add("kim@example.com", "Kim", "viewer", PASSWORD)
    kim = opened.logged_in("kim@example.com")
    stranger = opened.client(elsewhere)
    while stranger.log_in("kim@example.com", "wrong").status_code != 429:
        pass
    assert 201 == opened.client().log_in("kim@example.com").status_code  # from another place
    same_place = opened.client(elsewhere)
    assert 429 == same_place.log_in("kim@example.com").status_code
    same_place.cookies.update(dict(kim.cookies))
    assert 201 == same_place.log_in("kim@example.com").status_code  # from a browser that knows her


@pytest.mark.usefixtures("_no_time_passes")
def test_one_place_cannot_try_many_accounts(opened: Door, elsewhere: str) -> None:
    client = opened.client(elsewhere)
    answers = [client.log_in(f"a{number}@example.com", "wrong").status_code for number in range(PEER.tries + 1)]
    assert [401] * PEER.tries + [429] == answers


def test_an_invitation_is_taken_up_once(opened: Door) -> None:
    admin = opened.logged_in("admin@example.com")
    added = admin.post("/api/v1/people", json={"email": "new@example.com", "name": "New", "role": "viewer"}).json()
    assert added["path"] == f"/invitation#{added['code']}"
    client = opened.client()
    assert "new@example.com" == client.post("/api/v1/invitations/show", json={"code": added["code"]}).json()["email"]
    assert 401 == client.log_in("new@example.com", "").status_code
    order = {"code": added["code"], "password": "a password of one's own"}
    answer = client.post("/api/v1/invitations", json=order)
    assert (201, True) == (answer.status_code, client.session["logged_in"])
    assert 404 == opened.client().post("/api/v1/invitations", json=order).status_code


# people and tokens


def test_nobody_gives_more_than_he_has_and_only_owners_touch_owners(opened: Door) -> None:
    admin, people = opened.logged_in("admin@example.com"), opened.worker.logins.people
    owner, viewer = people.of_email("owner@example.com").id, people.of_email("viewer@example.com").id
    person = {"email": "x@example.com", "name": "X"}
    assert 403 == admin.post("/api/v1/people", json={**person, "role": "owner"}).status_code
    assert 403 == admin.patch(f"/api/v1/people/{viewer}", json={"role": "owner"}).status_code
    assert 403 == admin.patch(f"/api/v1/people/{owner}", json={"role": "viewer"}).status_code
    assert 403 == admin.patch(f"/api/v1/people/{owner}", json={"disabled": True}).status_code
    assert 403 == admin.post(f"/api/v1/people/{owner}/invitation").status_code
    assert 403 == admin.delete(f"/api/v1/people/{owner}").status_code
    assert 403 == admin.post("/api/v1/tokens", json={"name": "too much", "role": "owner"}).status_code
    assert 200 == admin.patch(f"/api/v1/people/{viewer}", json={"name": "Vera", "role": "viewer"}).status_code
    assert 409 == admin.delete(f"/api/v1/people/{people.of_email('admin@example.com').id}").status_code  # himself


def test_a_change_of_a_person_that_cannot_be_changes_nothing(opened: Door) -> None:
    admin, people = opened.logged_in("admin@example.com"), opened.worker.logins.people
    before = people.add("whole@example.com", "Whole", "viewer")[0]
    own = people.of_email("admin@example.com")
    for number, change in ((before.id, {"role": "editor", "name": "\n"}), (own.id, {"name": "Gone", "disabled": True})):
        assert 409 == admin.patch(f"/api/v1/people/{number}", json=change).status_code
    assert ("viewer", own.name) == (people.one(before.id).role, people.one(own.id).name)
    assert 200 == admin.patch(f"/api/v1/people/{before.id}", json={"role": "editor", "name": "New"}).status_code


def test_the_last_owner_stays(tmp_path: Path) -> None:
    with door(tmp_path) as found:
        people = found.worker.logins.people
        ada = people.add_first(EMAIL, "Ada", PASSWORD)
        people.add("b@example.com", "Ben", "owner")  # invited only: he cannot log in yet
        client = found.logged_in()
        assert 409 == client.patch(f"/api/v1/people/{ada.id}", json={"role": "admin"}).status_code
        people.add("c@example.com", "Cem", "owner", PASSWORD)
        assert 200 == client.patch(f"/api/v1/people/{ada.id}", json={"role": "admin"}).status_code


def test_tokens_are_one_s_own_for_all_but_admins(opened: Door) -> None:
    viewer, admin = opened.logged_in("viewer@example.com"), opened.logged_in("admin@example.com")
    assert 403 == viewer.post("/api/v1/tokens", json={"name": "mine", "role": "editor"}).status_code
    mine = viewer.post("/api/v1/tokens", json={"name": "mine", "role": "viewer", "days": 1}).json()
    theirs = opened.logged_in().post("/api/v1/tokens", json={"name": "theirs", "role": "viewer"}).json()
    assert ["mine"] == [one["name"] for one in viewer.get("/api/v1/tokens").json()]
    assert {"mine", "theirs"} <= {one["name"] for one in admin.get("/api/v1/tokens").json()}
    assert 403 == viewer.delete(f"/api/v1/tokens/{theirs['token']['id']}").status_code
    assert 403 == admin.delete(f"/api/v1/tokens/{theirs['token']['id']}").status_code  # an owner's
    bearer = {"authorization": f"Bearer {mine['clear']}"}
    assert 200 == opened.client().get("/api/v1/sources", headers=bearer).status_code
    assert 204 == admin.delete(f"/api/v1/tokens/{mine['token']['id']}").status_code
    assert 401 == opened.client().get("/api/v1/sources", headers=bearer).status_code


# the audit trail


def test_logins_failed_ones_and_orders_are_in_the_trail_with_who_did_them(opened: Door, elsewhere: str) -> None:
    opened.worker.logins.people.add("tim@example.com", "Tim", "editor", PASSWORD)
    opened.client(elsewhere).log_in("tim@example.com", "a wrong password")
    tim = opened.logged_in("tim@example.com")
    order = {"kind": "http-api", "nickname": "Tim's"}
    added = tim.post("/api/v1/sources", json=order)
    assert added.is_success, added.text
    slug = opened.worker.logins._workspace.sources()[-1].slug
    owner = opened.logged_in()
    who = "Tim (tim@example.com)"
    entries = owner.get("/api/v1/audit", params={"who": who}).json()["entries"]
    assert [("added", "source", slug, "session"), ("logged in", "session", "", "session")] == [
        (one["verb"], one["kind"], one["subject"], one["via"]) for one in entries
    ]
    failed = owner.get("/api/v1/audit", params={"text": elsewhere}).json()["entries"]
    assert [("failed to log in", "tim@example.com")] == [(one["verb"], one["subject"]) for one in failed]
    text = owner.get("/api/v1/audit", params={"limit": 500}).text
    assert "wrong password" not in text
    assert who in owner.get("/api/v1/audit/known").json()["who"]


def test_the_trail_is_paged(opened: Door) -> None:
    owner = opened.logged_in()
    first = owner.get("/api/v1/audit", params={"limit": 2}).json()
    second = owner.get("/api/v1/audit", params={"limit": 2, "before": first["before"]}).json()
    numbers = [one["id"] for one in first["entries"] + second["entries"]]
    assert numbers == sorted(numbers, reverse=True)
    assert 4 == len(set(numbers))


# the first start


def test_the_first_start_is_open_to_this_machine_alone(tmp_path: Path) -> None:
    order = {"email": EMAIL, "name": "Ada", "password": PASSWORD}
    with door(tmp_path) as found:
        code = found.worker.logins._workspace.setup_code()
        assert found.client().session["needs_setup"]
        forwarded = found.client()
        forwarded.headers["x-forwarded-for"] = "192.0.2.1"
        for client in (found.client("192.0.2.1"), forwarded, found.client(base_url="http://10.0.0.1")):
            assert client.session["needs_setup_code"]
            for wrong in ("", "ABCD-EFGH-JKLM-NOPQ"):
                answer = client.post("/api/v1/setup", json={**order, "code": wrong})
                assert (403, "setup_code_refused") == (answer.status_code, answer.json()["code"])
        evil = found.client()
        evil.headers["origin"] = "http://evil.example"
        assert 403 == evil.post("/api/v1/setup", json=order).status_code
        assert 409 == found.client().post("/api/v1/setup", json={**order, "password": "password123"}).status_code
        far = found.client("192.0.2.1")
        assert 201 == far.post("/api/v1/setup", json={**order, "code": code.lower().replace("-", " ")}).status_code
        assert far.session["logged_in"]
        assert 409 == found.client().post("/api/v1/setup", json=order).status_code  # it is over


def test_this_machine_needs_no_code(tmp_path: Path) -> None:
    with door(tmp_path) as found:
        client = found.client()
        assert not client.session["needs_setup_code"]
        answer = client.post("/api/v1/setup", json={"email": EMAIL, "name": "Ada", "password": PASSWORD})
        assert (201, "owner") == (answer.status_code, client.session["role"])


def test_the_setup_code_cannot_be_guessed_for_long(tmp_path: Path) -> None:
    order = {"email": EMAIL, "name": "Ada", "password": PASSWORD, "code": "AAAA"}
    with door(tmp_path) as found:
        found.worker.logins._attempts = Attempts(lambda: 0.0)  # no time passes
        client = found.client("192.0.2.1")
        answers = [client.post("/api/v1/setup", json=order).status_code for _ in range(PEER.tries + 1)]
        assert [403] * PEER.tries + [429] == answers
