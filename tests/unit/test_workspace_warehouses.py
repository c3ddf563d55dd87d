"""Warehouses in the workspace: kept, changed, upgraded, and their secrets nowhere in clear."""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic import config as alembic_config

from headrace.errors import ConfigError, NotFoundError
from headrace.warehouses.base import WarehouseKind
from headrace.workspace import database, secret_settings
from headrace.workspace.records import Warehouse
from headrace.workspace.secret_settings import Owner, masked, without_secrets
from headrace.workspace.workspace import DATABASE_FILE, SECRET_FILE, Workspace
from made_warehouse import DSN, ESCAPED, PASSWORD, SHOWN_DSN, TOKEN, MadeSettings, made

__all__ = ["made"]

pytestmark = pytest.mark.usefixtures("made")

SECRETS = {"dsn": DSN, "token": TOKEN}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "data") as opened:
        yield opened


def files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()) if file.name != SECRET_FILE)


def forms(clear: str) -> list[bytes]:
    """How a text may lie in a file."""
    text = clear.encode()
    return [text, text.hex().encode(), base64.b64encode(text).rstrip(b"=")[:-1], repr(clear).encode()[1:-1]]


# the first one


def test_a_fresh_workspace_has_the_embedded_warehouse_and_no_change_was_counted(workspace: Workspace) -> None:
    (first,) = workspace.warehouses()
    assert ("warehouse", "duckdb", "Warehouse", {}, False, {}, None) == (
        first.slug,
        first.kind,
        first.nickname,
        first.settings,
        first.paused,
        first.selection,
        first.removed_at,
    )
    assert 0 == workspace.revision()
    assert (datetime.now(UTC) - first.created_at).total_seconds() >= 0


