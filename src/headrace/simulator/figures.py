"""The figures that the simulation draws from, each with its source.

"Mailchimp" and "Litmus" are their published benchmarks of e-mail marketing. Figures marked "ours" have no public source:
they were chosen to look like the trade, and no report should be judged by them.
"""

from __future__ import annotations

import math
import random
from typing import Final, NamedTuple

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
DAY: Final = 86_400.0
WEEK: Final = 7 * DAY


class Lognormal(NamedTuple):
    """A duration in seconds, or an amount: `median`, and `sigma` of its natural logarithm."""

    median: float
    sigma: float

    def draw(self, chance: random.Random) -> float:
        return self.median * math.exp(chance.gauss(0.0, self.sigma))

    def share_within(self, limit: float) -> float:
        """The probability of at most `limit`."""
        if limit <= 0:
            return 0.0
        return 0.5 * (1 + math.erf(math.log(limit / self.median) / (self.sigma * math.sqrt(2))))


# The list.
DOMAIN_SHARES: Final = {
    "gmail.example": 0.44,
    "outlook.example": 0.18,
    "yahoo.example": 0.12,
    "icloud.example": 0.10,
    "corporate": 0.10,
    "gmx.example": 0.06,
}
"""Mailbox providers of a mixed list (ours). The addresses end in .example, which RFC 2606 reserves: nobody has them."""
CORPORATE_DOMAINS: Final = tuple(f"company-{letter}.example" for letter in "abcdefghij")
SCANNERS: Final = {
    "company-a.example": "Mozilla/5.0 (compatible; Barracuda Link Protection)",
    "company-b.example": "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "company-c.example": "Mozilla/5.0 (compatible; Mimecast URL Protect)",
    "company-d.example": "Mozilla/5.0 (compatible; CiscoSecureEmail)",
}
"""User agents by the domains whose mail a security scanner reads first: 4 of the 10 companies, hence 4 % of the list (ours)."""
WITH_USER_ID: Final = 0.85
"""Recipients whose user id Selligent knows (ours)."""
LOYALTY: Final = (1.2, 4.0)
"""How often a recipient reads, Beta distributed: many hardly ever, few nearly always (ours)."""
LOYALTY_MEAN: Final = LOYALTY[0] / sum(LOYALTY)
APPLE_MAIL: Final = 0.249
"""Share of the list that reads in Apple Mail with its privacy protection on (Litmus)."""
APPLE_PREFETCHED: Final = 0.75
"""Share of their mails that Apple's proxy opens by itself (ours). Apple Mail's users are drawn in proportion to loyalty:
only so do 24.9 % and 75 % agree with the benchmarks' 53 % machine share of openers and 35 % seen open rate, while
22.71 % of all recipients open themselves."""

# What recipients do with a delivered mail (Mailchimp, all industries), and what becomes of a sent one.
OPEN_RATE: Final = 0.2271
CLICK_RATE: Final = 0.0291
UNSUBSCRIBE_RATE: Final = 0.0025
SPAM_RATE: Final = 0.00008
"""Mailchimp and the mailbox providers: below 0.01 %."""
HARD_BOUNCE_RATE: Final = 0.0040
SOFT_BOUNCE_RATE: Final = 0.0061
SOFT_BOUNCES_AFTER_DELIVERY: Final = 0.10
"""Share of the soft bounces that come after the receiving server had accepted the mail (ours)."""
BOUNCED_YET_READ: Final = 0.30
"""Share of those that did reach the recipient, who may read them afterwards (ours)."""
SOFT_BOUNCES_THEN_DELIVERED: Final = 0.20
"""Share of the soft bounces after which a later try succeeds: greylisting (ours)."""
IMAGES_BLOCKED: Final = 0.04
"""Share of the clickers whose client loads no images, so that no open is seen (ours)."""
OPENS_PER_OPENER: Final = 1.47
LINKS: Final = ("hero", "new_arrivals", "best_sellers", "offer", "preferences")
"""Five links in a mail."""
LINKS_PER_CLICKER: Final = 1.33
HARD_BOUNCES: Final = (
    ("5.1.1", "550 5.1.1 no such user"),
    ("5.1.2", "550 5.1.2 no such domain"),
    ("5.2.1", "550 5.2.1 mailbox disabled"),
)
SOFT_BOUNCES: Final = (
    ("4.2.2", "452 4.2.2 mailbox full"),
    ("4.4.1", "421 4.4.1 no answer from host"),
    ("4.7.1", "451 4.7.1 greylisted, try again later"),
)
"""Enhanced status codes: RFC 3463."""

