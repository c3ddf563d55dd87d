"""People, sends, machines and messages: the middle of the oracle of the e-mail model. Everything is looked for anew in all events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from email_oracle_reading import Evidence, Told
from headrace.reports.conditions import Condition
from headrace.reports.model.settings import Rule

SENT_KINDS: Final = ("sent", "delivered", "bounced", "dropped")
SEEN_KINDS: Final = ("opened", "clicked")
BOUNCES_BY_WEIGHT: Final = ("hard", "soft", "block", "unknown")


@dataclass(frozen=True)
class Definitions:
    """What the model's figures hang on. Tests change one to see that it is found out."""

    steps_to_a_person: int = 4
    delivery_may_be_late: timedelta = timedelta(minutes=5)
    """A delivery's stamp may come this much after what its mail brought about."""
    new_send_after: timedelta = timedelta(minutes=5)
    a_click_is_an_open: bool = True
    machines_are_left_out: bool = True
    repeats_are_one: bool = True
    seen_after_a_bounce_is_delivered: bool = True
    clicks_beat_opens: bool = True
    test_sends_are_left_out: bool = True


class People:
    """Who is who. The first evidence for an alias counts."""

    def __init__(self, evidence: Iterable[Evidence], steps: int) -> None:
        self.by_alias: dict[str, Evidence] = {}
        self._steps = steps
        for one in sorted(evidence, key=lambda one: (one.happened_at, one.target, not one.is_user), reverse=True):
            self.by_alias[one.alias] = one

    def person(self, name: str) -> str:
        for _ in range(self._steps):
            name = self.by_alias[name].target if name in self.by_alias else name
        return name

    def is_user(self, name: str) -> bool:
        """What the name leads to in the end is a user id."""
        found = False
        for _ in range(self._steps):
            if name in self.by_alias:
                found, name = self.by_alias[name].is_user, self.by_alias[name].target
        return found

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "alias": alias,
                "target": one.target,
                "is_user": one.is_user,
                "happened_at": one.happened_at,
                "recipient_key": self.person(alias),
                "is_matched": self.is_user(alias),
            }
            for alias, one in self.by_alias.items()
        ]


@dataclass
class Mail:
    """An e-mail event in its place."""

    told: Told
    person: str
    is_matched: bool
    send_number: int = 1
    machine_reasons: list[str] = field(default_factory=list)

    @property
    def is_human(self) -> bool:
        return self.told.kind in SEEN_KINDS and not self.machine_reasons

    @property
    def group(self) -> tuple[str, ...]:
        told = self.told
        return (told.source, told.campaign_id, told.email_id, self.person, told.platform_id or "")


@dataclass(frozen=True)
class Message:
    """One mail to one person; `row` is its row of email.messages without numbers."""

    events: Sequence[Mail]
    row: Mapping[str, Any]

    def __getitem__(self, column: str) -> Any:
        return self.row[column]


def without_repeats(told: Iterable[Told]) -> list[Told]:
    found: dict[tuple[Any, ...], Told] = {}
    for one in sorted(told, key=lambda one: (one.received_at, one.id)):
        same = (one.source, one.kind, one.recipient, one.campaign_id, one.email_id, one.platform_id, one.link)
        found.setdefault((*same, one.happened_at, one.bounce_type), one)
    return list(found.values())


def mails(told: Iterable[Told], people: People, rules: Sequence[Rule], definitions: Definitions) -> list[Mail]:
    """E-mail events without repeats, with their persons, sends and flags."""
    found = [
        Mail(one, people.person(one.recipient), one.who.user_id is not None or people.is_user(one.recipient))
        for one in (without_repeats(told) if definitions.repeats_are_one else told)
    ]
    groups = defaultdict(list)
    for mail in found:
        groups[mail.group].append(mail)
    for group in groups.values():
        number_sends([mail for mail in group if mail.told.kind != "subscribed"], definitions)
    if definitions.machines_are_left_out:
        for mail in found:
            if mail.told.kind in SEEN_KINDS:
                facts = facts_of(mail, groups[mail.group], found, definitions)
                mail.machine_reasons = sorted(rule.name for rule in rules if applies(rule, mail.told.kind, facts))
    return found


