"""The debugger's stream and pages over a log: nothing twice, nothing left out, and what is lost or passed over is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.debugger import history
from headrace.debugger import streams as streaming
from headrace.debugger.choice import Choice, Wanted
from headrace.debugger.position import LEAP, Position
from headrace.debugger.shown import Shown, stored
from headrace.debugger.streams import Start, Streams
from headrace.debugger.tail import FRAME_ENTRIES, Frame, Slices, Tail
from headrace.errors import LogUnavailableError, NotFoundError, RequestError
from headrace.event import RejectedEvent
from headrace.log.base import Slice, Tally
from list_log import ListLog
from made_events import START, made

ALL = Choice(Wanted())
NOW = START + timedelta(minutes=10)


def refused(message_id: str | None = None, raw: str = "{", at: float = 0) -> RejectedEvent:
    return RejectedEvent("shop", "collector", "bad_request", "no JSON", raw, START + timedelta(seconds=at), message_id)


def tail(*logs: ListLog, after: str | None = None, choice: Choice = ALL) -> Tail:
    slices = Slices(logs)
    start = (
        Position.read(after).within(slices.end())
        if after
        else Position(logs[0].incarnation, dict.fromkeys(slices.partitions, 0))
    )
    return Tail(slices, choice, start, lambda: NOW)


def ids(lines: Sequence[Shown]) -> list[str | None]:
    return [line.message_id for line in lines]


def log(partition: int = 0) -> ListLog:
    return ListLog(partition, "log1")


# The stream.


def test_a_stream_shows_each_entry_once_and_in_order() -> None:
    shop = log()
    shop.append([made("a"), made("b")])
    stream = tail(shop)
    assert ["a", "b"] == ids(stream.frame().entries)
    assert [] == ids(stream.frame().entries)
    shop.append([made("c")])
    assert ["c"] == ids(stream.frame().entries)


def test_partitions_are_merged_by_the_time_of_receipt() -> None:
    one, other = log(), log(1)
    one.append([made("a", at=1), made("c", at=3)])
    other.append([made("b", at=2), made("d", at=4)])
    assert ["a", "b", "c", "d"] == ids(tail(one, other).frame().entries)


def test_a_refused_event_is_shown_with_its_reason_and_what_it_says_of_itself() -> None:
    shop = log()
    shop.append([refused("x", '{"type":"track","event":"Order","userId":7,"properties":[]}')])
    assert [
        Shown(partition=0, offset=0, source="shop", received_at=START, state="refused", type="track", event="Order", user_id="7",
              message_id="x", code="bad_request", reason="no JSON")
    ] == tail(shop).frame().entries  # fmt: skip


def test_what_the_log_lost_is_told_where_it_was() -> None:
    shop = log()
    shop.append([made("a")])
    shop.lose({"shop": Tally(3, 1)}, reason="segment 1: checksum")
    shop.append([made("b")])
    frame = tail(shop).frame()
    assert ["a", "b"] == ids(frame.entries)
    assert [(0, 1, 5, 4, "segment 1: checksum")] == [
        (g.partition, g.first, g.next, g.events, g.reason) for g in frame.lost
    ]


def test_a_stream_goes_on_where_its_last_frame_ended() -> None:
    shop = log()
    shop.append([made("a"), made("b")])
    position = tail(shop).frame().position
    shop.append([made("c")])
    assert ["c"] == ids(tail(shop, after=position).frame().entries)


def test_a_frame_is_bounded_and_says_how_far_it_is_behind() -> None:
    shop = log()
    shop.append([made(str(n), at=n / 100) for n in range(FRAME_ENTRIES + 300)])
    stream = tail(shop)
    first = stream.frame()
    assert (FRAME_ENTRIES, 300) == (len(first.entries), first.behind_entries)
    assert 600 - (FRAME_ENTRIES - 1) / 100 == pytest.approx(first.behind_seconds, abs=0.1)
    second = stream.frame()
    assert (300, 0, 0.0) == (len(second.entries), second.behind_entries, second.behind_seconds)


def test_offsets_that_leap_after_a_crash_are_no_entries() -> None:
    assert 2 == Position("log1", {0: 10, 1: 3}).entries_to(Position("log1", {0: LEAP + 12, 1: 3}))


def test_what_does_not_fit_is_looked_at_and_left_out() -> None:
    shop = log()
    shop.append([made("a"), made("b", event="Cart Viewed"), refused("c")])
    frame = tail(shop, choice=Choice(Wanted(event="cart*"))).frame()
    assert (["b"], 3) == (ids(frame.entries), frame.looked_at)


def test_a_partition_that_cannot_be_read_holds_up_no_other() -> None:
    class Broken(ListLog):
        def read(self, offset: int, *, max_entries: int, max_bytes: int) -> Slice:
            raise LogUnavailableError("log: disk I/O error")

    shop, broken = log(), Broken(1, "log1")
    shop.append([made("a")])
    broken.append([made("b")])
    frame = tail(shop, broken).frame()
    assert (["a"], "log: disk I/O error") == (ids(frame.entries), frame.problem)
    assert {0: 1, 1: 0} == Position.read(frame.position).offsets


Append = st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from(["events", "lose", "skip"]))


@given(steps=st.lists(st.one_of(st.just("frame"), st.just("reconnect"), Append), max_size=40), is_choosy=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_is_appended_and_however_often_it_reconnects_nothing_is_left_out_or_repeated(steps: list[Any], *, is_choosy: bool) -> None:  # fmt: skip
    logs = [log(), log(1)]
    choice = Choice(Wanted(types=["track"])) if is_choosy else ALL
    stream, position = tail(*logs, choice=choice), "log1"
    appended: list[list[str]] = [[], []]
    seen: list[list[str]] = [[], []]
    lost = counted = 0

    def take(frame: Frame) -> None:
        nonlocal position, counted
        position, counted = frame.position, counted + sum(one.events for one in frame.lost)
        for line in frame.entries:
            seen[line.partition].append(line.message_id or "")

    for number, step in enumerate(steps):
        if step == "frame":
            take(stream.frame())
        elif step == "reconnect":
            stream.frame()  # sent, and never arrived
            stream = tail(*logs, after=position, choice=choice)
        else:
            partition, count, what = step
            if what == "events":
                names = [f"{number}-{n}" for n in range(count)]
                logs[partition].append(
                    [made(name, "track" if n % 2 else "page", at=number) for n, name in enumerate(names)]
                )
                appended[partition] += [name for n, name in enumerate(names) if n % 2 or not is_choosy]
            elif count:
                logs[partition].lose({"shop": Tally(count)}) if what == "lose" else logs[partition].skip(count)
                lost += count if what == "lose" else 0
    take(stream.frame())
    assert (appended, lost) == (seen, counted)


def test_control_a_stream_that_goes_on_from_its_count_of_entries_repeats_some() -> None:
    shop = log()
    shop.append([made("a")])
    shop.skip(5)
    shop.append([made("b")])
    frame = tail(shop).frame()
    wrong = Position("log1", {0: frame.looked_at})
    assert [] != ids(tail(shop, after=str(wrong)).frame().entries)
    assert [] == ids(tail(shop, after=frame.position).frame().entries)


# Positions.


@pytest.mark.parametrize("text", ["", "log1.", "log1.0", "log1.0-x", "log1.0--1", "../etc", "log1.0-1\n", "l" * 100])
def test_a_text_that_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is no position"):
        Position.read(text)


@pytest.mark.parametrize(("text", "words"), [("other.0-0", "another log"), ("log1.0-9", "beyond the log's end")])
def test_a_position_that_cannot_be_of_this_log_is_refused(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Position.read(text).within(Position("log1", {0: 3}))


def test_a_partition_that_was_not_there_yet_is_read_from_its_beginning() -> None:
    assert {0: 2, 1: 0} == Position.read("log1.0-2").within(Position("log1", {0: 3, 1: 4})).offsets


# What is chosen.


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["a", "b", "c", "d"]),
        (Wanted(sources=["web"]), ["b"]),
        (Wanted(sources=["web", "shop"], types=["page"]), ["b"]),
        (Wanted(types=["track"]), ["a", "c", "d"]),
        (Wanted(event="order placed"), ["a"]),
        (Wanted(event="*LAST*"), ["c"]),
        (Wanted(event="Order"), ["d"]),
        (Wanted(user="anna"), ["a"]),
        (Wanted(user="anon-1"), ["b"]),
        (Wanted(message_id="d"), ["d"]),
        (Wanted(states=["refused"]), ["d"]),
        (Wanted(states=["warnings"]), ["b"]),
        (Wanted(states=["warnings", "refused"]), ["b", "d"]),
        (Wanted(text="grün"), ["a"]),
        (Wanted(text="GRÜN"), ["a"]),
        (Wanted(text="café"), ["c"]),
        (Wanted(text="brok"), ["d"]),
        (Wanted(filter="properties.total > 10"), ["a"]),
        (Wanted(filter="type = 'track'"), ["a", "c"]),
        (Wanted(filter="type = 'track'", user="u1"), ["c"]),
    ],
)
def test_a_choice_lets_through_what_fits_all_of_it(wanted: Wanted, expected: list[str]) -> None:
    shop = log()
    shop.append([
        made("a", properties={"total": 12, "colour": "grün"}, user_id="anna"),
        made("b", "page", source="web", anonymous_id="anon-1", warnings=("id_number",)),
        made("c", event="Last Order", properties=rb'{"place":"caf\u00e9"}'),
        refused("d", '{"type":"track","event":"Order","broken":'.replace('"broken":', '"is":"broken"}')),
    ])  # fmt: skip
    assert expected == ids(tail(shop, choice=Choice(wanted)).frame().entries)


def test_an_event_of_which_the_expression_can_say_nothing_is_shown() -> None:
    shop = log()
    shop.append([made("a", properties=b"[1]")])
    assert ["a"] == ids(tail(shop, choice=Choice(Wanted(filter="properties.total > 10"))).frame().entries)


def test_an_expression_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(RequestError, match="column") as refusal:
        Choice(Wanted(filter="type ="))
    assert (400, "filter_refused") == (refusal.value.status, refusal.value.code)


# Backwards.


def pages(logs: Sequence[ListLog], limit: int, choice: Choice = ALL) -> list[str | None]:
    found: list[str | None] = []
    before: str | None = None
    while True:
        page = history.page(logs, choice, Position.read(before) if before else None, None, limit)
        found += ids(page.entries)
        before = page.before
        if before is None:
            return found


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.sampled_from(["events", "lose", "skip", "leap"])), max_size=12),
    st.integers(1, 40),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_pages_go_back_through_everything(steps: list[tuple[int, int, str]], limit: int) -> None:
    logs, appended, at = [log(), log(1)], [], 0
    for number, (partition, count, what) in enumerate(steps):
        if what == "events":
            events = [made(f"{number}-{n}", at=at + n) for n in range(count)]
            at += count
            logs[partition].append(events)
            appended += [event.message_id for event in events]
        elif what == "lose" and count:
            logs[partition].lose({"shop": Tally(count)})
        elif what == "leap":
            logs[partition].skip(5_000)
    assert appended[::-1] == pages(logs, limit)


def test_a_page_ends_and_says_where_when_little_fits() -> None:
    shop = log()
    shop.append([made(str(n), at=n) for n in range(history.MOST_LOOKED_AT + 10)])
    page = history.page([shop], Choice(Wanted(message_id="3")), None, None, 10)
    assert ([], history.MOST_LOOKED_AT, START + timedelta(seconds=10)) == (
        page.entries,
        page.looked_at,
        page.looked_back_to,
    )
    following = history.page([shop], Choice(Wanted(message_id="3")), Position.read(page.before or ""), None, 10)
    assert (["3"], 10, None) == (ids(following.entries), following.looked_at, following.before)


def test_a_page_that_is_late_ends_after_the_next_window() -> None:
    shop = log()
    shop.append([made(str(n)) for n in range(3_000)])
    late = iter([False, True])
    assert history.WINDOW == history.page([shop], ALL, None, None, 5_000, lambda: next(late)).looked_at


@pytest.mark.parametrize(("until", "expected"), [(0, []), (5, ["4", "3", "2"]), (0.5, ["0"]), (100, ["9", "8", "7"])])
def test_a_page_begins_before_a_time(until: float, expected: list[str]) -> None:
    shop = log()
    shop.append([made(str(n), at=n) for n in range(10)])
    assert expected == ids(history.page([shop], ALL, None, START + timedelta(seconds=until), 3).entries)


def test_a_stream_goes_on_where_the_first_page_ended() -> None:
    shop = log()
    shop.append([made("a")])
    page = history.page([shop], ALL, None, None, 10)
    shop.append([made("b")])
    assert (["a"], ["b"]) == (ids(page.entries), ids(tail(shop, after=page.end).frame().entries))


def test_an_entry_is_found_by_its_place_or_said_to_be_gone() -> None:
    shop = log()
    shop.append([made("a"), made("b")])
    shop.lose({"shop": Tally(1)}, reason="segment 1: checksum")
    assert "b" == history.entry_at([shop], 0, 1).message_id
    for partition, offset, words in (
        (0, 2, "segment 1: checksum"),
        (0, 3, "none of this log"),
        (4, 0, "none of this log"),
    ):
        with pytest.raises(NotFoundError, match=words):
            history.entry_at([shop], partition, offset)


# One event.


def test_an_event_is_shown_as_it_was_sent() -> None:
    event = made(
        "a", "identify", properties=b'{"big": 12345678901234567890, "x":1.0}', warnings=("id_number", "renamed:plan")
    )
    found = stored(0, 7, event, {"id_number": "an id was a number", "renamed": "a name was changed"})
    assert '"traits":{"big": 12345678901234567890, "x":1.0}' in found.text
    assert ["an id was a number", "a name was changed: plan"] == [warned.text for warned in found.warnings]


@pytest.mark.parametrize(
    ("raw", "expected"), [('{"a":1}', (True, False)), ("{", (False, False)), ('{"a":"' + "x" * 32_762, (False, True))]
)
def test_of_a_refused_event_its_text_is_shown(raw: str, expected: tuple[bool, bool]) -> None:
    found = stored(0, 7, refused(raw=raw), {})
    assert (raw, *expected) == (found.text, found.is_json, found.is_cut)


# Many streams.


def run(check: Callable[[ListLog, Streams], Any], most: int = 2) -> None:
    """`check` gets a log with one event, and streams over it that tick without a pause."""
    shop = log()
    shop.append([made("a")])
    streams = Streams(lambda: [shop], most, tick_seconds=0.001, idle_seconds=0.002, now=lambda: NOW)
    asyncio.run(check(shop, streams))


async def opened(streams: Streams, after: str | None = None) -> AsyncIterator[Frame]:
    return streams.frames(ALL, await streams.start(after))


def test_streams_at_the_head_share_what_is_read() -> None:
    async def check(shop: ListLog, streams: Streams) -> None:
        one, other = await opened(streams), await opened(streams)
        for each in (one, other):
            await anext(each)
        slices = streams._slices
        shop.append([made("b"), made("c")])
        for each in (one, other):
            while not (frame := await anext(each)).entries:
                pass
            assert ["b", "c"] == ids(frame.entries)
        assert slices is not None
        assert 2 == slices.read_entries

    run(check)


def test_a_stream_too_many_is_refused_and_one_that_ended_makes_room() -> None:
    async def check(_: ListLog, streams: Streams) -> None:
        async with aclosing(await opened(streams)) as one, aclosing(await opened(streams)) as other:  # type: ignore[type-var]
            await anext(one)
            await anext(other)
            with pytest.raises(RequestError, match="2 streams are open") as refusal:
                await streams.start(None)
            assert 429 == refusal.value.status
        assert Start(Position("log1", {0: 1})) == await streams.start(None)

    run(check)


def test_nobody_takes_all_streams_and_none_slips_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MOST_OF_ONE", 1)

    async def check(_: ListLog, streams: Streams) -> None:
        start = await streams.start(None, owner="ada")
        async with aclosing(streams.frames(ALL, start, "ada")) as one:  # type: ignore[type-var]
            await anext(one)
            with pytest.raises(RequestError, match="1 of your streams are open"):
                await streams.start(None, owner="ada")
            with pytest.raises(
                RequestError, match="1 of your streams are open"
            ):  # it had started before the first was open
                await anext(streams.frames(ALL, start, "ada"))
            assert start == await streams.start(None, owner="bob")
        assert start == await streams.start(None, owner="ada")

    run(check, most=9)


def test_nothing_stays_open_when_nobody_watches() -> None:
    async def check(_: ListLog, streams: Streams) -> None:
        async with aclosing(await opened(streams)) as one:  # type: ignore[type-var]
            await anext(one)
            assert streams._slices is not None
        await streams.start(None)
        assert streams._slices is None

    run(check)


def test_a_jump_begins_at_the_end_and_says_what_was_passed_over() -> None:
    async def check(shop: ListLog, streams: Streams) -> None:
        shop.append([made(str(n)) for n in range(9)])
        start = await streams.start("log1.0-3", is_jump=True)
        frame = await anext(streams.frames(ALL, start))
        assert (7, [], "log1.0-10") == (frame.passed_over, ids(frame.entries), frame.position)

    run(check)


def test_streams_end_when_the_server_does() -> None:
    async def check(_: ListLog, streams: Streams) -> None:
        one = await opened(streams)
        await anext(one)
        streams.end()
        assert [] == [frame async for frame in one]

    run(check)


def test_a_frame_in_json_leaves_out_what_is_not_there() -> None:
    line = Shown(
        partition=0,
        offset=1,
        source="shop",
        received_at=datetime(2026, 3, 1, tzinfo=UTC),
        state="accepted",
        type="track",
    )
    assert (
        b'{"partition":0,"offset":1,"source":"shop","received_at":"2026-03-01T00:00:00Z","state":"accepted","type":"track"}'
        == msgspec.json.encode(line)
    )
