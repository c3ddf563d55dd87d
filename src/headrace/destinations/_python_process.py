"""The process of a user's function, from the worker's side: started, called, read out and ended; and several of them.

`_python_runner.py` is the other side and describes the frames.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from headrace.errors import ConfigError, RetryableError

RUNNER: Final = Path(__file__).with_name("_python_runner.py")
LOAD_SECONDS: Final = 30.0
"""A file may import large packages."""
BROKEN_SECONDS: Final = 2.0
"""For so long a file that could not be loaded is not loaded again unless it changes: what it imports may have been mended."""
END_SECONDS: Final = 2.0
"""A process that is no longer needed may finish; then it is killed."""
ANSWER_BYTES: Final = 16_777_216
LINES: Final = 100
"""So many lines of output reach the log for each call."""
LINE_CHARACTERS: Final = 2_000

_logger: Final = logging.getLogger("headrace.destinations.python")


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What the function said of an event, or of all of them."""

    what: Literal["delivered", "retry", "reject", "error"]
    reason: str
    after_seconds: float | None


class Said(msgspec.Struct, frozen=True):
    """One outcome for all events of the call, or one for each. `trace` is the user's own part of a traceback."""

    outcomes: list[Outcome]
    trace: str
    is_last: bool


class Loaded(msgspec.Struct, frozen=True):
    error: str = ""


class EndedError(Exception):
    """The process ended before it answered; the text says how."""


Version = tuple[int, int, int]
"""Of the file: when it was changed, which one it is, its size."""


class Program(NamedTuple):
    """What is run, and for which destination."""

    slug: str
    file: Path
    function: str
    environment: Mapping[str, str]
    memory_bytes: int

    def version(self) -> Version:
        """Another one when the file was changed or replaced. Raises ConfigError when it cannot be there."""
        try:
            found = self.file.stat()
        except OSError as error:
            raise ConfigError(f"destination {self.slug}: {self.file}: {error.strerror}") from None
        return found.st_mtime_ns, found.st_ino, found.st_size


class FunctionProcess:
    """One process that has loaded the file. Calls must not overlap."""

    def __init__(
        self,
        program: Program,
        version: Version,
        process: Process,
        output: Output,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.version = version
        self._program = program
        self._process = process
        self._output = output
        self._reader, self._writer = streams
        self._exit = asyncio.create_task(self._exited())

    @classmethod
    async def start(cls, program: Program) -> FunctionProcess:
        """Raises ConfigError when the file cannot be loaded, and RetryableError when no process can be started."""
        version = program.version()
        ours, theirs = socket.socketpair()
        with theirs:
            streams = await asyncio.open_unix_connection(sock=ours)
            output = await Output.opened(program.slug)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-B", str(RUNNER), str(theirs.fileno()), str(os.getpid())),
                    stdin=DEVNULL,
                    stdout=output.write_end,
                    stderr=output.write_end,
                    cwd=program.file.parent,
                    env=environment(program.environment),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                streams[1].close()
                await output.close()
                raise RetryableError(f"destination {program.slug}: no process can be started: {error}") from None
        output.close_write_end()
        started = cls(program, version, process, output, streams)
        try:
            await started._load()
        except BaseException:
            await started.end(at_once=True)
            raise
        return started

    async def _load(self) -> None:
        program = self._program
        setup = {"file": str(program.file), "function": program.function, "memory_bytes": program.memory_bytes}
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await self._write(msgspec.json.encode(setup))
                error = msgspec.json.decode(await self._read(), type=Loaded).error
        except TimeoutError:
            error = f"it is not loaded after {LOAD_SECONDS:g} s"
        except (EndedError, msgspec.DecodeError) as failure:
            error = str(failure)
        if error:
            raise ConfigError(f"destination {program.slug}: {program.file}: {error}")

    @property
    def is_running(self) -> bool:
        return not self._exit.done()

    async def call(self, frame: bytes, seconds: float) -> Said:
        """Raises TimeoutError and EndedError; then, as after a cancellation, the process must be ended."""
        self._output.begin()
        async with asyncio.timeout(seconds):
            await self._write(frame)
            answer = await self._read()
        try:
            return msgspec.json.decode(answer, type=Said)
        except msgspec.DecodeError:
            raise EndedError("something else than headrace wrote to the function's socket") from None

    async def _write(self, frame: bytes) -> None:
        try:
            self._writer.write(len(frame).to_bytes(4, "big") + frame)
            await self._writer.drain()
        except OSError:
            raise EndedError(await self._ending()) from None

    async def _read(self) -> bytes:
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            if size > ANSWER_BYTES:
                raise EndedError("something else than headrace wrote to the function's socket")
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError):
            raise EndedError(await self._ending()) from None

    async def _exited(self) -> int:
        """Its code. Children that it left behind end with it: they hold its socket and its output open."""
        code = await self._process.wait()
        self._kill_group()
        return code

    async def _ending(self) -> str:
        self.kill()
        code = await asyncio.shield(self._exit)
        if code >= 0:
            return f"the function's process ended with code {code}"
        named = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"the function's process was ended by {named}"

    def kill(self) -> None:
        """With its children: it leads a group of its own."""
        if not self._exit.done():  # afterwards its number may be another's
            self._kill_group()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left in it

    async def end(self, *, at_once: bool = False) -> None:
        """Safe to call twice. Unless `at_once` the function's own last steps (atexit) may run for a moment."""
        self._writer.close()
        if not at_once:
            await asyncio.wait({self._exit}, timeout=END_SECONDS)
        self.kill()
        await asyncio.shield(self._exit)
        await self._output.close()


