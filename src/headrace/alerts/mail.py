"""A notice as an e-mail: by SMTP, over TLS or STARTTLS, with a login; the addresses that are connected to are checked, everything is bounded.

OAuth logins (XOAUTH2) and addresses beyond ASCII are not supported. RFC 5321 (SMTP), 3207 (STARTTLS), 3834 (Auto-Submitted).
"""

from __future__ import annotations

import base64
import contextlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from headrace.catalog import described
from headrace.destinations.base import ANSWER_BYTES, DELIVERED, Result
from headrace.workspace.secret_settings import MASK

STEP_SECONDS: Final = 10.0
"""For connecting, and for each answer."""
WHOLE_SECONDS: Final = 30.0
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_RECIPIENTS: Final = 50
_ADDRESSES: Final = 3
"""Of a name so many are tried at the most."""
_REASON: Final = 1_000

Refusal = Callable[[str], str | None]


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    host: Annotated[str, described("The SMTP server.")]
    port: Annotated[int, msgspec.Meta(description="Usual are 587 for starttls and 465 for tls.", ge=1, le=65_535)] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        described("starttls, tls (from the first byte) or none, which allows no login."),
    ] = "starttls"
    username: Annotated[str, described("Of the login. Empty: none.")] = ""
    password: Annotated[str, described("Of the login.", secret=True)] = ""
    sender: Annotated[str, described("The address that notices come from.")]
    to: Annotated[str, described("The addresses that notices go to, with commas between them.")]
    ca_file: Annotated[str, described("A PEM file of an authority of your own. Empty: the system's.")] = ""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        for address in (self.sender, *self.recipients):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address[:80]!r} is no address such as ops@example.com")
        if not 1 <= len(self.recipients) <= _RECIPIENTS:
            raise ValueError(f"to: give 1 to {_RECIPIENTS} addresses")
        if self.username and self.security == "none":
            raise ValueError("security: a login needs starttls or tls, so that the password is not sent in clear")
        if not self.host.strip() or not self.host.isprintable():
            raise ValueError("host: give the name of the SMTP server")

    @property
    def recipients(self) -> list[str]:
        return [address.strip() for address in self.to.split(",") if address.strip()]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def mail(settings: MailSettings, identity: str, subject: str, text: str, refusal: Refusal, now: datetime) -> Result:
    """Sends it. `identity` is the same when it is sent again: many programs then show it once."""
    try:
        with _connection(settings, refusal) as smtp:
            if settings.username:
                smtp.login(settings.username, settings.password)
            refused = smtp.send_message(_written(settings, identity, subject, text, now))
    except _AddressRefusedError as error:
        return Result("failed", "ADDRESS_REFUSED", str(error))
    except (smtplib.SMTPException, OSError, ValueError) as error:
        failure = _failure(error)
        return msgspec.structs.replace(failure, detail=_without_login(failure.detail, settings))
    if refused:  # the others have it: sending again would repeat it to them
        return Result("delivered", detail=f"some addresses were refused: {_refused(refused)}")
    return DELIVERED


def _written(settings: MailSettings, identity: str, subject: str, text: str, now: datetime) -> EmailMessage:
    written = EmailMessage(policy=SMTP)
    written["From"] = settings.sender
    written["To"] = ", ".join(settings.recipients)
    written["Subject"] = subject
    written["Date"] = format_datetime(now)
    written["Message-ID"] = f"<{identity}@{settings.sender.rpartition('@')[2]}>"
    written["Auto-Submitted"] = "auto-generated"
    written.set_content(text)
    return written


class _AddressRefusedError(OSError):
    """The server's address must not be reached."""


