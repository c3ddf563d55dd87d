"""A month of an e-mail team and its shop, event by event in the order in which they would be sent.

Nothing but the arguments decides: no clock, no network. Memory grows with the recipients, not with the events.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from headrace.simulator import figures
from headrace.simulator.campaigns import JOURNEYS, Send, sends
from headrace.simulator.events import Writer
from headrace.simulator.happenings import ENDS_MAILING, ON_THE_WEBSITE, Happening, Kind
from headrace.simulator.mails import Mail, life, trial_life
from headrace.simulator.moments import next_minute
from headrace.simulator.realism import PLAIN, Realism
from headrace.simulator.recipients import Recipients
from headrace.simulator.truth import Truth
from headrace.simulator.website import visits


class _Held(NamedTuple):
    """An event that goes out later: once more, or late for the first time."""

    event: dict[str, Any]
    again: bool


_Due = tuple[float, int, Mail, Happening | _Held]
"""When, a number that decides between equals, the mail, and what happens to it or is sent."""


def simulate(
    recipients: int, campaigns: int, seed: int, end: datetime, realism: Realism = PLAIN, truth: Truth | None = None
) -> Simulation:
    """The events of as many weeks as `campaigns` before `end`, Selligent's and the shop's (`orders.is_of_shop`) mixed.

    Nothing that would happen after `end` is among them; 1.5 % come a second time, later, with the same messageId.
    `end` must have a time zone. Two simulations with any argument unlike share no messageId. `truth` is filled on the way."""
    starts = end.timestamp() - campaigns * figures.WEEK
    return Simulation(recipients, campaigns, seed, starts, end.timestamp(), realism, truth)


def expected_events(recipients: int, campaigns: int, realism: Realism = PLAIN) -> int:
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
    of_a_week = (1 + journeys) * of_a_mail * (1 - realism.holdout) + figures.ORDERS_PER_WEEK
    found = recipients * (campaigns * of_a_week + realism.website) + campaigns * realism.test_sends * 7
    return round(found * (1 + realism.duplicates))


class Simulation(Iterator[dict[str, Any]]):
    """The events of weeks that begin at `starts`, with what follows from their mails up to `until` (seconds since 1970).

    What is late and would be sent after `until` is sent then. `repeated` counts the events that came once more so far, `late` those
    that were held back."""

    def __init__(
        self,
        recipients: int,
        weeks: int,
        seed: int,
        starts: float,
        until: float,
        realism: Realism = PLAIN,
        truth: Truth | None = None,
    ) -> None:
        arguments = f"{recipients} {weeks} {seed} {starts} {until} {realism}"
        run = hashlib.blake2s(arguments.encode(), digest_size=4).hexdigest()
        chance = random.Random(seed)  # noqa: S311 -- a simulation must be repeatable; nothing secret depends on it
        self.repeated = 0
        self.late = 0
        self.weeks, self.seed, self.starts, self.until = weeks, seed, starts, until
        self.people = Recipients(recipients, chance, realism)
        self.realism = realism
        self._writer = Writer(run, self.people, chance, realism)
        self._chance = chance
        self._due: list[_Due] = []
        self._number = 0
        self._copies, self._another = divmod(realism.duplicates, 1.0)
        self._truth = truth
        if truth is not None:
            truth.begins(self.people)
        schedule = sends(recipients, weeks, starts, chance, realism.test_sends)
        if realism.website:
            ends = min(until, starts + weeks * figures.WEEK)
            schedule = heapq.merge(schedule, visits(self.people, starts, ends, chance), key=_time)
        self._events = self._all(schedule)

    def __next__(self) -> dict[str, Any]:
        return next(self._events)

    def _all(self, schedule: Iterator[Send]) -> Iterator[dict[str, Any]]:
        due, people = self._due, self.people
        for number, send in enumerate(schedule):
            if due and due[0][0] <= send.at:
                yield from self._until_time(send.at)
            if send.campaign is None:
                self._add(send.at, Mail(number, send.recipient, None), Happening(send.at, send.unasked, send.number))
            elif send.at < people.barred_from[send.recipient] and not people.holdout[send.recipient]:
                self._begin(send.at, Mail(number, send.recipient, send.campaign))
        yield from self._until_time(self.until)

    def _begin(self, sent_at: float, mail: Mail) -> None:
        if mail.recipient >= self.people.count:
            for happening in trial_life(sent_at, self._chance):
                self._add(happening.at, mail, happening)
            return
        for happening in life(sent_at, mail.recipient, self.people, self.realism, self._chance):
            self._add(happening.at, mail, happening)
            if happening.kind in ENDS_MAILING:
                barred_from = self.people.barred_from
                barred_from[mail.recipient] = min(happening.at, barred_from[mail.recipient])

    def _until_time(self, time: float) -> Iterator[dict[str, Any]]:
        due = self._due
        while due and due[0][0] <= time:
            at, _, mail, what = heapq.heappop(due)
            if isinstance(what, Happening):
                event = self._happen(mail, what)
                if event is None:
                    continue
            else:
                event = what.event
                if what.again:
                    self.repeated += 1
                    yield event
                    continue
            yield event
            self._repeat(at, mail, event)

    def _happen(self, mail: Mail, happening: Happening) -> dict[str, Any] | None:
        """It comes about: its event, or None when that will be late."""
        at, kind = happening.at, happening.kind
        if kind is Kind.IDENTIFIED and happening.number == ON_THE_WEBSITE:
            self.people.gain_user_id(mail.recipient)
        elif kind is Kind.ORDERED and self.realism.refunds and self._chance.random() < self.realism.refunds:
            refunded_at = at + figures.REFUND.draw(self._chance)
            self._add(refunded_at, mail, Happening(refunded_at, Kind.REFUNDED, happening.number))
        if self._truth is not None:
            self._truth.saw(mail, happening)
        event = self._writer.event(mail, happening)
        if self.realism.late and self._chance.random() < self.realism.late:
            self._hold_back(at, mail, event)
            return None
        return event

    def _hold_back(self, at: float, mail: Mail, event: dict[str, Any]) -> None:
        self.late += 1
        low, high = figures.LATE_DAYS
        sent_at = min(at + self._chance.uniform(low, high) * figures.DAY, self.until)
        if "sentAt" in event:
            event["sentAt"] = next_minute(sent_at)
        self._add(sent_at, mail, _Held(event, again=False))

    def _repeat(self, at: float, mail: Mail, event: dict[str, Any]) -> None:
        copies = int(self._copies)
        if self._another:
            copies += self._chance.random() < self._another
        for _ in range(copies):
            later = at + self._chance.expovariate(1 / figures.DUPLICATE_DELAY)
            self._add(later, mail, _Held(event, again=True))

    def _add(self, at: float, mail: Mail, what: Happening | _Held) -> None:
        if at <= self.until:
            self._number += 1
            heapq.heappush(self._due, (at, self._number, mail, what))


def _time(send: Send) -> float:
    return send.at
