"""Every recorded request of real clients, byte for byte but for the write key: the answer they wait for, every event once."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from oracle import Sent, events_of, faults, stored
from server import Answer, Server, basic

FOLDER = Path(__file__).parents[1] / "cases" / "client-requests"
RECORDED_KEY = "wk_capture"
CLIENTS = sorted({file.name[: file.name.index("-0")] for file in FOLDER.glob("*.json")})


class Recorded(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def bytes_for(self, write_key: str) -> bytes:
        """The request as it was sent, with this key in place of the recorded one."""
        body = _with_key(self.body, write_key)
        lines = [f"{self.method} {self.target.replace(RECORDED_KEY, write_key)} HTTP/1.1"]
        for name, value in self.headers:
            lower = name.lower()
            changed = (
                basic(write_key) if lower == "authorization" else str(len(body)) if lower == "content-length" else value
            )
            lines.append(f"{name}: {changed}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    @property
    def events(self) -> list[Sent]:
        body = gzip.decompress(self.body) if self.body[:2] == b"\x1f\x8b" else self.body
        return events_of(self.target, json.loads(body)) if self.method == "POST" else []


def _with_key(body: bytes, write_key: str) -> bytes:
    if body[:2] == b"\x1f\x8b":
        plain = gzip.decompress(body)
        return gzip.compress(_with_key(plain, write_key)) if RECORDED_KEY.encode() in plain else body
    return body.replace(RECORDED_KEY.encode(), write_key.encode())


def recorded(client: str) -> list[Recorded]:
    found = []
    for file in sorted(FOLDER.glob(f"{client}-0*.json")):
        entry: dict[str, Any] = json.loads(file.read_text())
        headers = [(name, value) for name, value in entry["headers"]]
        found.append(Recorded(entry["method"], entry["target"], headers, base64.b64decode(entry["body_b64"])))
    return found


def check_answer(request: Recorded, answer: Answer | None) -> None:
    assert answer is not None, "closed without an answer"
    if any(name.lower() == "origin" for name, _ in request.headers):
        assert answer.headers["access-control-allow-origin"] in ("*", dict(request.headers)["Origin"])
    if request.method == "OPTIONS":
        assert answer.status in (200, 204)
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(
            name in allowed
            for name in ("authorization", "content-type", "x-write-key", "anonymousid", "sentat", "x-retry-count")
        )
    elif request.method == "GET":
        assert answer.status == 200
        assert answer.json["integrations"]["Segment.io"]["apiHost"].endswith("/v1")
    else:
        assert (200, True) == (answer.status, answer.json["success"]), answer.body


@pytest.mark.parametrize("client", CLIENTS)
def test_every_recorded_request_is_answered_200_and_its_events_are_in_the_tables_once(
    shared_server: Server, client: str
) -> None:
    requests = recorded(client)
    events = [event for request in requests for event in request.events]
    assert events, "a client with no events tests nothing"
    source = shared_server.add_source(f"recorded {client}")
    for request in requests * 2:  # everything twice, as after a lost answer
        check_answer(request, shared_server.raw(request.bytes_for(source.write_key)))
    assert [] == faults(events, stored(shared_server, source.schema, source.slug))


def test_the_recordings_are_all_replayed_and_hold_what_is_said_of_them() -> None:
    requests = [request for client in CLIENTS for request in recorded(client)]
    assert len(list(FOLDER.glob("*.json"))) == len(requests)
    assert 248 == len({event.message_id for request in requests for event in request.events})


def test_a_recorded_request_with_its_own_key_is_refused(shared_server: Server) -> None:
    for client in CLIENTS:
        for request in recorded(client):
            if request.method == "POST":
                answer = shared_server.raw(request.bytes_for(RECORDED_KEY))
                assert answer is not None
                assert (401, "invalid_write_key") == (answer.status, answer.json["code"])
