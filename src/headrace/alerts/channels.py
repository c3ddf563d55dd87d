"""The kinds of channels: Slack, a webhook, e-mail. A channel sends one notice at a time, within limits of time, and says how that went.

What goes out over HTTP goes through the `Http` of destinations, which checks addresses; mail asks `Outside.refusal` itself.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from headrace.alerts import notices
from headrace.alerts.mail import MailSettings, mail
from headrace.alerts.notices import Notice
from headrace.catalog import described
from headrace.destinations.base import (
    DestinationSettings,
    Http,
    HttpKind,
    Outgoing,
    Place,
    Prepared,
    Request,
    Result,
)
from headrace.destinations.webhook import WebhookKind, WebhookSettings
from headrace.errors import ConfigError, NotFoundError
from headrace.event import Event


class Outside(NamedTuple):
    """What a channel has of the world. `http` opens what sends requests, within the event loop that then sends; `refusal` says why an
    address (an IP address as text) must not be reached, None when it may."""

    http: Callable[[], AbstractAsyncContextManager[Http]]
    refusal: Callable[[str], str | None]
    now: Callable[[], datetime]


class Channel:
    """A kind of channel; an instance is what was configured."""

    slug: ClassVar[str]
    summary: ClassVar[str]
    docs_url: ClassVar[str]
    Settings: ClassVar[type[msgspec.Struct]]

    def __init__(self, settings: msgspec.Struct) -> None:
        self.settings = settings

    def send(self, notice: Notice, outside: Outside) -> Result:
        """Blocks, for half a minute at the most. Never raises for what the network or the tool does."""
        raise NotImplementedError


class SlackSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[
        str,
        described("The incoming webhook's address, https://hooks.slack.com/services/...; it is a secret.", secret=True),
    ]

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _web(self.url)


class Slack(Channel):
    slug = "slack"
    summary = "A Slack channel, by an incoming webhook. Mattermost and Rocket.Chat take the same."
    docs_url = "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"
    Settings = SlackSettings

    def send(self, notice: Notice, outside: Outside) -> Result:
        url = cast("SlackSettings", self.settings).url
        kind = _SlackText(DestinationSettings(), _place(outside), url)
        return _sent(kind, notice, {"text": notices.slack_text(notice)}, outside)


class _SlackText(HttpKind):
    def __init__(self, settings: DestinationSettings, place: Place, url: str) -> None:
        super().__init__(settings, place)
        self._url = url

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        return [
            Outgoing(Request("POST", self._url, {"content-type": "application/json"}, prepared.json()), (place,))
            for place, prepared in enumerate(batch)
        ]


class WebhookChannelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[
        str, described("The address that notices are POSTed to, http or https; its path is a secret.", secret=True)
    ]
    secret: Annotated[
        str,
        described(
            "Signs each request as Standard Webhooks says: `whsec_` and base64 of 24 to 64 random bytes. Empty: not signed.",
            secret=True,
        ),
    ] = ""
    shared_secret: Annotated[
        str, described("Adds Segment's X-Signature, the hex HMAC-SHA1 of the body under this text.", secret=True)
    ] = ""
    headers: Annotated[
        dict[str, str], described("Further headers, for example an Authorization, as an object.", secret=True)
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _web(self.url)
        if self.secret and not _is_signing(self.secret):
            raise ValueError(
                "secret must be whsec_ and base64 of 24 to 64 random bytes; make one: echo whsec_$(openssl rand -base64 32)"
            )
        try:
            WebhookKind(self.as_destination(), Place("alerts", Path()))
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("destination: ")) from None

    def as_destination(self) -> WebhookSettings:
        return WebhookSettings(
            url=self.url, secret=self.secret, shared_secret=self.shared_secret, headers=dict(self.headers)
        )


class Webhook(Channel):
    slug = "webhook"
    summary = "Any address of your own: each notice as JSON by POST, signed as events to a webhook are."
    docs_url = "https://www.standardwebhooks.com"
    Settings = WebhookChannelSettings

    def send(self, notice: Notice, outside: Outside) -> Result:
        settings = cast("WebhookChannelSettings", self.settings).as_destination()
        return _sent(WebhookKind(settings, _place(outside)), notice, notices.as_json(notice), outside)


class Email(Channel):
    slug = "email"
    summary = "E-mail, by any SMTP server, with STARTTLS or TLS and a login."
    docs_url = "https://www.rfc-editor.org/rfc/rfc5321"
    Settings = MailSettings

    def send(self, notice: Notice, outside: Outside) -> Result:
        return mail(
            cast("MailSettings", self.settings),
            notice.id,
            notices.subject(notice),
            notices.text(notice),
            outside.refusal,
            outside.now(),
        )


CHANNELS: Final[Mapping[str, type[Channel]]] = {kind.slug: kind for kind in (Slack, Webhook, Email)}


def kind(slug: str) -> type[Channel]:
    """Raises NotFoundError that lists what there is."""
    found = CHANNELS.get(slug)
    if found is None:
        raise NotFoundError(f"alert channel: there is no kind {slug[:60]!r}; there is {', '.join(CHANNELS)}")
    return found


def configured(slug: str, settings: Mapping[str, Any]) -> Channel:
    """Raises NotFoundError, and msgspec.ValidationError for settings that the kind does not take."""
    chosen = kind(slug)
    return chosen(msgspec.convert(dict(settings), chosen.Settings))


def _sent(kind: HttpKind, notice: Notice, fields: Mapping[str, Any], outside: Outside) -> Result:
    event = Event("headrace", "track", notice.id, notice.created_at, notice.created_at, event="Alert")

    async def send() -> Result:
        async with outside.http() as http:
            return (await kind.send([Prepared(event, fields)], http))[0]

    return asyncio.run(send())


def _place(outside: Outside) -> Place:
    return Place("alerts", Path(), outside.now)


def _is_signing(secret: str) -> bool:
    try:
        return 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64
    except ValueError:
        return False


def _web(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must begin with http:// or https:// and name a host")
