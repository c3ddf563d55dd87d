"""The signatures of the webhook kind, against the standard's own library and a vector of it, and against Segment's form."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from headrace.destinations import base
from headrace.destinations.base import Place, Prepared, Request
from headrace.destinations.webhook import WebhookKind
from headrace.errors import ConfigError
from segment_events import event_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://example.com/hook"


def kind(now: datetime | None = None, **settings: object) -> WebhookKind:
    place = Place("hook", Path("unused"), lambda: now or datetime.now(UTC))
    made = base.configured("webhook", {"url": URL, **settings}, place)
    assert isinstance(made, WebhookKind)
    return made


def request(made: WebhookKind, count: int = 1) -> Request:
    batch = [Prepared(event_of({"type": "track", "event": "Ü €", "messageId": f"m-{n}"})) for n in range(count)]
    (outgoing,) = made.requests(batch)
    return outgoing.request


@pytest.mark.parametrize("count", [1, 3])
def test_the_standards_library_verifies_what_is_sent(count: int) -> None:
    sent = request(kind(secret=SECRET, batch_events=count), count)
    assert json.loads(sent.body) == Webhook(SECRET).verify(sent.body, dict(sent.headers))


def test_a_changed_body_or_another_secret_is_noticed() -> None:
    """The control of the test above."""
    sent = request(kind(secret=SECRET))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(sent.body + b" ", dict(sent.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(sent.body, dict(sent.headers))


def test_the_vector_of_the_standard() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, libraries' test of sign()."""
    made = kind(datetime.fromtimestamp(1614265330, UTC), secret=SECRET)
    sent = made._request(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert sent.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (sent.headers["webhook-id"], sent.headers["webhook-timestamp"]) == (
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
    )


def test_segments_signature_is_the_hex_hmac_of_the_body() -> None:
    sent = request(kind(shared_secret="quiet"))
    assert sent.headers["x-signature"] == hmac.new(b"quiet", sent.body, hashlib.sha1).hexdigest()
    assert "x-signature" not in request(kind()).headers


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_", "not base64 at all é"])
def test_a_secret_that_cannot_sign_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="secret must be"):
        kind(secret=secret)


@pytest.mark.parametrize("name", ["Host", "content-length"])
def test_headers_of_the_connection_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="set by headrace itself"):
        kind(headers={name: "x"})
