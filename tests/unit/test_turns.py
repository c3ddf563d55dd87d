"""Turns at the warehouses: so many have one, some wait, the rest are refused; and none is lost."""

from __future__ import annotations

import threading

import pytest

from headrace.console.turns import Turns
from headrace.errors import RequestError


def busy() -> RequestError:
    return RequestError("busy", "try again", 429)


def test_who_comes_when_all_have_a_turn_waits_and_who_comes_then_is_refused() -> None:
    turns = Turns(at_once=1, waiting=1, seconds=30.0, refusal=busy)
    came = threading.Event()

    def wait() -> None:
        with turns.one():
            came.set()

    with turns.one():
        waiting = threading.Thread(target=wait)
        waiting.start()
        while turns._room._value:
            pass
        with pytest.raises(RequestError, match="try again") as refused, turns.one():
            pass
        assert refused.value.status == 429
        assert not came.is_set()
    waiting.join(10.0)
    assert came.is_set()


def test_nobody_waits_for_ever() -> None:
    turns = Turns(at_once=1, waiting=1, seconds=0.01, refusal=busy)
    with turns.one(), pytest.raises(RequestError, match="try again"), turns.one():
        pass
    with turns.one():  # both places are free again
        pass


def test_a_turn_that_ends_in_an_error_is_free_again() -> None:
    turns = Turns(at_once=1, waiting=0, seconds=0.01, refusal=busy)
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    with turns.one():
        pass
