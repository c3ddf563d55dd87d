"""The workspace: keys, changes, several processes, upgrade and damage."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import config as alembic_config
from alembic import script as alembic_script

from headrace.errors import ConfigError, NotFoundError, RetryableError
from headrace.workspace import database, keys
from headrace.workspace.keys import KeyRing
from headrace.workspace.workspace import DATABASE_FILE, SECRET_FILE, Workspace

MOMENT = datetime(2026, 11, 22, 10, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "data") as opened:
        yield opened


def files(workspace_folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(workspace_folder.iterdir()) if file.name != SECRET_FILE)


# changes


def test_a_source_is_found_again_as_it_was_added(workspace: Workspace) -> None:
    added, key = workspace.add_source("http-api", "Mails", "m", {"clock_skew": "keep"})
    assert [added] == workspace.sources()
    assert added == workspace.source("mails")
    assert (
        added.kind,
        added.schema,
        added.enabled,
        added.settings,
        added.removed_at,
    ) == ("http-api", "m", True, {"clock_skew": "keep"}, None)
    assert [key[-4:]] == [stored.last_four for stored in added.keys]


def test_times_keep_their_microseconds_and_zone(tmp_path: Path) -> None:
    url = str(sa.URL.create("sqlite", database=str(tmp_path / "w.db")))
    with Workspace(url, tmp_path / "s.key", clock=lambda: MOMENT) as workspace:
        workspace.add_source("http-api", "x")
        source = workspace.source("x")
        assert [source.created_at, source.keys[0].created_at] == [MOMENT, MOMENT]
        assert workspace.remove("x").removed_at == MOMENT


def test_a_source_can_be_disabled_enabled_and_renamed_and_keeps_its_slug(workspace: Workspace) -> None:
    added, _ = workspace.add_source("http-api", "Mails")
    assert not workspace.disable("mails").enabled
    assert workspace.enable("mails").enabled
    renamed = workspace.rename("mails", "Été")
    assert (renamed.slug, renamed.schema, renamed.nickname) == ("mails", "mails", "Été")
    assert added.keys == renamed.keys


def test_every_change_counts_the_revision_up_and_a_refused_one_does_not(workspace: Workspace) -> None:
    seen = [workspace.revision()]
    workspace.add_source("http-api", "a")
    seen.append(workspace.revision())
    for change in (
        lambda: workspace.disable("a"),
        lambda: workspace.enable("a"),
        lambda: workspace.rename("a", "b"),
        lambda: workspace.rotate_key("a"),
        lambda: workspace.retire_key("a", workspace.source("a").keys[0].last_four),
        lambda: workspace.set_settings("a", {"clock_skew": "keep"}),
        lambda: workspace.remove("a"),
    ):
        change()
        seen.append(workspace.revision())
    assert list(range(9)) == seen
    with pytest.raises(NotFoundError):
        workspace.disable("a")
    assert workspace.revision() == 8


def test_a_snapshot_has_the_revision_and_removed_sources_too(workspace: Workspace) -> None:
    workspace.add_source("http-api", "a")
    workspace.add_source("http-api", "b")
    workspace.remove("a")
    revision, sources = workspace.snapshot()
    assert (revision, [source.slug for source in sources]) == (3, ["a", "b"])
    assert [source.slug for source in workspace.sources()] == ["b"]
    assert [source.slug for source in workspace.sources(include_removed=True)] == ["a", "b"]


def test_settings_are_merged_and_none_takes_one_back_to_its_default(workspace: Workspace) -> None:
    workspace.add_source("selligent-marketing-cloud", "s")
    assert workspace.set_settings("s", {"clock_skew": "correct"}).settings == {"clock_skew": "correct"}
    assert workspace.set_settings("s", {"address": "both"}).settings == {"clock_skew": "correct", "address": "both"}
    assert workspace.set_settings("s", {"clock_skew": None}).settings == {"address": "both"}


@pytest.mark.parametrize(
    "settings", [{"clock": "keep"}, {"clock_skew": "sometimes"}, {"clock_skew": 1}, {"clock": None}]
)
def test_wrong_settings_are_refused_and_nothing_is_stored(workspace: Workspace, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="settings: http-api"):
        workspace.add_source("http-api", "x", settings=settings)
    assert workspace.sources() == []
    workspace.add_source("http-api", "x")
    with pytest.raises(ConfigError, match="settings: http-api"):
        workspace.set_settings("x", settings)
    assert workspace.source("x").settings == {}


def test_unknown_kinds_and_sources_are_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="http-api"):
        workspace.add_source("nonesuch", "x")
    with pytest.raises(NotFoundError, match="headrace source list"):
        workspace.source("x")


def test_a_removed_source_stays_readable_but_cannot_be_changed(workspace: Workspace) -> None:
    workspace.add_source("http-api", "x")
    removed = workspace.remove("x")
    assert removed == workspace.source("x")
    assert (removed.enabled, removed.keys) == (False, ())
    for change in (workspace.enable, workspace.disable, workspace.rotate_key, workspace.remove):
        with pytest.raises(NotFoundError, match="was removed"):
            change("x")


# write keys


def test_a_write_key_has_128_random_bits_and_only_characters_that_fit_everywhere() -> None:
    made = {keys.new_key() for _ in range(1000)}
    assert len(made) == 1000
    assert [key for key in made if not re.fullmatch(r"hr_[A-Za-z0-9]{22}", key)] == []
    assert 62**22 > 2**128


def test_the_key_ring_finds_live_keys_and_nothing_else(workspace: Workspace) -> None:
    _, key_a = workspace.add_source("http-api", "a")
    _, key_b = workspace.add_source("http-api", "b")
    workspace.disable("b")
    ring = KeyRing(workspace.secret, workspace.sources())
    assert [workspace.source("a"), workspace.source("b")] == [ring.find(key_a), ring.find(key_b)]
    for wrong in (
        "",
        key_a[:-1],
        key_a + "x",
        key_a.lower(),
        workspace.source("a").keys[0].digest,
        "é\ud800",
        "x" * 10**6,
    ):
        assert ring.find(wrong) is None
    assert KeyRing(b"another secret", workspace.sources()).find(key_a) is None


def test_two_keys_live_while_rotating_and_a_third_is_refused_with_the_remedy(workspace: Workspace) -> None:
    _, old = workspace.add_source("http-api", "a")
    new = workspace.rotate_key("a")
    ring = KeyRing(workspace.secret, workspace.sources())
    assert ring.find(old) == ring.find(new) == workspace.source("a")
    with pytest.raises(ConfigError, match=f"headrace source retire-key a {old[-4:]}$"):
        workspace.rotate_key("a")
    workspace.retire_key("a", old[-4:])
    ring = KeyRing(workspace.secret, workspace.sources())
    assert (ring.find(old), getattr(ring.find(new), "slug", None)) == (None, "a")
    assert workspace.rotate_key("a") != new


def test_the_only_key_and_an_unknown_one_cannot_be_retired(workspace: Workspace) -> None:
    _, key = workspace.add_source("http-api", "a")
    with pytest.raises(ConfigError, match="the only one"):
        workspace.retire_key("a", key[-4:])
    with pytest.raises(NotFoundError, match=key[-4:]):
        workspace.retire_key("a", "????")


def test_keys_of_a_removed_source_are_dead(workspace: Workspace) -> None:
    _, key = workspace.add_source("http-api", "a")
    workspace.remove("a")
    assert KeyRing(workspace.secret, workspace.sources(include_removed=True)).find(key) is None


def test_no_file_holds_a_key_in_clear(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        _, key = workspace.add_source("http-api", "a")
        rotated = workspace.rotate_key("a")
        digest = workspace.source("a").keys[0].digest
        stored = files(tmp_path)
        workspace.retire_key("a", key[-4:])
    stored_later = files(tmp_path)
    for clear in (key, rotated, key.removeprefix("hr_"), rotated.removeprefix("hr_")):
        assert clear.encode() not in stored + stored_later
        assert clear.encode().hex().encode() not in stored + stored_later
    assert digest.encode() in stored  # the control: what is stored is found by this search
    assert digest.encode() not in stored_later  # and a retired digest is wiped


# files and processes


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    with Workspace.open(folder) as workspace:
        workspace.add_source("http-api", "a")
        modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {0o600} == set(modes.values())
        assert {DATABASE_FILE, SECRET_FILE} <= modes.keys()
        assert len((folder / SECRET_FILE).read_bytes()) == 32


def test_opening_again_keeps_everything_and_loads_no_alembic(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        added, key = workspace.add_source("http-api", "a")
    code = (
        "import sys; from pathlib import Path; from headrace.workspace.workspace import Workspace\n"
        "w = Workspace.open(Path(sys.argv[1])); print(w.revision(), w.sources()[0].slug, 'alembic' in sys.modules)"
    )
    again = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == ("1 a False\n", "")
    with Workspace.open(tmp_path) as workspace:
        assert KeyRing(workspace.secret, workspace.sources()).find(key) == added


ADD_TEN = """
import sys
from pathlib import Path
from headrace.workspace.workspace import Workspace
sys.stdin.readline()  # both begin together
with Workspace.open(Path(sys.argv[1])) as workspace:
    for _ in range(10):
        print(workspace.add_source("http-api", "Mails")[0].slug)
