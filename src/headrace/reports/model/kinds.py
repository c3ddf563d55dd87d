"""Which event is what kind of e-mail event, for every platform: by the name of its table, which is the event's in snake case.

The aliases are those of the platforms' webhooks and of Segment's e-mail specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """`machine`: the name itself says that a machine opened it. `bounce_type`: what the name says, where the event does not.
    `everywhere`: the name means e-mail in any source; others do only in those whose kind is e-mail."""

    kind: str
    machine: bool = False
    bounce_type: str | None = None
    everywhere: bool = True
    may_be_temporary: bool = False
    """A failure that the property `severity` may call temporary: then it is a deferral (Mailgun)."""


def _ambiguous(kind: str, *, machine: bool = False, bounce_type: str | None = None) -> Kind:
    return Kind(kind, machine, bounce_type, everywhere=False)


KINDS: Final[Mapping[str, Kind]] = {
    "email_sent": Kind("sent"),
    "email_processed": Kind("sent"),
    "injection": _ambiguous("sent"),
    "request": _ambiguous("sent"),
    "accepted": _ambiguous("sent"),
    "queued": _ambiguous("sent"),
    "processed": _ambiguous("sent"),
    "email_delivered": Kind("delivered"),
    "email_received": Kind("delivered"),
    "delivery": _ambiguous("delivered"),
    "delivered": _ambiguous("delivered"),
    "sent": _ambiguous("delivered"),  # Mailjet's
    "email_opened": Kind("opened"),
    "email_open": Kind("opened"),
    "email_machine_opened": Kind("opened", machine=True),
    "unique_opened": _ambiguous("opened"),
    "proxy_open": _ambiguous("opened", machine=True),
    "email_link_clicked": Kind("clicked"),
    "email_clicked": Kind("clicked"),
    "link_clicked": _ambiguous("clicked"),
    "email_bounced": Kind("bounced"),
    "email_soft_bounced": Kind("bounced", bounce_type="soft"),
    "email_failed": Kind("bounced", may_be_temporary=True),
    "failed": Kind("bounced", everywhere=False, may_be_temporary=True),
    "hard_bounce": _ambiguous("bounced", bounce_type="hard"),
    "soft_bounce": _ambiguous("bounced", bounce_type="soft"),
    "email_deferred": Kind("deferred"),
    "delivery_delayed": _ambiguous("deferred"),
    "email_dropped": Kind("dropped"),
    "email_suppressed": Kind("dropped"),
    "rejected": _ambiguous("dropped"),
    "blocked": _ambiguous("dropped"),
    "email_marked_as_spam": Kind("complained"),
    "email_complained": Kind("complained"),
    "reported_as_spam": _ambiguous("complained"),
    "spamreport": _ambiguous("complained"),
    "email_unsubscribed": Kind("unsubscribed"),
    "email_group_unsubscribed": Kind("unsubscribed"),
    "unsubscribed": _ambiguous("unsubscribed"),
    "unsubscribe": _ambiguous("unsubscribed"),
    "unsubscribed_from_group": _ambiguous("unsubscribed"),
    "email_subscribed": Kind("subscribed"),
    "subscribed": _ambiguous("subscribed"),
    "resubscribed_to_group": _ambiguous("subscribed"),
    "group_resubscribe": _ambiguous("subscribed"),
}


def kind_of(table: str, *, is_email: bool) -> Kind | None:
    """What a table's events are, None when they are no e-mail events. `is_email`: the source sends e-mail events."""
    found = KINDS.get(table)
    return found if found is not None and (found.everywhere or is_email) else None
