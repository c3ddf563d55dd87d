"""The debugger of a running server: the stream over HTTP, pages, and one event with its way into the warehouse."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from headrace.app.folder import WORKER_SOCKET, short_path
from headrace.console.debugger import _told
from headrace.debugger.choice import Choice, Wanted
from headrace.debugger.position import Position
from headrace.debugger.streams import Start, Streams
from headrace.errors import RequestError
from list_log import ListLog
from made_events import made
from server import NewSource, Server


class Told(NamedTuple):
    name: str
    id: str | None
    data: dict[str, Any]


@pytest.fixture(scope="module")
def source(shared_server: Server) -> NewSource:
    return shared_server.add_source("Debugged")


@pytest.fixture(scope="module")
def client(shared_server: Server) -> Iterator[httpx.Client]:
    shared_server.wait_until_loaded()  # its worker may come up later than its door
    name, descriptor = short_path(shared_server.data / WORKER_SOCKET)
    with httpx.Client(transport=httpx.HTTPTransport(uds=name), base_url="http://worker/api/v1", timeout=30) as client:
        yield client
    os.close(descriptor)


def send(server: Server, source: NewSource, *events: dict[str, Any]) -> None:
    answer = server.post("/v1/batch", {"batch": list(events)}, source)
    assert answer.status == 200, answer.body


def track(message_id: str, event: str = "Order Completed", **fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "userId": "u1",
        "messageId": message_id,
        "properties": {"total": 12.5},
    } | fields


@contextmanager
def stream(client: httpx.Client, headers: dict[str, str] | None = None, **query: Any) -> Iterator[Iterator[Told]]:
    with client.stream("GET", "/debugger/stream", params=query, headers=headers) as answer:
        assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer.iter_lines())


def told(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                yield Told(fields["event"], fields.get("id"), json.loads(fields["data"]))
            fields = {}


def entries(frames: Iterator[Told], count: int) -> tuple[list[dict[str, Any]], str | None]:
    """As many entries, and where it goes on after them."""
    found: list[dict[str, Any]] = []
    position = None
    while len(found) < count:
        frame = next(frames)
        found += frame.data.get("entries", ())
        position = frame.id
    return found, position


def test_what_is_sent_is_streamed_and_a_reconnect_goes_on_behind_it(
    shared_server: Server, source: NewSource, client: httpx.Client
) -> None:
    ids = [f"{uuid4()}" for _ in range(4)]
    with stream(client, source=source.slug) as frames:
        next(frames)
        send(shared_server, source, track(ids[0]), {"type": "track", "userId": "u", "messageId": ids[1]})
        found, position = entries(frames, 2)
    assert [(ids[0], "accepted"), (ids[1], "refused")] == [(one["message_id"], one["state"]) for one in found]
    assert "event_not_defined" == found[1]["code"]
    send(shared_server, source, track(ids[2]))
    with stream(client, {"last-event-id": position or ""}, source=source.slug) as frames:
        send(shared_server, source, track(ids[3]))
        assert ids[2:] == [one["message_id"] for one in entries(frames, 2)[0]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"after": "0000.0-1"}, 409, "position_of_another_log"),
        ({"after": "no position"}, 400, "position_unreadable"),
        ({"filter": "type ="}, 400, "filter_refused"),
        ({"type": "order"}, 400, "request_refused"),
        ({"state": "lost"}, 400, "request_refused"),
    ],
)
@pytest.mark.parametrize("path", ["/debugger/stream", "/debugger/events"])
def test_what_cannot_be_meant_is_refused(
    client: httpx.Client, path: str, query: dict[str, str], status: int, code: str
) -> None:
    query = {
        name.replace("after", "before") if path.endswith("events") else name: value for name, value in query.items()
    }
    answer = client.get(path, params=query)
    assert (status, code) == (answer.status_code, answer.json()["code"])


def test_an_event_is_told_with_its_row_by_place_and_by_id(
    shared_server: Server, source: NewSource, client: httpx.Client
) -> None:
    message_id = f"order/{uuid4()}"
    with stream(client, message_id=message_id) as frames:
        next(frames)
        send(shared_server, source, track(message_id, "Order", userId=7))
        line = entries(frames, 1)[0][0]
    place = f"/debugger/events/{line['partition']}/{line['offset']}"
    stored = client.get(place).json()
    assert (message_id, ["id_number"]) == (
        json.loads(stored["text"])["messageId"],
        [one["code"] for one in stored["warnings"]],
    )
    assert "an id was a number" in stored["warnings"][0]["text"]
    while not (way := client.get(f"{place}/way").json())["is_settled"]:
        pass
    warehouse = way["trace"]["sights"][0]["warehouses"][0]
    assert ("loaded", ["tracks", "order"]) == (warehouse["outcome"], [row["table"] for row in warehouse["rows"]])
    by_id = client.get(f"/events/{httpx.URL('http://x').copy_with(path='/' + message_id).raw_path.decode()[1:]}").json()
    assert [message_id] == [one["shown"]["message_id"] for one in by_id["stored"]]
    asked = {"message_id": message_id, "warehouse": warehouse["slug"], "schema": source.schema}
    row = client.get("/debugger/rows", params={**asked, "table": "order"}).json()
    assert "7" == dict(zip(row["columns"], row["rows"][0], strict=True))["user_id"]
    for table in ("order; drop", "../x", 'or"der'):
        assert 404 == client.get("/debugger/rows", params={**asked, "table": table}).status_code
    assert (
        400
        == client.get("/debugger/rows", params={**asked, "message_id": "x' OR 1=1 --", "table": "order"}).status_code
    )


@pytest.mark.parametrize("message_id", ["never-sent", "recent"])
def test_an_id_that_nobody_knows_is_said_to_be_unknown(client: httpx.Client, message_id: str) -> None:
    """`message_id` may be any word."""
    found = client.get(f"/events/{message_id}").json()
    assert (False, []) == (found["trace"]["is_found"], found["stored"])
    assert found["trace"]["looked_back_to"] is not None


@pytest.mark.parametrize("place", ["0/99999999999", "7/0", "-1/0"])
def test_a_place_without_an_event_is_not_found(client: httpx.Client, place: str) -> None:
    assert 404 == client.get(f"/debugger/events/{place}").status_code
    assert 404 == client.get(f"/debugger/events/{place}/way").status_code


def test_pages_go_back_from_the_newest(shared_server: Server, source: NewSource, client: httpx.Client) -> None:
    ids = [f"{uuid4()}" for _ in range(5)]
    send(shared_server, source, *map(track, ids))
    found: list[str] = []
    query: dict[str, Any] = {"limit": 2, "source": source.slug, "event": "order completed"}
    while len(found) < 5:
        page = client.get("/debugger/events", params=query).json()
        found += [one["message_id"] for one in page["entries"]]
        query["before"] = page["before"]
    assert ids[::-1] == found[:5]


def told_until(check: Any, frames: int) -> list[Told]:
    """What a stream over a log with one event says until it ends; `check` is asked whether who watches still may."""

    async def run() -> list[Told]:
        log = ListLog(0, "log1")
        log.append([made("a")])
        streams = Streams(lambda: [log], tick_seconds=0.001, idle_seconds=0.0)
        parts: AsyncIterator[bytes] = _told(streams, Choice(Wanted()), Start(Position("log1", {0: 0})), check)
        found: list[str] = []
        async for part in parts:
            found += part.decode().splitlines()
            if sum(line.startswith("event: frame") for line in found) == frames:
                streams.end()
        return list(told(iter(found)))

    return asyncio.run(run())


async def allowed() -> None:
    pass


async def refused() -> None:
    raise RequestError("login_required", "login: this needs a login; log in again", 401)


def test_a_stream_ends_when_who_watches_may_not_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.console.debugger.ALLOWED_SECONDS", 0.0)
    last = told_until(refused, 1_000)[-1]
    assert ("end", 401, "login_required") == (last.name, last.data["status"], last.data["code"])


def test_control_a_stream_of_somebody_who_may_goes_on_until_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.console.debugger.ALLOWED_SECONDS", 0.0)
    found = told_until(allowed, 5)
    assert ["frame"] * 5 == [one.name for one in found[:5]]
    assert ("end", "server_ends") == (found[-1].name, found[-1].data["code"])
