"""The tracking API as HTTP: every route, every way to authenticate, every answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from headrace.collector.committer import Committer
from headrace.collector.doors import Doors
from headrace.collector.server import Collector
from headrace.config import CollectorConfig
from headrace.errors import LogUnavailableError
from headrace.event import Event, LogEntry, RejectedEvent, decode_lines, join_lines
from headrace.log.base import Hour, Tally
from headrace.workspace.workspace import Workspace

NOW = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
TRACK = {"event": "Signed Up", "userId": "u1", "messageId": "m1"}


@dataclass
class MemoryWriter:
    """The log's port in memory; `fail` and `gate` make it refuse or wait."""

    partition: int = 0
    incarnation: str = "memory"
    next: int = 0
    totals: dict[str, Tally] = field(default_factory=dict)
    appends: list[list[LogEntry]] = field(default_factory=list)
    fail: bool = False
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def append(self, lines: Sequence[bytes], tally: Mapping[Hour, Tally]) -> int:
        self.gate.wait(10)
        if self.fail:
            raise LogUnavailableError("log: the disk is full; make room")
        self.appends.append(list(decode_lines(join_lines(lines))))
        self.next += len(lines)
        for (source, _), counted in tally.items():
            before = self.totals.get(source, Tally())
            self.totals[source] = Tally(before.accepted + counted.accepted, before.refused + counted.refused)
        return self.next - len(lines)

    def close(self) -> None:
        pass

    @property
    def entries(self) -> list[LogEntry]:
        return [entry for append in self.appends for entry in append]


@dataclass
class Setting:
    client: httpx.AsyncClient
    writer: MemoryWriter
    key: str
    workspace: Workspace
    collector: Collector

    async def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=content, **more)


def check(tmp_path: Path, scenario: Callable[[Setting], Any], **config: Any) -> None:
    async def run() -> None:
        async with opened(tmp_path, CollectorConfig(**config)) as setting:
            await scenario(setting)

    asyncio.run(run())


