"""The loop from the log to the tables: read, make a load, commit, again. One thread; the only writer of its warehouse."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from headrace.config import LoaderConfig
from headrace.errors import (
    ConfigError,
    HeadraceError,
    PositionError,
    RetryableError,
    WarehouseUnavailableError,
    WideningRefusedError,
)
from headrace.event import Event
from headrace.loader.batch import LATEST, Batch
from headrace.loader.deriving import DerivedState, Deriving, Model
from headrace.loader.duplicates import Duplicates
from headrace.loader.freshness import Freshness, SecondsToRow
from headrace.loader.partition import Failure, Partition, Progress
from headrace.loader.parts import Part, SharedParts
from headrace.loader.selection import Selection
from headrace.loader.tables import Tables
from headrace.log.base import LogReader
from headrace.warehouses.base import Columns, Load, Position, TableName, Warehouse
from headrace.workspace.records import Source

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.05
SHARE: Final = 0.25
"""While events trickle in, loads take at most this share of the time: the dearer a load, the later the next begins, but not
later than `interval_seconds` after it began."""
QUIET_SECONDS: Final = 3.0
JOURNAL_BYTES: Final = 64_000_000
"""What is not checkpointed yet stays in the memory of the warehouse: with four times this the backlog costs no less CPU
and 110 MB more."""
LOAD_CELLS: Final = 4_000_000
"""Of a load's columns, nulls included, at the most: events of a few properties in tables of 500 columns take more memory
than their bytes tell."""
LOAD_TABLES: Final = 256
"""Of a load: each costs the warehouse some milliseconds and memory, however few its rows are."""
TRIES_BEFORE_SMALLER: Final = 3
LONGEST_WAIT_SECONDS: Final = 10.0
FAILURES: Final = 20
"""Kept for headrace.loads at the most, which gets them with the next load that works."""


class Outcome(NamedTuple):
    """A load that is in the warehouse: `entries` of the log from `start` to before `end`. `is_full`: more may be waiting."""

    partition: int
    entries: int
    start: int
    end: int
    seconds: float
    is_full: bool


class _Prepared(NamedTuple):
    partition: Partition
    batch: Batch
    load: Load
    began: float
    is_full: bool


class _WrongLoadError(Exception):
    """The load itself is at fault, not the warehouse: some event in it must be found."""


class Loader:
    """Loads one or several partitions into one warehouse, as one consumer."""

    def __init__(
        self,
        consumer: str,
        readers: Sequence[LogReader],
        warehouse: Warehouse,
        sources: Callable[[], Mapping[str, Source]],
        config: LoaderConfig,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        shared: SharedParts | None = None,
        pace_seconds: float = 0.0,
        retyped: Callable[[], Iterable[tuple[TableName, str]]] = tuple,
        selections: Callable[[], Mapping[str, Selection]] = dict,
        model: Callable[[], Model | None] = lambda: None,
    ) -> None:
        """`sources` is asked at least once a load for all sources by slug, removed ones included. `shared` is what loaders of
        other warehouses read from, too. `pace_seconds`: see `WarehouseKind.pace_seconds`.
        `retyped` names the columns whose type a person chose; it is asked after each job.
        `selections` is asked once a load for what is stored of each source, by slug; of the others everything.
        `model`: see `Deriving`."""
        self._consumer = consumer
        self._warehouse = warehouse
        self._sources = sources
        self._config = config
        self._now = now
        self._monotonic = monotonic
        self._pace_seconds = pace_seconds
        self._retyped = retyped
        self._shared = shared or SharedParts()
        self._selections = selections
        self._freshness = Freshness()
        self._deriving = Deriving(model, config.model_seconds, monotonic)
        self._partitions = [Partition(reader, config.load_events, self._shared) for reader in readers]
        self._tables: Tables | None = None
        self._duplicates: Duplicates | None = None
        self._prepared: _Prepared | None = None
        self._tries = 0
        self._next_load = monotonic()
        self._last_load = monotonic()
        self._is_checkpoint_due = False
        self._loaded_at = datetime.min.replace(tzinfo=UTC)
        self._unwidenable: dict[tuple[TableName, str], str] = {}
        self._failures: deque[Failure] = deque(maxlen=FAILURES)
        self.reading = threading.Lock()
        """Held while a load is being made: whoever removes what was read of the log holds it meanwhile."""
        self._closed: str | None = None
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], bool, Callable[[str], None]]] = queue.SimpleQueue()

    def submit(
        self, job: Callable[[], None], *, changes: bool = True, cancel: Callable[[str], None] = lambda _: None
    ) -> None:
        """Have the job run on the loader's thread between two loads. It must not raise. After one that changes the tables what
        is known of the warehouse is read again. `cancel` is told why the job will never run. May be called from any thread."""
        self._jobs.put((job, changes, cancel))
        if self._closed is not None:
            self.cancel_jobs(self._closed)

    def cancel_jobs(self, reason: str) -> None:
        """No job runs any more. May be called from any thread."""
        self._closed = reason
        while True:
            try:
                _, _, cancel = self._jobs.get_nowait()
            except queue.Empty:
                return
            cancel(reason)

    def let_go(self) -> None:
        """Before a pause: a load that was made and is neither in the warehouse nor begun there is made anew afterwards."""
        prepared = self._prepared
        if prepared is None or self._is_in_warehouse(prepared.load):
            return
        if self._warehouse.unfinished(self._consumer, prepared.partition.number) is None:
            self._forget(prepared.partition, prepared.partition.limit)

    def unwidenable(self) -> Mapping[tuple[TableName, str], str]:
        """The columns that the warehouse holds to integer, and why. May be asked from any thread."""
        return dict(self._unwidenable)

    def failures(self) -> Sequence[Failure]:
        """Since the last load that worked, oldest first. May be asked from any thread."""
        return list(self._failures)

    def needed(self) -> Mapping[int, set[int]]:
        """By partition, the offsets at which this loader may go on reading; empty for one that is not placed yet.
        To be asked while `reading` is held."""
        needed = {partition.number: {partition.stored} for partition in self._partitions if partition.is_placed}
        if (prepared := self._prepared) is not None:
            needed[prepared.partition.number].add(prepared.load.end)
        return needed

    def progress(self) -> Sequence[Progress]:
        """By partition; may be asked from any thread."""
        return [partition.progress for partition in self._partitions]

    def seconds_to_row(self) -> SecondsToRow | None:
        """From receipt to row, over the last hour. May be asked from any thread."""
        return self._freshness.told(self._now())

    def window_start(self, schema: str) -> datetime | None:
        """Since when duplicates of the schema are found without exception; None while that is not known.
        May be asked from any thread."""
        return None if self._duplicates is None else self._duplicates.window_start(schema)

    def run(self, stop: threading.Event) -> None:
        """Load until told to stop; what is waiting then stays in the log.

        A warehouse that cannot be used now is tried again for ever. Raises PositionError when this loader must not go on."""
        self._shared.join()
        try:
            self._run(stop)
        finally:
            self._shared.leave()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.run_jobs()
                outcome = self.step() if self._is_due() else None
            except RetryableError as error:
                stop.wait(min(error.retry_after_seconds, LONGEST_WAIT_SECONDS))
                continue
            is_derived = self.derive(in_haste=outcome is not None)
            if outcome is None and not is_derived:
                self._rest()
                stop.wait(POLL_SECONDS)

    def derive(self, *, in_haste: bool = False) -> bool:
        """Carry on what is made from the events, if it is time to; True when that was done. Between two loads."""
        if self._prepared is not None or not self._deriving.is_due():
            return False
        return self._deriving.step(self._stored_tables, in_haste=in_haste)

    def _stored_tables(self) -> Mapping[TableName, Columns]:
        if self._tables is None:
            return self._warehouse.tables()
        found = {name: table.types_stored for name, table in self._tables.table_by_name.items()}
        return {name: columns for name, columns in found.items() if columns}

    @property
    def derived(self) -> DerivedState:
        """Where the e-mail model stands. May be asked from any thread."""
        return self._deriving.state

    def run_jobs(self) -> None:
        """Run what was submitted, unless a load hangs between being made and being in the warehouse."""
        while self._prepared is None and not self._jobs.empty():
            job, changes, _ = self._jobs.get()
            job()
            if not changes:
                continue
            for partition in self._partitions:
                partition.again()
            self._tables = self._duplicates = None
            self._unwidenable = {}
            self._deriving.loaded()

    def step(self) -> Outcome | None:
        """One load, from the first partition in turn that has anything; None when there is nothing.

        Raises WarehouseUnavailableError (call again: the same events are tried) and PositionError (never go on)."""
        try:
            self._place()
            for partition in self._in_turn():
                outcome = self._load(partition)
                if outcome is not None:
                    self._next_load = self._pace(outcome)
                    return outcome
        except Exception as error:
            self._failed(error)
            raise
        return None

    def _in_turn(self) -> Sequence[Partition]:
        """A load that hangs comes first, then one to be made again: look-ups of ids leave its rows out as long as it is unfinished,
        so that no other partition may load meanwhile."""
        if self._prepared is not None:
            return [self._prepared.partition]
        partitions = list(self._partitions)
        unfinished = [one for one in partitions if self._warehouse.unfinished(self._consumer, one.number) is not None]
        return unfinished or partitions

    def _is_due(self) -> bool:
        if self._prepared is not None or not all(partition.is_placed for partition in self._partitions):
            return True
        waiting = sum(partition.waiting() for partition in self._partitions)
        return waiting >= self._config.load_events or (waiting != 0 and self._monotonic() >= self._next_load)

    def _pace(self, outcome: Outcome) -> float:
        self._last_load = self._monotonic()
        if outcome.is_full:
            return self._last_load
        rest = max(0.0, self._config.interval_seconds - outcome.seconds)
        return self._last_load + max(self._pace_seconds, min(rest, outcome.seconds * (1 / SHARE - 1)))

    def _failed(self, error: Exception) -> None:
        if self._prepared is not None:
            self._note_failure(self._prepared.load, str(error))
        if self._tries <= 1 or not isinstance(error, RetryableError):
            logger.error("loader: %s: %s", type(error).__name__, error)
        for partition in self._partitions:
            partition.failed(error)

    def _note_failure(self, load: Load, error: str) -> None:
        """The first of equal ones: a warehouse that is away for an hour fails many times a minute."""
        failure = Failure(load.partition, load.incarnation, load.start, load.end, self._now(), error)
        if not self._failures or self._failures[-1].error != error:
            self._failures.append(failure)

    def _place(self) -> None:
        for partition in self._partitions:
            if not partition.is_placed:
                partition.place(self._warehouse.position(self._consumer, partition.number))

    def _known(self) -> tuple[Tables, Duplicates]:
        """What the warehouse has: asked at the start, tables also after a load that came to nothing."""
        config = self._config
        if self._tables is None:
            stored, named = self._warehouse.tables(), self._warehouse.named_columns()
            self._tables = Tables(
                stored,
                named,
                max_columns=config.max_columns,
                max_tables=config.max_tables,
                unwidenable=self._unwidenable,
                retyped=self._retyped(),
            )
            # The model reads what has a greater loaded_at than what it has read, also after the clock was set back.
            newest = self._warehouse.latest_rows("loads", 1)
            if newest.num_rows:
                self._loaded_at = max(self._loaded_at, newest.column("started")[0].as_py())
        if self._duplicates is None:
            window = timedelta(days=config.dedup_days)
            duplicates = Duplicates(self._warehouse, window, config.dedup_memory_bytes, self._now)
            duplicates.rebuild(self._tables.schemas())
            self._duplicates = duplicates
        return self._tables, self._duplicates

    def _load(self, partition: Partition) -> Outcome | None:
        while True:
            try:
                with self.reading:
                    prepared = self._prepared = self._pending() or self._prepare(partition)
                if prepared is None:
                    return None
                self._commit(prepared.load)
            except WideningRefusedError as error:
                if (TableName(error.schema, error.table), error.column) in self._unwidenable:
                    raise WarehouseUnavailableError(f"{error}; refused again") from error
                self._hold(error)
                self._forget(partition, partition.limit)
            except _WrongLoadError as error:
                self._search(partition, error)
            except RetryableError:
                self._tries += 1
                if self._prepared is None:
                    self._forget(partition, partition.limit)
                elif self._is_checkpoint_due:
                    # What is not checkpointed fills the warehouse's memory, above all with many tables.
                    self._checkpoint(force=True)
                raise
            else:
                return self._moved(prepared)

    def _pending(self) -> _Prepared | None:
        """The load that failed before. Failing again and again it is dropped for a smaller one, since perhaps it does not
        fit the warehouse's memory; but only while the position shows that no COMMIT of it worked."""
        prepared = self._prepared
        if prepared is None or self._tries % TRIES_BEFORE_SMALLER or self._is_in_warehouse(prepared.load):
            return prepared
        if self._warehouse.unfinished(self._consumer, prepared.partition.number) is not None:
            return prepared
        self._forget(prepared.partition, max(1, prepared.partition.taken // 2))
        return None

    def _prepare(self, partition: Partition) -> _Prepared | None:
        """Read and type one load's events; None when nothing is waiting."""
        began = self._monotonic()
        unfinished = partition.unfinished = self._warehouse.unfinished(self._consumer, partition.number)
        tables, duplicates = self._known()
        loaded_at = unfinished.loaded_at if unfinished else self._next_loaded_at()
        batch = Batch(
            tables,
            duplicates,
            self._warehouse,
            self._sources,
            loaded_at,
            self._selections(),
            block=self._shared.block,
        )
        size_bytes = 0
        is_last = False
        while not is_last and partition.has_room:
            if unfinished is None and (
                size_bytes >= self._config.load_bytes or batch.cells >= LOAD_CELLS or batch.tables >= LOAD_TABLES
            ):
                break
            part = partition.part()
            self._add(batch, part, partition.refusal)
            size_bytes += part.size_bytes
            is_last = part.is_last
        if batch.is_empty:
            return None
        seconds = self._monotonic() - began
        with _judged():
            load = batch.load(
                self._consumer,
                Position(partition.reader.incarnation, partition.next),
                partition=partition.number,
                start=partition.stored,
                seconds=seconds,
                failures=list(self._failures),
            )
        return _Prepared(partition, batch, load, began, not is_last)

    def _next_loaded_at(self) -> datetime:
        """Of no two loads the same, since per-table drivers tell the rows of an unfinished load by it."""
        self._loaded_at = max(self._now(), self._loaded_at + datetime.resolution)
        return self._loaded_at

    def _hold(self, error: WideningRefusedError) -> None:
        logger.warning("loader: %s; until then values with a fraction go to headrace.discards", error)
        name = TableName(error.schema, error.table)
        self._unwidenable[name, error.column] = error.reason
        for history, (latest, _) in LATEST.items():
            if latest == name.table:
                self._unwidenable[TableName(name.schema, history), error.column] = error.reason

    def _add(self, batch: Batch, part: Part, refusal: str | None) -> None:
        with _judged():
            for gap in part.gaps:
                batch.add_gap(gap)
            if refusal is not None and part.entries and isinstance(part.entries[0], Event):
                batch.add_refused(part.entries[0], refusal)
            else:
                batch.add(part.entries, part.rows)

    def _commit(self, load: Load) -> None:
        # After an unclear COMMIT the position is the only witness.
        if self._tries and self._is_in_warehouse(load):
            return
        with _judged():
            self._warehouse.commit(load)

    def _is_in_warehouse(self, load: Load) -> bool:
        return self._warehouse.position(self._consumer, load.partition) == Position(load.incarnation, load.end)

    def _search(self, partition: Partition, error: _WrongLoadError) -> None:
        """After a load that can never succeed: try half of it, until the one event is found, which is then rejected."""
        taken = partition.taken
        if partition.unfinished is not None:
            raise HeadraceError(
                f"loader: the unfinished load from {partition.stored} cannot be made again: {error}"
            ) from error
        if taken <= 1 and partition.refusal is not None:
            raise HeadraceError(f"loader: the warehouse refuses even the rejection of an event: {error}") from error
        if taken <= 1:
            partition.refusal = str(error)
            logger.error("loader: the event at offset %d is rejected: %s", partition.stored, error)
        elif partition.limit >= self._config.load_events:
            logger.warning("loader: a load of %d events is wrong, looking for the event: %s", taken, error)
        self._forget(partition, max(1, taken // 2))

    def _forget(self, partition: Partition, limit: int) -> None:
        """Drop the load that was made; what it taught about tables must be read again."""
        partition.limit = limit
        partition.again()
        self._prepared = None
        self._tables = None

    def _moved(self, prepared: _Prepared) -> Outcome:
        partition, load = prepared.partition, prepared.load
        prepared.batch.committed()
        self._freshness.loaded(prepared.batch.received(), self._now())
        self._failures.clear()
        self._deriving.loaded()
        partition.unfinished = None
        self._prepared = None
        self._tries = 0
        seconds = self._monotonic() - prepared.began
        partition.loaded(load.end, prepared.batch.entries, seconds, self._now(), self._config.load_events)
        self._partitions = [*(other for other in self._partitions if other is not partition), partition]
        self._is_checkpoint_due = True
        if self._warehouse.journal_bytes() > JOURNAL_BYTES:
            self._checkpoint(force=True)
        return Outcome(partition.number, prepared.batch.entries, load.start, load.end, seconds, prepared.is_full)

    def _rest(self) -> None:
        """What quiet moments are for."""
        if self._is_checkpoint_due and self._monotonic() - self._last_load >= QUIET_SECONDS:
            self._checkpoint(force=False)

    def _checkpoint(self, *, force: bool) -> None:
        try:
            self._warehouse.checkpoint(force=force)
        except RetryableError as error:
            logger.warning("loader: no checkpoint now: %s", error)
        self._is_checkpoint_due = False


@contextmanager
def _judged() -> Iterator[None]:
    """Tell a wrong load from a warehouse that cannot take it now or was moved by another loader."""
    try:
        yield
    except (ConfigError, PositionError, RetryableError, WideningRefusedError):
        raise
    except Exception as error:
        raise _WrongLoadError(f"{type(error).__name__}: {error}") from error
