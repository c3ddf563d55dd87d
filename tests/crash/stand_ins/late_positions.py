"""As late_offsets, for PostgreSQL: the position of the load before is stored, without comparing, and no duplicates are looked for."""

from __future__ import annotations

from typing import Any


def stand_in(role: str) -> None:
    if role != "worker":
        return
    from headrace.loader.duplicates import Duplicates
    from headrace.warehouses import _statements
    from headrace.warehouses._dialect import Dialect
    from headrace.warehouses._session import Session
    from headrace.warehouses._transactional import TransactionalWarehouse
    from headrace.warehouses.base import Load

    def move(self: Any, session: Session, load: Load) -> None:
        dialect: Dialect = self._dialect
        of = f"consumer = {dialect.text(load.consumer)} AND partition = {load.partition}"
        values = f"{dialect.text(load.consumer)}, {load.partition}, {dialect.text(load.incarnation)}, {load.start}"
        session.run(
            [
                f"DELETE FROM {dialect.qualified(_statements.OFFSETS)} WHERE {of}",
                f"INSERT INTO {dialect.qualified(_statements.OFFSETS)} (consumer, partition, incarnation, next) VALUES ({values})",
            ]
        )

    def among(*_: Any) -> set[str]:
        return set()

    warehouse: Any = TransactionalWarehouse
    duplicates: Any = Duplicates
    warehouse._move = move
    duplicates.among = among
