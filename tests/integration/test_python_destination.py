"""A user's own function: what it gets, what becomes of what it says and prints."""

from __future__ import annotations

import json
import logging
import os
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.destinations.base import DELIVERED, Prepared
from own_functions import (
    FUNCTIONS,
    each_of,
    event,
    kind_of,
    left_behind,
    said_of,
    sent,
    shown,
    written,
)
from segment_events import event_of


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    before = psutil.Process().children(recursive=True)
    yield
    assert [] == left_behind(before)


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
        retry, reject = ("retry", "FUNCTION_RETRY", "closed"), ("failed", "MESSAGE_REJECTED", "not sold")
        assert [("delivered", "", ""), retry, reject, retry, reject] == list(map(shown, results))

    def test_a_retry_may_name_its_wait(self, tmp_path: Path) -> None:
        named = ["5", "0.25", "'soon'", "-1", "float('nan')", "True"]
        results = each_of(tmp_path, [f"return {{'retry': 'closed', 'after_seconds': {text}}}" for text in named])
        assert [5.0, 0.25, None, None, None, None] == [result.retry_after_seconds for result in results]
        assert {"retry"} == {result.outcome for result in results}

    def test_an_exception_may_name_its_wait(self) -> None:
        kind = kind_of(FUNCTIONS / "to_file.py", environment={"TAKEN_FILE": "unused"})
        (result,) = sent(kind, event(wait=7))
        assert (("retry", "FUNCTION_RETRY", "the shop is closed"), 7) == (shown(result), result.retry_after_seconds)

    def test_a_batch_may_be_answered_for_each_event(self, tmp_path: Path) -> None:
        taken = tmp_path / "taken"
        environment = {"TAKEN_FILE": str(taken)}
        kind = kind_of(FUNCTIONS / "to_file.py", function="send_batch", batch_events=10, environment=environment)
        results = sent(kind, event("a"), event("b", refuse=True), event("c", wait=3), event("d"))
        assert ["delivered", "failed", "retry", "delivered"] == [result.outcome for result in results]
        assert ["", "MESSAGE_REJECTED", "FUNCTION_RETRY", ""] == [result.code for result in results]
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
        assert ["FUNCTION_RETRY"] * 3 + ["FUNCTION_FAILED"] * 2 == [result.code for result in results]

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
    refused, closed = ("failed", "MESSAGE_REJECTED", "not sold"), ("retry", "FUNCTION_RETRY", "the shop answered 503")
    assert [("delivered", "", ""), refused, closed, ("delivered", "", "")] == list(map(shown, results))
    assert 30 == results[2].retry_after_seconds
