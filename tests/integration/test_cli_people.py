"""`headrace people`, `token` and `audit`: the way in for who has no browser, and the way back for who forgot the password."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from headrace import cli
from headrace.workspace import passwords
from headrace.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    Workspace.open(folder).close()
    return folder


class Commands:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        found = cli.run(cli.app, [*arguments, "--data", str(self.folder)])
        said = self._capsys.readouterr()
        assert code == found, said.out + said.err
        return said.err if code else said.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def headrace(empty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    folder = tmp_path / "data"
    shutil.copytree(empty, folder)
    (tmp_path / "password").write_text("correct horse battery\nnot this\n")
    return Commands(folder, capsys)


def test_the_first_person_is_an_owner_and_the_setup_code_ends(headrace: Commands, tmp_path: Path) -> None:
    code = headrace.json("people", "setup-code")
    assert (True, 19) == (code["needed"], len(code["code"]))
    assert "is an owner" in headrace("people", "add", "ada@example.com", "--name", "Ada", code=1)
    file = str(tmp_path / "password")
    headrace("people", "add", "ada@example.com", "--name", "Ada", "--role", "owner", "--password-file", file)
    assert "needed no more" in headrace("people", "setup-code")
    with Workspace.open(headrace.folder) as workspace:
        assert passwords.fits(workspace.people().password_of("ADA@example.com")[1], "correct horse battery")


def test_people_are_invited_changed_and_removed(headrace: Commands) -> None:
    added = headrace.json("people", "add", "ada@example.com", "--name", "Ada", "--role", "owner")
    assert added["link"] == f"http://127.0.0.1:8001/invitation#{added['invitation']}"
    with Workspace.open(headrace.folder) as workspace:
        workspace.people().take_up(added["invitation"], "a password of one's own")
    headrace("people", "add", "ben@example.com", "--name", "Ben")
    assert "editor" == headrace.json("people", "role", "ben@example.com", "editor")["role"]
    assert "there is no 'boss'" in headrace("people", "role", "ben@example.com", "boss", code=1)
    assert "disabled since" in headrace("people", "disable", "ben@example.com")
    assert "invited until" in headrace("people", "enable", "ben@example.com")
    assert "last owner" in headrace("people", "remove", "ada@example.com", "--yes", code=1)
    headrace("people", "remove", "ben@example.com", "--yes")
    assert ["ada@example.com"] == [one["email"] for one in headrace.json("people", "list")]
    assert "there is no 'ben@example.com'" in headrace("people", "disable", "ben@example.com", code=1)


def test_who_forgot_the_password_gets_another_one(headrace: Commands, tmp_path: Path) -> None:
    headrace("people", "add", "ada@example.com", "--name", "Ada", "--role", "owner")
    file = str(tmp_path / "password")
    assert "can log in" in headrace("people", "password", "ada@example.com", "--password-file", file)
    assert "/invitation#hri_" in headrace("people", "password", "ada@example.com", "--invite")
    (tmp_path / "short").write_text("short")
    refused = headrace("people", "password", "ada@example.com", "--password-file", str(tmp_path / "short"), code=1)
    assert "5 characters" in refused


def test_tokens_are_made_listed_and_ended(headrace: Commands) -> None:
    made = headrace.json("token", "add", "Nightly", "--role", "editor", "--days", "30")
    assert made["token"].startswith("hrt_")
    (listed,) = headrace.json("token", "list")
    assert ("Nightly", "editor", made["token"][-4:]) == (listed["name"], listed["acts_as"], listed["last_four"])
    assert made["token"] not in headrace("token", "list")
    assert "already" in headrace("token", "add", "Nightly", code=1)
    headrace("token", "remove", "Nightly", "--yes")
    assert [] == headrace.json("token", "list")


def test_the_trail_says_who_ran_the_command(headrace: Commands) -> None:
    headrace("source", "add", "http-api", "--name", "Shop")
    headrace("source", "rename", "shop", "The shop")
    newest, first = headrace.json("audit")
    assert ("renamed", "source", "shop", "command line") == tuple(newest[n] for n in ("verb", "kind", "subject", "via"))
    assert newest["who"].startswith("command line (")
    assert {"nickname": ["Shop", "The shop"]} == newest["changes"]
    assert "added" == first["verb"]
    shown = headrace("audit", "--limit", "1")
    assert "renamed source shop" in shown
    assert "nickname: Shop -> The shop" in shown
    assert f"--before {newest['id']}" in shown
    assert "added source shop" in headrace("audit", "--before", str(newest["id"]))
