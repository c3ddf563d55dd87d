"""The client of a destination against a server that misbehaves: what each fault is called, and that the next request works."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import psutil
import pytest

import fault_server as fault
from fault_server import FaultServer
from headrace import __version__
from headrace.delivery._http_opening import Resolve, own_towards
from headrace.delivery.addresses import NOTHING_ALLOWED, AllowedNetworks, refusal
from headrace.delivery.http import HttpClient
from headrace.destinations._answers import of_status
from headrace.destinations.base import ANSWER_BYTES, CODES, Exchange, Request

LOOPBACK = AllowedNetworks("127.0.0.0/8,::1")
SOON = 0.25

FAULTS: dict[str, tuple[fault.Behaviour, str]] = {
    "hangs": (fault.hangs(), "ETIMEDOUT"),
    "drips": (fault.drips(0.05), "ETIMEDOUT"),
    "resets": (fault.resets(), "ECONNRESET"),
    "closes": (fault.closes(), "ECONNRESET"),
    "cuts": (fault.cuts(), "ECONNRESET"),
    "garbage": (fault.garbage(), "ANSWER_UNREADABLE"),
    "1xx": (fault.floods_with_1xx(), "ANSWER_UNREADABLE"),
    "headers": (fault.huge_headers(), "ANSWER_UNREADABLE"),
    "length": (fault.raw(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"), "ANSWER_UNREADABLE"),
    "chunk": (fault.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"), "ANSWER_UNREADABLE"),
    "upgrade": (fault.raw(b"HTTP/1.1 101 Switching\r\nupgrade: chat\r\n\r\n"), "ANSWER_UNREADABLE"),
}

STATUSES: dict[str, tuple[fault.Behaviour, int, str, float | None]] = {
    "500": (fault.answers(500), 500, "SERVER_ERROR", None),
    "503": (fault.answers(503), 503, "503", None),
    "seconds": (fault.asks_to_wait(7), 429, "429", 7.0),
    "date": (fault.asks_to_wait_until(datetime(2026, 11, 22, 6, 1, tzinfo=UTC)), 429, "429", 60.0),
    "redirect": (fault.redirects(), 302, "REDIRECTED", None),
    "elsewhere": (fault.redirects("http://169.254.169.254/latest/meta-data", 307), 307, "REDIRECTED", None),
}


def post(url: str, body: bytes = b'{"a":1}', **headers: str) -> Request:
    return Request("POST", url, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def used(work: Callable[[HttpClient], Awaitable[Any]], allowed: AllowedNetworks = LOOPBACK, **parameters: Any) -> Any:
    """What `work` makes of a client, which is closed then."""

    async def run() -> Any:
        client = HttpClient(allowed, **parameters)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())


def exchanged(request: Request, allowed: AllowedNetworks = LOOPBACK, **parameters: Any) -> Exchange:
    exchange: Exchange = used(lambda client: client.exchange(request), allowed, **parameters)
    return exchange


def answering(*addresses: str) -> Resolve:
    """A name server with one answer."""

    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def connections_to(port: int) -> int:
    """How many connections to a local port this process holds, of whatever else it has open nothing."""
    return sum(getattr(found.raddr, "port", None) == port for found in psutil.Process().net_connections("tcp"))


async def in_turn(client: HttpClient, *urls: str) -> Sequence[Exchange]:
    return [await client.exchange(post(url)) for url in urls]


@pytest.mark.parametrize(("behaviour", "code"), FAULTS.values(), ids=FAULTS)
def test_a_fault_has_its_code_and_the_client_works_right_after_it(behaviour: fault.Behaviour, code: str) -> None:
    async def good_bad_good(client: HttpClient) -> Sequence[Exchange]:
        before = await client.exchange(post(server.url + "/good"))
        limit = client._request_seconds
        client._request_seconds = SOON if code == "ETIMEDOUT" else limit
        bad = await client.exchange(post(server.url + "/bad"))
        client._request_seconds = limit
        return before, bad, await client.exchange(post(server.url + "/good"))

    with FaultServer() as server:
        server.behave("/bad", behaviour)
        before, bad, after = used(good_bad_good)
    assert (None, code) == (bad.answer, bad.code)
    assert code in CODES
    assert f"127.0.0.1:{server.port}" in bad.error
    assert [200, 200] == [before.answer.status, after.answer.status]


@pytest.mark.parametrize(("behaviour", "status", "code", "wait_seconds"), STATUSES.values(), ids=STATUSES)
def test_a_status_is_an_answer_and_no_redirect_is_followed(
    behaviour: fault.Behaviour, status: int, code: str, wait_seconds: float | None
) -> None:
    with FaultServer() as server:
        server.behave("*", behaviour)
        exchange = exchanged(post(server.url + "/x"))
        assert 1 == len(server.requests)
    assert exchange.answer is not None
    assert status == exchange.answer.status
    result = of_status(exchange.answer, datetime(2026, 11, 22, 6, 0, tzinfo=UTC))
    assert (code, wait_seconds) == (result.code, result.retry_after_seconds)


def test_an_answer_is_cut_at_its_limit_and_its_connection_not_used_again() -> None:
    with FaultServer() as server:
        server.behave("/endless", fault.endless())
        server.behave("/chunks", fault.endless(chunk_bytes=1))
        server.behave("/most", fault.answers(200, b"m" * ANSWER_BYTES))
        urls = [server.url + path for path in ("/endless", "/chunks", "/most", "/good")]
        endless, chunks, most, good = used(lambda client: in_turn(client, *urls))
        connections = [request.connection for request in server.requests]
    assert (200, b"x" * ANSWER_BYTES, True) == (endless.answer.status, endless.answer.body, endless.answer.is_cut)
    assert chunks.answer.is_cut
    assert set(b"x") == set(chunks.answer.body)
    assert (ANSWER_BYTES, False) == (len(most.answer.body), most.answer.is_cut)
    assert 200 == good.answer.status
    assert [1, 2, 3, 3] == connections


def test_what_is_compressed_all_the_same_is_read_and_a_bomb_is_cut() -> None:
    with FaultServer() as server:
        server.behave("/plain", fault.compressed(b'{"said":"no"}'))
        server.behave("/bomb", fault.compressed(bytes(5_000_000)))
        server.behave("/false", fault.answers(200, b"not gzip", {"content-encoding": "gzip"}))
        urls = [server.url + path for path in ("/plain", "/bomb", "/false")]
        plain, bomb, false = used(lambda client: in_turn(client, *urls))
        assert ["identity"] * 3 == [request.headers["accept-encoding"] for request in server.requests]
    assert (b'{"said":"no"}', False) == (plain.answer.body, plain.answer.is_cut)
    assert (bytes(ANSWER_BYTES), True) == (bomb.answer.body, bomb.answer.is_cut)
    assert b"not gzip" == false.answer.body
    assert len(gzip.compress(bytes(5_000_000))) < ANSWER_BYTES  # the control: nothing else would have cut it


@pytest.mark.parametrize(
    ("tls", "text"), [("self-signed", "self-signed"), ("wrong-name", "mismatch"), ("plain-text", "wrong version")]
)
def test_tls_that_cannot_be_trusted_is_refused(tls: fault.Tls, text: str) -> None:
    with FaultServer(tls=tls) as server:
        exchange = exchanged(
            post(server.url),
            ca_file=server.ca_file if tls != "plain-text" else None,
        )
        assert [] == server.requests
    assert (None, "ETLS") == (exchange.answer, exchange.code)
    assert text in exchange.error


def test_tls_of_a_trusted_authority_works_and_of_an_unknown_one_does_not() -> None:
    with FaultServer(tls="right") as server:
        trusted = used(lambda client: in_turn(client, server.url, server.url), ca_file=server.ca_file)
        unknown = exchanged(post(server.url))
        server.behave("*", fault.hangs())
        hanging = exchanged(post(server.url), ca_file=server.ca_file, request_seconds=SOON)
        assert [1, 1] == [request.connection for request in server.requests[:2]]
    assert [200, 200] == [exchange.answer.status for exchange in trusted]
    assert ("ETLS", "ETIMEDOUT") == (unknown.code, hanging.code)


def test_nobody_listening_and_an_unknown_name_have_their_codes() -> None:
    with socket.socket() as bound:  # bound, and not listening
        bound.bind(("127.0.0.1", 0))
        refused = exchanged(post(f"http://127.0.0.1:{bound.getsockname()[1]}/"))

    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert ("ECONNREFUSED", "ENOTFOUND") == (
        refused.code,
        exchanged(post("http://nowhere.test/"), resolve=unknown).code,
    )
    assert "ENOTFOUND" == exchanged(post("http://empty.test/"), resolve=answering()).code


def test_the_next_address_is_tried_where_the_first_one_refuses() -> None:
    with FaultServer() as server:
        url = f"http://tool.test:{server.port}/x"
        exchange = exchanged(post(url), resolve=answering("127.0.0.2", "::1", "127.0.0.1"))
        assert [f"tool.test:{server.port}"] == [request.headers["host"] for request in server.requests]
    assert exchange.answer is not None


def test_an_address_that_says_nothing_takes_only_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def half_later(client: HttpClient) -> Exchange:
        """The loop's clock goes on by half the time, once the first address is tried."""
        loop, before = asyncio.get_running_loop(), connections_to(server.port)
        exchanging = asyncio.create_task(client.exchange(post(url)))
        while connections_to(server.port) == before:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0.01)
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + 61)
        return await exchanging

    with FaultServer() as server, socket.socket() as silent, socket.socket() as first, socket.socket() as second:
        silent.bind(("127.0.0.3", server.port))
        silent.listen(0)
        for filling in (first, second):  # with nobody accepting, the next connection gets no answer
            filling.setblocking(False)
            filling.connect_ex(("127.0.0.3", server.port))
        url = f"http://tool.test:{server.port}/x"
        alone = exchanged(post(url), resolve=answering("127.0.0.3"), connect_seconds=0.2)
        both = answering("127.0.0.3", "127.0.0.1")
        followed = used(half_later, resolve=both, connect_seconds=120, request_seconds=300)
    assert "ETIMEDOUT" == alone.code  # the control
    assert "within 0.2 s" in alone.error
    assert followed.answer is not None


