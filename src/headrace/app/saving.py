"""Saved queries, reports and dashboards, for the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.console import saved_bodies
from headrace.console.access import INSIDER, REQUESTER
from headrace.console.saved import SavedChange, SavedOrder, SavedShown
from headrace.reports.request import ReportRequest
from headrace.workspace.saved import Saved, SavedKind
from headrace.workspace.workspace import Workspace


class Saving:
    """Safe to use from several threads."""

    def __init__(self, workspace: Workspace, check: Callable[[ReportRequest], Sequence[str]]) -> None:
        """`check` says what of a request does not fit."""
        self._saved = workspace.saved()
        self._check = check

    def every(self, kind: SavedKind) -> list[SavedShown]:
        reports = self._reports(kind)
        return [self._shown(saved, reports) for saved in self._saved.every(kind)]

    def one(self, kind: SavedKind, slug: str) -> SavedShown:
        """Raises NotFoundError."""
        shown = self._shown(self._saved.one(kind, slug))
        if kind != "report":
            return shown
        users = [of.slug for of in self._saved.every("dashboard") if slug in _shown_by(of.body)]
        return msgspec.structs.replace(shown, used_by=users)

    def add(self, kind: SavedKind, order: SavedOrder) -> SavedShown:
        """Raises ConfigError."""
        body = self._body(kind, order.body)
        author = (REQUESTER.get(None) or INSIDER).name
        return self._shown(self._saved.add(kind, order.title, order.description, body, author))

    def put(self, kind: SavedKind, slug: str, change: SavedChange) -> SavedShown:
        """A body that is as it was may stay so, though it does not fit any more. Raises ConfigError and NotFoundError."""
        before = self._saved.one(kind, slug)
        body = change.body if change.body == before.body else self._body(kind, change.body)
        return self._shown(self._saved.put(kind, slug, change.revision, change.title, change.description, body))

    def remove(self, kind: SavedKind, slug: str) -> None:
        """Raises NotFoundError."""
        self._saved.remove(kind, slug)

    def _body(self, kind: SavedKind, given: Mapping[str, Any]) -> dict[str, Any]:
        return saved_bodies.body(kind, given, self._check)

    def _shown(self, saved: Saved, reports: set[str] | None = None) -> SavedShown:
        there = self._reports(saved.kind) if reports is None else reports
        wrong = saved_bodies.misfits(saved.kind, saved.body, self._check, there)
        return SavedShown(**msgspec.structs.asdict(saved), misfits=wrong)

    def _reports(self, kind: SavedKind) -> set[str]:
        return {of.slug for of in self._saved.every("report")} if kind == "dashboard" else set()


def _shown_by(body: Mapping[str, Any]) -> set[str]:
    tiles = body.get("tiles")
    return {str(tile.get("report")) for tile in tiles if isinstance(tile, dict)} if isinstance(tiles, list) else set()
