"""Slack: a message for each event, made by a template, by an incoming webhook or by chat.postMessage.

Webhooks and their error words: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
https://api.slack.com/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks
chat.postMessage: https://docs.slack.dev/reference/methods/chat.postMessage
Escaping: https://docs.slack.dev/messaging/formatting-message-text#escaping
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from headrace.destinations._answers import of_status, retry_after, said, unreadable
from headrace.destinations._bodies import object_in
from headrace.destinations._segment_json import moment
from headrace.destinations.base import (
    DELIVERED,
    Answer,
    Batching,
    DestinationSettings,
    HttpKind,
    Outgoing,
    Place,
    Prepared,
    Request,
    Result,
    described,
)
from headrace.errors import ConfigError, RejectedEventError
from headrace.event import Event
from headrace.filters import Value, compile_value

# https://api.slack.com/changelog/2018-04-truncating-really-long-messages: Slack cuts what is longer
MOST_CHARACTERS: Final = 40_000
MOST_EVENTS: Final = 100
DEFAULT_TEMPLATE: Final = "{event ?? name ?? type} by {userId ?? anonymousId ?? groupId}"

_HOLE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_HALF_ENTITY: Final = re.compile(r"&[a-z]{0,3}\Z")
_EMPTY: Final = Result(
    "failed", "PAYLOAD_VALIDATION_FAILED", "the text is empty: its template finds nothing in the event"
)
_NO_KEY: Final = frozenset(
    ("no_service", "no_service_id", "no_team", "no_active_hooks", "invalid_token", "team_disabled")
)
"""A webhook's words for an address that is none, or no longer."""
_REFUSED_TOKENS: Final = frozenset(
    (
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission"),
        *("missing_scope", "not_allowed_token_type", "access_denied", "ekm_access_denied", "org_login_required"),
    )
)
_REFUSED_CHANNELS: Final = frozenset(
    (
        *(
            "channel_not_found",
            "not_in_channel",
            "is_archived",
            "restricted_action",
            "restricted_action_read_only_channel",
        ),
        *("team_access_not_granted", "channel_is_archived"),
    )
)
_RATE_WORDS: Final = frozenset(("ratelimited", "rate_limited"))
_PASSING: Final = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org")
)


class SlackSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    webhook_url: Annotated[
        str,
        described(
            "The address of an incoming webhook, which posts to one channel. Empty: token and channel are used.",
            secret=True,
        ),
    ] = ""
    token: Annotated[str, described("A bot token with the scope `chat:write`, instead of a webhook.", secret=True)] = ""
    channel: Annotated[
        str, described("With a token: the channel's id, for example `C024BE91L`; invite the bot there.")
    ] = ""
    templates: Annotated[
        dict[str, str],
        described(
            "The message by event name, or by type for events without one; `*` for all others. `{properties.campaign_name}` is a field of "
            "the event, `{{` a brace. Slack's formatting may be used around fields."
        ),
    ] = msgspec.field(default_factory=lambda: {"*": DEFAULT_TEMPLATE})
    text_characters: Annotated[
        int, msgspec.Meta(description="A longer message is cut, and ends with ….", ge=10, le=MOST_CHARACTERS)
    ] = 3_000
    endpoint: Annotated[str, described("The address of Slack's Web API, for tokens.")] = "https://slack.com/api"
    requests_per_second: Annotated[
        float, msgspec.Meta(description="Requests a second at the most; Slack takes one in a channel.", ge=0)
    ] = 1.0
    concurrency: Annotated[int, msgspec.Meta(description="Requests at the same time.", ge=1, le=256)] = 1


