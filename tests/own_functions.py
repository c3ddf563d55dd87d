"""Users' own functions for tests of the python destination: files with them, attempts, and what is left of their processes."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import psutil
import uvloop

from headrace.destinations.base import CODES, DestinationKind, Http, Place, Prepared, Result, configured
from segment_events import event_of

FUNCTIONS: Final = Path(__file__).parent / "cases" / "functions"
NO_HTTP: Final = cast("Http", None)
LONG_SECONDS: Final = 60
"""A function that hangs for so long fails the test by the suite's own limit, should nobody end it."""


def event(identity: str = "m-1", **properties: Any) -> Prepared:
    sent = {"type": "track", "event": "Email Opened", "messageId": identity, "userId": "u-1", "properties": properties}
    return Prepared(event_of(sent))


def kind_of(file: Path, **settings: Any) -> DestinationKind:
    given = {"file": str(file), "timeout_seconds": LONG_SECONDS, **settings}
    return configured("python", given, Place("mine", file.parent))


def written(folder: Path, code: str) -> Path:
    file = folder / "own.py"
    file.write_text(textwrap.dedent(code))
    return file


def run(
    kind: DestinationKind,
    steps: Callable[[DestinationKind], Awaitable[Any]],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop,
) -> Any:
    """In the kind of loop that delivery runs in, unless another one is asked for."""

    async def whole() -> Any:
        try:
            return await steps(kind)
        finally:
            await kind.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(whole())


def sent(kind: DestinationKind, *events: Prepared) -> Sequence[Result]:
    """The results of one attempt for all of them."""

    async def steps(kind: DestinationKind) -> Sequence[Result]:
        return await kind.send(events, NO_HTTP)

    results = cast("Sequence[Result]", run(kind, steps))
    assert len(events) == len(results)
    assert {result.code for result in results} <= {"", *CODES}
    return results


def said_of(folder: Path, code: str, **settings: Any) -> Result:
    (result,) = sent(kind_of(written(folder, code), **settings), event())
    return result


def each_of(folder: Path, *bodies: Sequence[str], word: str = "def") -> Sequence[Result]:
    """The results of events for each of which the function does something else, one after the other in one process."""
    steps = [body for some in bodies for body in some]
    code = "class Retry(Exception): pass\nclass Reject(ValueError): pass\n"
    code += "".join(f"{word} step_{place}(event):\n    {body}\n" for place, body in enumerate(steps))
    code += "def send(event):\n    return globals()[event['messageId']](event)"
    return sent(kind_of(written(folder, code)), *(event(f"step_{place}") for place in range(len(steps))))


def shown(result: Result) -> tuple[str, str, str]:
    return result.outcome, result.code, result.detail


def is_alive(pid: int) -> bool:
    """A process that has ended and waits for somebody to ask how is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_SECONDS):
        while not holds():  # noqa: ASYNC110 -- what it waits for happens in another process
            await asyncio.sleep(0.01)


async def there(file: Path) -> None:
    await until(lambda: file.exists() and bool(file.read_text()))


def left_behind(before: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Processes that were begun since; a database server of other tests begins and ends its own all the time."""
    now = psutil.Process().children(recursive=True)
    return [process for process in now if process not in before and process.name() != "postgres"]
