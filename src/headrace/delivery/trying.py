"""A test event: one event goes to a tool as any other would, each step of its way is told, and nothing of it is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from headrace.delivery import samples
from headrace.delivery.attempting import attempt
from headrace.delivery.preparing import Preparation, Stopped
from headrace.destinations.base import CODES, DestinationKind, Exchange, Http, HttpKind, Prepared, Request, Result
from headrace.errors import ConfigError, RetryableError
from headrace.event import Event

OPEN_SECONDS: Final = 30.0
Mask = Callable[[str], str]


class TrialOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a destination is tested with: an event in Segment's form, or an example by name, or neither: the first one that it takes.

    `source` is whose event it is meant to be; one that is connected unless that is said."""

    event: dict[str, Any] | None = None
    sample: str | None = None
    source: str | None = None
    dry_run: bool = False


class Step(msgspec.Struct, frozen=True):
    """`note`: nothing stops here, and there is something to know."""

    name: str
    state: Literal["passed", "note", "stopped"]
    text: str


class Sent(msgspec.Struct, frozen=True):
    """A request as it went out, or would, and what came back; secrets masked."""

    request: Mapping[str, Any]
    answer: Mapping[str, Any] = {}
    seconds: float = 0.0


class Tried(msgspec.Struct, frozen=True):
    """What became of a test event. `fields` is None where the whole event is sent. `ready`: a dry run, and it could be sent.

    `retrying`: delivery would try again. `title`, `description` and `remedy` are those of `code`."""

    destination: str
    kind: str
    event: msgspec.Raw
    outcome: Literal["delivered", "ready", "filtered", "retrying", "failed"]
    steps: Sequence[Step]
    fields: Mapping[str, Any] | None = None
    sent: Sequence[Sent] = ()
    code: str = ""
    detail: str = ""
    title: str = ""
    description: str = ""
    remedy: str = ""
    link: str = ""

    @property
    def is_fine(self) -> bool:
        return self.outcome in ("delivered", "ready")


class Trial(NamedTuple):
    """What is tested. `kind` is not open yet and is closed by the test; `mask` takes secrets out of a text."""

    kind: DestinationKind
    kind_slug: str
    preparation: Preparation
    event: Event
    mask: Mask
    first: Sequence[Step] = ()
    """Steps before delivery's own; where one of them stopped the event, it goes no further."""


async def tried(trial: Trial, http: Http, *, is_dry: bool = False) -> Tried:
    """A dry run makes the requests and sends none. Never raises for what a kind or a tool does."""
    steps = list(trial.first)
    if any(step.state == "stopped" for step in steps):
        return _told(trial, steps, "filtered", detail=steps[-1].text)
    prepared = trial.preparation.prepare(trial.event)
    steps += _steps_of(trial, prepared)
    if isinstance(prepared, Stopped):
        return _told(
            trial,
            steps,
            "filtered" if prepared.outcome == "filtered" else "failed",
            code=prepared.code,
            detail=prepared.detail,
        )
    return await _dry(trial, steps, prepared) if is_dry else await _sent(trial, steps, prepared, http)


# The steps before anything is sent.


def _steps_of(trial: Trial, prepared: Prepared | Stopped) -> Sequence[Step]:
    """Those that the event passed, and the one at which it was stopped."""
    found: list[Step] = []
    for name, text in _passed(trial, prepared):
        if isinstance(prepared, Stopped) and name == prepared.step:
            detail = f": {prepared.detail}" if prepared.detail else ""
            return [*found, Step(name, "stopped", trial.mask(f"{prepared.code}: {CODES[prepared.code].title}{detail}"))]
        if text:
            found.append(Step(name, "passed", text))
    return found


def _passed(trial: Trial, prepared: Prepared | Stopped) -> Sequence[tuple[str, str]]:
    """Every step with what is said where an event passes it; empty where there is nothing to say."""
    settings, event = trial.kind.settings, trial.event
    chosen = [f"only {', '.join(settings.allow_properties)}"] if settings.allow_properties else []
    chosen += [f"without {', '.join(settings.drop_properties)}"] if settings.drop_properties else []
    fields = prepared.fields if isinstance(prepared, Prepared) else None
    return [
        ("integrations", "the event does not switch it off"),
        ("filter", f"holds: {settings.filter.strip()}" if settings.filter.strip() else "there is none"),
        (
            "sample",
            f"this user is one of the {settings.sample_percent:g} percent" if settings.sample_percent < 100 else "",
        ),
        ("type", f"it takes {event.type} events"),
        ("settings", ""),
        ("properties", "; ".join(chosen)),
        ("mapping", "the whole event is sent" if fields is None else f"{len(fields)} fields: {', '.join(fields)}"),
    ]


# The request and what comes back.


