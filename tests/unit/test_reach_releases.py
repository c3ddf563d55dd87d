"""A command of one release and a server of another."""

from __future__ import annotations

import httpx

from headrace.app import reach
from headrace.errors import NotFoundError


def test_a_server_that_does_not_know_the_question_is_told_to_be_of_another_release() -> None:
    before = httpx.Response(404, json={"status_code": 404, "detail": "Not Found"})
    told = reach._error(before)
    assert (NotFoundError, True) == (type(told), "restart `headrace serve`" in str(told))
    known = httpx.Response(
        404, json={"code": "not_found", "detail": "source: there is no 'x'; see: headrace source list"}
    )
    assert "source: there is no 'x'; see: headrace source list" == str(reach._error(known))
