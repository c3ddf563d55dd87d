"""Bodies that were made to hurt: each is refused with 4xx or accepted, never 5xx, and what was accepted is in the tables once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from oracle import Sent, Stored, events_of, faults, same, stored
from server import Answer, NewSource, Server

SUITE = sorted((Path(__file__).parents[1] / "cases" / "jsontestsuite" / "test_parsing").iterdir())
BIG = 10**400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hostile") / "data") as running:
        yield running


@pytest.fixture
def source(server: Server, request: pytest.FixtureRequest) -> NewSource:
    return server.add_source(request.node.name[:40])


def event(message_id: Any, value: str = "1", name: str = "value") -> bytes:
    """A track event as JSON text around `value`, which may be no JSON."""
    start = json.dumps({"type": "track", "userId": "u", "event": "Hostile", "messageId": message_id})
    return f'{start[:-1]}, "properties": {{"{name}": {value}}}}}'.encode(errors="surrogatepass")


def request(source: NewSource, body: bytes, *headers: str, length: str | None = None) -> bytes:
    lines = ["POST /v1/track HTTP/1.1", "Host: test", f"X-Write-Key: {source.write_key}", *headers]
    lines += [] if length == "" else [f"Content-Length: {length or len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def outcome(answer: Answer | None) -> int:
    """The status, 0 for a connection closed without one. Anything but 200 and 4xx fails the test at once."""
    if answer is None:
        return 0
    assert answer.status == 200 or 400 <= answer.status < 500, f"{answer.status} {answer.body!r}"
    if answer.status == 200:
        assert answer.json["success"] is True
    return answer.status


def found_once(server: Server, source: NewSource, accepted: list[str]) -> Stored:
    """What the source's schema holds, after seeing that the accepted ids, and no others, are there once."""
    found = stored(server, source.schema, source.slug)
    for table in ("tracks", "hostile"):
        assert sorted(accepted) == sorted(row["id"] for row in found.tables.get(table, [])), table
    assert [] == [row for row in found.rejected if row["stage"] != "collector"], "accepted, and later rejected"
    return found


def test_no_file_of_the_suite_is_an_event_and_each_is_refused_visibly(server: Server, source: NewSource) -> None:
    for file in SUITE:
        assert outcome(server.post("/v1/track", file.read_bytes(), source)) == 400, file.name
    found = stored(server, source.schema, source.slug)
    assert len(SUITE) == len(found.rejected)
    assert {"collector"} == {row["stage"] for row in found.rejected}
    assert all(not rows for rows in found.tables.values())


@pytest.mark.parametrize("door", ["/v1/track", "/v1/batch"])
def test_every_file_of_the_suite_as_a_property_lands_exactly_when_it_is_json(
    server: Server, source: NewSource, door: str
) -> None:
    accepted: list[Sent] = []
    kept, wrong = [], []
    for file in SUITE:
        before, after = event(file.stem, "\0").split(b"\0")
        body = before + file.read_bytes() + after
        body = body if door == "/v1/track" else b'{"batch": [' + body + b"]}"
        answer = server.post(door, body, source)
        kept += [file.stem] if outcome(answer) == 200 and answer.json.get("accepted", 1) else []
        if (file.name[0], file.stem in kept) in (("y", False), ("n", True)):
            wrong.append(f"{file.name}: {answer.status} {answer.body!r}")
        if file.name[0] == "y":
            accepted += events_of(door, json.loads(body))
    assert [] == wrong
    found = found_once(server, source, kept)
    by_id = {sent.message_id for sent in accepted}
    tables = {table: [row for row in rows if row["id"] in by_id] for table, rows in found.tables.items()}
    assert [] == faults(accepted, found._replace(tables=tables, rejected=[]))


def test_an_extreme_value_is_stored_as_it_was_sent(server: Server, source: NewSource) -> None:
    extremes: list[tuple[str, Any]] = [
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2**63),
        ("-9223372036854775809", -(2**63) - 1),
        ("18446744073709551616", 2**64),
        (str(BIG), BIG),
        ("1e308", 1e308),
        ("1e400", "1e400"),
        ("-0", 0),
        ("1e-400", 0.0),
        ("0.1000000000000000055511151231257827", 0.1),
        ('"9999-12-31T23:59:59.999Z"', "9999-12-31T23:59:59.999Z"),
        ('"10000-01-01T00:00:00Z"', "10000-01-01T00:00:00Z"),
        ('"0001-01-01T00:00:00Z"', "0001-01-01T00:00:00Z"),
        ('"-271821-04-20T00:00:00Z"', "-271821-04-20T00:00:00Z"),
        ('"a\\u0000b"', "ab"),
        ('"\\u0000"', ""),
        ('"\\ud83d\\ude00"', "😀"),
        ('"' + "x" * 30_000 + '"', "x" * 30_000),
    ]
    for number, (value, _) in enumerate(extremes):
        assert outcome(server.post("/v1/track", event(f"extreme-{number}", value, f"value_{number}"), source)) == 200, (
            value
        )
    found = found_once(server, source, [f"extreme-{number}" for number in range(len(extremes))])
    rows = {row["id"]: row.get(f"value_{row['id'].rpartition('-')[2]}") for row in found.tables["hostile"]}
    wrong = [
        (value[:40], rows[f"extreme-{n}"])
        for n, (value, right) in enumerate(extremes)
        if not same(right, rows[f"extreme-{n}"])
    ]
    assert [] == wrong
    assert [] == found.discards


