"""How destinations are shown: state in plain words, whose events go to them, and settings in force with secrets masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli import kind_shown
from headrace.cli.output import print_fields, print_line

if TYPE_CHECKING:
    from headrace.destinations.base import DestinationKind
    from headrace.workspace.records import Destination, Source


def described(destination: Destination) -> dict[str, Any]:
    """For programs. Secret settings are masked."""
    return {
        "slug": destination.slug,
        "kind": destination.kind,
        "nickname": destination.nickname,
        "state": state(destination),
        "sources": list(destination.sources),
        "settings": _settings_in_force(destination),
        "paused": destination.paused,
        "disabled": destination.disabled,
        "created_at": destination.created_at.isoformat(),
        "removed_at": destination.removed_at.isoformat() if destination.removed_at else None,
    }


def state(destination: Destination) -> str:
    if destination.removed_at is not None:
        return "removed"
    if destination.disabled is not None:
        return "disabled"
    return "paused" if destination.paused else "active"


def in_words(destination: Destination) -> str:
    """The state, what it means, and what a person can do about it."""
    resume = f"until: headrace destination resume {destination.slug}"
    match state(destination):
        case "removed":
            return "removed: nothing is sent to it any more"
        case "disabled":
            return f"switched off by headrace: {destination.disabled}; its events wait in the log {resume}"
        case "paused":
            return f"paused: its events wait in the log {resume}"
    if not destination.sources:
        connect = f"headrace destination connect {destination.slug} --source SLUG"
        return f"active, but no source is connected, so nothing is sent; connect one: {connect}"
    return "active"


def print_destination(destination: Destination, sources: Mapping[str, Source]) -> None:
    """`sources` are all that there are by slug, removed ones too."""
    kind = _kind(destination)
    print_fields(
        {
            "slug": destination.slug,
            "nickname": destination.nickname,
            "kind": destination.kind if kind else f"{destination.kind} (not installed here; nothing is sent)",
            "state": in_words(destination),
            "sources": ", ".join(_named(slug, sources.get(slug)) for slug in destination.sources) or "none",
            "added": f"{destination.created_at:%Y-%m-%d %H:%M:%S}Z",
            "repeats": kind.drops_repeats if kind else "-",
            **{name: kind_shown.as_text(value) for name, value in _settings_in_force(destination).items()},
        }
    )


def print_next_steps(destination: Destination, setup: Sequence[str]) -> None:
    kind_shown.print_steps("In the tool", setup)
    slug = destination.slug
    print_line("\nNext:")
    print_line(f"  Try it with one event:   headrace destination test {slug}")
    print_line(f"  Watch it:                headrace delivery show {slug}")


def _named(slug: str, source: Source | None) -> str:
    if source is None or source.removed_at is not None:
        return f"{slug} (removed)"
    return slug if source.enabled else f"{slug} (disabled)"


def _settings_in_force(destination: Destination) -> dict[str, Any]:
    """The kind's own first, then those that every destination has."""
    from headrace.destinations.base import DestinationSettings  # noqa: PLC0415 - --help needs no catalogue

    kind = _kind(destination)
    every = kind_shown.in_force(kind.Settings if kind else None, destination.settings)
    common = DestinationSettings.__struct_fields__
    return {name: every[name] for name in sorted(every, key=lambda name: name in common)}


def _kind(destination: Destination) -> type[DestinationKind] | None:
    from headrace.destinations import base  # noqa: PLC0415 - --help needs no catalogue

    return base.kinds().get(destination.kind)
