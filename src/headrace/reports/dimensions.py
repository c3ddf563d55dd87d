"""By what reports tell figures apart, and what their filters may ask: as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from headrace.errors import ConfigError

DimensionType = Literal["text", "number", "truth", "day", "time"]
Made = Literal["as it is", "name", "label", "hour", "day", "week", "month", "weekday", "hour of day", "recency"]
LABEL: Final = "label:"
_LABEL_SET: Final = re.compile("[a-z0-9][a-z0-9_]{0,62}")


class Dimension(NamedTuple):
    """`of` is a field of the tables that are read (`datasets.Part.fields`), `made` what is made of it. With `only_filters` rows
    cannot be told apart by it."""

    name: str
    title: str
    sentence: str
    type: DimensionType
    of: str
    made: Made = "as it is"
    only_filters: bool = False

    @property
    def is_time(self) -> bool:
        return self.type in ("day", "time")


def _text(name: str, title: str, sentence: str) -> Dimension:
    return Dimension(name, title, sentence, "text", name)


def _times(prefix: str, title: str, words: str) -> Sequence[Dimension]:
    """Of a moment, all in the report's time zone."""
    return (
        Dimension(f"{prefix}_hour", f"{title} (hour)", f"The hour in which {words}.", "time", prefix, "hour"),
        Dimension(f"{prefix}_day", f"{title} (day)", f"The day on which {words}.", "day", prefix, "day"),
        Dimension(
            f"{prefix}_week", f"{title} (week)", f"The Monday of the week in which {words}.", "day", prefix, "week"
        ),
        Dimension(
            f"{prefix}_month", f"{title} (month)", f"The first of the month in which {words}.", "day", prefix, "month"
        ),
        Dimension(
            f"{prefix}_weekday",
            f"{title} (weekday)",
            f"The weekday on which {words}: 1 is Monday.",
            "number",
            prefix,
            "weekday",
        ),
        Dimension(
            f"{prefix}_hour_of_day",
            f"{title} (hour of day)",
            f"The hour of the day, 0 to 23, in which {words}.",
            "number",
            prefix,
            "hour of day",
        ),
        Dimension(f"{prefix}_at", title, f"When {words}; for filters.", "time", prefix, only_filters=True),
    )


_ALL: Final[Sequence[Dimension]] = (
    _text("campaign_id", "Campaign id", "The campaign; empty where the platform named none."),
    Dimension("campaign_name", "Campaign", "The campaign's latest name.", "text", "campaign_id", "name"),
    _text("email_id", "E-mail id", "The e-mail of the campaign; empty where the platform named none."),
    _text("source", "Source", "The schema of the source that sent the events."),
    _text("journey_id", "Journey id", "The journey; null outside of journeys."),
    _text("domain", "Domain", "The domain of the address; empty where no address is known."),
    _text(
        "device",
        "Device",
        "Where a person opened or clicked first: mobile, tablet, desktop, webmail or unknown; null where nobody did.",
    ),
    _text("list_id", "List id", "The list, where an event told it."),
    _text("bounce_type", "Bounce type", "hard, soft, block or unknown; null without a bounce."),
    Dimension(
        "send_number",
        "Send number",
        "1 for the first mail of this kind to a person, 2 for a journey's next, ...",
        "number",
        "send_number",
    ),
    Dimension("is_matched", "Known", "Whether a user id is known for the recipient.", "truth", "is_matched"),
    *_times("sent", "Sent", "the message was sent"),
    *_times("happened", "Happened", "the order was placed, or the open or click came"),
    *_times("first_sent", "First sent", "the person was sent the first message"),
    Dimension("day", "Day", "The day, UTC.", "day", "day"),
    Dimension("week", "Week", "The Monday of the week, UTC.", "day", "day", "week"),
    Dimension("month", "Month", "The first of the month, UTC.", "day", "day", "month"),
    _text("link", "Link", "link_id, else link_url, else link_name; empty where none was told."),
    _text("link_url", "Address", "The link's address."),
    Dimension("hour_since_delivery", "Hour", "Hours since delivery; 0 is the first.", "number", "hour_since_delivery"),
    _text("goal", "Goal", "The goal's name."),
    _text("touch", "Touch", "click or open, by a person."),
    _text("reason", "Rule", "The name of the rule that takes an open or a click for a machine's."),
    Dimension(
        "recency",
        "Last human open or click",
        "How long before the end of the period a person last opened or clicked: 0-30 days, 31-90 days, 91-180 days, more than 180 days, never.",
        "text",
        "last_human",
        "recency",
    ),
    _text("recipient_key", "Recipient", "The person: user id, else address, else anonymous id."),
    _text("email", "Address", "The person's address in small letters, where one is known."),
)

DIMENSIONS: Final[Mapping[str, Dimension]] = {dimension.name: dimension for dimension in _ALL}
LABEL_SENTENCE: Final = "The campaign's label of this set, for example label:type; null where no rule fits."


def dimension(name: str) -> Dimension | None:
    """Also of labels: `label:` and the name of a set. Raises ConfigError for what no set can be called."""
    if not name.startswith(LABEL):
        return DIMENSIONS.get(name)
    label_set = name.removeprefix(LABEL)
    if not _LABEL_SET.fullmatch(label_set):
        raise ConfigError(
            f"report: {name!r:.100} names no set of labels; write label: and small letters, digits and _, as in label:type"
        )
    return Dimension(name, label_set, LABEL_SENTENCE, "text", "campaign_id", "label")
