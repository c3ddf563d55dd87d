"""How destinations are shown: state in plain words, whose events go to them, and settings in force with secrets masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.cli import kind_shown
from headrace.cli.output import print_fields, print_line

if TYPE_CHECKING:
    from headrace.workspace.records import Destination, Source


def described(destination: Destination) -> dict[str, Any]:
    """For programs. Secret settings are masked."""
    from headrace.console.destination_shown import settings_in_force, state  # noqa: PLC0415 - --help needs no catalogue

    return {
        "slug": destination.slug,
        "kind": destination.kind,
        "nickname": destination.nickname,
        "state": state(destination),
        "sources": list(destination.sources),
        "settings": settings_in_force(destination),
        "paused": destination.paused,
        "disabled": destination.disabled,
        "created_at": destination.created_at.isoformat(),
        "removed_at": destination.removed_at.isoformat() if destination.removed_at else None,
    }


def print_destination(destination: Destination, sources: Mapping[str, Source]) -> None:
    """`sources` are all that there are by slug, removed ones too."""
    from headrace.console.destination_shown import in_words, kind_of, settings_in_force  # noqa: PLC0415 - --help needs no catalogue

    kind = kind_of(destination)
    print_fields(
        {
            "slug": destination.slug,
            "nickname": destination.nickname,
            "kind": destination.kind if kind else f"{destination.kind} (not installed here; nothing is sent)",
            "state": in_words(destination),
            "sources": ", ".join(_named(slug, sources.get(slug)) for slug in destination.sources) or "none",
            "added": f"{destination.created_at:%Y-%m-%d %H:%M:%S}Z",
            "repeats": kind.drops_repeats if kind else "-",
            **{name: kind_shown.as_text(value) for name, value in settings_in_force(destination).items()},
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