# When.
SEND_RAMP: Final = 30 * MINUTE
"""A campaign's mails leave over this time."""
PROMPT_SHARE: Final = 0.968
PROMPT_OPEN: Final = Lognormal(3.07 * HOUR, 1.94)
LATE_OPEN: Final = Lognormal(1_427 * HOUR, 1.5)
"""Time to the first open: a mixture of both (fitted to published curves of opens by hour)."""
CLICK_AFTER_OPEN: Final = Lognormal(40.0, 1.2)
NEXT_LINK: Final = Lognormal(25.0, 1.0)
NEXT_OPEN: Final = Lognormal(6 * HOUR, 1.8)
"""The pause before a further click and a further open (ours)."""
UNSUBSCRIBE: Final = Lognormal(10.64 * HOUR, 1.026)
"""The lognormal with 78.6 % within a day and 92.9 % within two (published shares of unsubscribes by day)."""
COMPLAINT_AFTER_OPEN: Final = Lognormal(2 * MINUTE, 1.5)
PREFETCH: Final = Lognormal(20 * MINUTE, 1.3)
DELIVERY: Final = Lognormal(4.0, 0.6)
BOUNCE: Final = Lognormal(6.0, 0.8)
REDELIVERY: Final = Lognormal(25 * MINUTE, 0.7)
LATE_BOUNCE: Final = Lognormal(2 * HOUR, 1.0)
"""From sending to Apple's prefetch, the receiving server's answer, the next try after a bounce, a bounce after acceptance (ours)."""
SCANNER_SECONDS: Final = (-2.0, 6.0)
"""Between the delivered stamp and a scanner's clicks on every link: scanners act before some stamps are taken (ours)."""
SCANNER_LATER: Final = Lognormal(12 * MINUTE, 0.5)
"""From delivery to the clicks of a scanner that takes its time (ours)."""
SCANNER_STEP: Final = 0.3
"""Seconds from link to link."""
TESTER: Final = Lognormal(5 * MINUTE, 0.8)
"""From the delivery of a test send to its reader's look at it, who then tries every link (ours)."""
LATE_DAYS: Final = (1.0, 5.0)
"""By how much late events are late (ours)."""
DUPLICATE_RATE: Final = 0.015
DUPLICATE_DELAY: Final = 10 * MINUTE
"""Share of events that are sent again with the same messageId, and the mean time until then (ours)."""

# Orders.
ORDER_RATE: Final = 0.03
"""Clickers that order."""
ORDER_AFTER_CLICK: Final = Lognormal(1 * HOUR, 1.5)
ORDER_VALUE: Final = Lognormal(185.0, 0.8)
ORDERS_PER_WEEK: Final = 0.004
"""Recipients that order in a week without having been asked (ours)."""
ORDER_AFTER_OPEN: Final = Lognormal(3 * HOUR, 1.2)
REFUND: Final = Lognormal(2 * DAY, 0.8)
"""From an order to its refund (ours)."""
CLICK_WINDOW: Final = 5 * DAY
OPEN_WINDOW: Final = DAY
"""An order belongs to the last click within the first, else to the last open within the second: a definition, no figure."""


def open_share_within(seconds: float) -> float:
    """The share of first opens that come within this time of delivery."""
    return PROMPT_SHARE * PROMPT_OPEN.share_within(seconds) + (1 - PROMPT_SHARE) * LATE_OPEN.share_within(seconds)