def test_a_workspace_of_the_first_release_gets_it_by_its_upgrade_and_keeps_all_it_had(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    engine = sa.create_engine(f"sqlite:///{path}")
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        connection.execute(
            sa.text(
                "INSERT INTO sources (slug, kind, nickname, schema, enabled, settings, created_at)"
                " VALUES ('mails', 'http-api', 'Mails', 'm', 1, '{}', '2026-01-01 00:00:00.000000')"
            )
        )
        connection.execute(sa.text("UPDATE revision SET value = 41"))
    engine.dispose()
    (tmp_path / SECRET_FILE).write_bytes(b"s" * 32)
    with Workspace.open(tmp_path) as workspace:
        assert (["mails"], ["warehouse"]) == (
            [source.slug for source in workspace.sources()],
            [warehouse.slug for warehouse in workspace.warehouses()],
        )
        assert 41 == workspace.revision()
    with Workspace.open(tmp_path) as workspace:
        workspace.remove_warehouse("warehouse")
    with Workspace.open(tmp_path) as workspace:  # it is not put there again
        assert [] == workspace.warehouses()


def test_the_table_is_the_one_of_the_migration(workspace: Workspace) -> None:
    with workspace._database.read() as connection:
        found = sa.inspect(connection).get_columns("warehouses")
    declared = {(column.name, column.nullable) for column in database.warehouses.columns}
    assert declared == {(column["name"], column["nullable"]) for column in found}


def test_without_any_warehouse_the_workspace_opens_and_says_how_to_add_one(workspace: Workspace) -> None:
    workspace.remove_warehouse("warehouse")
    assert [] == workspace.warehouses()
    with pytest.raises(NotFoundError, match="headrace warehouse add"):
        workspace.chosen_warehouse(None)


# changes


def test_a_warehouse_is_found_again_as_it_was_added(workspace: Workspace) -> None:
    added = workspace.add_warehouse("made", "Été", {"dsn": DSN, "port": "5433", "tables": {"a": "b"}})
    assert added == workspace.warehouse("ete")
    assert [added] == workspace.warehouses()[1:]
    assert ("made", "Été", {"dsn": SHOWN_DSN, "port": 5433, "tables": {"a": "b"}}) == (
        added.kind,
        added.nickname,
        added.settings,
    )
    assert {"dsn": DSN, "port": 5433, "tables": {"a": "b"}} == workspace.revealed_settings("ete")


def test_every_change_counts_the_revision_up_and_a_refused_one_does_not(workspace: Workspace) -> None:
    workspace.add_source("http-api", "mails")
    seen = [workspace.revision()]
    changes: list[Callable[[], Warehouse]] = [
        lambda: workspace.add_warehouse("made", "a"),
        lambda: workspace.pause_warehouse("a"),
        lambda: workspace.resume_warehouse("a"),
        lambda: workspace.rename_warehouse("a", "b"),
        lambda: workspace.set_warehouse_settings("a", {"port": 1}),
        lambda: workspace.select("a", "mails", {"without": ["tracks"]}),
        lambda: workspace.remove_warehouse("a"),
    ]
    for change in changes:
        change()
        seen.append(workspace.revision())
    assert list(range(1, 9)) == seen
    wrong: list[Callable[[], Warehouse]] = [
        lambda: workspace.pause_warehouse("a"),
        lambda: workspace.pause_warehouse("nonesuch"),
        lambda: workspace.add_warehouse("made", "x", {"port": 0}),
        lambda: workspace.set_warehouse_settings("warehouse", {"nonesuch": 0}),
    ]
    for refused in wrong:
        with pytest.raises(ConfigError):
            refused()
    assert 8 == workspace.revision()


def test_a_snapshot_has_the_revision_and_removed_warehouses_too(workspace: Workspace) -> None:
    workspace.add_warehouse("made", "a")
    workspace.remove_warehouse("warehouse")
    revision, warehouses = workspace.warehouse_snapshot()
    assert (2, ["warehouse", "a"]) == (revision, [warehouse.slug for warehouse in warehouses])
    assert ["a"] == [warehouse.slug for warehouse in workspace.warehouses()]
    assert ["warehouse", "a"] == [warehouse.slug for warehouse in workspace.warehouses(include_removed=True)]


def test_a_warehouse_is_paused_resumed_and_renamed_and_keeps_its_slug(workspace: Workspace) -> None:
    workspace.add_warehouse("made", "a")
    assert workspace.pause_warehouse("a").paused
    assert not workspace.resume_warehouse("a").paused
    renamed = workspace.rename_warehouse("a", " Zweite ")
    assert ("a", "Zweite") == (renamed.slug, renamed.nickname)
    with pytest.raises(ConfigError, match="nickname"):
        workspace.rename_warehouse("a", "\n")


def test_a_slug_is_never_given_twice_also_after_a_removal(workspace: Workspace) -> None:
    for _ in range(2):
        workspace.add_warehouse("made", "Warehouse")
    workspace.remove_warehouse("warehouse")
    workspace.remove_warehouse("warehouse-2")
    assert "warehouse-4" == workspace.free_warehouse_slug("made", "Warehouse")
    assert "warehouse-4" == workspace.add_warehouse("made", "Warehouse").slug
    with pytest.raises(
        ConfigError, match=r"'warehouse' is taken, by something that was removed.*for example 'warehouse-5'"
    ):
        workspace.add_warehouse("made", "x", slug="warehouse")
    assert "own-1" == workspace.add_warehouse("made", "Warehouse", slug="own-1").slug


@pytest.mark.parametrize("slug", ["", "A", "a_b", "-a", "a-", "a--b", "é", "a b", "../x", "a\n", "a" * 64])
def test_a_slug_that_is_none_is_refused_with_a_proposal(workspace: Workspace, slug: str) -> None:
    with pytest.raises(ConfigError, match=r"slug: .* is not allowed.*for example '[a-z0-9-]+'$"):
        workspace.add_warehouse("made", "x", slug=slug)
    assert 1 == len(workspace.warehouses())


def test_a_removed_warehouse_stays_readable_but_cannot_be_changed_and_forgets_its_secrets(workspace: Workspace) -> None:
    workspace.add_warehouse("made", "a", SECRETS)
    removed = workspace.remove_warehouse("a")
    assert removed == workspace.warehouse("a")
    assert removed.removed_at is not None
    assert {"dsn": SHOWN_DSN, "token": "***"} == removed.settings
    for change in (
        workspace.remove_warehouse,
        workspace.pause_warehouse,
        workspace.resume_warehouse,
        workspace.revealed_settings,
    ):
        with pytest.raises(NotFoundError, match="a was removed on"):
            change("a")
    with workspace._database.read() as connection:
        assert [None] == list(
            connection.scalars(sa.select(database.warehouses.c.sealed).where(database.warehouses.c.slug == "a"))
        )


def test_unknown_kinds_warehouses_and_sources_are_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match=r"no kind 'nonesuch'.*duckdb"):
        workspace.add_warehouse("nonesuch", "x")
    with pytest.raises(NotFoundError, match="headrace warehouse list"):
        workspace.warehouse("x")
    with pytest.raises(NotFoundError, match="headrace source list"):
        workspace.select("warehouse", "x", {})


