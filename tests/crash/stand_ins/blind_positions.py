"""A driver for PostgreSQL without the compare-and-set: each load writes its end over whatever position is stored."""

from __future__ import annotations

from typing import Any


def stand_in(role: str) -> None:
    if role != "worker":
        return
    from headrace.warehouses import _statements
    from headrace.warehouses._dialect import Dialect
    from headrace.warehouses.base import Load

    def move(dialect: Dialect, load: Load) -> str:
        return (
            f"UPDATE {dialect.qualified(_statements.OFFSETS)} SET next = {load.end} "
            f"WHERE consumer = {dialect.text(load.consumer)} AND partition = {load.partition}"
        )

    module: Any = _statements
    module.move = move
