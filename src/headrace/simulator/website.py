"""What people do on the shop's website besides ordering: they look around, and some say who they are."""

from __future__ import annotations

import random

from headrace.simulator import figures
from headrace.simulator.campaigns import Send
from headrace.simulator.happenings import ON_THE_LIST, ON_THE_WEBSITE, Kind
from headrace.simulator.recipients import Recipients

_ALIASED: float = 0.5
"""Share of the websites' visitors whose page sends an alias event too (ours)."""
_VIEW_BEFORE = figures.Lognormal(3 * figures.HOUR, 2.0)
PAGES = ("Home", "Sale", "Journal", "Account")


def visits(people: Recipients, starts: float, ends: float, chance: random.Random) -> list[Send]:
    """In order of time: first the shop tells of everyone on the list, later those without a user id come, look, and get one."""
    step = figures.HOUR / max(people.count, 1)
    found = [Send(starts + number * step, number, None, Kind.IDENTIFIED, ON_THE_LIST) for number in range(people.count)]
    begin = starts + figures.HOUR
    for number in people.known_later:
        known_at = chance.uniform(begin, ends)
        for page in range(chance.randint(1, 3)):
            at = max(begin, known_at - _VIEW_BEFORE.draw(chance))
            found.append(Send(at, number, None, Kind.VIEWED, page))
        found.append(Send(known_at, number, None, Kind.IDENTIFIED, ON_THE_WEBSITE))
        if chance.random() < _ALIASED:
            found.append(Send(min(known_at + 1.0, ends), number, None, Kind.ALIASED))
    return sorted(found, key=_time)


def _time(send: Send) -> float:
    return send.at
