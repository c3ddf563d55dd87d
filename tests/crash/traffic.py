"""Seeded load that behaves as an SDK does: what has no answer is sent again with the same ids."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from crash.ledger import Ledger, Request

EVENT_NAMES: Final = (
    "Email Sent", "Email Delivered", "Email Opened", "Email Link Clicked", "Email Bounced", "Unsubscribed",
    "Product Viewed", "Product Added", "Cart Viewed", "Checkout Started", "Order Completed", "Order Refunded",
)  # fmt: skip
NEW_NAME_EVERY: Final = 400
"""A sender makes up a new event name this often (in requests), so that tables are created in the middle of everything."""
ATTEMPT_SECONDS: Final = 20.0


class Mix(NamedTuple):
    """Shares of requests and events. `repeats`: events with an id that was used before. `abandoned`: requests whose client
    hangs up without reading the answer and never comes back."""

    batches: float = 0.6
    largest_batch: int = 40
    identifies: float = 0.1
    refused: float = 0.02
    repeats: float = 0.03
    abandoned: float = 0.01


class Traffic:
    """Threads that send until told to stop, then until everything is acknowledged."""

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        write_key: str,
        ledger: Ledger,
        seed: int,
        *,
        senders: int = 6,
        events_per_second: float = 500,
        mix: Mix | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._given_up = threading.Event()
        latest: deque[dict[str, Any]] = deque(maxlen=2_000)
        self._threads = []
        for number in range(senders):
            drawn = Drawn(f"{seed}-{number}", latest, mix or Mix())
            sender = Sender(address, write_key, ledger, drawn, self._given_up)
            pause = senders / events_per_second
            self._threads.append(threading.Thread(target=self._send, args=(sender, pause), daemon=True))

    def _send(self, sender: Sender, pause_seconds: float) -> None:
        while not self._stop.is_set():
            events = sender.send()
            self._stop.wait(events * pause_seconds)
        sender.close()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, patience_seconds: float = 60.0) -> None:
        """Returns when every sender has its last answer; what has none after `patience_seconds` stays unacknowledged."""
        self._stop.set()
        ends = time.monotonic() + patience_seconds
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._given_up.set()
        for thread in self._threads:
            thread.join(ATTEMPT_SECONDS + 5)
            assert not thread.is_alive(), "a sender does not end"


class Drawn:
    """Requests from a seed."""

    def __init__(self, seed: str, latest: deque[dict[str, Any]], mix: Mix) -> None:
        self.random = random.Random(seed)
        self._seed = seed
        self._latest = latest
        self._mix = mix
        self._count = 0
        self._requests = 0

    @property
    def is_abandoned(self) -> bool:
        return self.random.random() < self._mix.abandoned

    def request(self) -> Request:
        self._requests += 1
        if self.random.random() < self._mix.batches:
            events = [self._event() for _ in range(self.random.randint(1, self._mix.largest_batch))]
            return request_of("/v1/batch", events)
        event = self._event()
        return request_of(f"/v1/{event['type']}", [event])

    def _event(self) -> dict[str, Any]:
        draw = self.random.random()
        if draw < self._mix.repeats and self._latest:
            return self.random.choice(list(self._latest))
        self._count += 1
        event: dict[str, Any] = {
            "messageId": f"{self._seed}-{self._count}",
            "type": "identify" if self.random.random() < self._mix.identifies else "track",
        }
        user = f"user {self.random.randint(1, 500)}"
        if event["type"] == "identify":
            event["traits"] = {"email": f"{user[5:]}@example.org", "plan": self.random.choice(("free", "pro")), "n": 1}
        else:
            event["event"] = self._name()
            event["properties"] = self._properties()
        if self.random.random() < self._mix.refused:
            return event  # nobody's: to be refused
        event["userId"] = user
        self._latest.append(event)
        return event

    def _name(self) -> str:
        made_up = self._requests // NEW_NAME_EVERY
        if made_up and self.random.random() < 0.1:
            return f"Extra {self._seed.rpartition('-')[2]} Number {self.random.randint(1, made_up)}"
        return self.random.choice(EVENT_NAMES)

    def _properties(self) -> dict[str, Any]:
        amount: Any = self.random.choice((1, 2.5, self.random.randint(1, 10**6)))
        if self.random.random() < 0.01:
            amount = "a text where numbers were"
        return {
            "amount": amount,
            "campaign": {"id": self.random.randint(1, 30), "name": "Spring"},
            "tags": ["a", "b"],
            "note": "x" * self.random.randint(0, 300),
        }


def request_of(path: str, events: list[dict[str, Any]]) -> Request:
    """One request for these events, with what the ledger must know of them."""
    good = [event for event in events if "userId" in event]
    refused = [event["messageId"] for event in events if "userId" not in event]
    body = {"batch": events} if path == "/v1/batch" else events[0]
    tables = {event["messageId"]: own_table(event) for event in good}
    return Request(path, json.dumps(body).encode(), tables, refused, len(good), len(refused))


def own_table(event: Mapping[str, Any]) -> str:
    return event["event"].lower().replace(" ", "_") if event["type"] == "track" else "identifies"


class Sender:
    """One connection, kept open as long as it goes well."""

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        write_key: str,
        ledger: Ledger,
        drawn: Drawn,
        given_up: threading.Event,
    ) -> None:
        self._address = address
        self._headers = {"Content-Type": "application/json", "X-Write-Key": write_key}
        self._ledger = ledger
        self._drawn = drawn
        self._given_up = given_up
        self._connection: http.client.HTTPConnection | None = None

    def send(self) -> int:
        """One request, again and again until it is acknowledged. Returns its events."""
        request = self._drawn.request()
        abandoned = self._drawn.is_abandoned
        while not self._given_up.is_set():
            wait = self._attempt(request, abandoned=abandoned)
            if wait is None:
                break
            self._given_up.wait(wait)
        return request.accepted + request.refused

    def post(self, request: Request) -> None:
        """This very request until it is acknowledged."""
        while (wait := self._attempt(request)) is not None and not self._given_up.is_set():
            self._given_up.wait(wait)

    def _attempt(self, request: Request, *, abandoned: bool = False) -> float | None:
        """None when it is done with, else how long to wait before it is sent again."""
        began = self._ledger.begins(request)
        try:
            self._connection = self._connection or http.client.HTTPConnection(*self._address(), timeout=ATTEMPT_SECONDS)
            self._connection.request("POST", request.path, request.body, self._headers)
            if abandoned:
                self.close()
                self._ledger.unanswered(unavailable=False)
                return None
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            self._ledger.unanswered(unavailable=False)
            return 0.02
        if response.status in (503, 429):
            if not response.headers.get("Retry-After"):
                self._ledger.surprised(f"{response.status} without Retry-After: {body!r}")
            self._ledger.unanswered(unavailable=True)
            return 0.1
        self._judge(request, response.status, body, began)
        return None

    def _judge(self, request: Request, status: int, body: bytes, began: float) -> None:
        is_refusal = not request.accepted and request.path != "/v1/batch"
        if status != (400 if is_refusal else 200):
            self._ledger.surprised(f"{request.path}: {status} {body[:300]!r}")
            return
        if request.path == "/v1/batch":
            answer = json.loads(body)
            if (answer["accepted"], len(answer["rejected"])) != (request.accepted, request.refused):
                self._ledger.surprised(f"{request.path}: expected {request.accepted} accepted, got {body[:300]!r}")
        self._ledger.answered(request, began)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
