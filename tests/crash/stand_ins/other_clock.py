"""A clock that is wrong by the seconds in the file CRASH_CLOCK_FILE, for everything that asks for the time of day."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any


def stand_in(role: str) -> None:
    if role == "supervisor":
        return
    from headrace.log import sqlite

    file = Path(os.environ["CRASH_CLOCK_FILE"])

    def shift() -> float:
        return float(file.read_text() or "0")

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain datetime, as all others
            return datetime.now(tz) + timedelta(seconds=shift())

    sqlite.SqliteLog.__init__.__defaults__ = (lambda: time.time() + shift(),)
    if role == "collector":
        from headrace.collector import serve

        modules: list[Any] = [serve]
    else:
        from headrace.app import working
        from headrace.loader import loader

        modules = [loader, working]
    for module in modules:
        module.datetime = Shifted
