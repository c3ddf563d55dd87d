"""Happenings as the events that a shop and its website send."""

from __future__ import annotations

import random
from typing import Any, Final

from headrace.simulator.happenings import ON_THE_WEBSITE, Happening, Kind
from headrace.simulator.mails import Mail
from headrace.simulator.moments import iso
from headrace.simulator.orders import ORDER_COMPLETED, ORDER_REFUNDED, order_properties
from headrace.simulator.realism import Realism
from headrace.simulator.recipients import Recipients
from headrace.simulator.website import PAGES

LIBRARY: Final = {"name": "headrace-simulator", "version": "1"}
"""Simulated events can be told from real ones by it."""


class ShopWriter:
    """None of these has a sentAt of its own: the sender sets it, as an SDK does, so that its clock is corrected."""

    def __init__(self, run: str, recipients: Recipients, chance: random.Random, realism: Realism) -> None:
        self._run = run
        self._recipients = recipients
        self._chance = chance
        self._website = realism.website

    def event(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        match happening.kind:
            case Kind.VIEWED:
                return self._viewed(mail, happening)
            case Kind.IDENTIFIED:
                return self._identified(mail, happening)
            case Kind.ALIASED:
                return self._aliased(mail, happening)
            case _:
                return self._order(mail, happening)

    def _order(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        order = f"{self._run}-{mail.number:x}"
        refunded = happening.kind is Kind.REFUNDED
        context = self._context(mail.recipient)
        context["traits"] = {"email": self._recipients.spelling(mail.recipient, self._chance)}
        return {
            "type": "track",
            "event": ORDER_REFUNDED if refunded else ORDER_COMPLETED,
            "messageId": f"shop-{order}-refund" if refunded else f"shop-{order}",
            **self._identity(mail.recipient),
            "timestamp": iso(happening.at),
            "context": context,
            "properties": order_properties(f"O-{order}", happening.number, self._chance),
        }

    def _viewed(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        page = PAGES[happening.number % len(PAGES)]
        return {
            "type": "page",
            "name": page,
            "messageId": f"web-{self._run}-{mail.number:x}",
            "anonymousId": _visitor(mail.recipient),
            "timestamp": iso(happening.at),
            "context": self._context(mail.recipient),
            "properties": {"title": page, "url": f"https://shop.example/{page.lower()}"},
        }

    def _identified(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        """On the website the visitor's anonymous id comes with the user id, which ties both to the address."""
        people, recipient = self._recipients, mail.recipient
        identity = self._identity(recipient)
        if happening.number == ON_THE_WEBSITE:
            identity["anonymousId"] = _visitor(recipient)
        return {
            "type": "identify",
            "messageId": f"web-{self._run}-{mail.number:x}",
            **identity,
            "timestamp": iso(happening.at),
            "context": self._context(recipient),
            "traits": {
                "email": people.spelling(recipient, self._chance),
                "holdout": bool(people.holdout[recipient]),
                "timezone": people.time_zone(recipient),
            },
        }

    def _aliased(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        return {
            "type": "alias",
            "messageId": f"web-{self._run}-{mail.number:x}",
            "previousId": _visitor(mail.recipient),
            "userId": self._recipients.user_id(mail.recipient),
            "timestamp": iso(happening.at),
            "context": self._context(mail.recipient),
        }

    def _identity(self, recipient: int) -> dict[str, Any]:
        user_id = self._recipients.user_id(recipient)
        return {"anonymousId": _visitor(recipient)} if user_id is None else {"userId": user_id}

    def _context(self, recipient: int) -> dict[str, Any]:
        context: dict[str, Any] = {"library": LIBRARY}
        if self._website:
            context["timezone"] = self._recipients.time_zone(recipient)
        return context


def _visitor(recipient: int) -> str:
    return f"v-{recipient:08x}"
