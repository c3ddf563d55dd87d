"""What is mailed and when: a campaign a week to everybody, and three journeys that go to a few people every day."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

from headrace.simulator import figures
from headrace.simulator.happenings import Kind
from headrace.simulator.orders import order_cents


class Campaign(NamedTuple):
    """An e-mail that goes out; a journey's has its journey's id and name."""

    campaign_id: str
    campaign_name: str
    email_id: str
    email_subject: str
    list_id: str
    list_name: str
    journey_id: str | None = None
    journey_name: str | None = None
    test: bool = False
    """A test send of it, to the people who made it."""


class Journey(NamedTuple):
    campaign: Campaign
    weekly_share: float
    """The share of the list that enters in a week."""


class Send(NamedTuple):
    """One mail to one recipient, or with `campaign` None something that the recipient does unasked."""

    at: float
    recipient: int
    campaign: Campaign | None
    unasked: Kind = Kind.ORDERED
    number: int = 0


JOURNEYS: Final = (
    Journey(
        Campaign(
            "901", "Journey_Welcome", "51901", "Welcome, here is how it works", "3", "Customers", "J-1", "Welcome"
        ),
        0.010,
    ),
    Journey(
        Campaign(
            "902",
            "Journey_AbandonedCart",
            "51902",
            "You left something behind",
            "3",
            "Customers",
            "J-2",
            "Abandoned cart",
        ),
        0.020,
    ),
    Journey(
        Campaign("903", "Journey_WinBack", "51903", "It has been a while", "3", "Customers", "J-3", "Win back"), 0.015
    ),
)
"""The shares are ours."""

_THEMES: Final = (
    ("NewArrivals", "Nine new arrivals for your weekend"),
    ("MembersSale", "Members first: the sale begins today"),
    ("Magazine", "Five ideas for the long evenings"),
    ("BackInStock", "Back in stock: what you asked for"),
)
_SEND_AFTER: Final = 25 * figures.HOUR
"""From the beginning of a week to its campaign."""
_TEST_BEFORE: Final = figures.HOUR


def weekly(week: int, starts: float) -> Campaign:
    """The campaign of a week that begins at `starts`."""
    year, number, _ = datetime.fromtimestamp(starts + _SEND_AFTER, UTC).isocalendar()
    theme, subject = _THEMES[week % len(_THEMES)]
    code = f"{year}{number:02d}"
    return Campaign(code, f"{year}_W{number:02d}_{theme}", f"4{code}", subject, "12", "Newsletter")


def sends(recipients: int, weeks: int, starts: float, chance: random.Random, test_addresses: int = 0) -> Iterator[Send]:
    """Every mail of the weeks, and every unasked order, in order of time. Test addresses are the numbers after the recipients'."""
    for week in range(weeks):
        begin = starts + week * figures.WEEK
        campaign = weekly(week, begin)
        step = figures.SEND_RAMP / max(recipients, 1)
        first = begin + _SEND_AFTER
        trial = campaign._replace(test=True, email_subject=f"[Test] {campaign.email_subject}")
        tests = [Send(first - _TEST_BEFORE, recipients + number, trial) for number in range(test_addresses)]
        blast = (Send(first + number * step, number, campaign) for number in range(recipients))
        yield from heapq.merge(tests, blast, _scattered(recipients, begin, chance), key=_time)


def _scattered(recipients: int, begin: float, chance: random.Random) -> list[Send]:
    """A week's sends that people cause one by one."""
    causes: list[tuple[float, Campaign | None]] = [(journey.weekly_share, journey.campaign) for journey in JOURNEYS]
    causes.append((figures.ORDERS_PER_WEEK, None))
    found = [
        unasked_order(begin + chance.random() * figures.WEEK, number, chance)
        if campaign is None
        else Send(begin + chance.random() * figures.WEEK, number, campaign)
        for share, campaign in causes
        for number in range(recipients)
        if chance.random() < share
    ]
    return sorted(found, key=_time)


def unasked_order(at: float, recipient: int, chance: random.Random) -> Send:
    return Send(at, recipient, None, Kind.ORDERED, order_cents(chance))


def _time(send: Send) -> float:
    return send.at