def having(workspace: Workspace, slugs: tuple[str, ...]) -> Workspace:
    for slug in slugs:
        if slug != "warehouse":
            workspace.add_warehouse("made", slug)
    if "warehouse" not in slugs:
        workspace.remove_warehouse("warehouse")
    return workspace


@pytest.mark.parametrize(
    ("slugs", "wanted", "expected"),
    [
        (("warehouse",), None, "warehouse"),
        (("a",), None, "a"),
        (("a", "warehouse"), None, "warehouse"),
        (("a", "b"), "b", "b"),
        (("warehouse", "b"), "b", "b"),
    ],
)
def test_the_warehouse_that_is_meant_is_the_named_the_only_or_the_first_one(
    workspace: Workspace, slugs: tuple[str, ...], wanted: str | None, expected: str
) -> None:
    assert expected == having(workspace, slugs).chosen_warehouse(wanted).slug


def test_without_a_name_several_warehouses_are_listed_and_a_wrong_name_is_not_guessed(workspace: Workspace) -> None:
    having(workspace, ("a", "b"))
    with pytest.raises(ConfigError, match="several, say which one with --warehouse SLUG: a, b"):
        workspace.chosen_warehouse(None)
    with pytest.raises(NotFoundError, match="there is no 'warehouse'; there is a, b"):
        workspace.chosen_warehouse("warehouse")


# selection


def test_a_selection_is_kept_by_source_as_it_was_given_until_everything_is_wanted_again(workspace: Workspace) -> None:
    workspace.add_source("http-api", "mails")
    workspace.add_source("http-api", "shop")
    given = {"only": ["tracks"], "where": "event = 'é'", "n": [1, None]}
    workspace.select("warehouse", "mails", given)
    workspace.remove("shop")
    assert {"mails": given, "shop": {}} == workspace.select("warehouse", "shop", {}).selection
    assert {"shop": {}} == workspace.select("warehouse", "mails", None).selection


# settings and secrets


def test_settings_are_merged_and_none_takes_one_back_to_its_default(workspace: Workspace) -> None:
    workspace.add_warehouse("made", "a", SECRETS)
    assert {"dsn": SHOWN_DSN, "token": "***", "port": 1} == workspace.set_warehouse_settings("a", {"port": 1}).settings
    assert {**SECRETS, "port": 1} == workspace.revealed_settings("a")
    assert {"dsn": SHOWN_DSN, "port": 1} == workspace.set_warehouse_settings("a", {"token": None}).settings
    workspace.set_warehouse_settings("a", {"dsn": "postgresql://bob:other@db/x"})
    assert {"dsn": "postgresql://bob:other@db/x", "port": 1} == workspace.revealed_settings("a")


def test_a_mask_that_comes_back_from_a_form_changes_nothing(workspace: Workspace) -> None:
    shown = workspace.add_warehouse("made", "a", SECRETS).settings
    assert shown == workspace.set_warehouse_settings("a", shown).settings
    assert SECRETS == workspace.revealed_settings("a")


@pytest.mark.parametrize("wrong", [{"nonesuch": 1}, {"port": "many"}, {"port": 0}, {"dsn": 7}, {"nonesuch": None}])
def test_wrong_settings_are_refused_and_nothing_is_stored(workspace: Workspace, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="settings: made"):
        workspace.add_warehouse("made", "x", wrong)
    assert 1 == len(workspace.warehouses())
    workspace.add_warehouse("made", "a", SECRETS)
    with pytest.raises(ConfigError, match="settings: made"):
        workspace.set_warehouse_settings("a", wrong)
    assert SECRETS == workspace.revealed_settings("a")


