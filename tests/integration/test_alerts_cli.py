"""`headrace alert ...` as people and scripts run it, with secrets nowhere, and a real kill while a notice is on its way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
import typer

from alert_scene import SLACK, TOKEN, Scene
from headrace import cli
from headrace.cli import alert as alert_commands
from headrace.workspace import database, secret_settings
from headrace.workspace.workspace import SECRET_FILE, Workspace
from mail_server import MailServer, certificate

PASSWORD = "sehr-geheimes-wort"
WEBHOOK = "https://hook.example/pfad/geheimer-teil-4711"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HEADER = "Bearer tok-geheim-99"
SECRETS = (SLACK, TOKEN, PASSWORD, WEBHOOK, "geheimer-teil-4711", SIGNING, SIGNING[6:], HEADER, "tok-geheim-99")


APP = typer.Typer(callback=lambda: None, rich_markup_mode="markdown")
"""These commands alone: all of them take longer to build than to run."""
alert_commands.register(APP)


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (0, "") == (self.code, self.err)
        return json.loads(self.out)


Run = Callable[..., Answer]


def run(folder: Path, *arguments: object) -> int:
    """`headrace alert ...`, in this process."""
    return cli.run(APP, ["alert", *map(str, arguments), "--data", str(folder)])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders to be copied: `empty` has the source `mails`, `channels` also the channels `ops`, `hook` and `post`."""
    folder = tmp_path_factory.mktemp("begun")
    with Workspace.open(folder / "empty") as workspace:
        workspace.add_source("http-api", "Mails")
    shutil.copytree(folder / "empty", folder / "channels")
    with pytest.MonkeyPatch.context() as patched:
        headers = json.dumps({"Authorization": HEADER})
        for name, value in {
            "SLACK": SLACK,
            "HOOK": WEBHOOK,
            "SIGN": SIGNING,
            "PW": PASSWORD,
            "HEADERS": headers,
        }.items():
            patched.setenv(name, value)
        for kind, nickname, *settings in (
            ("slack", "Ops", "url=env:SLACK"),
            ("webhook", "Hook", "url=env:HOOK", "secret=env:SIGN", "headers=env:HEADERS"),
            (
                "email",
                "Post",
                "host=mail.example",
                "username=ada",
                "password=env:PW",
                "sender=h@example.com",
                "to=o@example.com",
            ),
        ):
            given = [part for setting in settings for part in ("--set", setting)]
            assert 0 == run(folder / "channels", "channel", "add", kind, "--name", nickname, *given, "--json")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def running(capfd: pytest.CaptureFixture[str], data: Path) -> Run:
    def command(*arguments: object) -> Answer:
        capfd.readouterr()
        code = run(data, *arguments)
        return Answer(code, *capfd.readouterr())

    return command


@pytest.fixture
def alert(capfd: pytest.CaptureFixture[str], begun: Path, data: Path) -> Run:
    """Runs `headrace alert COMMAND` on a data folder of this test."""
    shutil.copytree(begun / "empty", data)
    return running(capfd, data)


