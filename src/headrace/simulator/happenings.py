"""What can happen in a simulation."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Kind(enum.IntEnum):
    """A number each, since they are looked up for every event."""

    DELIVERED = 0
    OPENED = 1
    MACHINE_OPENED = 2
    CLICKED = 3
    SCANNED = 4
    UNSUBSCRIBED = 5
    BOUNCED_HARD = 6
    BOUNCED_SOFT = 7
    COMPLAINED = 8
    ORDERED = 9
    REFUNDED = 10
    VIEWED = 11
    IDENTIFIED = 12
    ALIASED = 13


FIRST_OF_SHOP: Final = Kind.ORDERED
"""From here on they are events of the shop and its website, before it Selligent's."""
ENDS_MAILING: Final = frozenset((Kind.UNSUBSCRIBED, Kind.BOUNCED_HARD, Kind.COMPLAINED))
"""After these a recipient gets no more mail."""


class Happening(NamedTuple):
    """`number` tells happenings of one kind to one mail apart. For clicks it is the link's, from 0; for bounces the reason's; for
    orders and refunds the amount in cents; for machine opens one of FLAGGED, FLAG_NULL, FLAG_MISSING; for identify events one of
    ON_THE_LIST, ON_THE_WEBSITE."""

    at: float
    kind: Kind
    number: int = 0


FLAGGED: Final = 0
FLAG_NULL: Final = 1
FLAG_MISSING: Final = 2
ON_THE_LIST: Final = 0
ON_THE_WEBSITE: Final = 1
