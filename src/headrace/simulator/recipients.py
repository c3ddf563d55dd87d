"""The people of a simulated list: who they are is drawn once, everything else follows from their number."""

from __future__ import annotations

import itertools
import random
from array import array
from typing import Final

from headrace.simulator import figures

_FIRST: Final = (
    "ada",
    "bram",
    "chloe",
    "daan",
    "elif",
    "finn",
    "greta",
    "hugo",
    "ines",
    "jonas",
    "katja",
    "liam",
    "mila",
)
_LAST: Final = ("peeters", "moreau", "weber", "jansen", "rossi", "novak", "silva", "dubois", "larsen", "kaya", "smit")
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
_NETWORKS: Final = ("192.0.2", "198.51.100", "203.0.113")
PREFETCH_AGENT: Final = "Mozilla/5.0"
"""All that Apple's proxy says of itself."""


class Recipients:
    """A list of people by number, about 20 bytes each. `barred_from` is when a person was taken off the list."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self.count = count
        self._domains = _domains()
        weights = list(itertools.accumulate(weight for _, weight in self._domains))
        domain_numbers = chance.choices(range(len(self._domains)), cum_weights=weights, k=count)
        self._domain = array("B", domain_numbers)
        self._known = bytearray(chance.random() < figures.WITH_USER_ID for _ in range(count))
        self.loyalty = array("d", (chance.betavariate(*figures.LOYALTY) for _ in range(count)))
        scale = figures.APPLE_MAIL / figures.LOYALTY_MEAN
        self.apple_mail = bytearray(chance.random() < scale * loyalty for loyalty in self.loyalty)
        self.barred_from = array("d", [float("inf")]) * count

    def domain(self, number: int) -> str:
        return self._domains[self._domain[number]][0]

    def address(self, number: int) -> str:
        first = _FIRST[number % len(_FIRST)]
        last = _LAST[number % len(_LAST)]
        return f"{first}.{last}.{number}@{self.domain(number)}"

    def user_id(self, number: int) -> str | None:
        return f"C-{100_000 + number}" if self._known[number] else None

    def agent(self, number: int) -> str:
        return _AGENTS[number % len(_AGENTS)]

    def ip(self, number: int) -> str:
        """An address of the networks that RFC 5737 keeps for documentation."""
        return f"{_NETWORKS[number % len(_NETWORKS)]}.{1 + number % 254}"

    def scanner(self, number: int) -> str | None:
        """The user agent of the scanner that reads this person's mail first."""
        return figures.SCANNERS.get(self.domain(number))


def _domains() -> list[tuple[str, float]]:
    shares = dict(figures.DOMAIN_SHARES)
    corporate = shares.pop("corporate") / len(figures.CORPORATE_DOMAINS)
    return [*shares.items(), *((domain, corporate) for domain in figures.CORPORATE_DOMAINS)]
