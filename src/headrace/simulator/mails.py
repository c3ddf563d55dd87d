"""What becomes of one mail: its delivery or bounce, and what machines and its recipient then do, each at its time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from headrace.simulator import figures
from headrace.simulator.campaigns import Campaign
from headrace.simulator.happenings import FLAG_MISSING, FLAG_NULL, FLAGGED, Happening, Kind
from headrace.simulator.orders import order_cents
from headrace.simulator.realism import Realism
from headrace.simulator.recipients import Recipients, Scanner
from headrace.simulator.tally import Tally

_LINKS: Final = range(len(figures.LINKS))
_CLICK_OF_READERS: Final = figures.CLICK_RATE / figures.OPEN_RATE
_UNSUBSCRIBE_OF_READERS: Final = figures.UNSUBSCRIBE_RATE / figures.OPEN_RATE
_SPAM_OF_READERS: Final = figures.SPAM_RATE / figures.OPEN_RATE
_READS_PER_LOYALTY: Final = figures.OPEN_RATE / figures.LOYALTY_MEAN
_ONE_MORE_OPEN: Final = 1 - 1 / figures.OPENS_PER_OPENER
_ONE_MORE_LINK: Final = (figures.LINKS_PER_CLICKER - 1) / (len(figures.LINKS) - 1)
_GREYLISTED: Final = 2


class Mail:
    """One send; `number` is unlike any other's in the simulation. What people do unasked has a number and no campaign.

    It lives as long as something may still happen to it, or an order may yet be its doing. What follows `campaign` is the truth's."""

    __slots__ = ("campaign", "credited", "delivered_at", "number", "recipient", "state")

    def __init__(self, number: int, recipient: int, campaign: Campaign | None) -> None:
        self.number = number
        self.recipient = recipient
        self.campaign = campaign
        self.state = 0
        self.delivered_at = 0.0
        self.credited: Tally | None = None


def life(
    sent_at: float, recipient: int, recipients: Recipients, realism: Realism, chance: random.Random
) -> Iterator[Happening]:
    """All that happens to a mail, in no order of time."""
    fate = chance.random()
    if fate < figures.HARD_BOUNCE_RATE:
        reason = chance.randrange(len(figures.HARD_BOUNCES))
        yield Happening(sent_at + figures.BOUNCE.draw(chance), Kind.BOUNCED_HARD, reason)
        return
    delivered_at = sent_at + 2.5 + figures.DELIVERY.draw(chance)
    if fate < figures.HARD_BOUNCE_RATE + figures.SOFT_BOUNCE_RATE:
        yield from _soft_bounce(sent_at, delivered_at, recipient, recipients, realism, chance)
        return
    yield from _arrive(delivered_at, recipient, recipients, realism, chance)


def trial_life(sent_at: float, chance: random.Random) -> Iterator[Happening]:
    """What becomes of a test send: somebody looks at it and tries every link."""
    delivered_at = sent_at + 2.5 + figures.DELIVERY.draw(chance)
    at = delivered_at + figures.TESTER.draw(chance)
    yield Happening(delivered_at, Kind.DELIVERED)
    yield Happening(at, Kind.OPENED)
    for link in _LINKS:
        at += figures.NEXT_LINK.draw(chance)
        yield Happening(at, Kind.CLICKED, link)


def _soft_bounce(
    sent_at: float,
    delivered_at: float,
    recipient: int,
    recipients: Recipients,
    realism: Realism,
    chance: random.Random,
) -> Iterator[Happening]:
    reason, way = chance.randrange(len(figures.SOFT_BOUNCES)), chance.random()
    if way < figures.SOFT_BOUNCES_AFTER_DELIVERY:
        bounced_at = delivered_at + figures.LATE_BOUNCE.draw(chance)
        yield Happening(delivered_at, Kind.DELIVERED)
        yield Happening(bounced_at, Kind.BOUNCED_SOFT, reason)
        if chance.random() < figures.BOUNCED_YET_READ:
            yield from _read(bounced_at, realism, chance)
        return
    bounced_at = sent_at + figures.BOUNCE.draw(chance)
    again = way < figures.SOFT_BOUNCES_AFTER_DELIVERY + figures.SOFT_BOUNCES_THEN_DELIVERED
    yield Happening(bounced_at, Kind.BOUNCED_SOFT, _GREYLISTED if again else reason)
    if again:
        yield from _arrive(bounced_at + figures.REDELIVERY.draw(chance), recipient, recipients, realism, chance)