class _Bounded:
    """What a server says, up to a bound: beyond it the connection counts as closed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = ANSWER_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(min(size, self._left)) if self._left > 0 else b""
        self._left -= len(line)
        return line if self._left > 0 else b""

    def close(self) -> None:
        self._file.close()


class _Smtp(smtplib.SMTP):
    """Connects to checked addresses only, reads a bounded answer, and ends after WHOLE_SECONDS whatever it is doing: a server that
    drips its answers keeps to every step's limit."""

    def __init__(self, settings: MailSettings, refusal: Refusal, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._refusal = refusal
        self._tls = tls
        self._twin: socket.socket | None = None
        self._watch = threading.Timer(WHOLE_SECONDS, self._end)
        self._watch.daemon = True
        self.is_overdue = False
        name = socket.gethostname()
        super().__init__(local_hostname=name if "." in name else "[127.0.0.1]", timeout=STEP_SECONDS)
        self._host = settings.host  # by which the certificate is checked

    def open(self) -> None:
        self._watch.start()
        code, said = self.connect(self._settings.host, self._settings.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self._settings.security == "starttls":
            self.starttls(context=self._tls)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Where smtplib lets its own SMTP_SSL open another kind of socket."""
        connected = _connected(host, port, timeout, self._refusal)
        self._twin = connected.dup()  # of the same connection, whatever TLS makes of the first
        if self._settings.security != "tls" or self._tls is None:
            return connected
        return self._tls.wrap_socket(connected, server_hostname=host)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()

    def close(self) -> None:
        self._watch.cancel()
        super().close()
        if self._twin is not None:
            self._twin.close()

    def _end(self) -> None:
        self.is_overdue = True
        if self._twin is not None:
            with contextlib.suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)


def _connected(host: str, port: int, timeout: float, refusal: Refusal) -> socket.socket:
    """To the first of the name's addresses that answers; each is checked at the moment it is connected to."""
    problem: OSError = OSError(f"{host} has no address")
    for _, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:_ADDRESSES]:
        ip = str(address[0])
        if reason := refusal(ip):
            problem = _AddressRefusedError(f"{host} is {ip}, which is {reason}")
            continue
        try:
            return socket.create_connection((ip, port), timeout)
        except OSError as error:
            problem = error
    raise problem


@contextmanager
def _connection(settings: MailSettings, refusal: Refusal) -> Iterator[_Smtp]:
    tls = ssl.create_default_context(cafile=settings.ca_file or None) if settings.security != "none" else None
    smtp = _Smtp(settings, refusal, tls)
    try:
        smtp.open()
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # the server has the mail by now, whatever it answers
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        if smtp.is_overdue:
            raise TimeoutError(f"{settings.host} took longer than {WHOLE_SECONDS:g} seconds") from error
        raise
    finally:
        smtp.close()


def _failure(error: Exception) -> Result:
    """Answers of 4xx pass (RFC 5321, 4.2.1), so do broken connections; a wrong login, certificate or address does not."""
    reason = str(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        outcome: Literal["retry", "failed"] = "failed" if all(code >= 500 for code in codes) else "retry"
        return Result(outcome, "MESSAGE_REJECTED", f"no address was taken: {_refused(error.recipients)}"[:_REASON])
    if isinstance(error, smtplib.SMTPResponseException):
        said = " ".join(_text(error.smtp_error).split())
        is_login = isinstance(error, smtplib.SMTPAuthenticationError)
        code = "INVALID_AUTHENTICATION" if is_login else "MESSAGE_REJECTED"
        outcome = "failed" if error.smtp_code >= 500 else "retry"
        return Result(outcome, code, f"{error.smtp_code} {said}"[:_REASON])
    if isinstance(error, ssl.SSLCertVerificationError):
        return Result("failed", "ETLS", reason[:_REASON])
    if isinstance(error, smtplib.SMTPNotSupportedError | ValueError | FileNotFoundError):
        return Result("failed", "INVALID_SETTINGS", reason[:_REASON])
    return Result("retry", _network_code(error), (reason or type(error).__name__)[:_REASON])


def _network_code(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    if isinstance(error, ConnectionRefusedError):
        return "ECONNREFUSED"
    if isinstance(error, ssl.SSLError):
        return "ETLS"
    return "ENOTFOUND" if isinstance(error, socket.gaierror) else "ECONNRESET"


def _without_login(text: str, settings: MailSettings) -> str:
    """A server may quote what it was sent, which is the login in base64 (RFC 4616); in clear it is masked with the other secrets."""
    for part in (f"\0{settings.username}\0{settings.password}", settings.password):
        if settings.password:
            text = text.replace(base64.b64encode(part.encode()).decode(), MASK)
    return text


def _refused(recipients: Any) -> str:
    return "; ".join(
        f"{address}: {code} {' '.join(_text(reason).split())}" for address, (code, reason) in recipients.items()
    )


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
