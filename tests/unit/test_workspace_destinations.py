"""Destinations in the workspace: kept, changed, connected, upgraded, and their secrets nowhere in clear."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic import config as alembic_config

from headrace.errors import ConfigError, NotFoundError
from headrace.workspace import database, secret_settings
from headrace.workspace.audit import Choice
from headrace.workspace.records import Destination
from headrace.workspace.secret_settings import Owner, is_secret, masked, without_secrets
from headrace.workspace.workspace import DATABASE_FILE, SECRET_FILE, Workspace
from made_destination import HOOK, HOOK_TOKEN, SHOWN_HOOK, TOKEN, made

__all__ = ["made"]

pytestmark = pytest.mark.usefixtures("made")

SECRETS = {"hook_url": HOOK, "token": TOKEN, "headers": {"Authorization": "Bearer schluessel-0815"}}
SHOWN = {"hook_url": SHOWN_HOOK, "token": "***", "headers": "***"}
CLEAR = (HOOK, HOOK_TOKEN, TOKEN, "schluessel-0815")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "data") as opened:
        opened.add_source("http-api", "mails")
        opened.add_source("http-api", "shop")
        yield opened


def files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()) if file.name != SECRET_FILE)


def forms(clear: str) -> list[bytes]:
    """How a text may lie in a file."""
    return [clear.encode(), clear.encode().hex().encode(), base64.b64encode(clear.encode()).rstrip(b"=")[:-1]]


# the upgrade


def test_a_workspace_of_the_second_migration_is_upgraded_and_keeps_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    secret = b"s" * 32
    (tmp_path / SECRET_FILE).write_bytes(secret)
    engine = sa.create_engine(f"sqlite:///{path}")
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0002")
        sealed = secret_settings.sealed(secret, Owner("warehouse", "lake"), {"password": "geheim"})
        connection.execute(
            sa.text(
                "INSERT INTO sources (slug, kind, nickname, schema, enabled, settings, created_at)"
                " VALUES ('mails', 'http-api', 'Mails', 'm', 1, '{}', '2026-01-01 00:00:00.000000')"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO warehouses (slug, kind, nickname, settings, sealed, paused, selection, retyped, created_at)"
                """ VALUES ('lake', 'clickhouse', 'Lake', '{"password": "***"}', :sealed, 1, '{}', '[]', '2026-01-02 00:00:00.000000')"""
            ),
            {"sealed": sealed},
        )
        connection.execute(sa.text("UPDATE revision SET value = 41"))
    engine.dispose()
    with Workspace.open(tmp_path) as workspace:
        assert 41 == workspace.revision()
        assert ["mails"] == [source.slug for source in workspace.sources()]
        assert {"lake", "warehouse"} == {warehouse.slug for warehouse in workspace.warehouses()}
        assert {"password": "geheim"} == workspace.revealed_settings("lake")
        assert [] == workspace.destinations()
        assert "lake-2" == workspace.add_destination("made", "Lake", ["mails"]).slug


def test_the_table_is_the_one_of_the_migration(workspace: Workspace) -> None:
    with workspace._database.read() as connection:
        found = sa.inspect(connection).get_columns("destinations")
    declared = {(column.name, column.nullable) for column in database.destinations.columns}
    assert declared == {(column["name"], column["nullable"]) for column in found}


# changes


def test_a_destination_is_found_again_as_it_was_added(workspace: Workspace) -> None:
    mapping = {"track": {"name": "event"}, "page": None}
    given = {**SECRETS, "concurrency": "2", "mapping": mapping, "drop_properties": ["a"]}
    added = workspace.add_destination("made", "Été", ["shop", "mails", "shop"], given)
    assert added == workspace.destination("ete")
    assert [added] == workspace.destinations()
    kept = {"concurrency": 2, "mapping": mapping, "drop_properties": ["a"]}
    expected = Destination("ete", "made", "Été", added.created_at, ("shop", "mails"), {**SHOWN, **kept})
    assert expected == added
    assert {**SECRETS, **kept} == workspace.revealed_destination_settings("ete")


def test_every_change_counts_the_revision_up_and_a_refused_one_does_not(workspace: Workspace) -> None:
    before = workspace.revision()
    changes: list[Callable[[], Destination]] = [
        lambda: workspace.add_destination("made", "a", ["mails"]),
        lambda: workspace.pause_destination("a"),
        lambda: workspace.disable_destination("a", "410"),
        lambda: workspace.resume_destination("a"),
        lambda: workspace.rename_destination("a", "b"),
        lambda: workspace.connect_destination("a", ["shop"]),
        lambda: workspace.disconnect_destination("a", ["mails"]),
        lambda: workspace.set_destination_settings("a", {"concurrency": 1}),
        lambda: workspace.remove_destination("a"),
    ]
    for count, change in enumerate(changes, 1):
        change()
        assert before + count == workspace.revision()
    wrong: list[Callable[[], Destination]] = [
        lambda: workspace.pause_destination("a"),
        lambda: workspace.pause_destination("nonesuch"),
        lambda: workspace.add_destination("made", "x", ["mails"], {"concurrency": 0}),
        lambda: workspace.add_destination("made", "x", ["nonesuch"]),
    ]
    for refused in wrong:
        with pytest.raises(ConfigError):
            refused()
    assert before + len(changes) == workspace.revision()


def test_resuming_switches_on_what_a_person_paused_and_what_headrace_switched_off(workspace: Workspace) -> None:
    workspace.add_destination("made", "a", ["mails"])
    assert workspace.pause_destination("a").paused
    disabled = workspace.disable_destination("a", "the tool answered 410 Gone")
    assert (True, "the tool answered 410 Gone") == (disabled.paused, disabled.disabled)
    assert "the tool answered 410 Gone" == workspace.set_destination_settings("a", {"concurrency": 1}).disabled
    resumed = workspace.resume_destination("a")
    assert (False, None) == (resumed.paused, resumed.disabled)
    assert ("a", "Zweite") == (workspace.rename_destination("a", " Zweite ").slug, workspace.destination("a").nickname)


def test_sources_are_connected_once_each_and_disconnected(workspace: Workspace) -> None:
    workspace.add_destination("made", "a", ["mails"])
    assert ("mails", "shop") == workspace.connect_destination("a", ["shop", "mails", "shop"]).sources
    assert ("shop",) == workspace.disconnect_destination("a", ["mails"]).sources
    assert () == workspace.disconnect_destination("a", ["shop"]).sources
    with pytest.raises(NotFoundError, match="'shop' is not connected to a; no source is"):
        workspace.disconnect_destination("a", ["shop"])


def test_an_unknown_a_removed_and_no_source_at_all_are_refused_with_the_remedy(workspace: Workspace) -> None:
    workspace.add_destination("made", "a", ["mails"])
    with pytest.raises(ConfigError, match=r"--source SLUG.*headrace source list"):
        workspace.add_destination("made", "x", [])
    changes: list[Callable[[], Destination]] = [
        lambda: workspace.add_destination("made", "x", ["mails", "nonesuch"]),
        lambda: workspace.connect_destination("a", ["nonesuch"]),
    ]
    for change in changes:
        with pytest.raises(NotFoundError, match="no 'nonesuch'; see: headrace source list"):
            change()
    workspace.remove("shop")
    with pytest.raises(NotFoundError, match="shop was removed"):
        workspace.connect_destination("a", ["shop"])
    workspace.remove("mails")  # one that is connected stays so: its events may still wait
    assert ("mails",) == workspace.destination("a").sources
    assert ["a"] == [destination.slug for destination in workspace.destinations()]


def test_warehouses_and_destinations_never_have_the_same_slug_also_after_a_removal(workspace: Workspace) -> None:
    assert "warehouse-2" == workspace.add_destination("made", "Warehouse", ["mails"]).slug
    assert "warehouse-3" == workspace.free_warehouse_slug("duckdb", "Warehouse")
    workspace.remove_destination("warehouse-2")
    workspace.remove_warehouse("warehouse")
    assert "warehouse-3" == workspace.free_destination_slug("made", "Warehouse")
    with pytest.raises(ConfigError, match="is taken, by something that was removed perhaps"):
        workspace.add_warehouse("duckdb", "x", slug="warehouse-2")
    with pytest.raises(ConfigError, match="is taken, by something that was removed perhaps"):
        workspace.add_destination("made", "x", ["mails"], slug="warehouse")
    assert "mails" == workspace.add_destination("made", "mails", ["mails"]).slug  # a source may be called the same


def test_a_removed_destination_stays_readable_but_cannot_be_changed_and_forgets_its_secrets(
    workspace: Workspace,
) -> None:
    workspace.add_destination("made", "a", ["mails"], SECRETS)
    removed = workspace.remove_destination("a")
    assert removed == workspace.destination("a")
    assert SHOWN == removed.settings
    assert (workspace.revision(), [removed]) == workspace.destination_snapshot()
    assert ([], [removed]) == (workspace.destinations(), workspace.destinations(include_removed=True))
    changes: list[Callable[[str], object]] = [
        workspace.remove_destination,
        workspace.pause_destination,
        workspace.resume_destination,
        workspace.revealed_destination_settings,
        lambda slug: workspace.disable_destination(slug, "x"),
        lambda slug: workspace.connect_destination(slug, ["mails"]),
    ]
    for change in changes:
        with pytest.raises(NotFoundError, match="a was removed on"):
            change("a")
    with workspace._database.read() as connection:
        assert [None] == list(connection.scalars(sa.select(database.destinations.c.sealed)))


def test_unknown_kinds_and_destinations_are_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match=r"no kind 'nonesuch'.*webhook"):
        workspace.add_destination("nonesuch", "x", ["mails"])
    with pytest.raises(NotFoundError, match="headrace destination list"):
        workspace.destination("x")


# settings and secrets


def test_settings_are_merged_and_a_mask_that_comes_back_changes_nothing(workspace: Workspace) -> None:
    shown = workspace.add_destination("made", "a", ["mails"], SECRETS).settings
    assert shown == workspace.set_destination_settings("a", shown).settings
    assert SECRETS == workspace.revealed_destination_settings("a")
    changes = {"token": None, "concurrency": 3}
    expected = {"hook_url": HOOK, "headers": SECRETS["headers"], "concurrency": 3}
    assert expected == workspace.destination_settings_after("a", changes)
    assert SECRETS == workspace.revealed_destination_settings("a")
    workspace.set_destination_settings("a", changes)
    assert expected == workspace.revealed_destination_settings("a")


@pytest.mark.parametrize("wrong", [{"nonesuch": 1}, {"concurrency": "many"}, {"token": 7}, {"nonesuch": None}])
def test_wrong_settings_are_refused_and_nothing_is_stored(workspace: Workspace, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="settings: made"):
        workspace.add_destination("made", "x", ["mails"], wrong)
    assert [] == workspace.destinations()
    workspace.add_destination("made", "a", ["mails"], SECRETS)
    with pytest.raises(ConfigError, match="settings: made"):
        workspace.set_destination_settings("a", wrong)
    assert SECRETS == workspace.revealed_destination_settings("a")


def test_no_file_and_no_repr_holds_a_secret_in_clear(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("http-api", "mails")
        added = workspace.add_destination("made", "a", ["mails"], {**SECRETS, "list_name": "im-klartext"})
        seen = files(tmp_path)
        workspace.set_destination_settings("a", {"token": TOKEN[::-1]})
        seen += files(tmp_path)
        workspace.remove_destination("a")
        seen += files(tmp_path)
    seen += files(tmp_path) + repr(added).encode()
    for clear in (*CLEAR, TOKEN[::-1]):
        assert [] == [form for form in forms(clear) if form in seen]
    assert b"im-klartext" in seen  # a setting that is no secret is found by this search


def test_the_search_finds_a_secret_that_is_stored_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(secret_settings, "sealed", lambda _secret, _owner, settings: str(settings))
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("http-api", "mails")
        workspace.add_destination("made", "a", ["mails"], SECRETS)
        everything = files(tmp_path)
    assert all(any(form in everything for form in forms(clear)) for clear in CLEAR)


def test_secrets_of_a_destination_do_not_open_as_a_warehouse_s_of_the_same_name(workspace: Workspace) -> None:
    for room, other in (("destination", "warehouse"), ("warehouse", "destination")):
        text = secret_settings.sealed(workspace.secret, Owner(room, "a"), SECRETS)
        assert SECRETS == secret_settings.opened(workspace.secret, Owner(room, "a"), text)
        with pytest.raises(ConfigError, match=f"secrets of a do not open.*headrace {other} set a"):
            secret_settings.opened(workspace.secret, Owner(other, "a"), text)


def test_a_lost_secret_is_noticed_where_only_a_destination_needs_it(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("http-api", "mails")
        workspace.add_destination("made", "a", ["mails"], SECRETS)
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        connection.execute("DELETE FROM write_keys")
        connection.execute("DELETE FROM sources")
    connection.close()
    (tmp_path / SECRET_FILE).unlink()
    with pytest.raises(ConfigError, match="headrace destination set"):
        Workspace.open(tmp_path)


def test_with_another_secret_new_secrets_mend_it(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("http-api", "mails")
        workspace.add_destination("made", "a", ["mails"], SECRETS)
    (tmp_path / SECRET_FILE).write_bytes(b"n" * 32)
    with Workspace.open(tmp_path) as workspace:
        assert SHOWN == workspace.destination("a").settings
        with pytest.raises(ConfigError, match="headrace destination set a KEY=@FILE"):
            workspace.set_destination_settings("a", {"concurrency": 1})
        workspace.set_destination_settings("a", {**SECRETS, "concurrency": 2})
        assert {**SECRETS, "concurrency": 2} == workspace.revealed_destination_settings("a")


ADDRESS = "https://ada:geheim-0815@hooks.example/in?page=2"


def test_an_address_with_a_password_in_it_is_sealed_though_the_kind_does_not_call_it_secret(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_source("http-api", "mails")
        plain = workspace.add_destination("made", "a", ["mails"], {"url": "https://hooks.example/in?page=2"})
        assert {"url": "https://hooks.example/in?page=2"} == plain.settings
        changed = workspace.set_destination_settings("a", {"url": ADDRESS, "list_name": ADDRESS})
        assert {"url": "https://ada:***@hooks.example/***?page=***", "list_name": "***"} == changed.settings
        assert {"url": ADDRESS, "list_name": ADDRESS} == workspace.revealed_destination_settings("a")
        assert changed == workspace.set_destination_settings("a", changed.settings)
        workspace.set_destination_settings("a", {"url": "https://other.example/in"})
        assert {"url": "https://other.example/in", "list_name": ADDRESS} == workspace.revealed_destination_settings("a")
        workspace.remove_destination("a")
    assert b"geheim-0815" not in files(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://hooks.example/in", False),
        ("https://hooks.example/in?page=2", False),
        ("https://tok@hooks.example/in", True),
        ("https://hooks.example/in?api_key=1", True),
        ("https://hooks.example/in?a=1&Token=1", True),
        ("mailto:ada@example.com", False),
        ("ada@example.com", False),
        ("http://[", False),
        ("***", True),
        ("", False),
        (7, False),
        (None, False),
        ({"a": "https://a:b@c"}, False),
    ],
)
def test_a_value_that_is_a_secret_by_itself_is_known_by_its_form(value: Any, *, expected: bool) -> None:
    assert expected == is_secret(value)


def test_of_a_secret_web_address_only_the_host_is_shown_and_its_path_is_masked_in_texts() -> None:
    assert SHOWN_HOOK == masked("hook_url", HOOK, with_path=False)
    assert "https://hooks.example/" == masked("hook_url", "https://hooks.example/", with_path=False)
    assert "POST /services/T0/*** to hooks.example" == without_secrets(
        f"POST /services/T0/{HOOK_TOKEN} to hooks.example", {"hook_url": HOOK}
    )


# several changes as one


def test_changes_together_hold_as_a_whole_or_not_at_all(workspace: Workspace) -> None:
    workspace.add_destination("made", "Order desk", ["mails"], {"hook_url": HOOK})
    before, revision = workspace.destination("order-desk"), workspace.revision()

    @workspace.together()
    def wrong() -> None:
        workspace.rename_destination("order-desk", "Desk")
        workspace.pause_destination("order-desk")
        assert workspace.destination("order-desk").nickname == "Desk"  # seen within
        workspace.connect_destination("order-desk", ["nowhere"])

    with pytest.raises(NotFoundError):
        wrong()
    assert workspace.destination("order-desk") == before
    assert workspace.revision() == revision

    with workspace.together():
        workspace.rename_destination("order-desk", "Desk")
        with pytest.raises(NotFoundError):
            workspace.connect_destination("order-desk", ["nowhere"])
        workspace.connect_destination("order-desk", ["shop"])
    after = workspace.destination("order-desk")
    assert (after.nickname, set(after.sources)) == ("Desk", {"mails", "shop"})
    verbs = [entry.verb for entry in workspace.audit().entries(Choice(), 10) if entry.kind == "destination"]
    assert len(verbs) == 2  # added; then renamed and connected in one