def _arrive(
    delivered_at: float, recipient: int, recipients: Recipients, realism: Realism, chance: random.Random
) -> Iterator[Happening]:
    yield Happening(delivered_at, Kind.DELIVERED)
    scanner = recipients.scanner(recipient)
    if scanner is not None:
        yield from _scan(delivered_at, scanner, chance)
    if recipients.apple_mail[recipient] and chance.random() < figures.APPLE_PREFETCHED:
        flag = FLAGGED
        if realism.unflagged and chance.random() < realism.unflagged:
            flag = chance.choice((FLAG_NULL, FLAG_MISSING))
        yield Happening(delivered_at + figures.PREFETCH.draw(chance), Kind.MACHINE_OPENED, flag)
    if chance.random() < recipients.loyalty[recipient] * _READS_PER_LOYALTY:
        yield from _read(delivered_at, realism, chance)


def _scan(delivered_at: float, scanner: Scanner, chance: random.Random) -> Iterator[Happening]:
    delay = chance.uniform(*figures.SCANNER_SECONDS) if scanner.prompt else figures.SCANNER_LATER.draw(chance)
    for link in _LINKS:
        yield Happening(delivered_at + delay + link * figures.SCANNER_STEP, Kind.SCANNED, link)


def _read(delivered_at: float, realism: Realism, chance: random.Random) -> Iterator[Happening]:
    """What a recipient does who opens the mail."""
    delay = figures.PROMPT_OPEN if chance.random() < figures.PROMPT_SHARE else figures.LATE_OPEN
    opened_at = delivered_at + delay.draw(chance)
    if chance.random() < _UNSUBSCRIBE_OF_READERS:
        unsubscribed_at = delivered_at + figures.UNSUBSCRIBE.draw(chance)
        opened_at = min(opened_at, max(delivered_at, unsubscribed_at - figures.CLICK_AFTER_OPEN.draw(chance)))
        yield Happening(unsubscribed_at, Kind.UNSUBSCRIBED)
    if chance.random() < _SPAM_OF_READERS:
        yield Happening(opened_at + figures.COMPLAINT_AFTER_OPEN.draw(chance), Kind.COMPLAINED)
    if chance.random() < _CLICK_OF_READERS:
        yield from _click(opened_at, chance)
        if chance.random() < figures.IMAGES_BLOCKED:
            return
    elif realism.orders_of_readers and chance.random() < realism.orders_of_readers:
        yield Happening(opened_at + figures.ORDER_AFTER_OPEN.draw(chance), Kind.ORDERED, order_cents(chance))
    yield Happening(opened_at, Kind.OPENED)
    again_at, number = opened_at, 1
    while chance.random() < _ONE_MORE_OPEN:
        again_at += figures.NEXT_OPEN.draw(chance)
        yield Happening(again_at, Kind.OPENED, number)
        number += 1


def _click(opened_at: float, chance: random.Random) -> Iterator[Happening]:
    at = opened_at + figures.CLICK_AFTER_OPEN.draw(chance)
    more = sum(chance.random() < _ONE_MORE_LINK for _ in range(len(_LINKS) - 1))
    for link in chance.sample(_LINKS, 1 + more):
        yield Happening(at, Kind.CLICKED, link)
        at += figures.NEXT_LINK.draw(chance)
    if chance.random() < figures.ORDER_RATE:
        yield Happening(at + figures.ORDER_AFTER_CLICK.draw(chance), Kind.ORDERED, order_cents(chance))
