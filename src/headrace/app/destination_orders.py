"""Destinations over the API: listed, added, changed and removed with the checks that the command line makes, and tried before they are saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.app import destination_trials, kept_secrets
from headrace.app.destination_checks import check_settings, place_of
from headrace.console.access import REQUESTER
from headrace.console.destination_shown import DestinationAnswer, DestinationShown, shown
from headrace.console.destinations import DestinationChange, DestinationOrder, UnsavedTrial
from headrace.delivery.examples import EXAMPLES
from headrace.delivery.trying import Tried
from headrace.destinations import base
from headrace.errors import ConfigError, NotFoundError, RequestError
from headrace.workspace import destinations as of_workspace
from headrace.workspace import names
from headrace.workspace.records import Destination
from headrace.workspace.roles import may

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.workspace.workspace import Workspace


class DestinationOrders:
    """May be called from any thread."""

    def __init__(self, config: Config, workspace: Workspace, notice: Callable[[], None]) -> None:
        """`notice` has the worker take up what the workspace says now."""
        self._config = config
        self._workspace = workspace
        self._notice = notice

    def every(self, *, include_removed: bool = False) -> Sequence[DestinationShown]:
        """Oldest first."""
        return [shown(record) for record in self._workspace.destinations(include_removed=include_removed)]

    def one(self, slug: str) -> DestinationAnswer:
        """A removed one too. Raises NotFoundError."""
        record = self._workspace.destination(slug)
        if record.removed_at is not None:
            return DestinationAnswer(shown(record))
        try:
            warnings = self._checked(record.kind, slug, self._workspace.revealed_destination_settings(slug))
        except (ConfigError, NotFoundError) as error:  # shown all the same: the settings are what is to be mended
            return DestinationAnswer(shown(record), problem=str(error))
        return DestinationAnswer(shown(record), warnings)

    def add(self, order: DestinationOrder) -> DestinationAnswer:
        """Raises ConfigError, NotFoundError and RequestError."""
        _allow_code(order.kind)
        slug = self._workspace.free_destination_slug(order.kind, order.nickname, order.slug)
        warnings = () if order.unchecked else self._checked(order.kind, slug, order.settings)
        record = self._workspace.add_destination(order.kind, order.nickname, order.sources, order.settings, slug)
        self._notice()
        return DestinationAnswer(shown(record), warnings)

    def change(self, slug: str, change: DestinationChange) -> DestinationAnswer:
        """Everything is looked at before anything changes. Raises ConfigError, NotFoundError and RequestError."""
        record = self._live(slug)
        if change.nickname is not None:
            names.nickname(change.nickname)
        if change.settings:
            _allow_code(record.kind)
            _check_kept(record, change.settings)
            self._checked(record.kind, slug, self._workspace.destination_settings_after(slug, change.settings))
        wanted = None if change.sources is None else list(dict.fromkeys(change.sources))
        added = [source for source in wanted or () if source not in record.sources]
        for source in added:
            if self._workspace.source(source).removed_at is not None:
                raise NotFoundError(f"destination: the source {source} was removed; connect another one")
        with self._workspace.together():
            self._apply(record, change, added, [] if wanted is None else [s for s in record.sources if s not in wanted])
        self._notice()
        return self.one(slug)

    def _apply(self, record: Destination, change: DestinationChange, added: list[str], gone: list[str]) -> None:
        slug = record.slug
        if change.nickname is not None:
            self._workspace.rename_destination(slug, change.nickname)
        if change.settings:
            self._workspace.set_destination_settings(slug, change.settings)
        if added:
            self._workspace.connect_destination(slug, added)
        if gone:
            self._workspace.disconnect_destination(slug, gone)
        if change.paused is True:
            self._workspace.pause_destination(slug)
        elif change.paused is False:
            self._workspace.resume_destination(slug)

    def remove(self, slug: str) -> DestinationShown:
        """Raises NotFoundError, for one that is removed already too."""
        record = self._workspace.remove_destination(slug)
        self._notice()
        return shown(record)

    def try_unsaved(self, order: UnsavedTrial) -> Tried:
        """Raises ConfigError, NotFoundError and RequestError. Blocks until the tool has answered."""
        if order.slug is not None:
            record = self._live(order.slug)
            _check_kept(record, order.settings)
            settings = self._workspace.destination_settings_after(order.slug, order.settings)
            if order.sources is not None:
                record = msgspec.structs.replace(record, sources=tuple(order.sources))
        elif order.kind is not None:
            settings = of_workspace.checked(order.kind, order.settings)
            record = Destination(
                destination_trials.UNSAVED, order.kind, order.kind, datetime.now(UTC), tuple(order.sources or ())
            )
        else:
            raise ConfigError("test event: say what is tested; give a kind, or the slug of a destination")
        _allow_code(record.kind)
        self._checked(record.kind, record.slug, settings)
        return destination_trials.try_settings(self._config, self._workspace, record, settings, order.trial)

    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        """Events to try a destination with, by name."""
        return EXAMPLES

    def _live(self, slug: str) -> Destination:
        record = self._workspace.destination(slug)
        if record.removed_at is not None:
            raise NotFoundError(f"destination: {slug} was removed; add a new one instead")
        return record

    def _checked(self, kind: str, slug: str, settings: Mapping[str, Any]) -> Sequence[str]:
        return check_settings(kind, settings, place_of(self._config, slug))


def _check_kept(record: Destination, changes: Mapping[str, Any]) -> None:
    secret = of_workspace.secrets_of(record.kind, record.settings)
    kept_secrets.check(f"destination {record.slug}", record.settings, secret.keys(), changes)


def _allow_code(kind_slug: str) -> None:
    """A kind that runs programs of this machine, or connects past the allowed networks, is an admin's: whoever sets it up decides what runs,
    and what of the operator's network is asked. Raises RequestError."""
    requester, kind = REQUESTER.get(), base.kind(kind_slug)
    if not (kind.runs_code or kind.connects_itself) or (requester is not None and may(requester.role, "admin")):
        return
    does = "runs code on the server" if kind.runs_code else "opens connections of its own from the server"
    raise RequestError(
        "role_refused",
        f"role: a destination of the kind {kind_slug} {does}, which is an admin's to set up; ask one",
        403,
    )
