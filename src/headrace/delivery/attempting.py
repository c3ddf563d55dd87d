"""One attempt: a batch goes to the kind, and whatever happens there is a result for each of its events."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Sequence

from headrace.destinations.base import DestinationKind, Http, Prepared, Result
from headrace.errors import ConfigError, RetryableError

logger = logging.getLogger(__name__)


async def attempt(kind: DestinationKind, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
    """Within the kind's time limit. Never raises; details may hold secrets still."""
    try:
        async with asyncio.timeout(kind.time_limit_seconds):
            results = await kind.send(batch, http)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Something within the kind was cancelled, not this attempt: who sends must not end by that.
        result = Result("retry", "INTERNAL", "the attempt was cut off within the kind")
    except TimeoutError:
        result = Result("retry", "ETIMEDOUT", f"no end within {kind.time_limit_seconds:g} s")
    except ConfigError as error:
        result = Result("failed", "INVALID_SETTINGS", str(error))
    except RetryableError as error:
        result = Result("retry", "SERVER_ERROR", str(error), error.retry_after_seconds)
    except Exception as error:  # noqa: BLE001 -- whatever a kind does, its events are not lost
        # Where, and not what it said: that may hold secrets, and stands masked in the books.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("destination %s: %s\n%s", kind.place.slug, type(error).__name__, where)  # noqa: TRY400
        result = Result("failed", "INTERNAL", f"{type(error).__name__}: {error}", is_whole_request=True)
    else:
        if len(results) == len(batch):
            return results
        result = Result("failed", "INTERNAL", f"{len(results)} results for {len(batch)} events", is_whole_request=True)
    return [result] * len(batch)
