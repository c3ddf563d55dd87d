"""A collector that is wrong: it answers before the log has stored anything."""

from __future__ import annotations

from typing import Any


def stand_in(role: str) -> None:
    if role != "collector":
        return
    from headrace.collector.committer import Committer

    replaced: Any = Committer
    stage = replaced.stage

    def answer_early(self: Committer, *arguments: Any) -> None:
        *staged, ended = arguments
        stage(self, *staged, lambda _: None)
        ended(None)

    replaced.stage = answer_early
