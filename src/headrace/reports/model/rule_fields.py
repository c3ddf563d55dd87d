"""What a rule for machines may ask of an open or a click. `increment` has an expression for each of these names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from headrace.reports.conditions import FieldType


class RuleField(NamedTuple):
    type: FieldType
    sentence: str


DESCRIBED_FIELDS: Final[Mapping[str, RuleField]] = {
    "machine_flag": RuleField(
        "truth", "What the platform itself says: a machine opened it. Unknown where it says nothing."
    ),
    "seconds_after_delivery": RuleField(
        "number",
        "From the delivery's stamp to the open or click; below zero when it came before. Unknown without a delivery.",
    ),
    "links_within_2_seconds": RuleField(
        "number",
        "Different links of the message that were clicked within 2 seconds around this click. Unknown for opens.",
    ),
    "links_of_email": RuleField(
        "number", "Different links of the campaign's e-mail that anybody clicked so far. Unknown for opens."
    ),
    "clicked_every_link_within_a_minute": RuleField(
        "truth", "Whether every one of these links was clicked in the message within a minute. Unknown for opens."
    ),
    "user_agent": RuleField("text", "The user agent; unknown where the platform told none."),
    "ip": RuleField("text", "The address on the network; unknown where the platform told none."),
    "domain": RuleField(
        "text", "The domain of the address that the event tells, in small letters; empty where it tells none."
    ),
    "kind": RuleField("text", "opened or clicked."),
    "source": RuleField("text", "The schema of the source that sent the event."),
    "campaign_id": RuleField("text", "The campaign; empty where the platform named none."),
}

RULE_FIELDS: Final[Mapping[str, FieldType]] = {name: field.type for name, field in DESCRIBED_FIELDS.items()}
