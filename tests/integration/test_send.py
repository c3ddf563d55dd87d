"""`headrace send` and `headrace simulate` against a tracking API: what arrives, what is said, how they end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from headrace.cli import send, simulate
from headrace.errors import ConfigError, NotFoundError
from scripted import OK, Reply, ScriptedServer

KEY = "the-write-key"
Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    app = typer.Typer()
    send.register(app)
    simulate.register(app)
    # What has no answer is not worth a minute of a test.
    monkeypatch.setattr("headrace.simulator.sender._FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("headrace.simulator.sender._LONGEST_WAIT_SECONDS", 0.002)

    def invoke(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=stdin)

    return invoke


def shown(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def lines(count: int) -> bytes:
    return b"".join(
        b'{"type":"track","event":"Seen %d","userId":"u","messageId":"m%d"}\n' % (n % 2, n) for n in range(count)
    )


def test_a_file_is_sent_and_counted_by_event(run: Run, server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(25))
    result = run("send", str(file), "--write-key", KEY, "--url", server.url, "--batch", "10", "--json")
    assert 0 == result.exit_code
    totals = shown(result)
    assert (25, 25, 25) == (totals["read"], totals["sent"], totals["accepted"])
    assert {"Seen 0": 13, "Seen 1": 12} == totals["events"]
    assert {f"m{n}" for n in range(25)} == {event["messageId"] for event in server.stored}
    assert {f"{KEY}:"} == {request.key for request in server.requests}


def test_bad_lines_are_named_and_the_rest_goes_on(run: Run, server: ScriptedServer) -> None:
    stdin = lines(2) + b"\n   \n{oops\n" + lines(1)
    result = run("send", "-", "--write-key", KEY, "--url", server.url, stdin=stdin)
    assert 1 == result.exit_code
    assert "line 5: unreadable: not JSON" in result.stderr
    assert 3 == len(server.stored)


def test_rejected_events_are_named_and_end_in_code_1(run: Run, server: ScriptedServer) -> None:
    rejected = [{"index": 0, "messageId": "m0", "code": "no_user_anon_id", "message": "neither id"}]
    server.replies = [Reply(200, OK | {"accepted": 1, "rejected": rejected})]
    result = run("send", "-", "--write-key", KEY, "--url", server.url, stdin=b"\n" + lines(2))
    assert 1 == result.exit_code
    assert "line 2 (m0): no_user_anon_id: neither id" in result.stderr


def test_a_refused_key_is_said_and_nothing_counted_as_sent_well(run: Run, server: ScriptedServer) -> None:
    server.replies = [Reply(401, {"success": False, "code": "invalid_write_key", "message": "unknown"})] * 9
    result = run("send", "-", "--write-key", KEY, "--url", server.url, "--json", stdin=lines(3))
    assert 1 == result.exit_code
    assert (0, 3) == (shown(result)["accepted"], shown(result)["failed"])
    assert "the write key is refused (401 invalid_write_key): unknown" in result.stderr


def test_a_server_that_is_not_there_is_said(run: Run) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    result = run("send", "-", "--write-key", KEY, "--url", url, stdin=lines(1))
    assert 1 == result.exit_code
    assert "error: given up after 12 tries" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("no-such-file", "--url", "http://127.0.0.1:9"), NotFoundError), (("-", "--url", "nowhere"), ConfigError)],
)
def test_wrong_arguments_are_explained(run: Run, arguments: tuple[str, ...], error: type[Exception]) -> None:
    result = run("send", *arguments, "--write-key", KEY)
    assert isinstance(result.exception, error)


def test_a_simulation_sends_mail_and_orders_as_their_own_sources(run: Run, server: ScriptedServer) -> None:
    keys = ("--write-key", KEY, "--shop-write-key", "shop-key")
    result = run("simulate", *keys, "--url", server.url, "--recipients", "400", "--campaigns", "2", "--json")
    assert 0 == result.exit_code
    totals = shown(result)
    names_by_key: dict[str, Counter[str]] = {}
    for request in server.requests:
        names_by_key.setdefault(request.key, Counter()).update(event["event"] for event in request.events)
    assert {"Order Completed"} == set(names_by_key["shop-key:"])
    assert "Order Completed" not in names_by_key[f"{KEY}:"]
    assert totals["events"] == dict(names_by_key["shop-key:"] + names_by_key[f"{KEY}:"])
    assert totals["accepted"] == len(server.stored)
    assert totals["accepted"] - totals["repeated"] == len({event["messageId"] for event in server.stored})


def test_orders_go_to_the_same_source_without_a_key_of_the_shop(run: Run, server: ScriptedServer) -> None:
    result = run("simulate", "--write-key", KEY, "--url", server.url, "--recipients", "400", "--campaigns", "2")
    assert 0 == result.exit_code
    assert {f"{KEY}:"} == {request.key for request in server.requests}
    assert "Order Completed" in result.stdout


def test_a_wrong_key_of_the_shop_ends_the_simulation_with_its_reason(run: Run, server: ScriptedServer) -> None:
    server.reply = lambda request: (  # type: ignore[method-assign]  # one key is refused, the other accepted
        Reply(401, {"code": "invalid_write_key"}) if request.key == "wrong:" else Reply()
    )
    keys = ("--write-key", KEY, "--shop-write-key", "wrong")
    result = run("simulate", *keys, "--url", server.url, "--recipients", "3000", "--json")
    assert 1 == result.exit_code
    assert "the write key is refused (401 invalid_write_key)" in result.stderr
    assert 0 < shown(result)["failed"]
