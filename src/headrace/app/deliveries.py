"""The destinations of a worker: as the workspace says from moment to moment, each delivered to by itself, all in one event loop of a thread."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import uvloop

from headrace.app.destination_checks import place_of
from headrace.config import Config
from headrace.delivery import preparing
from headrace.delivery.addresses import AllowedNetworks
from headrace.delivery.delivering import Delivering, take_up
from headrace.delivery.feed import Feed
from headrace.delivery.http import HttpClient
from headrace.delivery.store import Store
from headrace.destinations import base
from headrace.errors import ConfigError, HeadraceError, RetryableError
from headrace.log.base import LogReader
from headrace.workspace import destinations as of_workspace
from headrace.workspace.records import Destination
from headrace.workspace.secret_settings import without_secrets
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

FOLDER: Final = "deliveries"
NOTICE_SECONDS: Final = 0.25
STOP_SECONDS: Final = 12.0
END_SECONDS: Final = 3.0
AGAIN_SECONDS: Final = 5.0
CLEAR_SECONDS: Final = 60.0
CLEAR_PAUSE_SECONDS: Final = 0.05

_T = TypeVar("_T")


def file_of(folder: Path, slug: str) -> Path:
    """Where a destination's books are. `folder` is the data folder."""
    return folder / FOLDER / f"{slug}.db"


class _Wanted(NamedTuple):
    """What a running delivery is made of: when any of it changes, it is made anew."""

    kind: str
    sources: tuple[str, ...]
    settings: Mapping[str, Any] | str
    """In clear, or why they cannot be read."""
    is_running: bool


class _Post:
    """One destination: its books stay open; what delivers is made anew with every change."""

    def __init__(self, record: Destination, store: Store) -> None:
        self.record = record
        self.store = store
        self.wanted: _Wanted | None = None
        self.delivering: Delivering | None = None
        self.task: asyncio.Task[None] | None = None
        self.change: asyncio.Task[None] | None = None
        self.positions: Mapping[int, int] = {}

    def needed(self) -> Mapping[int, int]:
        found = self.delivering.positions() if self.delivering else {}
        return {**self.positions, **found}


