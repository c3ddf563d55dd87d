"""What becomes of one mail: its delivery or bounce, and what machines and its recipient then do, each at its time."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from headrace.simulator import figures
from headrace.simulator.recipients import Recipients


class Kind(enum.Enum):
    DELIVERED = enum.auto()
    OPENED = enum.auto()
    MACHINE_OPENED = enum.auto()
    CLICKED = enum.auto()
    SCANNED = enum.auto()
    UNSUBSCRIBED = enum.auto()
    BOUNCED_HARD = enum.auto()
    BOUNCED_SOFT = enum.auto()
    COMPLAINED = enum.auto()
    ORDERED = enum.auto()


ENDS_MAILING: Final = frozenset((Kind.UNSUBSCRIBED, Kind.BOUNCED_HARD, Kind.COMPLAINED))
"""After these a recipient gets no more mail."""


class Happening(NamedTuple):
    """`number` tells happenings of one kind to one mail apart; for clicks it is the link's, from 0."""

    at: float
    kind: Kind
    number: int = 0


_LINKS: Final = range(len(figures.LINKS))
_CLICK_OF_READERS: Final = figures.CLICK_RATE / figures.OPEN_RATE
_UNSUBSCRIBE_OF_READERS: Final = figures.UNSUBSCRIBE_RATE / figures.OPEN_RATE
_SPAM_OF_READERS: Final = figures.SPAM_RATE / figures.OPEN_RATE
_READS_PER_LOYALTY: Final = figures.OPEN_RATE / figures.LOYALTY_MEAN
_ONE_MORE_OPEN: Final = 1 - 1 / figures.OPENS_PER_OPENER
_ONE_MORE_LINK: Final = (figures.LINKS_PER_CLICKER - 1) / (len(figures.LINKS) - 1)


def life(sent_at: float, recipient: int, recipients: Recipients, chance: random.Random) -> Iterator[Happening]:
    """All that happens to a mail, in no order of time."""
    fate = chance.random()
    if fate < figures.HARD_BOUNCE_RATE:
        reason = chance.randrange(len(figures.HARD_BOUNCES))
        yield Happening(sent_at + figures.BOUNCE.draw(chance), Kind.BOUNCED_HARD, reason)
        return
    delivered_at = sent_at + 2.5 + figures.DELIVERY.draw(chance)
    if fate < figures.HARD_BOUNCE_RATE + figures.SOFT_BOUNCE_RATE:
        reason = chance.randrange(len(figures.SOFT_BOUNCES))
        if chance.random() < figures.SOFT_BOUNCES_AFTER_DELIVERY:
            yield Happening(delivered_at, Kind.DELIVERED)
            yield Happening(delivered_at + figures.LATE_BOUNCE.draw(chance), Kind.BOUNCED_SOFT, reason)
        else:
            yield Happening(sent_at + figures.BOUNCE.draw(chance), Kind.BOUNCED_SOFT, reason)
        return
    yield Happening(delivered_at, Kind.DELIVERED)
    if recipients.scanner(recipient) is not None:
        yield from _scan(delivered_at, chance)
    if recipients.apple_mail[recipient] and chance.random() < figures.APPLE_PREFETCHED:
        yield Happening(delivered_at + figures.PREFETCH.draw(chance), Kind.MACHINE_OPENED)
    if chance.random() < recipients.loyalty[recipient] * _READS_PER_LOYALTY:
        yield from _read(delivered_at, chance)


def _scan(delivered_at: float, chance: random.Random) -> Iterator[Happening]:
    first = delivered_at + chance.uniform(*figures.SCANNER_SECONDS)
    for link in _LINKS:
        yield Happening(first + link * 0.3, Kind.SCANNED, link)


def _read(delivered_at: float, chance: random.Random) -> Iterator[Happening]:
    """What a recipient does who opens the mail."""
    delay = figures.PROMPT_OPEN if chance.random() < figures.PROMPT_SHARE else figures.LATE_OPEN
    opened_at = delivered_at + delay.draw(chance)
    if chance.random() < _UNSUBSCRIBE_OF_READERS:
        unsubscribed_at = delivered_at + figures.UNSUBSCRIBE.draw(chance)
        opened_at = min(opened_at, max(delivered_at, unsubscribed_at - figures.CLICK_AFTER_OPEN.draw(chance)))
        yield Happening(unsubscribed_at, Kind.UNSUBSCRIBED)
    yield Happening(opened_at, Kind.OPENED)
    if chance.random() < _CLICK_OF_READERS:
        yield from _click(opened_at, chance)
    if chance.random() < _SPAM_OF_READERS:
        yield Happening(opened_at + figures.COMPLAINT_AFTER_OPEN.draw(chance), Kind.COMPLAINED)
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
        yield Happening(at + figures.ORDER_AFTER_CLICK.draw(chance), Kind.ORDERED)
