"""Turns at the warehouses: so many have one, some wait, the rest are refused; nobody takes all, and none is lost."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from headrace.console.turns import Turns
from headrace.errors import RequestError

PATIENCE_SECONDS = 30.0


def busy() -> RequestError:
    return RequestError("busy", "try again", 429)


def refused(turns: Turns, owner: str = "") -> bool:
    try:
        with turns.one(owner):
            return False
    except RequestError as error:
        return error.status == 429


def test_who_comes_when_all_have_a_turn_waits_and_who_comes_then_is_refused() -> None:
    turns = Turns(at_once=1, waiting=1, seconds=PATIENCE_SECONDS, refusal=busy)
    came = threading.Event()

    def wait() -> None:
        with turns.one():
            came.set()

    with turns.one():
        waiting = threading.Thread(target=wait)
        waiting.start()
        ends = time.monotonic() + PATIENCE_SECONDS
        while not turns._waits.total() and time.monotonic() < ends:
            time.sleep(0.001)
        assert refused(turns)
        assert not came.is_set()
    waiting.join(PATIENCE_SECONDS)
    assert came.is_set()


def test_nobody_waits_for_ever() -> None:
    turns = Turns(at_once=1, waiting=1, seconds=0.01, refusal=busy)
    with turns.one():
        assert refused(turns)
    assert not refused(turns)  # both places are free again


def test_a_turn_that_ends_in_an_error_is_free_again() -> None:
    turns = Turns(at_once=1, waiting=0, seconds=0.01, refusal=busy)
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    assert not refused(turns)


def test_one_leaves_turns_for_others() -> None:
    turns = Turns(at_once=4, waiting=4, seconds=0.01, refusal=busy, of_one=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(turns.one("ada"))
        assert refused(turns, "ada")
        assert not refused(turns, "bob")
        for _ in range(2):
            stack.enter_context(turns.one("bob"))
        assert refused(turns, "cara")
    assert not refused(turns, "ada")
