"""One warehouse in the worker: opened, loaded by a thread of its own, paused, closed. A warehouse in trouble troubles no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from headrace.config import LoaderConfig
from headrace.console.status import Answer, EmailModelState, HeldColumn, SecondsToRow, State, WarehouseState
from headrace.errors import ConfigError, HeadraceError, RetryableError, WarehouseUnavailableError
from headrace.loader.loader import Loader
from headrace.loader.parts import SharedParts
from headrace.loader.rebuilding import end_interrupted
from headrace.loader.selection import Selection, parse_all
from headrace.log.base import LogReader
from headrace.reports.model.kept import DEFAULT, mail_sources
from headrace.reports.model.model import EmailModel
from headrace.reports.model.settings import ModelSettings
from headrace.warehouses import base
from headrace.warehouses.base import REBUILD, Account, Deriving, Embedded, Place, TableName, Warehouse, WarehouseKind
from headrace.warehouses.duckdb import DuckDBKind
from headrace.workspace import records
from headrace.workspace.records import Source
from headrace.workspace.secret_settings import without_secrets
from headrace.workspace.warehouses import secrets_of

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 3.0
OPEN_AGAIN_SECONDS: Final = 1.0
LONGEST_OPEN_AGAIN_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 5.0
OPENING_SECONDS: Final = 10.0
JOIN_SECONDS: Final = 5.0


class _Asking:
    """One question for a warehouse's account, in a thread of its own, since nobody can end a call that hangs."""

    def __init__(self, loading: Loading, schemas: Sequence[str]) -> None:
        self.began = time.monotonic()
        self.asked_at = datetime.now(UTC)
        self.account: Account | None = None
        self.error = ""
        self.is_told = False
        self.ended = threading.Event()
        self._loading = loading
        self._schemas = schemas
        threading.Thread(target=self._run, name=f"ask-{loading.slug}", daemon=True).start()

    @property
    def done(self) -> bool:
        return self.ended.is_set()

    def _run(self) -> None:
        try:
            self.account = self._loading.opened().account(self._schemas)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the answer
            self.error = str(error) or type(error).__name__
        finally:
            self.ended.set()


