"""What becomes of an event before it is sent: integrations object -> filters -> type -> the kind's own settings -> mapping. Pure; whatever stops it says so with a code."""

from __future__ import annotations

import logging
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

import msgspec

from headrace.delivery.mapping import ANY, FieldMapping
from headrace.destinations.base import CODES, DestinationKind, OutcomeName, Prepared
from headrace.errors import ConfigError, RejectedEventError
from headrace.event import Event
from headrace.filters import Filter, compile_filter

logger = logging.getLogger(__name__)

DETAIL_CHARACTERS: Final = 1_000
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_PARTS: Final = 1_000_000
_BARE: Final = (b"{}", b"[]", b"")


Step = Literal["integrations", "filter", "sample", "type", "settings", "properties", "mapping"]


class Stopped(NamedTuple):
    """The event is not sent: it is filtered, or cannot be. `step` is where."""

    outcome: OutcomeName
    code: str
    detail: str = ""
    step: Step = "filter"


FILTERED_BY_INTEGRATIONS: Final = Stopped("filtered", "FILTERED_BY_INTEGRATIONS_OBJECT", step="integrations")
FILTERED_BY_RULES: Final = Stopped("filtered", "FILTERED_BY_RULES", step="filter")
NOT_SAMPLED: Final = Stopped("filtered", "FILTERED_BY_RULES", step="sample")
UNSUPPORTED: Final = Stopped("filtered", "UNSUPPORTED_EVENT_TYPE", step="type")
UNMAPPED: Final = Stopped("filtered", "NO_MATCHING_MAPPING", step="mapping")


class Preparation:
    """The steps for one configured destination."""

    def __init__(self, kind: DestinationKind) -> None:
        """Raises ConfigError for a filter or a mapping that is wrong."""
        settings = kind.settings
        self._title = kind.title
        self._declines = kind.declines
        self._types = kind.types
        self._required = kind.required
        self._filter: Filter | None = compile_filter(settings.filter) if settings.filter.strip() else None
        self._sampled = round(settings.sample_percent / 100 * _PARTS)
        self._dropped = frozenset(settings.drop_properties)
        self._allowed = frozenset(settings.allow_properties)
        self.mapping = FieldMapping(kind.mapping, settings.mapping)

    def prepare(self, event: Event) -> Prepared | Stopped:
        """Safe to call for any event; never raises."""
        try:
            return self._prepared(event)
        except RejectedEventError as error:
            return Stopped("failed", "FILTER_FAILED", str(error))
        except Exception as error:  # whatever one event does, those behind it go on
            logger.exception("delivery: the event %s cannot be prepared", event.message_id)
            return Stopped("failed", "INTERNAL", f"{type(error).__name__}: {error}"[:DETAIL_CHARACTERS])

    def _prepared(self, event: Event) -> Prepared | Stopped:
        if not self.is_wanted_by_event(event):
            return FILTERED_BY_INTEGRATIONS
        if self._filter is not None and not self._filter.matches(event):
            return FILTERED_BY_RULES
        if not self._is_sampled(event):
            return NOT_SAMPLED
        if event.type not in self._types:
            return UNSUPPORTED
        declined = self._declines(event)
        if declined is not None:
            return Stopped(CODES[declined].outcome, declined, step="settings")
        event = self._cut(event)
        if self.mapping.is_whole_event(event.type):
            return Prepared(event)
        fields = self.mapping.fields(event)
        if fields is None:
            return UNMAPPED
        missing = self._missing(event.type, fields)
        if missing is not None:
            return Stopped("failed", "PAYLOAD_VALIDATION_FAILED", f"the field {missing} is missing", "mapping")
        return Prepared(event, fields)

    def is_wanted_by_event(self, event: Event) -> bool:
        """S: a boolean under the catalogue's title wins, an object means yes with options, else `All` decides, which is true by default."""
        if bytes(event.integrations) in _BARE:
            return True
        try:
            chosen = _decode(event.integrations)
        except msgspec.DecodeError:
            return True
        own = chosen.get(self._title)
        if isinstance(own, bool):
            return own
        return isinstance(own, dict) or chosen.get("All", True) is not False

    def _is_sampled(self, event: Event) -> bool:
        if self._sampled >= _PARTS:
            return True
        key = user_key(event).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") % _PARTS < self._sampled

    def _cut(self, event: Event) -> Event:
        """Without the properties or traits that are not to be sent."""
        if not self._dropped and not self._allowed:
            return event
        try:
            properties = _decode(event.properties)
        except msgspec.DecodeError as error:
            raise RejectedEventError(
                "properties_not_object", f"properties and traits must be JSON objects: {error}"
            ) from None
        kept = {
            name: value
            for name, value in properties.items()
            if name not in self._dropped and (not self._allowed or name in self._allowed)
        }
        return msgspec.structs.replace(event, properties=msgspec.Raw(msgspec.json.encode(kept)))

    def _missing(self, event_type: str, fields: dict[str, Any]) -> str | None:
        for wanted in (*self._required.get(ANY, ()), *self._required.get(event_type, ())):
            if all(_at(fields, name) in (None, "") for name in wanted.split("|")):
                return wanted.replace("|", " or ")
        return None


def user_key(event: Event) -> str:
    """Whose event it is: what keeps its order, and by what samples are drawn."""
    return event.user_id or event.anonymous_id or event.group_id or event.message_id


def _at(fields: dict[str, Any], field: str) -> Any:
    value: Any = fields
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def checked(kind: DestinationKind) -> Preparation:
    """The same as the class, with ConfigError texts that name the destination's settings."""
    try:
        return Preparation(kind)
    except ConfigError as error:
        raise ConfigError(f"destination {kind.place.slug}: {error}") from None
