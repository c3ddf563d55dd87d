"""`headrace source ...` and `headrace catalog` as people and scripts run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from headrace import __version__, cli
from headrace.errors import LogUnavailableError
from headrace.workspace.keys import KeyRing
from headrace.workspace.workspace import Workspace

PYTHON_M = (sys.executable, "-m", "headrace")


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
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def run(*arguments: object, commands: typer.Typer = cli.app) -> Answer:
        capsys.readouterr()
        code = cli.run(commands, [str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def source(run: Run, tmp_path: Path) -> Run:
    """Runs `headrace source COMMAND` on a data folder of this test."""
    return lambda *arguments: run("source", *arguments, "--data", tmp_path / "data")


def every_command(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from every_command(command, (*path, name))


COMMANDS = list(every_command(typer.main.get_command(cli.app)))


# help, version, errors


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "headrace" for path, _ in COMMANDS])
def test_every_command_has_help_for_itself_and_its_options(run: Run, path: tuple[str, ...], command: Any) -> None:
    answer = run(*path, "--help")
    assert (0, "") == (answer.code, answer.err)
    assert " ".join(("Usage: headrace", *path)) in answer.out
    assert command.help
    assert [] == [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]


def test_version_is_printed(run: Run) -> None:
    assert Answer(0, f"headrace {__version__}\n", "") == run("--version")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonesuch",),
        ("source", "nonesuch"),
        ("source", "add"),
        ("source", "add", "http-api"),
        ("source", "list", "--nonesuch"),
        ("source", "add", "http-api", "--name", "x", "--set", "clock_skew"),
        ("source", "set", "x"),
        ("source", "remove", "x", "--json"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_an_explanation_and_touches_nothing(
    run: Run, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run(*arguments)
    assert [] == list(tmp_path.iterdir())
    assert (2, "") == (answer.code, answer.out)
    assert "Usage: headrace" in answer.err
    assert "Traceback" not in answer.err


def raising(error: BaseException) -> typer.Typer:
    commands = typer.Typer(pretty_exceptions_enable=False)

    @commands.command()
    def fail() -> None:
        raise error

    return commands


def test_an_expected_error_is_a_line_on_stderr_and_ends_with_1(run: Run) -> None:
    answer = run(commands=raising(LogUnavailableError("log: disk full\x1b[31m; free some space")))
    assert Answer(1, "", "error: log: disk full\\x1b[31m; free some space\n") == answer


def test_an_unexpected_error_is_not_hidden(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        run(commands=raising(ZeroDivisionError()))


def test_ctrl_c_ends_with_130(run: Run) -> None:
    assert Answer(130, "", "") == run(commands=raising(KeyboardInterrupt()))


def test_a_closed_pipe_is_no_reason_to_complain(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed_pipe:
        ended = subprocess.run(
            [*PYTHON_M, "catalog", "--json"], stdout=closed_pipe, stderr=subprocess.PIPE, check=False
        )
    assert (141, b"") == (ended.returncode, ended.stderr)


def test_help_does_not_load_what_it_does_not_need() -> None:
    code = (
        "import sys; from headrace import cli; cli.run(cli.app, ['source', '--help'])\n"
        "heavy = {'alembic', 'duckdb', 'httpx', 'litestar', 'pyarrow', 'sqlalchemy', 'uvicorn'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"


# sources


def test_add_prints_one_json_object_with_a_key_that_works_and_makes_the_folder(source: Run, tmp_path: Path) -> None:
    added = source("add", "selligent-marketing-cloud", "--name", "Été", "--set", "address=both", "--json").json
    assert ("ete", "ete", "selligent-marketing-cloud", "Été", "http://127.0.0.1:8000") == (
        added["slug"],
        added["schema"],
        added["kind"],
        added["nickname"],
        added["url"],
    )
    assert {"clock_skew": "keep", "address": "both"} == added["settings"]
    with Workspace.open(tmp_path / "data", create=False) as workspace:
        found = KeyRing(workspace.secret, workspace.sources()).find(added["write_key"])
        assert workspace.source("ete") == found
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_add_tells_people_the_key_the_next_steps_and_a_first_request(source: Run) -> None:
    answer = source("add", "selligent-marketing-cloud", "--name", "Mails")
    assert (0, "") == (answer.code, answer.err)
    found = re.search(r"hr_\w{22}", answer.out)
    assert found is not None
    assert f"curl -u {found[0]}: http://127.0.0.1:8000/v1/track" in answer.out
    assert "shown only now" in answer.out
    assert "account manager" in answer.out


def test_the_key_is_shown_by_add_alone(source: Run) -> None:
    key = source("add", "http-api", "--name", "x", "--json").json["write_key"]
    later = [source("list"), source("list", "--json"), source("show", "x"), source("show", "x", "--json")]
    assert [] == [answer for answer in later if key in answer.out or answer.code]
    assert all(key[-4:] in answer.out for answer in later)


def test_a_deprecated_kind_can_be_added_with_a_note(source: Run) -> None:
    answer = source("add", "selligent", "--name", "x")
    assert (0, "note: Selligent is deprecated; the current one is Selligent Marketing Cloud\n") == (
        answer.code,
        answer.err,
    )


def test_the_url_is_the_one_that_is_configured(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "headrace.toml"
    file.write_text(f'data = "{tmp_path / "elsewhere"}"\n[collector]\nlisten = "0.0.0.0:9000"\n')
    assert (
        run("source", "add", "http-api", "--name", "x", "--config", file, "--json").json["url"]
        == "http://127.0.0.1:9000"
    )
    assert (tmp_path / "elsewhere" / "workspace.db").exists()


@pytest.mark.parametrize(
    ("arguments", "explained"),
    [
        (("add", "nonesuch", "--name", "x"), "no kind 'nonesuch'.*http-api"),
        (("add", "http-api", "--name", "x", "--schema", "Email"), "'Email' is not allowed.*'source_email'"),
        (("add", "http-api", "--name", " "), "nickname"),
        (("add", "http-api", "--name", "x", "--set", "nonesuch=1"), "no 'nonesuch'"),
        (("add", "http-api", "--name", "x", "--set", "clock_skew=1"), "clock_skew"),
        (("show", "nonesuch"), "headrace source list"),
        (("disable", "nonesuch"), "headrace source list"),
        (("retire-key", "a", "0000"), "none that ends in '0000'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_explained_and_ends_with_1(
    source: Run, arguments: tuple[str, ...], explained: str
) -> None:
    source("add", "http-api", "--name", "a")
    answer = source(*arguments)
    assert (1, "") == (answer.code, answer.out)
    assert re.fullmatch(f"error: .*{explained}.*\n", answer.err)
    assert ["a"] == [listed["slug"] for listed in source("list", "--json").json]


@pytest.mark.parametrize("command", [("list",), ("show", "x"), ("disable", "x"), ("rotate-key", "x")], ids=" ".join)
def test_without_a_workspace_only_add_makes_one(source: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    answer = source(*command)
    assert (1, "") == (answer.code, answer.out)
    assert answer.err.startswith(f"error: workspace: there is none in {tmp_path / 'data'}")
    assert not (tmp_path / "data").exists()


def test_the_data_folder_comes_from_the_environment(tmp_path: Path) -> None:
    environment = {**os.environ, "HEADRACE_DATA": str(tmp_path / "e")}
    command = [*PYTHON_M, "source", "add", "http-api", "--name", "x", "--json"]
    subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert [tmp_path / "e"] == list(tmp_path.iterdir())


def test_changes_answer_with_the_source_as_it_is_now(source: Run) -> None:
    source("add", "selligent-marketing-cloud", "--name", "x")
    assert source("disable", "x", "--json").json["state"] == "disabled"
    assert source("enable", "x", "--json").json["state"] == "enabled"
    assert source("rename", "x", "y", "--json").json["nickname"] == "y"
    assert source("set", "x", "address=sha256", "--json").json["settings"]["address"] == "sha256"
    assert source("set", "x", "--unset", "address", "--json").json["settings"]["address"] == "raw"
    assert source("remove", "x", "--yes", "--json").json["state"] == "removed"
    assert ([], ["x"]) == (source("list", "--json").json, [s["slug"] for s in source("list", "--all", "--json").json])


def test_a_key_is_rotated_and_the_old_one_retired(source: Run) -> None:
    old = source("add", "http-api", "--name", "x", "--json").json["write_key"]
    assert f"retire-key x {old[-4:]}" in source("rotate-key", "x").out
    refused = source("rotate-key", "x")
    assert (1, "") == (refused.code, refused.out)
    assert f"retire-key x {old[-4:]}" in refused.err
    retired = source("retire-key", "x", old[-4:], "--json").json
    assert len(retired["keys"]) == 1
    assert [old[-4:]] != [key["last_four"] for key in retired["keys"]]
    rotated = source("rotate-key", "x", "--json").json
    assert rotated["write_key"][-4:] == rotated["keys"][1]["last_four"]


def test_removing_asks_for_a_yes(source: Run) -> None:
    source("add", "http-api", "--name", "x")
    refused = source("remove", "x")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert ["x"] == [s["slug"] for s in source("list", "--json").json]


def test_an_empty_list_says_how_to_fill_it(source: Run) -> None:
    source("add", "http-api", "--name", "x")
    source("remove", "x", "--yes")
    assert "headrace source add" in source("list").out


def test_foreign_text_neither_steers_the_terminal_nor_is_taken_for_markup(source: Run, run: Run) -> None:
    source("add", "http-api", "--name", "[red]a[/red] [link=x]")
    for answer in (source("list"), source("show", "red-a-red-link-x")):
        assert "[red]a[/red] [link=x]" in answer.out
    for answer in (source("show", "a\x1b]0;b\x07\u202e\n"), run("catalog", "a\x1b]0;b\x07\u202e\n")):
        assert "\x1b" not in answer.out + answer.err
        assert "\u202e" not in answer.out + answer.err


def test_a_table_in_a_pipe_is_one_line_a_source(source: Run) -> None:
    for name in ("a" * 100, "b" * 100):
        source("add", "selligent-marketing-cloud", "--name", name)
    assert len(source("list").out.splitlines()) == 3


# catalogue


def test_the_catalogue_is_searched_by_former_names(run: Run) -> None:
    found = run("catalog", "marigold", "--json").json
    rooms = [("selligent-marketing-cloud", "source"), ("selligent-marketing-cloud", "destination")]
    assert rooms == [(kind["kind"], kind["room"]) for kind in found]
    assert {"kind", "title", "also_known_as", "summary", "maintainer", "regions", "deprecated"} <= found[0].keys()


def test_the_catalogue_shows_deprecated_kinds_maintainers_and_regions(run: Run) -> None:
    answer = run("catalog")
    assert (0, "") == (answer.code, answer.err)
    assert "Selligent (deprecated)" in answer.out
    assert "US" in answer.out
    assert "headrace" in answer.out


def test_a_kind_shows_its_settings(run: Run) -> None:
    assert "address" in run("catalog", "selligent-marketing-cloud").out
    assert "nothing" in run("catalog", "nonesuch").out.lower()
