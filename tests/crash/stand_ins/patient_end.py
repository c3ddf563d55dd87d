"""A supervisor that gives its children long to end: a machine that stands still for some seconds is no reason to kill them."""

from __future__ import annotations

from typing import Any


def stand_in(role: str) -> None:
    if role != "supervisor":
        return
    from headrace.app import supervisor

    module: Any = supervisor
    assert (6, 9.5) == (module.COLLECTORS_END_SECONDS, module.ALL_END_SECONDS)
    module.COLLECTORS_END_SECONDS, module.ALL_END_SECONDS = 30.0, 45.0
