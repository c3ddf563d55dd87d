"""Segment's browser SDK in a real Chromium: pre-flights, settings, text/plain, retries; every event once, with its values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.browser import Site, bundle, visit
from clients.proxy import Fault, Proxy
from oracle import faults, stored
from server import Server

CALLS = {"track", "identify", "page", "screen", "group", "alias"}
TROUBLE: list[Fault] = ["lose the answer", "unavailable", "drop"]


@pytest.mark.parametrize("trouble", [[], TROUBLE], ids=["calm", "trouble"])
@pytest.mark.parametrize("strategy", ["single", "batching"])
def test_every_call_of_the_browser_sdk_is_in_the_tables_once(
    shared_server: Server,
    need_chromium: str,
    need_sdks: Path,
    tmp_path: Path,
    strategy: str,
    trouble: list[Fault],
) -> None:
    name = f"browser-{strategy}-{'trouble' if trouble else 'calm'}"
    source = shared_server.add_source(name)
    bundle(need_sdks, tmp_path)
    ids = {f"{name}-{call}" for call in CALLS}
    with Proxy(shared_server.port, trouble) as proxy, Site(tmp_path).open() as site:
        asked = {"collector": proxy.url, "key": source.write_key, "prefix": name} | (
            {"batching": "1"} if strategy == "batching" else {}
        )

        def over() -> bool:
            return "failed" in site.reports or ("meant" in site.reports and ids <= proxy.heard_ids)

        log = visit(need_chromium, site.address(**asked), tmp_path / "profile", over)
    assert "failed" not in site.reports, site.reports["failed"]
    assert ids <= proxy.heard_ids, f"not every event was answered 200; passed on: {proxy.passed}\n{log[-2000:]}"
    assert proxy.unmet == (), "the client met not every fault"
    paths = {passed.path for passed in proxy.passed if set(passed.message_ids) & ids}
    assert paths == ({"/v1/b"} if strategy == "batching" else {"/v1/t", "/v1/i", "/v1/p", "/v1/s", "/v1/g", "/v1/a"})
    assert {"text/plain"} == {
        passed.headers["content-type"].partition(";")[0] for passed in proxy.passed if passed.path in paths
    }

    sent = proxy.events
    meant = {event["messageId"]: event for event in site.reports["meant"]}
    for message_id, event in meant.items():
        properties = event.get("traits" if event["type"] in ("identify", "group") else "properties") or {}
        assert properties.items() <= sent[message_id].body.items(), "the SDK sent it otherwise"
    assert ids == meant.keys() == sent.keys()
    found = stored(shared_server, source.schema, source.slug)
    assert [] == faults(sent.values(), found)
    version = json.loads((need_sdks / "package.json").read_text())["dependencies"]["@segment/analytics-next"]
    assert {f"npm:next-{version}"} == {row["context_library_version"] for row in found.tables["tracks"]}
