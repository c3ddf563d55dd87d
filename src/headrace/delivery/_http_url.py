"""The address of a request, taken apart once and strictly: what is checked is what is connected to. Pure."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

import httpcore
import idna

from headrace.errors import ConfigError

_PORT_BY_SCHEME: Final = {"http": 80, "https": 443}
_UNSEEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
"""Parsers of URLs disagree on these; urlsplit drops some of them silently."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,255}|[0-9A-Fa-f:.]+", re.ASCII)
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


class Target(NamedTuple):
    """`host` has no brackets and is ASCII. `authorization` is Basic where the address has a user."""

    host: str
    port: int
    is_tls: bool
    url: httpcore.URL
    origin: httpcore.Origin
    host_header: bytes
    authorization: bytes | None

    @property
    def where(self) -> str:
        """For texts. Paths and users may be secret."""
        return f"{self.host}:{self.port}"


@lru_cache(maxsize=256)
def target(url: str) -> Target:
    """Raises ConfigError, whose text tells nothing of the address that may be secret."""
    if _UNSEEN.search(url):
        raise ConfigError(
            "the address holds a space, a backslash or a control character; write it as the tool gives it"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        name = parts.hostname or ""
    except ValueError:
        raise ConfigError("the address is no URL; write it like https://example.com/path") from None
    if parts.scheme not in _PORT_BY_SCHEME:
        raise ConfigError("the address must begin with http:// or https://")
    host = _host(name)
    if port == 0:
        raise ConfigError(f"the address of {host} has the port 0, which cannot be connected to")
    usual = _PORT_BY_SCHEME[parts.scheme]
    port = port or usual
    path = quote(parts.path or "/", safe=_ASCII) + (f"?{quote(parts.query, safe=_ASCII)}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    taken = httpcore.URL(scheme=parts.scheme, host=host, port=port, target=path)
    return Target(
        host,
        port,
        parts.scheme == "https",
        taken,
        taken.origin,
        (shown if port == usual else f"{shown}:{port}").encode(),
        _basic(parts.username, parts.password),
    )


def _host(name: str) -> str:
    if not name:
        raise ConfigError("the address has no host; write it like https://example.com/path")
    if "%" in name:
        raise ConfigError(
            "the address's host has a zone or a percent sign; write the host's name, or its address alone"
        )
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            raise ConfigError("the address's host is no valid international name") from None
    if not _NAME.fullmatch(name):
        raise ConfigError("the address's host holds a character that no name has")
    return name


def _basic(user: str | None, password: str | None) -> bytes | None:
    if user is None:
        return None
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password or "")
    return b"Basic " + base64.b64encode(pair)
