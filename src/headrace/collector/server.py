"""The tracking API as a raw ASGI app: routes, authentication, limits, answers. What is accepted is decided in accept.py."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from headrace.collector import accept, credentials, incoming, pixel
from headrace.collector.accept import Acceptance, Origin
from headrace.collector.answers import ACCEPTED, PREFLIGHT, Answer, problem, too_many, unavailable
from headrace.collector.committer import Committer
from headrace.collector.doors import Doors
from headrace.collector.limits import Rate
from headrace.collector.metrics import CONTENT_TYPE, Metrics
from headrace.collector.routes import PIXELS, ROUTES, Route
from headrace.config import CollectorConfig
from headrace.errors import LogUnavailableError, RequestError, RetryableError
from headrace.sources.base import SourceKind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SETTINGS: Final = re.compile(r"/v1/projects/([^/]+)/settings")


class Head(NamedTuple):
    """Of a request, what comes before its body; header names in lower case. `client` is the peer's address and port."""

    headers: dict[bytes, bytes]
    query: bytes
    client: tuple[str, int] | None

    @classmethod
    def of(cls, scope: Scope) -> Head:
        return cls(dict(scope["headers"]), scope["query_string"], scope.get("client"))


class Decision(NamedTuple):
    """`answer` is given as soon as `accepted`, where there is any, is durable."""

    answer: Answer
    source: SourceKind | None = None
    accepted: Acceptance | None = None


DROPPED: Final = Decision(ACCEPTED)


_LATE: Final = 408
"""Not the client's last word: it sends again, so nothing of it is stored."""