@pytest.fixture
def with_channels(capfd: pytest.CaptureFixture[str], begun: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same where channels are there."""
    shutil.copytree(begun / "channels", data)
    monkeypatch.setenv("PW", PASSWORD)
    return running(capfd, data)


def files(folder: Path) -> bytes:
    return b"".join(
        file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file() and file.name != SECRET_FILE
    )


# secrets


def test_secrets_are_masked_wherever_channels_are_shown(with_channels: Run) -> None:
    shown = with_channels("channel", "show", "ops", "--json").json
    assert {"url": "https://hooks.slack.example/***"} == shown["settings"]
    hook = with_channels("channel", "show", "hook", "--json").json["settings"]
    assert {"url": "https://hook.example/***", "secret": "***", "shared_secret": "", "headers": "***"} == hook
    assert "***" == with_channels("channel", "show", "post", "--json").json["settings"]["password"]
    seen = ""
    for command in (
        ("channel", "list"), ("channel", "list", "--json"), ("channel", "show", "ops"), ("channel", "show", "hook"),
        ("channel", "show", "post"), ("channel", "set", "post", "port=25"), ("channel", "remove", "ops", "--yes"),
    ):  # fmt: skip
        answer = with_channels(*command)
        assert 0 == answer.code
        seen += answer.out + answer.err
    assert [] == [secret for secret in SECRETS if secret in seen]


def test_secrets_are_encrypted_at_rest(with_channels: Run, data: Path) -> None:
    assert [] == [secret for secret in SECRETS if secret.encode() in files(data)]
    with sqlite3.connect(data / "workspace.db") as connection:
        rows = dict(connection.execute("SELECT slug, sealed FROM alert_channels").fetchall())
        connection.execute(
            "UPDATE alert_channels SET sealed = (SELECT sealed FROM alert_channels WHERE slug = 'ops') WHERE slug = 'hook'"
        )
    connection.close()
    assert all(sealed.startswith("1.") for sealed in rows.values())
    moved = with_channels("channel", "set", "hook", "shared_secret=env:PW")
    assert 1 == moved.code
    assert "headrace alert channel set hook" in moved.err


def test_the_search_finds_what_is_stored_in_clear(alert: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setattr(secret_settings, "sealed", lambda _secret, _owner, settings: json.dumps(settings))
    monkeypatch.setenv("SLACK", SLACK)
    alert("channel", "add", "slack", "--name", "Ops", "--set", "url=env:SLACK")
    assert TOKEN.encode() in files(data)


def test_a_secret_on_the_command_line_is_remarked_upon_and_wrong_settings_do_not_quote_it(alert: Run) -> None:
    answer = alert("channel", "add", "slack", "--name", "Ops", "--set", f"url=ftp://{TOKEN}/x/{PASSWORD}")
    assert 1 == answer.code
    assert "url stood on the command line" in answer.err
    assert "url must begin with http" in answer.err
    assert "headrace alert kinds slack" in answer.err
    assert [] == [secret for secret in SECRETS if secret in answer.err]


def test_a_mask_that_comes_back_changes_nothing_and_other_secrets_stay(with_channels: Run, data: Path) -> None:
    with_channels("channel", "set", "hook", "url=https://hook.example/***", "secret=***", "shared_secret=env:PW")
    with Scene(data) as scene:
        revealed = scene.workspace.revealed_settings("hook")
    assert (WEBHOOK, SIGNING, PASSWORD) == (revealed["url"], revealed["secret"], revealed["shared_secret"])


# alerts


def test_an_alert_is_added_listed_shown_changed_paused_resumed_and_removed(with_channels: Run) -> None:
    added = with_channels(
        "add", "source-volume", "--name", "Mails silent", "--to", "ops", "--to", "post",
        "--set", "source=mails", "--set", "quiet=22:00-07:00", "--set", "time_zone=Europe/Brussels", "--json",
    ).json  # fmt: skip
    assert ("mails-silent", "source-volume", "unknown", ["ops", "post"]) == (
        added["slug"], added["condition"], added["state"], added["channels"],
    )  # fmt: skip
    assert ("mails", 50.0, 0.0) == (
        added["settings"]["source"], added["settings"]["changed_percent"], added["settings"]["hold_minutes"],
    )  # fmt: skip
    assert ["mails-silent"] == [one["slug"] for one in with_channels("list", "--json").json]
    assert "Europe/Brussels" in with_channels("show", "mails-silent").out
    changed = with_channels(
        "set", "mails-silent", "changed_percent=80", "--unset", "quiet", "--to", "hook", "--json"
    ).json
    assert (80.0, "", ["hook"]) == (
        changed["settings"]["changed_percent"], changed["settings"]["quiet"], changed["channels"],
    )  # fmt: skip
    assert "paused" == with_channels("pause", "mails-silent", "--json").json["state"]
    assert "unknown" == with_channels("resume", "mails-silent", "--json").json["state"]
    assert 2 == with_channels("remove", "mails-silent").code
    assert 0 == with_channels("remove", "mails-silent", "--yes").code
    assert [] == with_channels("list", "--json").json
    again = with_channels("add", "warehouse-late", "--name", "Mails silent", "--to", "ops", "--json").json
    assert "mails-silent" == again["slug"]


WRONG = (
    ("add nonesuch --name X --to ops", "delivery-rate, source-volume"),
    ("add warehouse-late --name X", "--to CHANNEL"),
    ("add warehouse-late --name X --to nobody", "headrace alert channel list"),
    ("add warehouse-late --name X --to ops --set quiet=late", "22:00-07:00"),
    ("add source-volume --name X --to ops --set source=nonesuch", "there is no 'nonesuch'"),
    ("add delivery-rate --name X --to ops --set destination=nonesuch", "there is no 'nonesuch'"),
    ("show nonesuch", "headrace alert list"),
    ("set nonesuch urgent=true", "headrace alert list"),
    ("channel add pigeon --name X", "slack, webhook, email"),
    ("channel show nonesuch", "headrace alert channel list"),
)


def test_what_is_wrong_is_said_with_what_would_be_right_and_nothing_is_added(with_channels: Run) -> None:
    answers = [with_channels(*line.split()) for line, _ in WRONG]
    assert [] == [(line, answer) for (line, text), answer in zip(WRONG, answers, strict=True) if text not in answer.err]
    assert {1} == {answer.code for answer in answers}
    assert [] == with_channels("list", "--json").json
    assert 3 == len(with_channels("channel", "list", "--json").json)


def test_a_channel_that_is_told_by_an_alert_is_not_removed(with_channels: Run) -> None:
    with_channels("add", "warehouse-late", "--name", "Late", "--to", "ops")
    refused = with_channels("channel", "remove", "ops", "--yes")
    assert (1, True) == (refused.code, "told by late" in refused.err)
    with_channels("set", "late", "--to", "hook")
    assert 0 == with_channels("channel", "remove", "ops", "--yes").code


def test_what_can_be_watched_and_who_can_be_told_is_listed_with_every_setting(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert 0 == cli.run(APP, ["alert", "kinds", "--json"])
    kinds = {kind["slug"]: kind for kind in json.loads(capfd.readouterr().out)}
    assert ["delivery-rate", "source-volume", "warehouse-late", "rejected-events", "slack", "webhook", "email"] == list(
        kinds
    )
    assert [] == [s["name"] for kind in kinds.values() for s in kind["settings"] if not s["description"]]
    assert 0 == cli.run(APP, ["alert", "kinds", "delivery-rate"])
    assert "below_percent" in capfd.readouterr().out
    assert 1 == cli.run(APP, ["alert", "kinds", "nonesuch"])


# what the server wrote down


def test_what_holds_and_what_cannot_be_sent_is_shown(with_channels: Run, data: Path) -> None:
    with_channels(
        "add", "delivery-rate", "--name", "Deliveries", "--to", "ops", "--to", "hook", "--set", "hold_minutes=0"
    )
    with Scene(data) as scene:
        scene.now = now = datetime.now(UTC)
        scene.http.answers = ["ECONNREFUSED"]
        scene.step(delivered=10)
    listed = with_channels("list").out
    assert ("holds", True) == (with_channels("show", "deliveries", "--json").json["state"], "crm" in listed)
    (holds,) = with_channels("show", "deliveries", "--json").json["holds"]
    assert ("crm", "Delivery to CRM (crm) fails", now.isoformat()) == (holds["subject"], holds["title"], holds["since"])
    assert "headrace delivery show crm" in with_channels("show", "deliveries").out
    failing, working = (with_channels("channel", "show", slug, "--json").json for slug in ("ops", "hook"))
    assert (1, "ECONNREFUSED no answer from ***") == (failing["waiting"], failing["error"])
    assert (0, None, now.isoformat()) == (working["waiting"], working["error"], working["sent_at"])
    assert "The last attempt failed since" in with_channels("channel", "show", "ops").out
    assert [] == [secret for secret in SECRETS if secret.encode() in files(data)]


def test_what_was_seen_long_ago_or_before_the_alert_was_added_is_not_said_of_now(
    with_channels: Run, data: Path
) -> None:
    with_channels("add", "delivery-rate", "--name", "Deliveries", "--to", "ops")
    with Scene(data) as scene:
        scene.now = datetime.now(UTC) - timedelta(minutes=16)
        scene.step(delivered=100)
    assert "unknown" == with_channels("show", "deliveries", "--json").json["state"]
    with Scene(data) as scene:
        scene.now = datetime.now(UTC)
        scene.step(delivered=100)
    assert "well" == with_channels("show", "deliveries", "--json").json["state"]
    assert "unknown" == with_channels("add", "delivery-rate", "--name", "Second", "--to", "ops", "--json").json["state"]


# test notices


def test_a_test_notice_goes_out_at_once_and_says_what_became_of_it(
    alert: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.setenv("HEADRACE_ALLOWED_NETWORKS", "127.0.0.0/8")
    with MailServer("starttls", pem, ("ada", PASSWORD)) as server:
        alert(
            "channel", "add", "email", "--name", "Post", "--set", "host=127.0.0.1", "--set", f"port={server.port}",
            "--set", "username=ada", "--set", "password=env:PW", "--set", f"ca_file={pem}",
            "--set", "sender=headrace@example.com", "--set", "to=ops@example.com",
        )  # fmt: skip
        alert("add", "warehouse-late", "--name", "Late", "--to", "post")
        assert [{"channel": "post", "ok": True, "code": "", "text": ""}] == alert("test", "late", "--json").json
        assert 0 == alert("channel", "test", "post").code
        assert ["headrace: Test: the alert Late reaches you", "headrace: Test: the channel Post works"] == [
            written["Subject"] for written in server.mails
        ]
        server.login = ("ada", "another")
        failed = alert("test", "late")
    assert (1, True) == (failed.code, failed.out.startswith("failed  post  INVALID_AUTHENTICATION 535"))
    assert PASSWORD not in failed.out + failed.err
    assert "AUTH PLAIN *** ada ***" in failed.out  # the control: the server quoted it there
    monkeypatch.delenv("HEADRACE_ALLOWED_NETWORKS")
    assert "HEADRACE_ALLOWED_NETWORKS" in alert("test", "late").out


def test_a_server_that_is_killed_while_a_notice_is_on_its_way_repeats_it_once(with_channels: Run, data: Path) -> None:
    with_channels("add", "delivery-rate", "--name", "Deliveries", "--to", "hook", "--set", "hold_minutes=0")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from alert_scene import Scene, ScriptedHttp\n"
        "class Killing(ScriptedHttp):\n"
        "    async def exchange(self, request):\n"
        "        print(request.headers['webhook-id'], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "scene = Scene(Path(sys.argv[1]))\n"
        "scene.http = Killing()\n"
        "scene.started()\n"
        "scene.step(delivered=10)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run(
        [sys.executable, "-c", script, data], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (-signal.SIGKILL, "") == (killed.returncode, killed.stderr)
    with Scene(data) as scene:
        scene.step(minutes=1, delivered=10)
        scene.step(minutes=1, times=3)
        assert [killed.stdout.strip()] == [request.headers["webhook-id"] for request in scene.http.requests]


def test_the_tables_are_those_of_the_migration_and_no_alert_is_there_at_first(alert: Run, data: Path) -> None:
    assert ([], []) == (alert("list", "--json").json, alert("channel", "list", "--json").json)
    assert "headrace alert channel add" in alert("list").out
    with Workspace.open(data) as workspace, workspace._database.read() as connection:
        for table in (database.alerts, database.alert_channels):
            found = sa.inspect(connection).get_columns(table.name)
            declared = {(column.name, column.nullable) for column in table.columns}
            assert declared == {(column["name"], column["nullable"]) for column in found}
