"""What a workspace chooses about its e-mail model: sources, rules for machines, goals, labels. All of it has defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from headrace.reports.conditions import Condition

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_]{0,62}$")]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Takes an open or a click for a machine's when all of `when` holds. The fields are those of `rule_fields.RULE_FIELDS`."""

    name: Name
    sentence: str
    kind: Literal["opened", "clicked", "both"] = "both"
    when: Sequence[Condition]
    enabled: bool = True


class Goal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event that counts as a success. Of `value` and `key`, names of properties, the first that an event has is taken."""

    name: Name
    event: str
    """The event's name as it is sent: Order Completed."""
    source: str | None = None
    """Only from this source (its slug); None: from any."""
    value: Sequence[str] = ("total", "revenue", "value")
    key: Sequence[str] = ("order_id", "checkout_id")
    """One and the same conversion has the same key; without one, the same messageId."""
    click_days: Annotated[float, msgspec.Meta(gt=0, le=365)] = 5.0
    open_days: Annotated[float, msgspec.Meta(ge=0, le=365)] = 1.0
    """How long after a click or an open a conversion is given to it."""


class LabelRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A campaign whose name or id fits the pattern gets the label. Of a set the first rule that fits counts."""

    set: Name
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    """As for files: `*` any characters, `?` one. Case is ignored."""
    field: Literal["campaign_name", "campaign_id"] = "campaign_name"


SCANNER_WORDS: Final = ("barracuda", "proofpoint", "mimecast", "ciscosecureemail", "tmes")

RULES: Final[Sequence[Rule]] = (
    Rule(
        name="platform_flag",
        sentence="The platform itself says that a machine opened it.",
        kind="opened",
        when=[Condition("machine_flag", "is", True)],
    ),
    Rule(
        name="privacy_agent",
        sentence="The user agent is Mozilla/5.0 and nothing more, as Apple's Mail Privacy Protection sends it when it fetches images ahead.",
        kind="opened",
        when=[Condition("user_agent", "is", "Mozilla/5.0")],
    ),
    Rule(
        name="fast_click",
        sentence="The click came less than 10 seconds after delivery, or up to 5 minutes before it was stamped.",
        kind="clicked",
        when=[Condition("seconds_after_delivery", "less", 10)],
    ),
    Rule(
        name="many_links",
        sentence="Three or more different links of the message were clicked within 2 seconds.",
        kind="clicked",
        when=[Condition("links_within_2_seconds", "at_least", 3)],
    ),
    Rule(
        name="every_link",
        sentence="Every link of an e-mail with three or more was clicked within a minute.",
        kind="clicked",
        when=[Condition("links_of_email", "at_least", 3), Condition("clicked_every_link_within_a_minute", "is", True)],
    ),
    Rule(
        name="scanner_agent",
        sentence="The user agent is a known security scanner's: Barracuda, Proofpoint, Mimecast, Cisco or Trend Micro.",
        when=[Condition("user_agent", "contains_any", list(SCANNER_WORDS))],
    ),
)
"""Switched on unless `disabled_rules` names them."""

ORDERS: Final = Goal(name="order_completed", event="Order Completed")


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of sources, rules or goals makes what depends on it anew."""

    email_sources: Sequence[str] = ()
    """Slugs of sources, beside those whose kind is e-mail, in which names such as Link Clicked or Unsubscribed mean e-mail."""
    disabled_rules: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    """The workspace's own, beside RULES."""
    goals: Sequence[Goal] = (ORDERS,)
    """The first is the one of `email.campaigns`."""
    labels: Sequence[LabelRule] = ()

    def active_rules(self) -> Sequence[Rule]:
        """In the order of their names."""
        rules = [rule for rule in (*RULES, *self.rules) if rule.enabled and rule.name not in self.disabled_rules]
        return sorted(rules, key=lambda rule: rule.name)
