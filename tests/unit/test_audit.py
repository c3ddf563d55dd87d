"""The audit trail: each kind of change leaves one entry, in its transaction, and none holds a secret."""

from __future__ import annotations

import asyncio
import contextvars
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from headrace.alerts.alerts import kept_in
from headrace.console.noting import ACTOR_OF, noting
from headrace.errors import ConfigError
from headrace.workspace import audit, database
from headrace.workspace.actor import ACTOR, Actor
from headrace.workspace.audit import FAILED_LOGIN, AuditEntry, Choice
from headrace.workspace.audit_entries import AUDITED, HIDDEN, NOT_AUDITED
from headrace.workspace.workspace import Workspace

DSN = "postgresql://loader:geheimgeheim@db.example:5432/events"
SLACK = "https://hooks.slack.com/services/T0/B0/geheimgeheimgeheim"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace in it, as copies of it are quicker than its migrations."""
    folder = tmp_path_factory.mktemp("empty")
    Workspace.open(folder).close()
    return folder


@pytest.fixture
def workspace(empty: Path, tmp_path: Path) -> Iterator[Workspace]:
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    with Workspace.open(tmp_path) as opened:
        yield opened


def trail(workspace: Workspace, **choice: Any) -> list[AuditEntry]:
    """Oldest first."""
    return workspace.audit().entries(Choice(**choice), 1_000)[::-1]


def told(workspace: Workspace) -> list[tuple[str, str, str]]:
    return [(entry.verb, entry.kind, entry.subject) for entry in trail(workspace)]


def test_every_table_is_watched_or_is_left_out_on_purpose() -> None:
    assert set(database.metadata.tables) == AUDITED.keys() | NOT_AUDITED


def test_a_source_s_life_is_told(workspace: Workspace) -> None:
    workspace.add_source("http-api", "Shop")
    workspace.rename("shop", "The shop")
    workspace.disable("shop")
    workspace.enable("shop")
    workspace.rotate_key("shop")
    workspace.retire_key("shop", workspace.source("shop").keys[0].last_four)
    workspace.remove("shop")
    verbs = ["added", "renamed", "disabled", "enabled", "rotated the key of", "retired a key of", "removed"]
    assert [(verb, "source", "shop") for verb in verbs] == told(workspace)
    added, renamed, *_ = trail(workspace)
    assert [None, "http-api"] == added.changes["kind"]
    assert {"nickname": ["Shop", "The shop"]} == renamed.changes


def test_a_change_of_settings_names_each_field_before_and_after(workspace: Workspace) -> None:
    workspace.add_warehouse("postgresql", "Ours", {"dsn": DSN})
    workspace.pause_warehouse("ours")
    workspace.resume_warehouse("ours")
    workspace.set_warehouse_settings("ours", {"dsn": DSN.replace("5432", "5433")})
    workspace.add_source("http-api", "Shop")
    workspace.select("ours", "shop", {"events": ["a"]})
    workspace.note_retyped("ours", "shop.a.b")
    entries = trail(workspace)
    assert ["added", "paused", "resumed", "changed", "added", "changed", "changed"] == [e.verb for e in entries]
    changed = entries[3].changes
    assert "5432" in changed["settings.dsn"][0]
    assert "5433" in changed["settings.dsn"][1]
    assert [HIDDEN, HIDDEN] == changed["secrets"]
    assert {"selection.shop": [None, '{"events": ["a"]}']} == entries[5].changes


def test_what_is_as_it_was_leaves_no_entry(workspace: Workspace) -> None:
    workspace.add_warehouse("postgresql", "Ours", {"dsn": DSN})
    workspace.set_warehouse_settings("ours", {"dsn": DSN})
    workspace.rename_warehouse("ours", "Ours")
    assert [("added", "warehouse", "ours")] == told(workspace)


def test_a_new_password_behind_the_same_mask_is_told_and_the_password_is_not(workspace: Workspace) -> None:
    workspace.add_warehouse("postgresql", "Ours", {"dsn": DSN})
    workspace.set_warehouse_settings("ours", {"dsn": DSN.replace("geheimgeheim", "andersanders")})
    assert {"secrets": [HIDDEN, HIDDEN]} == trail(workspace)[-1].changes


def test_alerts_channels_saved_things_and_the_e_mail_model_are_told(workspace: Workspace) -> None:
    workspace.add_source("http-api", "Shop")
    kept = kept_in(workspace)
    kept.add_channel("slack", "Team", {"url": SLACK})
    kept.add_alert("warehouse-late", "Quiet", {}, ["team"])
    things = workspace.saved()
    things.add("query", "All", "", {"sql": "SELECT 1"}, "Ada")
    things.put("query", "all", 1, "All of it", "", {"sql": "SELECT 2"})
    things.remove("query", "all")
    workspace.email_model().keep('{"time_zone": "UTC"}', 0)
    workspace.email_model().keep('{"time_zone": "Europe/Berlin"}', 1)
    assert [
        ("added", "alert channel", "team"),
        ("added", "alert", "quiet"),
        ("added", "query", "all"),
        ("changed", "query", "all"),
        ("removed", "query", "all"),
        ("changed", "e-mail model", ""),
        ("changed", "e-mail model", ""),
    ] == told(workspace)[1:]
    assert {"title": ["All", "All of it"], "body.sql": ["SELECT 1", "SELECT 2"]} == trail(workspace)[4].changes
    assert {"settings.time_zone": ["UTC", "Europe/Berlin"]} == trail(workspace)[-1].changes


def test_people_and_tokens_are_told(workspace: Workspace) -> None:
    people, tokens = workspace.people(), workspace.tokens()
    ada = people.add_first("ada@example.com", "Ada", "correct horse battery")
    ben, code = people.add("Ben@Example.com", "Ben", "viewer")
    people.take_up(code, "another long password")
    people.set_role(ben.id, "editor")
    people.disable(ben.id)
    people.enable(ben.id)
    people.set_password(ben.id, "yet another password")
    token, clear = tokens.add("Nightly", "viewer", ben.id)
    tokens.touch(token)
    session = workspace.sessions().begin(ada.id, "127.0.0.1", "a browser", lasts=timedelta(1))
    people.remove(ben.id)
    assert [
        ("added", "person", "ada@example.com"),
        ("added", "person", "ben@example.com"),
        ("set the password of", "person", "ben@example.com"),
        ("changed", "person", "ben@example.com"),
        ("disabled", "person", "ben@example.com"),
        ("enabled", "person", "ben@example.com"),
        ("set the password of", "person", "ben@example.com"),
        ("added", "token", "Nightly"),
        ("removed", "person", "ben@example.com"),
        ("removed", "token", "Nightly"),
    ] == told(workspace)
    assert {"role": ["viewer", "editor"]} == trail(workspace)[3].changes
    text = msgspec.json.encode(trail(workspace)).decode()
    for secret in ("correct horse", "another", "argon2", code, clear, session):
        assert secret not in text


def test_no_secret_of_any_kind_stands_in_the_trail(workspace: Workspace) -> None:
    workspace.add_warehouse("postgresql", "Ours", {"dsn": DSN})
    kept_in(workspace).add_channel("slack", "Team", {"url": SLACK})
    source, key = workspace.add_source("http-api", "Shop")
    workspace.add_destination("webhook", "Hook", [source.slug], {"url": "https://ada:geheimgeheim@example.com/x"})
    workspace.set_destination_settings("hook", {"url": "https://ada:geheimgeheim@example.com/y"})
    text = msgspec.json.encode(trail(workspace)).decode()
    assert "geheim" not in text
    assert key not in text
    assert key[-4:] in text  # the control: its end is told
    assert "example.com" in text


def test_a_change_that_fails_leaves_no_entry(workspace: Workspace) -> None:
    workspace.add_source("http-api", "Shop", "shop")
    with pytest.raises(ConfigError):
        workspace.add_source("http-api", "Shop", "shop")
    with pytest.raises(sa.exc.IntegrityError):
        _half_done(workspace)
    assert [("added", "source", "shop")] == told(workspace)


def _half_done(workspace: Workspace) -> None:
    with workspace._database._writing.begin() as connection:
        with audit.watched(connection, lambda: datetime.now(UTC)):
            connection.execute(sa.update(database.sources).values(nickname="x"))
        connection.execute(sa.insert(database.revision).values(value=None))


def test_who_did_it_is_told_and_headrace_itself_where_nobody_asked(workspace: Workspace) -> None:
    def as_ada() -> None:
        ACTOR.set(Actor("Ada", "session"))
        workspace.add_source("http-api", "Shop")

    contextvars.copy_context().run(as_ada)
    workspace.disable("shop")
    assert [("Ada", "session"), ("headrace", "server")] == [(e.who, e.via) for e in trail(workspace)]


def test_entries_are_chosen_and_paged_newest_first(workspace: Workspace) -> None:
    kept = workspace.audit()
    for number in range(5):
        kept.note("sent a test to", "destination", f"d{number}", {"events": number})
    workspace.add_source("http-api", "Shop_100%")
    newest = kept.entries(Choice(), 2)
    assert ["added", "sent a test to"] == [entry.verb for entry in newest]
    older = kept.entries(Choice(before=newest[-1].id), 10)
    assert ["d3", "d2", "d1", "d0"] == [entry.subject for entry in older]
    assert ["d2"] == [entry.subject for entry in trail(workspace, subject="d2")]
    assert ["source"] == [entry.kind for entry in trail(workspace, text="100%")]
    assert [] == trail(workspace, text="1%0")
    assert [] == trail(workspace, since=datetime(2999, 1, 1, tzinfo=UTC))
    assert 6 == len(trail(workspace, until=datetime(2999, 1, 1, tzinfo=UTC)))
    assert (["destination", "source"], ["added", "sent a test to"]) == (kept.known().kinds, kept.known().verbs)


def test_failed_logins_cannot_fill_the_disk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.workspace.audit.MOST_FAILED_LOGINS", 3)
    workspace.add_source("http-api", "Shop")
    for number in range(6):
        workspace.audit().note(FAILED_LOGIN, "session", str(number))
    assert ["shop", "3", "4", "5"] == [entry.subject for entry in trail(workspace)]


@pytest.mark.parametrize(
    ("route", "status", "details", "noted"),
    [
        ("test_destination", 200, {}, ["sent a test to destination hook {}"]),
        ("order_replay", 201, {"since": "24h"}, ["ordered a replay to destination hook {'since': [None, '24h']}"]),
        ("order_replay", 201, {"dry_run": True}, []),
        ("test_destination", 404, {}, []),
        ("show_destination", 200, {}, []),
    ],
)
def test_an_order_is_noted_when_it_was_carried_out(
    workspace: Workspace, route: str, status: int, details: dict[str, Any], noted: list[str]
) -> None:
    actor = Actor("Ada", "session")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        actor.details |= details
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(_: Any) -> None: ...

    scope = {
        "route_handler": SimpleNamespace(handler_name=f"headrace.{route}"),
        "path_params": {"slug": "hook"},
        ACTOR_OF: actor,
    }
    asyncio.run(noting(workspace.audit)(app)(scope, None, send))
    found = [(one.who, f"{one.verb} {one.kind} {one.subject} {one.changes}") for one in trail(workspace)]
    assert [("Ada", text) for text in noted] == found