@asynccontextmanager
async def opened(folder: Path, config: CollectorConfig) -> AsyncIterator[Setting]:
    with Workspace.open(folder, create=True) as workspace:
        _, key = workspace.add_source("http-api", "Shop")
        writer = MemoryWriter()
        committer = Committer(
            writer,
            linger_seconds=0.001,
            commit_bytes=100_000,
            staging_bytes=config.staging_bytes,
            timeout_seconds=config.commit_timeout_seconds,
        )
        collector = Collector(committer, Doors(workspace), config, lambda: NOW)
        transport = httpx.ASGITransport(collector, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://collector.test") as client:
            yield Setting(client, writer, key, workspace, collector)
        writer.gate.set()
        await committer.close()


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


SINGLE = {
    "/v1/track": TRACK,
    "/v1/identify": {"userId": "u"},
    "/v1/page": {"userId": "u"},
    "/v1/screen": {"anonymousId": "a"},
    "/v1/group": {"userId": "u", "groupId": "g"},
    "/v1/alias": {"userId": "u", "previousId": "p"},
    "/v1/t": TRACK,
    "/v1/i": {"userId": "u"},
    "/v1/p": {"userId": "u"},
    "/v1/s": {"userId": "u"},
    "/v1/g": {"userId": "u", "groupId": "g"},
    "/v1/a": {"userId": "u", "previousId": "p"},
    "/api/s/track": TRACK,
    "/api/s/page": {"userId": "u"},
    "/api/s/identify": {"userId": "u"},
    "/api/s/group": {"userId": "u", "groupId": "g"},
}


def test_every_single_route_answers_exactly_200_success_and_stores_its_type(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        kinds = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
        for path, body in SINGLE.items():
            answer = await s.post(path, body, headers={"X-Write-Key": s.key})
            assert (200, {"success": True}) == (answer.status_code, answer.json()), path
            assert answer.headers["access-control-allow-origin"] == "*"
            last = path.rsplit("/", 1)[1]
            entry = s.writer.entries[-1]
            assert isinstance(entry, Event)
            assert kinds.get(last, last) == entry.type
        assert len(SINGLE) == len(s.writer.entries) == s.writer.totals["shop"].accepted

    check(tmp_path, scenario)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b"])
def test_every_batch_route_takes_a_batch(tmp_path: Path, path: str) -> None:
    async def scenario(s: Setting) -> None:
        bad = {"type": "track", "userId": "u", "messageId": "bad"}
        answer = await s.post(path, {"batch": [{**TRACK, "type": "track"}, bad], "writeKey": s.key})
        assert answer.status_code == 200
        rejected = answer.json().pop("rejected")
        assert {"success": True, "accepted": 1, "rejected": rejected} == answer.json()
        assert [(1, "bad", "event_not_defined")] == [(r["index"], r["messageId"], r["code"]) for r in rejected]
        assert ["Event", "RejectedEvent"] == [type(entry).__name__ for entry in s.writer.entries]
        assert Tally(1, 1) == s.writer.totals["shop"]

    check(tmp_path, scenario)


def test_every_way_to_give_the_key(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        ways: list[dict[str, Any]] = [
            {"headers": basic(f"{s.key}:")},
            {"headers": basic(s.key)},
            {"headers": {"X-Write-Key": s.key}},
            {"headers": {"X-Write-Key": f"{s.key}:secret"}},
            {"body": {**TRACK, "writeKey": s.key}},
            {"body": {**TRACK, "writeKey": s.key}, "headers": {"Authorization": "Bearer token"}},
            {"params": {"writeKey": s.key}},
        ]
        for way in ways:
            answer = await s.post("/v1/track", way.pop("body", TRACK), **way)
            assert answer.status_code == 200, way
        batch = {"batch": [{**TRACK, "type": "track"}], "writeKey": s.key}
        assert (await s.post("/v1/batch", batch)).status_code == 200

    check(tmp_path, scenario)


def test_an_unknown_or_missing_key_gets_401_and_nothing_is_stored(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        for headers in ({}, basic("nobody:"), {"X-Write-Key": "hr_x"}, {"Authorization": "Basic ***"}):
            answer = await s.post("/v1/track", TRACK, headers=headers)
            assert (401, "invalid_write_key", False) == (
                answer.status_code,
                answer.json()["code"],
                answer.json()["success"],
            )
        assert [] == s.writer.entries

    check(tmp_path, scenario)


def test_a_disabled_source_gets_404_and_an_enabled_one_200_again(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        s.workspace.disable("shop")
        s.collector.doors.renew()
        answer = await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})
        assert (404, "source_disabled") == (answer.status_code, answer.json()["code"])
        s.workspace.enable("shop")
        s.collector.doors.renew()
        assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})).status_code == 200

    check(tmp_path, scenario)


def test_both_keys_work_while_rotating_and_the_old_one_ends_when_retired(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        new = s.workspace.rotate_key("shop")
        s.collector.doors.renew()
        for key in (s.key, new):
            assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": key})).status_code == 200
        s.workspace.retire_key("shop", s.key[-4:])
        s.collector.doors.renew()
        assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})).status_code == 401
        assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": new})).status_code == 200

    check(tmp_path, scenario)


