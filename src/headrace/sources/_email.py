"""What Selligent's two sources share: six e-mail events sent by server-side track calls.

Facts from Segment's pages of both sources and its e-mail spec (segment.com/docs/connections/spec/email/).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, cast

import msgspec

from headrace.errors import RequestError
from headrace.sources.base import ClockSkew, Draft, SourceKind, SourceSettings

EXPECTED: Final = ("email_id", "email_subject", "campaign_id", "campaign_name")
_LINK: Final = ("link_id", "link_name", "link_url")
_LIST: Final = ("list_id", "list_name")

EXPECTED_BY_EVENT: Final[Mapping[str, tuple[str, ...]]] = {
    "email delivered": EXPECTED,
    "email opened": EXPECTED,
    "email link clicked": (*EXPECTED, "link_id"),
    "email unsubscribed": EXPECTED,
    "unsubscribed": EXPECTED,
    "email bounced": EXPECTED,
    "email marked as spam": EXPECTED,
}
"""Event names in lower case, since platforms differ in theirs."""

_MISPLACED_BY_EVENT: Final[Mapping[str, tuple[str, ...]]] = {
    name: (*(() if name == "email link clicked" else _LINK), *(() if name.endswith("unsubscribed") else _LIST))
    for name in EXPECTED_BY_EVENT
}
_IDS: Final = ("email_id", "campaign_id", "link_id", "list_id", "message_id", "journey_id")
_NAMESPACE: Final = uuid.UUID("4d5a1f0e-9d0b-5c53-8a43-6b1f6f0c2e91")

_ADDRESS: Final = re.compile(r"\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*")

_object_decoder: Final = msgspec.json.Decoder(dict[str, Any])
_encoder: Final = msgspec.json.Encoder()


class _Context(msgspec.Struct):
    traits: Any = None


class EmailSettings(SourceSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    clock_skew: Annotated[
        ClockSkew,
        msgspec.Meta(
            description="keep: sentAt is the platform's processing time, so it must not shift the event's time."
        ),
    ] = "keep"
    address: Annotated[
        Literal["raw", "sha256", "both"],
        msgspec.Meta(
            description="How recipients' addresses are stored. raw: as sent. sha256: every address in an event is replaced by its SHA-256 "
            "(trimmed, lower case), also in ids; context.traits has email_sha256. both: raw, with context.traits.email_sha256 beside it."
        ),
    ] = "raw"


class EmailSource(SourceKind):
    """The rules for e-mail events: identity, promotion of misplaced envelope values, derived messageId, warnings."""

    Settings = EmailSettings
    refines = True
    regions = "US (Segment's own listing; headrace does not limit it)"
    setup = (
        "Send the write key and this server's address to your Selligent account manager.",
        "They enable the source on your Selligent account; events arrive from the next e-mail on.",
    )
    handover = (
        "Please enable the Segment source on our account: send the e-mail events by the tracking API to {url} "
        "(POST {url}/v1/batch, HTTP Basic user name) with the write key {write_key}."
    )
    warnings: ClassVar[Mapping[str, str]] = {
        "missing": "an expected property is missing",
        "misplaced": "a property does not belong to this event",
        "promoted": "the value was among the properties and belongs to the top level",
        "property_number": "an id among the properties was a number; it is stored as text",
        "message_id_random": "neither messageId nor timestamp were sent; a repeat of this event cannot be recognised",
    }

    def refine(self, draft: Draft) -> None:
        properties = _decoded(draft.properties)
        if self._hashes and properties is None:
            raise RequestError(
                "bad_request", "the properties hold a number that cannot be read, so no address can be hashed"
            )
        if draft.type == "track" and properties is not None:
            self._refine_track(draft, properties)
        if self._hashes:
            self._hash_addresses(draft, properties or {})

    @property
    def _hashes(self) -> bool:
        return cast("EmailSettings", self.settings).address != "raw"

    def _refine_track(self, draft: Draft, properties: dict[str, Any]) -> None:
        self._promote(draft, properties)
        self._identify(draft)
        if self._ids_as_text(properties, draft):
            draft.properties = msgspec.Raw(_encoder.encode(properties))
        if draft.message_id is None:
            draft.message_id = self._derived_message_id(draft, properties)
        _warn(draft, properties)

    def _promote(self, draft: Draft, properties: dict[str, Any]) -> None:
        """Segment's page lists user_id, event, timestamp and sentAt as properties: they count where the envelope lacks them."""
        for field, names in (
            ("event", ("event",)),
            ("user_id", ("user_id", "userId")),
            ("anonymous_id", ("anonymous_id", "anonymousId")),
            ("timestamp", ("timestamp",)),
            ("sent_at", ("sentAt", "sent_at")),
        ):
            if getattr(draft, field) is None:
                value = next((properties[name] for name in names if properties.get(name) not in (None, "")), None)
                if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
                    setattr(draft, field, str(value))
                    draft.warnings.append(f"promoted:{field}")

    def _identify(self, draft: Draft) -> None:
        """The recipient's address becomes the anonymousId where neither id is known."""
        if draft.user_id is None and draft.anonymous_id is None:
            draft.anonymous_id = _address(draft)

    def _derived_message_id(self, draft: Draft, properties: dict[str, Any]) -> str | None:
        """The same for each repeat of an event by the platform, since those carry the same values."""
        if draft.timestamp is None:
            draft.warnings.append("message_id_random")
            return None
        parts = [
            self.slug,
            (draft.event or "").lower(),
            draft.user_id or draft.anonymous_id or "",
            *(str(properties.get(name) or "") for name in ("email_id", "campaign_id", "link_id")),
            draft.timestamp,
        ]
        return str(uuid.uuid5(_NAMESPACE, _encoder.encode(parts).decode()))

    def _hash_addresses(self, draft: Draft, properties: dict[str, Any]) -> None:
        """Put the digest of the recipient's address beside it, or in its place wherever it stands in this event."""
        address = _address(draft)
        if address is None:
            return
        context = _decoded(draft.context)
        if context is None:
            raise RequestError(
                "bad_request", "the context holds a number that cannot be read, so no address can be hashed"
            )
        if cast("EmailSettings", self.settings).address == "sha256":
            draft.user_id = _without_address(draft.user_id)
            draft.anonymous_id = _without_address(draft.anonymous_id)
            context = _hashed_within(context)
            draft.properties = msgspec.Raw(_encoder.encode(_hashed_within(properties)))
        traits = context.get("traits")
        traits = dict(traits) if isinstance(traits, dict) else {}
        if cast("EmailSettings", self.settings).address == "sha256":
            traits.pop("email", None)
        context["traits"] = {**traits, "email_sha256": _digest(address)}
        draft.context = msgspec.Raw(_encoder.encode(context))

    def _ids_as_text(self, properties: dict[str, Any], draft: Draft) -> bool:
        changed = False
        for name in _IDS:
            value = properties.get(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                properties[name] = str(value)
                draft.warnings.append(f"property_number:{name}")
                changed = True
        return changed


def _address(draft: Draft) -> str | None:
    """The recipient's address: in context.traits.email, else the id that is one."""
    try:
        traits = msgspec.json.decode(draft.context, type=_Context).traits
    except (msgspec.DecodeError, RecursionError):
        traits = None
    email = traits.get("email") if isinstance(traits, dict) else None
    if isinstance(email, str) and email.strip():
        return email
    return next((text for text in (draft.anonymous_id, draft.user_id) if text and _ADDRESS.fullmatch(text)), None)


def _digest(address: str) -> str:
    return hashlib.sha256(address.strip().lower().encode()).hexdigest()


def _without_address(text: str | None) -> str | None:
    return _digest(text) if text and _ADDRESS.fullmatch(text) else text


def _hashed_within(value: Any) -> Any:
    """Every text that is an address replaced by its digest, at any depth."""
    if isinstance(value, str):
        return _without_address(value)
    if isinstance(value, list):
        return [_hashed_within(item) for item in value]
    if isinstance(value, dict):
        return {name: _hashed_within(item) for name, item in value.items()}
    return value


def _decoded(raw: msgspec.Raw) -> dict[str, Any] | None:
    """None when the object holds a number that no parser takes: then it stays as sent, and no rule applies."""
    try:
        return _object_decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _warn(draft: Draft, properties: dict[str, Any]) -> None:
    name = (draft.event or "").strip().lower()
    for expected in EXPECTED_BY_EVENT.get(name, ()):
        if properties.get(expected) in (None, ""):
            draft.warnings.append(f"missing:{expected}")
    for misplaced in _MISPLACED_BY_EVENT.get(name, ()):
        if misplaced in properties:
            draft.warnings.append(f"misplaced:{misplaced}")
