"""Runs a user's function in a process of its own: `python -P -B _python_runner.py SOCKET PARENT`. Uses the standard library alone.

Over the socket go frames: four bytes of length, the first one highest, and JSON. The worker writes `{"file": .., "function": ..}`, gets `{}` or
`{"error": ..}`, then writes events (or lists of them), and gets for each frame what `answer` says. What the function prints goes to the
worker's log by the process's own output and never meets the frames.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import sys

TYPE_CHECKING = False  # imports are what a start costs: typing alone a sixth of it
if TYPE_CHECKING:
    import traceback
    from typing import Any, Final

MODULE: Final = "headrace_function"
REASON_CHARACTERS: Final = 1_000
TRACE_CHARACTERS: Final = 4_000
SOURCE_CHARACTERS: Final = 160
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
SIGKILL: Final = 9

PASSING: Final = frozenset(("Retry", "ConnectionError", "TimeoutError", "Timeout", "TransportError"))
"""Names of errors after which the same may succeed: the user's own, Python's and aiohttp's, those of requests, that of httpx."""


def main() -> None:
    connection = int(sys.argv[1])
    os.set_inheritable(connection, False)
    os.closerange(3, connection)  # whatever the worker had open without saying that it is not for its children
    os.closerange(connection + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    die_with(int(sys.argv[2]))
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    setup = json.loads(read(connection) or b"{}")
    limit(setup["memory_bytes"])
    function, error = loaded(setup["file"], setup["function"])
    write(connection, {"error": error} if error else {})
    own = os.getpid()
    while function is not None and (frame := read(connection)) is not None:
        said = answer(function, frame, os.path.dirname(setup["file"]))  # noqa: PTH120 -- pathlib is slow to import
        if os.getpid() != own:  # the function forked, and this is the copy: the answer is the other one's to give
            os._exit(0)
        write(connection, said)
        if said["is_last"]:
            break
    for loop in LOOP:
        loop.close()


def die_with(parent: int) -> None:
    """No orphans: the kernel ends this process when the worker goes, also after its kill -9."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    except (OSError, AttributeError):
        return  # not Linux
    if os.getppid() != parent:
        os._exit(0)


def limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold people's data
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def read(connection: int) -> bytes | None:
    """The next frame; None at the end."""
    size = exactly(connection, 4)
    return None if size is None else exactly(connection, int.from_bytes(size, "big"))


def exactly(connection: int, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        part = os.read(connection, min(size - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)


def write(connection: int, value: Any) -> None:
    frame = json.dumps(value).encode()
    rest = memoryview(len(frame).to_bytes(4, "big") + frame)
    while rest:
        rest = rest[os.write(connection, rest) :]


def loaded(file: str, name: str) -> tuple[Any, str]:
    """The function, or None and why there is none. The file is compiled here: a cached compilation may be older than the file."""
    folder = os.path.dirname(file)  # noqa: PTH120 -- as above
    sys.path.insert(0, folder)
    module = type(sys)(MODULE)
    module.__file__ = file
    sys.modules[MODULE] = module
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 -- as above
            code = compile(opened.read(), file, "exec")
        exec(code, module.__dict__)  # noqa: S102 -- the user's own file is what this process is for
    except BaseException as error:  # noqa: BLE001 -- whatever it is, the operator must read it
        return None, described(error, folder)
    function = getattr(module, name, None)
    if not callable(function):
        return None, f"{os.path.basename(file)} has no function {name}"  # noqa: PTH119 -- as above
    return function, ""


def answer(function: Any, frame: bytes, folder: str) -> dict[str, Any]:
    """`outcomes`: `[what, reason, after_seconds]` for each event, or a single one that holds for all; `trace`; `is_last`: this process ends."""
    given = json.loads(frame)
    try:
        returned = function(given)
        if hasattr(returned, "__await__"):
            returned = awaited(returned)
        return {"outcomes": outcomes(returned, given), "trace": "", "is_last": False}
    except BaseException as error:  # noqa: BLE001 -- sys.exit() and the like end an event, not the process
        is_last = isinstance(error, MemoryError)  # what else was cut short by it, nobody knows
        return {"outcomes": [raised(error, folder)], "trace": trace(error, folder), "is_last": is_last}


def awaited(returned: Any) -> Any:
    """One loop for the life of the process, so that clients that belong to it can be kept."""
    import asyncio  # noqa: PLC0415 -- slow to import, and only functions with `async` need it

    async def outer() -> Any:
        return await returned

    if not LOOP:
        LOOP.append(asyncio.Runner())
    return LOOP[0].run(outer())


LOOP: Final[list[Any]] = []


def outcomes(returned: Any, given: Any) -> list[Any]:
    if isinstance(returned, list) and isinstance(given, list) and len(returned) == len(given):
        return [outcome(item) for item in returned]
    return [outcome(returned)]


def outcome(returned: Any) -> list[Any]:
    if returned is None:
        return ["delivered", "", None]
    if isinstance(returned, dict):
        for name in ("retry", "reject"):
            if name in returned:
                return [name, cut(returned[name]), seconds(returned.get("after_seconds"))]
    found = f"a list of {len(returned)}" if isinstance(returned, list) else text(returned, repr)
    return [
        "error",
        cut(f"the function returned {found}; expected None, a retry, a reject, or a list of them, one for each event"),
        None,
    ]


def raised(error: BaseException, folder: str) -> list[Any]:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "Reject" in names:
        return ["reject", cut(text(error)), None]
    if "Retry" in names:
        return ["retry", cut(text(error)), seconds(getattr(error, "after_seconds", None))]
    return ["retry" if names & PASSING else "error", described(error, folder), None]


def described(error: BaseException, folder: str) -> str:
    """Type and text, and the user's own line where it came from.

    >>> described(KeyError("price"), "/")
    "KeyError: 'price'"
    """
    said = f"{type(error).__name__}: {cut(text(error), REASON_CHARACTERS - 2 * SOURCE_CHARACTERS)}"
    if isinstance(error, SyntaxError):
        return cut(said)
    own = own_frames(error, folder)
    if not own:
        return cut(said)
    line = own[-1]
    place = f"{os.path.basename(line.filename)}, line {line.lineno}"  # noqa: PTH119 -- as above
    return cut(f"{said} ({place}: {cut(line.line or '', SOURCE_CHARACTERS)})")


def trace(error: BaseException, folder: str) -> str:
    """The user's own lines, the last call at the end."""
    import traceback  # noqa: PLC0415 -- only errors need it

    lines = "".join(traceback.format_list(own_frames(error, folder)))
    return cut(f"{lines}{type(error).__name__}: {text(error)}", TRACE_CHARACTERS)


def own_frames(error: BaseException, folder: str) -> list[traceback.FrameSummary]:
    """Those below the folder of the user's file; libraries in an environment that happens to be there are none of the user's."""
    import traceback  # noqa: PLC0415 -- as above

    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(folder.rstrip("/") + "/")
        and "site-packages" not in frame.filename
        and frame.filename != __file__
    ]


def text(value: Any, of: Any = str) -> str:
    try:
        return str(of(value)).encode("utf-8", "backslashreplace").decode()
    except BaseException:  # noqa: BLE001 -- an error whose text is an error
        return "?"


def cut(value: Any, characters: int = REASON_CHARACTERS) -> str:
    whole = text(value)
    return whole if len(whole) <= characters else whole[: characters - 1] + "…"


def seconds(value: Any) -> float | None:
    """Of what the user named only a time that can be waited for."""
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e6 else None
    )


if __name__ == "__main__":
    main()