def test_a_refused_single_event_gets_400_with_its_code_and_is_stored(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        for body, code in (
            ({"userId": "u"}, "event_not_defined"),
            (b"{nonsense", "bad_request"),
            (b"\xff\xfe{}", "bad_request"),
        ):
            answer = await s.post("/v1/track", body, headers={"X-Write-Key": s.key})
            assert (400, code) == (answer.status_code, answer.json()["code"])
            entry = s.writer.entries[-1]
            assert isinstance(entry, RejectedEvent)
            assert (code, "collector") == (entry.code, entry.stage)
        assert Tally(0, 3) == s.writer.totals["shop"]

    check(tmp_path, scenario)


def test_an_oversize_body_gets_400_and_its_beginning_is_kept(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        body = b'{"batch":[' + b" " * 600_000 + b"]}"
        answer = await s.post("/v1/batch", body, headers=basic(s.key))
        assert (400, "bad_request") == (answer.status_code, answer.json()["code"])
        bomb = gzip.compress(b" " * 50_000_000)
        answer = await s.post("/v1/batch", bomb, headers={**basic(s.key), "Content-Encoding": "gzip"})
        assert answer.status_code == 400
        assert Tally(0, 2) == s.writer.totals["shop"]

    check(tmp_path, scenario)


def test_content_type_is_never_trusted_and_gzip_is_taken(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        body = gzip.compress(json.dumps({"batch": [{**TRACK, "type": "track"}]}).encode())
        headers = {
            **basic(f"{s.key}:"),
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Encoding": "gzip",
        }
        assert (await s.post("/v1/batch", body, headers=headers)).json()["accepted"] == 1

    check(tmp_path, scenario)


def test_preflights_pass_on_every_path_with_every_header_that_sdks_send(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        for path in (*SINGLE, "/v1/batch", "/v1/b", "/v1/m", "/v1/projects/x/settings"):
            answer = await s.client.options(path, headers={"Access-Control-Request-Headers": "authorization"})
            assert answer.status_code == 200
            allowed = answer.headers["access-control-allow-headers"].lower()
            for header in ("authorization", "content-type", "x-write-key", "anonymousid", "sentat", "x-retry-count"):
                assert header in allowed

    check(tmp_path, scenario)


def test_the_browser_sdks_settings_send_it_back_here(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        answer = await s.client.get(f"/v1/projects/{s.key}/settings", headers={"Host": "events.example:8000"})
        destination = answer.json()["integrations"]["Segment.io"]
        assert (s.key, "events.example:8000/v1", "http") == tuple(
            destination[k] for k in ("apiKey", "apiHost", "protocol")
        )
        assert (await s.client.get("/v1/projects/nobody/settings")).status_code == 401
        assert (await s.post("/v1/m", {"series": []})).json() == {"success": True}
        assert [] == s.writer.entries

    check(tmp_path, scenario)


def test_a_pixel_is_always_an_image_and_its_event_is_stored(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        data = base64.urlsafe_b64encode(json.dumps({**TRACK, "writeKey": s.key}).encode()).decode().rstrip("=")
        for query in ({"data": data}, {"writeKey": s.key, "event": "Opened", "userId": "u", "properties.a.b": "c"}):
            answer = await s.client.get("/v1/pixel/track", params=query, headers={"User-Agent": "Mail/1"})
            assert (200, "image/gif", b"GIF89a") == (
                answer.status_code,
                answer.headers["content-type"],
                answer.content[:6],
            )
        first, second = s.writer.entries
        assert isinstance(first, Event)
        assert isinstance(second, Event)
        assert {"ip": "127.0.0.1", "userAgent": "Mail/1"} == msgspec.json.decode(first.context)
        assert {"a": {"b": "c"}} == msgspec.json.decode(second.properties)
        for query in ({"data": "%%%"}, {"event": "x"}, {"writeKey": s.key, "a": "1", "a.b": "2"}, {"writeKey": s.key}):
            answer = await s.client.get("/v1/pixel/track", params=query)
            assert (200, b"GIF89a") == (answer.status_code, answer.content[:6])
        await s.client.get("/v1/pixel/track", params={"writeKey": s.key, "data": "%"})
        assert Tally(2, 3) == s.writer.totals["shop"]  # of a known source nothing vanishes

    check(tmp_path, scenario)


def test_validate_says_what_would_happen_and_stores_nothing(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        answer = await s.post("/v1/validate", {**TRACK, "type": "track", "userId": 5}, headers={"X-Write-Key": s.key})
        report = answer.json()
        assert (200, True, "id_number") == (
            answer.status_code,
            report["success"],
            report["events"][0]["warnings"][0]["code"],
        )
        batch = {"batch": [{"type": "track", "userId": "u"}], "writeKey": s.key}
        assert [(False, "event_not_defined")] == [
            (r["success"], r["rejected"][0]["code"]) for r in [(await s.post("/v1/validate", batch)).json()]
        ]
        assert (await s.post("/v1/validate", b"{", headers={"X-Write-Key": s.key})).json()["success"] is False
        assert [] == s.writer.entries

    check(tmp_path, scenario)


def test_when_the_log_cannot_store_there_is_no_200_and_the_client_is_told_to_come_back(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        s.writer.fail = True
        answer = await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})
        assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
        assert (await s.client.get("/v1/health")).status_code == 503
        assert (await s.client.get(f"/v1/pixel/track?writeKey={s.key}&event=e&userId=u")).content[:3] == b"GIF"
        s.writer.fail = False
        assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})).status_code == 200
        assert (await s.client.get("/v1/health")).json() == {"status": "ok"}

    check(tmp_path, scenario)


def test_a_slow_log_bounds_memory_and_answers_503_in_time(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        s.writer.gate.clear()
        big = {**TRACK, "properties": {"a": "x" * 20_000}}
        answers = await asyncio.gather(*(s.post("/v1/track", big, headers={"X-Write-Key": s.key}) for _ in range(200)))
        assert {503} == {answer.status_code for answer in answers}
        assert s.collector.committer.waiting_bytes < 1_000_000 + 200 * 1_000
        s.writer.gate.set()
        while s.collector.committer.waiting_bytes:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.01)
        s.collector.committer._timeout_seconds = 30
        assert (await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})).status_code == 200

    check(tmp_path, scenario, staging_bytes=1_000_000, commit_timeout_seconds=0.3)


def test_requests_of_one_moment_share_a_commit(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        answers = await asyncio.gather(*(s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key}) for _ in range(50)))
        assert {200} == {answer.status_code for answer in answers}
        assert len(s.writer.entries) == 50
        assert len(s.writer.appends) < 25

    check(tmp_path, scenario)


