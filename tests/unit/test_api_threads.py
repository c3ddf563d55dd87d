"""Questions that wait do not keep others from being answered."""

from __future__ import annotations

import asyncio
import threading

import pytest
from litestar.concurrency import sync_to_thread

from headrace.app.working import API_THREADS, give_threads


def test_many_that_wait_hold_nobody_up() -> None:
    asyncio.run(_asked_at_once(API_THREADS))


def test_the_control_more_than_there_are_threads_wait_for_each_other() -> None:
    with pytest.raises(threading.BrokenBarrierError):
        asyncio.run(_asked_at_once(API_THREADS + 1, seconds=0.2))


async def _asked_at_once(count: int, seconds: float = 20.0) -> None:
    """Each waits until all are asked."""
    give_threads(asyncio.get_running_loop())
    together = threading.Barrier(count, timeout=seconds)
    await asyncio.gather(*(sync_to_thread(together.wait) for _ in range(count)))
