"""Kept secrets go only to where they went: who may not read them may not send them somewhere else either."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from headrace.console.access import REQUESTER
from headrace.errors import RequestError
from headrace.workspace.roles import may

_PLACE: Final = re.compile(
    r"(.*_)?(url|uri|dsn|endpoint|hosts?|ports?|servers?|address|domain|proxy|region|account|site|security|secure|verify|ca_pem|ca_file)"
)
"""Names of settings that say to whom something is sent, and how that one is known."""


def check(subject: str, shown: Mapping[str, Any], secret: Collection[str], changes: Mapping[str, Any]) -> None:
    """`shown` are the settings with masks, `secret` the names of the secret ones among them.

    Raises RequestError (403) where an editor changes a place and does not give the secrets again; an admin may."""
    requester = REQUESTER.get()
    if requester is not None and may(requester.role, "admin"):
        return
    changed = {name for name, value in changes.items() if value != shown.get(name)}
    places = sorted(name for name in changed if _is_place(name, changes[name], shown.get(name)))
    kept = sorted(name for name in secret if shown.get(name) and name not in changed)
    if places and kept:
        raise RequestError(
            "secrets_needed",
            f"{subject}: {' and '.join(places)} would send what is secret ({', '.join(kept)}) to another place; give these anew too, or ask an admin",
            403,
        )


def _is_place(name: str, *values: Any) -> bool:
    return _PLACE.fullmatch(name) is not None or any(isinstance(value, str) and "://" in value for value in values)