class Collector:
    """The app. `now` gives the time of receipt in UTC."""

    def __init__(
        self, committer: Committer, doors: Doors, config: CollectorConfig, now: Callable[[], datetime]
    ) -> None:
        self.committer = committer
        self.doors = doors
        self._config = config
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._has_rates = bool(config.events_per_second_per_source or config.events_per_second_per_address)
        self._source_rate = Rate(config.events_per_second_per_source)
        self._address_rate = Rate(config.events_per_second_per_address)
        self.metrics = Metrics(
            lambda: {
                "headrace_waiting_bytes": committer.waiting_bytes,
                "headrace_log_commits": committer.commits,
                "headrace_log_committed_bytes": committer.committed_bytes,
                "headrace_log_available": float(committer.failed is None),
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        route = ROUTES.get(path)
        if route is not None and scope["method"] == "POST":
            answer = await self._post(route, scope, receive)
        else:
            answer = await self._other(path, scope)
        if answer is None:  # the client has gone
            return
        self.metrics.requests[path if route or path in PIXELS else "other", answer.status] += 1
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.all_headers()})
        await send({"type": "http.response.body", "body": answer.body})

    def quick(self, path: str, head: Head, body: bytes, answered: Callable[[Answer], None]) -> None:
        """What `__call__` does, without a task, for a request that is posted to one of ROUTES and has come whole, while the
        committer has room: `answered` is called at once, or when the events are durable."""
        route = ROUTES[path]
        try:
            decision = self._decide(route, head, self._by_head(head), body) if route.kind != "drop" else DROPPED
        except RequestError as error:
            decision = Decision(self._refusal(error))
        except RetryableError as error:
            decision = Decision(unavailable(error))
        answer, source, accepted = decision
        if source is None or accepted is None:
            self.metrics.requests[path, answer.status] += 1
            answered(answer)
            return

        def ended(error: LogUnavailableError | None) -> None:
            if error is None:
                self._count(source, accepted)
            final = answer if error is None else unavailable(error)
            self.metrics.requests[path, final.status] += 1
            answered(final)

        self.committer.stage(accepted.lines, accepted.hour, accepted.tally, accepted.size_bytes, ended)

    async def _post(self, route: Route, scope: Scope, receive: Receive) -> Answer | None:
        try:
            if route.kind == "drop":
                await self._body(receive)
                return ACCEPTED
            await self.committer.room()
            return await self._collect(route, Head.of(scope), receive)
        except RequestError as error:
            return self._refusal(error)
        except RetryableError as error:
            return unavailable(error)
        except _GoneError:
            return None

    async def _collect(self, route: Route, head: Head, receive: Receive) -> Answer:
        source = self._by_head(head)
        try:
            body = await self._body(receive)
        except RequestError as error:
            decision = self._refused(route, source, error, b"")
        else:
            decision = self._decide(route, head, source, body)
        if decision.source is not None and decision.accepted is not None:
            await self._store(decision.source, decision.accepted)
        return decision.answer

    def _by_head(self, head: Head) -> SourceKind | None:
        """The source whose key the headers or the query have; None when the body may have one. Raises RequestError."""
        key = credentials.from_headers(head.headers)
        if key is None and head.query and b"authorization" not in head.headers:
            key = credentials.from_query(head.query)
        return self._open(key) if key is not None else None

    def _decide(self, route: Route, head: Head, source: SourceKind | None, body: bytes) -> Decision:
        """What becomes of a request with this body."""
        try:
            body = _plain(body, head.headers)
            batch = incoming.batch(body) if _is_batch(route, body) else None
            if source is None:
                source = self._open(batch.key if batch else incoming.write_key(body))
            wait = self._wait_seconds(source, head, len(batch.batch or ()) if batch else 1)
            if wait:
                return Decision(too_many(wait))
            accepted = self._judged(route, body, batch, source, self._origin(route, head, body, batch))
        except RequestError as error:
            return self._refused(route, source, error, body)
        if route.kind == "validate":
            return Decision(Answer(200, _report(accepted, source)))
        return Decision(self._answer(route, accepted), source, accepted)

    def _refused(self, route: Route, source: SourceKind | None, error: RequestError, body: bytes) -> Decision:
        """A request that is refused as a whole; of a known source its text is kept."""
        answer = self._refusal(error)
        if source is None or error.code == "empty_batch" or error.status == _LATE or route.kind == "validate":
            return Decision(answer)
        raw = error.raw if isinstance(error, _UnreadableError) else body
        return Decision(answer, source, accept.unreadable(raw, error, source, self._now()))

    def _answer(self, route: Route, accepted: Acceptance) -> Answer:
        if route.kind != "event":
            return Answer(200, msgspec.json.encode(accepted.answer()))
        if accepted.refusals:
            return self._refusal(RequestError(accepted.refusals[0].code, accepted.refusals[0].message))
        return ACCEPTED

    def _judged(
        self, route: Route, body: bytes, batch: incoming.Body | None, source: SourceKind, origin: Origin
    ) -> Acceptance:
        received_at = self._now()
        dry = route.kind == "validate"
        if batch is not None:
            return accept.batched(batch, source, received_at, origin, dry=dry)
        return accept.single(body, route.type, source, received_at, origin, dry=dry)

    def _open(self, key: str | None) -> SourceKind:
        try:
            return self.doors.open(key)
        except RequestError as error:
            self.metrics.unknown[error.code] += 1
            raise

    async def _store(self, source: SourceKind, accepted: Acceptance) -> None:
        await self.committer.store(accepted.lines, accepted.hour, accepted.tally, accepted.size_bytes)
        self._count(source, accepted)

    def _count(self, source: SourceKind, accepted: Acceptance) -> None:
        if accepted.accepted:
            self.metrics.events[source.slug, "accepted"] += accepted.accepted
        for refusal in accepted.refusals:
            self.metrics.events[source.slug, "refused"] += 1
            self.metrics.refusals[source.slug, refusal.code] += 1

    async def _body(self, receive: Receive) -> bytes:
        """The whole body. Raises _UnreadableError when it is too large, _GoneError when the client has gone."""
        part = await self._part(receive)
        body: bytes = part.get("body", b"")
        if part.get("more_body", False):
            pieces = [body]
            size = len(body)
            deadline = self._loop.time() + self._config.body_timeout_seconds
            while part.get("more_body", False) and size <= incoming.BATCH_BYTES:
                part = await self._part(receive, deadline)
                pieces.append(part.get("body", b""))
                size += len(pieces[-1])
            body = b"".join(pieces)
        if len(body) > incoming.BATCH_BYTES:
            raise _UnreadableError(f"the body is larger than {incoming.BATCH_BYTES} bytes; send smaller batches", body)
        return body

    async def _part(self, receive: Receive, deadline: float | None = None) -> MutableMapping[str, Any]:
        try:
            async with asyncio.timeout_at(deadline or self._loop.time() + self._config.body_timeout_seconds):
                part = await receive()
        except TimeoutError:
            raise RequestError("bad_request", "the body did not arrive in time", _LATE) from None
        if part["type"] == "http.disconnect":
            raise _GoneError
        return part

    def _origin(self, route: Route, head: Head, body: bytes, batch: incoming.Body | None) -> Origin:
        headers = head.headers
        sent_at = headers.get(b"sentat")
        return Origin(
            self._address(head),
            direct=route.browser or b"origin" in headers or b"sec-fetch-site" in headers,
            sent_at=sent_at.decode("latin-1") if sent_at else None,
            # Without a context for all, each event's own is searched: that is less than the whole body.
            may_be_asked=batch is None or not len(batch.context) or accept.may_be_asked(body),
        )

    def _address(self, head: Head) -> str | None:
        if self._config.trust_forwarded_for:
            forwarded = head.headers.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
            if forwarded:
                return forwarded
        return head.client[0] if head.client else None

    def _wait_seconds(self, source: SourceKind, head: Head, events: int) -> int:
        if not self._has_rates:
            return 0
        now = self._loop.time()
        wait = self._source_rate.wait_seconds(source.slug, events, now)
        if not wait and self._config.events_per_second_per_address:
            wait = self._address_rate.wait_seconds(self._address(head) or "", events, now)
        return wait

    def _refusal(self, error: RequestError) -> Answer:
        if self._config.compat_always_200 and error.status != _LATE:
            return ACCEPTED
        return Answer(
            error.status, msgspec.json.encode({"success": False, "code": error.code, "message": error.reason})
        )

    async def _other(self, path: str, scope: Scope) -> Answer:
        """Everything but posted events."""
        method = scope["method"]
        if method == "OPTIONS":
            return Answer(200, b"", PREFLIGHT)
        if path in ROUTES or (path in PIXELS and method != "GET"):
            return problem(405, "bad_request", f"{path} takes {'POST' if path in ROUTES else 'GET'}")
        if method in ("GET", "HEAD"):
            if path in PIXELS:
                return await self._pixel(PIXELS[path], scope)
            if path == "/v1/health":
                return self._health()
            if path == "/metrics" and _is_loopback(scope):
                return Answer(200, self.metrics.text(), content_type=CONTENT_TYPE)
            if match := _SETTINGS.fullmatch(path):
                return self._settings(match[1], scope)
        return problem(
            404, "bad_request", f"there is no {path} here; the tracking API is POST /v1/track, /v1/batch, ..."
        )

    async def _pixel(self, event_type: str, scope: Scope) -> Answer:
        """Always the image: a broken picture in somebody's e-mail helps nobody. The event is durable before it all the same."""
        try:
            await self._collect_pixel(event_type, scope)
        except (RequestError, RetryableError) as error:
            self.metrics.unknown[getattr(error, "code", "internal")] += 1
        return Answer(200, pixel.GIF, ((b"cache-control", b"no-store, private"),), b"image/gif")

    async def _collect_pixel(self, event_type: str, scope: Scope) -> None:
        await self.committer.room()
        query = scope["query_string"]
        key = credentials.from_query(query)
        source = self._open(key) if key else None
        try:
            raw = pixel.event(query)
        except RequestError as error:
            if source is not None:
                await self._store(source, accept.unreadable(query, error, source, self._now()))
            raise
        source = source or self._open(pixel.write_key(raw))
        head = Head.of(scope)
        agent = head.headers.get(b"user-agent", b"").decode("latin-1")
        origin = Origin(self._address(head), direct=True, user_agent=agent or None)
        if self._wait_seconds(source, head, 1):
            raise RequestError("too_many_requests", "too many events", 429)
        await self._store(source, accept.single(raw, event_type, source, self._now(), origin))

    def _health(self) -> Answer:
        if self.committer.failed is None:
            return Answer(200, b'{"status": "ok"}')
        return Answer(503, msgspec.json.encode({"status": "log unavailable", "reason": self.committer.failed}))

    def _settings(self, key: str, scope: Scope) -> Answer:
        """What the browser SDK asks for before it sends: to send to this very server, and nothing else."""
        try:
            self._open(key)
        except RequestError as error:
            return problem(error.status, error.code, error.reason)
        except RetryableError as error:
            return unavailable(error)
        headers = dict(scope["headers"])
        scheme = headers.get(b"x-forwarded-proto", scope["scheme"].encode()).decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        destination = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": scheme, "unbundledIntegrations": []}
        tree = {
            "integrations": {"Segment.io": destination},
            "plan": {},
            "edgeFunction": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
        }
        return Answer(200, msgspec.json.encode(tree))


