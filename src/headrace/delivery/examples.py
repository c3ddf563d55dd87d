"""Example events for tests of a destination, in Segment's form, as real sources send them. The people in them are made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_PERSON: Final = {"userId": "headrace-test", "anonymousId": "headrace-test-device"}
_ADDRESS: Final = "headrace-test@example.com"
_MAIL: Final = {
    "email_id": "48213",
    "email_subject": "Nine new arrivals for your weekend",
    "campaign_id": "1207",
    "campaign_name": "2026_08_NewArrivals_EN",
}
_OF_SELLIGENT: Final = {"integration": {"name": "selligent", "version": "1.0.0"}, "traits": {"email": _ADDRESS}}


def _mail(event: str, **properties: Any) -> Mapping[str, Any]:
    return {"type": "track", "event": event, **_PERSON, "context": _OF_SELLIGENT, "properties": {**_MAIL, **properties}}


EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "email-opened": _mail("Email Opened"),
    "email-delivered": _mail("Email Delivered"),
    "email-link-clicked": _mail(
        "Email Link Clicked", link_id="3", link_name="hero_cta", link_url="https://shop.example/new?utm_campaign=1207"
    ),
    "email-bounced": _mail("Email Bounced"),
    "email-unsubscribed": _mail("Email Unsubscribed", list_id="12", list_name="Newsletter EN"),
    "email-marked-as-spam": _mail("Email Marked as Spam"),
    "order-completed": {
        "type": "track",
        "event": "Order Completed",
        **_PERSON,
        "context": {"traits": {"email": _ADDRESS}},
        "properties": {
            "order_id": "headrace-test-order",
            "revenue": 29.9,
            "currency": "EUR",
            "products": [{"product_id": "p-1", "name": "Mug", "price": 14.95, "quantity": 2}],
        },
    },
    "identify": {
        "type": "identify",
        **_PERSON,
        "traits": {"email": _ADDRESS, "firstName": "Ada", "lastName": "Test", "plan": "team"},
    },
    "page": {
        "type": "page",
        "name": "Home",
        **_PERSON,
        "context": {"traits": {"email": _ADDRESS}},
        "properties": {"url": "https://shop.example/", "path": "/", "title": "Home", "referrer": ""},
    },
    "screen": {"type": "screen", "name": "Cart", **_PERSON, "properties": {"items": 2}},
    "group": {
        "type": "group",
        **_PERSON,
        "groupId": "headrace-test-group",
        "traits": {"name": "Test group", "matchkey": "MAIL", "userlist": "headrace_test"},
    },
    "alias": {"type": "alias", "userId": "headrace-test", "previousId": "headrace-test-device"},
}
"""By the name that `headrace destination test --sample` takes; the first that a destination accepts is what it is tested with."""
