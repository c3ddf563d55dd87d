"""A user's own function: what it gets, what becomes of what it says, and everything that can happen to its process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast

import psutil
import pytest
import uvloop

from headrace.destinations._python_process import LOAD_SECONDS
from headrace.destinations.base import CODES, DELIVERED, DestinationKind, Http, Place, Prepared, Result, configured
from headrace.errors import ConfigError
from segment_events import event_of

FUNCTIONS: Final = Path(__file__).parent.parent / "cases" / "functions"
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


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    yield
    assert [] == psutil.Process().children(recursive=True)


class TestWhatItGets:
    def test_each_event_in_segments_form_one_at_a_time(self, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        kind = kind_of(FUNCTIONS / "to_file.py", environment={"TAKEN_FILE": str(taken)})
        assert 1 == kind.limits.events
        assert [DELIVERED, DELIVERED] == list(sent(kind, event("m-1"), event("m-2")))
        assert [["m-1", "track", "u-1"], ["m-2", "track", "u-1"]] == list(
            map(json.loads, taken.read_text().splitlines())
        )

    def test_a_list_where_batches_are_asked_for_also_of_a_single_event(self, tmp_path: Path) -> None:
        code = "def send(events):\n    assert isinstance(events, list)\n    print([e['messageId'] for e in events])"
        kind = kind_of(written(tmp_path, code), batch_events=50)
        assert 50 == kind.limits.events
        assert [DELIVERED] == list(sent(kind, event()))
        assert [DELIVERED] * 3 == list(sent(kind, event("a"), event("b"), event("c")))

    def test_the_mapped_fields_where_there_is_a_mapping(self, tmp_path: Path) -> None:
        kind = kind_of(written(tmp_path, "def send(event):\n    assert event == {'email': 'ada@example.com'}, event"))
        assert [DELIVERED] == list(sent(kind, Prepared(event().event, {"email": "ada@example.com"})))
        assert ["FUNCTION_FAILED"] == [result.code for result in sent(kind, event())]

    def test_none_of_headraces_own_environment_but_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HEADRACE_SECRETS_KEY", "hidden")
        monkeypatch.setenv("OTHERS", "seen")
        code = """
            import os
            def send(event):
                return {"reject": [(name, text) for name, text in os.environ.items() if name[:8] in ("HEADRACE", "OTHERS", "SHOP_KEY")]}
            """
        detail = said_of(tmp_path, code, environment={"SHOP_KEY": "given"}).detail
        assert "[('OTHERS', 'seen'), ('SHOP_KEY', 'given')]" == detail

    def test_its_imports_from_its_own_folder_and_not_from_headraces(self, tmp_path: Path) -> None:
        (tmp_path / "prices.py").write_text("PRICE = 7")
        code = """
            import pathlib, sys
            from prices import PRICE
            def send(event):
                assert PRICE == 7
                assert pathlib.Path.cwd() == pathlib.Path(__file__).parent
                assert not any(path.endswith("headrace/destinations") for path in sys.path), sys.path
            """
        assert said_of(tmp_path, code) == DELIVERED

    def test_no_descriptor_of_the_worker(self, tmp_path: Path) -> None:
        with (tmp_path / "open").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            code = """
                import os
                def send(event):
                    return {"reject": [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]}
                """
            assert str(tmp_path / "open") not in said_of(tmp_path, code).detail


class TestWhatItSays:
    @pytest.mark.parametrize("word", ["def", "async def"])
    def test_none_is_delivered_and_there_are_words_for_the_rest(self, tmp_path: Path, word: str) -> None:
        results = each_of(
            tmp_path,
            ["return None", "return {'retry': 'closed'}", "return {'reject': 'not sold'}"],
            ["raise Retry('closed')", "raise Reject('not sold')"],
            word=word,
        )
        retry, reject = ("retry", "FUNCTION_FAILED", "closed"), ("failed", "MESSAGE_REJECTED", "not sold")
        assert [("delivered", "", ""), retry, reject, retry, reject] == list(map(shown, results))

    def test_a_retry_may_name_its_wait(self, tmp_path: Path) -> None:
        named = ["5", "0.25", "'soon'", "-1", "float('nan')", "True"]
        results = each_of(tmp_path, [f"return {{'retry': 'closed', 'after_seconds': {text}}}" for text in named])
        assert [5.0, 0.25, None, None, None, None] == [result.retry_after_seconds for result in results]
        assert {"retry"} == {result.outcome for result in results}

    def test_an_exception_may_name_its_wait(self) -> None:
        kind = kind_of(FUNCTIONS / "to_file.py", environment={"TAKEN_FILE": "unused"})
        (result,) = sent(kind, event(wait=7))
        assert (("retry", "FUNCTION_FAILED", "the shop is closed"), 7) == (shown(result), result.retry_after_seconds)

    def test_a_batch_may_be_answered_for_each_event(self, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        environment = {"TAKEN_FILE": str(taken)}
        kind = kind_of(FUNCTIONS / "to_file.py", function="send_batch", batch_events=10, environment=environment)
        results = sent(kind, event("a"), event("b", refuse=True), event("c", wait=3), event("d"))
        assert ["delivered", "failed", "retry", "delivered"] == [result.outcome for result in results]
        assert ["", "MESSAGE_REJECTED", "FUNCTION_FAILED", ""] == [result.code for result in results]
        assert [False] * 4 == [result.is_whole_request for result in results]
        assert ["a", "d"] == [json.loads(line)[0] for line in taken.read_text().splitlines()]

    @pytest.mark.parametrize("body", ["raise KeyError('x')", "return {'reject': 'one of them'}", "return [None]"])
    def test_a_batch_that_is_refused_as_a_whole_says_so_that_each_event_is_tried_alone(
        self, tmp_path: Path, body: str
    ) -> None:
        kind = kind_of(written(tmp_path, f"def send(events):\n    {body}"), batch_events=10)
        results = sent(kind, event("a"), event("b"))
        assert [("failed", True)] * 2 == [(result.outcome, result.is_whole_request) for result in results]
        (alone,) = sent(kind, event("a"))
        assert not alone.is_whole_request

    def test_a_batch_that_must_wait_waits_as_a_whole(self, tmp_path: Path) -> None:
        kind = kind_of(written(tmp_path, "def send(events):\n    return {'retry': 'closed'}"), batch_events=10)
        assert ["retry", "retry"] == [result.outcome for result in sent(kind, event("a"), event("b"))]

    def test_anything_else_is_an_error_of_the_function_and_no_delivery(self, tmp_path: Path) -> None:
        odd = ["True", "'ok'", "{}", "[]", "[None, None]", "object()", "{'retry'}"]
        results = each_of(tmp_path, [f"return {returned}" for returned in odd])
        assert {("failed", "FUNCTION_FAILED")} == {(result.outcome, result.code) for result in results}
        assert [] == [result.detail for result in results if "expected None" not in result.detail]


class TestErrors:
    def test_an_error_has_its_type_its_text_and_the_users_own_line(self, tmp_path: Path) -> None:
        code = """
            import json
            def send(event):
                return price(event)
            def price(event):
                return json.loads(event["event"])
            """
        result = said_of(tmp_path, code)
        assert (
            "failed",
            "FUNCTION_FAILED",
            'JSONDecodeError: Expecting value: line 1 column 1 (char 0) (own.py, line 6: return json.loads(event["event"]))',
        ) == shown(result)
        assert result.exchange is not None
        assert ["line 4, in send", "line 6, in price"] == [
            line.split(", ", 1)[1] for line in result.exchange.error.splitlines() if "File" in line
        ]
        assert "m-1" == json.loads(result.exchange.request.body)["messageId"]

    def test_an_error_of_the_network_is_tried_again_and_any_other_is_final(self, tmp_path: Path) -> None:
        passing = [
            "raise ConnectionRefusedError('x')",
            "raise TimeoutError",
            "raise type('ReadTimeout', (type('Timeout', (IOError,), {}),), {})('x')",
        ]
        results = each_of(tmp_path, passing, ["raise OSError('disk')", "raise ValueError"])
        assert ["retry"] * 3 + ["failed"] * 2 == [result.outcome for result in results]
        assert {"FUNCTION_FAILED"} == {result.code for result in results}

    def test_odd_errors_end_the_event_and_not_the_process(self, tmp_path: Path) -> None:
        odd = [
            "raise ValueError('x' * 10_000_000)",
            "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()",
            "raise ValueError('\\ud800 \\x00 \\U0001f600')",
            "import sys; sys.exit('enough')",
            "raise KeyboardInterrupt",
            "return {'reject': 'x' * 10_000_000}",
            "def deeper(n): return deeper(n + 1)\n    deeper(0)",
        ]
        own = "import os; return {'reject': os.getpid()}"
        first, *between, last = each_of(tmp_path, [own, *odd, own])
        assert {"failed"} == {result.outcome for result in between}
        assert [] == [result for result in between if not 0 < len(result.detail) <= 1_000]
        assert first.detail == last.detail


class TestWhatHappensToItsProcess:
    @pytest.mark.parametrize(
        ("body", "how"),
        [
            ("os._exit(3)", "ended with code 3"),
            ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
            ("ctypes.string_at(0)", "was ended by SIGSEGV"),
            ("os.closerange(3, 1000); time.sleep(60)", "was ended by SIGKILL"),
        ],
        ids=str,
    )
    def test_an_event_is_tried_again_when_it_ends_and_the_next_has_a_new_one(
        self, tmp_path: Path, body: str, how: str
    ) -> None:
        code = f"import ctypes, os, time\ndef send(event):\n    if event['messageId'] == 'bad': {body}"
        results = sent(kind_of(written(tmp_path, code)), event("good"), event("bad"), event("good"))
        assert ["delivered", "retry", "delivered"] == [result.outcome for result in results]
        assert ("FUNCTION_FAILED", f"the function's process {how}") == (results[1].code, results[1].detail)

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
        results = sent(kind_of(written(tmp_path, code), timeout_seconds=2), event("slow"), event("good"))
        assert [("retry", "TIME_LIMIT"), ("delivered", "")] == [(result.outcome, result.code) for result in results]
        assert "the function did not return within 2 s; its process was ended" == results[0].detail
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
            asyncio.run(until(lambda: (tmp_path / "new").exists() and (tmp_path / "new").read_text().count(";") == 2))
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

    def test_one_that_everybody_may_change_is_warned_of(self, tmp_path: Path) -> None:
        kind = kind_of(written(tmp_path, "def send(event): pass"))
        assert 0 == len(kind.warnings())
        (tmp_path / "own.py").chmod(0o666)
        assert 1 == len(kind.warnings())


class TestWhatItPrints:
    def test_it_stands_in_the_workers_log_and_never_among_the_answers(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        code = """
            import os, sys
            print("loading")
            def send(event):
                print("prints", event["messageId"])
                os.write(1, b'{"outcomes": []}\\n\\x00\\x00\\x00\\x02{}\\xff\\x1b[31m\\n')
                os.system("echo a child")
                sys.stderr.write("without an end")
            """
        caplog.set_level(logging.INFO, "headrace.destinations.python")
        assert DELIVERED == said_of(tmp_path, code)
        assert [
            "destination mine: loading",
            "destination mine: prints m-1",
            'destination mine: {"outcomes": []}',
            "destination mine:     {}� [31m",
            "destination mine: a child",
            "destination mine: without an end",
        ] == caplog.messages

    def test_it_is_bounded(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        code = "def send(event):\n    print('x' * 5_000_000)\n    for _ in range(50_000): print('again')"
        caplog.set_level(logging.INFO, "headrace.destinations.python")
        assert DELIVERED == said_of(tmp_path, code)
        assert 101 == len(caplog.messages)
        assert "destination mine: the function prints more than 100 lines; they are left out" == caplog.messages[-1]
        assert 2_100 > max(map(len, caplog.messages)) > 2_000


class Shop(BaseHTTPRequestHandler):
    """Answers with the status that the event's name is."""

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_ours = self.path == "/events" and self.headers["authorization"] == "key" and sent["id"] == "m-1"
        self.send_response(int(sent["name"]) if is_ours else 500)
        self.send_header("content-length", "8")
        self.end_headers()
        self.wfile.write(b"not sold")

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


