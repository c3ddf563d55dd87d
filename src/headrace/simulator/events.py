"""Happenings as the events that Selligent sends; `Writer` writes the shop's too."""

from __future__ import annotations

import random
from typing import Any, Final

from headrace.simulator import figures
from headrace.simulator.campaigns import Campaign
from headrace.simulator.happenings import FIRST_OF_SHOP, FLAG_MISSING, FLAGGED, Happening, Kind
from headrace.simulator.mails import Mail
from headrace.simulator.moments import iso, next_minute
from headrace.simulator.realism import PLAIN, Realism
from headrace.simulator.recipients import PREFETCH_AGENT, Recipients
from headrace.simulator.shop_events import LIBRARY, ShopWriter

NAMES: Final = {
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
_PROXY_IP: Final = "203.0.113.254"


class Writer:
    """Writes events. `run` makes the messageIds of two simulations unlike."""

    def __init__(self, run: str, recipients: Recipients, chance: random.Random, realism: Realism = PLAIN) -> None:
        self._run = run
        self._recipients = recipients
        self._chance = chance
        self._flags_people = realism.unflagged > 0
        self._shop = ShopWriter(run, recipients, chance, realism)

    def event(self, mail: Mail, happening: Happening) -> dict[str, Any]:
        kind, people = happening.kind, self._recipients
        if kind >= FIRST_OF_SHOP or mail.campaign is None:
            return self._shop.event(mail, happening)
        name, part = NAMES[kind]
        address = people.spelling(mail.recipient, self._chance)
        context: dict[str, Any] = {"integration": _SELLIGENT, "library": LIBRARY, "traits": {"email": address}}
        if kind is not Kind.DELIVERED:
            self._add_client(context, mail.recipient, kind)
        properties = _properties(mail.campaign, happening)
        if self._flags_people and kind is Kind.OPENED and mail.number % 3:
            properties["machine_open"] = None if mail.number % 3 == 1 else False
        user_id = people.user_id(mail.recipient)
        return {
            "type": "track",
            "event": name,
            "messageId": f"smc-{self._run}-{mail.number:x}-{part}-{happening.number}",
            "anonymousId" if user_id is None else "userId": address if user_id is None else user_id,
            "timestamp": iso(happening.at),
            "sentAt": next_minute(happening.at),
            "context": context,
            "properties": properties,
        }

    def _add_client(self, context: dict[str, Any], recipient: int, kind: Kind) -> None:
        if kind in _BY_HAND:
            context["ip"] = self._recipients.ip(recipient)
            context["userAgent"] = self._recipients.agent(recipient)
        elif kind is Kind.MACHINE_OPENED:
            context["ip"] = _PROXY_IP
            context["userAgent"] = PREFETCH_AGENT
        elif kind is Kind.SCANNED:
            scanner = self._recipients.scanner(recipient)
            context["ip"] = _PROXY_IP
            context["userAgent"] = scanner.agent if scanner else None


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
    if campaign.test:
        properties["test_send"] = True
    if kind is Kind.DELIVERED:
        return properties
    if kind in (Kind.CLICKED, Kind.SCANNED):
        link = figures.LINKS[happening.number]
        properties["link_id"] = str(happening.number + 1)
        properties["link_name"] = link
        properties["link_url"] = f"https://shop.example/{link}?utm_medium=email&utm_campaign={campaign.campaign_id}"
    elif kind is Kind.MACHINE_OPENED:
        if happening.number != FLAG_MISSING:
            properties["machine_open"] = True if happening.number == FLAGGED else None
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
