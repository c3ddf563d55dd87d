"""The write key in a request's headers and query. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import parse_qs


def from_headers(headers: Mapping[bytes, bytes]) -> str | None:
    """HTTP Basic user name (with and without the colon), or X-Write-Key (`key` or Jitsu's `key:secret`).

    A Bearer token is no write key: then the body carries it."""
    own = headers.get(b"x-write-key")
    if own:
        return own.decode("latin-1").partition(":")[0].strip() or None
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user = base64.b64decode(credentials.strip(), validate=False).partition(b":")[0]
    except (binascii.Error, ValueError):
        return None
    return user.decode("latin-1") or None


def from_query(query: bytes) -> str | None:
    """`writeKey` of a pixel or a beacon, which cannot set headers."""
    if b"rite" not in query:
        return None
    values = parse_qs(query.decode("latin-1"))
    found = values.get("writeKey") or values.get("write_key")
    return found[0] if found else None