def test_too_many_events_of_a_source_get_429_with_whole_seconds(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        batch = {"batch": [{**TRACK, "type": "track"}] * 20, "writeKey": s.key}
        assert (await s.post("/v1/batch", batch)).status_code == 200
        answer = await s.post("/v1/batch", batch)
        assert (429, "too_many_requests") == (answer.status_code, answer.json()["code"])
        assert int(answer.headers["retry-after"]) >= 1

    check(tmp_path, scenario, events_per_second_per_source=2)


def test_compat_always_200_hides_the_refusal_from_the_client_only(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        assert (await s.post("/v1/track", TRACK)).json() == {"success": True}
        answer = await s.post("/v1/track", {"userId": "u"}, headers={"X-Write-Key": s.key})
        assert (200, {"success": True}) == (answer.status_code, answer.json())
        assert Tally(0, 1) == s.writer.totals["shop"]

    check(tmp_path, scenario, compat_always_200=True)


def test_metrics_count_by_source_and_never_show_a_key(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        await s.post("/v1/track", TRACK, headers={"X-Write-Key": s.key})
        await s.post("/v1/track", {"userId": "u"}, headers={"X-Write-Key": s.key})
        await s.post("/v1/track", TRACK)
        text = (await s.client.get("/metrics")).text
        assert 'headrace_events_total{result="accepted",source="shop"} 1.0' in text
        assert 'headrace_refusals_total{code="event_not_defined",source="shop"} 1.0' in text
        assert 'headrace_unattributed_requests_total{code="invalid_write_key"} 1.0' in text
        assert s.key not in text
        assert (await s.client.get("/metrics", headers={"X-Forwarded-For": "1.2.3.4"})).status_code == 404

    check(tmp_path, scenario)


def test_nothing_is_ever_redirected(tmp_path: Path) -> None:
    async def scenario(s: Setting) -> None:
        for method, path, status in (
            ("GET", "/", 404), ("POST", "/v1/track/", 404), ("GET", "/v1/track", 405),
            ("PUT", "/v1/batch", 405), ("POST", "/v1/pixel/track", 405), ("GET", "/v1/projects", 404),
        ):  # fmt: skip
            answer = await s.client.request(method, path)
            assert (status, False) == (answer.status_code, answer.json()["success"]), (method, path)

    check(tmp_path, scenario)
