"""What a user does: connect two tools to the Selligent source, break one, see it said in plain words, mend it, and find everything there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from fault_server import FaultServer, answers
from server import Server

LOOPBACK = {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8"}
SUCCESS = answers(200, b'{"success": true}', {"content-type": "application/json"})
EVENTS = 12


@pytest.fixture(scope="module")
def tool() -> Iterator[FaultServer]:
    with FaultServer() as serving:
        serving.behave("/segment/v1/batch", SUCCESS)
        yield serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("served") / "data", LOOPBACK) as serving:
        yield serving


def eventually(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def shown(server: Server, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.command("delivery", "show", slug, "--since", "1h", "--json"))
    return found


def sums(account: dict[str, Any]) -> int:
    return sum(int(account[name]) for name in ("delivered", "filtered", "retrying", "failed", "waiting"))


def selligent_events() -> list[dict[str, Any]]:
    file = Path(__file__).parent.parent / "cases" / "selligent-events.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines() if line.strip()]


def test_a_broken_tool_says_why_and_gets_everything_once_it_is_mended(server: Server, tool: FaultServer) -> None:
    source = server.add_source("Selligent", "selligent-marketing-cloud")
    tool.behave("/hook", answers(200))
    for kind, name, settings in (
        ("webhook", "Hook", ("url=" + tool.url + "/hook",)),
        ("segment", "Other", ("write_key=text:k", "endpoint=" + tool.url + "/segment/v1")),
    ):
        options = [part for setting in settings for part in ("--set", setting)]
        server.command("destination", "add", kind, "--name", name, "--source", source.slug, *options)
    tool.behave("/hook", answers(500, b"out of order"))
    sent = selligent_events()
    for event in sent:
        server.post("/v1/track", event, source)

    eventually(lambda: shown(server, "other")["delivered"] == EVENTS, lambda: shown(server, "other"))
    eventually(lambda: shown(server, "hook")["state"] == "waiting", lambda: shown(server, "hook"))
    eventually(lambda: shown(server, "hook")["accepted"] == EVENTS, lambda: shown(server, "hook"))
    broken = shown(server, "hook")
    assert EVENTS == broken["accepted"] == sums(broken)
    assert "500 out of order" in broken["error"]
    assert ["SERVER_ERROR"] == [error["code"] for error in broken["errors"]]
    assert "tries again by itself" in broken["errors"][0]["description"]
    text = server.command("delivery", "show", "hook")
    assert "SERVER_ERROR" in text
    assert {"hook": "waiting", "other": "delivering"} == {
        d["slug"]: d["state"] for d in server.status()["destinations"]
    }

    tool.behave("/hook", answers(200))
    eventually(lambda: shown(server, "hook")["delivered"] == EVENTS, lambda: shown(server, "hook"))
    mended = shown(server, "hook")
    assert (0, 0, 0, EVENTS) == (mended["waiting"], mended["retrying"], mended["failed"], sums(mended))
    ids = {event["messageId"] for event in sent}
    assert ids <= {request.json()["messageId"] for request in tool.received("/hook")}
    batches = [request.json()["batch"] for request in tool.received("/segment/v1/batch")]
    assert ids == {event["messageId"] for batch in batches for event in batch}
    trace = server.command("trace", sent[0]["messageId"])
    assert "destination hook: delivered" in trace
    assert "destination other: delivered" in trace
    with urlopen(f"http://127.0.0.1:{server.console_port}/metrics") as answer:
        metrics = answer.read().decode()
    assert f'headrace_destination_events_24h{{destination="hook",outcome="delivered"}} {float(EVENTS)}' in metrics


def test_an_event_is_followed_and_sent_again(server: Server, tool: FaultServer) -> None:
    source = server.add_source("Shop", "http-api")
    tool.behave("/shop", answers(422, b"no such product"))
    url = "url=" + tool.url + "/shop"
    server.command("destination", "add", "webhook", "--name", "Shop hook", "--source", source.slug, "--set", url)
    server.post("/v1/track", {"event": "A", "userId": "u", "messageId": "dead"}, source)
    eventually(lambda: shown(server, "shop-hook")["failed"] == 1, lambda: shown(server, "shop-hook"))
    letters = server.command("dead-letters", "list", "shop-hook")
    assert "no such product" in letters
    tool.behave("/shop", answers(200))
    assert "1" in server.command("dead-letters", "replay", "shop-hook", "--dry-run")
    server.command("dead-letters", "replay", "shop-hook")
    eventually(lambda: shown(server, "shop-hook")["delivered"] == 1, lambda: shown(server, "shop-hook"))
    assert (0, 1) == (shown(server, "shop-hook")["failed"], shown(server, "shop-hook")["accepted"])


def test_a_private_address_is_refused_until_the_operator_allows_it(tmp_path: Path, tool: FaultServer) -> None:
    data = tmp_path / "data"
    with Server(data) as strict:
        source = strict.add_source("Site", "http-api")
        url = "url=" + tool.url + "/private"
        strict.command("destination", "add", "webhook", "--name", "Hook", "--source", source.slug, "--set", url)
        strict.post("/v1/track", {"event": "A", "userId": "u"}, source)
        eventually(lambda: bool(shown(strict, "hook")["errors"]), lambda: shown(strict, "hook"))
        assert "ADDRESS_REFUSED" == shown(strict, "hook")["errors"][0]["code"]
        assert [] == list(tool.received("/private"))
    tool.behave("/private", answers(200))
    with Server(data, LOOPBACK) as allowing:
        eventually(lambda: shown(allowing, "hook")["delivered"] == 1, lambda: shown(allowing, "hook"))
    assert 1 == len(tool.received("/private"))