class Loading:
    """Runs from `start` to `end`. Everything else may be asked from any thread at any time."""

    def __init__(
        self,
        configured: records.Warehouse,
        settings: Mapping[str, Any] | ConfigError,
        place: Place,
        readers: Callable[[], Sequence[LogReader]],
        sources: Callable[[], Mapping[str, Source]],
        config: LoaderConfig,
        shared: SharedParts,
        predecessor: threading.Thread | None = None,
        email_settings: Callable[[], ModelSettings] = lambda: DEFAULT,
    ) -> None:
        """`settings` are those in clear, or why they cannot be read; `readers` opens readers of the loader's own, which it closes.
        `predecessor` loads the same warehouse, with the settings of before, and is about to end. `email_settings` gives the same
        object until what was chosen about the e-mail model has changed."""
        self.configured = configured
        self._parsed: tuple[Any, Mapping[str, Selection]] = ({}, {})
        self.settings = settings
        self._open_readers = readers
        self._sources = sources
        self._config = config
        self._shared = shared
        self.stop = threading.Event()
        self._halt = threading.Event()
        """Set for an end or a pause: ends `Loader.run`."""
        self._drained = threading.Event()
        self._paused = configured.paused
        self._place = place
        self._kind: WarehouseKind | None = None
        self.warehouse: Warehouse | None = None
        self._tried = threading.Event()
        """Set once it was opened, or could not be."""
        self.loader: Loader | None = None
        self._error: str | None = None
        self._stopped: str | None = None
        self._last: tuple[datetime, Account] | None = None
        self._asking: _Asking | None = None
        self._asking_turn = threading.Lock()
        self._predecessor = predecessor
        self._email_settings = email_settings
        self._model: tuple[object, object, EmailModel] | None = None
        self.thread = threading.Thread(target=self._run, name=f"load-{self.slug}", daemon=True)

    @property
    def slug(self) -> str:
        return self.configured.slug

    @property
    def kind(self) -> WarehouseKind:
        """The catalogue's entry with these settings. Raises ConfigError when they cannot be read or are none of its own."""
        if self._kind is None:
            if isinstance(self.settings, ConfigError):
                raise self.settings
            try:
                self._kind = base.configured(self.configured.kind, self.settings, self._place)
            except ValueError as error:
                raise ConfigError(f"warehouse {self.slug}: its settings do not fit its kind: {error}") from None
        return self._kind

    def _shown(self, error: BaseException | str) -> str:
        """What is said of an error: a driver's text may hold what nobody may see."""
        text = str(error)
        if isinstance(self.settings, ConfigError):
            return text
        return without_secrets(text, secrets_of(self.configured.kind, self.settings))

    def start(self) -> None:
        self.thread.start()

    def pause(self, *, paused: bool) -> None:
        self._paused = paused
        if paused:
            self._halt.set()

    def tell_to_end(self) -> None:
        """Without waiting for it."""
        self.stop.set()
        self._halt.set()

    def end(self, *, drain: bool) -> None:
        """Stop loading and close; with `drain` load what is left, for a few seconds at the most. Blocks. Safe to call twice."""
        if drain:
            self._drained.set()
        self.stop.set()
        self._halt.set()
        self.thread.join(JOIN_SECONDS)
        if self.thread.is_alive():
            logger.warning("warehouse %s: does not answer; it is left as it is", self.slug)

    def submit(self, job: Callable[[], None], *, changes: bool, cancel: Callable[[str], None]) -> None:
        """See `Loader.submit`. Raises WarehouseUnavailableError while the warehouse is not open or loading has stopped."""
        self.opened()
        if self.error is not None or self.loader is None:
            raise WarehouseUnavailableError(f"warehouse {self.slug}: it stands still: {self.error}")
        self.loader.submit(job, changes=changes, cancel=cancel)

    def opened(self) -> Warehouse:
        """Waits while it is opened for the first time. Raises WarehouseUnavailableError that says why it is not open."""
        self._tried.wait(OPENING_SECONDS)
        warehouse = self.warehouse
        if warehouse is None:
            why = self._error or "it is being opened"
            raise WarehouseUnavailableError(f"warehouse {self.slug}: it cannot be asked now: {why}")
        return warehouse

    @property
    def error(self) -> str | None:
        """Why loading stands still."""
        if self._stopped or self._error:
            return self._stopped or self._error
        progress = self.loader.progress() if self.loader else ()
        error = next((part.error for part in progress if part.error), None)
        return None if error is None else self._shown(error)

    @property
    def state(self) -> State:
        if self._stopped:
            return "stopped"
        if self._paused:
            return "paused"
        if self.warehouse is None:
            return "opening"
        return "failing" if self.error else "loading"

    def answer(self, sources: Sequence[Source], within_seconds: float = 0.0) -> Answer:
        """What `status` is made of: asked of the warehouse now, unless it was `within_seconds`, or what it said last."""
        unanswered = None
        now = datetime.now(UTC)
        if self._last is None or (now - self._last[0]).total_seconds() >= within_seconds:
            unanswered = self._ask([source.schema for source in sources])
        as_of = None if unanswered is None else self._last[0] if self._last else now
        loader = self.loader
        progress = loader.progress() if loader else ()
        last = max(progress, key=lambda part: part.loaded_at or datetime.min.replace(tzinfo=UTC), default=None)
        starts = {source.schema: loader.window_start(source.schema) for source in sources} if loader else {}
        held = loader.unwidenable() if loader else {}
        state = WarehouseState(
            slug=self.slug,
            kind=self.configured.kind,
            nickname=self.configured.nickname,
            state=self.state,
            error=self.error or unanswered,
            last_load_at=last.loaded_at if last else None,
            last_load_seconds=last.seconds if last else None,
            last_load_events=last.entries if last else 0,
            held=[HeldColumn(*name, column, reason) for (name, column), reason in held.items()],
            dedup_since={schema: start for schema, start in starts.items() if start},
            as_of=as_of,
            known=self._last is not None,
            email_model=self._email_model_state(loader),
            seconds_to_row=_seconds_to_row(loader),
        )
        return Answer(state, self._last[1] if self._last else None)

    def _email_model_state(self, loader: Loader | None) -> EmailModelState | None:
        offered: object = self.warehouse
        if loader is None or not self._config.email_model or not isinstance(offered, Deriving):
            return None
        derived = loader.derived
        error = None if derived.error is None else self._shown(derived.error)
        return EmailModelState(derived.is_behind, derived.last_at, derived.last_seconds, error)

    def ask(self, sources: Sequence[Source]) -> None:
        """Begin to ask, so that several warehouses answer at once."""
        with self._asking_turn:
            if self._asking is None or self._asking.done:
                self._asking = _Asking(self, [source.schema for source in sources])

    def _ask(self, schemas: Sequence[str]) -> str | None:
        """Have the account told now. Returns why it was not: a warehouse that hangs must not make `status` hang."""
        with self._asking_turn:
            asking = self._asking
            if asking is None or (asking.done and asking.is_told):
                asking = self._asking = _Asking(self, schemas)
        # Whoever asks while the warehouse is known to hang does not wait once more.
        if not asking.ended.wait(max(0.0, ANSWER_SECONDS - (time.monotonic() - asking.began))):
            return f"it has not answered for {time.monotonic() - asking.began:.0f} s"
        asking.is_told = True
        if asking.account is None:
            return self._shown(asking.error)
        self._last = (asking.asked_at, asking.account)
        return None

    def _retyped(self) -> list[tuple[TableName, str]]:
        parts = [column.split(".", 2) for column in self.configured.retyped]
        return [(TableName(schema, table), column) for schema, table, column in parts]

    def selections(self) -> Mapping[str, Selection]:
        """A selection that cannot be read stops loading: what was left out on purpose must not be stored instead."""
        chosen = self.configured.selection
        if self._parsed[0] != chosen:
            self._parsed = (chosen, parse_all(chosen))
        return self._parsed[1]

    def _email_model(self, warehouse: Warehouse) -> EmailModel | None:
        """Another object when sources or settings are others; None where the engine has no model."""
        offered: object = warehouse
        if not self._config.email_model or not isinstance(offered, Deriving):
            return None
        sources, settings = self._sources(), self._email_settings()
        if self._model is None or self._model[0] is not sources or self._model[1] is not settings:
            self._model = (sources, settings, EmailModel(offered, mail_sources(sources.values()), settings))
        return self._model[2]

    # The thread.

    def _run(self) -> None:
        """Load until the end. Whatever goes wrong, it is said, and everything is opened anew after a pause: another loader that was
        here, a setting that is mended, a server that comes back."""
        self._await_predecessor()
        pause_seconds = OPEN_AGAIN_SECONDS
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                self._open_and_load()
            except Exception as error:
                text = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
                self._stopped = self._shown(text)
                logger.critical("warehouse %s: loading has stopped: %s", self.slug, self._stopped)
                logger.debug("warehouse %s", self.slug, exc_info=error)
            pause_seconds = (
                OPEN_AGAIN_SECONDS
                if time.monotonic() - began > LONGEST_OPEN_AGAIN_SECONDS
                else min(2 * pause_seconds, LONGEST_OPEN_AGAIN_SECONDS)
            )
            self.stop.wait(pause_seconds)

    def _await_predecessor(self) -> None:
        """The loader of before may still be in the middle of a load: two of them would fence each other."""
        while self._predecessor is not None and self._predecessor.is_alive() and not self.stop.is_set():
            self._error = "the load that was under way before the change has not ended yet"
            self._tried.set()
            self._predecessor.join(0.2)
        self._predecessor = None

    def _open_and_load(self) -> None:
        readers: Sequence[LogReader] = ()
        try:
            readers = self._open_readers()
            if self._open(readers):
                self._load()
                if self._drained.is_set():
                    self._drain()
        finally:
            warehouse, self.warehouse = self.warehouse, None
            self._model = None
            if self.loader is not None:
                self.loader.cancel_jobs(
                    f"the warehouse was closed: {self._stopped or 'its settings changed or the server ends'}"
                )
            with suppress(Exception):
                if warehouse is not None:
                    warehouse.close()
            for reader in readers:
                reader.close()

    def _open(self, readers: Sequence[LogReader]) -> bool:
        """Patiently: a server may be down, and the embedded file still be held by a process that was just killed."""
        wait_seconds = OPEN_AGAIN_SECONDS / 5
        while not self.stop.is_set():
            try:
                warehouse = self._opened_for_us(readers)
            except (HeadraceError, ValueError, ImportError) as error:
                text = self._shown(error)
                if text != self._error:
                    logger.warning("warehouse %s: cannot be opened, trying again: %s", self.slug, text)
                self._error = text
                self._tried.set()
                self.stop.wait(wait_seconds)
                wait_seconds = min(2 * wait_seconds, LONGEST_OPEN_AGAIN_SECONDS)
                continue
            self.loader = Loader(
                self.slug,
                readers,
                warehouse,
                self._sources,
                self._config,
                shared=self._shared,
                pace_seconds=self.kind.pace_seconds,
                selections=self.selections,
                retyped=self._retyped,
                model=partial(self._email_model, warehouse),
            )
            self._fold_journal(warehouse)
            self.warehouse = warehouse
            self._error = None
            self._tried.set()
            return True
        return False

    def _fold_journal(self, warehouse: Warehouse) -> None:
        """After a crash: opening has replayed the journal, and the next crash shall not have to do it again. Before anybody may ask:
        on a full disk this ends DuckDB's engine, which is then opened anew."""
        try:
            warehouse.checkpoint()
        except RetryableError as error:
            logger.warning("warehouse %s: no checkpoint at the start: %s", self.slug, error)

    def _opened_for_us(self, readers: Sequence[LogReader]) -> Warehouse:
        """Raises ConfigError when another of this log's warehouses has filled the same database: every row would come twice."""
        warehouse = self.kind.open()
        try:
            self._refuse_shared(warehouse, {reader.incarnation for reader in readers})
        except BaseException:
            warehouse.close()
            raise
        return warehouse

    def _refuse_shared(self, warehouse: Warehouse, incarnations: Collection[str]) -> None:
        others = {
            consumer
            for (consumer, _), position in warehouse.account(()).positions.items()
            if consumer != self.slug and not consumer.startswith(REBUILD) and position.incarnation in incarnations
        }
        if others:
            raise ConfigError(
                f"warehouse {self.slug}: this database is filled by the warehouse {', '.join(sorted(others))} already; give each "
                "a database of its own, or, if that one was removed and this is to take its place, drop the schema headrace and "
                "the sources' schemas there first"
            )

    def _load(self) -> None:
        loader, warehouse = self.loader, self.warehouse
        assert loader is not None and warehouse is not None  # noqa: S101, PT018 - `_open` has set both
        for schema in end_interrupted(warehouse, self.stop):
            logger.warning("warehouse %s: the rebuild of %s that was cut off has been ended", self.slug, schema)
        snapshots = threading.Thread(target=self._snapshots, name=f"snapshot-{self.slug}", daemon=True)
        snapshots.start()
        while not self.stop.is_set():
            self._halt.clear()
            if self.stop.is_set():
                return
            if self._paused:
                with suppress(RetryableError):
                    loader.let_go()
                loader.run_jobs()
                self._halt.wait(0.2)
                continue
            if self._stopped is not None:
                with suppress(RetryableError):
                    loader.step()
                self._stopped = None
            loader.run(self._halt)

    def _snapshots(self) -> None:
        """Make the snapshot for other programs anew, as often as the settings say."""
        kind: object = self.kind
        warehouse: object = self.warehouse
        if not (isinstance(kind, DuckDBKind) and isinstance(warehouse, Embedded) and kind.snapshot_seconds):
            return

        def snapshot() -> None:
            try:
                warehouse.snapshot(kind.snapshot_file)
            except HeadraceError as error:
                logger.warning("warehouse %s: no snapshot now: %s", self.slug, error)

        while not self.stop.wait(kind.snapshot_seconds):
            if self.loader is not None:
                self.loader.submit(snapshot, changes=False)

    def _drain(self) -> None:
        loader, warehouse = self.loader, self.warehouse
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            while loader is not None and not self._paused and time.monotonic() < deadline and loader.step() is not None:
                pass
            if warehouse is not None:
                warehouse.checkpoint()
        except HeadraceError as error:
            logger.warning("warehouse %s: could not load everything before the end: %s", self.slug, error)


def _seconds_to_row(loader: Loader | None) -> SecondsToRow | None:
    found = loader.seconds_to_row() if loader else None
    return None if found is None else SecondsToRow(*found)
