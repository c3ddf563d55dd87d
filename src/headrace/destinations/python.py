"""Python: a user's own function in a file, run in a process of its own with a time limit. docs/destinations/python.md is its manual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, cast

import msgspec

from headrace.destinations._python_process import LOAD_SECONDS, EndedError, Outcome, Processes, Program
from headrace.destinations.base import (
    DELIVERED,
    Batching,
    DestinationKind,
    DestinationSettings,
    Exchange,
    Http,
    Place,
    Prepared,
    Request,
    Result,
    described,
)
from headrace.errors import ConfigError, RetryableError

MOST_EVENTS: Final = 1_000
DETAIL_CHARACTERS: Final = 1_000
_MEGABYTE: Final = 1_048_576


class PythonSettings(DestinationSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    file: Annotated[str, described("The full path of the Python file on the machine where headrace runs.")]
    function: Annotated[
        str, described("The function in it that takes an event, or a list where `batch_events` is above 1.")
    ] = "send"
    timeout_seconds: Annotated[
        float,
        msgspec.Meta(
            description="A call that takes longer is ended, its process with it, and tried again.", gt=0, le=300
        ),
    ] = 5.0
    memory_megabytes: Annotated[
        int, msgspec.Meta(description="Memory (address space) that a process may take; 0 is no limit.", ge=0)
    ] = 0
    environment: Annotated[
        dict[str, str],
        described("Environment variables for the function, such as the keys it needs, as an object.", secret=True),
    ] = msgspec.field(default_factory=dict)
    concurrency: Annotated[
        int, msgspec.Meta(description="Processes at the most, each with one call at a time.", ge=1, le=256)
    ] = 4


class PythonKind(DestinationKind):
    title = "Python"
    summary = (
        "Your own function in a file: it gets each event, or lists of them, in a process of its own with a time limit."
    )
    docs_url = "https://docs.python.org/3/tutorial/controlflow.html#defining-functions"
    tried = "functions in processes on this machine, with their errors, endings, time limits and changes of the file"
    setup = (
        "Write a file with `def send(event): ...` where headrace runs, readable for its user.",
        "Install what it imports into the environment of headrace.",
    )
    drops_repeats = "The function itself, by the event's messageId: the same event may come again."
    batching = Batching(events=MOST_EVENTS, bytes=8_000_000)
    runs_code = True
    Settings = PythonSettings

    def __init__(self, settings: DestinationSettings, place: Place) -> None:
        """Raises ConfigError for a path or a name that is none."""
        super().__init__(settings, place)
        self._own = own = cast("PythonSettings", settings)
        if not Path(own.file).is_absolute():
            raise ConfigError(f"destination: file must be a full path, beginning with /; {own.file[:200]!r} is none")
        if not own.function.isidentifier():
            raise ConfigError(f"destination: function must be the name of a function; {own.function[:200]!r} is none")
        if wrong := [
            name for name in own.environment if not name or "=" in name or "\0" in name + own.environment[name]
        ]:
            raise ConfigError(f"destination: environment has a variable {wrong[0][:100]!r} that no process can have")
        program = Program(place.slug, Path(own.file), own.function, own.environment, own.memory_megabytes * _MEGABYTE)
        self._processes = Processes(program)

    @property
    def limits(self) -> Batching:
        """One event a call unless the settings say more."""
        return self.batching._replace(events=min(self.settings.batch_events or 1, MOST_EVENTS))

    @property
    def time_limit_seconds(self) -> float:
        """The call's own limit is to come first, also where the file is loaded before it."""
        return self._own.timeout_seconds + LOAD_SECONDS + 5

    async def open(self) -> None:
        """Loads the file once, so that what is wrong with it is known before the first event."""
        self._processes.put_back(await self._processes.taken())

    async def send(self, batch: Sequence[Prepared], http: Http) -> Sequence[Result]:
        del http
        if not batch:
            return []
        bodies = [prepared.json() for prepared in batch]
        if self.limits.events > 1:
            return await self._called(b"[" + b",".join(bodies) + b"]", len(batch))
        return [result for body in bodies for result in await self._called(body, 1)]

    async def _called(self, body: bytes, events: int) -> Sequence[Result]:
        """One call of the function, and a result for each event in `body`."""
        try:
            process = await self._processes.taken()
        except ConfigError as error:
            return [self._result("failed", "INVALID_SETTINGS", str(error), body)] * events
        except RetryableError as error:
            return [self._result("retry", "INTERNAL", str(error), body, after=error.retry_after_seconds)] * events
        try:
            said = await process.call(body, self._own.timeout_seconds)
        except TimeoutError:
            await self._processes.ended(process, at_once=True)
            detail = f"the function did not return within {self._own.timeout_seconds:g} s; its process was ended"
            return [self._result("retry", "TIME_LIMIT", detail, body)] * events
        except EndedError as error:
            await self._processes.ended(process, at_once=True)
            return [self._result("retry", "PROCESS_ENDED", str(error), body)] * events
        except BaseException:  # cancelled: what the function has done by now, nobody knows
            await self._processes.ended(process, at_once=True)
            raise
        if said.is_last:
            await self._processes.ended(process, at_once=False)
        else:
            self._processes.put_back(process)
        outcomes = said.outcomes if len(said.outcomes) == events else said.outcomes[:1] * events
        is_whole = events > 1 and len(said.outcomes) != events
        return [self._of(outcome, body, said.trace, is_whole=is_whole) for outcome in outcomes]

    def _of(self, outcome: Outcome, body: bytes, trace: str, *, is_whole: bool) -> Result:
        if outcome.what == "delivered":
            return DELIVERED
        if outcome.what == "retry":
            return self._result("retry", "FUNCTION_RETRY", outcome.reason, body, trace, after=outcome.after_seconds)
        code = "MESSAGE_REJECTED" if outcome.what == "reject" else "FUNCTION_FAILED"
        return self._result("failed", code, outcome.reason, body, trace, is_whole=is_whole)

    def _result(
        self,
        outcome: Literal["retry", "failed"],
        code: str,
        detail: str,
        body: bytes,
        trace: str = "",
        *,
        after: float | None = None,
        is_whole: bool = False,
    ) -> Result:
        """With what the function was given and the lines of its error, for the samples."""
        request = Request("CALL", f"{self._own.file}#{self._own.function}", body=body)
        exchange = Exchange(request, None, code, trace or detail)
        return Result(outcome, code, detail[:DETAIL_CHARACTERS], after, is_whole, exchange)

    def warnings(self) -> Sequence[str]:
        try:
            is_open = Path(self._own.file).stat().st_mode & 0o002
        except OSError as error:
            return (f"{self._own.file}: {error.strerror}",)
        return (
            (f"every user of this machine may change {self._own.file}, and so what headrace runs",) if is_open else ()
        )

    async def close(self) -> None:
        await self._processes.close()