def number_sends(group: Iterable[Mail], definitions: Definitions) -> None:
    def place(mail: Mail) -> tuple[datetime, bool, str, str]:
        told = mail.told
        is_delivery = told.kind == "delivered"
        moment = told.happened_at - definitions.delivery_may_be_late if is_delivery else told.happened_at
        return moment, not is_delivery, told.kind, told.id

    number, delivered_at = 1, None
    for mail in sorted(group, key=place):
        if mail.told.kind == "delivered":
            if delivered_at is not None and mail.told.happened_at - delivered_at >= definitions.new_send_after:
                number += 1
            delivered_at = mail.told.happened_at
        mail.send_number = number


def facts_of(mail: Mail, group: Sequence[Mail], all_mails: Sequence[Mail], definitions: Definitions) -> dict[str, Any]:
    """What rules may ask of an open or a click, by field."""
    told = mail.told
    facts: dict[str, Any] = {
        "machine_flag": told.machine_open,
        "seconds_after_delivery": seconds_after_delivery(told, group, definitions),
        "links_within_2_seconds": None,
        "links_of_email": len(links_of_email(told, all_mails)),
        "clicked_every_link_within_a_minute": None,
        "user_agent": told.user_agent,
        "ip": told.ip,
        "domain": domain(told.who.address),
        "kind": told.kind,
        "source": told.source,
        "campaign_id": told.campaign_id,
    }
    if told.kind == "clicked":
        clicks = [one.told for one in group if one.told.kind == "clicked" and one.send_number == mail.send_number]
        facts["links_within_2_seconds"] = links_within_2_seconds(told, clicks)
        near = {one.link for one in clicks if abs(one.happened_at - told.happened_at) <= timedelta(seconds=60)}
        facts["clicked_every_link_within_a_minute"] = len(near) == facts["links_of_email"]
    return facts


def seconds_after_delivery(told: Told, group: Sequence[Mail], definitions: Definitions) -> float | None:
    latest = told.happened_at + definitions.delivery_may_be_late
    deliveries = [one.told.happened_at for one in group if one.told.kind == "delivered"]
    before = [moment for moment in deliveries if moment <= latest]
    return (told.happened_at - max(before)).total_seconds() if before else None


def links_of_email(told: Told, all_mails: Sequence[Mail]) -> set[str | None]:
    mail_of = (told.source, told.campaign_id, told.email_id)
    clicks = (one.told for one in all_mails if one.told.kind == "clicked")
    return {one.link for one in clicks if (one.source, one.campaign_id, one.email_id) == mail_of}


def links_within_2_seconds(told: Told, clicks: Sequence[Told]) -> int:
    window = timedelta(seconds=2)
    starts = [one.happened_at for one in clicks if timedelta() <= told.happened_at - one.happened_at <= window]
    return max(len({one.link for one in clicks if start <= one.happened_at <= start + window}) for start in starts)


def applies(rule: Rule, kind: str, facts: Mapping[str, Any]) -> bool:
    return rule.kind in (kind, "both") and all(holds(condition, facts[condition.field]) for condition in rule.when)


def holds(condition: Condition, found: Any) -> bool:
    """The operators that the rules of headrace use, and those that the tests' own do."""
    wanted = condition.value
    match condition.operator:
        case "is":
            return bool(found == wanted)
        case "less":
            return found is not None and bool(found < wanted)
        case "at_least":
            return found is not None and bool(found >= wanted)
        case "contains_any":
            return found is not None and any(word.lower() in found.lower() for word in wanted)
        case "ends_with":
            return found is not None and bool(found.lower().endswith(wanted.lower()))
    raise NotImplementedError(condition.operator)


def domain(address: str | None) -> str:
    """What stands behind the first @."""
    return "" if address is None else [*address.split("@"), ""][1]


def messages(found: Iterable[Mail], definitions: Definitions) -> list[Message]:
    by_message = defaultdict(list)
    for mail in found:
        if mail.told.kind != "subscribed":
            by_message[mail.group, mail.send_number].append(mail)
    return [message(events, definitions) for events in by_message.values()]


