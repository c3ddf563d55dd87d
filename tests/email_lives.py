"""Random lives of a few people over awkward e-mail events: much at the same moment, just at the borders, late, twice, by other names."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

from email_lines import HASHED, events_of
from headrace.event import Event
from headrace.reports.conditions import Condition
from headrace.reports.model.settings import ORDERS, Goal, ModelSettings, Rule

DAY: Final = 86_400
MOMENTS: Final = (0, 1, 2, 9, 10, 40, 60, 61, 100, 299, 300, 301, 600, 3_600, DAY, DAY + 300, 3 * DAY, 5 * DAY + 100)
ADDRESSES: Final = ("ada@mail.example", "Bo@Mail.example", "cy@other.example", "di@other.example")
USERS: Final = ("u1", "u2", "U3", "Di@Other.example", "old")
VISITORS: Final = ("v1", "V1", "v2", "u1")
AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5)",
    "Mozilla/5.0 (Windows NT 10.0)",
    "Mozilla/5.0",
    "GoogleImageProxy",
    "Proofpoint",
    None,
)
KINDS: Final = {
    "Email Delivered": 8,
    "delivery": 1,
    "Email Sent": 1,
    "Email Dropped": 1,
    "Email Deferred": 1,
    "Email Opened": 6,
    "Email Machine Opened": 1,
    "Email Link Clicked": 9,
    "Email Bounced": 2,
    "Email Soft Bounced": 1,
    "Email Unsubscribed": 1,
    "Unsubscribed": 1,
    "Email Marked as Spam": 1,
    "Subscribed": 1,
}
GOALS: Final = (
    ORDERS,
    Goal(name="signed_up", event="Order Signed Up", value=("worth",), key=(), click_days=3, open_days=0),
)
SETTINGS: Final = ModelSettings(
    goals=GOALS,
    rules=[
        Rule(
            name="own_rule",
            sentence="Odd.",
            when=[Condition("domain", "ends_with", ".Example"), Condition("ip", "is", "192.0.2.1")],
        )
    ],
)


class Lives:
    """`people` is how many of ten events tell who is who; with 0 hardly any two names are one person."""

    def __init__(self, seed: int, people: int = 2) -> None:
        self._chance = random.Random(seed)
        self._people = people

    def events(self, number: int) -> list[Event]:
        """Each with an id of its own, a tenth of them what was there before under another id; in random order."""
        lines: list[list[Any]] = []
        for line in self._lines(number):
            lines.append(line)
            if self._chance.random() < 0.1:
                again = [*self._chance.choice(lines)]
                again[3] = {**again[3], "received": self._moment() + 10}
                lines.append(again)
        events = events_of(lines)
        self._chance.shuffle(events)
        return events

    def _lines(self, number: int) -> Iterator[list[Any]]:
        for _ in range(number):
            part = self._chance.random() * 10
            if part < self._people:
                yield self._who_is_who()
            elif part < self._people + 1:
                yield self._order()
            else:
                yield self._mail()

    def _moment(self) -> float:
        return self._chance.choice(MOMENTS) + self._chance.choice((0, 0, 0, 0, 0.001, DAY, 2 * DAY, -1))

    def _named(self) -> tuple[str | None, dict[str, Any]]:
        """A user id or null, and what else names somebody."""
        pick, address = self._chance.choice, self._chance.choice(ADDRESSES)
        if self._chance.random() < 0.3:
            address = address.upper()
        more = pick(
            ({}, {}, {"email": address}, {"email": address, "anonymous": pick(VISITORS)}, {"property.email": address})
        )
        if self._chance.random() * 5 >= self._people:
            more = {}
        if self._chance.random() < 0.4:
            return pick(USERS), more
        hashed = HASHED + address.lower()
        return None, pick(
            (
                {"anonymous": address},
                {"anonymous": address},
                {"anonymous": hashed},
                {"anonymous": hashed, "digest": hashed},
                {"anonymous": pick(VISITORS), **more},
            )
        )

    def _who_is_who(self) -> list[Any]:
        pick = self._chance.choice
        if self._chance.random() < 0.3:
            return ["alias", pick(USERS), self._moment(), {"previous": pick((*USERS, *VISITORS))}]
        user_id, more = self._named()
        if self._chance.random() < 0.3:
            more = {**more, "digest": HASHED + pick(ADDRESSES).lower()}
        holdout = pick(({}, {}, {"holdout": True}, {"holdout": False}))
        return ["identify", user_id, self._moment(), {**more, **holdout}]

    def _order(self) -> list[Any]:
        pick = self._chance.choice
        user_id, more = self._named()
        order = {"order_id": pick(("O1", "O2", "O3", "O4", None)), "total": pick((9.99, 0.1, 100.0, None))}
        return [
            pick(("Order Completed", "Order Completed", "Order Refunded", "Order Signed Up")),
            user_id,
            self._moment(),
            {**more, **order},
        ]

    def _mail(self) -> list[Any]:
        pick, chance = self._chance.choice, self._chance.random
        name = self._chance.choices(list(KINDS), list(KINDS.values()))[0]
        user_id, told = self._named()
        told = {**told, "campaign_id": pick(("1", "1", "2", None)), "email_id": pick(("11", "11", "11", "12", None))}
        told["source"] = pick(("mail", "mail", "mail", "news", "shop"))
        if chance() < 0.1:
            told["message_id"] = pick(("m1", "m2"))
        if chance() < 0.02:
            told["test_send"] = pick((True, False))
        if chance() < 0.2:
            told["journey_id"] = pick(("J", "j", "K"))
        if chance() < 0.2:
            told["campaign_name"] = pick(("Spring", "spring", "Summer"))
        if "Opened" in name or "Clicked" in name:
            told |= {"agent": pick(AGENTS), "ip": pick(("192.0.2.1", "192.0.2.2", None))}
        if name == "Email Opened":
            told["machine_open"] = pick((True, False, None, None))
        if "Clicked" in name:
            told["link_id"] = pick(("1", "2", "3", None))
            told["link_url"] = pick(("https://x.example/", "https://X.example/", None))
        if name == "Email Bounced":
            told["bounce_type"] = pick(("hard", "soft", "block", "Transient", "odd", None))
        if "nsubscribed" in name or name == "Subscribed":
            told["list_id"] = pick(("L1", "l1", None))
        return [name, user_id, self._moment(), told]


def parts(events: Sequence[Event], chance: random.Random, most: int) -> Iterator[Sequence[Event]]:
    """In as many as `most` parts, some of them tiny."""
    borders = sorted(chance.choices(range(1, len(events)), k=most - 1))
    for start, end in zip([0, *borders], [*borders, len(events)], strict=True):
        if start < end:
            yield events[start:end]
