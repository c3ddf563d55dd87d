"""The workspace as a file: written, compared, applied; `headrace export` and `apply`, and the same over the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from headrace import cli
from headrace.alerts.alerts import kept_in
from headrace.app.configuration import file as files
from headrace.app.configuration.applying import Configuration
from headrace.app.configuration.differences import differences
from headrace.app.configuration.references import of_api, of_command
from headrace.app.working import Worker
from headrace.config import Config
from headrace.console.access import INSIDER, Requester
from headrace.console.api import api
from headrace.errors import ConfigError
from headrace.workspace.workspace import Workspace

SECRET = "whsec_" + "c2VjcmV0" * 6
VARIABLE = "DESTINATION_ORDER_DESK_SECRET"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with one of everything."""
    with Workspace.open(tmp_path / "data") as workspace:
        workspace.add_source("selligent-marketing-cloud", "Mails")
        workspace.add_source("http-api", "Shop")
        workspace.select("warehouse", "shop", {"without": ["pages"]})
        hook = {"url": "https://example.com/hook", "secret": SECRET, "filter": 'event = "Order Completed"'}
        workspace.add_destination("webhook", "Order desk", ["shop"], hook)
        alerts = kept_in(workspace)
        channel = alerts.add_channel("webhook", "Team", {"url": "https://example.com/told"})
        alerts.add_alert("rejected-events", "Refused", {}, [channel.slug])
        workspace.saved().add(
            "query", "on: off", "two\nlines", {"sql": "select 1\nfrom x", "warehouse": None, "chart": None}, "Ada"
        )
        workspace.people().add_first("ada@example.com", "Ada", "correct horse battery")
    return tmp_path / "data"


def of(workspace: Workspace, folder: Path) -> Configuration:
    return Configuration(workspace, Config(data=str(folder)), of_command(folder))


def exported(folder: Path) -> str:
    with Workspace.open(folder) as workspace:
        return files.written(of(workspace, folder).exported())


def told(folder: Path, text: str, *, prune: bool = False) -> str:
    with Workspace.open(folder) as workspace:
        return of(workspace, folder).plan(files.read(text), prune=prune).told()


def test_what_was_written_changes_nothing_and_holds_no_secret(folder: Path) -> None:
    text = exported(folder)
    assert SECRET not in text
    assert f"env: {VARIABLE}" in text
    assert files.read(text) == files.read(files.written(files.read(text)))
    assert told(folder, text).startswith("Nothing would change.")
    assert "secret stays as it is" in told(folder, text), "and says so"


def test_another_folder_becomes_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, other = exported(folder), tmp_path / "other"
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setenv("ALERT_CHANNEL_TEAM_URL", "https://example.com/told")
    with Workspace.open(other) as workspace:
        applied = of(workspace, other).apply(files.read(text))
        assert applied.error is None
        assert 3 == sum("shown only now" in note for note in applied.notes), "two write keys and an invitation"
        assert SECRET == workspace.revealed_destination_settings("order-desk")["secret"]
        again = of(workspace, other).apply(files.read(text))
    assert () == again.done, "safe to call twice"
    assert text == exported(other)


def test_a_difference_is_told_by_its_path_and_a_secret_without_its_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET.replace("c2", "b2"))
    text = exported(folder).replace("https://example.com/hook", "https://example.org/hook")
    said = told(folder, text)
    assert (
        '~ destination order-desk\n    settings.secret: another secret\n    settings.url: "https://example.com/hook" -> "https://example.org/hook"'
        in said
    )
    assert SECRET not in said


