"""Which source a write key opens: the workspace as the collector sees it, renewed within a second of a change and before a key is refused."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from headrace.errors import RequestError, RetryableError
from headrace.sources import base
from headrace.sources.base import SourceKind
from headrace.workspace.keys import KeyRing
from headrace.workspace.records import Source
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.4
LOOKS: Final = 40
"""For so many keys between two polls the workspace is looked at before they are refused, once for each: a look takes about 0.3 ms of the
loop's time, and whoever knows no key may ask as often as he likes. An old key that many still send takes one."""


class _View(NamedTuple):
    """The workspace at one revision; replaced as a whole, since another thread renews it while requests are judged."""

    ring: KeyRing
    kind_by_slug: Mapping[str, SourceKind]
    kind_by_key: dict[str, SourceKind]
    """Of keys that have opened already; only right ones come in, so there are no more than keys."""


class Doors:
    """Finds the configured source behind a key."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._revision = -1
        self._view: _View
        self._renewing = threading.Lock()
        self._looked_for: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """Read the workspace again if it has changed."""
        with self._renewing:
            if self._workspace.revision() == self._revision:
                return
            revision, sources = self._workspace.snapshot()
            kinds = {source.slug: kind for source in sources if (kind := _configured(source))}
            # In one step: requests are answered meanwhile, and a key without its kind would be told that its source is disabled.
            self._view = _View(KeyRing(self._workspace.secret, sources), kinds, {})
            self._revision = revision

    def open(self, key: str | None) -> SourceKind:
        """The source of this key, also of one that was made a moment before. Raises RequestError 401 `invalid_write_key` or
        404 `source_disabled`, and RetryableError for a source that this server cannot set up."""
        try:
            return self._opened(key)
        except RequestError:
            if not key or not self._looked_again(key):
                raise
            kind = self._opened(key)
            self._looked_for.discard(key)
            return kind

    def _looked_again(self, key: str) -> bool:
        if key in self._looked_for or len(self._looked_for) >= LOOKS:
            return False
        self._looked_for.add(key)
        try:
            self.renew()
        except Exception:  # noqa: BLE001 - whatever hinders the reading: `watch` tells it, and a client whose key is refused would drop its events
            self._looked_for.discard(key)
            text = (
                "collector: the workspace cannot be read, so it is not known whether there is such a key; see its log"
            )
            raise RetryableError(text, 30) from None
        return True

    def _opened(self, key: str | None) -> SourceKind:
        ring, kinds, opened = self._view
        if key in opened:
            return opened[key]
        source = ring.find(key) if key else None
        if source is None or source.removed_at is not None:
            why = (
                "no source of this server has this write key; `headrace source list --data` of its folder shows each key's last four"
                if key
                else "a write key is missing; send it as HTTP Basic user name, as X-Write-Key or as writeKey in the body"
            )
            raise RequestError("invalid_write_key", why, 401)
        if not source.enabled:
            raise RequestError(
                "source_disabled", f"the source {source.slug} is disabled; `headrace source enable` opens it", 404
            )
        kind = kinds.get(source.slug)
        if kind is None:  # our own trouble: the client shall keep its events
            raise RetryableError(
                f"collector: the source {source.slug} has a kind or settings that this server cannot use; see its log",
                30,
            )
        if key:
            opened[key] = kind
        return kind

    async def watch(self) -> None:
        """Renew for ever; a workspace that cannot be read leaves the doors as they are."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._looked_for.clear()
            try:
                await loop.run_in_executor(None, self.renew)
            except Exception:
                logger.exception("collector: the workspace cannot be read; sources stay as they were")


def _configured(source: Source) -> SourceKind | None:
    try:
        return base.configured(source.kind, source.slug, source.settings)
    except Exception as error:  # noqa: BLE001 - one source that cannot be set up must not close the others
        if not isinstance(error, msgspec.ValidationError):
            logger.warning("collector: source %s cannot be opened: %s", source.slug, error)
        else:
            logger.warning(
                "collector: settings of source %s do not fit its kind %s: %s", source.slug, source.kind, error
            )
        return None
