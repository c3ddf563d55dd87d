"""What each role may do. All functions are pure."""

from __future__ import annotations

from typing import Final, Literal, get_args

from headrace.errors import ConfigError

Role = Literal["viewer", "editor", "admin", "owner"]
"""Each may do all that those before it may. viewer: look, ask in SQL, make reports. editor: also change sources, destinations, saved
reports, and send again. admin: also settings of warehouses, people, tokens of others, deletion, configuration as a whole. owner: also other owners."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)


def may(role: Role, needed: Role) -> bool:
    """Whether a role is enough.

    >>> may("admin", "editor"), may("viewer", "editor")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


def lower(one: Role, other: Role) -> Role:
    """The one that may less.

    >>> lower("admin", "viewer")
    'viewer'
    """
    return one if may(other, one) else other


def checked_role(name: str) -> Role:
    """The role of that name. Raises ConfigError."""
    for role in ROLES:
        if role == name:
            return role
    raise ConfigError(f"role: there is no {name[:100]!r}; take one of {', '.join(ROLES)}")