class SlackKind(HttpKind):
    title = "Slack"
    summary = "A message for each event in a channel, made by a template; which events is the filter's work."
    docs_url = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
    tried = "a stand-in of the documented API; not yet a live workspace"
    setup = (
        "In Slack, make an app with an incoming webhook for the channel (https://api.slack.com/apps), or one with the scope chat:write.",
        "Set a filter: Slack takes one message a second.",
    )
    drops_repeats = "Not at all: an event that is sent again is posted again."
    # fields of the message beside its text: https://docs.slack.dev/reference/methods/chat.postMessage
    mapping: ClassVar[Mapping[str, Mapping[str, Any]]] = {"*": {"unfurl_links": {"constant": False}}}
    batching = Batching(events=MOST_EVENTS)
    Settings = SlackSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for a template that is none, and without exactly one way to post."""
        super().__init__(settings, place)
        self._own = own = cast("SlackSettings", settings)
        if bool(own.webhook_url) == bool(own.token) or bool(own.token) != bool(own.channel):
            raise ConfigError("destination: set webhook_url, or token and channel")
        self._url = own.webhook_url or f"{own.endpoint.rstrip('/')}/chat.postMessage"
        if not self._url.startswith(("https://", "http://")):
            raise ConfigError("destination: webhook_url and endpoint must begin with https://")
        self._headers = {"content-type": "application/json; charset=utf-8"}
        if own.token:
            self._headers["authorization"] = f"Bearer {own.token}"
        templates = {"*": DEFAULT_TEMPLATE, **own.templates}
        self._templates = {name: _Template(name, text) for name, text in templates.items()}

    @property
    def limits(self) -> Batching:
        """A message for each event, unless the settings want several events in one."""
        return self.batching._replace(events=min(self.settings.batch_events or 1, MOST_EVENTS))

    def warnings(self) -> Sequence[str]:
        if self._own.filter.strip() or self._own.sample_percent < 100:
            return ()
        return ("without a filter every event is posted, while Slack takes one message a second: set filter",)

    def refusals(self, batch: Sequence[Prepared]) -> Mapping[int, Result]:
        texts = self._texts(batch)
        return {place: text for place, text in texts.items() if isinstance(text, Result)}

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        """Events share a message as far as it takes them and their other fields are equal."""
        made: list[tuple[dict[str, Any], list[str], list[int]]] = []
        for place, text in self._texts(batch).items():
            if isinstance(text, Result):
                continue
            fields = {name: value for name, value in (batch[place].fields or {}).items() if name != "text"}
            last, lines, _ = made[-1] if made else ({}, [], [])
            is_full = len(lines) == self.limits.events or sum(map(len, [*lines, text])) + len(lines) > MOST_CHARACTERS
            if not made or is_full or last != fields:
                made.append((fields, [], []))
            made[-1][1].append(text)
            made[-1][2].append(place)
        return [Outgoing(self._request(fields, "\n".join(lines)), places) for fields, lines, places in made]

    def _request(self, fields: Mapping[str, Any], text: str) -> Request:
        channel = {"channel": self._own.channel} if self._own.token else {}
        return Request("POST", self._url, self._headers, msgspec.json.encode({**channel, **fields, "text": text}))

    def _texts(self, batch: Sequence[Prepared]) -> Mapping[int, str | Result]:
        found: dict[int, str | Result] = {}
        for place, prepared in enumerate(batch):
            try:
                text = self._text(prepared)
            except RejectedEventError as error:
                found[place] = Result("failed", "PAYLOAD_VALIDATION_FAILED", str(error)[:1_000])
                continue
            found[place] = text if text.strip() else _EMPTY
        return found

    def _text(self, prepared: Prepared) -> str:
        """A text that the mapping made is data as a whole; of a template only its fields are."""
        mapped = (prepared.fields or {}).get("text")
        if mapped is not None:
            text = _escaped(str(mapped))
        else:
            event = prepared.event
            name = event.event if event.event in self._templates else event.type
            text = self._templates.get(name or "", self._templates["*"]).of(event)
        if len(text) <= self._own.text_characters:
            return text
        return _HALF_ENTITY.sub("", text[: self._own.text_characters - 1]) + "…"

    def results(self, outgoing: Outgoing, batch: Sequence[Prepared], answer: Answer) -> Sequence[Result]:
        del batch
        is_several = len(outgoing.events) > 1
        told = self._of_token if self._own.token else self._of_webhook
        result = told(answer, is_several=is_several)
        return [result] * len(outgoing.events)

    def _of_webhook(self, answer: Answer, *, is_several: bool) -> Result:
        word = answer.body[:100].decode("utf-8", "replace").strip()
        if answer.status == 200:
            return DELIVERED if word == "ok" else unreadable(answer)
        if answer.status in (403, 404) and word in _NO_KEY:
            return Result("failed", "INVALID_AUTHENTICATION", said(answer))
        if answer.status == 404:  # channel_not_found, or an address that is no webhook's
            return Result("failed", "INVALID_SETTINGS", said(answer))
        # 410 is channel_is_archived; 403 action_prohibited, which an administrator can change
        result = of_status(answer, self.place.now(), whole=is_several)
        return unreadable(answer) if result.outcome == "delivered" else result

    def _of_token(self, answer: Answer, *, is_several: bool) -> Result:
        """200 for everything that Slack understood, and `ok` in it."""
        if answer.status != 200:
            result = of_status(answer, self.place.now(), whole=is_several)
            return unreadable(answer) if result.outcome == "delivered" else result
        body = object_in(answer.body)
        word = body.get("error")
        if body.get("ok") is True:
            return DELIVERED
        if body.get("ok") is not False or not isinstance(word, str):
            return unreadable(answer)
        if word in _RATE_WORDS:
            wait = retry_after(answer, self.place.now())
            return Result("retry", "429", said(answer), retry_after_seconds=wait)
        if word in _PASSING:
            return Result("retry", "SERVER_ERROR", said(answer))
        if word in _REFUSED_TOKENS:
            return Result("failed", "INVALID_AUTHENTICATION", said(answer))
        if word in _REFUSED_CHANNELS:
            return Result("failed", "INVALID_SETTINGS", said(answer))
        return Result("failed", "MESSAGE_REJECTED", said(answer), is_whole_request=is_several)


class _Template:
    """Texts, which Slack may format, and fields of the event, which it must not."""

    def __init__(self, name: str, text: str) -> None:
        """Raises ConfigError that names the template and what was expected."""
        self._parts: list[str | Value] = []
        end = 0
        for hole in _HOLE.finditer(text):
            self._between(name, text[end : hole.start()])
            try:
                self._parts.append(hole[0][0] if hole[1] is None else compile_value(hole[1]))
            except ConfigError as error:
                text_of_it = str(error).removeprefix("mapping: ")
                raise ConfigError(f"destination: templates: {name[:100]}: {text_of_it}") from None
            end = hole.end()
        self._between(name, text[end:])

    def _between(self, name: str, text: str) -> None:
        if "{" in text or "}" in text:
            raise ConfigError(
                f"destination: templates: {name[:100]} has a brace without its other one; write {{{{ for a brace itself"
            )
        self._parts.append(text)

    def of(self, event: Event) -> str:
        trees: dict[str, Any] = {}
        return "".join(
            part if isinstance(part, str) else _escaped(_shown(part.of(event, trees))) for part in self._parts
        )


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return moment(value) if isinstance(value, datetime) else msgspec.json.encode(value).decode()


def _escaped(text: str) -> str:
    """The three characters that Slack gives a meaning.

    >>> _escaped("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
