"""What Selligent's two sources share: six e-mail events sent by server-side track calls.

Facts from Segment's pages of both sources and its e-mail spec (segment.com/docs/connections/spec/email/).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

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
            description="How recipients' addresses are stored. raw: as sent. sha256: only their SHA-256 (trimmed, lower case), in "
            "anonymousId and as context.traits.email_sha256. both: raw, with context.traits.email_sha256 beside it."
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
        if draft.type != "track":
            return
        properties = _decoded(draft.properties)
        if properties is None:
            return
        self._promote(draft, properties)
        address = self._identify(draft)
        if self._ids_as_text(properties, draft):
            draft.properties = msgspec.Raw(_encoder.encode(properties))
        if draft.message_id is None:
            draft.message_id = self._derived_message_id(draft, properties)
        if address and self.settings.address != "raw":  # type: ignore[attr-defined]  # EmailSettings
            self._hash_address(draft, address)
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

    def _identify(self, draft: Draft) -> str | None:
        """The recipient's address, which becomes the anonymousId where neither id is known."""
        try:
            traits = msgspec.json.decode(draft.context, type=_Context).traits
        except (msgspec.DecodeError, RecursionError):
            traits = None
        email = traits.get("email") if isinstance(traits, dict) else None
        if not isinstance(email, str) or not email.strip():
            email = draft.anonymous_id if draft.anonymous_id and "@" in draft.anonymous_id else None
        if draft.user_id is None and draft.anonymous_id is None and email:
            draft.anonymous_id = email
        return email

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

    def _hash_address(self, draft: Draft, address: str) -> None:
        digest = hashlib.sha256(address.strip().lower().encode()).hexdigest()
        only = self.settings.address == "sha256"  # type: ignore[attr-defined]  # EmailSettings
        if only and draft.anonymous_id is not None and "@" in draft.anonymous_id:
            draft.anonymous_id = hashlib.sha256(draft.anonymous_id.strip().lower().encode()).hexdigest()
        context = _decoded(draft.context) or {}
        traits = context.get("traits")
        traits = dict(traits) if isinstance(traits, dict) else {}
        if only:
            traits.pop("email", None)
        context["traits"] = {**traits, "email_sha256": digest}
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
