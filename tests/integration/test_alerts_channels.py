"""The three kinds of channels against stand-ins on this machine, over the connections that a server uses."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from headrace.alerts import channels, mail
from headrace.alerts.base import Finding
from headrace.alerts.channels import Outside
from headrace.alerts.notices import Notice, Part
from headrace.alerts.outside import outside
from headrace.config import Config
from headrace.destinations.base import Result
from mail_server import MailServer, certificate

ALLOWED = outside(Config(allowed_networks="127.0.0.0/8"))
SINCE = datetime.now(UTC) - timedelta(minutes=45)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PASSWORD = "geheim-und-lang"

PART = Part(
    "deliveries",
    "Deliveries & <more>",
    "delivery-rate",
    "began",
    Finding(
        "crm",
        "bad",
        title="Delivery to *CRM* <!channel> fails",
        what="Only 42 % arrived.\r\nSubject: injected\u202e & <https://evil.example|click>",
        usual="Usual is 99.9 %.",
        remedy="Mend it.",
        look="headrace delivery show crm",
        figures={"rate": 0.42},
    ),
    SINCE,
    time_zone="Europe/Brussels",
)
NOTICE = Notice("alert_4711", datetime.now(UTC), (PART,))


class Receiver(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, Mapping[str, str], bytes]]] = []
    answer: ClassVar[tuple[int, bytes]] = (200, b"ok")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.answer[0])
        self.send_header("content-length", str(len(self.answer[1])))
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    """Its address."""
    Receiver.seen.clear()
    Receiver.answer = (200, b"ok")
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def sent(kind: str, settings: Mapping[str, Any], world: Outside = ALLOWED) -> Result:
    return channels.configured(kind, settings).send(NOTICE, world)


# Slack


def test_slack_gets_a_text_that_nothing_in_it_can_turn_into_a_call_or_a_link(receiver: str) -> None:
    assert "delivered" == sent("slack", {"url": f"{receiver}/services/T/B/x"}).outcome
    ((path, headers, body),) = Receiver.seen
    assert ("/services/T/B/x", "application/json") == (path, headers["content-type"])
    text = json.loads(body)["text"]
    assert "*Delivery to ∗CRM∗ &lt;!channel&gt; fails*" == text.splitlines()[0]
    assert "Only 42 % arrived. Subject: injected &amp; &lt;https://evil.example|click&gt;" == text.splitlines()[1]
    assert ["Usual is 99.9 %.", "What to do: Mend it.", "Look: headrace delivery show crm"] == text.splitlines()[3:6]
    assert "Alert: Deliveries &amp; &lt;more&gt;, deliveries" == text.splitlines()[6]
    assert text.splitlines()[2].startswith("Since ")
    assert "(45 minutes)" in text.splitlines()[2]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(404, b"no_service", "failed"), (410, b"channel_is_archived", "retry"), (429, b"", "retry"), (500, b"", "retry")],
)
def test_what_slack_answers_is_told(receiver: str, status: int, body: bytes, expected: str) -> None:
    Receiver.answer = (status, body)
    result = sent("slack", {"url": f"{receiver}/x"})
    assert (expected, f"{status} {body.decode()}".strip()) == (result.outcome, result.detail)


# a webhook


def test_a_webhook_gets_json_that_is_signed_as_events_to_a_webhook_are(receiver: str) -> None:
    settings = {
        "url": f"{receiver}/x",
        "secret": SECRET,
        "shared_secret": "s",
        "headers": {"Authorization": "Bearer t"},
    }
    assert "delivered" == sent("webhook", settings).outcome
    ((_, headers, body),) = Receiver.seen
    told = Webhook(SECRET).verify(body, dict(headers))
    assert ("alert_4711", "Bearer t") == (headers["webhook-id"], headers["authorization"])
    assert hmac.new(b"s", body, hashlib.sha1).hexdigest() == headers["x-signature"]
    assert ("headrace.alert", "alert_4711") == (told["type"], told["id"])
    (alert,) = told["alerts"]
    assert {
        "alert": "deliveries",
        "nickname": "Deliveries & <more>",
        "condition": "delivery-rate",
        "state": "began",
        "subject": "crm",
        "title": "Delivery to *CRM* <!channel> fails",
        "what": "Only 42 % arrived. Subject: injected & <https://evil.example|click>",
        "usual": "Usual is 99.9 %.",
        "what_to_do": "Mend it.",
        "look": "headrace delivery show crm",
        "since": SINCE.isoformat(),
        "until": None,
        "lasted_seconds": None,
        "figures": {"rate": 0.42},
    } == alert
    with pytest.raises(WebhookVerificationError):  # the control
        Webhook("whsec_" + "A" * 32).verify(body, dict(headers))


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("slack", {"url": "ftp://x"}, "http"),
        ("slack", {"url": "https://"}, "host"),
        ("webhook", {"url": "https://x", "secret": "whsec_!"}, "secret"),
        ("webhook", {"url": "https://x", "secret": "whsec_c2hvcnQ="}, "24 to 64"),
        ("webhook", {"url": "https://x", "headers": {"Host": "y"}}, "host"),
        ("email", {"host": "x", "sender": "a@b.c", "to": "nobody"}, "no address"),
        ("email", {"host": "x", "sender": "a@b.c\nBcc: d@e.f", "to": "a@b.c"}, "no address"),
        ("email", {"host": "x", "sender": "a@b.c", "to": ","}, "1 to 50"),
        ("email", {"host": "x", "sender": "a@b.c", "to": "a@b.c", "security": "none", "username": "u"}, "in clear"),
    ],
)
def test_settings_that_cannot_work_are_refused(kind: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=text):
        channels.configured(kind, settings)


# addresses


@pytest.mark.parametrize("kind", ["slack", "webhook"])
def test_addresses_that_are_not_allowed_are_not_reached(receiver: str, kind: str) -> None:
    result = sent(kind, {"url": f"{receiver}/x"}, outside(Config()))
    assert ("failed", "ADDRESS_REFUSED") == (result.outcome, result.code)
    assert [] == Receiver.seen
    assert "delivered" == sent(kind, {"url": f"{receiver}/x"}).outcome  # the control


def test_a_mail_server_whose_address_is_not_allowed_is_not_reached() -> None:
    with MailServer() as server:
        result = sent("email", settings_of(server), outside(Config()))
        assert ("failed", "ADDRESS_REFUSED") == (result.outcome, result.code)
        assert "HEADRACE_ALLOWED_NETWORKS" in result.detail
        assert [] == server.said
        assert "delivered" == sent("email", settings_of(server)).outcome  # the control


# e-mail


def settings_of(server: MailServer, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "security": server.security,
        "sender": "headrace@example.com",
        "to": "ops@example.com, ada@example.com",
        **more,
    }


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@contextmanager
def secured(pem: Path, security: Any) -> Iterator[tuple[MailServer, dict[str, Any]]]:
    with MailServer(security, pem, ("ada", PASSWORD)) as server:
        yield server, settings_of(server, username="ada", password=PASSWORD, ca_file=str(pem))


def test_a_mail_says_it_all_and_answers_no_robots() -> None:
    with MailServer() as server:
        assert "delivered" == sent("email", settings_of(server)).outcome
    (written,) = server.mails
    assert "headrace: Delivery to *CRM* <!channel> fails" == written["Subject"]
    assert ("headrace@example.com", "ops@example.com, ada@example.com") == (written["From"], written["To"])
    assert ("<alert_4711@example.com>", "auto-generated") == (written["Message-ID"], written["Auto-Submitted"])
    assert written["Date"]
    text = written.get_content()
    assert "Only 42 % arrived. Subject: injected & <https://evil.example|click>" == text.splitlines()[1]
    assert {"RCPT TO:<ops@example.com>", "RCPT TO:<ada@example.com>"} <= {
        line.replace("rcpt", "RCPT") for line in server.said
    }


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_over_tls_it_logs_in_and_sends(pem: Path, security: str) -> None:
    with secured(pem, security) as (server, settings):
        assert "delivered" == sent("email", settings).outcome
        assert 1 == len(server.mails)
        assert any(line.startswith("AUTH ") for line in server.said)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_nobody_vouches_for_gets_no_password(pem: Path, security: str) -> None:
    with secured(pem, security) as (server, settings):
        result = sent("email", {**settings, "ca_file": ""})
        assert ("failed", "ETLS") == (result.outcome, result.code)
        assert [] == [line for line in server.said if line.startswith("AUTH")]


def test_a_server_without_starttls_gets_no_password() -> None:
    with MailServer("none", None, ("ada", PASSWORD)) as server:
        result = sent("email", settings_of(server, security="starttls", username="ada", password=PASSWORD))
        assert ("failed", "INVALID_SETTINGS") == (result.outcome, result.code)
        assert [] == [line for line in server.said if line.startswith("AUTH")]


@pytest.mark.parametrize(
    ("fault", "outcome", "code"),
    [
        ({"replies": {"greeting": "421 busy"}}, "retry", "MESSAGE_REJECTED"),
        ({"replies": {"RCPT": "550 no such user"}}, "failed", "MESSAGE_REJECTED"),
        ({"replies": {"RCPT": "450 later"}}, "retry", "MESSAGE_REJECTED"),
        ({"replies": {"MAIL": "553 not you"}}, "failed", "MESSAGE_REJECTED"),
        ({"replies": {".": "552 too large"}}, "failed", "MESSAGE_REJECTED"),
        ({"replies": {".": "451 later"}}, "retry", "MESSAGE_REJECTED"),
        ({"replies": {"QUIT": "500 what"}}, "delivered", ""),
        ({"cuts": "RCPT"}, "retry", "ECONNRESET"),
        ({"cuts": "."}, "retry", "ECONNRESET"),
        ({"cuts": "QUIT"}, "delivered", ""),
        ({"replies": {"greeting": "220-x\r\n" * 10_000 + "220 test"}}, "retry", "ECONNRESET"),
        ({"replies": {"greeting": "220-x\r\n" * 9_000 + "220 test"}}, "delivered", ""),
    ],
)
def test_what_a_mail_server_answers_is_told(fault: dict[str, Any], outcome: str, code: str) -> None:
    with MailServer(**fault) as server:
        result = sent("email", settings_of(server))
    assert (outcome, code) == (result.outcome, result.code), result.detail


def test_a_wrong_login_is_said(pem: Path) -> None:
    with secured(pem, "starttls") as (_, settings):
        result = sent("email", {**settings, "password": "wrong"})
    assert ("failed", "INVALID_AUTHENTICATION") == (result.outcome, result.code)


def test_nobody_listening_and_no_such_name_are_tried_again() -> None:
    with MailServer() as server:
        settings = settings_of(server)
    assert "ECONNREFUSED" == sent("email", settings).code
    assert "ENOTFOUND" == sent("email", {**settings, "host": "nonesuch.invalid"}).code


def test_a_server_that_drips_its_greeting_is_left_after_the_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "WHOLE_SECONDS", 0.3)
    with MailServer(drips=True) as server:
        result = sent("email", settings_of(server))
    assert ("retry", "ETIMEDOUT", "127.0.0.1 took longer than 0.3 seconds") == (
        result.outcome,
        result.code,
        result.detail,
    )