def test_a_handshake_that_never_ends_leaves_no_connection_open() -> None:
    async def many(client: HttpClient) -> tuple[set[str], int]:
        exchanges = await asyncio.gather(*(client.exchange(post(f"https://127.0.0.1:{port}/")) for _ in range(20)))
        await asyncio.sleep(0.01)
        return {exchange.code for exchange in exchanges}, connections_to(port)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert ({"ETIMEDOUT"}, 0) == used(many, connections=20, connect_seconds=SOON)
        # The controls: there were as many, and one that is open is seen.
        silent.settimeout(30)
        for _ in range(20):
            silent.accept()[0].close()
        with socket.create_connection(("127.0.0.1", port)):
            assert 1 == connections_to(port)


def test_a_name_server_that_hangs_ends_in_time_and_holds_up_no_other_client() -> None:
    released = threading.Event()

    def hanging(host: str, port: int) -> Sequence[str]:
        if host.startswith("slow"):
            released.wait(20)
        return ["127.0.0.1"]

    async def both(client: HttpClient) -> Sequence[Exchange]:
        slow = [asyncio.create_task(client.exchange(post(f"http://slow{number}.test/"))) for number in range(8)]
        await asyncio.sleep(0)
        quick = post(f"http://quick.test:{server.port}/x")
        try:
            return [await client.exchange(quick), await other.exchange(quick), *await asyncio.gather(*slow)]
        finally:
            await other.close()

    with FaultServer() as server:
        other = HttpClient(LOOPBACK, resolve=hanging)
        try:
            behind, beside, *slow = used(both, resolve=hanging, connections=20, connect_seconds=SOON)
        finally:
            released.set()
    assert 200 == beside.answer.status
    assert {"ETIMEDOUT"} == {exchange.code for exchange in slow}
    assert "ETIMEDOUT" == behind.code  # the control: with threads in common it would have been held up


