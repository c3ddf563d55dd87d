"""What an operator might do to a warehouse with another tool."""

from __future__ import annotations

from loader_house import House


def by_hand(house: House, sql: str) -> None:
    with house.warehouse._file.cursor() as cursor:
        cursor.execute(sql)
