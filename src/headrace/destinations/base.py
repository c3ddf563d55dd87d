"""The port of a destination: it sends. Filters, batching, rates, retries, order and the books belong to delivery.

A file of this folder is a kind of tool: its one subclass of `DestinationKind` is the catalogue entry, an instance is what a user
configured. What delivery promises to a kind, and a kind to delivery:

- `send` gets events that passed the filters and are mapped, at most `batching.events` of them, in the order of the log, and answers for
  **each** with a `Result`. It never retries, never sleeps, never raises for what a tool says; several calls may run at the same time.
- Whatever happens, the same event may be sent again: each request carries the event's messageId where the tool can drop repeats by it.
- What goes out over HTTP goes through the `Http` that `send` is given: it checks addresses, keeps to the time limits, reads at most
  64 KB of an answer and keeps what was sent and answered for the samples. A kind that speaks HTTP subclasses `HttpKind`, which needs
  two pure functions: events -> requests, and an answer -> results.
- Another transport (a driver, a process of its own) overrides `send`, `open` and `close`.

Settings declared with `described(..., secret=True)` are encrypted where they are kept and masked in everything that is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Protocol, cast

import msgspec

from headrace import catalog
from headrace.catalog import described as described  # noqa: PLC0414 -- a word of this port too
from headrace.destinations._codes import CODES as CODES  # noqa: PLC0414 -- as above
from headrace.destinations._codes import CONFIGURATION_CODES as CONFIGURATION_CODES  # noqa: PLC0414 -- as above
from headrace.destinations._codes import OutcomeName as OutcomeName  # noqa: PLC0414 -- as above
from headrace.destinations._segment_json import segment_json
from headrace.errors import NotFoundError
from headrace.event import EVENT_TYPES, Event

ANSWER_BYTES: Final = 65_536
"""Of an answer this much is read; what is beyond it is cut."""


class Request(msgspec.Struct, frozen=True):
    """An HTTP request. Header names in small letters. `content-type` is JSON unless said otherwise."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What a tool answered. Header names in small letters; `body` is cut at ANSWER_BYTES (`is_cut`)."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    is_cut: bool = False


class Exchange(msgspec.Struct, frozen=True):
    """A request and what came back: an answer, or the code and text of why there is none."""

    request: Request
    answer: Answer | None
    code: str = ""
    error: str = ""
    seconds: float = 0.0


class Http(Protocol):
    """Sends requests; made by delivery for one destination."""

    async def exchange(self, request: Request) -> Exchange:
        """Never raises for what the network or the tool does: then `answer` is None, and `code` one of CODES."""
        ...


class Result(msgspec.Struct, frozen=True):
    """What an attempt came to for one event.

    `delivered`: the tool has it. `retry`: the same may succeed later, not before `retry_after_seconds` where the tool said so.
    `failed`: it will not succeed as it is. `code` is one of CODES; empty where it is delivered. `detail` is the tool's own reason, at most
    1,000 characters. `is_whole_request` says that the tool refused the request as a whole, so that nothing is known of this event
    alone: delivery then sends each event of it once more by itself."""

    outcome: Literal["delivered", "retry", "failed"]
    code: str = ""
    detail: str = ""
    retry_after_seconds: float | None = None
    is_whole_request: bool = False
    exchange: Exchange | None = None


DELIVERED: Final = Result("delivered")


class Prepared(msgspec.Struct, frozen=True):
    """An event on its way: as the filters left it, and the fields that the mapping made; None where the whole event is sent as it is."""

    event: Event
    fields: Mapping[str, Any] | None = None

    def json(self) -> bytes:
        """The mapped fields, or the event in Segment's own form."""
        return segment_json(self.event) if self.fields is None else msgspec.json.encode(self.fields)


class Batching(NamedTuple):
    """How many events a request of this tool takes at the most, and how long delivery may wait for company. `bytes` bounds the sum of
    the events' sizes as they were sent to headrace, so leave room."""

    events: int = 1
    bytes: int = 1_000_000
    wait_seconds: float = 0.05


class DestinationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every destination can be set to; a kind adds its own by a subclass. Descriptions feed forms and documentation."""

    filter: Annotated[str, described("Only events for which this expression holds are sent; docs/filters.md.")] = ""
    sample_percent: Annotated[
        float,
        msgspec.Meta(
            description="Only events of so many percent of the users are sent, always of the same ones.", ge=0, le=100
        ),
    ] = 100.0
    drop_properties: Annotated[
        tuple[str, ...], described("Properties and traits (top level) that are not sent, as a list.")
    ] = ()
    allow_properties: Annotated[
        tuple[str, ...], described("Where any are named, only these properties and traits are sent.")
    ] = ()
    mapping: Annotated[
        dict[str, dict[str, Any] | None],
        described("Fields by event type that replace or extend the kind's own; docs/destinations.md."),
    ] = {}
    concurrency: Annotated[int, msgspec.Meta(description="Requests at the same time.", ge=1, le=256)] = 8
    requests_per_second: Annotated[
        float, msgspec.Meta(description="Requests a second at the most; 0 is no limit.", ge=0)
    ] = 0.0
    batch_events: Annotated[
        int, msgspec.Meta(description="Events in a request at the most; 0 is what the tool takes.", ge=0)
    ] = 0
    ordered: Annotated[
        bool, described("Keep the order of each user's events: one waits until those before it have gone.")
    ] = False
    horizon_hours: Annotated[
        float,
        msgspec.Meta(
            description="An event that fails is tried again for so long, then it is a dead letter.", gt=0, le=336
        ),
    ] = 24.0

    def __repr__(self) -> str:
        """Settings may hold secrets: never print them."""
        return f"<{type(self).__name__}>"


class Place(NamedTuple):
    """Where a destination runs: its slug, a folder of its own (not made yet) for what the kind may want to keep, and the clock."""

    slug: str
    folder: Path
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


Rule = Any
"""How a field is made: a text is a path of the filter language, or several with `??` between them, of which the first that exists is taken;
`{"constant": JSON}` is the value itself; `{"template": "text with {path}"}` a text. docs/destinations.md, Mapping."""

Mappings = Mapping[str, Mapping[str, Rule]]
"""Rules by field by event type; `*` stands for every type that has none of its own. A dot in a field makes an object."""


class DestinationKind:
    """A catalogue entry. A subclass in its own file sets the class variables and overrides `send`."""

    title: ClassVar[str]
    """Also its name in an event's `integrations` object."""
    summary: ClassVar[str]
    docs_url: ClassVar[str]
    tried: ClassVar[str]
    """Against what it was tried, in words, for example: a stand-in of the documented API; not yet a live account."""
    setup: ClassVar[Sequence[str]] = ()
    """What the operator prepares in the tool, a sentence each."""
    drops_repeats: ClassVar[str]
    """How the tool tells a repeated event: a sentence."""
    types: ClassVar[frozenset[str]] = EVENT_TYPES
    """The types of event that the tool takes."""
    mapping: ClassVar[Mappings] = {}
    """The fields that work untouched. Empty: the whole event is sent in Segment's form."""
    required: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Fields without which an event of a type (`*`: any) cannot be sent; `a|b` means one of both."""
    batching: ClassVar[Batching] = Batching()
    runs_code: ClassVar[bool] = False
    """Its settings say what program runs on this machine: over the API they are an admin's."""
    connects_itself: ClassVar[bool] = False
    """Its driver opens connections by itself, past the networks that are allowed: the same."""
    Settings: ClassVar[type[DestinationSettings]] = DestinationSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        self.settings = settings
        self.place = place

    @property
    def time_limit_seconds(self) -> float:
        """After this delivery cancels a call of `send`. Requests over HTTP have limits of their own, well below it."""
        return 30.0

    @property
    def limits(self) -> Batching:
        """`batching` as the settings have it. A kind whose settings change more overrides it."""
        wanted = self.settings.batch_events
        return self.batching._replace(events=min(wanted, self.batching.events)) if wanted else self.batching

    def warnings(self) -> Sequence[str]:
        """What an operator should know about these settings, for example that a key is about to expire. Asked now and then."""
        return ()

    def declines(self, event: Event) -> str | None:
        """Called for each event that the filters let through: the one of CODES, with the outcome filtered, by which these settings leave it
        out, or None. Pure."""
        del event
        return None

    async def open(self) -> None:
        """Called once before the first `send`. Raises ConfigError (settings are wrong) and RetryableError."""

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        """One attempt for all of them; a result for each, in their order. Delivery cancels it after its time limit."""
        raise NotImplementedError

    async def close(self) -> None:
        """Safe to call twice, and without `open`."""


class Outgoing(NamedTuple):
    """A request, and the places in the batch of the events in it."""

    request: Request
    events: Sequence[int]


class HttpKind(DestinationKind):
    """A tool with an HTTP API. A subclass overrides `requests`, and `results` where an answer tells more than its status."""

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        """The requests for these events. Pure. An event that stands in no request fails with PAYLOAD_VALIDATION_FAILED unless
        `refusals` says more."""
        raise NotImplementedError

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        """Results of events that cannot be sent, by place. Pure. `requests` must leave them out."""
        del batch
        return {}

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        """A result for each of `outgoing.events`, in their order. Pure."""
        del batch
        from headrace.destinations._answers import of_status  # noqa: PLC0415 -- it needs the words of this port

        return [of_status(answer, self.place.now(), whole=len(outgoing.events) > 1)] * len(outgoing.events)

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        from headrace.destinations._answers import collected  # noqa: PLC0415 -- as above

        return await collected(self, batch, http)


def kinds() -> Mapping[str, type[DestinationKind]]:
    """Every kind of destination by slug."""
    return cast("Mapping[str, type[DestinationKind]]", catalog.connectors("headrace.destinations", DestinationKind))


def kind(slug: str) -> type[DestinationKind]:
    """Raises NotFoundError that lists what there is."""
    found = kinds().get(slug)
    if found is None:
        raise NotFoundError(f"destination: there is no kind {slug!r} in the catalogue; it has {', '.join(kinds())}")
    return found


def configured(kind_slug: str, settings: Mapping[str, Any], place: Place) -> DestinationKind:
    """The instance for a stored destination. Raises msgspec.ValidationError for settings that the kind does not declare."""
    chosen = kind(kind_slug)
    return chosen(msgspec.convert(dict(settings), chosen.Settings), place)
