"""Events from an image's address: `?data=<base64 JSON>` or `?event=x&properties.y=z`. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from headrace.collector.incoming import DEPTH
from headrace.errors import RequestError

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""


def event(query: bytes) -> bytes:
    """The event's JSON. Raises RequestError."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=1_000)
    except ValueError as error:
        raise RequestError("bad_request", f"the query cannot be read: {error}") from None
    data = next((value for name, value in pairs if name == "data"), None)
    if data is not None:
        try:
            return base64.b64decode(data.replace("-", "+").replace("_", "/").replace(" ", "+") + "=" * (-len(data) % 4))
        except (binascii.Error, ValueError) as error:
            raise RequestError("bad_request", f"data is not base64: {error}") from None
    tree: dict[str, Any] = {}
    for name, value in pairs:
        path = name.split(".")
        if len(path) > DEPTH:
            raise RequestError("too_deep", f"a name of the query has more than {DEPTH} levels")
        place = tree
        for step in path[:-1]:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                raise RequestError("bad_request", f"{name} is given as a value and as an object")
            place = inner
        place[path[-1]] = value
    return msgspec.json.encode(tree)


def write_key(raw: bytes) -> str | None:
    """The key inside base64 data."""
    try:
        tree = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    key = tree.get("writeKey") if isinstance(tree, dict) else None
    return key if isinstance(key, str) else None
