"""A month of an e-mail team and its shop, event by event in the order in which they would be sent.

Nothing but the arguments decides: no clock, no network. Memory grows with the recipients, not with the events.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from headrace.simulator import figures
from headrace.simulator.campaigns import JOURNEYS, Send, sends
from headrace.simulator.events import Mail, Writer
from headrace.simulator.mails import ENDS_MAILING, Happening, Kind, life
from headrace.simulator.recipients import Recipients

_Due = tuple[float, int, tuple[Mail, Happening] | dict[str, Any]]
"""When, a number that decides between equals, and what happens to a mail, or an event to send once more."""


def simulate(recipients: int, campaigns: int, seed: int, end: datetime) -> Simulation:
    """The events of as many weeks as `campaigns` before `end`, Selligent's and the shop's (`orders.is_order`) mixed.

    Nothing that would happen after `end` is among them; 1.5 % come a second time, later, with the same messageId.
    `end` must have a time zone. Two simulations with any argument unlike share no messageId."""
    starts = end.timestamp() - campaigns * figures.WEEK
    return Simulation(recipients, campaigns, seed, starts, end.timestamp())


def expected_events(recipients: int, campaigns: int) -> int:
    """About how many events `simulate` gives, for a progress bar."""
    journeys = sum(journey.weekly_share for journey in JOURNEYS)
    scanned = figures.DOMAIN_SHARES["corporate"] * len(figures.SCANNERS) / len(figures.CORPORATE_DOMAINS)
    of_a_mail = (
        1
        + figures.APPLE_MAIL * figures.APPLE_PREFETCHED
        + figures.OPEN_RATE * figures.OPENS_PER_OPENER
        + figures.CLICK_RATE * figures.LINKS_PER_CLICKER
        + scanned * len(figures.LINKS)
    )
    of_a_week = (1 + journeys) * of_a_mail + figures.ORDERS_PER_WEEK
    return round(recipients * campaigns * of_a_week * (1 + figures.DUPLICATE_RATE))


class Simulation(Iterator[dict[str, Any]]):
    """The events of weeks that begin at `starts`, with what follows from their mails up to `until` (seconds since 1970).

    `repeated` counts those that came a second time so far."""

    def __init__(self, recipients: int, weeks: int, seed: int, starts: float, until: float) -> None:
        run = hashlib.blake2s(f"{recipients} {weeks} {seed} {starts} {until}".encode(), digest_size=4).hexdigest()
        chance = random.Random(seed)  # noqa: S311 -- a simulation must be repeatable; nothing secret depends on it
        self.repeated = 0
        self._people = Recipients(recipients, chance)
        self._writer = Writer(run, self._people, chance)
        self._chance = chance
        self._until = until
        self._due: list[_Due] = []
        self._number = 0
        self._events = self._all(sends(recipients, weeks, starts, chance))

    def __next__(self) -> dict[str, Any]:
        return next(self._events)

    def _all(self, schedule: Iterator[Send]) -> Iterator[dict[str, Any]]:
        for number, send in enumerate(schedule):
            yield from self._until_time(send.at)
            mail = Mail(number, send.recipient, send.campaign)
            if send.campaign is None:
                self._add(send.at, (mail, Happening(send.at, Kind.ORDERED)))
            elif send.at < self._people.barred_from[send.recipient]:
                self._begin(send.at, mail)
        yield from self._until_time(self._until)

    def _begin(self, sent_at: float, mail: Mail) -> None:
        for happening in life(sent_at, mail.recipient, self._people, self._chance):
            self._add(happening.at, (mail, happening))
            if happening.kind in ENDS_MAILING:
                barred_from = self._people.barred_from
                barred_from[mail.recipient] = min(happening.at, barred_from[mail.recipient])

    def _until_time(self, time: float) -> Iterator[dict[str, Any]]:
        while self._due and self._due[0][0] <= time:
            at, _, what = heapq.heappop(self._due)
            if isinstance(what, dict):
                self.repeated += 1
                yield what
                continue
            event = self._writer.event(*what)
            yield event
            if self._chance.random() < figures.DUPLICATE_RATE:
                self._add(at + self._chance.expovariate(1 / figures.DUPLICATE_DELAY), event)

    def _add(self, at: float, what: tuple[Mail, Happening] | dict[str, Any]) -> None:
        if at <= self._until:
            self._number += 1
            heapq.heappush(self._due, (at, self._number, what))
