"""A real server with three destinations, and the two receivers that they send to, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, NamedTuple, Self

from crash.ledger import Ledger, Request
from crash.scene import Scene
from crash.traffic import Mix

SCRIPT: Final = Path(__file__).parent / "delivery_receiver.py"
MIX: Final = Mix(repeats=0.0, largest_batch=20)
"""An id comes twice only where a request had no answer: so an event that was just acknowledged has not arrived before."""
START_SECONDS: Final = 20.0


class Wanted(NamedTuple):
    """A destination of the scene. `path` is where its events arrive at its receiver."""

    slug: str
    kind: str
    receiver: Literal["keeps", "drops"]
    path: str
    settings: Mapping[str, str]


DESTINATIONS: Final = (
    Wanted("batches", "webhook", "keeps", "/batches", {"url": "{origin}/batches", "batch_events": "50"}),
    Wanted("single", "webhook", "drops", "/single", {"url": "{origin}/single"}),
    Wanted("segment", "segment", "drops", "/v1/batch", {"endpoint": "{origin}/v1", "write_key": "made-up"}),
)


class Receiver:
    """`tail` is asked for what has arrived since it was asked before; the file outlives every kill."""

    def __init__(self, file: Path, manner: str, seconds: float) -> None:
        self.file = file
        self._manner = manner
        self._seconds = seconds
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._reading: IO[bytes] | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        command = [sys.executable, str(SCRIPT), str(self.file), str(self._port), self._manner, str(self._seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip(), f"the receiver ended with {self._process.wait()}"
        self._port = int(line)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def close(self) -> None:
        self.kill()
        if self._reading is not None:
            self._reading.close()

    def receipts(self) -> list[tuple[str, str]]:
        """All of them, as (path, messageId), in their order."""
        return [_receipt(line) for line in self.file.read_text().splitlines()]

    def tail(self) -> Iterator[tuple[str, str]]:
        self._reading = self._reading or self.file.open("rb")
        while True:
            at = self._reading.tell()
            line = self._reading.readline()
            if not line.endswith(b"\n"):
                self._reading.seek(at)
                return
            yield _receipt(line.decode())


def _receipt(line: str) -> tuple[str, str]:
    path, _, message_id = line.rstrip("\n").partition(" ")
    return path, message_id


class Marked(Ledger):
    """Knows one event that was acknowledged lately, and when its request began."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: tuple[float, str] | None = None

    def answered(self, request: Request, began: float) -> None:
        super().answered(request, began)
        if request.own_tables and (self._latest is None or began > self._latest[0]):
            self._latest = (began, next(iter(request.own_tables)))

    def acknowledged_after(self, moment: float) -> str | None:
        """The messageId of an event whose request began after `moment` (monotonic)."""
        latest = self._latest
        return latest[1] if latest is not None and latest[0] > moment else None


class DeliveryScene(Scene):
    """`answer_seconds` is how long the receivers think before they answer."""

    def __init__(
        self,
        folder: Path,
        seed: int = 1,
        *,
        stand_ins: Sequence[str] = (),
        events_per_second: float = 150,
        answer_seconds: float = 0.0,
    ) -> None:
        # Loads are not what is looked at here: at their usual pace they leave the processor to delivery.
        settings = {"HEADRACE_ALLOWED_NETWORKS": "127.0.0.0/8", "HEADRACE_LOADER_INTERVAL_SECONDS": "1"}
        super().__init__(
            folder, seed, settings=settings, stand_ins=stand_ins, events_per_second=events_per_second, mix=MIX
        )
        self.ledger = self.marked = Marked()
        self.receivers = {
            manner: Receiver(folder / f"{manner}.txt", manner, answer_seconds) for manner in ("keeps", "drops")
        }
        self._arrived: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        try:
            for receiver in self.receivers.values():
                receiver.start()
            super().__enter__()
            for wanted in DESTINATIONS:
                self._add(wanted)
        except BaseException:
            self._close_receivers()
            self.server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._close_receivers()

    def _close_receivers(self) -> None:
        for receiver in self.receivers.values():
            receiver.close()

    def _add(self, wanted: Wanted) -> None:
        origin = self.receivers[wanted.receiver].origin
        settings = [f"{name}={text.format(origin=origin)}" for name, text in wanted.settings.items()]
        options = [option for setting in settings for option in ("--set", setting)]
        arguments = (wanted.kind, "--name", wanted.slug, "--slug", wanted.slug, "--source", self.source.slug)
        shown = json.loads(self.server.command("destination", "add", *arguments, *options, "--json"))
        assert shown["slug"] == wanted.slug

    @property
    def books(self) -> Path:
        return self.server.data / "deliveries"

    def arrives(self, since: float, patience_seconds: float = 90.0) -> float:
        """Wait until an event whose request began after `since` has arrived from every destination; the seconds from then on."""
        ends = time.monotonic() + patience_seconds
        while (message_id := self.marked.acknowledged_after(since)) is None:
            assert time.monotonic() < ends, f"nothing is acknowledged any more:\n{self.server.tail()}"
            time.sleep(0.005)
        missing = {(wanted.path, message_id) for wanted in DESTINATIONS}
        while missing:
            assert time.monotonic() < ends, f"{message_id} does not arrive at {missing}:\n{self.server.tail()}"
            for receiver in self.receivers.values():
                self._arrived.update(receiver.tail())
            missing -= self._arrived
            time.sleep(0.01)
        self._arrived.clear()
        return time.monotonic() - since