class Deliveries:
    """`start` begins a thread; everything else may be called from any other."""

    def __init__(self, config: Config, workspace: Workspace, readers: Callable[[], Sequence[LogReader]]) -> None:
        self._config = config
        self._workspace = workspace
        self._open_readers = readers
        self._folder = config.folder / FOLDER
        self._allowed = AllowedNetworks(config.allowed_networks)
        self._posts: dict[str, _Post] = {}
        self._revision = -1
        self._delayed: set[str] = set()
        """Destinations that could not be taken up for now: they are tried again."""
        self._again_at = 0.0
        self._feed: Feed | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._turn: asyncio.Lock | None = None
        self._removing: set[asyncio.Task[None]] = set()
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notice(self, timeout_seconds: float = 5.0) -> None:
        """Take up what has changed in the workspace; everything that is accepted after this returns goes to new destinations too."""
        if self._thread.is_alive() and self._ready.wait(timeout_seconds):
            with suppress(TimeoutError):
                self._call(self._notice()).result(timeout_seconds)

    def needed(self) -> Mapping[int, int] | None:
        """By partition from where on the log is needed; None while nobody knows."""
        if not self._ready.is_set() or self._revision < 0 or self._delayed:
            return None
        needed: dict[int, int] = {}
        for post in list(self._posts.values()):
            for partition, at in post.needed().items():
                needed[partition] = min(at, needed.get(partition, at))
        return needed

    @property
    def error(self) -> str:
        """Why nothing is delivered at all; empty otherwise."""
        return self._error

    def end(self) -> None:
        """Blocks for a few seconds at the most. What is on its way then is sent again at the next start. Safe to call twice."""
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(2 * END_SECONDS)

    def _call(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        assert self._loop is not None  # noqa: S101 - `_ready` is set
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    # The thread.

    def _run(self) -> None:
        while True:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(self._deliver())
            except HeadraceError as error:
                self._error = str(error)
                logger.critical("delivery: nothing is delivered: %s", error)
            except Exception:
                self._error = "an unforeseen error; see the worker's log"
                logger.exception("delivery: it has ended and is begun again")
            else:
                return
            time.sleep(AGAIN_SECONDS)

    async def _deliver(self) -> None:
        self._stop, self._turn = asyncio.Event(), asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._posts, self._revision, self._delayed = {}, -1, set()
        self._feed = Feed(self._open_readers(), self._folder)
        clearing = following = asyncio.create_task(self._clear())
        try:
            # Before the feed moves: what was accepted while nobody delivered goes to destinations, and from partitions, that are new since.
            await self._notice()
            following = asyncio.create_task(self._feed.follow())
            self._error = ""
            self._ready.set()
            while not self._stop.is_set():
                if following.done():
                    following.result()
                with suppress(TimeoutError):
                    async with asyncio.timeout(NOTICE_SECONDS):
                        await self._stop.wait()
                try:
                    await self._notice()
                except RetryableError as error:
                    logger.warning("delivery: %s", error)
        finally:
            self._ready.clear()
            clearing.cancel()
            await asyncio.gather(
                *(self._halt(post, END_SECONDS) for post in self._posts.values()), return_exceptions=True
            )
            following.cancel()
            await asyncio.gather(following, clearing, return_exceptions=True)
            for post in self._posts.values():
                post.store.close()
            await self._feed.close()

    async def _notice(self) -> None:
        assert self._turn is not None  # noqa: S101 - set before anybody can call
        async with self._turn:
            is_due = self._delayed and time.monotonic() >= self._again_at
            if is_due or await asyncio.to_thread(self._workspace.revision) != self._revision:
                await self._follow()

    async def _follow(self) -> None:
        revision, records = await asyncio.to_thread(self._workspace.destination_snapshot)
        live = {record.slug: record for record in records if record.removed_at is None}
        for slug in [slug for slug in self._posts if slug not in live]:
            self._removing.add(asyncio.create_task(self._remove(self._posts.pop(slug))))
        delayed: set[str] = set()
        for record, error in zip(
            live.values(),
            await asyncio.gather(*(self._take_up(record) for record in live.values()), return_exceptions=True),
            strict=True,
        ):
            if isinstance(error, (HeadraceError, OSError)):
                logger.critical("destination %s: nothing is delivered to it: %s", record.slug, error)
                delayed.update([record.slug] if isinstance(error, (RetryableError, OSError)) else ())
            elif error is not None:
                raise error
        self._revision, self._delayed = revision, delayed
        self._again_at = time.monotonic() + AGAIN_SECONDS

    async def _take_up(self, record: Destination) -> None:
        assert self._feed is not None  # noqa: S101 - set before anybody can call
        post = self._posts.get(record.slug)
        if post is None:
            post = _Post(record, await asyncio.to_thread(Store, file_of(self._config.folder, record.slug)))
            self._posts[record.slug] = post
        wanted = _Wanted(
            record.kind,
            record.sources,
            await asyncio.to_thread(self._revealed, record.slug),
            not record.paused and record.disabled is None,
        )
        post.record = record
        if wanted == post.wanted:
            return
        known = await take_up(post.store, self._feed, record.sources, record.created_at)
        post.positions = post.positions or known
        post.wanted = wanted
        # Beside the rest: what is on its way in the old form may take its time.
        post.change = asyncio.create_task(self._change(post, wanted, post.change))

    async def _change(self, post: _Post, wanted: _Wanted, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._halt(post, STOP_SECONDS)
        if post.wanted != wanted:
            return
        if not wanted.is_running:
            disabled = post.record.disabled
            state = {"state": "disabled" if disabled else "paused", "error": disabled or "", "since": time.time()}
            await self._note_state(post, state)
        else:
            post.task = asyncio.create_task(self._keep_delivering(post, wanted), name=f"deliver-{post.record.slug}")

    async def _remove(self, post: _Post) -> None:
        """Its books stay, for those who ask what became of an event."""
        post.wanted = None
        if post.change is not None:
            await asyncio.wait([post.change])
        await self._halt(post, STOP_SECONDS)
        await self._note_state(post, {"state": "removed", "error": "", "since": time.time()})
        await asyncio.to_thread(post.store.close)
        await asyncio.to_thread(shutil.rmtree, place_of(self._config, post.record.slug).folder, ignore_errors=True)

    async def _note_state(self, post: _Post, state: Mapping[str, Any]) -> None:
        """Beside the loop: books that are locked hold up no other destination."""
        try:
            await asyncio.to_thread(post.store.note, "state", state)
        except RetryableError as error:
            logger.warning("destination %s: its state cannot be noted: %s", post.record.slug, error)

    def _revealed(self, slug: str) -> Mapping[str, Any] | str:
        try:
            return self._workspace.revealed_destination_settings(slug)
        except ConfigError as error:
            return str(error)

    async def _halt(self, post: _Post, seconds: float) -> None:
        """End what delivers: gently, then not."""
        if post.task is None:
            return
        if post.delivering is not None:
            post.delivering.stop()
            await asyncio.wait([post.task], timeout=seconds)
        post.task.cancel()
        await asyncio.wait([post.task])
        post.positions = post.needed()
        post.task = post.delivering = None

    async def _keep_delivering(self, post: _Post, wanted: _Wanted) -> None:
        """Until it is stopped or cancelled; whatever goes wrong is said, and tried again after a pause."""
        slug = post.record.slug
        while True:
            try:
                await self._deliver_to(post, wanted)
            except Exception as error:  # noqa: BLE001 -- every trouble of one destination is its own, and is told
                text = self._told(error, post.record.kind, wanted.settings)
                logger.critical("destination %s: nothing is delivered to it: %s", slug, text)
                await self._note_state(post, {"state": "failing", "error": text, "since": time.time()})
            else:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def _told(self, error: BaseException, kind: str, settings: Mapping[str, Any] | str) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        if isinstance(settings, str):
            return text
        return without_secrets(text, of_workspace.secrets_of(kind, settings))

    async def _deliver_to(self, post: _Post, wanted: _Wanted) -> None:
        assert self._feed is not None  # noqa: S101 - set before any post
        record = post.record
        if isinstance(wanted.settings, str):
            raise ConfigError(wanted.settings)
        secrets = of_workspace.secrets_of(record.kind, wanted.settings)
        kind = base.configured(record.kind, wanted.settings, place_of(self._config, record.slug))
        http = self._http(kind)
        delivering = Delivering(
            kind,
            preparing.checked(kind),
            wanted.sources,
            record.created_at,
            post.store,
            self._feed,
            http,
            mask=lambda text: without_secrets(text, secrets),
            on_gone=lambda reason: self._disable(record.slug, reason),
            open_readers=self._open_readers,
        )
        post.delivering = delivering
        try:
            await delivering.run()
        finally:
            post.positions = post.needed()
            post.delivering = None
            await delivering.close()
            await http.close()

    def _http(self, kind: base.DestinationKind) -> HttpClient:
        limits = self._config.delivery
        return HttpClient(
            self._allowed,
            connect_seconds=limits.connect_timeout_seconds,
            request_seconds=limits.request_timeout_seconds,
            connections=kind.settings.concurrency,
        )

    async def _disable(self, slug: str, reason: str) -> None:
        await asyncio.to_thread(self._workspace.disable_destination, slug, reason)

    async def _clear(self) -> None:
        """Forget what is older than the settings say, a part at a time."""
        while True:
            await asyncio.sleep(CLEAR_SECONDS)
            self._removing = {task for task in self._removing if not task.done()}
            limits, now = self._config.delivery, datetime.now(UTC).timestamp()
            before = int((now - limits.retention_days * 86_400) * 1_000)
            dead_before = int((now - limits.dead_letter_days * 86_400) * 1_000) if limits.dead_letter_days else None
            calls = [partial(self._feed.clear, before)] if self._feed is not None else []
            calls += [partial(_cleared, post.store, before, dead_before) for post in self._posts.values()]
            for call in calls:
                try:
                    await call()
                except (RetryableError, sqlite3.Error) as error:  # the others are cleared all the same
                    logger.warning("delivery: what is old could not be removed: %s", error)


async def _cleared(store: Store, before: int, dead_before: int | None) -> None:
    while await asyncio.to_thread(store.clear, before, dead_before):  # noqa: ASYNC110 -- a pause, so that others may write
        await asyncio.sleep(CLEAR_PAUSE_SECONDS)