def test_no_file_and_no_repr_holds_a_secret_in_clear(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        added = workspace.add_warehouse("made", "a", {**SECRETS, "step": "schritt-im-klartext"})
        seen = [files(tmp_path)]
        workspace.set_warehouse_settings("a", {"token": TOKEN[::-1]})
        seen.append(files(tmp_path))
        workspace.remove_warehouse("a")
        seen.append(files(tmp_path))
    seen += [files(tmp_path), repr(added).encode()]
    everything = b"".join(seen)
    for clear in (PASSWORD, ESCAPED, DSN, TOKEN, TOKEN[::-1]):
        assert [] == [form for form in forms(clear) if form in everything]
    assert b"schritt-im-klartext" in seen[0]  # the control: a setting that is no secret is found by this search


def test_the_search_finds_a_secret_that_is_stored_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(secret_settings, "sealed", lambda _secret, _owner, settings: str(settings))
    with Workspace.open(tmp_path) as workspace:
        workspace.add_warehouse("made", "a", SECRETS)
        everything = files(tmp_path)
    assert all(any(form in everything for form in forms(clear)) for clear in (ESCAPED, DSN, TOKEN))


def test_the_same_settings_are_never_encrypted_alike(workspace: Workspace) -> None:
    sealed = {secret_settings.sealed(workspace.secret, Owner("warehouse", "a"), SECRETS) for _ in range(100)}
    assert 100 == len(sealed)


def test_secrets_open_only_for_their_warehouse_and_with_their_key(workspace: Workspace) -> None:
    text = secret_settings.sealed(workspace.secret, Owner("warehouse", "a"), SECRETS)
    assert SECRETS == secret_settings.opened(workspace.secret, Owner("warehouse", "a"), text)
    damaged = text[:9] + ("A" if text[9] != "A" else "B") + text[10:]  # not its end, whose last bits mean nothing
    for secret, slug, wrong in (
        (workspace.secret, "b", text),
        (b"x" * 32, "a", text),
        (workspace.secret, "a", damaged),
        (workspace.secret, "a", "2" + text[1:]),
        (workspace.secret, "a", ""),
        (workspace.secret, "a", "1.é"),
    ):
        with pytest.raises(ConfigError, match="headrace warehouse set"):
            secret_settings.opened(secret, Owner("warehouse", slug), wrong)


def test_a_lost_secret_is_noticed_where_a_warehouse_needs_it(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_warehouse("made", "a", {"token": ""})
        workspace.add_warehouse("made", "b", SECRETS)
    (tmp_path / SECRET_FILE).unlink()
    with pytest.raises(ConfigError, match="no write key and no secret of a warehouse"):
        Workspace.open(tmp_path)


def test_with_another_secret_the_rest_works_and_new_secrets_mend_it(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_warehouse("made", "a", SECRETS)
    (tmp_path / SECRET_FILE).write_bytes(b"n" * 32)
    with Workspace.open(tmp_path) as workspace:
        assert SHOWN_DSN == workspace.warehouse("a").settings["dsn"]
        for refused in (workspace.revealed_settings, lambda slug: workspace.set_warehouse_settings(slug, {"port": 1})):
            with pytest.raises(ConfigError, match="secrets of a do not open"):
                refused("a")
        workspace.set_warehouse_settings("a", {"dsn": DSN, "token": None, "port": 2})
        assert {"dsn": DSN, "port": 2} == workspace.revealed_settings("a")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dsn", DSN, SHOWN_DSN),
        ("dsn", "postgresql://ada@db/x", "postgresql://ada@db/x"),
        ("dsn", "postgresql://db/x", "postgresql://db/x"),
        ("dsn", "postgresql://ada:p@ss@db:5432/x", "postgresql://ada:***@db:5432/x"),
        ("dsn", "postgresql://ada:pw@a:1,b:2/x", "postgresql://ada:***@a:1,b:2/x"),
        ("dsn", "postgresql://ada:pw@[::1]:5432/x", "postgresql://ada:***@[::1]:5432/x"),
        ("dsn", "clickhouse://ada:@db/x", "clickhouse://ada:***@db/x"),
        (
            "dsn",
            "postgresql://db/x?user=ada&password=pw&sslkey=k",
            "postgresql://db/x?user=ada&password=***&sslkey=***",
        ),
        ("dsn", "postgresql://db/x?user=ada&geheim", "postgresql://db/x?user=ada&***"),
        ("dsn", "postgresql://ada:p/ss@db/x", "***"),
        ("dsn", "postgresql://ada:12/ss@db/x", "***"),
        ("dsn", "postgresql://ada:p#ss@db/x", "***"),
        ("dsn", "postgresql://ada:p?ss@db/x", "***"),
        ("dsn", "postgresql://ada:p ss@db/x", "postgresql://ada:***@db/x"),
        ("dsn", "host=db user=ada password=pw port=5432", "host=db user=ada password=*** port=5432"),
        ("dsn", r"host=db password='p w\'s' dbname=x", "host=db password=*** dbname=x"),
        ("dsn", "host=db password = p w", "***"),
        ("dsn", "geheim", "***"),
        ("catalog_uri", "https://tok@cat.example/api", "https://***@cat.example/api"),
        ("token", "https://ada:pw@db/x", "***"),
        ("token", {"private_key": "x"}, "***"),
        ("token", "", ""),
        ("dsn", None, None),
    ],
)
def test_of_an_address_only_what_surely_is_no_secret_is_shown(name: str, value: Any, expected: Any) -> None:
    assert expected == masked(name, value)


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "value", "quoted"),
    [
        ("dsn", DSN, PASSWORD),
        ("dsn", DSN, ESCAPED),
        ("dsn", DSN, DSN),
        ("dsn", "host=db password='long \\' word'", "long ' word"),
        ("dsn", "clickhouse://db/x?password=pass%20word", "pass word"),
        ("token", TOKEN, TOKEN),
        ("private_key", PEM, "kqhkiG9w0BAQ"),
        ("credentials", '{"type": "service_account", "private_key": "line-one\\nline-two"}', "line-two"),
        ("credentials", {"private_key": "line-one\nline-two"}, "line-two"),
    ],
)
def test_a_secret_in_a_database_s_error_is_masked(name: str, value: Any, quoted: str) -> None:
    assert 'login of "ada" failed: *** (host db.example)' == without_secrets(
        f'login of "ada" failed: {quoted} (host db.example)', {name: value}
    )


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "role ada may not CREATE in schema events of project service_account"
    secrets = {"dsn": DSN, "token": "abc", "credentials": {"type": "service_account"}, "empty": "", "none": None}
    assert text == without_secrets(text, secrets)


