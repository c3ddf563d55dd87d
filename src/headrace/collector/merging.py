"""A batch's context and integrations below each event's own. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.errors import RequestError
from headrace.event import EMPTY_OBJECT


def merged_below(below: msgspec.Raw | dict[str, Any], own: msgspec.Raw) -> msgspec.Raw:
    """The event's own object, with what only the one below it has added; objects within are merged alike.

    Values pass through as raw JSON, so nothing of them changes."""
    if own == EMPTY_OBJECT and isinstance(below, msgspec.Raw):
        return below
    lower = below if isinstance(below, dict) else _members(below)
    upper = _members(own)
    if not lower.keys() - upper.keys() and not any(bytes(v)[:1] == b"{" for v in upper.values()):
        return own
    folded: dict[str, Any] = dict(lower)
    for name, value in upper.items():
        other = lower.get(name)
        if isinstance(other, msgspec.Raw) and bytes(other)[:1] == bytes(value)[:1] == b"{":
            folded[name] = merged_below(other, value)
        else:
            folded[name] = value
    return msgspec.Raw(msgspec.json.encode(folded))


_members_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _members(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _members_decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise RequestError("bad_request", f"context or integrations cannot be read: {error}") from None
