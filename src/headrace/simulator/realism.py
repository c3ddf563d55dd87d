"""How awkward simulated life is: what a model over the events must cope with."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from headrace.simulator import figures

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Realism(msgspec.Struct, frozen=True, kw_only=True):
    """Without arguments the platform's own events and orders, clean but for 1.5 % that come twice."""

    duplicates: float = figures.DUPLICATE_RATE
    """How often an event is sent again, on average; 3.0 is four times each."""
    late: Share = 0.0
    """Share of the events that are sent days after they happened."""
    holdout: Share = 0.0
    """Share of the list that gets no mail, so that lift is known. `identify` events tell who."""
    test_sends: int = 0
    """Addresses that get each campaign an hour before the list does, marked by the property test_send."""
    known_later: Share = 0.0
    """Share of those without a user id who give the website their address and get one."""
    mixed_case: Share = 0.0
    """Share of the list whose address is spelled in several ways."""
    unflagged: Share = 0.0
    """Share of the machine opens without machine_open: true. Above 0, opens by people have null or false, or nothing."""
    orders_of_readers: Share = 0.0
    """Share of those who opened and did not click who order after it."""
    refunds: Share = 0.0
    """Share of the orders that are refunded."""
    odd_scanners: bool = False
    """One of the four scanners takes its time, and one calls itself a browser."""

    @property
    def website(self) -> bool:
        """Whether there are page, identify and alias events."""
        return self.known_later > 0 or self.holdout > 0


PLAIN: Final = Realism()
FULL: Final = Realism(
    late=0.01,
    holdout=0.10,
    test_sends=10,
    known_later=0.40,
    mixed_case=0.20,
    unflagged=0.20,
    orders_of_readers=0.002,
    refunds=0.05,
    odd_scanners=True,
)
"""All of it, at shares that are ours."""
