"""Jobs: one at a time by warehouse, and what becomes of one that is cancelled, before it runs and in its middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from headrace.console.jobs import CANCELLED, Jobs, OnProgress, Work
from headrace.errors import ConfigError, HeadraceError, NotFoundError


class Turns:
    """The loader: it runs a job when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None], **_: Any) -> None:
        self.waiting.append(job)

    def run(self) -> None:
        self.waiting.pop(0)()


def works(jobs: Jobs, during: Callable[[int], object], stop: threading.Event | None) -> Callable[[OnProgress], dict[str, Any]]:  # fmt: skip
    def run(on_progress: OnProgress) -> dict[str, Any]:
        on_progress(1, 2, "half")
        during(jobs.of("warehouse")[0].id)
        if stop is not None and stop.is_set():
            raise HeadraceError("it was told to end")
        return {"rows": 2}

    return run


def test_one_that_waits_is_over_at_once_and_never_runs() -> None:
    jobs, loader = Jobs(), Turns()
    ran: list[int] = []
    job = jobs.submit("warehouse", Work("rebuild", works(jobs, ran.append, None), changes=True), loader.submit)
    assert "cancelled" == jobs.cancel(job.id).state
    loader.run()
    assert ([], "cancelled", CANCELLED) == (ran, jobs.job(job.id).state, jobs.job(job.id).error)
    with pytest.raises(ConfigError, match="has ended already"):
        jobs.cancel(job.id)


def test_one_that_runs_ends_soon_and_may_be_told_so_twice() -> None:
    jobs, loader, stop = Jobs(), Turns(), threading.Event()
    told: list[bool] = []
    run = works(jobs, lambda id_: told.extend(jobs.cancel(id_).is_ending for _ in range(2)), stop)
    job = jobs.submit("warehouse", Work("rebuild", run, changes=True, stop=stop), loader.submit)
    with pytest.raises(ConfigError, match="has one already"):
        jobs.submit("warehouse", Work("prune", run, changes=True), loader.submit)
    loader.run()
    found = jobs.job(job.id)
    assert ([True, True], "cancelled", False, False) == (told, found.state, found.is_ending, found.can_end)
    assert found.ended_at is not None


def test_one_that_was_done_before_it_heard_of_it_is_done() -> None:
    jobs, loader, stop = Jobs(), Turns(), threading.Event()
    job = jobs.submit("warehouse", Work("rebuild", works(jobs, jobs.cancel, None), changes=True, stop=stop), loader.submit)  # fmt: skip
    loader.run()
    assert ("done", {"rows": 2}) == (jobs.job(job.id).state, jobs.job(job.id).result)


def test_one_that_cannot_end_in_its_middle_says_so_and_unknown_ones_are_not_found() -> None:
    jobs, loader = Jobs(), Turns()
    refused: list[str] = []

    def cancel(id_: int) -> None:
        with pytest.raises(ConfigError) as refusal:
            jobs.cancel(id_)
        refused.append(str(refusal.value))

    job = jobs.submit("warehouse", Work("retype", works(jobs, cancel, None), changes=True), loader.submit)
    loader.run()
    assert ("done", True) == (jobs.job(job.id).state, "cannot be cancelled in its middle" in refused[0])
    with pytest.raises(NotFoundError):
        jobs.cancel(999)
