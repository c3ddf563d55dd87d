"""Webhook: each event, or a batch of them, as JSON to an address of one's own, signed so that the receiver can trust it.

The signature is that of https://www.standardwebhooks.com (`webhook-id`, `webhook-timestamp`, `webhook-signature`), and, on request, Segment's
`X-Signature`: the hex HMAC-SHA1 of the body (https://segment.com/docs/connections/destinations/catalog/webhooks/).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, cast
from urllib.parse import urlsplit

import msgspec

from headrace.destinations.base import (
    Batching,
    DestinationSettings,
    HttpKind,
    Outgoing,
    Place,
    Prepared,
    Request,
    described,
)
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from standardwebhooks.webhooks import Webhook

MOST_EVENTS: Final = 1_000
_OURS: Final = ("host", "content-length", "transfer-encoding", "connection")


class WebhookSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, described("The address that events are POSTed to, http or https.")]
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


class WebhookKind(HttpKind):
    title = "Webhooks"
    summary = "Any address of your own: each event as JSON by POST, signed; in batches where `batch_events` says so."
    docs_url = "https://www.standardwebhooks.com"
    tried = "receivers on this machine, and the standardwebhooks library; signatures by that standard's own vector"
    setup = ("Have something listen at the address that answers 2xx once it has the event.",)
    drops_repeats = "By messageId in the body, which is also the header webhook-id where a request has one event."
    batching = Batching(events=MOST_EVENTS, bytes=4_000_000)
    Settings = WebhookSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for an address that is none and a secret that cannot sign."""
        super().__init__(settings, place)
        self._own = cast("WebhookSettings", settings)
        if urlsplit(self._own.url).scheme not in ("http", "https"):
            raise ConfigError("destination: url must begin with http:// or https://")
        self._headers = {name.lower(): value for name, value in self._own.headers.items()}
        if taken := [name for name in self._headers if name in _OURS]:
            raise ConfigError(f"destination: the header {taken[0]} is set by headrace itself; take it out of headers")
        self._signer = _signer(self._own.secret) if self._own.secret else None

    @property
    def limits(self) -> Batching:
        """One event a request unless the settings say more."""
        return self.batching._replace(events=min(self.settings.batch_events or 1, MOST_EVENTS))

    def requests(self, batch: Sequence[Prepared]) -> Sequence[Outgoing]:
        bodies = [prepared.json() for prepared in batch]
        if self.limits.events == 1:
            return [
                Outgoing(self._request(body, prepared.event.message_id), (place,))
                for place, (body, prepared) in enumerate(zip(bodies, batch, strict=True))
            ]
        identity = hashlib.sha256("\n".join(prepared.event.message_id for prepared in batch).encode()).hexdigest()
        return [Outgoing(self._request(b"[" + b",".join(bodies) + b"]", f"batch_{identity[:32]}"), range(len(batch)))]

    def _request(self, body: bytes, identity: str) -> Request:
        headers = {"content-type": "application/json", **self._headers, "webhook-id": identity}
        now = self.place.now()
        headers["webhook-timestamp"] = str(int(now.timestamp()))
        if self._signer is not None:
            headers["webhook-signature"] = self._signer.sign(identity, now, body.decode())
        if self._own.shared_secret:
            headers["x-signature"] = hmac.new(self._own.shared_secret.encode(), body, hashlib.sha1).hexdigest()
        return Request("POST", self._own.url, headers, body)


def _signer(secret: str) -> Webhook:
    from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook  # noqa: PLC0415 -- not when the catalogue is listed

    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise ConfigError(
            f"destination: secret must be whsec_ and base64 of random bytes ({error}); make one: echo whsec_$(openssl rand -base64 32)"
        ) from None
