"""What the oracle knows: which events were sent, which were acknowledged, and how many the server may have counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """A body to post. `own_tables` maps each acceptable messageId to the table of its own row; `accepted` and `refused`
    count events, repetitions included."""

    path: str
    body: bytes
    own_tables: Mapping[str, str]
    refused_ids: Sequence[str]
    accepted: int
    refused: int


class Counts(NamedTuple):
    accepted: int = 0
    refused: int = 0


class Ledger:
    """Written by the traffic, read by the verdict. An id is noted as acknowledged after its answer was read, never before."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.own_table_by_id: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.surprises: list[str] = []
        self.requests = 0
        self.unavailable = 0
        self.broken = 0
        self._answered = Counts()
        self._begun = Counts()
        self._latest_began = 0.0

    def begins(self, request: Request) -> float:
        """Called before each attempt; its time of beginning."""
        with self._turn:
            self.own_table_by_id.update(request.own_tables)
            self._begun = Counts(self._begun.accepted + request.accepted, self._begun.refused + request.refused)
        return time.monotonic()

    def answered(self, request: Request, began: float) -> None:
        """Called when the whole answer was read and says: durable."""
        with self._turn:
            self.requests += 1
            self.acknowledged.update(request.own_tables)
            self.refused.update(request.refused_ids)
            self._answered = Counts(
                self._answered.accepted + request.accepted, self._answered.refused + request.refused
            )
            self._latest_began = max(self._latest_began, began)

    def unanswered(self, *, unavailable: bool) -> None:
        """The attempt came to a 5xx, or to a broken connection: stored or not, nobody knows."""
        with self._turn:
            if unavailable:
                self.unavailable += 1
            else:
                self.broken += 1

    def surprised(self, what: str) -> None:
        with self._turn:
            self.surprises.append(what)

    @property
    def at_least(self) -> Counts:
        """What the server must have counted by now."""
        with self._turn:
            return self._answered

    @property
    def at_most(self) -> Counts:
        """What the server can have counted by now."""
        with self._turn:
            return self._begun

    def acknowledged_since(self, moment: float) -> bool:
        """Whether a request that began after `moment` (monotonic) was acknowledged."""
        with self._turn:
            return self._latest_began > moment
