"""What applying a file changes, in lines that people read. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

Action = Literal["add", "change", "remove", "stay"]
SIGNS: Final[Mapping[Action, str]] = {"add": "+", "change": "~", "remove": "-", "stay": "="}
_LONGEST: Final = 120


class Change(msgspec.Struct, frozen=True):
    """Of one thing. `lines` say what of it; no secret stands in them. `stay`: it is not in the file, and is left alone."""

    action: Action
    section: str
    slug: str
    title: str
    lines: Sequence[str] = ()


class Plan(msgspec.Struct, frozen=True):
    """`notes` are what a person should know beside the changes: secrets that stay, keys that are made."""

    changes: Sequence[Change]
    notes: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        return all(change.action == "stay" for change in self.changes)

    def told(self) -> str:
        """A line for each thing that changes, below it what changes of it."""
        lines = []
        for change in self.changes:
            if change.action != "stay":
                lines.append(f"{SIGNS[change.action]} {change.title}")
                lines += [f"    {line}" for line in change.lines]
        stays = [change.title for change in self.changes if change.action == "stay"]
        if stays:
            lines.append(
                f"= not in the file and left alone: {', '.join(stays)} (--prune removes what is not in the file)"
            )
        return "\n".join([*(lines or ["Nothing would change."]), *(f"note: {note}" for note in self.notes)])


def differences(before: Mapping[str, Any], after: Mapping[str, Any], secret: Collection[str] = ()) -> list[str]:
    """A line for each value that differs, by its path. Those of `secret` (paths) and all below them are named and not told.

    >>> differences({"a": {"b": 1, "c": "x"}}, {"a": {"b": 2, "d": [1]}}, ["a.c"])
    ['a.b: 1 -> 2', 'a.c: taken out', 'a.d: [1]']
    """
    old, new = dict(_leaves(before, secret)), dict(_leaves(after, secret))
    lines = []
    for path in sorted(old.keys() | new.keys()):
        was, is_ = old.get(path), new.get(path)
        if path in old and path in new and was == is_:
            continue
        if path not in new:
            lines.append(f"{path}: taken out" if _is_secret(path, secret) else f"{path}: {_word(was)} taken out")
        elif _is_secret(path, secret):
            lines.append(f"{path}: {'another secret' if path in old else 'a secret'}")
        else:
            lines.append(f"{path}: {_word(was)} -> {_word(is_)}" if path in old else f"{path}: {_word(is_)}")
    return lines


def _leaves(value: Mapping[str, Any], secret: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, Mapping) and inner and path not in secret:
            yield from _leaves(inner, secret, f"{path}.")
        elif inner not in ({}, [], None):
            yield path, inner


def _is_secret(path: str, secret: Collection[str]) -> bool:
    return path in secret


def _word(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"
