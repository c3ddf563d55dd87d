"""The demo of a running server: a simulated month, sent over HTTP to its own collector by a thread of the worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from headrace.app import demo_note, folder
from headrace.app.demo_note import AddedSource, DemoNote
from headrace.config import Config
from headrace.console.demo import RUNNING, DemoOrder, DemoSource, DemoStage, DemoState
from headrace.console.status import Status
from headrace.errors import ConfigError, HeadraceError, NotFoundError
from headrace.reports.answers import Standing
from headrace.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

LOAD_SECONDS: Final = 900.0
MODEL_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.5
END_SECONDS: Final = 2.0


class _StoppedError(Exception):
    """Somebody stopped it, or the server ends."""


class WorkerDemo:
    """Safe to use from several threads. One demo at a time, and one in the life of a data folder: a second month would be counted into the same campaigns."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        status: Callable[[], Status],
        standing: Callable[[], Standing | None],
    ) -> None:
        """`standing`: how far the e-mail model is, None where the warehouse can have none. Raises ConfigError while it has no tables."""
        self._config = config
        self._workspace = workspace
        self._status = status
        self._standing = standing
        self._turn = threading.Lock()
        self._noting = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loads_behind: int | None = None
        self._note = demo_note.read(config.folder)
        if self._note.state in RUNNING:
            self._note = msgspec.structs.replace(self._note, state="interrupted")

    def state(self) -> DemoState:
        note = self._note
        if note.state == "none":
            return DemoState(state="none", sentence=_SENTENCES["none"])
        live = {source.slug: source for source in self._workspace.sources(include_removed=True)}
        sources = [
            DemoSource(slug, live[slug].nickname, live[slug].schema, live[slug].removed_at is not None)
            for slug in note.sources
            if slug in live
        ]
        accepted, loaded = self._counts(note)
        return DemoState(
            state=note.state,
            sentence=_SENTENCES[note.state].format(schemas=" and ".join(source.schema for source in sources)),
            sources=sources,
            sent=max(note.sent, accepted) if note.state == "done" else note.sent,
            expected=note.expected if note.state == "sending" else note.sent,
            accepted=accepted,
            loaded=loaded,
            loads_behind=self._loads_behind,
            started_at=note.started_at,
            ended_at=note.ended_at,
            error=note.error,
        )

    def begin(self, order: DemoOrder) -> DemoState:
        """One that failed or was interrupted is sent again as it was: what arrived before is found to be there. Raises ConfigError."""
        with self._turn:
            if self._note.state not in (*_AGAIN, "none"):
                raise ConfigError(f"demo: {self.state().sentence}; {_REMEDIES[self._note.state]}")
            url = folder.local_address(self._config.folder)
            if url is None:
                raise ConfigError("demo: no server collects here; start one: headrace serve")
            if self._note.state in _AGAIN and self._note.until is not None:
                sources = demo_note.renewed_keys(self._workspace, self._note)
            else:
                sources = demo_note.add_sources(self._workspace, self._config.folder)
                self._note = _planned(demo_note.read(self._config.folder), order)
            self._become("sending")
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, args=(url, *sources), name="demo", daemon=True)
            self._thread.start()
        return self.state()

    def remove(self) -> DemoState:
        """Raises NotFoundError."""
        with self._turn:
            if self._note.state in ("none", "removed"):
                raise NotFoundError(f"demo: there is none to remove; {_SENTENCES[self._note.state]}")
            self._end_thread()
            for source in self._workspace.sources():
                if source.slug in self._note.sources:
                    self._workspace.remove(source.slug)
            self._become("removed")
        return self.state()

    def end(self) -> None:
        """The server ends: nothing more is sent."""
        self._end_thread()

    def _end_thread(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _counts(self, note: DemoNote) -> tuple[int, int]:
        """Events of its sources that were accepted, and those of them that wait for no warehouse any more."""
        try:
            books = [entry for entry in self._status().sources if entry.source in note.sources]
        except HeadraceError:
            return 0, 0
        accepted = sum(entry.accepted for entry in books)
        return accepted, accepted - sum(entry.pending for entry in books)

    def _run(self, url: str, mail: AddedSource, shop: AddedSource) -> None:
        try:
            self._send(url, mail, shop)
            self._become("loading")
            self._wait_for("loading", LOAD_SECONDS, self._is_loaded)
            self._become("modelling")
            self._wait_for("the e-mail model", MODEL_SECONDS, self._is_modelled)
            self._become("done")
        except _StoppedError:
            self._become("interrupted")
        except HeadraceError as error:
            self._become("failed", str(error))
        except Exception as error:
            logger.exception("demo: it failed")
            self._become("failed", f"demo: {type(error).__name__}: {error}; see what `headrace serve` prints")

    def _become(self, state: DemoStage, error: str | None = None) -> None:
        """What was removed stays so, whatever a thread that took its time has to say."""
        with self._noting:
            if self._note.state == "removed":
                return
            ended = None if state in RUNNING else datetime.now(UTC)
            sent = 0 if state == "sending" else self._note.sent
            self._note = msgspec.structs.replace(self._note, state=state, error=error, ended_at=ended, sent=sent)
            try:
                demo_note.write(self._config.folder, self._note)
            except ConfigError as failed:
                logger.warning("%s", failed)

    def _send(self, url: str, mail: AddedSource, shop: AddedSource) -> None:
        from headrace.simulator.month import DEMO_SEED, send_month  # noqa: PLC0415 - few workers ever need it
        from headrace.simulator.realism import FULL  # noqa: PLC0415 - as above
        from headrace.simulator.simulation import simulate  # noqa: PLC0415 - as above

        note = self._note
        events = simulate(note.recipients, note.campaigns, DEMO_SEED, note.until or datetime.now(UTC), FULL)
        totals = send_month(url, mail.write_key, shop.write_key, self._unless_stopped(events), self._count)
        if not totals.complete:
            first = f": {totals.problems[0].text}" if totals.problems else ""
            missing = totals.read - totals.accepted
            raise ConfigError(
                f"demo: {missing:,} of {totals.read:,} events were not accepted{first}; see `headrace status`"
            )

    def _count(self, events: int) -> None:
        with self._noting:
            self._note = msgspec.structs.replace(self._note, sent=self._note.sent + events)

    def _unless_stopped(self, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for event in events:
            if self._stop.is_set():
                raise _StoppedError
            yield event

    def _wait_for(self, what: str, seconds: float, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not is_done():
            if time.monotonic() > deadline:
                raise ConfigError(f"demo: {what} took more than {seconds:.0f} s; it goes on, see `headrace status`")
            self._pause(POLL_SECONDS)

    def _is_loaded(self) -> bool:
        accepted, loaded = self._counts(self._note)
        return loaded >= accepted > 0

    def _is_modelled(self) -> bool:
        try:
            found = self._standing()
        except HeadraceError:  # no tables of e-mail yet
            return False
        self._loads_behind = None if found is None else found.loads_behind
        return not self._loads_behind

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StoppedError


def _planned(note: DemoNote, order: DemoOrder) -> DemoNote:
    from headrace.simulator.realism import FULL  # noqa: PLC0415 - few workers ever need it
    from headrace.simulator.simulation import expected_events  # noqa: PLC0415 - as above

    return msgspec.structs.replace(
        note,
        recipients=order.recipients,
        campaigns=order.campaigns,
        until=datetime.now(UTC),
        expected=expected_events(order.recipients, order.campaigns, FULL),
    )


_AGAIN: Final[tuple[DemoStage, ...]] = ("failed", "interrupted")
_STAY: Final = "its rows stay in the schemas {schemas} of the warehouse, and its campaigns in the reports"
_SENTENCES: Final[dict[DemoStage, str]] = {
    "none": "there is no demo data in this workspace",
    "sending": "a simulated month of campaigns is being sent",
    "loading": "everything is sent, and the warehouse loads it",
    "modelling": "everything is loaded, and the e-mail model takes it up",
    "done": "the demo data is here: its campaigns are in the reports, its rows in the schemas {schemas}",
    "failed": "the demo data did not come in whole",
    "interrupted": "the server ended before all of the demo data was sent",
    "removed": f"the demo's sources are removed; {_STAY}",
}
_REMEDIES: Final[dict[DemoStage, str]] = {
    "sending": "wait for it, or remove it",
    "loading": "wait for it",
    "modelling": "wait for it",
    "done": "look at its campaigns, or remove its sources",
    "removed": "a second month would be counted into the same campaigns: start a server with an empty data folder for another one",
}
