"""The port of a source: a platform that sends events. The class is the catalogue entry, an instance what a user configured.

A source is pure: no clock, no network. The tracking API has parsed the event into a `Draft` before `refine` sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

import msgspec

from headrace import catalog
from headrace.errors import NotFoundError

ClockSkew = Literal["correct", "keep"]


class Draft(msgspec.Struct, gc=False):
    """An event on its way through the door; `refine` may change it in place.

    `properties` (traits of identify and group), `context` and `integrations` are JSON objects as sent. Ids are text
    already, blank ones None. `timestamp` and `sent_at` are the client's own texts."""

    type: str
    event: str | None
    name: str | None
    message_id: str | None
    user_id: str | None
    anonymous_id: str | None
    group_id: str | None
    previous_id: str | None
    timestamp: str | None
    sent_at: str | None
    properties: msgspec.Raw
    context: msgspec.Raw
    integrations: msgspec.Raw
    warnings: list[str]


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every source can be set to; a kind adds its own by a subclass. Descriptions feed forms and documentation."""

    clock_skew: Annotated[
        ClockSkew,
        msgspec.Meta(
            description="correct: shift timestamp by the client's clock error (browsers, mobile). "
            "keep: believe it, unless it lies more than 5 minutes in the future (servers)."
        ),
    ] = "correct"


class SourceKind:
    """A catalogue entry. A subclass in its own file sets the class variables and, where needed, overrides `refine`."""

    title: ClassVar[str]
    summary: ClassVar[str]
    docs_url: ClassVar[str]
    maintainer: ClassVar[str]
    also_known_as: ClassVar[Sequence[str]] = ()
    regions: ClassVar[str] = "all"
    """Where the platform itself offers this source; headrace does not limit it."""
    deprecated: ClassVar[str | None] = None
    """What to use instead; None for a current one."""
    setup: ClassVar[Sequence[str]] = ()
    """The steps after the write key was shown, a sentence each."""
    handover: ClassVar[str | None] = None
    """What to write to the people who run the platform, where the user cannot enter address and key there: `{url}` (of the
    tracking API, without a path) and `{write_key}` are filled in by `handover_text`."""
    Settings: ClassVar[type[SourceSettings]] = SourceSettings

    def __init__(self, slug: str, settings: SourceSettings) -> None:
        """`slug` is the configured source's, not the kind's."""
        self.slug = slug
        self.settings = settings

    warnings: ClassVar[Mapping[str, str]] = {}
    """The warnings that `refine` gives, in words; a warning is `code` or `code:subject`."""
    refines: ClassVar[bool] = False
    """Whether `refine` does anything, so that the collector need not call it."""

    def refine(self, draft: Draft) -> None:
        """Apply the platform's rules to an event before identity is checked: promote, rename, derive, warn.

        Called for every event of this source. Raises RequestError to refuse the event."""


def kinds() -> Mapping[str, type[SourceKind]]:
    """Every kind of source by slug."""
    return cast("Mapping[str, type[SourceKind]]", catalog.connectors("headrace.sources", SourceKind))


def kind(slug: str) -> type[SourceKind]:
    """Raises NotFoundError that lists what there is."""
    found = kinds().get(slug)
    if found is None:
        raise NotFoundError(f"source: there is no kind {slug!r} in the catalogue; it has {', '.join(kinds())}")
    return found


def search(words: str) -> Mapping[str, type[SourceKind]]:
    """The kinds in whose slug, title, former names or summary every word occurs, case ignored; deprecated ones last."""
    wanted = words.casefold().split()

    def text(slug: str, found: type[SourceKind]) -> str:
        return " ".join((slug, found.title, *found.also_known_as, found.summary)).casefold()

    matching = [(slug, found) for slug, found in kinds().items() if all(word in text(slug, found) for word in wanted)]
    return dict(sorted(matching, key=lambda entry: (entry[1].deprecated is not None, entry[1].title.casefold())))


def handover_text(kind: type[SourceKind], url: str, write_key: str) -> str | None:
    """`handover` filled in; None where the platform's people need not be asked."""
    if kind.handover is None:
        return None
    return kind.handover.replace("{url}", url).replace("{write_key}", write_key)


def configured(kind_slug: str, slug: str, settings: Mapping[str, Any]) -> SourceKind:
    """The instance for a stored source. Raises msgspec.ValidationError for settings that the kind does not declare."""
    chosen = kind(kind_slug)
    return chosen(slug, msgspec.convert(dict(settings), chosen.Settings))
