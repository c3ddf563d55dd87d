"""A small SMTP server for tests, on loopback: EHLO, STARTTLS or TLS, AUTH, one mail after the other; and it misbehaves as it is told."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """A PEM file with a key and a certificate that signs itself, for an address of this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "mail.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@dataclass
class MailServer:
    """`replies` are given in place of what a command (`RCPT`, `DATA`, `AUTH`, `.` for the end of a mail, `QUIT`, `greeting`) would get.
    `cuts` names the command at which the connection is cut, `drips` sends a greeting without an end."""

    security: Literal["starttls", "tls", "none"] = "none"
    pem: Path | None = None
    login: tuple[str, str] | None = None
    replies: dict[str, str] = field(default_factory=dict)
    cuts: str = ""
    drips: bool = False
    mails: list[EmailMessage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with _Conversation(self, connection) as conversation:
                conversation.speak()


class _Conversation:
    """With one client, to its end."""

    def __init__(self, server: MailServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        connection.settimeout(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        self._connection.close()
        return isinstance(error, OSError)  # the client hung up, as tests want it to

    def speak(self) -> None:
        server = self._server
        if server.security == "tls":
            self._secure()
        if server.drips:
            self._drip()
            return
        self._say(server.replies.get("greeting", "220 test"))
        while line := self._line():
            server.said.append(line)
            word = line.split()[0].upper()
            if word == server.cuts:
                return
            reply = server.replies.get(word) or self._reply(word, line)
            if reply is None:
                return
            self._say(reply)
            if word == "STARTTLS":
                self._secure()

    def _reply(self, word: str, line: str) -> str | None:
        server = self._server
        if word == "EHLO":
            is_offered = server.security == "starttls" and not isinstance(self._connection, ssl.SSLSocket)
            return f"250-test\r\n{'250-STARTTLS' + chr(13) + chr(10) if is_offered else ''}250 AUTH PLAIN"
        if word == "AUTH":
            _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
            return "235 in" if (user, password) == server.login else f"535 wrong: {line} {user} {password}"
        if word == "DATA":
            return self._mail()
        return {"QUIT": "221 bye", "STARTTLS": "220 go"}.get(word, "250 ok")

    def _mail(self) -> str | None:
        self._say("354 go")
        lines = []
        while (line := self._line(strip=False)) not in (".\r\n", ""):
            lines.append(line)
        if self._server.cuts == ".":
            return None
        self._server.mails.append(message_from_bytes("".join(lines).encode(), policy=SMTP))
        return self._server.replies.get(".", "250 taken")

    def _line(self, *, strip: bool = True) -> str:
        """Byte by byte, so that nothing of what comes after it is read."""
        found = b""
        while not found.endswith(b"\n") and (byte := self._connection.recv(1)):
            found += byte
        return found.decode().strip() if strip else found.decode()

    def _say(self, text: str) -> None:
        self._connection.sendall(f"{text}\r\n".encode())

    def _secure(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        assert self._server.pem is not None
        context.load_cert_chain(self._server.pem)
        self._connection = context.wrap_socket(self._connection, server_side=True)

    def _drip(self) -> None:
        while not self._server.ended.wait(0.02):
            self._connection.sendall(b"220-x\r\n")