class _GoneError(Exception):
    """The client closed the connection before its request was complete."""


class _UnreadableError(RequestError):
    """A body of which no event can be told; `raw` is what is kept of it."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__("bad_request", reason)
        self.raw = raw[: accept.RAW_KEPT]


def _plain(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    """The body decompressed. Raises _UnreadableError."""
    try:
        plain = incoming.decompressed(body, headers.get(b"content-encoding", b""))
    except RequestError as error:
        raise _UnreadableError(error.reason, body) from None
    return plain


def _is_batch(route: Route, body: bytes) -> bool:
    return route.kind == "batch" or (route.kind == "validate" and b'"batch"' in body)


def _is_loopback(scope: Scope) -> bool:
    """A scraper on this machine; through a proxy it is not one."""
    client = scope.get("client")
    forwarded = any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"])
    return client is not None and (client[0].startswith("127.") or client[0] == "::1") and not forwarded


def _report(accepted: Acceptance, source: SourceKind) -> bytes:
    """A dry run's answer: each event as it would be stored, with its warnings in words."""
    texts = {**accept.WARNINGS, **source.warnings}
    events = [
        {
            "messageId": event.message_id,
            "type": event.type,
            "event": event.event,
            "userId": event.user_id,
            "anonymousId": event.anonymous_id,
            "timestamp": event.timestamp,
            "warnings": [{"code": code, "message": texts.get(code.partition(":")[0], code)} for code in event.warnings],
        }
        for event in accepted.events or ()
    ]
    report = {
        "success": not accepted.refusals,
        "accepted": accepted.accepted,
        "rejected": accepted.refusals,
        "events": events,
    }
    return msgspec.json.encode(report)