def test_an_error_about_wrong_settings_does_not_quote_a_secret(
    workspace: Workspace, made: type[WarehouseKind], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(MadeSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
        def __post_init__(self) -> None:
            if self.dsn:
                raise ValueError(f"cannot read {self.dsn}")

    with pytest.raises(msgspec.ValidationError, match=re.escape(DSN)):  # the control: here it would be
        msgspec.convert({"dsn": DSN}, Strict)
    monkeypatch.setattr(made, "Settings", Strict)
    with pytest.raises(ConfigError, match=r"cannot read \*\*\*") as caught:
        workspace.add_warehouse("made", "a", {"dsn": DSN})
    assert PASSWORD not in str(caught.value)
    assert ESCAPED not in str(caught.value)


def test_a_record_made_of_a_row_has_only_masks(workspace: Workspace) -> None:
    workspace.add_warehouse("made", "a", SECRETS)
    for found in (workspace.warehouse("a"), workspace.warehouses()[1], workspace.warehouse_snapshot()[1][1]):
        assert isinstance(found, Warehouse)
        assert {"dsn": SHOWN_DSN, "token": "***"} == found.settings


def test_the_database_itself_has_masks_where_settings_are_shown(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        workspace.add_warehouse("made", "a", SECRETS)
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        (row,) = connection.execute("SELECT settings, sealed FROM warehouses WHERE slug = 'a'").fetchall()
    connection.close()
    assert SHOWN_DSN in row[0]
    assert row[1].startswith("1.")