def message(events: Sequence[Mail], definitions: Definitions) -> Message:
    events = sorted(events, key=lambda mail: (mail.told.happened_at, mail.told.id))
    told = [mail.told for mail in events]

    def moments(*kinds: str) -> list[datetime]:
        return [one.happened_at for one in told if one.kind in kinds]

    def all_told(column: str) -> list[str]:
        return [value for value in (getattr(one, column) for one in told) if value is not None]

    address = max((one.who.address for one in told if one.who.address is not None), default=None)
    human_clicks = [mail for mail in events if mail.is_human and mail.told.kind == "clicked"]
    human_opens = [mail for mail in events if mail.is_human and mail.told.kind == "opened"]
    read = human_opens + (human_clicks if definitions.a_click_is_an_open else [])
    bounce_types = [one.bounce_type for one in told if one.kind == "bounced"]
    reasons = {reason for mail in events for reason in mail.machine_reasons}
    row = {
        "source": told[0].source,
        "campaign_id": told[0].campaign_id,
        "email_id": told[0].email_id,
        "journey_id": min(all_told("journey_id"), default=None),
        "recipient_key": events[0].person,
        "is_matched": any(mail.is_matched for mail in events),
        "email": address,
        "domain": domain(address),
        "send_number": events[0].send_number,
        "list_id": max(all_told("list_id"), default=None),
        "sent_at": first(moments(*SENT_KINDS)) or told[0].happened_at,
        "delivered_at": first(moments("delivered")),
        "opened_at": first(moments("opened")),
        "human_opened_at": first(mail.told.happened_at for mail in read),
        "clicked_at": first(moments("clicked")),
        "human_clicked_at": first(mail.told.happened_at for mail in human_clicks),
        "bounced_at": max(moments("bounced"), default=None),
        "unsubscribed_at": first(moments("unsubscribed")),
        "complained_at": first(moments("complained")),
        "is_test": any(one.is_test for one in told),
        "is_sent": bool(moments(*SENT_KINDS)),
        "is_delivered": is_delivered(moments, definitions),
        "is_opened": bool(moments("opened")),
        "is_human_opened": bool(read),
        "is_clicked": bool(moments("clicked")),
        "is_human_clicked": bool(human_clicks),
        "is_bounced": bool(moments("bounced")),
        "is_unsubscribed": bool(moments("unsubscribed")),
        "is_complained": bool(moments("complained")),
        "bounce_type": next((type_ for type_ in BOUNCES_BY_WEIGHT if type_ in bounce_types), None),
        "open_events": len(moments("opened")),
        "human_open_events": len(human_opens),
        "click_events": len(moments("clicked")),
        "human_click_events": len(human_clicks),
        "links_clicked": len({one.link for one in told if one.kind == "clicked"}),
        "machine_reasons": ",".join(sorted(reasons)) or None,
        "device": device_of(human_clicks + human_opens),
    }
    return Message(events, row)


def first(moments: Iterable[datetime]) -> datetime | None:
    return min(moments, default=None)


def is_delivered(moments: Any, definitions: Definitions) -> bool:
    delivered, bounced, seen = moments("delivered"), moments("bounced"), moments("opened", "clicked")
    if not bounced:
        return bool(delivered)
    if delivered and max(delivered) >= max(bounced):
        return True
    return definitions.seen_after_a_bounce_is_delivered and bool(seen) and max(seen) > max(bounced)


def device_of(human: Sequence[Mail]) -> str | None:
    """Of the earliest whose user agent is told; of a click and an open at once the click's."""
    told = [mail.told for mail in human if mail.told.user_agent is not None]
    earliest = min(told, key=lambda one: (one.happened_at, one.kind, one.id), default=None)
    return None if earliest is None else device(earliest.user_agent or "")


def device(user_agent: str) -> str:
    agent = user_agent.lower()
    if "googleimageproxy" in agent or "yahoomailproxy" in agent:
        return "webmail"
    if "ipad" in agent or "tablet" in agent or ("android" in agent and "mobile" not in agent):
        return "tablet"
    if "iphone" in agent or "mobile" in agent:
        return "mobile"
    return "desktop" if any(word in agent for word in ("windows", "macintosh", "x11", "linux")) else "unknown"