"""


def test_two_processes_create_the_workspace_and_add_sources_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_TEN, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [(p.returncode, stderr) for p, (_, stderr) in zip(processes, answers, strict=True)] == [(0, ""), (0, "")]
    with Workspace.open(folder) as workspace:
        revision, sources = workspace.snapshot()
    assert revision == 20
    assert sorted(slug for stdout, _ in answers for slug in stdout.split()) == sorted(source.slug for source in sources)
    assert len({source.schema for source in sources}) == 20


def test_a_change_in_one_process_is_seen_by_another(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as one, Workspace.open(tmp_path) as other:
        one.add_source("http-api", "a")
        assert (other.revision(), [source.slug for source in other.sources()]) == (1, ["a"])


def test_a_read_transaction_cannot_turn_into_a_write_after_somebody_else_wrote(tmp_path: Path) -> None:
    """The control of the tests above: without the write lock from the first moment on, a read-then-write fails."""
    with Workspace.open(tmp_path) as one, Workspace.open(tmp_path) as other:

        def count_up() -> None:
            with one._database.read() as connection:
                connection.execute(sa.select(database.revision)).all()
                other.add_source("http-api", "a")
                connection.execute(sa.update(database.revision).values(value=7))

        with pytest.raises(RetryableError, match="locked"):
            count_up()
        assert one.revision() == 1


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as one, Workspace.open(tmp_path) as other, one._database.write() as connection:
        connection.execute(sa.update(database.revision).values(value=7))
        assert other.revision() == 0


def test_an_error_in_a_change_rolls_all_of_it_back(workspace: Workspace) -> None:
    workspace.add_source("http-api", "a")

    def fail_midway() -> None:
        with workspace._database.write() as connection:
            connection.execute(sa.delete(database.write_keys))
            raise LookupError

    with pytest.raises(LookupError):
        fail_midway()
    assert len(workspace.source("a").keys) == 1


# upgrade and damage


def test_head_is_the_newest_migration_and_the_tables_are_those_of_the_migrations(tmp_path: Path) -> None:
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(database.MIGRATIONS))
    assert alembic_script.ScriptDirectory.from_config(settings).get_heads() == [database.HEAD]
    with Workspace.open(tmp_path) as workspace, workspace._database.read() as connection:
        found = sa.inspect(connection)
        for table in (database.sources, database.write_keys, database.revision):
            declared = {(column.name, column.nullable) for column in table.columns}
            assert declared == {(column["name"], column["nullable"]) for column in found.get_columns(table.name)}


def test_an_upgrade_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE revision (mine INTEGER)")  # the last table of the first migration
    connection.close()
    with pytest.raises(ConfigError, match="cannot upgrade"):
        Workspace.open(tmp_path)
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert {"revision"} == tables


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE_FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match="newer headrace"):
        Workspace.open(tmp_path)


def test_a_lost_secret_is_noticed_before_keys_are_called_unknown(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    secret = tmp_path / SECRET_FILE
    secret.unlink()
    with Workspace.open(tmp_path) as workspace:  # no source yet: a new one does no harm
        workspace.add_source("http-api", "a")
    secret.unlink()
    with pytest.raises(ConfigError, match="restore it from a backup"):
        Workspace.open(tmp_path)
    assert not secret.exists()
    secret.write_bytes(b"short")
    with pytest.raises(ConfigError, match="32 bytes, it has 5"):
        Workspace.open(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_text("no database at all, but long enough to be looked at\n" * 50)
    with pytest.raises(ConfigError, match=r"workspace\.db.*backup"):
        Workspace.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot create the folder"):
        Workspace.open(tmp_path / "file" / "data")


def test_without_create_a_missing_workspace_is_not_found_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="--data"):
        Workspace.open(tmp_path / "absent", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["a b", "a?b", "a%20b", "é#b"])
def test_any_folder_name_works(tmp_path: Path, folder: str) -> None:
    Workspace.open(tmp_path / folder).close()
    assert (tmp_path / folder / DATABASE_FILE).exists()
    assert [tmp_path / folder] == list(tmp_path.iterdir())


def test_another_database_than_sqlite_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH") as caught:
        Workspace("postgresql://user:verysecret@db/x", tmp_path / "s.key")
    assert "verysecret" not in str(caught.value)
