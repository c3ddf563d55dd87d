"""The people of a simulated list: who they are is drawn once, everything else follows from their number."""

from __future__ import annotations

import itertools
import random
from array import array
from typing import Final, NamedTuple

from headrace.simulator import figures
from headrace.simulator.realism import PLAIN, Realism

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
_TIME_ZONES: Final = (
    *("Europe/Brussels",) * 6,
    *("Europe/Berlin", "Europe/Paris", "Europe/London") * 3,
    *("America/New_York", "America/Los_Angeles") * 2,
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Australia/Sydney",
)
_SLOW_AT: Final = "company-c.example"
_DISGUISED_AT: Final = "company-d.example"
TEST_DOMAIN: Final = "agency.example"
PREFETCH_AGENT: Final = "Mozilla/5.0"
"""All that Apple's proxy says of itself."""


class Scanner(NamedTuple):
    """A machine that clicks every link: what it calls itself, whether that tells, and whether it acts at once."""

    agent: str
    tells: bool = True
    prompt: bool = True


class Recipients:
    """A list of people by number, about 25 bytes each. `barred_from` is when a person was taken off the list.

    The numbers from `count` on are the addresses of test sends. `known_later` are people without a user id
    who will get one."""

    def __init__(self, count: int, chance: random.Random, realism: Realism = PLAIN) -> None:
        self.count = count
        self._domains = [*_domains(), (TEST_DOMAIN, 0.0)]
        weights = list(itertools.accumulate(weight for _, weight in self._domains))
        domain_numbers = chance.choices(range(len(self._domains)), cum_weights=weights, k=count)
        self._domain = array("B", domain_numbers)
        self._known = bytearray(chance.random() < figures.WITH_USER_ID for _ in range(count))
        self.loyalty = array("d", (chance.betavariate(*figures.LOYALTY) for _ in range(count)))
        scale = figures.APPLE_MAIL / figures.LOYALTY_MEAN
        self.apple_mail = bytearray(chance.random() < scale * loyalty for loyalty in self.loyalty)
        self.barred_from = array("d", [float("inf")]) * count
        self.holdout = _some(count, realism.holdout, chance)
        self._mixed = _some(count, realism.mixed_case, chance)
        later = _some(count, realism.known_later, chance)
        self.known_later = array("l", (n for n in range(count) if later[n] and not self._known[n]))
        self._scanners = [_scanner(domain, realism) for domain, _ in self._domains]
        self._add_test_addresses(realism.test_sends)

    def _add_test_addresses(self, addresses: int) -> None:
        self._domain.extend([len(self._domains) - 1] * addresses)
        for flags in (self._known, self.apple_mail, self.holdout, self._mixed):
            flags.extend(bytes(addresses))
        self.loyalty.extend([0.0] * addresses)
        self.barred_from.extend([float("inf")] * addresses)

    def counts(self) -> dict[str, int]:
        """How many of the list, without test addresses, are what."""
        listed = range(self.count)
        return {
            "people": self.count,
            "holdout": sum(self.holdout),
            "apple_mail": sum(self.apple_mail),
            "behind_scanners": sum(self.scanner(number) is not None for number in listed),
            "mixed_case": sum(self._mixed),
            "with_user_id": sum(self._known),
        }

    def domain(self, number: int) -> str:
        return self._domains[self._domain[number]][0]

    def address(self, number: int) -> str:
        first = _FIRST[number % len(_FIRST)]
        last = _LAST[number % len(_LAST)]
        return f"{first}.{last}.{number}@{self._domains[self._domain[number]][0]}"

    def spelling(self, number: int, chance: random.Random) -> str:
        """The address as somebody once typed it: for some people in another case each time."""
        address = self.address(number)
        if not self._mixed[number]:
            return address
        way = chance.randrange(3)
        return address if way == 0 else address.title() if way == 1 else address.upper()

    def user_id(self, number: int) -> str | None:
        return f"C-{100_000 + number}" if self._known[number] else None

    def gain_user_id(self, number: int) -> None:
        self._known[number] = True

    def agent(self, number: int) -> str:
        return _AGENTS[number % len(_AGENTS)]

    def ip(self, number: int) -> str:
        """An address of the networks that RFC 5737 keeps for documentation."""
        return f"{_NETWORKS[number % len(_NETWORKS)]}.{1 + number % 254}"

    def time_zone(self, number: int) -> str:
        return _TIME_ZONES[number % len(_TIME_ZONES)]

    def scanner(self, number: int) -> Scanner | None:
        """What reads this person's mail first."""
        return self._scanners[self._domain[number]]


def _domains() -> list[tuple[str, float]]:
    shares = dict(figures.DOMAIN_SHARES)
    corporate = shares.pop("corporate") / len(figures.CORPORATE_DOMAINS)
    return [*shares.items(), *((domain, corporate) for domain in figures.CORPORATE_DOMAINS)]


def _some(count: int, share: float, chance: random.Random) -> bytearray:
    return bytearray(chance.random() < share for _ in range(count)) if share else bytearray(count)


def _scanner(domain: str, realism: Realism) -> Scanner | None:
    agent = figures.SCANNERS.get(domain)
    if agent is None:
        return None
    if not realism.odd_scanners:
        return Scanner(agent)
    if domain == _DISGUISED_AT:
        return Scanner(_AGENTS[0], tells=False)
    return Scanner(agent, prompt=domain != _SLOW_AT)
