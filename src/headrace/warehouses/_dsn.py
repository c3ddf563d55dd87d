"""Addresses of databases: judged before a driver reads them, whose complaints would quote parts of a password."""

from __future__ import annotations

import re
from typing import Final

from headrace.errors import ConfigError

_PARTS: Final = re.compile(r"postgres(?:ql)?://(?P<authority>[^/?#\s]*)(?P<rest>[^\s]*)")
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::\d+)?")
_HALF_ENCODED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def checked(dsn: str, slug: str, port: int) -> str:
    """The address without blanks around it. Raises ConfigError, which shows nothing of it."""
    dsn = dsn.strip()
    parts = _PARTS.fullmatch(dsn)
    wrong = "is empty" if not dsn else "is no address"
    if parts is not None:
        hosts = parts["authority"].rpartition("@")[2].split(",")
        if "@" in parts["rest"].partition("?")[0] or not all(map(_HOST.fullmatch, hosts)):
            wrong = "has a character of the password or the port that must be in percent notation"
        elif _HALF_ENCODED.search(dsn):
            wrong = "has a % that begins no percent notation (% itself is %25)"
        else:
            return dsn
    raise ConfigError(
        f"warehouse {slug}: its dsn {wrong}; write postgresql://ROLE:PASSWORD@HOST:{port}/DATABASE, special characters of the "
        "password in percent notation (@ is %40, / is %2F)"
    )