def test_what_the_file_does_not_name_stays_unless_it_is_to_go(folder: Path) -> None:
    text = "version: 1\ndestinations: {}\nalerts: {}\nalert_channels: {}\n"
    assert "left alone: destination order-desk" in told(folder, text)
    with Workspace.open(folder) as workspace:
        applied = of(workspace, folder).apply(files.read(text), prune=True)
        assert ("alert refused", "alert channel team", "destination order-desk") == applied.done, (
            "who is named goes last"
        )
        assert ["mails", "shop"] == [source.slug for source in workspace.sources()], "its section is not in the file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "says nothing"),
        ("version: 2", "version"),
        ("version: 1\nversion: 1", "line 2, column 1"),
        ("version: 1\nsources: &a {}\nalerts: *a", "aliases are not taken"),
        ("version: 1\nsources: {a: {kind: http-api}}", "sources, a: Object missing required field `nickname`"),
        ("version: 1\nsources: {a: {kind: nope, nickname: A}}", "source a: source: there is no kind 'nope'"),
        ("version: 1\nsources: {mails: {kind: http-api, nickname: A}}", "kind is 'selligent-marketing-cloud' for good"),
        ("version: 1\ndestinations: {x: {kind: webhook, nickname: X, sources: [no], settings: {url: 'https://a.de'}}}", "names 'no'"),
        ("version: 1\nwarehouses: {x: {kind: postgresql, nickname: X, settings: {dsn: {env: NOT_SET_HERE}}}}", "NOT_SET_HERE is not set"),
        ("version: 1\nwarehouses: {x: {kind: postgresql, nickname: X, settings: {dsn: {file: none.txt}}}}", "there is no file"),
        ("version: 1\nqueries: {q: {title: Q, body: {}}}", "sql"),
        ("version: 1\nemail_model: {goals: []}", "give one at least"),
        ("version: 1\nx: " + "[" * 100 + "]" * 100, "nested too deeply"),
        (b"version: \xff", "no UTF-8"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_changed(folder: Path, text: str | bytes, said: str) -> None:
    before = exported(folder)
    with Workspace.open(folder) as workspace, pytest.raises(ConfigError) as refused:
        of(workspace, folder).apply(files.read(text))
    assert said in str(refused.value)
    assert before == exported(folder)


def test_words_that_yaml_takes_for_others_stay_words() -> None:
    text = "version: 1\nsources: {no: {kind: http-api, nickname: on, settings: {since: 2026-01-01}}}"
    (entry,) = (files.read(text).sources or {}).items()
    assert ("no", "on", "2026-01-01") == (entry[0], entry[1].nickname, entry[1].settings["since"])


def test_a_secret_may_stand_in_a_file_beside_it(folder: Path) -> None:
    (folder / "hook.secret").write_text(f"{SECRET}\n")
    text = exported(folder).replace(f"env: {VARIABLE}", "file: hook.secret")
    assert told(folder, text).startswith("Nothing would change.")


def test_lists_and_empty_settings_are_compared_as_a_whole() -> None:
    assert ["a: [1] -> [1, 2]"] == differences({"a": [1], "b": {}}, {"a": [1, 2]})


def test_the_command_compares_applies_and_asks_before_it_removes(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "headrace.yaml"

    def run(*arguments: object) -> tuple[int, str]:
        code = cli.run(cli.app, [*map(str, arguments), "--data", str(folder)])
        out = capfd.readouterr()
        return code, out.out + out.err

    assert (0, f"written: {file}\n") == run("export", file)
    file.write_text(file.read_text().replace("nickname: Shop", "nickname: Web shop"))
    assert '~ source shop\n    nickname: "Shop" -> "Web shop"' in run("apply", file, "--dry-run")[1]
    assert "Shop\n" in exported(folder), "the control: a dry run changes nothing"
    assert 0 == run("apply", file)[0]
    assert "Web shop" in exported(folder)
    file.write_text("version: 1\nqueries: {}\n")
    code, said = run("apply", file, "--prune")
    assert (2, True) == (code, "--yes" in said)
    assert 0 == run("apply", file, "--prune", "--yes")[0]
    plan = json.loads(run("apply", file, "--dry-run", "--json")[1])
    assert ([], []) == (plan["changes"], plan["notes"])
    assert "there is no file" in run("apply", tmp_path / "none.yaml")[1]


@pytest.fixture
def asker() -> list[Requester]:
    return [INSIDER]


@pytest.fixture
def client(folder: Path, asker: list[Requester]) -> Iterator[TestClient[Any]]:
    config = Config(data=str(folder))
    worker = Worker(config)
    try:
        with TestClient(api(worker, config.warehouse, lambda _: asker[0])) as client:
            yield client
    finally:
        worker.end()
        worker.close()


def test_the_api_does_the_same_for_who_may(client: TestClient[Any], asker: list[Requester], folder: Path) -> None:
    text = client.get("/api/v1/configuration").text
    assert text == exported(folder)
    changed = text.replace("nickname: Shop", "nickname: Web shop")
    compared = client.post("/api/v1/configuration", json={"text": changed}).json()
    assert [("change", "source shop")] == [(one["action"], one["title"]) for one in compared["changes"]]
    assert text == client.get("/api/v1/configuration").text, "it was compared only"
    assert ["source shop"] == client.post("/api/v1/configuration", json={"text": changed, "dry_run": False}).json()[
        "done"
    ]
    asker[0] = Requester("Eva", "editor", "session")
    assert 403 == client.get("/api/v1/configuration").status_code
    asker[0] = Requester("Adam", "admin", "session")
    promoted = text + "  adam@example.com:\n    name: Adam\n    role: owner\n"
    refused = client.post("/api/v1/configuration", json={"text": promoted, "dry_run": False})
    assert (403, "role_refused") == (refused.status_code, refused.json()["code"])
    assert 409 == client.post("/api/v1/configuration", json={"text": "version: 9"}).status_code


def test_over_the_api_the_server_s_own_files_and_variables_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = of_api(tmp_path)
    monkeypatch.setenv("WAREHOUSE_TEAM_DSN", "x")
    assert "x" == resolve({"env": "WAREHOUSE_TEAM_DSN"})
    with pytest.raises(ConfigError, match="is not read"):
        resolve({"env": "PATH"})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a").write_text("y\n")
    (tmp_path / "secret.key").write_text("z")
    assert "y" == resolve({"file": "a"})
    for outside in ("../secret.key", "/etc/passwd"):
        with pytest.raises(ConfigError, match="are read from"):
            resolve({"file": outside})
