"""Everything that can happen to the process of a user's own function, and to its file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from headrace.destinations._python_process import LOAD_SECONDS
from headrace.destinations.base import DELIVERED, DestinationKind, Place, configured
from headrace.errors import ConfigError
from own_functions import (
    FUNCTIONS,
    LONG_SECONDS,
    NO_HTTP,
    event,
    is_alive,
    kind_of,
    left_behind,
    run,
    sent,
    shown,
    there,
    until,
    written,
)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = psutil.Process().children(recursive=True)
    yield
    assert [] == left_behind(before)


class TestWhatHappensToItsProcess:
    @pytest.mark.parametrize(
        ("body", "how"),
        [
            ("os._exit(3)", "ended with code 3"),
            ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
            ("ctypes.string_at(0)", "was ended by SIGSEGV"),
            ("os.closerange(3, 1_000_000); time.sleep(60)", "was ended by SIGKILL"),
        ],
        ids=str,
    )
    def test_an_event_is_tried_again_when_it_ends_and_the_next_has_a_new_one(
        self, tmp_path: Path, body: str, how: str
    ) -> None:
        code = f"import ctypes, os, time\ndef send(event):\n    if event['messageId'] == 'bad': {body}"
        results = sent(kind_of(written(tmp_path, code)), event("good"), event("bad"), event("good"))
        assert ["delivered", "retry", "delivered"] == [result.outcome for result in results]
        assert ("PROCESS_ENDED", f"the function's process {how}") == (results[1].code, results[1].detail)

    def test_a_kill_between_two_events_is_not_noticed(self, tmp_path: Path) -> None:
        code = "import os\ndef send(event):\n    open('pids', 'a').write(f'{os.getpid()}\\n')"

        async def steps(kind: DestinationKind) -> None:
            assert [DELIVERED] == list(await kind.send([event()], NO_HTTP))
            process = psutil.Process(int((tmp_path / "pids").read_text()))
            process.kill()
            await until(lambda: not process.is_running())
            assert [DELIVERED] == list(await kind.send([event()], NO_HTTP))

        run(kind_of(written(tmp_path, code)), steps)
        assert 2 == len(set((tmp_path / "pids").read_text().split()))

    def test_a_call_that_takes_too_long_is_ended_with_its_children(self, tmp_path: Path) -> None:
        code = f"""
            import subprocess, time
            def send(event):
                if event["messageId"] == "slow":
                    child = subprocess.Popen(["sleep", "{LONG_SECONDS}"])
                    open("child", "w").write(str(child.pid))
                    time.sleep({LONG_SECONDS})
            """
        results = sent(kind_of(written(tmp_path, code), timeout_seconds=6), event("slow"), event("good"))
        assert [("retry", "TIME_LIMIT"), ("delivered", "")] == [(result.outcome, result.code) for result in results]
        assert "the function did not return within 6 s; its process was ended" == results[0].detail
        assert not is_alive(int((tmp_path / "child").read_text()))

    def test_a_cancelled_attempt_ends_its_process(self, tmp_path: Path) -> None:
        code = f"import time, os\ndef send(event):\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep({LONG_SECONDS})"

        async def steps(kind: DestinationKind) -> None:
            attempt = asyncio.create_task(kind.send([event()], NO_HTTP))
            await there(tmp_path / "pid")
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
            assert attempt.cancelled()
            assert not is_alive(int((tmp_path / "pid").read_text()))

        run(kind_of(written(tmp_path, code)), steps)

    def test_an_attempt_cancelled_while_the_file_is_loaded_leaves_the_process_to_the_next(self, tmp_path: Path) -> None:
        code = "import os, time\nopen('loads', 'a').write('x')\nwhile not os.path.exists('go'): time.sleep(0.01)\ndef send(event): pass"

        async def steps(kind: DestinationKind) -> None:
            attempt = asyncio.create_task(kind.send([event()], NO_HTTP))
            await there(tmp_path / "loads")
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                await attempt
            (tmp_path / "go").touch()
            assert [DELIVERED] == list(await kind.send([event()], NO_HTTP))

        run(kind_of(written(tmp_path, code)), steps)
        assert "x" == (tmp_path / "loads").read_text()

    def test_attempts_at_the_same_time_have_a_process_each_and_later_ones_use_them_again(self, tmp_path: Path) -> None:
        code = """
            import os, time
            def send(event):
                open(event["messageId"], "w").write(str(os.getpid()))
                while not (os.path.exists("a") and os.path.exists("b")):
                    time.sleep(0.01)
            """

        async def steps(kind: DestinationKind) -> None:
            results = await asyncio.gather(*(kind.send([event(name)], NO_HTTP) for name in "ab"))
            assert [[DELIVERED], [DELIVERED]] == [list(found) for found in results]
            await kind.send([event("c")], NO_HTTP)

        run(kind_of(written(tmp_path, code)), steps)
        a, b, c = ((tmp_path / name).read_text() for name in "abc")
        assert a != b
        assert c in (a, b)

    def test_memory_is_limited_where_that_is_asked_for(self, tmp_path: Path) -> None:
        code = "import os\ndef send(event):\n    open('pids', 'a').write(f'{os.getpid()}\\n')\n    if event['messageId'] == 'big': b'x' * 1_000_000_000"
        events = event("big"), event("small")
        big, small = sent(kind_of(written(tmp_path, code), memory_megabytes=400), *events)
        assert ("failed", "FUNCTION_FAILED", True) == (big.outcome, big.code, big.detail.startswith("MemoryError"))
        assert DELIVERED == small
        assert 2 == len(set((tmp_path / "pids").read_text().split()))

    def test_a_copy_of_the_process_that_the_function_makes_gives_no_second_answer(self, tmp_path: Path) -> None:
        code = "import os\ndef send(event):\n    os.fork()\n    return {'reject': event['messageId']}"
        results = sent(kind_of(written(tmp_path, code)), *(event(f"m-{place}") for place in range(5)))
        assert [f"m-{place}" for place in range(5)] == [result.detail for result in results]

    def test_it_ends_with_the_worker_also_after_kill_9(self, tmp_path: Path) -> None:
        """The control is a function that asks the kernel to let its process live."""
        code = f"""
            import ctypes, os, time
            def send(event):
                if event["messageId"] == "control":
                    ctypes.CDLL(None).prctl(1, 0)
                with open("new", "a") as file:
                    file.write(f"{{event['messageId']}} {{os.getpid()}};")
                time.sleep({LONG_SECONDS})
            """
        worker = f"""
            import asyncio, pathlib, sys
            sys.path[:0] = {[str(FUNCTIONS.parent.parent)]!r}
            from headrace.destinations.base import Place, Prepared
            from headrace.destinations.python import PythonKind
            from segment_events import event_of
            kind = PythonKind(PythonKind.Settings(file={str(written(tmp_path, code))!r}, timeout_seconds=60), Place("mine", pathlib.Path()))
            events = [Prepared(event_of({{"type": "track", "messageId": name}})) for name in ("tested", "control")]
            async def main():
                await asyncio.gather(*(kind.send([event], None) for event in events))
            asyncio.run(main())
            """
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(worker)]) as process:
            try:
                asyncio.run(
                    until(lambda: (tmp_path / "new").exists() and (tmp_path / "new").read_text().count(";") == 2)
                )
            finally:
                process.send_signal(signal.SIGKILL)
        pids = dict(line.split() for line in (tmp_path / "new").read_text().split(";")[:2])
        asyncio.run(until(lambda: not is_alive(int(pids["tested"]))))
        assert is_alive(int(pids["control"]))
        os.kill(int(pids["control"]), signal.SIGKILL)


class TestTheFile:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("def send(event:\n    pass", "SyntaxError: '(' was never closed (own.py, line 1)"),
            (
                "import headrace_none",
                "ModuleNotFoundError: No module named 'headrace_none' (own.py, line 1: import headrace_none)",
            ),
            ("def other(event): pass", "own.py has no function send"),
            ("send = 1", "own.py has no function send"),
            ("import os\nos._exit(7)", "the function's process ended with code 7"),
            ("import sys\nsys.exit()", "SystemExit:  (own.py, line 2: sys.exit())"),
        ],
    )
    def test_what_is_wrong_with_it_is_said_in_pythons_words(self, tmp_path: Path, code: str, expected: str) -> None:
        kind = kind_of(written(tmp_path, code))
        with pytest.raises(ConfigError) as raised:
            run(kind, lambda kind: kind.open())
        assert f"destination mine: {tmp_path / 'own.py'}: {expected}" == str(raised.value)
        assert [("failed", "INVALID_SETTINGS", str(raised.value))] == list(map(shown, sent(kind, event())))

    def test_one_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        kind = kind_of(tmp_path / "none.py")
        expected = f"destination mine: {tmp_path / 'none.py'}: No such file or directory"
        assert [("failed", "INVALID_SETTINGS", expected)] == list(map(shown, sent(kind, event())))

    def test_a_change_is_loaded_before_the_next_event_and_a_broken_one_loses_nothing(self, tmp_path: Path) -> None:
        async def steps(kind: DestinationKind) -> list[str]:
            found = []
            for number, code in enumerate(("{'reject': 1}", "{'reject': 2}", "{", "{'reject': 3}")):
                file = written(tmp_path, f"def send(event): return {code}")
                os.utime(file, ns=(number, number))
                (result,) = await kind.send([event()], NO_HTTP)
                found.append(f"{result.code} {result.detail}"[:19])
            return found

        expected = ["MESSAGE_REJECTED 1", "MESSAGE_REJECTED 2", "INVALID_SETTINGS de", "MESSAGE_REJECTED 3"]
        assert expected == run(kind_of(written(tmp_path, "")), steps)

    def test_without_a_change_it_is_loaded_once(self, tmp_path: Path) -> None:
        code = "open('loads', 'a').write('x')\ndef send(event): pass"

        async def steps(kind: DestinationKind) -> None:
            await kind.open()
            for _ in range(3):
                assert [DELIVERED] == list(await kind.send([event()], NO_HTTP))

        run(kind_of(written(tmp_path, code)), steps)
        assert "x" == (tmp_path / "loads").read_text()

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            ({"file": "own.py"}, "full path"),
            ({"file": "/own.py", "function": "os.system"}, "name of a function"),
            ({"file": "/own.py", "environment": {"A=B": "x"}}, "'A=B'"),
            ({"file": "/own.py", "environment": {"A": "x\0y"}}, "'A'"),
        ],
        ids=str,
    )
    def test_settings_that_cannot_work_are_refused_at_once(self, settings: dict[str, Any], word: str) -> None:
        with pytest.raises(ConfigError, match=word):
            configured("python", settings, Place("mine", Path("unused")))

    def test_one_that_everybody_may_change_or_that_is_not_there_is_warned_of(self, tmp_path: Path) -> None:
        kind = kind_of(written(tmp_path, "def send(event): pass"))
        assert 0 == len(kind.warnings())
        (tmp_path / "own.py").chmod(0o666)
        assert "every user of this machine may change" in kind.warnings()[0]
        (tmp_path / "own.py").unlink()
        assert (f"{tmp_path / 'own.py'}: No such file or directory",) == tuple(kind.warnings())


def test_it_works_in_pythons_own_loop_and_in_another_thread(tmp_path: Path) -> None:
    async def steps(kind: DestinationKind) -> list[str]:
        results = [(await kind.send([event(name)], NO_HTTP))[0] for name in ("good", "bad", "good")]
        return [result.outcome for result in results]

    code = "import os\ndef send(event):\n    if event['messageId'] == 'bad': os._exit(1)"
    with ThreadPoolExecutor(1) as threads:
        for loop in (None, uvloop.new_event_loop):
            found = threads.submit(run, kind_of(written(tmp_path, code)), steps, loop).result()
            assert ["delivered", "retry", "delivered"] == found


def test_deliverys_time_limit_is_longer_than_the_functions() -> None:
    kind = kind_of(Path("/none.py"), timeout_seconds=100)
    assert kind.time_limit_seconds > 100 + LOAD_SECONDS


def test_it_can_be_closed_twice_and_without_open(tmp_path: Path) -> None:
    async def steps(kind: DestinationKind) -> None:
        await kind.close()
        await kind.open()
        await kind.close()

    run(kind_of(written(tmp_path, "def send(event): pass")), steps)
