"""Work on a warehouse's tables that a person asked for: it runs on the loader's thread, between two loads, and tells how far it is."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from headrace.errors import ConfigError, HeadraceError, NotFoundError

logger = logging.getLogger(__name__)

JobState = Literal["waiting", "running", "done", "failed"]
KEPT: Final = 100
"""Jobs that are remembered after their end."""

OnProgress = Callable[[int, int | None, str], None]
"""Done, of all (None while that is not known), and what it does now."""


class Job(msgspec.Struct, frozen=True):
    """How far a job is. `result` is what it tells of itself at its end; `error` why it failed."""

    id: int
    warehouse: str
    job: str
    state: JobState = "waiting"
    done: int = 0
    total: int | None = None
    text: str = ""
    result: dict[str, Any] | None = None
    error: str | None = None


class Work(NamedTuple):
    """A job's name, and what does it; that returns the job's result and may raise HeadraceError. `changes`: it changes tables."""

    job: str
    run: Callable[[OnProgress], dict[str, Any]]
    changes: bool


class Submit(Protocol):
    """`Loader.submit`, or what leads to it."""

    def __call__(self, job: Callable[[], None], *, changes: bool, cancel: Callable[[str], None]) -> None: ...


class Jobs:
    """All jobs of a worker. Safe to use from several threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._numbers = itertools.count(1)
        self._job_by_id: dict[int, Job] = {}

    def submit(self, warehouse: str, work: Work, submit: Submit) -> Job:
        """Have `submit` (see `Loader.submit`) run it. Raises ConfigError while another job waits or runs on that warehouse."""
        with self._turn:
            for other in self._job_by_id.values():
                if other.warehouse == warehouse and other.state in {"waiting", "running"}:
                    raise ConfigError(
                        f"job: {warehouse} has one already ({other.job}, number {other.id}); wait for its end"
                    )
            job = Job(next(self._numbers), warehouse, work.job)
            self._job_by_id[job.id] = job
            while len(self._job_by_id) > KEPT:
                del self._job_by_id[next(iter(self._job_by_id))]
        try:
            submit(
                lambda: self._run(job.id, work),
                changes=work.changes,
                cancel=lambda reason: self._change(job.id, state="failed", error=reason),
            )
        except BaseException:
            with self._turn:
                del self._job_by_id[job.id]
            raise
        return job

    def job(self, id_: int) -> Job:
        """Raises NotFoundError."""
        with self._turn:
            found = self._job_by_id.get(id_)
        if found is None:
            raise NotFoundError(
                f"job: there is no number {id_}; a worker that was started again has forgotten those before"
            )
        return found

    def of(self, warehouse: str) -> list[Job]:
        """Newest first."""
        with self._turn:
            return [job for job in reversed(self._job_by_id.values()) if job.warehouse == warehouse]

    def _run(self, id_: int, work: Work) -> None:
        self._change(id_, state="running")
        try:
            result = work.run(lambda done, total, text: self._change(id_, done=done, total=total, text=text))
        except HeadraceError as error:
            self._change(id_, state="failed", error=str(error))
            logger.warning("job %d (%s) failed: %s", id_, work.job, error)
        except Exception as error:
            self._change(id_, state="failed", error=f"{type(error).__name__}: {error}")
            logger.exception("job %d (%s) failed", id_, work.job)
        else:
            self._change(id_, state="done", result=result)

    def _change(self, id_: int, **changes: Any) -> None:
        with self._turn:
            if id_ in self._job_by_id:
                self._job_by_id[id_] = msgspec.structs.replace(self._job_by_id[id_], **changes)
