"""`headrace simulate --truth`: what is written, when it is not, and that it fits what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from headrace.cli import simulate
from headrace.errors import ConfigError
from scripted import Reply, ScriptedServer

END = ("--end", "2026-11-01T12:00:00Z")
SMALL = ("--recipients", "60", "--campaigns", "1", *END)
Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def run(server: ScriptedServer) -> Run:
    app = typer.Typer()
    simulate.register(app)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(
            app, ["--write-key", "mail", "--shop-write-key", "shop", "--url", server.url, *SMALL, *arguments]
        )

    return invoke


def test_the_truth_fits_what_was_sent(run: Run, server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    result = run("--full", "--duplicates", "1.5", "--truth", str(file), "--json")
    assert 0 == result.exit_code, result.output
    told = json.loads(file.read_text(encoding="utf-8"))
    assert ("headrace-simulation-truth", 1) == (told["format"], told["version"])
    assert (60, 1.5, 0.01) == tuple(told["arguments"][name] for name in ("recipients", "duplicates", "late"))
    ids = [event["messageId"] for event in server.stored]
    assert (len(ids), len(set(ids))) == (told["events"]["sent"], told["events"]["distinct"])
    assert json.loads(result.stdout)["repeated"] == told["events"]["duplicates"]
    assert [file] == list(tmp_path.iterdir())


def test_mail_and_website_go_to_their_own_sources(run: Run, server: ScriptedServer) -> None:
    assert 0 == run("--full").exit_code
    types: dict[str, set[str]] = {}
    for request in server.requests:
        types.setdefault(request.key, set()).update(event["type"] for event in request.events)
    assert {"track"} == types["mail:"]
    assert {"identify", "page"} <= types["shop:"]


def test_the_same_end_gives_the_same_events_and_the_same_truth(
    run: Run, server: ScriptedServer, tmp_path: Path
) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        assert 0 == run("--truth", str(file)).exit_code
    assert files[0].read_bytes() == files[1].read_bytes()
    ids = [event["messageId"] for event in server.stored]
    assert json.loads(files[0].read_bytes())["events"]["distinct"] == len(set(ids))
    assert 0 == run("--truth", str(files[1]), "--seed", "2").exit_code
    assert files[0].read_bytes() != files[1].read_bytes()


def test_no_truth_is_written_of_what_was_refused(run: Run, server: ScriptedServer, tmp_path: Path) -> None:
    server.reply = lambda request: (  # type: ignore[method-assign]  # whatever the key
        Reply(401, {"code": "invalid_write_key"}) if request.key else Reply()
    )
    file = tmp_path / "truth.json"
    result = run("--truth", str(file))
    assert 1 == result.exit_code
    assert "is not written" in result.stderr
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_said_before_anything_is_sent(
    run: Run, server: ScriptedServer, tmp_path: Path
) -> None:
    for file in (tmp_path / "no-such-folder" / "truth.json", tmp_path):
        result = run("--truth", str(file))
        assert isinstance(result.exception, ConfigError)
        assert "cannot be written" in str(result.exception)
    assert [] == server.requests


def test_an_end_that_is_no_time_is_said(server: ScriptedServer) -> None:
    app = typer.Typer()
    simulate.register(app)
    result = CliRunner().invoke(app, ["--write-key", "k", "--url", server.url, "--end", "tomorrow"])
    assert isinstance(result.exception, ConfigError)
    assert "ISO 8601" in str(result.exception)


def test_a_share_is_at_most_1_and_duplicates_may_be_more(run: Run) -> None:
    assert 2 == run("--late", "1.5").exit_code
    assert 0 == run("--duplicates", "1.5").exit_code