def test_integers_beyond_what_python_reads_as_text_are_refused_or_land(server: Server, source: NewSource) -> None:
    accepted = [
        f"digits-{digits}"
        for digits in (4_300, 4_301, 20_000)
        if outcome(server.post("/v1/track", event(f"digits-{digits}", "9" * digits), source)) == 200
    ]
    found_once(server, source, accepted)


def test_what_is_not_json_is_refused_and_kept_as_it_came(server: Server, source: NewSource) -> None:
    values = [
        "NaN",
        "Infinity",
        "-Infinity",
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\ud800"',
        '"a\0b"',
        '"\x1b"',
        "01",
        "0x10",
    ]
    values += ["'a'", "{a: 1}", "[1,]", "1} {", "", "//", '"\\x41"']
    for value in values:
        body = event("no-json", value)
        alone = server.post("/v1/track", body, source)
        assert (400, "bad_request") == (alone.status, alone.json["code"]), value
        batch = server.post("/v1/batch", b'{"batch": [' + body + b"]}", source)
        assert outcome(batch) == 400 or batch.json["accepted"] == 0, value
    rejected = found_once(server, source, []).rejected
    assert 2 * len(values) == len(rejected)
    assert all("Hostile" in row["raw"] for row in rejected)


def test_a_body_with_something_before_its_json_is_refused(server: Server, source: NewSource) -> None:
    for prefix in (b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b")]}',\n"):
        assert outcome(server.post("/v1/track", prefix + event("prefixed"), source)) == 400, prefix
    found_once(server, source, [])


def nested(depth: int, opening: str, closing: str) -> bytes:
    """An event whose JSON is nested this deep; the event and its properties are the first two levels."""
    return event(f"depth-{depth}", opening * (depth - 2) + "1" + closing * (depth - 2))


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
def test_json_is_accepted_down_to_100_levels_and_no_deeper(
    server: Server, source: NewSource, opening: str, closing: str
) -> None:
    for depth in (99, 100):
        assert outcome(server.post("/v1/track", nested(depth, opening, closing), source)) == 200
    for depth in (101, 102, 1_000, 2_000):
        answer = server.post("/v1/track", nested(depth, opening, closing), source)
        assert (400, "too_deep") == (answer.status, answer.json["code"]), depth
    answer = server.post(
        "/v1/batch", b'{"batch": [' + nested(101, opening, closing) + b"," + event("neighbour") + b"]}", source
    )
    assert (200, 1, ["too_deep"]) == (
        answer.status,
        answer.json["accepted"],
        [r["code"] for r in answer.json["rejected"]],
    )
    assert outcome(server.post("/v1/track", nested(100_000, opening, closing), source)) == 400
    assert outcome(server.post("/v1/batch", opening.encode() * 50_000, source)) == 400
    found_once(server, source, ["depth-99", "depth-100", "neighbour"])


def children(server: Server) -> list[psutil.Process]:
    return [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]


def test_gzip_bombs_are_refused_in_bounded_memory(server: Server, source: NewSource) -> None:
    bomb = gzip.compress(b" " * 300_000_000, 9)
    twice = gzip.compress(gzip.compress(b" " * 300_000_000, 9))
    many = gzip.compress(b" " * 400_000, 9) * 500
    assert 290_000 < len(bomb) < 500_000, "the bomb is inside the limit of a body"
    assert outcome(server.post("/v1/batch", twice, source, {"Content-Encoding": "gzip"})) == 400
    server.wait_until_loaded()  # what the worker takes for its first load is not meant here
    before = sum(process.memory_info().rss for process in children(server))
    for _ in range(5):
        for body in (bomb, twice, many):
            assert outcome(server.post("/v1/batch", body, source, {"Content-Encoding": "gzip"})) == 400
    after = sum(process.memory_info().rss for process in children(server))
    assert after - before < 100_000_000
    found_once(server, source, [])