SPELLINGS = (
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "１２７。０。０。１",
    "localhost",
    "LOCALHOST",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "evil.test@127.0.0.1",
    "user:pass@[::1]",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_loopback_is_reached(spelling: str) -> None:
    with FaultServer() as server:
        exchange = exchanged(post(f"http://{spelling}:{server.port}/x"), NOTHING_ALLOWED)
        assert 0 == server.connections
    assert exchange.answer is None
    assert ("INVALID_SETTINGS" if spelling.startswith("%") else "ADDRESS_REFUSED") == exchange.code


@pytest.mark.parametrize(
    "spelling", ["127.1", "0x7f000001", "127.0.0.1.", "0", "[::ffff:7f00:1]", "localhost", "１２７。０。０。１"]
)
def test_an_allowed_network_is_reached_in_the_same_spellings(spelling: str) -> None:
    with FaultServer() as server:
        everything = AllowedNetworks("0.0.0.0/0,::/0")
        assert exchanged(post(f"http://{spelling}:{server.port}/x"), everything).answer is not None


@pytest.mark.parametrize(
    "address",
    ["100.64.0.1", "64:ff9b::808:808", "2002:808:808::1", "10.0.0.1", "169.254.169.254", "fe80::1%1", "0.0.0.0"],
)
def test_a_name_that_leads_to_a_reserved_address_is_refused(address: str) -> None:
    exchange = exchanged(post("http://tool.test/"), resolve=answering(address))
    assert "ADDRESS_REFUSED" == exchange.code
    assert "tool.test" in exchange.error
    assert "HEADRACE_ALLOWED_NETWORKS" in exchange.error


def test_this_machines_own_address_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        with suppress(OSError):
            asking.connect(("192.0.2.1", 9))
        own = ip_address(asking.getsockname()[0])
    if own.is_unspecified:
        pytest.skip("this machine has no route to anywhere")
    mapped = ip_address(f"::ffff:{own}")
    assert ([own], [own]) == ([*own_towards(own)], [*own_towards(mapped)])
    assert refusal(own, own=own_towards(own)) is not None
    assert refusal(mapped, own=own_towards(mapped)) is not None


class Changing:
    """A name whose answer is a public address at first and this machine later."""

    def __init__(self, *first: str) -> None:
        self.asked = 0
        self._first = first

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return list(self._first) if self.asked == 1 else ["127.0.0.1"]


def test_a_name_that_changes_its_answer_leads_nowhere() -> None:
    only_first = AllowedNetworks("127.0.0.2")  # stands for a public address
    with FaultServer() as server:
        url = f"http://tool.test:{server.port}/x"
        changing = Changing("127.0.0.2")
        first, second = used(lambda client: in_turn(client, url, url), only_first, resolve=changing)
        assert ("ECONNREFUSED", "ADDRESS_REFUSED") == (first.code, second.code)
        assert (0, 2) == (server.connections, changing.asked)
        # The control: with the address allowed the same requests arrive.
        first, second = used(lambda client: in_turn(client, url, url), LOOPBACK, resolve=Changing("127.0.0.2"))
        assert ("ECONNREFUSED", 200) == (first.code, second.answer.status)
        assert 1 == server.connections


def test_of_a_name_with_several_addresses_only_those_that_passed_are_connected_to() -> None:
    with FaultServer() as server:
        url = f"http://tool.test:{server.port}/x"
        refused = exchanged(post(url), AllowedNetworks("127.0.0.2"), resolve=answering("127.0.0.1", "127.0.0.2"))
        assert ("ECONNREFUSED", 0) == (refused.code, server.connections)


WRONG = {
    "no URL": "hook",
    "no host": "http:///path",
    "file": "file:///etc/passwd",
    "gopher": "gopher://127.0.0.1:70/",
    "port": "http://127.0.0.1:99999/",
    "port 0": "http://127.0.0.1:0/",
    "bracket": "http://[::1/",
    "space": "http://127.0.0.1/a b",
    "line": "http://127.0.0.1/\r\nx-injected: 1",
    "backslash": "http://tool.test\\@127.0.0.1/",
    "zone": "http://[fe80::1%25lo]/",
    "name": "http://to*ol/",
    "international": "http://-ü-.test/",
}


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    exchange = exchanged(post(url))
    assert (None, "INVALID_SETTINGS") == (exchange.answer, exchange.code)
    assert exchange.error


@pytest.mark.parametrize(
    "header", [{"x-key": "se\r\ncret"}, {"x key": "secret"}, {"Host": "elsewhere"}, {"x-key": "secret\0"}]
)
def test_a_header_that_cannot_be_sent_is_a_wrong_setting_and_its_value_stays_secret(header: dict[str, str]) -> None:
    with FaultServer() as server:
        exchange = exchanged(Request("POST", server.url, header, b"{}"))
        assert [] == server.requests
    assert "INVALID_SETTINGS" == exchange.code
    assert "cret" not in exchange.error


def test_what_arrives_is_what_was_asked_for() -> None:
    with FaultServer() as server:
        place = server.url.replace("http://", "http://us%C3%A9r:p%40ss@")
        requests = [
            post(place + "/ü?q=ä&r=%20#part", webhook_id="message-1"),
            post(
                server.url, b"<x/>", content_type="text/xml", user_agent="mine", authorization="Bearer t", x_name="Zoë"
            ),
            Request("GET", server.url + "/get"),
            Request("DELETE", server.url + "/delete", {}, b"{}"),
        ]
        server.behave("/get", fault.answers(204, headers={"set-cookie": "a=1", "X-Twice": "1", "x-twice": "2"}))

        async def all_of_them(client: HttpClient) -> Sequence[Exchange]:
            return [await client.exchange(request) for request in requests]

        exchanges = used(all_of_them)
        first, second, third, fourth = server.requests
    assert requests == [exchange.request for exchange in exchanges]
    assert ("POST", "/%C3%BC?q=%C3%A4&r=%20", b'{"a":1}') == (first.method, first.path, first.body)
    assert f"127.0.0.1:{server.port}" == first.headers["host"]
    assert ("application/json", "message-1") == (first.headers["content-type"], first.headers["webhook-id"])
    assert f"headrace/{__version__}" == first.headers["user-agent"]
    assert "Basic " + base64.b64encode("usér:p@ss".encode()).decode() == first.headers["authorization"]
    assert ("/", b"<x/>", "text/xml") == (second.path, second.body, second.headers["content-type"])
    assert ("mine", "Bearer t") == (second.headers["user-agent"], second.headers["authorization"])
    assert "Zoë" == second.headers["x-name"].encode("latin-1").decode()
    assert ("GET", b"", False) == (third.method, third.body, "content-length" in third.headers)
    assert ("DELETE", b"{}") == (fourth.method, fourth.body)
    assert "cookie" not in fourth.headers
    assert {1} == {request.connection for request in server.requests}
    assert "a=1" == exchanges[2].answer.headers["set-cookie"]


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer() as server, FaultServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert exchanged(post(server.url)).answer is not None
        assert (1, 0) == (server.connections, proxy.connections)


def test_a_connection_that_the_tool_closed_while_idle_shows_nowhere() -> None:
    with FaultServer() as server:
        server.behave("/x", fault.answers_then_closes())

        async def with_pauses(client: HttpClient) -> Sequence[Exchange]:
            exchanges = []
            for _ in range(3):
                exchanges.append(await client.exchange(post(server.url + "/x")))
                await asyncio.sleep(0.02)
            return exchanges

        assert [200] * 3 == [exchange.answer.status for exchange in used(with_pauses)]
        assert 3 == len(server.requests)


def test_a_reused_connection_that_closes_without_a_word_is_tried_once_more_and_a_new_one_is_not() -> None:
    with FaultServer() as server:
        server.behave("/x", fault.answers(), fault.closes(), fault.answers())
        server.behave("/y", fault.closes(), fault.answers())
        url = server.url + "/x"
        first, second = used(lambda client: in_turn(client, url, url))
        fresh = exchanged(post(server.url + "/y"))
        assert (3, 1) == (len(server.received("/x")), len(server.received("/y")))
        server.behave("/x", fault.answers(), fault.cuts(), fault.answers())
        _, begun = used(lambda client: in_turn(client, url, url))
        server.behave("/x", fault.answers(), fault.closes())
        _, twice = used(lambda client: in_turn(client, url, url))
        assert (3 + 2 + 3, 1) == (len(server.received("/x")), len(server.received("/y")))
    assert [200, 200] == [first.answer.status, second.answer.status]
    assert ["ECONNRESET"] * 3 == [fresh.code, begun.code, twice.code]


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_what_a_tool_sends_beyond_its_answer_is_nobody_elses_answer(method: str) -> None:
    first, second = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with FaultServer() as server:
        server.behave("/x", fault.raw(first + second, keeps_open=True), fault.answers(503))

        async def twice(client: HttpClient) -> Sequence[Exchange]:
            return [await client.exchange(Request(method, server.url + "/x")) for _ in range(2)]

        assert [500, 503] == [exchange.answer.status for exchange in used(twice)]
        assert [1, 2] == [request.connection for request in server.requests]


def test_requests_beyond_the_connections_wait_and_their_time_does_not_run() -> None:
    async def many(client: HttpClient) -> Sequence[Exchange]:
        return await asyncio.gather(*(client.exchange(post(server.url)) for _ in range(24)))

    async def late(client: HttpClient) -> Exchange:
        for _ in range(2):
            await client._places.acquire()
        waiting = asyncio.create_task(client.exchange(post(server.url)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        client._request_seconds = 30  # from the moment that it has a place
        for _ in range(2):
            client._places.release()
        return await waiting

    with FaultServer() as server:
        server.behave("*", fault.waits(0.02))
        assert [200] * 24 == [exchange.answer.status for exchange in used(many, connections=2)]
        assert 2 == server.connections
        assert 200 == used(late, connections=2, request_seconds=0.2).answer.status


def test_a_cancelled_exchange_leaves_the_client_whole() -> None:
    with FaultServer() as server:
        server.behave("/bad", fault.hangs())

        async def cancelled(client: HttpClient) -> Exchange:
            for _ in range(3):
                task = asyncio.create_task(client.exchange(post(server.url + "/bad")))
                await asyncio.to_thread(server.wait_for, len(server.requests) + 1)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            return await client.exchange(post(server.url + "/good"))

        assert 200 == used(cancelled, connections=1).answer.status


def test_an_answer_before_the_body_has_gone_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!")
                heard.wait(5)

        heard = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        exchange = exchanged(
            post(f"http://127.0.0.1:{listening.getsockname()[1]}/", b"x" * 8_000_000), request_seconds=5.0
        )
        heard.set()
        thread.join()
    assert exchange.answer is not None
    assert (413, b"no!") == (exchange.answer.status, exchange.answer.body)


def test_a_client_can_be_closed_twice_and_idle_connections_close_by_themselves() -> None:
    import headrace.delivery.http as module

    async def waiting() -> tuple[int, int]:
        client = HttpClient(LOOPBACK)
        await client.exchange(post(server.url))
        before = len(client._idle)
        client._idle[0]._ends = 0.0
        client._expire()
        after = len(client._idle)
        await client.close()
        await client.close()
        return before, after

    with FaultServer() as server:
        assert (1, 0) == asyncio.run(waiting())
    assert module.IDLE_SECONDS < module.LIFE_SECONDS
