"""Work on a warehouse's tables that a person asked for: it runs on the loader's thread, between two loads, and tells how far it is."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from headrace.errors import ConfigError, HeadraceError, NotFoundError

logger = logging.getLogger(__name__)

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
KEPT: Final = 100
"""Jobs that are remembered after their end."""
CANCELLED: Final = "job: it was cancelled; no table has changed"

OnProgress = Callable[[int, int | None, str], None]
"""Done, of all (None while that is not known), and what it does now."""


class Job(msgspec.Struct, frozen=True):
    """How far a job is. `result` is what it tells of itself at its end; `error` why it failed. `is_ending`: it was told to end and
    has not yet. `can_end`: it can be cancelled now."""

    id: int
    warehouse: str
    job: str
    state: JobState = "waiting"
    done: int = 0
    total: int | None = None
    text: str = ""
    result: dict[str, Any] | None = None
    error: str | None = None
    arguments: Mapping[str, Any] = {}
    ordered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_ending: bool = False
    can_end: bool = True


class Work(NamedTuple):
    """A job's name, and what does it; that returns the job's result and may raise HeadraceError. `changes`: it changes tables.
    `stop` ends it while it runs, nothing being changed then; None where only its end ends it."""

    job: str
    run: Callable[[OnProgress], dict[str, Any]]
    changes: bool
    stop: threading.Event | None = None
    arguments: Mapping[str, Any] = {}


class Submit(Protocol):
    """`Loader.submit`, or what leads to it."""

    def __call__(self, job: Callable[[], None], *, changes: bool, cancel: Callable[[str], None]) -> None: ...


class Jobs:
    """All jobs of a worker. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._turn = threading.Lock()
        self._now = now
        self._numbers = itertools.count(1)
        self._job_by_id: dict[int, Job] = {}
        self._stop_by_id: dict[int, threading.Event | None] = {}

    def submit(self, warehouse: str, work: Work, submit: Submit) -> Job:
        """Have `submit` (see `Loader.submit`) run it. Raises ConfigError while another job waits or runs on that warehouse."""
        with self._turn:
            for other in self._job_by_id.values():
                if other.warehouse == warehouse and other.state in {"waiting", "running"}:
                    raise ConfigError(
                        f"job: {warehouse} has one already ({other.job}, number {other.id}); wait for its end"
                    )
            number = next(self._numbers)
            job = Job(number, warehouse, work.job, arguments=work.arguments, ordered_at=self._now())
            self._job_by_id[job.id] = job
            self._stop_by_id[job.id] = work.stop
            while len(self._job_by_id) > KEPT:
                self._forget(next(iter(self._job_by_id)))
        try:
            submit(
                lambda: self._run(job.id, work),
                changes=work.changes,
                cancel=lambda reason: self._end(job.id, "failed", error=reason),
            )
        except BaseException:
            with self._turn:
                self._forget(job.id)
            raise
        return job

    def job(self, id_: int) -> Job:
        """Raises NotFoundError."""
        with self._turn:
            return self._known(id_)

    def cancel(self, id_: int) -> Job:
        """One that waits is over at once, one that runs ends soon, however often it is told. Raises NotFoundError, and ConfigError for one
        that has ended or that cannot be ended in its middle."""
        with self._turn:
            job, stop = self._known(id_), self._stop_by_id.get(id_)
            if job.state == "waiting":
                self._job_by_id[id_] = msgspec.structs.replace(
                    job, state="cancelled", error=CANCELLED, ended_at=self._now(), can_end=False
                )
            elif job.state != "running":
                raise ConfigError(f"job: number {id_} has ended already ({job.state}); there is nothing to cancel")
            elif stop is None:
                raise ConfigError(f"job: a {job.job} that runs cannot be cancelled in its middle; wait for its end")
            else:
                stop.set()
                self._job_by_id[id_] = msgspec.structs.replace(job, is_ending=True)
            return self._job_by_id[id_]

    def of(self, warehouse: str) -> list[Job]:
        """Newest first."""
        with self._turn:
            return [job for job in reversed(self._job_by_id.values()) if job.warehouse == warehouse]

    def _known(self, id_: int) -> Job:
        found = self._job_by_id.get(id_)
        if found is None:
            raise NotFoundError(
                f"job: there is no number {id_}; a worker that was started again has forgotten those before"
            )
        return found

    def _forget(self, id_: int) -> None:
        del self._job_by_id[id_], self._stop_by_id[id_]

    def _run(self, id_: int, work: Work) -> None:
        with self._turn:
            job = self._job_by_id.get(id_)
            if job is None or job.state != "waiting":
                return
            self._job_by_id[id_] = msgspec.structs.replace(
                job, state="running", started_at=self._now(), can_end=work.stop is not None
            )
        try:
            result = work.run(lambda done, total, text: self._change(id_, done=done, total=total, text=text))
        except HeadraceError as error:
            if work.stop is not None and work.stop.is_set() and self._is_ending(id_):
                self._end(id_, "cancelled", error=CANCELLED)
                return
            self._end(id_, "failed", error=str(error))
            logger.warning("job %d (%s) failed: %s", id_, work.job, error)
        except Exception as error:
            self._end(id_, "failed", error=f"{type(error).__name__}: {error}")
            logger.exception("job %d (%s) failed", id_, work.job)
        else:
            self._end(id_, "done", result=result)

    def _is_ending(self, id_: int) -> bool:
        with self._turn:
            job = self._job_by_id.get(id_)
            return job is not None and job.is_ending

    def _end(self, id_: int, state: JobState, **changes: Any) -> None:
        self._change(id_, state=state, ended_at=self._now(), is_ending=False, can_end=False, **changes)

    def _change(self, id_: int, **changes: Any) -> None:
        with self._turn:
            if id_ in self._job_by_id:
                self._job_by_id[id_] = msgspec.structs.replace(self._job_by_id[id_], **changes)
