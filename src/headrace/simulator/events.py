"""Happenings as the events that Selligent and a shop send."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from headrace.simulator import figures
from headrace.simulator.campaigns import Campaign
from headrace.simulator.mails import Happening, Kind
from headrace.simulator.orders import ORDER_COMPLETED, order_properties
from headrace.simulator.recipients import PREFETCH_AGENT, Recipients

_NAMES: Final = {
    Kind.DELIVERED: ("Email Delivered", "dlv"),
    Kind.OPENED: ("Email Opened", "opn"),
    Kind.MACHINE_OPENED: ("Email Opened", "mop"),
    Kind.CLICKED: ("Email Link Clicked", "clk"),
    Kind.SCANNED: ("Email Link Clicked", "scn"),
    Kind.UNSUBSCRIBED: ("Email Unsubscribed", "uns"),
    Kind.BOUNCED_HARD: ("Email Bounced", "bnc"),
    Kind.BOUNCED_SOFT: ("Email Bounced", "bnc"),
    Kind.COMPLAINED: ("Email Marked as Spam", "spm"),
}
"""Event name and the part of the messageId that tells kinds apart."""
_BOUNCES: Final = {Kind.BOUNCED_HARD: ("hard", figures.HARD_BOUNCES), Kind.BOUNCED_SOFT: ("soft", figures.SOFT_BOUNCES)}
_BY_HAND: Final = frozenset((Kind.OPENED, Kind.CLICKED, Kind.UNSUBSCRIBED))
_SELLIGENT: Final = {"name": "selligent", "version": "1.0.0"}
_LIBRARY: Final = {"name": "headrace-simulator", "version": "1"}
"""Simulated events can be told from real ones by it."""
_PROXY_IP: Final = "203.0.113.254"


class Mail(NamedTuple):
    """One send; `number` is unlike any other's in the simulation. An unasked order has a number and no campaign."""

    number: int
    recipient: int
    campaign: Campaign | None


class Writer:
    """Writes events. `run` makes the messageIds of two simulations unlike."""

    def __init__(self, run: str, recipients: Recipients, chance: random.Random) -> None:
        self._run = run
        self._recipients = recipients
        self._chance = chance

    def event(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        if happening.kind is Kind.ORDERED or mail.campaign is None:
            return self._order(mail, happening)
        name, part = _NAMES[happening.kind]
        address = self._recipients.address(mail.recipient)
        context: dict[str, Any] = {"integration": _SELLIGENT, "library": _LIBRARY, "traits": {"email": address}}
        self._add_client(context, mail.recipient, happening.kind)
        user_id = self._recipients.user_id(mail.recipient)
        return {
            "type": "track",
            "event": name,
            "messageId": f"smc-{self._run}-{mail.number:x}-{part}-{happening.number}",
            "anonymousId" if user_id is None else "userId": address if user_id is None else user_id,
            "timestamp": iso(happening.at),
            "sentAt": iso((happening.at // figures.MINUTE + 1) * figures.MINUTE),
            "context": context,
            "properties": _properties(mail.campaign, happening),
        }

    def _add_client(self, context: dict[str, Any], recipient: int, kind: Kind) -> None:
        if kind in _BY_HAND:
            context["ip"] = self._recipients.ip(recipient)
            context["userAgent"] = self._recipients.agent(recipient)
        elif kind is Kind.MACHINE_OPENED:
            context["ip"] = _PROXY_IP
            context["userAgent"] = PREFETCH_AGENT
        elif kind is Kind.SCANNED:
            context["ip"] = _PROXY_IP
            context["userAgent"] = self._recipients.scanner(recipient)

    def _order(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        """A shop's event has no sentAt of its own: the sender sets it, as an SDK does, so that its clock is corrected."""
        user_id = self._recipients.user_id(mail.recipient)
        visitor = f"v-{mail.recipient:08x}"
        return {
            "type": "track",
            "event": ORDER_COMPLETED,
            "messageId": f"shop-{self._run}-{mail.number:x}",
            "anonymousId" if user_id is None else "userId": visitor if user_id is None else user_id,
            "timestamp": iso(happening.at),
            "context": {"library": _LIBRARY, "traits": {"email": self._recipients.address(mail.recipient)}},
            "properties": order_properties(f"O-{self._run}-{mail.number:x}", self._chance),
        }


def _properties(campaign: Campaign, happening: Happening) -> dict[str, Any]:
    kind = happening.kind
    properties: dict[str, Any] = {
        "email_id": campaign.email_id,
        "email_subject": campaign.email_subject,
        "campaign_id": campaign.campaign_id,
        "campaign_name": campaign.campaign_name,
    }
    if campaign.journey_id is not None:
        properties["journey_id"] = campaign.journey_id
        properties["journey_name"] = campaign.journey_name
    if kind in (Kind.CLICKED, Kind.SCANNED):
        link = figures.LINKS[happening.number]
        properties["link_id"] = str(happening.number + 1)
        properties["link_name"] = link
        properties["link_url"] = f"https://shop.example/{link}?utm_medium=email&utm_campaign={campaign.campaign_id}"
    elif kind is Kind.MACHINE_OPENED:
        properties["machine_open"] = True
    elif kind is Kind.UNSUBSCRIBED:
        properties["list_id"] = campaign.list_id
        properties["list_name"] = campaign.list_name
        properties["unsubscribe_method"] = "link"
    elif kind is Kind.COMPLAINED:
        properties["feedback_type"] = "abuse"
    elif kind in _BOUNCES:
        bounce_type, reasons = _BOUNCES[kind]
        code, reason = reasons[happening.number]
        properties |= {"bounce_type": bounce_type, "bounce_code": code, "bounce_reason": reason}
    return properties


def iso(at: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