def test_the_function_in_the_documentation_does_what_is_said_there(tmp_path: Path) -> None:
    page = (FUNCTIONS.parents[2] / "docs/destinations/python.md").read_text()
    code = textwrap.dedent(page.split("```python\n", 1)[1].split("```", 1)[0])
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = written(tmp_path, code.replace("https://shop.example.com", f"http://127.0.0.1:{server.server_port}"))
        events = [
            Prepared(event_of({"type": "track", "event": name, "messageId": "m-1"})) for name in ("200", "422", "503")
        ]
        other = Prepared(event_of({"type": "identify", "messageId": "m-1"}))
        results = sent(kind_of(file, environment={"SHOP_KEY": "key"}), *events, other)
        server.shutdown()
    refused, closed = ("failed", "MESSAGE_REJECTED", "not sold"), ("retry", "FUNCTION_FAILED", "the shop answered 503")
    assert [("delivered", "", ""), refused, closed, ("delivered", "", "")] == list(map(shown, results))
    assert 30 == results[2].retry_after_seconds


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


def is_alive(pid: int) -> bool:
    """A process that has ended and waits for somebody to ask how is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 -- what it waits for happens in another process
        await asyncio.sleep(0.01)


async def there(file: Path) -> None:
    await until(lambda: file.exists() and bool(file.read_text()))