class Output:
    """What the function prints, line by line into the worker's log, bounded."""

    def __init__(
        self, slug: str, write_end: int, reader: asyncio.StreamReader, transport: asyncio.ReadTransport
    ) -> None:
        self.write_end = write_end
        self._slug = slug
        self._transport = transport
        self._lines = 0
        self._rest = b""
        self._reading = asyncio.create_task(self._read(reader))

    @classmethod
    async def opened(cls, slug: str) -> Output:
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", 0)
        )
        return cls(slug, write_end, reader, transport)

    def close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def begin(self) -> None:
        """A call begins: it has lines of its own."""
        self._lines = 0

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while found := await reader.read(65_536):
            *lines, rest = (self._rest + found).split(b"\n")
            for line in lines:
                self._log(line)
            self._rest = rest[: 4 * LINE_CHARACTERS]  # a line without an end is cut
        self._log(self._rest)

    def _log(self, line: bytes) -> None:
        text = "".join(c if c.isprintable() else " " for c in line[: 4 * LINE_CHARACTERS].decode("utf-8", "replace"))
        if not text.strip():
            return
        self._lines += 1
        if self._lines <= LINES:
            _logger.info("destination %s: %s", self._slug, text[:LINE_CHARACTERS].rstrip())
        elif self._lines == LINES + 1:
            _logger.warning(
                "destination %s: the function prints more than %d lines; they are left out", self._slug, LINES
            )

    async def close(self) -> None:
        """After the end of the process; what it printed last is read. Safe to call twice."""
        self.close_write_end()
        await asyncio.wait({self._reading}, timeout=END_SECONDS)
        self._reading.cancel()
        self._transport.close()


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """The worker's without what belongs to headrace, whose secrets may be there, and with what the operator gives the function."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**kept, **own}


class Processes:
    """As many processes as there are calls at a time, each started when it is first needed, in the place of an ended or outdated one."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._idle: list[FunctionProcess] = []
        self._busy: set[FunctionProcess] = set()
        self._starting: list[asyncio.Task[FunctionProcess]] = []
        self._broken: tuple[Version, str, float] | None = None

    async def taken(self) -> FunctionProcess:
        """One that has the file as it is now; for `put_back` or `ended`. Raises ConfigError and RetryableError."""
        version = self.program.version()
        while self._idle:
            process = self._idle.pop()
            if process.is_running and process.version == version:
                self._busy.add(process)
                return process
            await process.end()
        process = await self._started(version)
        self._busy.add(process)
        return process

    async def _started(self, version: Version) -> FunctionProcess:
        loop = asyncio.get_running_loop()
        if self._broken is not None and self._broken[0] == version and loop.time() < self._broken[2]:
            raise ConfigError(self._broken[1])
        starting = self._starting.pop() if self._starting else loop.create_task(FunctionProcess.start(self.program))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._starting.append(starting)  # the next call has it: else a slow start would never come to its end
            raise
        except ConfigError as error:
            self._broken = (version, str(error), loop.time() + BROKEN_SECONDS)
            raise

    def put_back(self, process: FunctionProcess) -> None:
        self._busy.discard(process)
        self._idle.append(process)

    async def ended(self, process: FunctionProcess, *, at_once: bool) -> None:
        self._busy.discard(process)
        await process.end(at_once=at_once)

    async def close(self) -> None:
        """Safe to call twice. Calls that are still under way are cut off."""
        starting, self._starting = self._starting, []
        for task in starting:
            task.cancel()
        found = await asyncio.gather(*starting, return_exceptions=True)
        idle, self._idle = [*self._idle, *(one for one in found if isinstance(one, FunctionProcess))], []
        busy, self._busy = self._busy, set()
        await asyncio.gather(*(one.end() for one in idle), *(one.end(at_once=True) for one in busy))