async def _dry(trial: Trial, steps: list[Step], prepared: Prepared) -> Tried:
    kind = trial.kind
    if not isinstance(kind, HttpKind):
        steps.append(
            Step("request", "note", "this kind speaks no HTTP; what it is given is shown, and it is not called")
        )
        given = Sent({"body": _shown(Request("", "", body=prepared.json()), trial.mask)["body"]})
        return _told(trial, steps, "ready", prepared=prepared, sent=[given])
    try:
        refused = kind.refusals([prepared]).get(0)
        requests = [outgoing.request for outgoing in kind.requests([prepared])]
    except Exception as error:  # noqa: BLE001 -- as an attempt would: a fault of the kind is told
        refused, requests = Result("failed", "INTERNAL", f"{type(error).__name__}: {error}"), []
    if refused is None and not requests:
        refused = Result("failed", "PAYLOAD_VALIDATION_FAILED", "the tool has no request for this event")
    if refused is not None:
        steps.append(Step("request", "stopped", trial.mask(f"{refused.code}: {refused.detail}")))
        return _told(trial, steps, "failed", prepared=prepared, code=refused.code, detail=refused.detail)
    steps.append(Step("request", "passed", f"{_requests_in_words(requests, trial.mask)}; not sent"))
    return _told(trial, steps, "ready", prepared=prepared, sent=[Sent(_shown(one, trial.mask)) for one in requests])


async def _sent(trial: Trial, steps: list[Step], prepared: Prepared, http: Http) -> Tried:
    listening = _Listening(http)
    began = time.monotonic()
    try:
        result = await _opened(trial.kind)
        if result is None:
            (result,) = await attempt(trial.kind, [prepared], listening)
    finally:
        await trial.kind.close()
    seconds = time.monotonic() - began
    exchanges = listening.exchanges or ([result.exchange] if result.exchange else [])
    if exchanges:
        steps.append(Step("request", "passed", _requests_in_words([one.request for one in exchanges], trial.mask)))
    elif result.outcome != "delivered":
        steps.append(Step("request", "stopped", trial.mask(f"{result.code}: {result.detail}")))
    else:
        steps.append(Step("request", "passed", f"given to {trial.kind_slug}"))
    if exchanges or result.outcome == "delivered":
        steps.append(_answer_step(trial, result, listening.exchanges, seconds))
    sent = [_of_exchange(one, trial.mask) for one in exchanges]
    if not sent:
        sent = [
            Sent({"body": _shown(Request("", "", body=prepared.json()), trial.mask)["body"]}, seconds=round(seconds, 3))
        ]
    outcome = "retrying" if result.outcome == "retry" else result.outcome
    return _told(trial, steps, outcome, prepared=prepared, sent=sent, code=result.code, detail=result.detail)


async def _opened(kind: DestinationKind) -> Result | None:
    """None once it is open."""
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await kind.open()
    except ConfigError as error:
        return Result("failed", "INVALID_SETTINGS", str(error))
    except RetryableError as error:
        return Result("retry", "SERVER_ERROR", str(error))
    except TimeoutError:
        return Result("retry", "ETIMEDOUT", f"it did not open within {OPEN_SECONDS:g} s")
    return None


class _Listening:
    """Keeps every exchange: an event may need several requests."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.exchanges: list[Exchange] = []

    async def exchange(self, request: Request) -> Exchange:
        found = await self._http.exchange(request)
        self.exchanges.append(found)
        return found


def _answer_step(trial: Trial, result: Result, exchanges: Sequence[Exchange], seconds: float) -> Step:
    reason = f"{result.code}: {result.detail}"
    statuses = [str(one.answer.status) for one in exchanges if one.answer]
    if not statuses and result.outcome != "delivered":
        return Step("answer", "stopped", trial.mask(reason))
    said = f"{', '.join(statuses) or 'done'} in {seconds:.2f} s"
    if result.outcome == "delivered":
        return Step("answer", "passed", said)
    return Step("answer", "stopped", trial.mask(f"{said}: {reason}"))


def _requests_in_words(requests: Sequence[Request], mask: Mask) -> str:
    first = requests[0]
    more = f", and {len(requests) - 1} more" if len(requests) > 1 else ""
    return f"{first.method} {mask(first.url)} ({len(first.body):,} bytes){more}"


def _shown(request: Request, mask: Mask) -> dict[str, Any]:
    return samples.shown_request(request, mask)


def _of_exchange(exchange: Exchange, mask: Mask) -> Sent:
    answer: Mapping[str, Any] = (
        samples.shown_answer(exchange.answer, mask)
        if exchange.answer
        else {"code": exchange.code, "error": mask(exchange.error)}
    )
    return Sent(_shown(exchange.request, mask), answer, round(exchange.seconds, 3))


def _told(
    trial: Trial,
    steps: Sequence[Step],
    outcome: Literal["delivered", "ready", "filtered", "retrying", "failed"],
    *,
    prepared: Prepared | None = None,
    sent: Sequence[Sent] = (),
    code: str = "",
    detail: str = "",
) -> Tried:
    about = CODES.get(code)
    fields = prepared.fields if prepared is not None else None
    return Tried(
        trial.kind.place.slug,
        trial.kind_slug,
        msgspec.Raw(trial.mask(Prepared(trial.event).json().decode()).encode()),
        outcome,
        steps,
        None if fields is None else msgspec.json.decode(trial.mask(msgspec.json.encode(fields).decode())),
        sent,
        code,
        trial.mask(detail),
        about.title if about else "",
        about.description if about else "",
        about.remedy if about else "",
        about.link if about else "",
    )