def test_what_is_wrong_with_gzip_is_refused_and_what_is_right_lands(server: Server, source: NewSource) -> None:
    whole = gzip.compress(event("whole"))
    bad = {
        "cut": whole[:-9],
        "cut in the header": whole[:5],
        "checksum": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "length": whole[:-4] + b"\0\0\0\0",
        "bits": whole[:20] + b"\xff\xff\xff" + whole[23:],
        "twice": gzip.compress(whole),
        "rubbish behind": whole + b"rubbish",
        "empty": gzip.compress(b""),
        "nothing": b"",
        "members without content": gzip.compress(b"") * 20_000,
    }
    for name, body in bad.items():
        assert outcome(server.post("/v1/track", body, source, {"Content-Encoding": "gzip"})) in (200, 400), name
    for coding in ("br", "deflate", "zstd", "gzip, gzip", "\x00", "x" * 1000):
        assert outcome(server.raw(request(source, whole, f"Content-Encoding: {coding}"))) != 200, coding
    assert outcome(server.post("/v1/track", whole, source, {"Content-Encoding": "gzip"})) == 200
    assert (
        outcome(
            server.post(
                "/v1/track",
                gzip.compress(event("form")),
                source,
                {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"},
            )
        )
        == 200
    )
    found = stored(server, source.schema, source.slug)
    assert {"whole", "form"} <= {row["id"] for row in found.tables["hostile"]}
    assert len(found.tables["hostile"]) == len({row["id"] for row in found.tables["hostile"]})


def test_a_content_length_that_lies_stores_nothing_that_was_not_sent_whole(server: Server, source: NewSource) -> None:
    body = event("liar")
    for length in ("-1", "x", "+5", "1e3", "0x10", str(10**30), "", "5", str(len(body) - 1)):
        assert outcome(server.raw(request(source, body, length=length))) != 200, length
    assert outcome(server.raw(request(source, body, length=str(len(body) + 10)), end=True)) != 200
    assert outcome(server.raw(request(source, body, "Content-Length: 5", length=str(len(body))))) != 200
    assert outcome(server.raw(request(source, b"5\r\nabcde\r\n0\r\n\r\n", "Transfer-Encoding: chunked"))) != 200
    found_once(server, source, [])


def test_chunked_bodies_land_and_broken_ones_do_not(server: Server, source: NewSource) -> None:
    body = event("chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    chunked = "Transfer-Encoding: chunked"
    assert outcome(server.raw(request(source, chunks + b"0\r\n\r\n", chunked, length=""))) == 200
    assert outcome(server.raw(request(source, b"zz\r\n", chunked, length=""))) != 200
    assert outcome(server.raw(request(source, b"ffffffffffffffffff\r\n", chunked, length=""))) != 200
    assert (
        outcome(server.raw(request(source, event("cut").join([b"200\r\n", b""]), chunked, length=""), end=True)) != 200
    )
    found_once(server, source, ["chunked"])


def test_limits_of_size_hold_and_good_events_of_a_batch_are_kept(server: Server, source: NewSource) -> None:
    fits, large = (
        event("x" * 8 + str(size), json.dumps("y" * (size - len(event("x" * 8 + str(size), '""')))))
        for size in (32_768, 32_769)
    )
    assert (32_768, 32_769) == (len(fits), len(large))
    assert outcome(server.post("/v1/track", fits, source)) == 200
    assert (400, "event_too_large") == ((answer := server.post("/v1/track", large, source)).status, answer.json["code"])
    answer = server.post("/v1/batch", b'{"batch": [' + large + b"," + event("small") + b"]}", source)
    assert (200, 1, "event_too_large") == (answer.status, answer.json["accepted"], answer.json["rejected"][0]["code"])
    full = [event(f"full-{n}") for n in range(2_500)]
    assert outcome(server.post("/v1/batch", b'{"batch": [' + b",".join(full) + b"]}", source)) == 200
    assert (
        outcome(server.post("/v1/batch", b'{"batch": [' + b",".join([*full, event("one more")]) + b"]}", source)) == 400
    )
    wide = b",".join(event(f"wide-{n}", json.dumps("z" * 30_000)) for n in range(18))
    assert outcome(server.post("/v1/batch", b'{"batch": [' + wide + b"]}", source)) == 400
    assert outcome(server.raw(request(source, b"x" * 30_000_000))) != 200
    found_once(server, source, ["x" * 8 + "32768", "small", *(f"full-{n}" for n in range(2_500))])


def test_a_batch_that_is_none_is_refused_with_its_code(server: Server, source: NewSource) -> None:
    empty = (b'{"batch": []}', b"{}", b'{"batch": null}', b'{"batch": [], "batch": []}')
    broken = (b"", b"null", b"[]", b'"text"', b"1", b'{"batch": {}}', b'{"batch": 5}')
    for body in (*empty, *broken):
        answer = server.post("/v1/batch", body, source)
        assert (400, "empty_batch" if body in empty else "bad_request") == (answer.status, answer.json["code"]), body
    found_once(server, source, [])


def test_entries_of_a_batch_that_are_no_events_do_not_stop_their_neighbours(server: Server, source: NewSource) -> None:
    entries = [b"null", b"5", b"[]", b"{}", b'"text"', b"[[]]", event("good")]
    answer = server.post("/v1/batch", b'{"batch": [' + b",".join(entries) + b"]}", source)
    assert (200, 1, [0, 1, 2, 3, 4, 5]) == (
        answer.status,
        answer.json["accepted"],
        [r["index"] for r in answer.json["rejected"]],
    )
    found_once(server, source, ["good"])


def test_an_envelope_of_wrong_types_is_refused_or_lands(server: Server, source: NewSource) -> None:
    values: list[Any] = [
        5,
        5.5,
        True,
        [],
        ["a"],
        {},
        {"a": 1},
        "",
        " ",
        "\0",
        "x" * 5_000,
        "é" * 200,
        "😀",
        None,
        -1,
        1e300,
    ]
    names = [
        "userId",
        "anonymousId",
        "event",
        "timestamp",
        "sentAt",
        "originalTimestamp",
        "context",
        "integrations",
        "properties",
        "type",
    ]
    accepted = []
    for name in [*names, "channel", "version", "receivedAt"]:
        for number, value in enumerate(values):
            entry = {
                "type": "track",
                "userId": "u",
                "anonymousId": "a",
                "event": "Hostile",
                "messageId": f"{name}-{number}",
                name: value,
            }
            accepted += [entry["messageId"]] if outcome(server.post("/v1/track", entry, source)) == 200 else []
            entry["messageId"] = f"batch-{name}-{number}"
            answer = server.post("/v1/batch", {"batch": [entry], name: value}, source)
            accepted += [entry["messageId"]] if outcome(answer) == 200 and answer.json["accepted"] else []
    found = stored(server, source.schema, source.slug)
    assert sorted(accepted) == sorted(row["id"] for row in found.tables["tracks"])
    assert [] == [row for row in found.rejected if row["stage"] != "collector"]


def test_a_message_id_of_any_kind_lands_once_however_often_it_is_sent(server: Server, source: NewSource) -> None:
    ids: list[Any] = [
        "x" * 99,
        "x" * 100,
        "y" * 5_000,
        "😀" * 90,
        5,
        "'; DROP TABLE tracks; --",
        "a\0b",
        "é",
        "e\u0301",
        "\u202e",
    ]
    for message_id in ids * 2:
        assert outcome(server.post("/v1/track", event(message_id), source)) == 200
    found = stored(server, source.schema, source.slug)
    assert len(ids) == len(found.tables["tracks"]) == len(found.tables["hostile"])


def test_a_timestamp_of_any_kind_lands(server: Server, source: NewSource) -> None:
    stamps: list[Any] = [
        "",
        "now",
        "2026",
        "2026-13-45T99:99:99Z",
        "99999-01-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "2026-08-03",
    ]
    stamps += [
        "2026-08-03T09:41:07+25:00",
        "1785749267",
        1785749267,
        1785749267123,
        -1,
        1e300,
        10**30,
        "٢٠٢٦-٠٨-٠٣T00:00:00Z",
    ]
    stamps += [
        "2026-08-03T09:41:07.123456789Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2026-08-03T09:41:07-23:59",
        None,
    ]
    accepted = []
    for sent_at in (None, "2026-08-03T09:42:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now"):
        for stamp in stamps:
            accepted.append(f"{stamp!r} {sent_at}")
            entry = {
                "type": "track",
                "userId": "u",
                "event": "Hostile",
                "messageId": accepted[-1],
                "timestamp": stamp,
                "sentAt": sent_at,
            }
            assert outcome(server.post("/v1/track", entry, source)) == 200, accepted[-1]
    found = found_once(server, source, accepted)
    assert all(row["timestamp"] for row in found.tables["tracks"])


def test_the_books_add_up_after_all_of_this(server: Server) -> None:
    server.wait_until_loaded()
    for books in server.status()["sources"]:
        assert books["received"] == books["accepted"] + books["refused"], books
        assert (
            books["accepted"]
            == books["loaded"] + books["duplicates"] + books["filtered"] + books["rejected"] + books["pending"]
        ), books
        assert books["pending"] == 0, books
