"""`headrace destination ...` and the destinations of `headrace catalog` as people and scripts run them."""

from __future__ import annotations

import json
import os
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headrace import cli
from headrace.app import destination_checks, folder, reach
from headrace.cli.catalog_rooms import mapping_rows
from headrace.config import Config
from headrace.destinations.base import Mappings
from headrace.errors import WarehouseUnavailableError
from headrace.workspace import secret_settings
from headrace.workspace.workspace import Workspace
from made_destination import HOOK, HOOK_TOKEN, SHOWN_HOOK, TOKEN, made

__all__ = ["made"]

pytestmark = pytest.mark.usefixtures("made")

OF_EVERY_KIND = ("filter", "mapping", "concurrency", "horizon_hours")


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (0, "") == (self.code, self.err)
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def run(*arguments: object) -> Answer:
        capfd.readouterr()
        code = cli.run(cli.app, [str(argument) for argument in arguments])
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with Workspace.open(folder) as workspace:
        workspace.add_source("http-api", "Mails")
        workspace.add_source("http-api", "Shop")
    return folder


@pytest.fixture
def destination(run: Run, data: Path) -> Run:
    """Runs `headrace destination COMMAND` on a data folder of this test."""
    return lambda *arguments: run("destination", *arguments, "--data", data)


@pytest.fixture
def with_secrets(destination: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """The destination `own` is there."""
    monkeypatch.setenv("OWN_TOKEN", TOKEN)
    (tmp_path / "hook").write_text(f"{HOOK}\n")
    settings = ("--set", f"hook_url=@{tmp_path / 'hook'}", "--set", "token=env:OWN_TOKEN", "--set", "list_name=old")
    return destination("add", "made", "--name", "Own", "--source", "mails", *settings, "--json")


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The data folders whose server was told to look, instead of telling one."""
    told: list[Path] = []
    monkeypatch.setattr(reach, "notice", lambda config: told.append(config.folder))
    return told


def slugs(destination: Run) -> list[str]:
    return [listed["slug"] for listed in destination("list", "--json").json]


# add


def test_add_prints_one_json_object_and_the_settings_arrive_in_clear_where_they_are_needed(
    with_secrets: Answer, data: Path
) -> None:
    added = with_secrets.json
    expected = {"slug": "own", "kind": "made", "nickname": "Own", "state": "active", "sources": ["mails"]}
    assert {**expected, "paused": False, "disabled": None, "removed_at": None} == {
        name: value for name, value in added.items() if name not in ("settings", "created_at")
    }
    own = {"hook_url": SHOWN_HOOK, "token": "***", "headers": {}, "url": "", "list_name": "old"}
    assert own == {name: added["settings"][name] for name in own}
    assert {*OF_EVERY_KIND} <= added["settings"].keys()
    with Workspace.open(data, create=False) as workspace:
        expected = {"hook_url": HOOK, "token": TOKEN, "list_name": "old"}
        assert expected == workspace.revealed_destination_settings("own")


def test_add_tells_people_what_was_added_what_to_do_in_the_tool_and_how_to_go_on(destination: Run) -> None:
    answer = destination("add", "made", "--name", "Été", "--source", "mails", "--source", "shop")
    assert (0, "") == (answer.code, answer.err)
    for expected in (
        "Added the destination Été",
        "mails, shop",
        "1. Open the tool.\n     And wait.\n  2. Copy its key.",
        "headrace destination test ete",
        "headrace delivery show ete",
    ):
        assert expected in answer.out


@pytest.mark.parametrize(
    ("arguments", "explained"),
    [
        (("nonesuch", "--source", "mails"), "no kind 'nonesuch'.*webhook"),
        (("made",), "--source SLUG.*headrace source list"),
        (("made", "--source", "nonesuch"), "no 'nonesuch'; see: headrace source list"),
        (("made", "--source", "mails", "--slug", "warehouse"), "'warehouse' is taken"),
        (("made", "--source", "mails", "--set", "nonesuch=1"), "no 'nonesuch'; it has"),
        (("made", "--source", "mails", "--set", "concurrency=many"), "concurrency"),
        (("made", "--source", "mails", "--set", "filter=type ="), "destination x: filter, column 7"),
        (("made", "--source", "mails", "--set", 'mapping={"track": {"a": "?"}}'), "destination x: mapping: track.a"),
        (("made", "--source", "mails", "--set", 'mapping={"track'), "mapping: no JSON .*line 1, column"),
        (("made", "--source", "mails", "--set", "list_name=wrong"), "no list of .* is called so"),
        (("webhook", "--source", "mails"), "missing required field `url`"),
        (("webhook", "--source", "mails", "--set", "url=ftp://x"), "url must begin with"),
        (("webhook", "--source", "mails", "--set", "url=http://["), "destination x: Invalid IPv6 URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_added_is_explained_and_ends_with_1(
    destination: Run, notices: list[Path], arguments: tuple[str, ...], explained: str
) -> None:
    answer = destination("add", *arguments, "--name", "x")
    assert (1, "") == (answer.code, answer.out)
    assert re.search(f"^error: .*{explained}", answer.err)
    assert ([], []) == (slugs(destination), notices)


def test_what_the_kind_finds_wrong_is_added_on_request_and_show_says_so(destination: Run) -> None:
    given = ("--source", "mails", "--set", "list_name=wrong", "--no-check")
    assert 0 == destination("add", "made", "--name", "a", *given).code
    assert "called so" in destination("show", "a", "--json").json["problem"]
    shown = destination("show", "a")
    assert "note: it cannot send with these settings: destination: no list of" in shown.err
    assert 0 == destination("set", "a", "list_name=good").code
    assert None is destination("show", "a", "--json").json["problem"]


# changes


def test_changes_answer_with_the_destination_as_it_is_now(destination: Run, with_secrets: Answer) -> None:
    assert "paused" == destination("pause", "own", "--json").json["state"]
    assert "active" == destination("resume", "own", "--json").json["state"]
    assert "Zwei" == destination("rename", "own", "Zwei", "--json").json["nickname"]
    changed = destination("set", "own", "concurrency=1", "list_name=", "--unset", "token", "--json").json["settings"]
    assert (SHOWN_HOOK, "", 1) == (changed["hook_url"], changed["token"], changed["concurrency"])
    assert ["mails", "shop"] == destination("connect", "own", "--source", "shop", "--json").json["sources"]
    assert [] == destination("disconnect", "own", "--source", "shop", "--source", "mails", "--json").json["sources"]
    assert "removed" == destination("remove", "own", "--yes", "--json").json["state"]
    assert [] == slugs(destination)
    assert ["own"] == [listed["slug"] for listed in destination("list", "--all", "--json").json]


def test_the_state_is_told_in_plain_words_with_what_to_do(destination: Run, with_secrets: Answer, data: Path) -> None:
    assert "events wait in the log until: headrace destination resume own" in destination("pause", "own").out
    with Workspace.open(data) as workspace:
        workspace.disable_destination("own", "the tool answered 410 Gone")
    shown = destination("show", "own")
    assert (
        "switched off by headrace: the tool answered 410 Gone; its events wait in the log until: headrace" in shown.out
    )
    listed = destination("list", "--json").json[0]
    assert ("disabled", True, "the tool answered 410 Gone") == (listed["state"], listed["paused"], listed["disabled"])
    assert re.search(r"state +active\n", destination("resume", "own").out)
    with Workspace.open(data) as workspace:
        workspace.disable("mails")
        workspace.add_source("http-api", "gone")
        workspace.connect_destination("own", ["gone"])
        workspace.remove("gone")
    assert "mails (disabled), gone (removed)" in destination("show", "own").out
    left = destination("disconnect", "own", "--source", "mails", "--source", "gone")
    assert "no source is connected, so nothing is sent; connect one: headrace destination connect own" in left.out


def test_a_wrong_change_is_refused_and_nothing_is_stored(destination: Run, with_secrets: Answer, data: Path) -> None:
    with Workspace.open(data) as workspace:
        before = workspace.revision()
    for wrong in ("filter=type =", "list_name=wrong", "concurrency=0", "nonesuch=1", 'mapping={"nonesuch": {}}'):
        answer = destination("set", "own", wrong)
        assert (1, "") == (answer.code, answer.out)
    for arguments in (("pause", "x"), ("set", "x", "filter="), ("connect", "x", "--source", "mails"), ("show", "x")):
        assert "see: headrace destination list" in destination(*arguments).err
    with Workspace.open(data) as workspace:
        assert before == workspace.revision()


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "made", "--source", "mails"),
        ("add", "made", "--name", "x", "--source", "mails", "--set", "token"),
        ("set", "own"),
        ("connect", "own"),
        ("disconnect", "own"),
        ("remove", "own"),
        ("remove", "own", "--json"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_changes_nothing(destination: Run, data: Path, arguments: tuple[str, ...]) -> None:
    with Workspace.open(data) as workspace:
        before = workspace.revision()
    answer = destination(*arguments)
    assert (2, "") == (answer.code, answer.out)
    assert "Usage: headrace destination" in answer.err
    with Workspace.open(data) as workspace:
        assert before == workspace.revision()


def test_without_a_data_folder_a_source_is_to_be_added_first_and_none_is_made(run: Run, tmp_path: Path) -> None:
    answer = run("destination", "add", "made", "--name", "x", "--source", "mails", "--data", tmp_path / "new")
    assert 1 == answer.code
    assert "add a source" in answer.err
    assert not (tmp_path / "new").exists()


def test_foreign_text_steers_nothing_and_an_empty_list_says_how_to_add_one(destination: Run) -> None:
    assert "headrace destination add KIND --name NICKNAME --source SLUG" in destination("list").out
    destination("add", "made", "--name", "[red]a[/red]", "--source", "mails")
    assert "[red]a[/red]" in destination("list").out
    for answer in (destination("show", "a\x1b]0;b\x07\n"), destination("add", "\x1b[31m", "--name", "x")):
        assert "\x1b" not in answer.out + answer.err


# a running server is told


def test_a_running_server_is_told_of_every_change_and_of_nothing_else(
    destination: Run, data: Path, notices: list[Path]
) -> None:
    destination("add", "made", "--name", "own", "--source", "mails")
    commands = (
        ("set", "own", "concurrency=1"),
        ("pause", "own"),
        ("resume", "own"),
        ("connect", "own", "--source", "shop"),
        ("disconnect", "own", "--source", "shop"),
        ("rename", "own", "b"),
        ("remove", "own", "--yes"),
    )
    for count, command in enumerate(commands, 2):
        assert 0 == destination(*command).code
        assert [data] * count == notices
    for command in (("list",), ("show", "own"), ("pause", "own")):
        destination(*command)
    assert [data] * 8 == notices


def test_a_change_of_which_the_server_cannot_be_told_is_stored_and_that_is_said(
    destination: Run, with_secrets: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Config) -> None:
        raise WarehouseUnavailableError("worker: no answer")

    monkeypatch.setattr(reach, "notice", fail)
    answer = destination("pause", "own")
    assert 0 == answer.code
    assert "note: the change is stored, but the running server did not take it up yet: worker: no answer" in answer.err
    assert "paused" == destination("list", "--json").json[0]["state"]


@pytest.fixture
def worker(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """Something that answers on the worker's socket with a status; the call returns what it was asked."""
    asked: list[str] = []
    status = [0]

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(status[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, _ = super().get_request()
            return connection, ("worker", 0)

    def answer_with(wanted: int) -> list[str]:
        status[0] = wanted
        return asked

    monkeypatch.setattr(folder, "is_served", lambda _: True)
    monkeypatch.setattr(reach, "WORKER_STARTS_SECONDS", 0.0)
    name, descriptor = folder.short_path(data / folder.WORKER_SOCKET)
    with closing_descriptor(descriptor), Server(name, Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield answer_with
        server.shutdown()
        thread.join()


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_notice_is_one_question_to_the_worker_and_a_worker_that_knows_none_is_no_error(
    data: Path, worker: Callable[[int], list[str]]
) -> None:
    config = Config(data=str(data))
    for status in (204, 404):
        worker(status)
        reach.notice(config)
    worker(503)
    with pytest.raises(WarehouseUnavailableError, match="answered 503"):
        reach.notice(config)
    assert ["POST /api/v1/notice"] * 3 == worker(0)


def test_without_a_server_a_notice_is_nothing(data: Path) -> None:
    reach.notice(Config(data=str(data)))
    reach.notice(Config(data=str(data / "nonesuch")))


# secrets


def outputs(destination: Run, data: Path) -> str:
    """Everything that any command says of the destination `own`, and a record's repr."""
    commands = [
        *(("list", *more) for more in ((), ("--json",), ("--all",))),
        *((command, "own", *more) for command in ("show", "pause", "resume") for more in ((), ("--json",))),
        ("set", "own", "concurrency=0"),
        ("set", "own", "list_name=wrong"),
        ("set", "own", f"url=https://ada:{TOKEN}@hooks.example/in"),
        ("set", "own", "ordered=true", "--json"),
        ("connect", "own", "--source", "shop"),
        ("rename", "own", "Other"),
    ]
    said = [destination(*command) for command in commands]
    with Workspace.open(data) as workspace:
        shown = repr(workspace.destination("own"))
    said.append(destination("remove", "own", "--yes"))
    return shown + "".join(answer.out + answer.err for answer in said)


def test_no_command_tells_a_secret(destination: Run, with_secrets: Answer, data: Path) -> None:
    said = with_secrets.out + with_secrets.err + outputs(destination, data)
    assert [] == [secret for secret in (HOOK, HOOK_TOKEN, TOKEN) if secret in said]
    for expected in (
        SHOWN_HOOK,
        "note: the key *** expires soon",
        "no list of *** is called so",
        "https://ada:***@hooks.example/***",
    ):
        assert expected in said


@pytest.mark.parametrize("mask", ["shown", "said"])
def test_the_search_finds_what_is_not_masked(
    destination: Run, data: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, mask: str
) -> None:
    """The control of the test above: each of the two masks is needed."""
    if mask == "shown":
        monkeypatch.setattr(secret_settings, "masked", lambda _, value, **__: value)
    else:
        monkeypatch.setattr(destination_checks, "without_secrets", lambda text, _: text)
    request.getfixturevalue("with_secrets")
    assert TOKEN in outputs(destination, data)


def test_no_file_of_the_data_folder_holds_a_secret(with_secrets: Answer, data: Path) -> None:
    assert 0 == with_secrets.code
    everything = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert [] == [secret for secret in (HOOK, HOOK_TOKEN, TOKEN) if secret.encode() in everything]
    assert SHOWN_HOOK.encode() in everything  # the control: what is stored is found
    assert secret_settings.MASK.encode() in everything


# catalogue


def test_the_catalogue_lists_destinations_with_what_they_take(run: Run) -> None:
    answer = run("catalog", "only there in tests")
    assert "DESTINATION  TITLE" in answer.out
    assert "made         Made tool  identify, track            50  A tool that" in answer.out
    (found,) = run("catalog", "only there in tests", "--json").json
    expected = {
        "room": "destination",
        "kind": "made",
        "types": ["identify", "track"],
        "batch_events": 50,
        "drops_repeats": "It does not.",
        "required": {"*": ["id"], "track": ["name|v"]},
        "tried": "nothing at all",
    }
    assert expected == {name: found[name] for name in expected}
    assert {"constant": 1} == found["mapping"]["track"]["v"]
    settings = {setting["name"]: setting for setting in found["settings"]}
    assert ["hook_url", "token", "headers", "url", "list_name"] == list(settings)[:5]
    assert (True, True, False) == (settings["token"]["own"], settings["token"]["secret"], settings["filter"]["own"])


def test_a_kind_shows_its_mapping_what_is_required_how_repeats_are_dropped_and_its_settings(run: Run) -> None:
    out = run("catalog", "made").out
    for expected in (
        r'"integrations": \{"Made tool": false\} in an event',
        r"repeats +It does not\.",
        r"tried with +nothing at all",
        r"1\. Open the tool",
        r"\nname +event +track *\n",
        r"\nid +messageId +all of them *\n",
        r"\nv +always 1 +track *\n",
        r"Required \(any type\): id\n",
        r"Required \(track\): name or v\n",
        r"token +A key\. \[secret\]",
        r"horizon_hours .*\[default: 24\.0\]",
    ):
        assert re.search(expected, out)
    assert out.index("hook_url") < out.index("sample_percent")
    assert "the whole event is sent in Segment's form" in run("catalog", "webhook").out
    assert re.search(r"url +.*\[required\]", run("catalog", "webhook").out)


def test_a_slug_of_several_rooms_is_shown_in_each(run: Run) -> None:
    out = run("catalog", "selligent-marketing-cloud").out
    assert out.index("As a source\n") < out.index("As a destination\n")
    assert "As a " not in run("catalog", "webhook").out


def test_rules_are_told_once_for_all_types_that_have_them_alike() -> None:
    mapping: Mappings = {
        "track": {"a": "userId ?? anonymousId", "b": {"template": "Hi {userId}"}},
        "*": {"a": "userId"},
    }
    assert [
        ("a", "userId ?? anonymousId", "track"),
        ("b", 'the text "Hi {userId}"', "track"),
        ("a", "userId", "every type without fields of its own"),
    ] == mapping_rows(mapping)
    assert [("a", "event", "track")] == mapping_rows({"track": {"a": "event"}})
